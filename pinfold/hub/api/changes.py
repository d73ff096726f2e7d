"""The JSON calls that change a repository: commits, branches and tags. Each handler is one call."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pinfold.hub.api.browse import resolve_revision
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage import commit, faults
from pinfold.hub.storage.errors import Missing, Moved, Refused
from pinfold.hub.storage.gitrules import Attributes, ignored
from pinfold.hub.storage.repository import Repository, valid_ref


def preupload(call: ApiCall) -> Response:
    """Tell for each file how it is to be sent, and what is there now, so that clients leave out what is unchanged."""
    repo = auth.repository(call, write=True)
    _, sha = _branch(repo, call.params["revision"])
    request = call.json()
    rules = Attributes(_content(repo, sha, ".gitattributes"))
    files = request.get("files")
    if not isinstance(files, list) or not all(isinstance(each, dict) for each in files):
        raise Refused(400, "files must be a list of objects with path, size and sample")
    if len(files) > commit.MAX_OPERATIONS:
        raise Refused(413, f"files may be a list of {commit.MAX_OPERATIONS}; send several requests")
    paths = [commit.check_new_path(each.get("path")) for each in files]
    ignore = request.get("gitIgnore")
    try:
        left_out = ignored(
            ignore.encode("utf-8", "replace") if isinstance(ignore, str) else _content(repo, sha, ".gitignore"), paths
        )
    except ValueError as error:
        raise Refused(400, str(error)) from error
    answers, entries = [], repo.entries(sha, paths)
    for path, each in zip(paths, files, strict=True):
        entry = entries.get(path)
        known = entry and entry.content is not None
        answers.append(
            {
                "path": path,
                "uploadMode": "lfs" if _is_large(rules, path, each) else "regular",
                "shouldIgnore": path in left_out,
                "oid": (entry.pointer.oid if entry.pointer else entry.oid) if known else None,
            }
        )
    return answer({"files": answers, "commitOid": sha})


def _is_large(rules: Attributes, path: str, file: dict[str, Any]) -> bool:
    size, sample = file.get("size"), file.get("sample") or ""
    try:
        sample = base64.b64decode(sample, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Refused(400, "sample must be base64") from error
    if not isinstance(size, int) or size < 0:
        raise Refused(400, "size must be a number of bytes")
    if size == 0:
        return False  # the clients send empty files as regular ones whatever is said here
    return size > commit.MAX_INLINE or rules.large(path) or _is_binary(sample)


def _is_binary(sample: bytes) -> bool:
    if b"\0" in sample:
        return True
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start < len(sample) - 3  # the sample may end inside a character
    return False


async def make_commit(call: ApiCall) -> Response:
    author, revision, new_pr = auth.require_user(call.user).name, call.params["revision"], call.flag("create_pr")
    repo = await run_in_threadpool(auth.repository, call, write=True)
    faults.reach("commit-start")
    await run_in_threadpool(_branch, repo, revision)
    draft = await commit.read_draft(repo, call.request.stream())
    try:
        sha, number = await run_in_threadpool(commit.apply_draft, repo, draft, revision, author, new_pr)
    except Missing as error:  # deleted since
        raise Refused(404, str(error), "RevisionNotFound") from error
    faults.reach("commit-answer")
    url = f"{call.base_url}/{repo.url_path}"
    pull_request = {"pullRequestUrl": f"{url}/discussions/{number}"} if number else {}
    return answer({"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}", **pull_request})


def create_branch(call: ApiCall) -> Response:
    repo = auth.repository(call, write=True)
    start = call.json().get("startingPoint") if call.body else None
    sha = resolve_revision(repo, start if isinstance(start, str) else "main")
    return _created(repo, _ref_name("branch", call.params["branch"]), lambda name: repo.add_ref(name, sha))


def delete_branch(call: ApiCall) -> Response:
    if call.params["branch"] == "main":
        auth.repository(call, write=True)
        raise Refused(403, "main cannot be deleted; every repository has it")
    return _deleted(call, "branch", call.params["branch"])


def create_tag(call: ApiCall) -> Response:
    repo = auth.repository(call, write=True)
    request = call.json()
    tag, message = request.get("tag"), request.get("message") or ""
    if not isinstance(tag, str) or not isinstance(message, str) or "\0" in message:
        raise Refused(400, "tag and message must be texts")
    sha = resolve_revision(repo, call.params["revision"])
    message = message.encode("utf-8", "replace").decode()
    return _created(repo, _ref_name("tag", tag), lambda name: repo.add_tag(name, sha, message, call.user.name))


def delete_tag(call: ApiCall) -> Response:
    return _deleted(call, "tag", call.params["revision"])


def _ref_name(what: str, name: str) -> str:
    full = f"refs/{'heads' if what == 'branch' else 'tags'}/{name}"
    if name.startswith(("refs/", "-")) or not valid_ref(full) or re.fullmatch("[0-9a-f]{40}|HEAD", name):
        raise Refused(400, f"{name!r} is not a valid {what} name; use letters, digits, '-', '_', '.' and '/'")
    return full


def _created(repo: Repository, name: str, make: Callable[[str], None]) -> Response:
    try:
        with repo.lock:
            make(name)
    except Moved as error:
        raise Refused(409, f"Reference already exists: {name}") from error
    return answer({})


def _deleted(call: ApiCall, what: str, short: str) -> Response:
    repo = auth.repository(call, write=True)
    name = _ref_name(what, short)
    with repo.lock:
        if repo.ref(name) is None:
            raise Refused(404, f"there is no {what} {short!r}", "RevisionNotFound")
        repo.delete_ref(name)
    return answer({})


def _branch(repo: Repository, revision: str) -> tuple[str, str]:
    try:
        return repo.branch(revision)
    except Missing as error:
        raise Refused(404, f"{error}; create the branch first", "RevisionNotFound") from error


def _content(repo: Repository, sha: str, path: str) -> bytes:
    entry = repo.entry(sha, path)
    return (entry.content if entry else None) or b""
