"""Files that are written whole, and locks between processes."""

import subprocess
import sys

import pytest

from pinfold.common.errors import UserError
from pinfold.common.files import (
    cached_sha256,
    lock,
    parse_object,
    read_json,
    sha256_of_file,
    shared_lock,
    write_atomically,
)

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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "not JSON (nested too deeply); save the checkpoint again"),
        (b'{"a": \xff}', "not JSON ('utf-8' codec can't decode byte 0xff"),
        (b"{", "not JSON (Expecting property name"),
        (b"[]", "holds list, not an object; save the checkpoint again"),
    ],
    ids=["nested", "not UTF-8", "cut off", "a list"],
)
def test_a_file_without_an_object_is_one_line(tmp_path, content, words):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    for read in (lambda: read_json(path, "save it"), lambda: parse_object(path, content)):
        with pytest.raises(UserError) as raised:
            read()
        assert str(raised.value).startswith(f"{path}: {words}") and "\n" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="without fcntl each call says that it is the last")
def test_of_those_who_share_a_lock_the_one_that_is_left_knows_it(tmp_path):
    path = tmp_path / "lock"
    with shared_lock(path) as first_is_last:
        with shared_lock(path) as second_is_last:
            assert not second_is_last()
        assert first_is_last()
