"""Large files: objects named by their sha256, kept per repository and received through signed URLs.

A repository owns what it received. With one store for all, a commit naming the sha256 of
somebody's private file would be enough to download it.
"""

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from pinfold.hub import faults
from pinfold.hub.files import sync_directory
from pinfold.hub.store import Pointer, Repository
from pinfold.hub.wire import HubError

OID = re.compile(r"[0-9a-f]{64}")
MAX_OBJECT = 200 * 2**30
URL_LIFETIME = 24 * 3600  # seconds: one batch signs all files of a push, and the last of them may start late
WRITE_SIZE = 2**20


def object_path(repo: Repository, oid: str) -> Path:
    """git-lfs' own layout, so that a copy of the directory is a working git-lfs remote."""
    return repo.path / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


def stored_size(repo: Repository, oid: str) -> int | None:
    """The size of an object that this repository has received, or None."""
    try:
        return object_path(repo, oid).stat().st_size
    except FileNotFoundError:
        return None


def owns(repo: Repository, pointer: Pointer) -> bool:
    return stored_size(repo, pointer.oid) == pointer.size


def sign(secret: bytes, repo: str, pointer: Pointer, expires: int | None = None) -> dict[str, str]:
    """The query of an upload URL. Clients send no token with an upload, so the URL itself is the permission."""
    expires = int(time.time()) + URL_LIFETIME if expires is None else expires
    return {"size": str(pointer.size), "expires": str(expires), "signature": _mac(secret, repo, pointer, expires)}


def verify(secret: bytes, repo: str, oid: str, size: str, expires: str, signature: str) -> Pointer:
    """The object that an upload URL was signed for, or a refusal."""
    if not (OID.fullmatch(oid) and re.fullmatch(r"\d{1,15}", size) and re.fullmatch(r"\d{1,12}", expires)):
        raise HubError(403, "this upload URL was not made by this server")
    pointer = Pointer(oid, int(size))
    expected = _mac(secret, repo, pointer, int(expires))
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise HubError(403, "this upload URL was not made by this server for this repository and object")
    if int(expires) < time.time():
        raise HubError(403, "this upload URL has expired; start the upload again")
    return pointer


def _mac(secret: bytes, repo: str, pointer: Pointer, expires: int) -> str:
    text = f"{repo}\n{pointer.oid}\n{pointer.size}\n{expires}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


async def receive(repo: Repository, pointer: Pointer, chunks: AsyncIterator[bytes], temporary: Path) -> None:
    """Store an upload. It is hashed on the way in and appears under its name only when every byte is right."""
    path = temporary / secrets.token_hex(8)
    digest, received, middle, pending = hashlib.sha256(), 0, False, bytearray()

    def write(file, content: bytes) -> None:
        digest.update(content)
        file.write(content)

    try:
        with open(path, "xb") as file:
            async for chunk in chunks:
                received += len(chunk)
                if received > pointer.size:
                    raise HubError(400, f"the upload is longer than the {pointer.size} bytes announced")
                if not middle and received * 2 >= pointer.size:
                    middle = True
                    faults.reach("put-middle")
                pending += chunk
                if len(pending) >= WRITE_SIZE:
                    await run_in_threadpool(write, file, bytes(pending))
                    pending.clear()
            await run_in_threadpool(write, file, bytes(pending))
            if received != pointer.size:
                raise HubError(400, f"the upload has {received} bytes, announced were {pointer.size}; send it again")
            if digest.hexdigest() != pointer.oid:
                raise HubError(400, f"the upload's sha256 is {digest.hexdigest()}, announced was {pointer.oid}")
            file.flush()
            await run_in_threadpool(os.fsync, file.fileno())
        await run_in_threadpool(_place, path, object_path(repo, pointer.oid))
    finally:
        path.unlink(missing_ok=True)


def _place(path: Path, target: Path) -> None:
    for directory in (target.parent.parent, target.parent):
        try:
            directory.mkdir(exist_ok=True)  # not parents=True: a repository deleted meanwhile must not come back
        except FileNotFoundError as error:
            raise HubError(404, "Repository not found", "RepoNotFound") from error
    os.replace(path, target)
    sync_directory(target.parent)
