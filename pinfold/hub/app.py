"""The server as an ASGI application: what surrounds every request, and what becomes of every error."""

import asyncio
import errno
import inspect
import sys
import time
import zlib
from collections.abc import Iterable
from urllib.parse import unquote

from starlette import routing
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pinfold.common.errors import printable
from pinfold.hub.pages.page import failure
from pinfold.hub.routes import Route, all_routes
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall, Hub
from pinfold.hub.server.gate import Gate
from pinfold.hub.server.reply import finish_reply
from pinfold.hub.storage.errors import Damaged, Gone, Refused
from pinfold.hub.storage.store import RESERVED

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
HIDDEN = 0.01  # seconds until "not found" is answered, for private repositories and for missing ones
MAX_BODY = 16 * 2**20  # of requests that are read whole; commits and uploads are streamed


class _Namespace(StringConvertor):
    """A segment that can be a user's name: not one of the server's own paths."""

    regex = rf"(?!(?:{'|'.join(sorted(RESERVED))})/)[^/]+"


register_url_convertor("namespace", _Namespace())


def build(hub: Hub, log: bool, hosts: Iterable[str] = (), any_address: bool = False, idle: float = 60) -> Gate:
    """The application that serves one data directory; `gate.Gate` says what the rest is for."""
    app = Starlette(
        routes=[_endpoint(route) for route in all_routes()],
        exception_handlers={
            Refused: failure,
            HTTPException: _unknown,
            OSError: _disk_error,
            Damaged: _damaged,
            Gone: lambda request, error: failure(request, Refused(404, "Repository not found", "RepoNotFound")),
            ClientDisconnect: lambda request, error: Response(status_code=400),  # no client is left to read it
            Exception: lambda request, error: failure(request, Refused(500, "Internal error; see the server's log")),
        },
    )
    app.state.hub = hub
    app.router.redirect_slashes = False
    return Gate(app, hub, log, hosts, any_address, idle)


def _endpoint(route: Route) -> routing.Route:
    """Plain handlers run in a thread with the body read; coroutines take the body as it comes."""
    is_streaming = inspect.iscoroutinefunction(route.handler)

    async def endpoint(request: Request) -> Response:
        hub = request.app.state.hub
        # First what no token changes, then who asks, and the body last: refusals cost no upload.
        if is_streaming:
            _refuse_encoding(request)
        if route.changes:
            auth.refuse_read_only(hub)
        authorization = request.headers.get("authorization")
        user = await run_in_threadpool(hub.tokens.user, authorization, route.takes_basic)
        params = {name: unquote(value) for name, value in request.path_params.items()}
        if route.for_git:
            params["name"] = params["name"].removesuffix(".git")
        body = b"" if is_streaming else await _whole_body(request)
        call = ApiCall(hub, request, user, route.kind, params, body)
        started = time.perf_counter()
        try:
            if is_streaming:
                return await route.handler(call)
            return await run_in_threadpool(lambda: finish_reply(request, route.handler(call)))
        except auth.Hidden:
            await asyncio.sleep(started + HIDDEN - time.perf_counter())
            raise
        except (OSError, LookupError) as error:
            if await run_in_threadpool(_has_gone, call):  # deleted or moved while we worked on it
                raise Gone(call.repo_id) from error
            raise

    return routing.Route(route.path, endpoint, methods=[route.method])


def _has_gone(call: ApiCall) -> bool:
    return {"namespace", "name"} <= call.params.keys() and call.hub.store.find(call.kind, call.repo_id) is None


async def _whole_body(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(415, f"Content-Encoding {encoding[:40]} is not read here; send the body as it is, or gzip")
    unpack = zlib.decompressobj(31) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        try:
            body += unpack.decompress(chunk, MAX_BODY + 1 - len(body)) if unpack else chunk
        except zlib.error as error:
            raise Refused(400, "the request body is not valid gzip") from error
        if len(body) > MAX_BODY:  # unpacked: a few kilobytes of gzip can be gigabytes
            raise Refused(413, f"the request body is longer than {MAX_BODY} bytes")
    if unpack and not unpack.eof:
        raise Refused(400, "the request body is gzip that is cut off")
    return bytes(body)


def _refuse_encoding(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "Content-Encoding is not read here; send the body as it is")


async def _unknown(request: Request, error: HTTPException) -> Response:
    # Never an empty success: the hf command line crashes on an answer it did not expect.
    return failure(request, Refused(error.status_code, f"{error.detail}: {request.method} {request.url.path}"))


async def _disk_error(request: Request, error: OSError) -> Response:
    if error.errno not in _NO_ROOM:
        raise error
    return failure(request, Refused(507, "the server's disk is full; free some space and try again"))


def _damaged(request: Request, error: Damaged) -> Response:
    print(printable(str(error)), file=sys.stderr, flush=True)  # the reason names files: it is for who runs the server
    reason = "the repository is damaged on the server's disk; pinfold hub verify says where"
    return failure(request, Refused(500, reason))
