"""What the sandbox's first process counts, while what it counts changes."""

import contextlib
import io
import mmap
import os
import sys
import time

import pytest

from pinfold.fenced import first

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes use")


class Gone:
    """An entry of a directory whose file was removed before it was looked at."""

    path = name = "gone"

    def is_dir(self, follow_symlinks):
        return False

    def stat(self, follow_symlinks):
        raise FileNotFoundError(self.name)


def test_a_file_that_is_removed_meanwhile_hides_no_other(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    real = first._opened

    @contextlib.contextmanager
    def opened(place):
        with real(place) as entries:
            yield [Gone(), *entries]

    monkeypatch.setattr(first, "_opened", opened)
    total, hidden = first.written([str(tmp_path)])
    assert total >= 100_000 and not hidden


@linux
def test_a_descriptor_that_is_closed_meanwhile_hides_no_other():
    low = os.open(os.devnull, os.O_RDONLY)
    file = os.memfd_create("x")
    try:
        os.write(file, b"x" * 100_000)
        os.close(low)  # the list of descriptors is read through this one, and then it is closed
        assert low < file and sum(first.unnamed(os.getpid()).values()) >= 100_000
    finally:
        os.close(file)


def test_a_look_that_fails_ends_the_run(monkeypatch):
    watch = object.__new__(first.Watch)
    watch.why, watch.process = "", type("Process", (), {"kill": lambda self: None})()
    monkeypatch.setattr(first, "SECONDS", 0)
    monkeypatch.setattr(first, "written", lambda places: 1 / 0)
    watch.orders = {"writable": []}
    watch.look()
    assert watch.why == "what it uses could not be looked at (ZeroDivisionError: division by zero)"


@linux
def test_memory_that_several_processes_share_counts_once():
    """Each of five has touched all of it."""
    size, children = 64 << 20, []
    shared = mmap.mmap(-1, size)
    shared.write(b"x" * size)
    ready, say = os.pipe()
    try:
        for _ in range(4):
            if not (number := os.fork()):
                shared[:: mmap.PAGESIZE]
                os.write(say, b"x")
                time.sleep(60)
            children.append(number)
        for _ in children:
            os.read(ready, 1)
        _, _, _, each = first.used()
        assert all(each[number] >= size for number in children)
        total = sum(first.deleted(number, set(), 0) for number in (os.getpid(), *children))
        assert 0.99 * size < total < 1.2 * size
        assert first.deleted(os.getpid(), mapped(), 0) == 0
    finally:
        for number in children:
            os.kill(number, 9)
            os.waitpid(number, 0)
        shared.close()


def mapped():
    """Devices and numbers of the shared memory that this process has."""
    with open("/proc/self/maps") as file:
        lines = [line.split() for line in file if line.endswith(" (deleted)\n")]
    places = [(*(int(part, 16) for part in words[3].split(":")), int(words[4])) for words in lines]
    return {(os.makedev(major, minor), number) for major, minor, number in places}


MAPPED = "7f0000000000-7f0004000000 rw-s 00000000 00:01 {} {}\nRss: 65536 kB\nPss: 65536 kB\nVmFlags: rd wr sh\n"


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("/dev/zero (deleted)", True),
        ("/dev/shm/a (deleted)", True),
        ("[anon_shmem:weights]", True),
        ("[anon_shmem:two words]", True),
        ("/dev/shm/a", False),
        ("[anon:weights]", False),
        ("", False),
    ],
)
def test_shared_memory_with_a_name_counts_too(monkeypatch, name, counts):
    text = (MAPPED.format(7, name) + MAPPED.format(0, "")).encode()
    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", lambda *arguments: io.BytesIO(text))
        counted = first.deleted(1, set(), 0), first.deleted(1, {(os.makedev(0, 1), 7)}, 0)
    assert counted == ((64 << 20) * counts, 0)


@linux
def test_memory_that_a_process_hides_counts_in_full(monkeypatch):
    def refused(*arguments):
        raise PermissionError(*arguments)

    with monkeypatch.context() as patched:  # pytest itself opens files before it takes a patch of the test back
        patched.setattr("builtins.open", refused)
        counted = first.deleted(os.getpid(), set(), 4711)
    assert counted == 4711
