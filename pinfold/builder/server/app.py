"""The page's server: static files, and JSON in and out (Starlette; gradio's server class takes the same routes)."""

import asyncio
import functools
import ipaddress
import json
import re
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pinfold.builder.server.handlers import Builder, BusyError, Job
from pinfold.common.errors import UserError, printable

STATIC = Path(__file__).parents[1] / "static"
PATIENCE = 1.0  # seconds between two looks for a client that has gone
LARGEST = 2_000_000  # bytes of a request
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; base-uri 'none'"
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
FAULT = "this is a fault of pinfold; its traceback is in the server's output"
LOCAL = ("127.0.0.1", "localhost")


def build(builder: Builder, hosts: list[str] | None, policy: bool = True) -> Starlette:
    """The application.

    Args:
        hosts: names that clients may call this server by; None: any, behind a proxy that looks itself.
        policy: whether answers say that only this page's own scripts run.
    """
    middleware = [] if hosts is None else [Middleware(HostCheck, hosts=hosts)]
    return Starlette(routes=routes(builder, policy), middleware=middleware)


def routes(builder: Builder, policy: bool = True) -> list[Route]:
    """The page and its addresses."""
    headers = HEADERS if policy else {}
    small = [Middleware(GZipMiddleware, minimum_size=500)]  # not around streams, whose lines it would hold back
    listed = [Route("/", functools.partial(static, "index.html", headers), middleware=small)]
    listed += [
        Route(f"/{path.name}", functools.partial(static, path.name, headers), middleware=small)
        for path in sorted(STATIC.iterdir())
        if path.suffix in (".js", ".css", ".svg")
    ]
    schema = answering(lambda request: builder.schema())
    listed.append(Route("/api/schema", schema, methods=["GET"], middleware=small))
    for name in ("check", "masks", "cancel"):
        listed.append(Route(f"/api/{name}", answering(getattr(builder, name)), methods=["POST"], middleware=small))
    listed.append(Route("/api/import", answering(builder.read), methods=["POST"]))
    for name in ("run", "export", "compare"):
        listed.append(Route(f"/api/{name}", streaming(getattr(builder, name), builder), methods=["POST"]))
    listed.append(Route("/api/download/{identity}", functools.partial(download, builder)))
    return listed


class HostCheck:
    """Refuses a name that was made to lead here (DNS rebinding), and pages of other addresses."""

    def __init__(self, app: Callable, hosts: list[str]) -> None:
        self.app, self.hosts = app, {*LOCAL, *(host.lower() for host in hosts)}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        origin = headers.get(b"origin", "").rpartition("//")[2]
        if not self.is_ours(host):
            line = f"this server does not answer as {host[:100]!r}; start it with --host NAME"
            return await JSONResponse({"error": line}, 400)(scope, receive, send)
        if origin and origin != host:
            line = f"this server does not answer the page of {origin[:100]!r}; open http://{host} itself"
            return await JSONResponse({"error": line}, 400)(scope, receive, send)
        await self.app(scope, receive, send)

    def is_ours(self, host: str) -> bool:
        name = re.sub(r":[0-9]+$", "", host).strip("[]").lower()
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return bool({"0.0.0.0", "::"} & self.hosts)  # a page cannot be made to come from a bare address


async def static(name: str, headers: dict[str, str], request: Request) -> Response:
    return FileResponse(STATIC / name, headers={**headers, "Cache-Control": "no-cache"})


async def body_of(request: Request) -> dict[str, Any]:
    """
    Raises:
        UserError: it is too large, or not an object in JSON.
    """
    if "json" not in request.headers.get("content-type", ""):  # what no form of another page can send
        raise UserError("send JSON, with Content-Type: application/json")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST:
            raise UserError(f"the request has more than {LARGEST:,} bytes; send less")
    try:
        value = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise UserError("the request is not JSON") from None
    if not isinstance(value, dict):
        raise UserError("the request is not an object")
    return value


def refusal(error: UserError) -> Response:
    return JSONResponse({"error": printable(str(error))}, 409 if isinstance(error, BusyError) else 400)


def answering(handler: Callable[[dict], dict]) -> Callable:
    """A route that answers at once; the handler runs in a thread."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await body_of(request) if request.method == "POST" else {}
            return JSONResponse(await run_in_threadpool(handler, body))
        except UserError as error:
            return refusal(error)
        except Exception:  # a fault of this program: its traceback is for who started the server
            traceback.print_exc(file=sys.stderr)
            return JSONResponse({"error": FAULT}, 500)

    return endpoint


def streaming(handler: Callable[[dict, Callable], dict], builder: Builder) -> Callable:
    """A route that answers with one JSON line for each step; its end on the client's side cancels the job."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await body_of(request)
        except UserError as error:
            return refusal(error)
        queue: asyncio.Queue = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def say(event: dict | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, event)

        job = Job(say)

        def work() -> None:
            try:
                say(handler(body, job))
            except UserError as error:
                busy = isinstance(error, BusyError)
                say({"event": "error", "say": printable(str(error)), "busy": busy})
            except OSError as error:
                why = f"{error.filename or 'the disk'}: {error.strerror or error}"
                say({"event": "error", "say": printable(f"{why}; start it with another --output DIR")})
            except BaseException:  # a fault of this program: its traceback is for who started the server
                traceback.print_exc(file=sys.stderr)
                say({"event": "error", "say": FAULT})
            finally:
                say(None)

        threading.Thread(target=work, daemon=True).start()
        first = await queue.get()
        if first and first.get("busy"):
            return JSONResponse({"error": first["say"]}, 409)
        return StreamingResponse(
            lines(first, queue, functools.partial(builder.end, job), request), media_type="application/x-ndjson"
        )

    return endpoint


async def lines(first: dict | None, queue: asyncio.Queue, end: Callable, request: Request) -> AsyncIterator[bytes]:
    """Events as they come, until the job has ended; a client that goes away ends it."""
    event, ended = first, False
    try:
        while event is not None:
            yield (json.dumps(event, allow_nan=False) + "\n").encode()
            event = await following(queue, request)
        ended = True
    finally:
        if not ended:
            end()


async def following(queue: asyncio.Queue, request: Request) -> dict | None:
    """The next event; looks now and then whether anybody still waits for it.

    Raises:
        ConnectionError: nobody does.
    """
    while True:
        try:
            return await asyncio.wait_for(queue.get(), PATIENCE)
        except asyncio.TimeoutError:
            if await request.is_disconnected():
                raise ConnectionError("the client has gone") from None


async def download(builder: Builder, request: Request) -> Response:
    try:
        path, name = builder.download(request.path_params["identity"])
    except UserError as error:
        return JSONResponse({"error": str(error)}, 404)
    return FileResponse(path, filename=name, media_type="application/zip")
