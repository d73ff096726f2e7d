"""The pages about files: a directory of a revision, and one file."""

import posixpath
from dataclasses import dataclass

from starlette.responses import Response

from pinfold.hub.api import card_tags
from pinfold.hub.api.browse import resolve_revision
from pinfold.hub.api.content import IMAGES
from pinfold.hub.pages.code import highlighted_lines, language_of
from pinfold.hub.pages.markdown import render_markdown
from pinfold.hub.pages.page import Change, Place, page
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage.errors import Missing, Refused
from pinfold.hub.storage.glance import remembered
from pinfold.hub.storage.lfs import tensor_header
from pinfold.hub.storage.repository import Entry, Repository

PER_PAGE = 500
TENSORS_PER_PAGE = 1000
MAX_SHOWN = 2**20  # bytes of a text
MAX_LINES = 10_000
MAX_HISTORY = 2000  # commits that are looked through for what changed a file last
REMEMBERED = 500
_changes: dict = {}  # (repository, commit, directory): {path: what changed it last}


@dataclass(frozen=True)
class Row:
    """An entry of a directory."""

    entry: Entry
    change: Change | None

    @property
    def name(self) -> str:
        return posixpath.basename(self.entry.path)

    @property
    def is_directory(self) -> bool:
        return self.entry.content is None

    @property
    def digest(self) -> str:
        return self.entry.pointer.oid if self.entry.pointer else self.entry.oid


def place_of(call: ApiCall) -> Place:
    """The repository and revision in the path."""
    repo = auth.repository(call)
    revision = call.params.get("revision", "main")
    return Place(repo, revision, resolve_revision(repo, revision))


def revision_names(repo: Repository) -> dict[str, list[str]]:
    """What the selector of a revision offers."""
    return {"Branches": list(repo.refs("refs/heads/")), "Tags": list(repo.refs("refs/tags/"))}


def tree(call: ApiCall) -> Response:
    """What is in a directory: folders first."""
    here, path = place_of(call), call.params.get("path", "").strip("/")
    try:
        listed = here.repo.paths(here.sha, path)
    except Missing as error:
        raise Refused(404, str(error), "EntryNotFound", headers={"X-Repo-Commit": here.sha}) from error
    listed.sort(key=lambda each: (each[1] & 0o170000 != 0o040000, each[0]))
    current = max(call.number("page", 1), 1)
    key = (str(here.repo.path), here.sha, path)
    changes = remembered(_changes, REMEMBERED, key, lambda: _last_changes(here.repo, here.sha, path, listed))
    shown = listed[(current - 1) * PER_PAGE : current * PER_PAGE]
    rows = [Row(here.repo.load(*each), changes.get(each[0])) for each in shown]
    return page(
        call,
        "tree.html",
        place=here,
        path=path,
        rows=rows,
        total=len(listed),
        current=current,
        pages=max(-(-len(listed) // PER_PAGE), 1),
        crumbs=crumbs(path),
        names=revision_names(here.repo),
        last=Change.of(here.repo.commit(here.sha)),
    )


def _last_changes(repo: Repository, sha: str, path: str, listed: list[tuple[str, int, str]]) -> dict[str, Change]:
    """The newest commit that made each entry what it is; an entry that is older than what is searched has none."""
    missing = {each: oid for each, _, oid in listed}
    changes: dict[str, Change] = {}
    after: Change | None = None
    for seen, commit in enumerate(repo.history(sha)):
        present = _directory(repo, commit.id.decode(), path)
        for each in [name for name, oid in missing.items() if present.get(name) != oid]:
            changes[each] = after
            del missing[each]
        if not missing or seen == MAX_HISTORY:
            return changes
        after = Change.of(commit)
    return changes | dict.fromkeys(missing, after)  # there since the first commit


def _directory(repo: Repository, sha: str, path: str) -> dict[str, str]:
    try:
        return {each: oid for each, _, oid in repo.paths(sha, path)}
    except Missing:
        return {}


def blob(call: ApiCall) -> Response:
    """One file, as what it is: a text with line numbers, a card, a picture, the header of weights."""
    here, path = place_of(call), call.params["path"].strip("/")
    entry = here.repo.entry(here.sha, path)
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": here.sha})
    if entry.content is None:
        return Response(status_code=303, headers={"Location": here.to("tree", path)})
    values = {
        "names": revision_names(here.repo),
        "place": here,
        "path": path,
        "entry": entry,
        "crumbs": crumbs(path),
        **_view(call, here, entry),
    }
    return page(call, "blob.html", **values)


def _view(call: ApiCall, here: Place, entry: Entry) -> dict[str, object]:
    """How to show a file, and what that takes."""
    suffix = posixpath.splitext(entry.path)[1].lower()
    if suffix == ".safetensors":
        return _tensors(call, here, entry)
    if suffix in IMAGES:
        return {"view": "image"}
    if entry.pointer:
        return {"view": "none", "reason": "A large file: only its size and hash are shown."}
    content = entry.content or b""
    if b"\0" in content[:8192]:
        return {"view": "none", "reason": "A binary file."}
    if len(content) > MAX_SHOWN:
        return {"view": "none", "reason": f"A text of more than {MAX_SHOWN // 2**20} MB: download it to read it."}
    text = content.decode("utf-8", "replace")
    if suffix == ".md" and call.query("source") is None:
        body = card_tags.body(text) if posixpath.basename(entry.path) == "README.md" else text
        return {"view": "markdown", "html": render_markdown(body, here, posixpath.dirname(entry.path))}
    if text.count("\n") > MAX_LINES:
        return {"view": "none", "reason": f"A text of more than {MAX_LINES:,} lines: download it to read it."}
    lines = highlighted_lines(text, language_of(entry.path)) if text else []
    return {"view": "code", "lines": lines, "is_markdown": suffix == ".md"}


def _tensors(call: ApiCall, here: Place, entry: Entry) -> dict[str, object]:
    try:
        header = tensor_header(here.repo, entry)
    except ValueError as error:
        return {"view": "none", "reason": f"This is not a safetensors file that can be shown: {error}."}
    current = max(call.number("page", 1), 1)
    return {
        "view": "tensors",
        "header": header,
        "tensors": header.tensors[(current - 1) * TENSORS_PER_PAGE : current * TENSORS_PER_PAGE],
        "current": current,
        "pages": max(-(-len(header.tensors) // TENSORS_PER_PAGE), 1),
    }


def crumbs(path: str) -> list[tuple[str, str]]:
    """(name, path) of each folder above a file, and of itself.

    >>> crumbs("a/b.py")
    [('a', 'a'), ('b.py', 'a/b.py')]
    """
    parts = path.split("/") if path else []
    return [(part, "/".join(parts[: at + 1])) for at, part in enumerate(parts)]
