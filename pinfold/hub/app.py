"""The server as an ASGI application: which path leads to which handler, and what surrounds every request."""

import inspect
import sys
import time
from collections.abc import Callable
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pinfold.hub import api, auth, browse, content
from pinfold.hub.faults import Dropped
from pinfold.hub.files import NO_ROOM
from pinfold.hub.store import KINDS
from pinfold.hub.wire import Call, Hub, HubError

HOSTS = ["127.0.0.1", "localhost"]  # any other Host header is a web page's, through DNS rebinding
MAX_BODY = 16 * 2**20  # of requests that are read whole; commits and uploads are streamed


def build(hub: Hub, log: bool) -> Callable:
    """The application that serves one data directory."""
    routes = [
        _route("GET", "/.well-known/pinfold", api.prove),
        _route("GET", "/api/whoami-v2", api.whoami),
        _route("POST", "/api/validate-yaml", api.validate_yaml),
        _route("POST", "/api/repos/create", api.create_repo),
        _route("DELETE", "/api/repos/delete", api.delete_repo),
    ]
    for kind in KINDS.values():
        repo, revision = f"/api/{kind}/{{namespace}}/{{name}}", "{revision}"
        routes += [
            _route("GET", f"/api/{kind}", browse.list_repos, kind),
            _route("GET", repo, browse.repo_info, kind),
            _route("GET", f"{repo}/refs", browse.refs, kind),
            _route("GET", f"{repo}/auth-check", api.auth_check, kind),
            _route("GET", f"{repo}/auth-check/write", api.auth_check_write, kind),
            _route("PUT", f"{repo}/settings", api.settings, kind),
            _route("GET", f"{repo}/revision/{revision}", browse.repo_info, kind),
            _route("GET", f"{repo}/tree/{revision}", browse.tree, kind),
            _route("GET", f"{repo}/tree/{revision}/{{path:path}}", browse.tree, kind),
            _route("GET", f"{repo}/commits/{revision}", browse.commits, kind),
            _route("POST", f"{repo}/paths-info/{revision}", browse.paths_info, kind),
            _route("POST", f"{repo}/preupload/{revision}", api.preupload, kind),
            _route("POST", f"{repo}/commit/{revision}", api.make_commit, kind),
            _route("POST", f"{repo}/branch/{{branch:path}}", api.create_branch, kind),
            _route("DELETE", f"{repo}/branch/{{branch:path}}", api.delete_branch, kind),
            _route("POST", f"{repo}/tag/{revision}", api.create_tag, kind),
            _route("DELETE", f"{repo}/tag/{{revision:path}}", api.delete_tag, kind),
            _route("GET", f"/api/{kind}/{{name}}", _no_namespace, kind),
            _route("GET", f"/api/{kind}/{{name}}/revision/{revision}", _no_namespace, kind),
        ]
        files = "/{namespace}/{name}" if kind == "models" else f"/{kind}/{{namespace}}/{{name}}"
        objects = f"{files}.git/info/lfs/objects"
        routes += [
            _route("GET", f"{files}/resolve/{revision}/{{path:path}}", content.download, kind),
            _route("POST", f"{objects}/batch", content.batch, kind),
            _route("POST", f"{objects}/verify", content.verify, kind),
            _route("PUT", f"{objects}/{{oid}}", content.upload, kind),
        ]
    routes.append(_route("GET", "/{name}/resolve/{revision}/{path:path}", _no_namespace))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
        exception_handlers={
            HubError: lambda request, error: error.answer(),
            HTTPException: _unknown,
            OSError: _disk_error,
            ClientDisconnect: lambda request, error: Response(status_code=400),  # nobody reads it
            Exception: lambda request, error: HubError(500, "Internal error; see the server's log").answer(),
        },
    )
    app.state.hub = hub
    app.router.redirect_slashes = False
    return Gate(app, log)


def _route(method: str, path: str, handler: Callable, kind: str = "models") -> Route:
    """Plain handlers run in a thread with the body read; coroutines take the body as it comes."""
    streaming = inspect.iscoroutinefunction(handler)

    async def endpoint(request: Request) -> Response:
        hub = request.app.state.hub
        user = await run_in_threadpool(hub.tokens.user, request.headers.get("authorization"))
        params = {name: unquote(value) for name, value in request.path_params.items()}
        call = Call(hub, request, user, kind, params, b"" if streaming else await _body(request))
        return await (handler(call) if streaming else run_in_threadpool(handler, call))

    return Route(path, endpoint, methods=[method])


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HubError(413, f"the request body is longer than {MAX_BODY} bytes")
    return bytes(body)


def _no_namespace(call: Call) -> Response:
    """`bert-base-uncased` and its like exist on the real Hub only."""
    raise auth.no_repository(call.user)


async def _unknown(request: Request, error: HTTPException) -> Response:
    # Never an empty success: the hf command line crashes on an answer it did not expect.
    return HubError(error.status_code, f"{error.detail}: {request.method} {request.url.path}").answer()


async def _disk_error(request: Request, error: OSError) -> Response:
    if error.errno not in NO_ROOM:
        raise error
    return HubError(507, "the server's disk is full; free some space and try again").answer()


class Gate:
    """Around the application: paths still quoted, and one log line per request."""

    def __init__(self, app: Callable, log: bool):
        self.app, self.log = app, log

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        # Routing happens on the path as sent: a revision refs%2Fpr%2F1 is one segment.
        scope = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        started = time.perf_counter()

        def log(outcome: object) -> None:
            if self.log:
                milliseconds = (time.perf_counter() - started) * 1e3
                # No query string: an upload's would be a permission.
                line = f"{scope['method']} {scope['path']} {outcome} {milliseconds:.0f} ms"
                print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)

        async def write(message) -> None:
            if message["type"] == "http.response.start":
                log(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, write)
        except Dropped:
            log("dropped")
            send.__self__.transport.abort()  # uvicorn's way; only tests come here
            while (await receive())["type"] != "http.disconnect":
                pass
