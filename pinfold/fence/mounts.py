"""What a sandboxed process sees of the disk: an ordered list of mounts, and the shell lines that make them.

The order matters, and ``plan`` is the one place that decides it:
1. What is needed from private places (the home, /tmp, ...) is held aside, the places are covered with empty
   directories, and what was held is put back where it was. Covering first would hide what is needed as well.
2. The same for the folder of pinfold itself, of which only ``fenced`` is put back. It comes second, since step 1 may
   have put back a directory that contains it, such as this environment's packages.
3. Writable directories are mounted on themselves, so that each is a mount that the next step can leave alone. After
   steps 1 and 2, because a mount made before would lie below what they put back.
4. Every mount is made read-only except the writable ones. Last, since everything before writes to the disk: it makes
   the directories and files on which it mounts.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Settings of the kernel. They belong to whoever is root outside, whatever capabilities are left inside.
KERNEL = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi")
HOLDER = Path("/mnt")


@dataclass(frozen=True)
class Mount:
    """One step in making the sandbox's view of the disk.

    Args:
        kind: "directory" and "file" make the target; "tmpfs" covers it with an empty directory; "bind" shows the
            source there; "bind if there" does so where it exists and can be mounted; "unmount" takes away what was
            mounted last; "read only" makes every mount read-only whose target is not named in the flags.
        flags: options of the mount command; for "read only" the targets that stay as they are.
    """

    kind: Literal["directory", "file", "tmpfs", "bind", "bind if there", "unmount", "read only"]
    source: Path | None
    target: Path
    flags: tuple[str, ...] = ()


def plan(needed: Iterable[Path], private: Iterable[Path], package: Path, aside: Path, writable: list[Path]) -> list:
    """Every mount, in order.

    Args:
        needed: paths that the process reads or writes; they stay visible in places that are hidden.
        private: directories that are hidden.
        package: the folder of pinfold, hidden as well.
        aside: a directory of the process's own, where paths can be held while the package is hidden.
        writable: directories that can be written to; nothing else can.
    """
    return [
        *hide(set(private), needed, HOLDER),
        Mount("directory", None, package),
        Mount("directory", None, aside),
        *hide({package}, needed, aside),
        *(Mount("bind", path, path, ("--bind",)) for path in writable),
        *read_only(writable),
    ]


def hide(places: set[Path], needed: Iterable[Path], holder: Path) -> list[Mount]:
    """Cover places with empty directories, and put back in what is needed from them.

    Args:
        holder: a directory in which the needed paths are held meanwhile; it is as before afterwards.
    """
    outermost = sorted(place for place in places if not any(other in place.parents for other in places))
    inside = {path for path in needed if any(path.is_relative_to(p) and path != p for p in outermost)}
    inside = sorted(path for path in inside if not any(other in path.parents for other in inside))
    held = {path: holder / str(number) for number, path in enumerate(inside)}
    steps = [Mount("tmpfs", None, holder, ("size=1m",))] if inside else []
    for path, kept_at in held.items():
        steps += [_made_like(path, kept_at), Mount("bind", path, kept_at, ("--rbind",))]
    steps += [Mount("tmpfs", None, place, ("size=64m", "mode=755")) for place in outermost]
    # a private place in another one: programs expect it to exist
    steps += [Mount("directory", None, place) for place in sorted(places - set(outermost))]
    for path, kept_at in held.items():
        steps += [Mount("directory", None, path.parent), _made_like(path, path)]
        steps += [Mount("bind", kept_at, path, ("--rbind",))]
    return [*steps, *([Mount("unmount", None, holder)] if inside else [])]


def _made_like(path: Path, target: Path) -> Mount:
    """Make what a bind of ``path`` can be mounted on: a directory for a directory, a file for a file."""
    return Mount("directory" if path.is_dir() else "file", None, target)


def read_only(writable: list[Path]) -> list[Mount]:
    """Everything but the writable directories becomes read-only, the kernel's settings included.

    Those are mounted on themselves first: /proc as a whole stays writable, since programs write to their own files in
    it.
    """
    settings = [Mount("bind if there", Path(path), Path(path), ("--bind",)) for path in KERNEL]
    return [*settings, Mount("read only", None, Path("/"), ("/proc", *map(str, writable)))]


def shell(mounts: list[Mount]) -> str:
    """The list as lines of a shell that stops at the first one that fails."""
    return "\n".join(["set -e", *map(_line, mounts)])


def _line(mount: Mount) -> str:
    source, target = shlex.quote(str(mount.source)), shlex.quote(str(mount.target))
    flags = ",".join(mount.flags)
    match mount.kind:
        case "directory":
            return f"mkdir -p {target}"
        case "file":
            return f"touch {target}"
        case "tmpfs":
            return f"mount -t tmpfs -o {flags} tmpfs {target}"
        case "bind":
            return f"mount {flags} {source} {target}"
        case "bind if there":
            return f"test ! -e {source} || mount {flags} {source} {target} || true"
        case "unmount":
            return f"umount -R -l {target}"
        case "read only":
            return _remount(mount.flags)


def _remount(untouched: tuple[str, ...]) -> str:
    """A loop over the mounts of this namespace.

    Octal escapes of mountinfo (\\040 is a space) get the leading zero that printf wants. Flags that a mount already
    has must be named again, since an unprivileged namespace may not drop them.
    """
    return "\n".join(
        [
            "mounts=$(cat /proc/self/mountinfo)",
            """printf '%s\\n' "$mounts" | while read -r _ _ _ _ place flags _; do""",
            """  place=$(printf '%b' "$(printf '%s' "$place" | sed 's/\\\\0/\\\\00/g; s/\\\\1/\\\\01/g')")""",
            f"""  case "$place" in {"|".join(map(shlex.quote, untouched))}) continue ;; esac""",
            """  mount -o "remount,bind,ro,${flags#r[ow],}" "$place" 2>/dev/null || true""",
            "done",
        ]
    )
