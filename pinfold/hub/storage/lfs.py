"""Large files: objects named by their sha256, kept per repository and received through signed URLs.

A repository owns what it received. With one store for all, a commit naming the sha256 of
a private file elsewhere would be enough to download it.
"""

import hashlib
import hmac
import io
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool

from pinfold.common.files import sync_directory
from pinfold.common.private import DIRECTORY, FILE
from pinfold.common.safetensors import Header, parse_header
from pinfold.hub.storage import faults
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Entry, Pointer, Repository

MAX_HEADER = 16 * 2**20  # bytes of a safetensors header; the format allows 100 MB, which is half a minute of parsing
OID = re.compile(r"[0-9a-f]{64}")
MAX_OBJECT = 200 * 2**30
URL_LIFETIME = 24 * 3600  # seconds: one batch signs all files of a push, and the last of them may start late
UPLOAD, DOWNLOAD = "upload", "download"  # what a URL is signed for
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


def open_entry(repo: Repository, entry: Entry) -> BinaryIO:
    """The bytes of a file of a commit, wherever they are kept."""
    return object_path(repo, entry.pointer.oid).open("rb") if entry.pointer else io.BytesIO(entry.content or b"")


def tensor_header(repo: Repository, entry: Entry) -> Header:
    """The header of a safetensors file of a commit. ValueError says what is wrong with it."""
    if entry.pointer and not owns(repo, entry.pointer):
        raise ValueError("the stored file is missing on the server's disk")
    with open_entry(repo, entry) as file:
        return parse_header(file, entry.size, MAX_HEADER)


def sign_url(
    secret: bytes, repo: str, pointer: Pointer, expires: int | None = None, operation: str = UPLOAD
) -> dict[str, str]:
    """The query of a URL for one object. Clients send no token along, so the URL itself is the permission."""
    expires = int(time.time()) + URL_LIFETIME if expires is None else expires
    signature = _mac(secret, repo, pointer, expires, operation)
    return {"size": str(pointer.size), "expires": str(expires), "signature": signature}


def check_signed_url(
    secret: bytes, repo: str, oid: str, size: str, expires: str, signature: str, operation: str = UPLOAD
) -> Pointer:
    """The object that a URL was signed for, or a refusal."""
    if not (OID.fullmatch(oid) and re.fullmatch(r"\d{1,15}", size) and re.fullmatch(r"\d{1,12}", expires)):
        raise Refused(403, "this URL was not made by this server")
    pointer = Pointer(oid, int(size))
    expected = _mac(secret, repo, pointer, int(expires), operation)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise Refused(403, "this URL was not made by this server for this repository and object")
    if int(expires) < time.time():
        raise Refused(403, f"this {operation.partition(' ')[0]} URL has expired; start again")
    return pointer


def _mac(secret: bytes, repo: str, pointer: Pointer, expires: int, operation: str) -> str:
    text = f"{operation}\n{repo}\n{pointer.oid}\n{pointer.size}\n{expires}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


async def receive(repo: Repository, pointer: Pointer, chunks: AsyncIterator[bytes], temporary: Path) -> None:
    """Store an upload. It is hashed on the way in and appears under its name only when every byte is right."""
    path = temporary / secrets.token_hex(8)
    digest, received, middle, pending = hashlib.sha256(), 0, False, bytearray()

    def write(file, content: bytes) -> None:
        digest.update(content)
        file.write(content)

    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE), "wb") as file:
            async for chunk in chunks:
                received += len(chunk)
                if received > pointer.size:
                    raise Refused(400, f"the upload is longer than the {pointer.size} bytes announced")
                if not middle and received * 2 >= pointer.size:
                    middle = True
                    faults.reach("put-middle")
                pending += chunk
                if len(pending) >= WRITE_SIZE:
                    await run_in_threadpool(write, file, bytes(pending))
                    pending.clear()
            await run_in_threadpool(write, file, bytes(pending))
            if received != pointer.size:
                words = f"the upload has {received} bytes, but {pointer.size} were announced; send it again"
                raise Refused(400, words)
            if digest.hexdigest() != pointer.oid:
                words = f"the upload's sha256 is {digest.hexdigest()}, but {pointer.oid} was announced; send it again"
                raise Refused(400, words)
            file.flush()
            await run_in_threadpool(os.fsync, file.fileno())
        await run_in_threadpool(place, path, object_path(repo, pointer.oid))
    finally:
        path.unlink(missing_ok=True)


def place(path: Path, target: Path) -> None:
    """Let a checked file appear under its name."""
    for directory in (target.parent.parent, target.parent):
        try:
            # Not with its parents: a repository deleted meanwhile must not come back.
            directory.mkdir(mode=DIRECTORY, exist_ok=True)
        except FileNotFoundError as error:
            raise Refused(404, "Repository not found", "RepoNotFound") from error
    os.replace(path, target)
    sync_directory(target.parent)
