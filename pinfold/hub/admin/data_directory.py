"""The data directory: taken into use, held by one process, and the key in it that signs upload URLs."""

import contextlib
import errno
import json
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.files import lock, write_atomically
from pinfold.common.hub_data import MARK, open_data
from pinfold.common.private import DIRECTORY, FILE, private_umask


def prepare(data: Path) -> None:
    """Make the directory where it is missing, and close it to others: private repositories are in it.

    Raises:
        UserError: it holds other files, or cannot be written to.
    """
    try:
        open_data(data, f"--data {data}", "name a new or an empty one")
        for name in ("tmp", "repos"):
            (data / name).mkdir(mode=DIRECTORY, exist_ok=True)
        probe = data / "tmp" / f"probe-{secrets.token_hex(4)}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space" if is_full else "choose a directory you may write with --data"
        raise UserError(f"--data {data}: {error.strerror}; {cure}") from error


@contextlib.contextmanager
def in_use(data: Path) -> Iterator[None]:
    """The directory, made where it is missing; a mistake that ends its first use leaves nothing behind.

    All that this process makes meanwhile is for its owner alone, also what libraries make.

    Raises:
        UserError: as `prepare`.
    """
    missing = [each for each in (data, *data.parents) if not each.exists()]
    prepare(data)
    try:
        with private_umask():
            yield
    except UserError:
        if missing and _is_unused(data):
            shutil.rmtree(data)
            for parent in missing[1:]:
                with contextlib.suppress(OSError):  # something else was put there meanwhile
                    parent.rmdir()
        raise


def _is_unused(data: Path) -> bool:
    """Whether it holds only what `prepare` and a refused token leave."""
    names = {path.relative_to(data).as_posix() for path in data.rglob("*")}
    return names <= {MARK, "tmp", "repos", "repos/models", "lock", "tokens.lock"}


@contextlib.contextmanager
def claimed(data: Path) -> Iterator[None]:
    """One server per data directory: locks inside the process keep its repositories consistent."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(data / "lock", wait=False, mode=FILE))
        except BlockingIOError:
            raise UserError(
                f"{data} is served already{_where_it_runs(data)}; use that server or another --data"
            ) from None
        yield


def _where_it_runs(data: Path) -> str:
    try:
        running = json.loads((data / "server.json").read_text())
        return f" at http://127.0.0.1:{running['port']} (process {running['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def signing_key(data: Path) -> bytes:
    """The key that signs upload URLs. Kept, so that an upload that outlives a restart is still accepted."""
    path = data / "secret"
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32), mode=FILE)
    return path.read_bytes()
