"""The script that turns a list of mounts into the disk that a sandboxed process sees, where bubblewrap is not there.

It runs with ``python -I -S`` in namespaces that util-linux's unshare has just made, and gives way to the sandbox's
first process. Its arguments are a JSON file ("mounts" and more: see ``orders`` in mounts.py) and that command. One
process makes all mounts by the C library, as a command for each of them takes a second in all. At the end it gives up
every capability, with which the code could undo them.
"""

import contextlib
import ctypes
import errno
import json
import os
import struct
import sys

READ_ONLY, NOSUID, NODEV, REMOUNT, BIND, RECURSIVE, DETACH = 1, 2, 4, 32, 4096, 16384, 2
KEPT = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
CGROUP_NAMESPACE = 0x02000000
DROP_BOUND, SET_NO_NEW_PRIVILEGES, AMBIENT, CLEAR_ALL = 24, 38, 47, 4
COVERED = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL)
CAPABILITIES_3 = 0x20080522
libc = ctypes.CDLL(None, use_errno=True)


def main(path: str, command: list[str]) -> None:
    """Make the mounts, give up all rights, and become the command."""
    with open(path, encoding="utf-8") as file:
        orders = json.load(file)
    if orders["mounts"] is not None:
        make_root(orders)
        os.chdir(orders["directory"])
    libc.sethostname(b"sandbox", 7)  # fails where the name is everybody's
    libc.unshare(CGROUP_NAMESPACE)  # the group's name says whose session it is; of older kernels none is known
    give_up()
    os.execv(command[0], command)


def make_root(orders: dict) -> None:
    """Mount everything below a new root, and go there."""
    root = orders["root"]
    mount("tmpfs", root, "tmpfs", data="size=16m,mode=755")
    for kind, target, source in orders["mounts"]:
        step(kind, root + target, source, orders)
    os.chdir(root)
    os.mkdir(".before")
    checked(libc.pivot_root(b".", b".before"), "/")
    os.chdir("/")
    for place in orders["settings"]:
        if os.path.exists(place):
            with contextlib.suppress(OSError):
                mount(place, place, flags=BIND)
    checked(libc.umount2(b"/.before", DETACH), "/.before")
    os.rmdir("/.before")
    writable = [target for kind, target, _ in orders["mounts"] if kind == "write"]
    for place, flags in mounted():
        close(place, flags, writable)


def step(kind: str, target: str, source: str | None, orders: dict) -> None:
    """One mount of the list; see mounts.py for its kinds."""
    if kind in ("read", "write"):
        make_place(source, target)
        # what may be written to is shown without what is mounted below it, which the new root is
        mount(source, target, flags=BIND | (RECURSIVE if kind == "read" else 0))
        # a place that contains the new root has a copy of it now
        libc.umount2(os.fsencode(orders["root"] + orders["root"]), DETACH)
    elif kind == "empty":
        os.makedirs(target, exist_ok=True)
        mount("tmpfs", target, "tmpfs", data="size=64m,mode=1777")
    elif kind == "link":
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(source, target)
    elif kind == "devices":
        os.makedirs(f"{target}/shm")
        for name in orders["devices"]:
            if os.path.exists(f"/dev/{name}"):
                make_place(f"/dev/{name}", f"{target}/{name}")
                mount(f"/dev/{name}", f"{target}/{name}", flags=BIND)
        for name, place in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            os.symlink(f"/proc/self/fd{place}", f"{target}/{name}")
    elif kind == "processes":
        os.makedirs(target, exist_ok=True)
        if orders["own_processes"]:
            mount("proc", target, "proc", NOSUID | NODEV)
        else:
            mount("/proc", target, flags=BIND | RECURSIVE)
    elif os.path.lexists(target):  # "hide"; a socket may have gone since it was seen
        mount(orders["empty"], target, flags=BIND)


def make_place(source: str, target: str) -> None:
    """What a bind can be mounted on: a directory for a directory, a file for a file."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass


def mounted() -> list[tuple[str, int]]:
    """Every mount of this namespace, with those of its flags that a remount has to name again."""
    places = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file.read().splitlines():
            words = line.split(b" ")
            flags = words[5].decode().split(",")
            places.append((unescaped(words[4]), sum(KEPT.get(flag, 0) for flag in flags)))
    return places


def unescaped(name: bytes) -> str:
    r"""A name as mountinfo writes it: \040 is a space."""
    for character in (b" ", b"\t", b"\n", b"#", b"\\"):  # the backslash last: it begins the others
        name = name.replace(b"\\%03o" % character[0], character)
    return os.fsdecode(name)


def close(place: str, flags: int, writable: list[str]) -> None:
    """Make one mount read-only, unless it is meant to be written to; no device and no setuid program works in any."""
    if place == "/proc":
        return
    flags |= NOSUID | (0 if place.startswith("/dev/") else NODEV)
    if place not in writable:
        flags |= READ_ONLY
    try:
        mount("none", place, flags=flags | REMOUNT | BIND)
    except OSError as error:
        # what another mount lies over cannot be reached; of everybody's list of processes parts cannot be changed
        if error.errno not in COVERED and not place.startswith("/proc/"):
            raise


def give_up() -> None:
    """No capability is left, nor can one be had by starting another program."""
    for number in range(64):
        libc.prctl(DROP_BOUND, number, 0, 0, 0)
    libc.prctl(AMBIENT, CLEAR_ALL, 0, 0, 0)
    header, nothing = struct.pack("=Ii", CAPABILITIES_3, 0), struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    checked(libc.capset(header, nothing), "capabilities")
    checked(libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "privileges")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2).

    Raises:
        OSError: it is not allowed.
    """
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    checked(libc.mount(*words, ctypes.c_ulong(flags), data and data.encode()), target)


def checked(result: int, what: str) -> None:
    """
    Raises:
        OSError: a call of the C library failed.
    """
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
