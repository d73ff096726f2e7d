"""A control group of the kernel for one run, so that all its processes together have one limit of memory and tasks.

Version 1 keeps a directory for each controller, version 2 one for all. Making one takes a right that root has and that
systemd delegates to some users; elsewhere the sandbox's first process looks at what is used, five times a second.
"""

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
LIMITS = {"memory": ("memory.limit_in_bytes", "memory.max"), "pids": ("pids.max", "pids.max")}  # by version
SECONDS = 5.0  # that removing a group may take after its last process has ended


class Group:
    """One run's group.

    Args:
        limited: controller -> the directory in which its limit is; empty where none can be made.
    """

    def __init__(self, limited: dict[str, Path]):
        self.limited = limited
        self.directories = list(dict.fromkeys(limited.values()))  # version 2 has one for all

    def enter(self) -> None:
        """Put the calling process into the group; what it starts is in it as well."""
        for directory in self.directories:
            with contextlib.suppress(OSError):
                (directory / "cgroup.procs").write_text(str(os.getpid()))

    def end(self) -> None:
        """End every process that is left in the group, whoever its parent is now."""
        deadline = time.monotonic() + SECONDS
        while (left := self._processes()) and time.monotonic() < deadline:
            for number in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.01)

    def _processes(self) -> set[int]:
        numbers: set[int] = set()
        for directory in self.directories:
            with contextlib.suppress(OSError, ValueError):
                numbers |= {int(line) for line in (directory / "cgroup.procs").read_text().split()}
        return numbers - {0, os.getpid()}  # 0: of a list of processes that is not ours

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process of it."""
        for name in ("memory.oom_control", "memory.events"):
            for directory in self.directories:
                with contextlib.suppress(OSError, ValueError):
                    words = dict(line.split() for line in (directory / name).read_text().splitlines())
                    if int(words.get("oom_kill", 0)):
                        return True
        return False


@contextlib.contextmanager
def group(memory: int, tasks: int) -> Iterator[Group]:
    """A group with these limits, in bytes and in processes and threads, as far as one can be made."""
    made = Group(_make(memory, tasks))
    try:
        yield made
    finally:
        made.end()
        _remove(made.directories)


def _make(memory: int, tasks: int) -> dict[str, Path]:
    name = f"pinfold-{secrets.token_hex(6)}"
    limited: dict[str, Path] = {}
    for controller, parent in _parents().items():
        directory = parent / name
        second = _version_2(parent)
        try:
            if not directory.exists():
                directory.mkdir()
            limit = memory if controller == "memory" else tasks
            (directory / LIMITS[controller][second]).write_text(str(limit))
            if not os.access(directory / "cgroup.procs", os.W_OK):
                raise OSError("nothing can be put into it")
        except OSError:
            if directory not in limited.values():  # the other controller's limit holds without this one's
                with contextlib.suppress(OSError):
                    directory.rmdir()
            continue
        limited[controller] = directory
    return limited


def _version_2(directory: Path) -> bool:
    return (directory / "cgroup.controllers").exists()


def _parents() -> dict[str, Path]:
    """Controller -> the directory of this process's own group."""
    try:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return {}
    parents: dict[str, Path] = {}
    for _, controllers, place in lines:
        for controller in LIMITS:
            if controller in controllers.split(","):
                parents[controller] = ROOT / controller / place.lstrip("/")
            elif not controllers and _version_2(ROOT / place.lstrip("/")):
                parents.setdefault(controller, ROOT / place.lstrip("/"))
    return {controller: place for controller, place in parents.items() if place.is_dir()}


def _remove(directories: list[Path]) -> None:
    deadline = time.monotonic() + SECONDS
    for directory in directories:
        while directory.exists() and time.monotonic() < deadline:
            try:
                directory.rmdir()
            except OSError:  # its last process has not quite ended
                time.sleep(0.02)
