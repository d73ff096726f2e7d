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
    limits = [left for _, left in _container_groups(root)]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        limits.append(_meminfo(root, "MemAvailable"))
    return max(GIB, min(limits, default=UNKNOWN))


def total_memory(root: Path = Path("/")) -> int:
    """Bytes that all processes together may take: those of the machine, or the limit of the container.

    Args:
        root: where proc and sys are mounted.
    """
    limits = [limit for limit, _ in _container_groups(root)]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        limits.append(_meminfo(root, "MemTotal"))
    return min(limits, default=UNKNOWN)


def _meminfo(root: Path, name: str) -> int:
    lines = (root / "proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def _container_groups(root: Path) -> Iterator[tuple[int, int]]:
    """Of each control group of this process its limit, and what of it is left. A limit holds for all groups below.

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
                most = int((directory / limit).read_text())
                left = most - int((directory / used).read_text())
                yield most, left + _statistic(directory / "memory.stat", cached)


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
