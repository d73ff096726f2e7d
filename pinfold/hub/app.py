"""The server as an ASGI application: which path leads to which handler, and what surrounds every request."""

import inspect
import sys
import zlib
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pinfold.common.errors import printable
from pinfold.hub.api import account, browse, changes, community, content, git, listing, multipart, refusals, repos
from pinfold.hub.pages import files as web_files
from pinfold.hub.pages import list as web_list
from pinfold.hub.pages import page as web_page
from pinfold.hub.pages import repository as web
from pinfold.hub.pages import talk as web_talk
from pinfold.hub.server import auth, reply
from pinfold.hub.server.call import ApiCall, Hub
from pinfold.hub.server.gate import Gate
from pinfold.hub.storage.errors import Damaged, Gone, Refused
from pinfold.hub.storage.files import NO_ROOM
from pinfold.hub.storage.store import KINDS, RESERVED

_READS = {account.validate_yaml, browse.paths_info, content.batch, git.upload_pack, git.refuse_push}
_NOT_FOUND = "RepoNotFound"
MAX_BODY = 16 * 2**20  # of requests that are read whole; commits and uploads are streamed


def build(hub: Hub, log: bool, hosts: Iterable[str] = (), any_address: bool = False, idle: float = 60) -> Callable:
    """The application that serves one data directory; `gate.Gate` says what the rest is for."""
    routes = [
        _route("GET", "/.well-known/pinfold", account.prove),
        _route("GET", "/api/whoami-v2", account.whoami),
        _route("POST", "/api/validate-yaml", account.validate_yaml),
        _route("POST", "/api/repos/create", repos.create),
        _route("DELETE", "/api/repos/delete", repos.delete),
        _route("POST", "/api/repos/move", repos.move),
        _route("GET", "/api/settings/repositories", repos.own),
        _route("GET", "/api/users/{user}/overview", repos.overview),
        _route("GET", "/api/models-tags-by-type", listing.tags_by_type, "models"),
        _route("GET", "/api/datasets-tags-by-type", listing.tags_by_type, "datasets"),
    ]
    routes += [_refusal(*each) for each in refusals.OF_THE_SERVER]
    for kind in KINDS.values():
        repo, revision = f"/api/{kind}/{{namespace}}/{{name}}", "{revision}"
        refused = refusals.OF_A_REPOSITORY + (refusals.OF_A_SPACE if kind == "spaces" else [])
        talk = f"{repo}/discussions/{{number}}"
        routes += [
            _route("GET", f"/api/{kind}", listing.repos, kind),
            _route("GET", repo, browse.repo_info, kind),
            _route("GET", f"{repo}/refs", browse.refs, kind),
            _route("GET", f"{repo}/auth-check", account.auth_check, kind),
            _route("GET", f"{repo}/auth-check/write", account.auth_check_write, kind),
            _route("PUT", f"{repo}/settings", repos.settings, kind),
            _route("GET", f"{repo}/revision/{revision}", browse.repo_info, kind),
            _route("GET", f"{repo}/tree/{revision}", browse.tree, kind),
            _route("GET", f"{repo}/tree/{revision}/{{path:path}}", browse.tree, kind),
            _route("GET", f"{repo}/commits/{revision}", browse.commits, kind),
            _route("POST", f"{repo}/paths-info/{revision}", browse.paths_info, kind),
            _route("POST", f"{repo}/preupload/{revision}", changes.preupload, kind),
            _route("POST", f"{repo}/commit/{revision}", changes.make_commit, kind),
            _route("POST", f"{repo}/branch/{{branch:path}}", changes.create_branch, kind),
            _route("DELETE", f"{repo}/branch/{{branch:path}}", changes.delete_branch, kind),
            _route("POST", f"{repo}/tag/{revision}", changes.create_tag, kind),
            _route("DELETE", f"{repo}/tag/{{revision:path}}", changes.delete_tag, kind),
            _route("GET", f"{repo}/likers", repos.likers, kind),
            _route("POST", f"{repo}/duplicate", repos.duplicate, kind),
            _route("GET", f"{repo}/lfs-files", browse.lfs_files, kind),
            _route("GET", f"{repo}/safetensors-metadata/{{path:path}}", browse.safetensors_headers, kind),
            *(_refusal(method, f"{repo}{path}", answer) for method, path, answer in refused),
            _route("GET", f"{repo}/discussions", community.listed, kind),
            _route("POST", f"{repo}/discussions", community.create, kind),
            _route("GET", talk, community.details, kind),
            _route("POST", f"{talk}/comment", community.add_comment, kind),
            _route("POST", f"{talk}/comment/{{comment}}/edit", community.edit_comment, kind),
            _route("POST", f"{talk}/comment/{{comment}}/hide", community.hide_comment, kind),
            _route("POST", f"{talk}/title", community.rename, kind),
            _route("POST", f"{talk}/status", community.change_status, kind),
            _route("POST", f"{talk}/merge", community.merge, kind),
            _route("GET", f"/api/{kind}/{{name}}", _no_namespace, kind),
            _route("GET", f"/api/{kind}/{{name}}/revision/{revision}", _no_namespace, kind),
        ]
        files = "/{namespace}/{name}" if kind == "models" else f"/{kind}/{{namespace}}/{{name}}"
        objects = f"{files}.git/info/lfs/objects"
        routes += [
            _route("GET", f"{files}/resolve/{revision}/{{path:path}}", content.download, kind),
            _route("POST", f"{objects}/batch", content.batch, kind, git=True),
            _route("POST", f"{objects}/verify", content.verify, kind),
            _route("PUT", f"{objects}/{{oid}}", content.upload, kind),
            _route("GET", f"{objects}/{{oid}}", content.large_file, kind),
            _route("PUT", f"{objects}/{{oid}}/parts/{{number}}", multipart.receive_part, kind),
            _route("POST", f"{objects}/{{oid}}/parts", multipart.finish, kind),
            _route("GET", f"{files}/info/refs", git.advertise, kind, git=True),
            _route("POST", f"{files}/git-upload-pack", git.upload_pack, kind, git=True),
            _route("POST", f"{files}/git-receive-pack", git.refuse_push, kind, git=True),
        ]
    routes.append(_route("GET", "/{name}/resolve/{revision}/{path:path}", _no_namespace))
    routes += _pages()
    app = Starlette(
        routes=routes,
        exception_handlers={
            Refused: web_page.failure,
            HTTPException: _unknown,
            OSError: _disk_error,
            Damaged: lambda request, error: web_page.failure(request, _damaged(error)),
            Gone: lambda request, error: web_page.failure(request, Refused(404, "Repository not found", _NOT_FOUND)),
            ClientDisconnect: lambda request, error: Response(status_code=400),  # nobody reads it
            Exception: lambda request, error: web_page.failure(
                request, Refused(500, "Internal error; see the server's log")
            ),
        },
    )
    app.state.hub = hub
    app.router.redirect_slashes = False
    return Gate(app, hub, log, hosts, any_address, idle)


