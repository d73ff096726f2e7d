"""The header of a safetensors file that a repository stores."""

import io

from pinfold.common.safetensors import Header, parse_header
from pinfold.hub.storage import lfs
from pinfold.hub.storage.repository import Entry, Repository

MAX_HEADER = 16 * 2**20  # bytes; the format allows 100 MB, which is half a minute of parsing


def read(repo: Repository, entry: Entry) -> Header:
    """Read 8 bytes and the header they announce. ValueError says what is wrong with it."""
    if entry.pointer and not lfs.owns(repo, entry.pointer):
        raise ValueError("the stored file is missing on the server's disk")
    path = entry.pointer and lfs.object_path(repo, entry.pointer.oid)
    with path.open("rb") if path else io.BytesIO(entry.content or b"") as file:
        return parse_header(file, entry.size, MAX_HEADER)
