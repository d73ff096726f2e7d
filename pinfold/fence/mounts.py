"""What a sandboxed process sees of the disk: one ordered list of mounts, for bubblewrap or for mounting.py.

It is an allow-list: an empty root, and in it only what is named. ``plan`` is the one place that decides what that is:
1. The system's programs and libraries, this interpreter, its packages, and what the run itself reads: read-only.
2. Empty directories where temporary files usually are, a /dev with nothing but the harmless devices, and /proc.
3. Directories that the run writes to; nothing else can be written to.

A later mount lies over an earlier one, so the order matters: what contains another place comes before it.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Programs and libraries, and what the dynamic linker, the C library and torch's look at the processor read. Not /etc
# as a whole: other programs' settings may hold passwords.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"),
    "/sys/devices/system",
)
DEVICES = ("null", "zero", "full", "random", "urandom")
EMPTY = ("/tmp", "/var/tmp", "/run", "/dev/shm")
# Settings of the kernel. They belong to whoever is root outside, whatever capabilities are left inside.
KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi")
MOST_ENTRIES = 300_000  # of a directory that is shown, in which sockets and pipes are looked for
MOST_LINKS = 40  # that one path leads through; the kernel's own limit


@dataclass(frozen=True)
class Mount:
    """One step in making the sandbox's view of the disk.

    Args:
        kind: "read" and "write" show ``source`` at ``target``; "empty" is an empty directory in memory; "link" is a
            symbolic link to ``source``; "devices" and "processes" are /dev and /proc; "hide" puts an empty file over
            what is there.
    """

    kind: Literal["read", "write", "empty", "link", "devices", "processes", "hide"]
    target: Path
    source: Path | None = None


def plan(
    needed: list[Path], packages: list[Path], package: Path, inside: Path, accounts: Path, writable: list[Path]
) -> list[Mount]:
    """Every mount, in order.

    Args:
        needed: what the run reads: directories and files.
        packages: this interpreter, its environment, and where further packages are.
        package: the folder of pinfold, which is hidden where ``packages`` would show it.
        inside: the only part of it that is shown. accounts: a file to show as /etc/passwd.
        writable: directories that the run writes to.
    """
    system = [path for name in SYSTEM if (path := Path(name)).exists() or path.is_symlink()]
    steps = [_shown(path) for path in system]
    steps += [Mount("devices", Path("/dev")), Mount("processes", Path("/proc"))]
    links = {path for each in [*packages, *needed] for path in _way(each)[0]}
    steps += [Mount("empty", Path(name)) for name in EMPTY if Path(name) not in links]
    steps.append(Mount("read", Path("/etc/passwd"), accounts))
    shown: list[Path] = []
    real = {_way(path)[1] for path in [*packages, *needed] if path.exists()}
    # the shortest first: what lies in a directory that is shown already needs no mount of its own
    for path in sorted(links | real, key=lambda path: (len(path.parts), path)):
        if not _below(path, [*system, *shown]):
            shown.append(path)
            steps.append(_shown(path))
    if _below(package, [*system, *shown]):
        steps.append(Mount("empty", package))
    steps += [Mount("read", path, path) for path in dict.fromkeys((inside, inside.resolve()))]
    # not in what was installed with the interpreter: some hundred thousand files, and no place for sockets
    installed = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]
    own = [path for path in dict.fromkeys([*packages, *needed]) if not _below(_way(path)[1], [*system, *installed])]
    odd = {path for each in own for path in passages(_way(each)[1])}
    steps += [Mount("hide", path) for path in sorted(odd) if not _below(path, [package])]
    return [*steps, *(Mount("write", path, path) for path in writable)]


def _way(path: Path) -> tuple[list[Path], Path]:
    """The links that a path leads through, each by its real place, and where it ends."""
    links: list[Path] = []
    real, ahead = Path("/"), list(path.absolute().parts[1:])
    while ahead:
        name = ahead.pop(0)
        step = real.parent if name == ".." else real / name
        if step.is_symlink() and len(links) < MOST_LINKS:
            if step not in links:
                links.append(step)
            target = step.readlink()
            ahead = [*target.parts[target.is_absolute() :], *ahead]
            step = Path("/") if target.is_absolute() else real
        real = step
    return links, real


def _below(path: Path, places: Iterable[Path]) -> bool:
    return any(path == place or place in path.parents for place in places if not place.is_symlink())


def _shown(path: Path) -> Mount:
    return Mount("link", path, path.readlink()) if path.is_symlink() else Mount("read", path, path)


def passages(place: Path) -> list[Path]:
    """Sockets and pipes in a directory that is shown: whoever listens to them is outside."""
    odd: list[Path] = []
    pending, count = [str(place)] if place.is_dir() else [], 0
    while pending and count < MOST_ENTRIES:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    # of the kinds that are left, devices cannot be opened in the sandbox
                    elif not entry.is_symlink() and not entry.is_file(follow_symlinks=False):
                        odd.append(Path(entry.path))
        except OSError:
            continue
    return odd


def bubblewrap(mounts: list[Mount], empty: Path) -> list[str]:
    """The list as arguments of bwrap.

    Args:
        empty: an empty file.
    """
    arguments: list[str] = []
    for mount in mounts:
        source, target = str(mount.source), str(mount.target)
        match mount.kind:
            case "read":
                arguments += ["--ro-bind", source, target]
            case "write":
                arguments += ["--bind", source, target]
            case "empty":
                arguments += ["--size", str(64 << 20), "--tmpfs", target]
            case "link":
                arguments += ["--symlink", source, target]
            case "devices":
                arguments += ["--dev", target]
            case "processes":
                arguments += ["--proc", target]
                for path in KERNEL:
                    arguments += ["--ro-bind-try", path, path]
            case "hide":
                arguments += ["--ro-bind", str(empty), target]
    covered = [str(mount.target) for mount in mounts if mount.kind in ("empty", "devices")]
    return [*arguments, *(word for place in ("/", *covered) for word in ("--remount-ro", place))]


def orders(mounts: list[Mount], root: Path, empty: Path, own_processes: bool, directory: Path) -> dict:
    """The list as mounting.py reads it.

    Args:
        root: a directory that the new root is mounted on. empty: an empty file.
        own_processes: the processes have a list of their own; without, /proc is that of everybody.
        directory: where the command is started.
    """
    return {
        "mounts": [[mount.kind, str(mount.target), mount.source and str(mount.source)] for mount in mounts],
        "root": str(root),
        "empty": str(empty),
        "own_processes": own_processes,
        "directory": str(directory),
        "devices": DEVICES,
        "settings": KERNEL,
    }
