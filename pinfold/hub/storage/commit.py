"""A commit, from the lines a client streams to the ref that moves.

How it works:
- Lines are read one at a time and their blobs written at once, so memory holds one file.
- Under the repository's lock the operations are applied to the parent's file list.
- The tree and the commit are written; moving the ref makes them visible, or nothing is.
- A commit that is the tip already, sent again after a lost answer, is answered with the tip.
"""

import base64
import binascii
import json
import time
import unicodedata
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool

from pinfold.hub.storage import discussions, faults, lfs
from pinfold.hub.storage.discussions import PR_PREFIX, Discussion
from pinfold.hub.storage.errors import Missing, Moved, Refused
from pinfold.hub.storage.gitrules import Attributes, attribute_line
from pinfold.hub.storage.repository import FILE, Pointer, Repository, author_name

MAX_INLINE = 10 * 2**20  # bytes of a file inside the commit request; larger ones go through LFS
MAX_LINE = MAX_INLINE * 4 // 3 + 2**16
MAX_BODY = 2 * 2**30
MAX_OPERATIONS = 25_000
MAX_PATH = 1024
MAX_DEPTH = 64  # directories
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789¹²³")}


@dataclass
class Draft:
    """What a client wants to commit."""

    summary: str = ""
    description: str = ""
    parent: str = ""
    operations: list[tuple[str, str, str]] = field(default_factory=list)  # (what, path, blob sha1)
    pointers: set[str] = field(default_factory=set)  # paths of large files

    @property
    def message(self) -> str:
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary


def check_new_path(path: Any) -> str:
    """A path for a file to come: also Windows can hold it. What is there already may be deleted."""
    for part in check_path(path).split("/"):
        if ":" in part or part[-1] in ". " or part.partition(".")[0].rstrip(" ").lower() in _DEVICES:
            raise Refused(
                400,
                f"path {path[:200]!r} is not allowed on Windows; leave out ':', a '.' or space at the end of a name, "
                "and names such as 'nul'",
            )
    return path


def check_path(path: Any) -> str:
    """A path that every git and every file system of a clone can hold, inside the clone."""
    if not isinstance(path, str) or not path:
        raise Refused(400, "a path is missing or not a string")
    parts = path.split("/")
    bad = (
        any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 or char == "\\" for char in path)
        or any(part in ("", ".", "..") or len(part.encode(errors="replace")) > 255 for part in parts)
        or any(_as_stored(part) in (".git", "git~1") for part in parts)
        or len(path) > MAX_PATH
        or len(parts) > MAX_DEPTH
    )
    if bad:
        raise Refused(
            400,
            f"path {path[:200]!r} is not allowed; use relative paths without '..', '.git', '\\' or control "
            f"characters, of at most {MAX_PATH} characters and {MAX_DEPTH} parts",
        )
    return path


def _as_stored(part: str) -> str:
    """The name that Windows or macOS would make of it: they drop case, trailing dots and invisible characters.

    On Windows `.git::$INDEX_ALLOCATION` is another name of `.git`.
    """
    return "".join(char for char in part if unicodedata.category(char) != "Cf").lower().partition(":")[0].rstrip(". ")


async def read_draft(repo: Repository, chunks: AsyncIterator[bytes]) -> Draft:
    """Read NDJSON: a header, then operations."""
    draft, pending, received = Draft(), bytearray(), 0
    async for chunk in chunks:
        received += len(chunk)
        searched = max(len(pending) - 1, 0)
        pending += chunk
        while (end := pending.find(b"\n", searched)) >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            searched = 0
            await run_in_threadpool(_read_line, repo, draft, line)
        if len(pending) > MAX_LINE or received > MAX_BODY:
            raise Refused(413, f"a file inside a commit may have {MAX_INLINE} bytes and a commit {MAX_BODY}; use LFS")
    await run_in_threadpool(_read_line, repo, draft, bytes(pending))
    if not draft.summary:
        raise Refused(400, "a commit needs a header line with a summary")
    return draft


