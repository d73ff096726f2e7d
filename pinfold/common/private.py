"""Files and directories that only their owner may read: new ones whatever the umask is, and those that are there."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DIRECTORY, FILE = 0o700, 0o600
OTHERS = 0o077  # every right of anybody but the owner


class Closed(NamedTuple):
    """How much in a directory others had a right on: what was closed to them, and what belongs to another user."""

    closed: int
    left: int


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Let whatever this process makes be for its owner alone. For a process of our own: a umask has no thread."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def make_directory(path: Path) -> None:
    """A directory with those above it that are missing, each for its owner alone."""
    for each in reversed([each for each in (path, *path.parents) if not each.exists()]):
        each.mkdir(mode=DIRECTORY, exist_ok=True)


def is_open(path: Path) -> bool:
    """Whether anyone but the owner has a right on it. Windows keeps such rights elsewhere."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & OTHERS)
    except FileNotFoundError:
        return False


def close_to_others(directory: Path) -> Closed:
    """Give a directory and all that is in it the modes above. Links in it are neither followed nor changed.

    The directory itself may be a link: what it leads to is meant.

    A directory is closed before what is in it is looked at: from then on nobody else can exchange a name in it.
    """
    changed: list[bool] = []
    for _, _, names, descriptor in os.fwalk(os.path.realpath(directory)) if os.name == "posix" else ():
        mode = os.fstat(descriptor).st_mode
        changed += _change(descriptor, mode, DIRECTORY)
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a temporary file of a process that works here meanwhile
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
                if not stat.S_ISLNK(mode):
                    changed += _change(name, mode, FILE, dir_fd=descriptor)
    return Closed(sum(changed), len(changed) - sum(changed))


def _change(path: int | str, before: int, mode: int, dir_fd: int | None = None) -> list[bool]:
    """Whether it was changed, if others had a right on it."""
    if stat.S_IMODE(before) == mode:
        return []
    was_open = bool(before & OTHERS)
    try:
        os.chmod(path, mode, dir_fd=dir_fd)
    except PermissionError:  # it belongs to another user
        return [False] if was_open else []
    return [True] if was_open else []
