"""Files that are written whole, and locks between processes."""

import subprocess
import sys

import pytest

from pinfold.common.files import cached_sha256, lock, sha256_of_file, write_atomically

HOLD = "import sys; from pathlib import Path; from pinfold.common.files import lock\n"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_file_that_changed_has_another_checksum(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_of_file(path) == cached_sha256(path) == empty
    path.write_bytes(b"longer")
    assert cached_sha256(path) == sha256_of_file(path) != empty


def test_a_lock_is_held_by_one_alone_and_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    with lock(path), pytest.raises(BlockingIOError), lock(path, wait=False):
        pass
    program = f"{HOLD}with lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), lock(path, wait=False):
            pass
        holder.kill()
    with lock(path, wait=False):
        pass