def _read_line(repo: Repository, draft: Draft, line: bytes) -> None:
    if not line.strip():
        return
    try:
        item = json.loads(line)
        key, value = item["key"], dict(item["value"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refused(400, "every line of a commit must be a JSON object with key and value") from error
    if key == "header":
        draft.summary = _text(value, "summary").strip()
        draft.description = _text(value, "description").strip()
        draft.parent = _text(value, "parentCommit").strip().lower()
        return
    if len(draft.operations) >= MAX_OPERATIONS:
        raise Refused(413, f"a commit may change {MAX_OPERATIONS} files; send several commits")
    if key == "file":
        path = check_new_path(value.get("path"))
        draft.operations.append(("add", path, repo.write_blob(_content(repo, value))))
        draft.pointers.discard(path)
    elif key == "lfsFile":
        path = check_new_path(value.get("path"))
        draft.operations.append(("add", path, repo.write_blob(_pointer(repo, value).text())))
        draft.pointers.add(path)
    elif key in ("deletedFile", "deletedFolder"):
        path = value.get("path")
        path = check_path(path.rstrip("/") if isinstance(path, str) else path)
        draft.operations.append((key, path, ""))
    else:
        raise Refused(400, f"operation {str(key)[:40]!r} is unknown; use file, lfsFile, deletedFile or deletedFolder")


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if text is None:
        return ""
    if not isinstance(text, str) or "\0" in text or len(text) > 65_536:
        raise Refused(400, f"{name} must be a text of at most 65536 characters")
    return text.encode("utf-8", "replace").decode()


def _content(repo: Repository, value: dict[str, Any]) -> bytes:
    text, encoding = value.get("content"), value.get("encoding", "utf-8")
    if not isinstance(text, str) or encoding not in ("base64", "utf-8"):
        raise Refused(400, "a file needs content as text, with encoding base64 or utf-8")
    try:
        content = base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()
    except (binascii.Error, ValueError) as error:
        raise Refused(400, "the content of a file is not valid base64 or UTF-8") from error
    if len(content) > MAX_INLINE:
        raise Refused(413, f"a file inside a commit may have {MAX_INLINE} bytes; use LFS")
    pointer = Pointer.parse(content)
    if pointer and not lfs.owns(repo, pointer):
        raise Refused(400, f"a file is a git-lfs pointer to {pointer.oid}; upload the file itself")
    return content


def _pointer(repo: Repository, value: dict[str, Any]) -> Pointer:
    oid, size = value.get("oid"), value.get("size")
    if not isinstance(oid, str) or not lfs.OID.fullmatch(oid) or value.get("algo", "sha256") != "sha256":
        raise Refused(400, "a large file needs algo sha256 and its oid as 64 hex digits")
    stored = lfs.stored_size(repo, oid)
    if stored is None or (size is not None and size != stored):
        raise Refused(400, f"this repository has not received the large file {oid} of that size; upload it first")
    return Pointer(oid, stored)


def apply_draft(repo: Repository, draft: Draft, revision: str, author: str, new_pr: bool) -> tuple[str, int | None]:
    """Make the commit on a branch, or as a new pull request. Returns its sha and the pull request's number."""
    with repo.lock:
        name, tip = repo.branch(revision)
        discussions.open_number(repo, name)
        parent = _parent(repo, draft, tip, new_pr)
        if parent != tip and not new_pr:
            if not _is_again(repo, draft, parent, tip, author):
                raise _stale(tip)
            return tip, None
        tree = repo.write_tree(_changed(repo, draft, parent))
        sha = repo.write_commit(tree, parent, author, draft.message)
        faults.reach("commit-written")
        try:
            if not new_pr:
                repo.move_ref(name, tip, sha)
                return sha, None
            return sha, _open_pull(repo, draft, name, parent, sha, author)
        except Moved as error:
            raise _stale(tip) from error


def _open_pull(repo: Repository, draft: Draft, target: str, parent: str, sha: str, author: str) -> int:
    number = discussions.next_number(repo, author)
    title = draft.summary.partition("\n")[0][: discussions.MAX_TITLE]
    new = Discussion(number, title, author, int(time.time()), pull=True, target=target, base=parent)
    if draft.description:
        new.events.append(discussions.comment(author, draft.description))
    repo.add_ref(f"{PR_PREFIX}{number}", sha)
    discussions.save(repo, new)
    return number


def _parent(repo: Repository, draft: Draft, tip: str, new_pr: bool) -> str:
    """The commit to build on. One behind the tip is let through: this may be the tip's own commit, sent again."""
    asked = draft.parent
    if not asked or (len(asked) >= 7 and tip.startswith(asked)):
        return tip
    if new_pr:
        try:
            return repo.resolve(asked)
        except Missing as error:
            raise Refused(404, str(error), "RevisionNotFound") from error
    before = [each.decode() for each in repo.commit(tip).parents]
    if len(asked) >= 7 and before and before[0].startswith(asked):
        return before[0]
    raise _stale(tip)


def _is_again(repo: Repository, draft: Draft, parent: str, tip: str, author: str) -> bool:
    """Whether the tip is what this draft makes of its parent, by the same author with the same message."""
    last = repo.commit(tip)
    if (last.message, author_name(last)) != (draft.message.encode(), author):
        return False
    try:
        return repo.write_tree(_changed(repo, draft, parent)) == last.tree.decode()
    except Refused:  # it does not even apply to the parent
        return False


def _stale(tip: str) -> Refused:
    return Refused(412, f"A commit has happened since: the branch is at {tip}. Please refresh and try again.")


def _changed(repo: Repository, draft: Draft, parent: str) -> dict[str, tuple[int, str]]:
    """The parent's files with the operations applied, in their order."""
    files = repo.files(parent)
    for what, path, oid in draft.operations:
        if what == "add":
            files[path] = (FILE, oid)
            continue
        gone = [each for each in files if each.startswith(f"{path}/")] if what == "deletedFolder" else [path]
        if not gone or any(files.pop(each, None) is None for each in gone):
            raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    check_clashes(files, repo.files(parent))
    _add_attributes(repo, draft, files)
    return files


def check_clashes(files: Iterable[str], before: Iterable[str]) -> None:
    """A name is a file or a directory, not both, and no other name's twin where case or accents do not count.

    Twins of a mirrored history stay: refusing every commit to it would not help.
    """
    if clash := sorted(_directories(files) & set(files)):
        raise Refused(400, f"{clash[0]!r} would be both a file and a directory; delete one of them in the same commit")
    twins = _twins(files)
    if twins and not _twins(before):
        raise Refused(400, f"{twins[0]!r} and {twins[1]!r} are one name on Windows and macOS; rename one of them")


def _directories(files: Iterable[str]) -> set[str]:
    return {path[:at] for path in files for at, char in enumerate(path) if char == "/"}


def _twins(files: Iterable[str]) -> tuple[str, str] | None:
    seen: dict[str, str] = {}
    for path in sorted(_directories(files) | set(files)):
        twin = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if twin != path:
            return twin, path
    return None


def _add_attributes(repo: Repository, draft: Draft, files: dict[str, tuple[int, str]]) -> None:
    """Large files that no rule covers get a line, or a git clone would hold pointers in their place."""
    known = files.get(".gitattributes")
    text = (repo.load(".gitattributes", *known).content if known else b"") or b""
    rules = Attributes(text)
    missing = sorted(path for path in draft.pointers if path in files and not rules.large(path))
    if missing:
        text += b"" if text.endswith(b"\n") or not text else b"\n"
        text += "".join(map(attribute_line, missing)).encode()
        files[".gitattributes"] = (FILE, repo.write_blob(text))
