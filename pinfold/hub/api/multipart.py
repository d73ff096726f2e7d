"""Very large files in parts, as huggingface_hub sends them: a dropped connection costs one part, not the file.

How it works:
- The batch answer carries a URL for each part, and one to finish; each is signed for exactly that.
- Parts are written at their place in one file; a mark beside it, with the part's hash, says that one is whole.
- Finishing checks the marks, takes the file away from whoever still writes to it, hashes it and renames it.
- What was never finished goes after a week, when a server starts, or with `pinfold hub gc`.
"""

import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from pinfold.common.files import sha256_of_file
from pinfold.common.private import FILE, make_directory
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage import faults, lfs
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Pointer, Repository

MAX_PARTS = 500  # larger files get larger parts: each part is a URL in the answer
KEPT = 7 * 24 * 3600  # seconds
_FINISH = "finish"
# For each upload one of these, by its name: a lock that is shared by chance costs a moment and no memory.
_WRITING = [threading.Lock() for _ in range(64)]
_FINISHING = [threading.Lock() for _ in range(64)]


def part_size(smallest: int, size: int) -> int:
    """Bytes of each part of a file; the last may be shorter."""
    return max(smallest, -(-size // MAX_PARTS))


def actions(call: ApiCall, repo: Repository, pointer: Pointer) -> dict[str, Any]:
    """The upload action for a large file, as huggingface_hub's lfs.py reads it."""
    size = part_size(call.hub.part_size, pointer.size)
    count = -(-pointer.size // size)
    at = f"{call.base_url}/{repo.url_path}.git/info/lfs/objects/{pointer.oid}/parts"
    header = {str(number): f"{at}/{number}?{_query(call, repo, pointer, number, size)}" for number in _numbers(count)}
    finish = f"{at}?{_query(call, repo, pointer, _FINISH, size)}"
    return {"href": finish, "header": {"chunk_size": str(size), **header}, "expires_in": lfs.URL_LIFETIME}


def _numbers(count: int) -> range:
    return range(1, count + 1)


def _query(call: ApiCall, repo: Repository, pointer: Pointer, what: int | str, size: int) -> str:
    signed = lfs.sign_url(call.hub.secret, f"{repo.kind}/{repo.id}", pointer, operation=_operation(what, size))
    return "&".join(f"{key}={value}" for key, value in {"part": size, **signed}.items())


def _operation(what: int | str, size: int) -> str:
    return f"upload part {what} {size}"


def _signed(call: ApiCall, what: str) -> tuple[Pointer, int]:
    """The object and the size of its parts that a URL was signed for."""
    signed = [call.query(each) or "" for each in ("size", "expires", "signature")]
    size = call.query("part") or ""
    repo = f"{call.kind}/{call.repo_id}"
    if not re.fullmatch(r"[1-9][0-9]{0,14}", size):
        raise Refused(403, "this URL was not made by this server")
    pointer = lfs.check_signed_url(
        call.hub.secret, repo, call.params["oid"], *signed, operation=_operation(what, int(size))
    )
    return pointer, int(size)


def directory(call: ApiCall, pointer: Pointer) -> Path:
    """Where the parts of one file for one repository wait."""
    key = f"{call.kind}/{call.repo_id}\n{pointer.oid}\n{pointer.size}"
    return call.hub.store.parts / hashlib.sha256(key.encode()).hexdigest()


async def receive_part(call: ApiCall) -> Response:
    number = call.params["number"]
    pointer, size = _signed(call, number)
    start = (int(number) - 1) * size
    length = min(size, pointer.size - start)
    announced = call.request.headers.get("content-length")
    if announced is not None and announced != str(length):
        raise Refused(400, f"part {number} has {announced} bytes, and should have {length}")
    at = directory(call, pointer)
    with await run_in_threadpool(_opened, at, number) as file:
        etag = await _write(call, at, file, start, length, number)
        await run_in_threadpool(_mark, at, file, f"{number}-{etag}")
    return Response(headers={"ETag": f'"{etag}"'})


def _opened(at: Path, number: str) -> BinaryIO:
    with _one_of(_WRITING, at):
        make_directory(at)
        for mark in at.glob(f"{number}-*"):  # the part that it marks is about to be overwritten
            mark.unlink(missing_ok=True)
        return open(os.open(at / "content", os.O_RDWR | os.O_CREAT, FILE), "r+b", buffering=0)


def _one_of(locks: list[threading.Lock], at: Path) -> threading.Lock:
    return locks[int(at.name[:8], 16) % len(locks)]


def _check_open(at: Path, file: BinaryIO) -> None:
    """Refuse to write once the upload is finished: the file may be part of a repository by now. Call with the lock."""
    try:
        if os.path.samestat(os.fstat(file.fileno()), os.stat(at / "content")):
            return
    except FileNotFoundError:
        pass
    raise Refused(409, "the upload was finished or given up meanwhile; start again")


def _mark(at: Path, file: BinaryIO, name: str) -> None:
    with _one_of(_WRITING, at):
        _check_open(at, file)
        (at / name).touch(mode=FILE)


async def _write(call: ApiCall, at: Path, file: BinaryIO, start: int, length: int, number: str) -> str:
    digest, received, middle, pending = hashlib.sha256(), 0, False, bytearray()
    file.seek(start)

    def write() -> None:
        digest.update(pending)
        with _one_of(_WRITING, at):
            _check_open(at, file)
            rest = memoryview(bytes(pending))
            while rest:
                rest = rest[file.write(rest) :]
        pending.clear()

    async for chunk in call.request.stream():
        if received + len(chunk) > length:  # before it reaches into the next part
            raise Refused(400, f"part {number} is longer than its {length} bytes")
        if not middle and received * 2 >= length:
            middle = True
            faults.reach("put-middle")
        received += len(chunk)
        pending += chunk
        if len(pending) >= lfs.WRITE_SIZE:
            await run_in_threadpool(write)
    await run_in_threadpool(write)
    if received != length:
        raise Refused(400, f"part {number} has {received} bytes, and should have {length}; send it again")
    await run_in_threadpool(os.fsync, file.fileno())
    return digest.hexdigest()


def finish(call: ApiCall) -> Response:
    """The last call of an upload in parts."""
    pointer, size = _signed(call, _FINISH)
    repo = call.hub.store.find(call.kind, call.repo_id)
    if repo is None:
        raise Refused(404, "Repository not found", "RepoNotFound")
    if lfs.owns(repo, pointer):  # the answer was lost and the client asks again
        return answer({})
    request = call.json()
    parts = request.get("parts")
    if request.get("oid") != pointer.oid or not isinstance(parts, list):
        raise Refused(400, "the request needs the oid and the parts, each with partNumber and etag")
    given = {each.get("partNumber"): each.get("etag") for each in parts if isinstance(each, dict)}
    at = directory(call, pointer)
    marks = _marks(at)
    for number in _numbers(-(-pointer.size // size)):
        if number not in marks or str(given.get(number)).strip('"') != marks[number]:
            raise Refused(400, f"part {number} of {pointer.oid} has not arrived as announced; send it again")
    _finish(call, at, repo, pointer)
    return answer({})


def complete(call: ApiCall, repo: Repository, pointer: Pointer) -> bool:
    """Finish a file all of whose parts are here: of an upload that broke off just before its last call."""
    at = directory(call, pointer)
    count = -(-pointer.size // part_size(call.hub.part_size, pointer.size))
    if set(_marks(at)) != set(_numbers(count)):
        return False
    try:
        _finish(call, at, repo, pointer)
    except Refused:  # the parts were wrong, and are gone: it is sent anew
        return False
    return True


def _marks(at: Path) -> dict[int, str]:
    matches = (re.fullmatch(r"([1-9][0-9]{0,4})-([0-9a-f]{64})", path.name) for path in at.glob("*-*"))
    return {int(match[1]): match[2] for match in matches if match}


def _finish(call: ApiCall, at: Path, repo: Repository, pointer: Pointer) -> None:
    content = call.hub.store.temporary / secrets.token_hex(8)
    with _one_of(_FINISHING, at):
        try:
            with _one_of(_WRITING, at):
                os.rename(at / "content", content)  # from here on nothing writes to it
                shutil.rmtree(at, ignore_errors=True)  # also when the parts are wrong: which of them is not known
            oid = sha256_of_file(content) if content.stat().st_size == pointer.size else ""
            if oid == pointer.oid:
                lfs.place(content, lfs.object_path(repo, pointer.oid))
                return
        except FileNotFoundError:
            if lfs.owns(repo, pointer):  # another request finished it meanwhile
                return
            raise Refused(400, f"the parts of {pointer.oid} are gone; send it again") from None
        finally:
            content.unlink(missing_ok=True)
    arrived = f"the sha256 {oid}" if oid else "another size"
    raise Refused(400, f"the parts together have {arrived}, but {pointer.oid} was announced; send it again")


def received(call: ApiCall, pointer: Pointer) -> int:
    """Bytes of a file that are on the disk already."""
    try:
        return (directory(call, pointer) / "content").stat().st_blocks * 512
    except (FileNotFoundError, AttributeError):  # Windows counts no blocks
        return 0


def remove_old(parts: Path) -> None:
    """Forget uploads in which nothing has arrived for a week."""
    for at in parts.glob("*"):
        newest = max([at.stat().st_mtime, *(each.stat().st_mtime for each in at.glob("*"))])
        if newest < time.time() - KEPT:
            shutil.rmtree(at, ignore_errors=True)
