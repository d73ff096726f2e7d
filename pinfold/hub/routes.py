"""Which request leads to which handler."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pinfold.hub.api import account, browse, changes, community, content, git, listing, multipart, refusals, repos
from pinfold.hub.pages import files, page, repository, talk
from pinfold.hub.pages import list as repository_list
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage.store import KINDS

# Calls by POST that change nothing, so that a read-only server answers them as well.
READING_POSTS = {account.validate_yaml, browse.paths_info, content.batch, git.upload_pack, git.refuse_push}


class Route(NamedTuple):
    """A method and a path pattern, and who answers.

    `for_git` marks what git, git-lfs and browsers call: they send Basic credentials once challenged, and a clone may
    name a repository with or without .git.
    """

    method: str
    path: str
    handler: Callable
    kind: str = "models"
    for_git: bool = False

    @property
    def changes(self) -> bool:
        return self.method != "GET" and self.handler not in READING_POSTS

    @property
    def takes_basic(self) -> bool:
        return self.for_git or self.method == "GET"


def all_routes() -> Iterator[Route]:
    """In the order in which they are tried: a page's pattern fits many a path of the API, so pages come last."""
    yield from _of_the_server()
    for kind in KINDS.values():
        yield from _of_the_api(kind)
        yield from _of_files(kind)
    yield Route("GET", "/{name}/resolve/{revision}/{path:path}", _refuse_no_namespace)
    yield Route("GET", "/", repository_list.listing)
    yield Route("GET", "/login", page.login)
    yield Route("GET", "/static/{file}", page.static)
    for kind in KINDS.values():
        yield from _of_pages(kind)


def _of_the_server() -> Iterator[Route]:
    yield Route("GET", "/.well-known/pinfold", account.prove)
    yield Route("GET", "/api/whoami-v2", account.whoami)
    yield Route("POST", "/api/validate-yaml", account.validate_yaml)
    yield Route("POST", "/api/repos/create", repos.create)
    yield Route("DELETE", "/api/repos/delete", repos.delete)
    yield Route("POST", "/api/repos/move", repos.move)
    yield Route("GET", "/api/settings/repositories", repos.own)
    yield Route("GET", "/api/users/{user}/overview", repos.overview)
    yield Route("GET", "/api/models-tags-by-type", listing.tags_by_type, "models")
    yield Route("GET", "/api/datasets-tags-by-type", listing.tags_by_type, "datasets")
    for method, path, reason in refusals.OF_THE_SERVER:
        yield Route(method, path, refusals.refusing_handler(*reason))


def _of_the_api(kind: str) -> Iterator[Route]:
    yield Route("GET", f"/api/{kind}", listing.repos, kind)
    for method, below, handler in (
        ("GET", "", browse.repo_info),
        ("GET", "/refs", browse.refs),
        ("GET", "/auth-check", account.auth_check),
        ("GET", "/auth-check/write", account.auth_check_write),
        ("PUT", "/settings", repos.settings),
        ("GET", "/revision/{revision}", browse.repo_info),
        ("GET", "/tree/{revision}", browse.tree),
        ("GET", "/tree/{revision}/{path:path}", browse.tree),
        ("GET", "/commits/{revision}", browse.commits),
        ("POST", "/paths-info/{revision}", browse.paths_info),
        ("POST", "/preupload/{revision}", changes.preupload),
        ("POST", "/commit/{revision}", changes.make_commit),
        ("POST", "/branch/{branch:path}", changes.create_branch),
        ("DELETE", "/branch/{branch:path}", changes.delete_branch),
        ("POST", "/tag/{revision}", changes.create_tag),
        ("DELETE", "/tag/{revision:path}", changes.delete_tag),
        ("GET", "/likers", repos.likers),
        ("POST", "/duplicate", repos.duplicate),
        ("GET", "/lfs-files", browse.lfs_files),
        ("GET", "/safetensors-metadata/{path:path}", browse.safetensors_headers),
        *((method, below, refusals.refusing_handler(*reason)) for method, below, reason in refusals.of_a(kind)),
        ("GET", "/discussions", community.listed),
        ("POST", "/discussions", community.create),
        ("GET", "/discussions/{number}", community.details),
        ("POST", "/discussions/{number}/comment", community.add_comment),
        ("POST", "/discussions/{number}/comment/{comment}/edit", community.edit_comment),
        ("POST", "/discussions/{number}/comment/{comment}/hide", community.hide_comment),
        ("POST", "/discussions/{number}/title", community.rename),
        ("POST", "/discussions/{number}/status", community.change_status),
        ("POST", "/discussions/{number}/merge", community.merge),
    ):
        yield Route(method, f"/api/{kind}/{{namespace}}/{{name}}{below}", handler, kind)
    yield Route("GET", f"/api/{kind}/{{name}}", _refuse_no_namespace, kind)
    yield Route("GET", f"/api/{kind}/{{name}}/revision/{{revision}}", _refuse_no_namespace, kind)


def _of_files(kind: str) -> Iterator[Route]:
    """The bytes of files, git-lfs and git."""
    repo = "/{namespace}/{name}" if kind == "models" else f"/{kind}/{{namespace}}/{{name}}"
    objects = f"{repo}.git/info/lfs/objects"
    yield Route("GET", f"{repo}/resolve/{{revision}}/{{path:path}}", content.download, kind)
    yield Route("POST", f"{objects}/batch", content.batch, kind, for_git=True)
    yield Route("POST", f"{objects}/verify", content.verify, kind)
    yield Route("PUT", f"{objects}/{{oid}}", content.upload, kind)
    yield Route("GET", f"{objects}/{{oid}}", content.large_file, kind)
    yield Route("PUT", f"{objects}/{{oid}}/parts/{{number}}", multipart.receive_part, kind)
    yield Route("POST", f"{objects}/{{oid}}/parts", multipart.finish, kind)
    yield Route("GET", f"{repo}/info/refs", git.advertise, kind, for_git=True)
    yield Route("POST", f"{repo}/git-upload-pack", git.upload_pack, kind, for_git=True)
    yield Route("POST", f"{repo}/git-receive-pack", git.refuse_push, kind, for_git=True)


def _of_pages(kind: str) -> Iterator[Route]:
    yield Route("GET", f"/{kind}", repository_list.listing, kind)
    repo = ("" if kind == "models" else f"/{kind}") + "/{namespace:namespace}/{name}"
    for below, handler in (
        ("", repository.repository),
        ("/", repository.home),
        ("/tree/{revision}", files.tree),
        ("/tree/{revision}/{path:path}", files.tree),
        ("/blob/{revision}/{path:path}", files.blob),
        ("/commits/{revision}", repository.commits),
        ("/commit/{revision}", repository.commit),
        ("/refs", repository.refs),
        ("/compare", repository.compare),
        ("/compare/{range}", repository.compare),
        ("/discussions", talk.listing),
        ("/discussions/{number}", talk.discussion),
    ):
        yield Route("GET", repo + below, handler, kind, for_git=True)


def _refuse_no_namespace(call: ApiCall) -> None:
    """`bert-base-uncased` and its like exist on the real Hub only."""
    raise auth.no_repository(call.user)
