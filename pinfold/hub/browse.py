"""The JSON calls under /api/ that read: lists, descriptions, history, refs. Each handler is one call."""

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from starlette.responses import Response

from pinfold.hub import auth, card
from pinfold.hub.commit import PR_PREFIX
from pinfold.hub.store import Entry, Missing, Repository, author_name
from pinfold.hub.wire import Call, HubError, answer

COMMITS_PER_PAGE = 100
ENTRIES_PER_PAGE = 1000


def list_repos(call: Call) -> Response:
    search, author = (call.query("search") or "").lower(), call.query("author")
    wanted = set(call.request.query_params.getlist("filter"))
    if pipeline := call.query("pipeline_tag"):
        wanted.add(pipeline)
    found = [
        _info(repo, repo.resolve("main"), siblings=call.flag("full"))
        for repo in call.hub.store.all(call.kind)
        if auth.may_read(repo, call.user) and search in repo.id.lower() and author in (None, repo.namespace)
    ]
    found = [each for each in found if wanted <= set(each["tags"])]
    found.sort(
        key=lambda each: each["createdAt" if call.query("sort") == "createdAt" else "lastModified"], reverse=True
    )
    limit = min(_number(call, "limit", ENTRIES_PER_PAGE), ENTRIES_PER_PAGE)
    return _page(call, found, _number(call, "cursor", 0), max(limit, 1))


def repo_info(call: Call) -> Response:
    repo = auth.repository(call)
    return answer(_info(repo, resolve(repo, call.params.get("revision", "main")), True, call.flag("blobs")))


def tree(call: Call) -> Response:
    repo = auth.repository(call)
    sha = resolve(repo, call.params["revision"])
    try:
        paths = repo.paths(sha, call.params.get("path", "").strip("/"), call.flag("recursive"))
    except Missing as error:
        raise HubError(404, str(error), "EntryNotFound", headers={"X-Repo-Commit": sha}) from error
    start = _number(call, "cursor", 0)
    return _page(call, paths, start, ENTRIES_PER_PAGE, lambda each: _described(repo.load(*each)))


def paths_info(call: Call) -> Response:
    repo = auth.repository(call)
    sha = resolve(repo, call.params["revision"])
    entries = [repo.entry(sha, path.strip("/")) for path in call.form().get("paths", []) if path.strip("/")]
    return answer([_described(each) for each in entries if each])


def commits(call: Call) -> Response:
    """Newest first. A page's Link carries the next commit's sha, so that new commits shift nothing."""
    repo = auth.repository(call)
    page, link = [], {}
    for each in repo.history(resolve(repo, call.query("cursor") or call.params["revision"])):
        if len(page) == COMMITS_PER_PAGE:
            link = call.next_page(each.id.decode())
            break
        title, _, message = each.message.decode("utf-8", "replace").partition("\n")
        page.append(
            {
                "id": each.id.decode(),
                "title": title,
                "message": message.strip("\n"),
                "authors": [{"user": author_name(each), "avatar": ""}],
                "date": _date(each.commit_time),
            }
        )
    return answer(page, headers=link)


def refs(call: Call) -> Response:
    repo = auth.repository(call)

    def listed(prefix: str) -> list[dict[str, str]]:
        found = repo.refs(prefix).items()
        return [{"name": name, "ref": f"{prefix}{name}", "targetCommit": sha} for name, sha in found]

    body = {"branches": listed("refs/heads/"), "tags": listed("refs/tags/"), "converts": []}
    if call.flag("include_prs"):
        body["pullRequests"] = listed(PR_PREFIX)
    return answer(body)


def resolve(repo: Repository, revision: str) -> str:
    try:
        return repo.resolve(revision)
    except Missing as error:
        raise HubError(404, f"Invalid rev id: {error}", "RevisionNotFound") from error


def _page(call: Call, items: list, start: int, size: int, described: Callable = lambda each: each) -> Response:
    """A slice of a list. Only what is on the page is described, because that reads objects."""
    following = start + size
    headers = call.next_page(following) if following < len(items) else {}
    return answer([described(each) for each in items[start:following]], headers=headers)


def _info(repo: Repository, sha: str, siblings: bool, blobs: bool = False) -> dict[str, Any]:
    files = repo.files(sha)
    try:
        readme = repo.load("README.md", *files["README.md"]).content if "README.md" in files else b""
        content = card.metadata((readme or b"").decode("utf-8", "replace"))
    except ValueError:
        content = {}  # an invalid card hides its metadata and nothing else
    info = {
        "_id": repo.id,
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.namespace,
        "sha": sha,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.tags(content),
        "cardData": content or None,
        "library_name": content.get("library_name"),
        "pipeline_tag": content.get("pipeline_tag"),
        "createdAt": _date(repo.created),
        "lastModified": _date(repo.commit(sha).commit_time),
    }
    if blobs:
        info["siblings"] = [_sibling(repo.load(path, *found)) for path, found in sorted(files.items())]
    elif siblings:
        info["siblings"] = [{"rfilename": path} for path in sorted(files)]
    return info


def _sibling(entry: Entry) -> dict[str, Any]:
    found = {"rfilename": entry.path, "blobId": entry.oid, "size": entry.size}
    if entry.pointer:
        found["lfs"] = {
            "sha256": entry.pointer.oid,
            "size": entry.size,
            "pointerSize": len(entry.pointer.text()),
        }
    return found


def _described(entry: Entry) -> dict[str, Any]:
    found = {"type": "directory" if entry.content is None else "file", "path": entry.path, "oid": entry.oid}
    found["size"] = entry.size
    if entry.pointer:
        found["lfs"] = {
            "oid": entry.pointer.oid,
            "size": entry.size,
            "pointerSize": len(entry.pointer.text()),
        }
    return found


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _number(call: Call, name: str, default: int) -> int:
    text = call.query(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,9}", text):
        raise HubError(400, f"{name} must be a number")
    return int(text)
