"""What a sandboxed process sees of the disk: one ordered list of mounts, as arguments of bubblewrap or shell lines.

It is an allow-list: an empty root, and in it only what is named. ``plan`` is the one place that decides what that is:
1. The system's programs and libraries, this interpreter, its packages, and what the run itself reads: read-only.
2. Empty directories where temporary files usually are, a /dev with nothing but the harmless devices, and /proc.
3. Directories that the run writes to; nothing else can be written to.

A later mount lies over an earlier one, so the order matters: what contains another place comes before it.
"""

import shlex
import stat
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
MOST_ENTRIES = 100_000  # of a directory that is shown, in which sockets and pipes are looked for


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
    steps += [Mount("empty", Path(name)) for name in EMPTY]
    steps.append(Mount("read", Path("/etc/passwd"), accounts))
    shown: list[Path] = []
    # the shortest first: what lies in a directory that is shown already needs no mount of its own
    for path in sorted(set(_both_names([*packages, *needed])), key=lambda path: (len(path.parts), path)):
        if not _below(path, [*system, *shown]):
            shown.append(path)
            steps.append(_shown(path))
    if _below(package, [*system, *shown]):
        steps.append(Mount("empty", package))
    steps += [Mount("read", path, path) for path in dict.fromkeys((inside, inside.resolve()))]
    steps += [Mount("hide", path) for each in needed for path in passages(each)]
    return [*steps, *(Mount("write", path, path) for path in writable)]


def _both_names(paths: Iterable[Path]) -> list[Path]:
    """Paths as they are named, and where they lead."""
    return [name for path in paths if path.exists() for name in (path.absolute(), path.resolve())]


def _below(path: Path, places: Iterable[Path]) -> bool:
    return any(path == place or place in path.parents for place in places if not place.is_symlink())


def _shown(path: Path) -> Mount:
    return Mount("link", path, path.readlink()) if path.is_symlink() else Mount("read", path, path)


def passages(place: Path) -> list[Path]:
    """Sockets and pipes in a directory that is shown: whoever listens to them is outside."""
    odd: list[Path] = []
    pending, count = [place], 0
    while pending and count < MOST_ENTRIES:
        directory = pending.pop()
        try:
            entries = [directory] if not directory.is_dir() else sorted(directory.iterdir())
            for path in entries:
                mode = path.lstat().st_mode
                if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                    odd.append(path)
                elif stat.S_ISDIR(mode):
                    pending.append(path)
            count += len(entries)
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


def shell(mounts: list[Mount], root: Path, empty: Path, own_processes: bool = True) -> str:
    """The list as lines of a shell that stops at the first one that fails, and ends in the new root.

    Args:
        root: a directory that the new root is mounted on. empty: an empty file.
        own_processes: the processes have a list of their own; without, /proc is that of everybody.
    """
    top = shlex.quote(str(root))
    lines = ["set -e", f"mount -t tmpfs -o size=16m,mode=755 tmpfs {top}"]
    for mount in mounts:
        lines += _lines(mount, top, shlex.quote(str(empty)), own_processes)
    writable = [str(mount.target) for mount in mounts if mount.kind == "write"]
    settings = [f"! test -e {path} || mount --bind {path} {path} 2>/dev/null || true" for path in KERNEL]
    return "\n".join(
        [
            *lines,
            f"mkdir -p {top}/.before",
            f"cd {top}",
            "pivot_root . .before",
            "cd /",
            *settings,
            "umount -l /.before",
            "rmdir /.before",
            _read_only(("/proc", *writable)),
        ]
    )


def _lines(mount: Mount, top: str, empty: str, own_processes: bool) -> list[str]:
    target, above = (top + shlex.quote(str(path)) for path in (mount.target, mount.target.parent))
    source = shlex.quote(str(mount.source))
    match mount.kind:
        case "read":
            return [*_place(mount, target, above), f"mount --rbind {source} {target}"]
        case "write":  # without what is mounted below it, which the new root is
            return [*_place(mount, target, above), f"mount --bind {source} {target}"]
        case "empty":
            return [f"mkdir -p {target}", f"mount -t tmpfs -o size=64m,mode=1777 tmpfs {target}"]
        case "link":
            return [f"mkdir -p {above}", f"ln -sfn {source} {target}"]
        case "devices":
            devices = [f"touch {target}/{name}\nmount --bind /dev/{name} {target}/{name}" for name in DEVICES]
            links = [f"ln -s /proc/self/fd {target}/fd"]
            links += [
                f"ln -s /proc/self/fd/{n} {target}/{name}" for n, name in enumerate(("stdin", "stdout", "stderr"))
            ]
            return [f"mkdir -p {target}", *devices, *links, f"mkdir {target}/shm"]
        case "processes":
            mounting = "mount -t proc proc" if own_processes else "mount --rbind /proc"
            return [f"mkdir -p {target}", f"{mounting} {target}"]
        case "hide":
            return [f"mount --bind {empty} {target}"]


def _place(mount: Mount, target: str, above: str) -> list[str]:
    """Make what a bind can be mounted on: a directory for a directory, a file for a file."""
    if mount.source is not None and mount.source.is_dir():
        return [f"mkdir -p {target}"]
    return [f"mkdir -p {above}", f"test -e {target} || touch {target}"]


def _read_only(untouched: tuple[str, ...]) -> str:
    """A loop over the mounts of this namespace.

    Octal escapes of mountinfo (\\040 is a space) get the leading zero that printf wants. Flags that a mount already
    has must be named again, since an unprivileged namespace may not drop them.
    """
    return "\n".join(
        [
            "mounts=$(cat /proc/self/mountinfo)",
            """printf '%s\\n' "$mounts" | while read -r _ _ _ _ place flags _; do""",
            """  case "$place" in *\\\\*)""",
            """    place=$(printf '%b' "$(printf '%s' "$place" | sed 's/\\\\0/\\\\00/g; s/\\\\1/\\\\01/g')") ;;""",
            """  esac""",
            f"""  case "$place" in {"|".join(map(shlex.quote, untouched))}) continue ;; esac""",
            """  case "$flags" in ro|ro,*) continue ;; esac""",
            """  mount -o "remount,bind,ro,${flags#rw,}" "$place" 2>/dev/null || true""",
            "done",
        ]
    )
