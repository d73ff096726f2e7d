"""Every repository at a glance. Thousands have to list at once, so none is opened whose newest commit is known."""

import contextlib
import json
import os
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pinfold.hub.store import Missing, Repository, Store

REMEMBERED = 50_000
Value = TypeVar("Value")
_times: dict = {}  # (path, commit): when it was made


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

    @property
    def namespace(self) -> str:
        return self.id.partition("/")[0]


def glances(store: Store, kind: str) -> Iterator[Glance]:
    """All repositories of a kind, from two small files each. One without a commit on main is left out."""
    for namespace in _directories(store.root / kind):
        for entry in _directories(namespace.path):
            if not entry.name.endswith(".git"):
                continue
            with contextlib.suppress(OSError, ValueError, KeyError):  # deleted while we look
                settings = _read(f"{entry.path}/hub.json")
                told = json.loads(settings)
                repo_id = f"{namespace.name}/{entry.name.removesuffix('.git')}"
                if tip := _tip(store, kind, repo_id, entry.path):
                    yield Glance(repo_id, Path(entry.path), told["private"], told["created"], settings, *tip)


def remembered(cache: dict[Hashable, Any], limit: int, key: Hashable, make: Callable[[], Value]) -> Value:
    """What `make` returned for this key; the oldest entries make room."""
    if key in cache and (found := cache.get(key)) is not None:
        return found
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
    with contextlib.suppress(Missing):
        if repo:
            return _made(repo, repo.resolve("main"), path)
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
        return os.read(file, 65_536)
    finally:
        os.close(file)
