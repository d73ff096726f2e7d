"""The bytes themselves: files of a commit on the way out, large files on the way in."""

import posixpath
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from pinfold.hub.api import multipart
from pinfold.hub.api.browse import resolve_revision
from pinfold.hub.server import auth, reply
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage import lfs
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Pointer, Repository

CHUNK = 2**20
MAX_BATCH = 1000
IMAGES = {  # what a card's pictures may be
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
_SAFE = {  # a file is shown, if at all, as inert text or a picture: it must not act as a page of this server
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",  # SVG has styles inside
    "Cross-Origin-Resource-Policy": "same-origin",  # nor be part of another site's, with this browser's password
    "Accept-Ranges": "bytes",
}


def download(call: ApiCall) -> Response:
    """One file of a revision, whole, in part, or (HEAD) described."""
    repo = auth.repository(call)
    sha = resolve_revision(repo, call.params["revision"])
    headers = {"X-Repo-Commit": sha, **_SAFE}
    entry = repo.entry(sha, call.params["path"])
    if entry is None or entry.content is None:
        raise Refused(404, "Entry not found", "EntryNotFound", headers={"X-Repo-Commit": sha})
    headers["ETag"] = f'"{entry.pointer.oid if entry.pointer else entry.oid}"'
    if entry.pointer:
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(entry.size)}
        headers["Content-Type"] = "application/octet-stream"
        if not lfs.owns(repo, entry.pointer) and repo.settings.get("mirror"):
            reason = "this mirror has not copied the large files of that revision; pinfold hub import adds them"
            raise Refused(404, reason, "EntryNotFound", headers={"X-Repo-Commit": sha})
        if not lfs.owns(repo, entry.pointer):
            raise Refused(500, f"the stored file {entry.pointer.oid} is missing or damaged on the server's disk")
    else:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    if image := IMAGES.get(posixpath.splitext(entry.path)[1].lower()):
        headers["Content-Type"] = image
    return _send(call, entry.size, lambda: lfs.open_entry(repo, entry), headers)


def large_file(call: ApiCall) -> Response:
    """One large file by its sha256, for git-lfs. The signed URL is the permission."""
    signed = [call.query(each) or "" for each in ("size", "expires", "signature")]
    repo_key = f"{call.kind}/{call.repo_id}"
    pointer = lfs.check_signed_url(call.hub.secret, repo_key, call.params["oid"], *signed, operation=lfs.DOWNLOAD)
    repo = call.hub.store.find(call.kind, call.repo_id)
    if repo is None or not lfs.owns(repo, pointer):
        raise Refused(404, f"object {pointer.oid} is not in this repository")
    headers = {"ETag": f'"{pointer.oid}"', "Content-Type": "application/octet-stream", **_SAFE}
    headers["Cache-Control"] = "no-store"  # it came without credentials, and may be of a private repository
    return _send(call, pointer.size, lambda: lfs.object_path(repo, pointer.oid).open("rb"), headers)