class _Namespace(StringConvertor):
    """A segment that can be somebody's name: none of the server's own paths."""

    regex = rf"(?!(?:{'|'.join(sorted(RESERVED))})/)[^/]+"


register_url_convertor("namespace", _Namespace())


def _pages() -> list[Route]:
    """What a browser asks for. Basic credentials are asked for as git wants it: with a challenge."""
    routes = [
        _route("GET", "/", web_list.listing),
        _route("GET", "/login", web_page.login),
        _route("GET", "/static/{file}", web_page.static),
    ]
    for kind in KINDS.values():
        repo = ("" if kind == "models" else f"/{kind}") + "/{namespace:namespace}/{name}"
        routes.append(_route("GET", f"/{kind}", web_list.listing, kind))
        for path, handler in (
            ("", web.repository),
            ("/", web.home),
            ("/tree/{revision}", web_files.tree),
            ("/tree/{revision}/{path:path}", web_files.tree),
            ("/blob/{revision}/{path:path}", web_files.blob),
            ("/commits/{revision}", web.commits),
            ("/commit/{revision}", web.commit),
            ("/refs", web.refs),
            ("/compare", web.compare),
            ("/compare/{range}", web.compare),
            ("/discussions", web_talk.listing),
            ("/discussions/{number}", web_talk.discussion),
        ):
            routes.append(_route("GET", repo + path, handler, kind, git=True))
    return routes


def _route(method: str, path: str, handler: Callable, kind: str = "models", git: bool = False) -> Route:
    """Plain handlers run in a thread with the body read; coroutines take the body as it comes.

    ``git`` is for what git and git-lfs call: they send Basic credentials, once challenged.
    """
    streaming = inspect.iscoroutinefunction(handler)
    basic = git or method == "GET"
    changes = method != "GET" and handler not in _READS

    async def endpoint(request: Request) -> Response:
        hub = request.app.state.hub
        if streaming:
            _plain(request)
        if changes:
            auth.refuse_read_only(hub)
        user = await run_in_threadpool(hub.tokens.user, request.headers.get("authorization"), basic)
        params = {name: unquote(value) for name, value in request.path_params.items()}
        if git:  # a clone may name a repository with or without .git
            params["name"] = params["name"].removesuffix(".git")
        call = ApiCall(hub, request, user, kind, params, b"" if streaming else await _body(request), git)
        try:
            if streaming:
                return await handler(call)
            return await run_in_threadpool(lambda: reply.finish(request, handler(call)))
        except (OSError, LookupError) as error:
            if await run_in_threadpool(_has_gone, call):  # deleted or moved while we worked on it
                raise Gone(call.repo_id) from error
            raise

    return Route(path, endpoint, methods=[method])


def _has_gone(call: ApiCall) -> bool:
    return {"namespace", "name"} <= call.params.keys() and call.hub.store.find(call.kind, call.repo_id) is None


def _damaged(error: Damaged) -> Refused:
    print(printable(str(error)), file=sys.stderr, flush=True)  # the reason names files: it is for who runs the server
    return Refused(500, "the repository is damaged on the server's disk; pinfold hub verify says where")


def _refusal(method: str, path: str, reason: tuple[int, str]) -> Route:
    return _route(method, path, refusals.refusal(*reason))


async def _body(request: Request) -> bytes:
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


def _plain(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "Content-Encoding is not read here; send the body as it is")


def _no_namespace(call: ApiCall) -> Response:
    """`bert-base-uncased` and its like exist on the real Hub only."""
    raise auth.no_repository(call.user)


async def _unknown(request: Request, error: HTTPException) -> Response:
    # Never an empty success: the hf command line crashes on an answer it did not expect.
    return web_page.failure(
        request, Refused(error.status_code, f"{error.detail}: {request.method} {request.url.path}")
    )


async def _disk_error(request: Request, error: OSError) -> Response:
    if error.errno not in NO_ROOM:
        raise error
    return web_page.failure(request, Refused(507, "the server's disk is full; free some space and try again"))
