"""How much memory a process may take: of the machine, and of the container that it runs in."""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GIB = 2**30
UNKNOWN = 8 * GIB  # where the system does not say


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that a process may take without swapping or being killed; at least 1 GiB.

    Args:
        root: where proc and sys are mounted.
    """
    limits = list(_container_limits(root))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        limits.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    return max(GIB, min(limits, default=UNKNOWN))


def _container_limits(root: Path) -> Iterator[int]:
    """What each control group of this process has left. A group's limit holds for all groups below it.

    Inside a container the groups are often mounted so that its own one is the topmost; proc then names a path that
    is not there, and the topmost is read.

    Sources: kernel.org, admin-guide/cgroup-v2 (memory.max) and cgroup-v1/memory (memory.limit_in_bytes).
    """
    versions = (  # mount, limit, use, the name in memory.stat of cached pages that the kernel drops when it needs room
        ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for mount, limit, used, cached in versions:
        for group in _groups(root, version_2=limit == "memory.max"):
            directory = root / mount / group
            with contextlib.suppress(OSError, ValueError):  # no such group, or "max": no limit
                left = int((directory / limit).read_text()) - int((directory / used).read_text())
                yield left + _statistic(directory / "memory.stat", cached)


def _groups(root: Path, version_2: bool) -> list[str]:
    """The process's group and those above it, the topmost last: "a/b", "a", "."."""
    groups = ["."]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" if version_2 else "memory" in controllers.split(","):
                own = PurePosixPath(path.lstrip("/"))
                groups = [str(group) for group in (own, *own.parents) if ".." not in group.parts]
    return groups or ["."]


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, value = line.split()
            if key == name:
                return int(value)
    return 0
