"""git clone and git fetch over HTTP: the stateless half of git's upload-pack protocol, version 0.

How it works:
- GET info/refs lists the refs; POST git-upload-pack names what is wanted and had, and gets a pack.
- Any commit that a ref reaches can be wanted by its sha, so a pin can be fetched alone.
- Nothing can be pushed: a push here is a commit request, with its checks.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage import packs
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Repository

SERVICE = "git-upload-pack"
CAPABILITIES = (
    b"multi_ack_detailed side-band-64k ofs-delta shallow deepen-relative no-progress include-tag "
    b"allow-tip-sha1-in-want allow-reachable-sha1-in-want symref=HEAD:refs/heads/main object-format=sha1 agent=pinfold"
)
MAX_LINES = 200_000  # wants, haves and shallow commits of one request
MAX_DEPTH = 2**31 - 1  # what git sends for "all of it"
IN_MEMORY = 8 * 2**20  # bytes of a pack before it goes to disk
_BAND = 65515


def advertise(call: ApiCall) -> Response:
    """GET info/refs?service=git-upload-pack."""
    repo = auth.repository(call)
    if call.query("service") != SERVICE:
        raise _no_push() if call.query("service") else Refused(403, "git's dumb protocol is not served; update git")
    refs = _refs(repo)
    lines = [b"# service=git-upload-pack\n", None]
    for number, (name, sha) in enumerate(refs.items()):
        lines.append(sha + b" " + name + (b"\0" + CAPABILITIES if number == 0 else b"") + b"\n")
        commit, tags = packs.peel(repo.git.object_store, sha)
        if tags:
            lines.append(commit + b" " + name + b"^{}\n")
    content = b"".join(map(_line, [*lines, None]))
    return Response(content, 200, None, f"application/x-{SERVICE}-advertisement")


def upload_pack(call: ApiCall) -> Response:
    """POST git-upload-pack: one round of the negotiation, or its end with the pack."""
    repo = auth.repository(call)
    if call.request.headers.get("content-type") != f"application/x-{SERVICE}-request":  # no page of a browser's
        raise Refused(415, f"the request must be of type application/x-{SERVICE}-request")
    asked = _Request(call.body)
    store, refs = repo.git.object_store, _refs(repo)
    tips = set(refs.values())
    if not set(asked.wants) <= tips:
        reached = packs.ancestors(store, {packs.peel(store, each)[0] for each in tips})
        if strangers := set(asked.wants) - tips - reached:
            raise Refused(404, f"{min(strangers).decode()} is not a commit that a branch or tag of {repo.id} reaches")
    file = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=call.hub.store.temporary)  # noqa: SIM115 - streamed below
    try:
        _answer(repo, asked, refs, file.write)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return StreamingResponse(_chunks(file), 200, None, f"application/x-{SERVICE}-result")


def refuse_push(call: ApiCall) -> Response:
    auth.repository(call)
    raise _no_push()


def _no_push() -> Refused:
    return Refused(403, "git push is not served here; use huggingface_hub's create_commit, hf upload or pinfold push")


class _Request:
    """What a client wants, has and how deep it asks."""

    def __init__(self, body: bytes):
        self.wants: list[bytes] = []
        self.haves: list[bytes] = []
        self.client_edge: set[bytes] = set()
        self.capabilities: set[bytes] = set()
        self.depth, self.done, self.negotiates = 0, False, False
        section = 0  # wants, then a flush, then haves
        for line in _lines(body):
            if line is None:
                section += 1
                self.negotiates = self.negotiates or section > 1
                continue
            word, _, rest = line.rstrip(b"\n").partition(b" ")
            if section == 0 and word == b"want":
                sha, _, capabilities = rest.partition(b" ")
                self.wants.append(_sha(sha))
                self.capabilities |= set(capabilities.split())
            elif section == 0 and word == b"shallow":
                self.client_edge.add(_sha(rest))
            elif section == 0 and word == b"deepen" and re.fullmatch(rb"\d{1,10}", rest):
                self.depth = min(int(rest), MAX_DEPTH)
            elif section and word == b"have":
                self.haves.append(_sha(rest))
                self.negotiates = True
            elif section and word == b"done":
                self.done = self.negotiates = True
            else:
                raise Refused(400, f"{line[:60]!r} is not a line of git's upload-pack protocol")
        if not self.wants or not self.capabilities >= {b"side-band-64k", b"multi_ack_detailed"}:
            raise Refused(400, "the request wants nothing, or comes from a git older than 1.7")


def _answer(repo: Repository, asked: _Request, refs: dict[bytes, bytes], write: Callable[[bytes], object]) -> None:
    store = repo.git.object_store
    edge = client_edge = {sha for sha in asked.client_edge if sha in store}
    if asked.depth:
        if b"deepen-relative" in asked.capabilities:  # counted from where the clone ends now
            edge, above = packs.boundary(store, client_edge, asked.depth + 1)
        else:
            edge, above = packs.boundary(store, asked.wants, asked.depth)
        for sha in sorted(edge - client_edge):
            write(_line(b"shallow " + sha))
        for sha in sorted(client_edge & above):
            write(_line(b"unshallow " + sha))
        write(_line(None))
        edge = edge | client_edge - above
    if not asked.negotiates:
        return
    common = [sha for sha in asked.haves if sha in store and store[sha].type_name == b"commit"]
    for sha in common:
        write(_line(b"ACK " + sha + b" common\n"))
    if not asked.done:
        if common:  # one is enough: the rest follows from it
            write(_line(b"ACK " + common[-1] + b" ready\n"))
        write(_line(b"NAK\n"))
        return
    write(_line(b"ACK " + common[-1] + b"\n" if common else b"NAK\n"))
    tags = {}
    if b"include-tag" in asked.capabilities:
        peeled = [packs.peel(store, sha) for name, sha in refs.items() if name.startswith(b"refs/tags/")]
        tags = {tag: commit for commit, on_the_way in peeled for tag in on_the_way}
    shas = packs.missing(store, asked.wants, set(common), client_edge, edge, tags)
    packs.write_pack(lambda chunk: _side_band(write, chunk), store, shas)
    write(_line(None))


def _refs(repo: Repository) -> dict[bytes, bytes]:
    """HEAD first, as git lists them. A ref without a commit is left out: `pinfold hub verify` reports it."""
    peelable = {}
    for name, sha in sorted(repo.git.get_refs().items()):
        with contextlib.suppress(KeyError):
            packs.peel(repo.git.object_store, sha)
            peelable[name] = sha
    return {b"HEAD": peelable[b"HEAD"], **peelable} if b"HEAD" in peelable else peelable


def _lines(body: bytes) -> Iterator[bytes | None]:
    """The packet lines of a request; None for a flush."""
    at, count = 0, 0
    while at < len(body):
        size = body[at : at + 4]
        count += 1
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", size) or count > MAX_LINES:
            raise Refused(400, f"the request is not made of git's packet lines, or of more than {MAX_LINES}")
        length = int(size, 16)
        if length == 0:
            yield None
            at += 4
            continue
        if length < 4 or at + length > len(body):
            raise Refused(400, "a packet line of the request is cut off")
        yield body[at + 4 : at + length]
        at += length


def _line(content: bytes | None) -> bytes:
    return b"0000" if content is None else b"%04x" % (len(content) + 4) + content


def _side_band(write: Callable[[bytes], object], content: bytes) -> None:
    for at in range(0, len(content), _BAND):
        write(_line(b"\1" + content[at : at + _BAND]))


def _sha(text: bytes) -> bytes:
    if not re.fullmatch(rb"[0-9a-f]{40}", text):
        raise Refused(400, "an object's name is 40 hex digits")
    return text


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(2**20):
            yield chunk
