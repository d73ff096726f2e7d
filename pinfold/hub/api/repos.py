"""The calls that make, move, copy and settle repositories, and that say what a user has. Each handler is one call."""

import json
import re
import secrets
import shutil
from typing import Any

from starlette.responses import Response

from pinfold.common.files import link_or_copy
from pinfold.hub.api import info
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage.errors import Moved, Refused
from pinfold.hub.storage.gitrules import DEFAULT_ATTRIBUTES
from pinfold.hub.storage.repository import Repository
from pinfold.hub.storage.store import KINDS, RESERVED, SEGMENT
from pinfold.hub.storage.times import date

MAX_SPACE_SETTINGS = 10_000  # characters
_SPACE_FIELDS = ("sdk", "hardware", "sleepTimeSeconds", "variables", "template")
_SDKS = ("gradio", "streamlit", "docker", "static")
_NOTHING_RUNS = "Spaces are kept here as files and nothing of them runs"


def create(call: ApiCall) -> Response:
    request = call.json()
    kind, namespace, name = _named(call, request)
    user = auth.require_write(call.user, namespace)
    _check_twin(call, namespace)
    repo_id = f"{namespace}/{name}"
    settings = {"space": _space(request)} if kind == "spaces" else {}
    try:
        files = {".gitattributes": DEFAULT_ATTRIBUTES.encode()}
        call.hub.store.create(kind, repo_id, private(request, False), files, user.name, **settings)
    except Moved as error:
        raise _taken(call, kind, repo_id) from error
    return answer({"url": _url(call, kind, repo_id), "name": repo_id, "id": repo_id})


def delete(call: ApiCall) -> Response:
    kind, namespace, name = _named(call, call.json())
    repo = _exactly(call, kind, f"{namespace}/{name}")
    auth.require_write(call.user, namespace)
    call.hub.store.delete(repo)
    return answer({})


def move(call: ApiCall) -> Response:
    """Another name for a repository. The old one leads to it until another repository takes it."""
    request = call.json()
    kind = _kind(request)
    source, target = (_split(request.get(each), each) for each in ("fromRepo", "toRepo"))
    repo = _exactly(call, kind, "/".join(source))
    auth.require_write(call.user, repo.namespace)
    auth.require_write(call.user, target[0])
    _check_twin(call, target[0])
    repo_id = "/".join(target)
    if repo.id == repo_id:
        raise Refused(400, f"{repo_id} has that name already")
    try:
        moved = call.hub.store.move(repo, repo_id)
    except Moved as error:
        raise _taken(call, kind, repo_id) from error
    return answer({"url": _url(call, kind, moved.id)})


def duplicate(call: ApiCall) -> Response:
    """A copy with history, branches and tags, without its discussions and pull requests."""
    repo = auth.repository(call)
    request = call.json()
    namespace, name = _split(request.get("repository"), "repository")
    auth.require_write(call.user, namespace)
    _check_twin(call, namespace)
    if request.get("secrets"):
        raise Refused(501, f"{_NOTHING_RUNS}, so secrets are not taken")
    repo_id, build = f"{namespace}/{name}", call.hub.store.temporary / f"{secrets.token_hex(8)}.git"
    try:
        copied = call.hub.store.build(build, repo.kind, repo_id, private=private(request, repo.private))
        _copy(repo, copied)
        if "space" in repo.settings:
            copied.change(space=repo.settings["space"])
        call.hub.store.place(copied)
    except Moved as error:
        raise _taken(call, repo.kind, repo_id) from error
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return answer({"url": _url(call, repo.kind, repo_id), "filesCopyPending": False})


def _copy(source: Repository, target: Repository) -> None:
    """Objects never change once written, so a second name for each is a copy that takes no room."""
    with source.lock:
        for part in ("objects", "lfs/objects"):
            # What is being written beside them has another name, and may be gone when it is looked at.
            unfinished = shutil.ignore_patterns(".*", "tmp*", "*.lock")
            shutil.copytree(
                source.path / part,
                target.path / part,
                ignore=unfinished,
                copy_function=link_or_copy,
                dirs_exist_ok=True,
            )
        for prefix in ("refs/heads/", "refs/tags/"):
            for name, sha in source.git.refs.as_dict(prefix.rstrip("/").encode()).items():
                target.git.refs.add_if_new(prefix.encode() + name, sha)
        if "mirror" in source.settings:
            target.change(mirror=source.settings["mirror"])


def settings(call: ApiCall) -> Response:
    repo = auth.repository(call, write=True)
    request = call.json()
    if request.get("gated") not in (None, False):
        raise Refused(501, "access requests are not served here; keep the repository private and give out tokens")
    if unknown := set(request) - {"private", "visibility", "gated"}:
        raise Refused(400, f"setting {min(unknown)!r} is not supported here; use private or visibility")
    wanted = private(request, None)
    if wanted is not None:  # else what another process says meanwhile stays
        repo.change(private=wanted)
    return answer({"private": repo.private, "gated": False})


