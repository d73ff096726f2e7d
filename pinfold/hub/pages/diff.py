"""What differs between two commits, file by file, within limits that keep a page a page."""

import difflib
import re
import time
from dataclasses import dataclass, field

from pinfold.hub.storage.repository import Entry, Repository

MAX_FILE = 2**19  # bytes of a file that is compared line by line
MAX_FILE_LINES = 6000
MAX_LINES = 4000  # shown on one page
MAX_FILES = 500
MAX_SECONDS = 3.0
_CONTEXT = 3


@dataclass(frozen=True)
class Line:
    kind: str  # "add", "del", "same" or "hunk"
    text: str
    old: int | None = None
    new: int | None = None


@dataclass(frozen=True)
class Side:
    """A file before or after."""

    size: int
    digest: str
    large: bool


@dataclass(frozen=True)
class FileDiff:
    path: str
    what: str  # "added", "deleted", "changed" or "renamed"
    old: Side | None = None
    new: Side | None = None
    lines: list[Line] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    reason: str = ""  # why there are no lines
    old_path: str = ""


@dataclass(frozen=True)
class Difference:
    files: list[FileDiff]
    left_out: int  # files beyond the limit

    @property
    def added(self) -> int:
        return sum(each.added for each in self.files)

    @property
    def removed(self) -> int:
        return sum(each.removed for each in self.files)


def compare_commits(repo: Repository, base: str | None, head: str, code_only: bool = False) -> Difference:
    """Compare two commits; a first commit is compared with nothing."""
    before, after = (repo.files(base) if base else {}), repo.files(head)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if code_only:
        changed = [path for path in changed if path.endswith(".py")]
    moved = _moved(before, after, changed)
    changed = [path for path in changed if path not in moved.values()]
    files, room, deadline = [], MAX_LINES, time.monotonic() + MAX_SECONDS
    for path in changed[:MAX_FILES]:
        source = moved.get(path, path)
        old = repo.load(source, *before[source]) if source in before else None
        new = repo.load(path, *after[path]) if path in after else None
        file_diff = _file(path, old, new, room, deadline)
        room -= len(file_diff.lines)
        files.append(file_diff)
    return Difference(files, len(changed) - len(files))


def _moved(before: dict, after: dict, changed: list[str]) -> dict[str, str]:
    """New path -> old path of files that only changed their names."""
    gone: dict[str, str] = {before[path][1]: path for path in changed if path not in after}
    moved = {}
    for path in changed:
        if path not in before and after[path][1] in gone:
            moved[path] = gone.pop(after[path][1])
    return moved


def _file(path: str, old: Entry | None, new: Entry | None, room: int, deadline: float) -> FileDiff:
    """What changed in a file, or the first reason not to compare its lines.

    What is known without reading comes first, then what is read of the file, and the search for equal lines, which is
    what takes long, last. A file without lines is called so whatever its size.

    Args:
        old, new: None where it was added or deleted.
        room: lines that the page has left. deadline: of time.monotonic().
    """
    renamed = old is not None and new is not None and old.path != new.path
    what = "added" if old is None else "deleted" if new is None else "renamed" if renamed else "changed"
    file_diff = FileDiff(path, what, _side(old), _side(new), old_path=old.path if renamed else "")
    if renamed and old.oid == new.oid:
        return _with(file_diff, reason="Renamed without changes.")
    sides = [each for each in (old, new) if each is not None]
    if any(each.pointer for each in sides):
        return _with(file_diff, reason="A large file: its content is not compared.")
    if any(b"\0" in (each.content or b"")[:8192] for each in sides):
        return _with(file_diff, reason="A binary file: its content is not compared.")
    if any(each.size > MAX_FILE for each in sides):
        return _with(file_diff, reason=f"Longer than {MAX_FILE // 1024} kB: its lines are not compared.")
    before, after = (_lines(each) for each in (old, new))
    if max(len(before), len(after)) > MAX_FILE_LINES:
        return _with(file_diff, reason=f"More than {MAX_FILE_LINES:,} lines: they are not compared.")
    if time.monotonic() > deadline:
        return _with(file_diff, reason="Not compared: the files above took long enough.")
    lines = _unified(before, after)
    added, removed = (sum(line.kind == kind for line in lines) for kind in ("add", "del"))
    if len(lines) > room:
        lines, reason = [], f"Not shown: the page is full at {MAX_LINES:,} lines."
    else:
        reason = "" if lines else "An empty file." if old is None or new is None else "Only its mode changed."
    return _with(file_diff, lines=lines, added=added, removed=removed, reason=reason)


def _with(file_diff: FileDiff, **values: object) -> FileDiff:
    return FileDiff(**{**file_diff.__dict__, **values})


def _side(entry: Entry | None) -> Side | None:
    if entry is None:
        return None
    return Side(entry.size, entry.pointer.oid if entry.pointer else entry.oid, entry.pointer is not None)


def _lines(entry: Entry | None) -> list[str]:
    """Lines as git counts them. A last line without an end says so, as git does."""
    text = (entry.content or b"").decode("utf-8", "replace") if entry else ""
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], f"{lines[-1]}\n\\ No newline at end of file"]


def _unified(before: list[str], after: list[str]) -> list[Line]:
    """Hunks with three lines around each change, and both line numbers."""
    # What both begin with is left out: the search is quadratic in the worst case.
    start = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    if start is None:
        start = min(len(before), len(after))
    skipped = max(start - _CONTEXT, 0)
    lines: list[Line] = []
    old = new = 0
    for text in difflib.unified_diff(before[skipped:], after[skipped:], lineterm="", n=_CONTEXT):
        if text.startswith(("---", "+++")) and not lines:
            continue
        if match := re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", text):
            old, new = (int(match[at]) + skipped for at in (1, 3))
            counts = [match[at] or "1" for at in (2, 4)]
            lines.append(Line("hunk", f"@@ -{old},{counts[0]} +{new},{counts[1]} @@"))
        elif text.startswith("+"):
            lines.append(Line("add", text[1:], None, new))
            new += 1
        elif text.startswith("-"):
            lines.append(Line("del", text[1:], old, None))
            old += 1
        else:
            lines.append(Line("same", text[1:], old, new))
            old, new = old + 1, new + 1
    return lines
