"""`pinfold hub gc`: what no branch, tag or pull request needs any more, and what was left over.

It needs the data directory for itself and refuses while a server runs.
"""

import contextlib
import os
import re
import shutil
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dulwich.errors import ChecksumMismatch, FileFormatException

from pinfold.common.files import lock
from pinfold.common.private import DIRECTORY, FILE
from pinfold.hub.storage import lfs, packs
from pinfold.hub.storage.errors import Damaged
from pinfold.hub.storage.repository import Pointer, Repository
from pinfold.hub.storage.store import KINDS, Store

DAY = 24 * 3600
MAX_POINTER = 1024  # bytes; a larger blob is not a pointer
_LOOSE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{38}")
# What dulwich, zlib and json raise for damaged files.
DAMAGE = (
    Damaged,
    StopIteration,
    RuntimeError,
    struct.error,
    KeyError,
    ValueError,
    IndexError,
    OSError,
    AssertionError,
    zlib.error,
    FileFormatException,
    ChecksumMismatch,
)


@dataclass
class Garbage:
    """What can go from one place."""

    where: str
    git: list[Path]
    large: list[Path]
    temporary: list[Path]

    @property
    def size(self) -> int:
        return sum(_size(path) for path in (*self.git, *self.large, *self.temporary))

    def remove(self) -> None:
        for path in (*self.git, *self.large, *self.temporary):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for path in self.large:
            for directory in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):  # not empty
                    directory.rmdir()

    def __str__(self) -> str:
        counts = ((self.git, "git objects"), (self.large, "large files"), (self.temporary, "temporary files"))
        said = ", ".join(f"{len(paths)} {what}" for paths, what in counts if paths)
        return f"{self.where}: {said}, {self.size} bytes"


def garbage(data: Path, days: float, faults: list[str]) -> Iterator[Garbage]:
    """What no branch, tag or pull request reaches and what is left over, if older than so many days.

    A repository with damage is left as it is: its fault is added to `faults`.
    """
    before = time.time() - days * DAY
    with contextlib.ExitStack() as stack:
        imports = [path for path in (data / "imports").glob("*.git") if _is_free(stack, path.with_suffix(".lock"))]
        places = [*Store(data).leftovers(), *(data / "parts").glob("*"), *imports]
        if old := [path for path in places if _changed(path) < before]:
            yield Garbage("unfinished uploads and imports", [], [], old)
    for repo in repositories(data, faults):
        where = f"{repo.kind}/{repo.id}"
        with contextlib.ExitStack() as stack:
            if "mirror" in repo.settings and not _is_free(stack, import_lock(data, repo.kind, repo.id)):
                continue
            try:
                removable = _garbage_of(repo, where, before)
            except DAMAGE as error:
                faults.append(f"{where}: left as it is, because {reason(error)}; run pinfold hub verify")
                continue
            if removable.git or removable.large or removable.temporary:
                yield removable


def import_lock(data: Path, kind: str, repo_id: str) -> Path:
    """What an import holds while it writes to a repository, or builds one. No name has -- in it."""
    (data / "imports").mkdir(mode=DIRECTORY, exist_ok=True)
    return data / "imports" / f"{kind}--{repo_id.replace('/', '--')}.lock"


def _is_free(stack: contextlib.ExitStack, path: Path) -> bool:
    """Hold an import's lock for as long as the stack lasts, or say that an import runs."""
    try:
        stack.enter_context(lock(path, wait=False, mode=FILE))
        return True
    except BlockingIOError:
        return False


def _garbage_of(repo: Repository, where: str, before: float) -> Garbage:
    loose = {path.parent.name + path.name: path for path in _loose(repo)}
    young = [sha.encode() for sha, path in loose.items() if path.stat().st_mtime >= before]
    kept = reachable(repo)
    _keep_young(repo, young, kept)
    large = {pointer.oid for sha in kept if (pointer := pointer_in(repo, sha))}
    return Garbage(
        where,
        [path for sha, path in loose.items() if sha.encode() not in kept],
        [path for path in _large(repo) if path.name not in large and path.stat().st_mtime < before],
        [path for path in _leftovers(repo) if path.stat().st_mtime < before],
    )


def reachable(repo: Repository) -> dict[bytes, None]:
    """Every object that a ref leads to. KeyError where one is missing."""
    store, kept, commits = repo.git.object_store, {}, set()
    for name in repo.git.refs.allkeys():
        commit, tags = packs.peel(store, repo.git.refs[name])
        commits.add(commit)
        kept |= dict.fromkeys(tags)
    _add_history(repo, commits, kept)
    return kept


def _add_history(repo: Repository, commits: set[bytes], kept: dict[bytes, None]) -> None:
    store = repo.git.object_store
    for sha in packs.ancestors(store, commits):
        kept[sha] = None
        packs.add_files(store, store[sha].tree, kept)


def _keep_young(repo: Repository, young: list[bytes], kept: dict[bytes, None]) -> None:
    """What is young stays with all that it needs: perhaps a commit of a branch deleted by mistake."""
    store = repo.git.object_store
    for sha in young:
        kind = store[sha].type_name
        try:
            if kind == b"commit":
                _add_history(repo, {sha}, kept)
            elif kind == b"tree":
                packs.add_files(store, sha, kept)
        except KeyError:
            pass  # it never was complete; the piece itself stays
        kept[sha] = None


def _loose(repo: Repository) -> Iterator[Path]:
    for path in (repo.path / "objects").glob("??/*"):
        if _LOOSE.fullmatch(f"{path.parent.name}/{path.name}"):
            yield path


def _large(repo: Repository) -> Iterator[Path]:
    return (path for path in (repo.path / "lfs" / "objects").glob("*/*/*") if lfs.OID.fullmatch(path.name))


def _leftovers(repo: Repository) -> list[Path]:
    """Files that were to be renamed to their names and never were."""
    inside = [*repo.path.glob(".*"), *(repo.path / "discussions").glob(".*"), *(repo.path / "objects").glob("??/.*")]
    return [*inside, *(repo.path / "objects").rglob("tmp*"), *(repo.path / "lfs" / "incomplete").glob("*")]


def pointer_in(repo: Repository, sha: bytes) -> Pointer | None:
    kind, content = repo.git.object_store.get_raw(sha)
    return Pointer.parse(content) if kind == 3 and len(content) <= MAX_POINTER else None


def repositories(data: Path, faults: list[str]) -> Iterator[Repository]:
    store = Store(data)
    for kind in KINDS.values():
        for path in sorted((data / "repos" / kind).glob("*/*.git")):
            repo_id = f"{path.parent.name}/{path.name.removesuffix('.git')}"
            try:
                if repo := store.find(kind, repo_id):
                    yield repo
                elif path.exists():
                    faults.append(f"{kind}/{repo_id}: hub.json or the git repository is missing")
            except Damaged as error:
                faults.append(str(error))


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size


def _changed(path: Path) -> float:
    """When anything in it changed last."""
    return max([path.stat().st_mtime, *(each.lstat().st_mtime for each in path.rglob("*"))])


def reason(error: BaseException) -> str:
    if isinstance(error, KeyError):
        missing = error.args[0] if error.args else b"?"
        return f"{missing.decode() if isinstance(missing, bytes) else missing} is not there"
    return f"{os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error}"[:200]
