"""The JSON calls under /api/ that read one repository: description, files, history, refs. Each handler is one call."""

import contextlib
import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from dulwich.objects import Commit
from starlette.responses import Response

from pinfold.hub.api import info
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage import lfs
from pinfold.hub.storage.discussions import PR_PREFIX
from pinfold.hub.storage.errors import Missing, Refused
from pinfold.hub.storage.repository import Entry, Repository, author_name
from pinfold.hub.storage.times import date

COMMITS_PER_PAGE = 100
ENTRIES_PER_PAGE = 1000
EXPANDED_PER_PAGE = 100  # the last commit of each path costs a walk through history
MAX_PATHS = 5000
MAX_EXPANDED = 1000
MAX_DIRECTORIES = 20  # that are looked at one by one; beyond it one walk through everything is quicker
MAX_HISTORY = 2000  # commits that are searched for the last change of a file


def repo_info(call: ApiCall) -> Response:
    repo = auth.repository(call)
    sha = resolve_revision(repo, call.params.get("revision", "main"))
    if fields := call.request.query_params.getlist("expand"):
        return answer(info.expanded_payload(repo, sha, fields))
    described = info.repo_payload(repo, sha, siblings=True, blobs=call.flag("blobs"), details=True)
    if call.flag("securityStatus"):  # nothing is scanned here, and saying "safe" would be a lie
        described["securityRepoStatus"] = {"scansDone": False, "filesWithIssues": []}
    return answer(described)


def tree(call: ApiCall) -> Response:
    repo = auth.repository(call)
    sha = resolve_revision(repo, call.params["revision"])
    try:
        paths = repo.paths(sha, call.params.get("path", "").strip("/"), call.flag("recursive"))
    except Missing as error:
        raise Refused(404, str(error), "EntryNotFound", headers={"X-Repo-Commit": sha}) from error
    start = call.number("cursor", 0)
    if not call.flag("expand"):
        return answer_page(call, paths, start, ENTRIES_PER_PAGE, lambda each: _described(repo.load(*each)))
    shown = {each[0] for each in paths[start : start + EXPANDED_PER_PAGE]}
    last = _last_commits(repo, sha, shown)
    return answer_page(
        call, paths, start, EXPANDED_PER_PAGE, lambda each: {**_described(repo.load(*each)), **_last(last[each[0]])}
    )


def paths_info(call: ApiCall) -> Response:
    repo = auth.repository(call)
    sha = resolve_revision(repo, call.params["revision"])
    form = call.form()
    asked_paths = list(dict.fromkeys(path.strip("/") for path in form.get("paths", []) if path.strip("/")))
    expand = form.get("expand", ["false"])[0].lower() in ("true", "1")
    if expand and len(asked_paths) > MAX_EXPANDED:
        raise Refused(413, f"expand is for at most {MAX_EXPANDED} paths; send several requests")
    if len(asked_paths) > MAX_PATHS:
        raise Refused(413, f"at most {MAX_PATHS} paths are looked up at a time; send several requests")
    entries = [repo.load(*row) for row in _present(repo, sha, asked_paths)]
    last = _last_commits(repo, sha, {each.path for each in entries}) if expand else {}
    return answer([{**_described(each), **(_last(last[each.path]) if expand else {})} for each in entries])


def _present(repo: Repository, sha: str, asked_paths: list[str]) -> list[tuple[str, int, str]]:
    """(path, mode, sha1) of those paths that are there. A directory is read once, whatever is asked of it."""
    directories = {path.rpartition("/")[0] for path in asked_paths}
    present: dict[str, tuple[str, int, str]] = {}
    if len(directories) > MAX_DIRECTORIES:
        present = {each[0]: each for each in repo.paths(sha, "", recursive=True)}
    else:
        for directory in directories:
            with contextlib.suppress(Missing):
                present |= {each[0]: each for each in repo.paths(sha, directory)}
    return [present[path] for path in asked_paths if path in present]


def commits(call: ApiCall) -> Response:
    """Newest first. A page's Link carries the next commit's sha, so that new commits shift nothing."""
    repo = auth.repository(call)
    formatted = "formatted" in call.request.query_params.getlist("expand[]")
    size = max(1, min(call.number("limit", COMMITS_PER_PAGE), COMMITS_PER_PAGE))
    shown, link = [], {}
    for each in repo.history(resolve_revision(repo, call.query("cursor") or call.params["revision"])):
        if len(shown) == size:
            link = call.next_page(each.id.decode())
            break
        title, _, message = each.message.decode("utf-8", "replace").partition("\n")
        said = {"title": title, "message": message.strip("\n")}
        described = {
            "id": each.id.decode(),
            **said,
            "authors": [{"user": author_name(each), "avatar": ""}],
            "date": date(each.commit_time),
        }
        if formatted:
            described["formatted"] = {name: escape(text) for name, text in said.items()}
        shown.append(described)
    return answer(shown, headers=link)