def _send(call: ApiCall, size: int, opened: Callable[[], BinaryIO], headers: dict[str, str]) -> Response:
    asked = call.request.headers
    if reply.matches(asked.get("if-none-match"), headers["ETag"]):
        kept = {name: value for name, value in headers.items() if name not in ("Content-Type", "Accept-Ranges")}
        return Response(status_code=304, headers=kept)
    same = asked.get("if-range", headers["ETag"]) == headers["ETag"]  # else the client's part is of another file
    start, end, status = _range(asked.get("range") if same else None, size)
    headers["Content-Length"] = str(end - start)
    if status != 200:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if call.request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(_chunks(opened(), start, end - start), status, headers)


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
        raise Refused(416, f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, end, 206


def _chunks(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while length > 0 and (chunk := file.read(min(length, CHUNK))):
            length -= len(chunk)
            yield chunk


def batch(call: ApiCall) -> Response:
    """The URLs to send large files to that are missing here, or to fetch them from."""
    request = call.json()
    operation = request.get("operation")
    if operation not in (lfs.UPLOAD, lfs.DOWNLOAD) or request.get("hash_algo", "sha256") != "sha256":
        raise Refused(400, "the operation must be upload or download, of objects named by sha256")
    if operation == lfs.UPLOAD:
        auth.refuse_basic(call)
    repo = auth.repository(call, write=operation == lfs.UPLOAD)
    objects = request.get("objects")
    if not isinstance(objects, list) or len(objects) > MAX_BATCH:
        raise Refused(400, f"objects must be a list of at most {MAX_BATCH}")
    pointers = [_asked(each) for each in objects]
    if operation == lfs.DOWNLOAD:
        return answer({"transfer": "basic", "objects": [_download(call, repo, each) for each in pointers]})
    for each in set(pointers):
        if each.size > call.hub.part_size and not lfs.owns(repo, each):
            multipart.complete(call, repo, each)
    wanted = {each for each in pointers if not lfs.owns(repo, each)}
    needed = sum(max(each.size - multipart.received(call, each), 0) for each in wanted)
    free = shutil.disk_usage(repo.path).free
    if needed > free:
        raise Refused(507, f"the upload needs {needed} bytes and the server's disk has {free} free; free some space")
    in_parts = _takes_parts(request) and any(each.size > call.hub.part_size for each in wanted)
    objects = [_instructions(call, repo, each, in_parts) for each in pointers]
    return answer({"transfer": "multipart" if in_parts else "basic", "objects": objects})


def _takes_parts(request: dict[str, Any]) -> bool:
    transfers = request.get("transfers")
    return isinstance(transfers, list) and "multipart" in transfers


def _asked(requested: object) -> Pointer:
    oid, size = (requested.get("oid"), requested.get("size")) if isinstance(requested, dict) else (None, None)
    if not isinstance(oid, str) or not lfs.OID.fullmatch(oid) or type(size) is not int:
        raise Refused(400, "an object needs its oid as 64 hex digits and its size as a number")
    if not 0 <= size <= lfs.MAX_OBJECT:
        raise Refused(413, f"an object of {size} bytes is not accepted; the limit is {lfs.MAX_OBJECT}")
    return Pointer(oid, size)


def _download(call: ApiCall, repo: Repository, pointer: Pointer) -> dict[str, Any]:
    described = {"oid": pointer.oid, "size": pointer.size}
    if not lfs.owns(repo, pointer):  # another repository's private file must not be had by naming its sha256
        return {**described, "error": {"code": 404, "message": "this repository has not received this object"}}
    return {**described, "authenticated": True, "actions": {"download": _action(call, repo, pointer, lfs.DOWNLOAD)}}


def _action(call: ApiCall, repo: Repository, pointer: Pointer, operation: str) -> dict[str, Any]:
    signed = lfs.sign_url(call.hub.secret, f"{repo.kind}/{repo.id}", pointer, operation=operation)
    query = "&".join(f"{key}={value}" for key, value in signed.items())
    objects = f"{call.base_url}/{repo.url_path}.git/info/lfs/objects"
    return {"href": f"{objects}/{pointer.oid}?{query}", "expires_in": lfs.URL_LIFETIME}


def _instructions(call: ApiCall, repo: Repository, pointer: Pointer, in_parts: bool) -> dict[str, Any]:
    described = {"oid": pointer.oid, "size": pointer.size}
    if lfs.owns(repo, pointer):
        return described
    verify_at = f"{call.base_url}/{repo.url_path}.git/info/lfs/objects/verify"
    if in_parts and pointer.size > call.hub.part_size:
        send = multipart.actions(call, repo, pointer)
    else:
        send = _action(call, repo, pointer, lfs.UPLOAD)
    actions = {"upload": send, "verify": {"href": verify_at}}
    return {**described, "authenticated": True, "actions": actions}


async def upload(call: ApiCall) -> Response:
    """Receive one large file. The signed URL is the permission."""
    signed = [call.query(each) or "" for each in ("size", "expires", "signature")]
    pointer = lfs.check_signed_url(call.hub.secret, f"{call.kind}/{call.repo_id}", call.params["oid"], *signed)
    repo = await run_in_threadpool(call.hub.store.find, call.kind, call.repo_id)
    if repo is None:
        raise Refused(404, "Repository not found", "RepoNotFound")
    length = call.request.headers.get("content-length")
    if length is not None and length != str(pointer.size):
        raise Refused(400, f"the upload has {length} bytes, but {pointer.size} were announced; send it again")
    await lfs.receive(repo, pointer, call.request.stream(), call.hub.store.temporary)
    return Response()


def verify(call: ApiCall) -> Response:
    """Confirm that an object has arrived."""
    repo = auth.repository(call, write=True)
    pointer = _asked(call.json())
    if not lfs.owns(repo, pointer):
        raise Refused(404, f"object {pointer.oid} of {pointer.size} bytes has not arrived; upload it again")
    return answer({})
