"""The bytes themselves: files of a commit on the way out, large files on the way in."""

import io
import re
import shutil
from collections.abc import Iterator
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from pinfold.hub import auth, lfs
from pinfold.hub.browse import resolve
from pinfold.hub.store import Pointer, Repository
from pinfold.hub.wire import Call, HubError, answer

CHUNK = 2**20
MAX_BATCH = 1000
_SAFE = {  # a file is shown, if at all, as inert text: it must not act as a page of this server
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Accept-Ranges": "bytes",
}


def download(call: Call) -> Response:
    """One file of a revision, whole, in part, or (HEAD) described."""
    repo = auth.repository(call)
    sha = resolve(repo, call.params["revision"])
    headers = {"X-Repo-Commit": sha, **_SAFE}
    entry = repo.entry(sha, call.params["path"])
    if entry is None or entry.content is None:
        raise HubError(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": sha})
    headers["ETag"] = f'"{entry.pointer.oid if entry.pointer else entry.oid}"'
    if entry.pointer:
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(entry.size)}
        headers["Content-Type"] = "application/octet-stream"
        if not lfs.owns(repo, entry.pointer):
            raise HubError(500, f"the stored file {entry.pointer.oid} is missing or damaged on the server's disk")
    else:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    start, end, status = _range(call.request.headers.get("range"), entry.size)
    headers["Content-Length"] = str(end - start)
    if status != 200:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    if call.request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    file = lfs.object_path(repo, entry.pointer.oid).open("rb") if entry.pointer else io.BytesIO(entry.content)
    return StreamingResponse(_chunks(file, start, end - start), status, headers)


def _range(header: str | None, size: int) -> tuple[int, int, int]:
    """(start, end, status) of what to send. A header that is not one plain range is ignored, as HTTP allows."""
    match = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", (header or "").strip())
    if match is None or match[0] == "bytes=-":
        return 0, size, 200
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
    else:
        start, end = max(size - int(match[2]), 0), size
    if start >= end:
        raise HubError(416, f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, end, 206


def _chunks(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while length > 0 and (chunk := file.read(min(length, CHUNK))):
            length -= len(chunk)
            yield chunk


def batch(call: Call) -> Response:
    """Which large files are missing here, and the URLs to send them to."""
    repo = auth.repository(call, write=True)
    request = call.json()
    if request.get("operation") != "upload" or request.get("hash_algo", "sha256") != "sha256":
        raise HubError(400, "only uploads named by sha256 are served here; download files with /resolve/")
    objects = request.get("objects")
    if not isinstance(objects, list) or len(objects) > MAX_BATCH:
        raise HubError(400, f"objects must be a list of at most {MAX_BATCH}")
    pointers = [_asked(each) for each in objects]
    needed = sum(each.size for each in set(pointers) if not lfs.owns(repo, each))
    free = shutil.disk_usage(repo.path).free
    if needed > free:
        raise HubError(507, f"the upload needs {needed} bytes and the server's disk has {free} free; free some space")
    return answer({"transfer": "basic", "objects": [_instructions(call, repo, each) for each in pointers]})


def _asked(found: object) -> Pointer:
    oid, size = (found.get("oid"), found.get("size")) if isinstance(found, dict) else (None, None)
    if not isinstance(oid, str) or not lfs.OID.fullmatch(oid) or type(size) is not int:
        raise HubError(400, "an object needs its oid as 64 hex digits and its size as a number")
    if not 0 <= size <= lfs.MAX_OBJECT:
        raise HubError(413, f"an object of {size} bytes is not accepted; the limit is {lfs.MAX_OBJECT}")
    return Pointer(oid, size)


def _instructions(call: Call, repo: Repository, pointer: Pointer) -> dict[str, Any]:
    found = {"oid": pointer.oid, "size": pointer.size}
    if lfs.owns(repo, pointer):
        return found
    objects = f"{call.base_url}/{repo.url_path}.git/info/lfs/objects"
    query = "&".join(
        f"{key}={value}" for key, value in lfs.sign(call.hub.secret, f"{repo.kind}/{repo.id}", pointer).items()
    )
    actions = {"upload": {"href": f"{objects}/{pointer.oid}?{query}"}, "verify": {"href": f"{objects}/verify"}}
    return {**found, "authenticated": True, "actions": actions}


async def upload(call: Call) -> Response:
    """Receive one large file. The signed URL is the permission."""
    signed = [call.query(each) or "" for each in ("size", "expires", "signature")]
    pointer = lfs.verify(call.hub.secret, f"{call.kind}/{call.repo_id}", call.params["oid"], *signed)
    repo = await run_in_threadpool(call.hub.store.find, call.kind, call.repo_id)
    if repo is None:
        raise HubError(404, "Repository not found", "RepoNotFound")
    length = call.request.headers.get("content-length")
    if length is not None and length != str(pointer.size):
        raise HubError(400, f"the upload has {length} bytes, announced were {pointer.size}")
    await lfs.receive(repo, pointer, call.request.stream(), call.hub.store.temporary)
    return Response()


def verify(call: Call) -> Response:
    """Confirm that an object has arrived."""
    repo = auth.repository(call, write=True)
    pointer = _asked(call.json())
    if not lfs.owns(repo, pointer):
        raise HubError(404, f"object {pointer.oid} of {pointer.size} bytes has not arrived; upload it again")
    return answer({})