def refs(call: ApiCall) -> Response:
    repo = auth.repository(call)

    def listed(prefix: str) -> list[dict[str, str]]:
        targets = repo.refs(prefix).items()
        return [{"name": name, "ref": f"{prefix}{name}", "targetCommit": sha} for name, sha in targets]

    body = {"branches": listed("refs/heads/"), "tags": listed("refs/tags/"), "converts": []}
    if call.flag("include_prs"):
        body["pullRequests"] = listed(PR_PREFIX)
    return answer(body)


def safetensors_headers(call: ApiCall) -> Response:
    """The headers of all shards of a model in one answer."""
    repo = auth.repository(call)
    sha = resolve_revision(repo, "main")
    files, index = repo.files(sha), call.params["path"]
    if index not in files:
        raise Refused(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": sha})
    headers = {}
    for path in info.shards(repo, files, index):
        try:
            headers[path.rpartition("/")[2]] = _header(repo, repo.load(path, *files[path]))
        except (ValueError, KeyError, OSError) as error:
            raise Refused(400, f"{path} does not exist or is not a safetensors file") from error
    content = info.read_json(repo, files, index) or {}
    return answer({"index": {"metadata": content.get("metadata")}, "headers": headers})


def _header(repo: Repository, entry: Entry) -> dict[str, Any]:
    length = lfs.tensor_header(repo, entry).length  # refuses what is not a header
    with lfs.open_entry(repo, entry) as file:
        file.seek(8)
        return json.loads(file.read(length))


def lfs_files(call: ApiCall) -> Response:
    """The large files of main, for the owner: who looks at what takes room."""
    repo = auth.repository(call, write=True)
    sha, large_files = resolve_revision(repo, "main"), []
    pushed = date(repo.commit(sha).commit_time)
    for path, where in sorted(repo.files(sha).items()):
        pointer = repo.load(path, *where).pointer
        if pointer and lfs.owns(repo, pointer):
            named = {"fileOid": pointer.oid, "oid": pointer.oid, "filename": path, "size": pointer.size}
            large_files.append({**named, "pushedAt": pushed, "ref": "refs/heads/main"})
    return answer_page(call, large_files, call.number("cursor", 0), ENTRIES_PER_PAGE)


def resolve_revision(repo: Repository, revision: str) -> str:
    try:
        return repo.resolve(revision)
    except Missing as error:
        raise Refused(404, f"Invalid rev id: {error}", "RevisionNotFound") from error


def answer_page(
    call: ApiCall, items: list, start: int, size: int, described: Callable = lambda each: each
) -> Response:
    """A slice of a list. Only what is on the page is described, because that reads objects; None is left out."""
    following = start + size
    headers = call.next_page(following) if following < len(items) else {}
    described_items = [described(each) for each in items[start:following]]
    return answer([each for each in described_items if each is not None], headers=headers)


def _described(entry: Entry) -> dict[str, Any]:
    described = {"type": "directory" if entry.content is None else "file", "path": entry.path, "oid": entry.oid}
    described["size"] = entry.size
    if entry.pointer:
        described["lfs"] = {
            "oid": entry.pointer.oid,
            "size": entry.size,
            "pointerSize": len(entry.pointer.text()),
        }
    return described


def _last_commits(repo: Repository, sha: str, paths: set[str]) -> dict[str, Commit]:
    """The commit that made each path what it is; the oldest looked at for what is older than that."""
    missing = {path: oid for path, oid in _oids(repo, sha, paths).items() if path in paths}
    changed_by, after = {}, repo.commit(sha)
    for number, commit in enumerate(repo.history(sha)):
        if commit.tree != after.tree:
            before = _oids(repo, commit.id.decode(), missing.keys())
            for path in [path for path, oid in missing.items() if before.get(path) != oid]:
                changed_by[path] = after
                del missing[path]
        if not missing or number == MAX_HISTORY:
            break
        after = commit
    return changed_by | dict.fromkeys(missing, after)


def _oids(repo: Repository, sha: str, paths: Iterable[str]) -> dict[str, str]:
    """The sha1 of everything that is in the directories of these paths."""
    oids: dict[str, str] = {}
    for directory in {path.rpartition("/")[0] for path in paths}:
        with contextlib.suppress(Missing):
            oids |= {path: oid for path, _, oid in repo.paths(sha, directory)}
    return oids


def _last(commit: Commit) -> dict[str, Any]:
    title = commit.message.decode("utf-8", "replace").partition("\n")[0]
    return {"lastCommit": {"id": commit.id.decode(), "title": title, "date": date(commit.commit_time)}}
