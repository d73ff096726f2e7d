"""Files that are written whole or not at all, locks that end with their process, checksums, and JSON."""

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pinfold.common.errors import UserError


def write_atomically(path: Path, content: bytes, mode: int = 0o644, sync: bool = True) -> None:
    """Replace a file; a reader or a crash sees the old one or the new one.

    Without `sync` the name may be lost in a power cut, until its directory is synced.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # before the rename: the name must never show a file whose bytes are lost
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename survive a power cut. Windows cannot open a directory, and does without."""
    if os.name == "posix":
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


@contextlib.contextmanager
def lock(path: Path, wait: bool = True, mode: int = 0o644) -> Iterator[None]:
    """Hold an exclusive lock on a file that has no other use. It ends with the process.

    Args:
        mode: of a new file, whatever the umask is.

    Raises:
        BlockingIOError: without `wait`, where another process or thread holds it.
    """
    from filelock import FileLock, Timeout

    held = FileLock(path, mode=mode, timeout=-1 if wait else 0, poll_interval=0.01)
    try:
        held.acquire()
    except Timeout:
        raise BlockingIOError(f"{path} is locked") from None
    try:
        yield
    finally:
        held.release()


@contextlib.contextmanager
def shared_lock(path: Path) -> Iterator[Callable[[], bool]]:
    """Hold a lock that others hold at the same time; the yielded function says whether no other is left.

    By fcntl, since the locks of filelock 3.12, the oldest that is allowed, are all exclusive. Windows has none: there
    each call says that it is the last.
    """
    try:
        import fcntl
    except ImportError:
        yield lambda: True
        return
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)

        def is_last() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        yield is_last


def link_or_copy(source: str, target: str) -> None:
    """A second name for a file, or a copy on a file system without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sha256_of_file(path: Path) -> str:
    """The file's sha256 in hex, read from the disk each time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cached_sha256(path: Path) -> str:
    """The same; a file whose size and time did not change is read once in this process."""
    status = path.stat()
    return _sha256_at(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _sha256_at(path: Path, size: int, modified: int) -> str:
    return sha256_of_file(path)


def check_output(option: str, file: Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Raises:
        UserError: it is a directory, or lies in none that exists.
    """
    if file.is_dir():
        raise UserError(f"{option} {file}: a directory; name a file")
    if not file.parent.is_dir():
        raise UserError(f"{option} {file}: the directory {file.parent} does not exist; make it, or name another file")


def read_json(path: Path, hint: str) -> dict:
    """The JSON object that a file of a checkpoint holds.

    Args:
        hint: what to do where there is no such file.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}; {hint}") from None
    return parse_object(path, content)


def parse_object(path: Path, text: str | bytes) -> dict:
    """The JSON object that was read from a file of a checkpoint.

    Raises:
        UserError: it is something else, or nested more deeply than Python reads.
    """
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"  # Python names its own limits
        raise UserError(f"{path}: not JSON ({reason}); save the checkpoint again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds {type(value).__name__}, not an object; save the checkpoint again")
    return value


def write_json(path: Path, value: dict) -> None:
    """Write an object with sorted keys, so that the same content gives the same bytes."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")  # lone surrogates, which JSON can hold


def remove_tree(top: Path) -> None:
    """Remove a directory in which a folder's code has written, as far as that can be done; raises nothing.

    Its directories may be nested deeper than Python recurses or a path can name, and without any permission.
    """
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(top)
    if not os.path.lexists(top) or os.open not in os.supports_dir_fd:
        return
    with contextlib.suppress(OSError):
        top.chmod(0o700)
        directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            while _lift(directory):
                pass
        finally:
            os.close(directory)
        top.rmdir()


def _lift(top: int) -> bool:
    """Remove the files in a directory, and put what its directories contain in their place; whether any was there."""
    progress = False
    with os.scandir(top) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        with contextlib.suppress(OSError):
            if not is_directory:
                os.unlink(name, dir_fd=top)
                progress = True
                continue
            os.chmod(name, 0o700, dir_fd=top)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                with os.scandir(inner) as entries:
                    below = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
                for other, is_below in below:
                    if is_below:
                        os.chmod(other, 0o700, dir_fd=inner)
                    os.rename(other, secrets.token_hex(8), src_dir_fd=inner, dst_dir_fd=top)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
            progress = True
    return progress
