"""Every repository at a glance. Thousands have to list at once, so none is opened whose newest commit is known."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pinfold.common.errors import printable
from pinfold.hub.storage.errors import Damaged, Gone, Missing, Refused
from pinfold.hub.storage.repository import Repository
from pinfold.hub.storage.store import Store

REMEMBERED = 50_000
Value = TypeVar("Value")
_times: dict = {}  # (path, commit): when it was made
_logged: set = set()  # lines of the log about damage: each is written once


@dataclass(frozen=True)
class Glance:
    """A repository that was not opened."""

    id: str
    path: Path
    private: bool
    created: int
    settings: bytes  # hub.json as it is
    sha: str  # of the newest commit on main
    time: int
    damaged: bool = False  # nothing but its name is sure, so only its owner sees it

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]


def glances(store: Store, kind: str) -> Iterator[Glance]:
    """All repositories of a kind, from two small files each. One without a commit on main is left out."""
    for namespace in _directories(store.root / kind):
        for entry in _directories(namespace.path):
            if not entry.name.endswith(".git"):
                continue
            repo_id = f"{namespace.name}/{entry.name.removesuffix('.git')}"
            damaged = Glance(repo_id, Path(entry.path), True, 0, b"", "", 0, damaged=True)
            if glance := guarded(damaged, damaged, _glance, store, kind, repo_id, entry.path):
                yield glance


def guarded(row: Glance, otherwise: Value | None, look: Callable[..., Value], *given: Any) -> Value | None:
    """What `look` finds in a repository. A damaged one is a line in the log, and not everybody's error."""
    try:
        return look(*given)
    except Refused:
        raise
    except Exception as error:  # git's files and ours may be damaged in any way
        if isinstance(error, Gone) or not (row.path / "hub.json").exists():  # deleted while we look
            return None
        reason = str(error) if isinstance(error, Damaged) else f"{row.id} is damaged: {type(error).__name__}: {error}"
        line = printable(f"{reason[:400]}; run pinfold hub verify")
        if line not in _logged and len(_logged) < REMEMBERED:
            _logged.add(line)
            print(line.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
        return otherwise


def _glance(store: Store, kind: str, repo_id: str, path: str) -> Glance | None:
    try:
        settings = _read(f"{path}/hub.json")
    except FileNotFoundError:  # deleted while we look
        return None
    try:
        content = json.loads(settings)
        private, created = content["private"], content["created"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Damaged(f"{kind}/{repo_id}: hub.json is damaged: {error}") from error
    if not isinstance(private, bool) or not isinstance(created, int):
        raise Damaged(f"{kind}/{repo_id}: hub.json is damaged: it lacks private or created")
    tip = _tip(store, kind, repo_id, path)
    return Glance(repo_id, Path(path), private, created, settings, *tip) if tip else None


def remembered(cache: dict[Hashable, Any], limit: int, key: Hashable, make: Callable[[], Value]) -> Value:
    """What `make` returned for this key; the oldest entries make room."""
    if key in cache and (known := cache.get(key)) is not None:
        return known
    value = make()
    while len(cache) >= limit:
        with contextlib.suppress(RuntimeError, StopIteration, KeyError):  # another thread was faster
            del cache[next(iter(cache))]
    cache[key] = value
    return value


def _tip(store: Store, kind: str, repo_id: str, path: str) -> tuple[str, int] | None:
    """The newest commit, and when it was made."""
    try:
        head = _read(f"{path}/refs/heads/main").strip().decode("ascii", "replace")
    except OSError:  # it may be a packed one
        head = ""
    if time := _times.get((path, head)):
        return head, time
    repo = store.find(kind, repo_id)
    try:
        return _made(repo, repo.resolve("main"), path) if repo else None
    except Missing:
        if head:
            raise Damaged(f"{kind}/{repo_id}: refs/heads/main is damaged: it does not lead to a commit") from None
        return None


def _made(repo: Repository, sha: str, path: str) -> tuple[str, int]:
    return sha, remembered(_times, REMEMBERED, (path, sha), lambda: repo.commit(sha).commit_time)


def _directories(path: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(path) as entries:
            return [each for each in entries if each.is_dir()]
    except FileNotFoundError:
        return []


def _read(path: str) -> bytes:
    """A small file. Three calls of the system, where open() takes eight."""
    file = os.open(path, os.O_RDONLY)
    try:
        content = part = os.read(file, 65_536)
        while len(part) == 65_536:  # of a mirror, hub.json names each commit that it has copied
            part = os.read(file, 65_536)
            content += part
        return content
    finally:
        os.close(file)