def overview(call: ApiCall) -> Response:
    """A user is whoever has a repository here, or is asking."""
    name, store, counts = call.params["user"], call.hub.store, {}
    is_own = call.user is not None and call.user.name == name
    for kind in KINDS.values():
        names = store.names(kind, name) if re.fullmatch(SEGMENT, name) else []
        counts[f"num{kind.capitalize()}"] = sum(is_own or store.is_public(kind, each) for each in names)
    if not any(counts.values()) and not is_own:
        raise auth.Hidden(404, f"user {name[:96]!r} does not exist")
    return answer({"user": name, "fullname": name, "avatarUrl": "", "isPro": False, "type": "user", **counts})


def own(call: ApiCall) -> Response:
    """What a user's repositories take, the largest first."""
    user = auth.require_user(call.user)
    sizes = [
        (repo, info.stored_bytes(repo))
        for kind in KINDS.values()
        for repo in call.hub.store.all(kind, user.name)
        if repo.ref("refs/heads/main")  # without it, when it was changed is not known
    ]
    total = sum(size for _, size in sizes) or 1
    return answer(
        [
            {
                "id": repo.id,
                "type": repo.kind.removesuffix("s"),
                "updatedAt": date(repo.commit(repo.resolve("main")).commit_time),
                "visibility": "private" if repo.private else "public",
                "storage": size,
                "storagePercent": size / total,
            }
            for repo, size in sorted(sizes, key=lambda each: -each[1])
        ]
    )


def likers(call: ApiCall) -> Response:
    auth.repository(call)
    return answer([])


def _exactly(call: ApiCall, kind: str, repo_id: str) -> Repository:
    """By its present name: an old one must not delete what has another name now."""
    repo = auth.find_readable(call, kind, repo_id)
    if repo is None or repo.id != repo_id:
        raise auth.no_repository(call.user)
    return repo


def _check_twin(call: ApiCall, namespace: str) -> None:
    if twin := call.hub.store.twin(namespace):
        raise Refused(400, f"{namespace} differs from {twin} in case alone, and that is one name here; use {twin}")


def _url(call: ApiCall, kind: str, repo_id: str) -> str:
    return f"{call.base_url}/{'' if kind == 'models' else f'{kind}/'}{repo_id}"


def _taken(call: ApiCall, kind: str, repo_id: str) -> Refused:
    return Refused(409, f"You already created this {kind[:-1]} repo: {repo_id}", url=_url(call, kind, repo_id))


def _kind(request: dict[str, Any]) -> str:
    kind = KINDS.get(str(request.get("type") or "model"))
    if kind is None:
        raise Refused(400, f"type {request['type']!r} is not served here; use {' or '.join(KINDS)}")
    return kind


def _named(call: ApiCall, request: dict[str, Any]) -> tuple[str, str, str]:
    """(kind, namespace, name) of a create or delete request. Without an organization it is the user's own."""
    user = auth.require_user(call.user)
    return _kind(request), *_checked(request.get("organization") or user.name, request.get("name"))


def _split(text: Any, what: str) -> tuple[str, str]:
    if not isinstance(text, str) or text.count("/") != 1:
        raise Refused(400, f"{what} must be a name such as NAMESPACE/NAME")
    return _checked(*text.split("/"))


def _checked(namespace: Any, name: Any) -> tuple[str, str]:
    for part in (namespace, name):
        if not isinstance(part, str) or not re.fullmatch(SEGMENT, part):
            raise Refused(400, f"{part!r} cannot be a name here; use letters, digits, '-', '_' and '.', up to 96")
    if namespace.lower() in RESERVED:
        raise Refused(400, f"{namespace!r} is reserved; use another namespace")
    return namespace, name


def _space(request: dict[str, Any]) -> dict[str, Any]:
    """What was said about running it, kept as it is and never acted on. Secrets are not kept."""
    if request.get("secrets"):
        raise Refused(501, f"{_NOTHING_RUNS}, so secrets are not taken")
    if request.get("sdk") not in _SDKS:
        raise Refused(400, f"a space needs an sdk: {', '.join(_SDKS)}")
    space = {name: request[name] for name in _SPACE_FIELDS if name in request}
    if len(json.dumps(space)) > MAX_SPACE_SETTINGS:
        raise Refused(413, f"the settings of a space may have {MAX_SPACE_SETTINGS} characters")
    return space


def private(request: dict[str, Any], default: bool | None) -> bool | None:
    """huggingface_hub 2 says visibility, 0.x says private."""
    visibility = request.get("visibility")
    if visibility not in (None, "public", "private"):
        raise Refused(400, f"visibility {visibility!r} is not supported here; use public or private")
    asked = request.get("private") if visibility is None else visibility == "private"
    if not isinstance(asked, bool | None):
        raise Refused(400, "private must be true or false")
    return default if asked is None else asked
