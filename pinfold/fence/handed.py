"""Files that a sandboxed process handed over: opened without following links, and compared with what was written down.

The folder's code may have written every byte of them, so nothing is believed but their form.
"""

import hashlib
import io
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, printable
from pinfold.common.safetensors import parse_header

LARGEST = 4 << 30  # bytes of one file
LARGEST_HEADER = 32 << 20  # with what is known of a load; objects of Python take ten times as much


@dataclass(frozen=True)
class Load:
    """One load's file: what is known of it as plain data, and its tensors' raw bytes by name."""

    facts: object
    tensors: dict[str, "Raw"]


@dataclass(frozen=True)
class Raw:
    """A tensor as its file holds it.

    Args:
        dtype: in safetensors' words, such as "F32".
    """

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class Handed:
    """The files of one run, below a directory that is open since before the run began.

    Args:
        files: name -> sha256, as the sandbox's first process wrote it down; "" for what it could not read.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.files: dict[str, str] = {}
        self._descriptor: int | None = None

    def __enter__(self) -> "Handed":
        if os.open in os.supports_dir_fd:
            self._descriptor = os.open(self.directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def read(self, name: str, limit: int = LARGEST) -> bytes:
        """A file's content.

        Raises:
            UserError: it was not handed over, is not a plain file, is too large, or was changed since.
        """
        expected = self.files.get(name)
        content = read_regular(name, self._descriptor, self.directory, limit) if expected else None
        if content is None or hashlib.sha256(content).hexdigest() != expected:
            what = f"is not a plain file of at most {limit >> 20} MiB that was handed over exactly once"
            if not expected and name not in self.files:
                what = "was not handed over"
            elif content is not None:
                what = "was changed after it was handed over"
            raise UserError(f"{printable(name)} {what}: the folder's code tampered with its verification")
        return content

    def load(self, name: str) -> Load:
        """One load's file.

        Raises:
            UserError: as ``read``, or it is not a safetensors file.
        """
        content = self.read(f"{name}.safetensors")
        try:
            return parse_load(content)
        except ValueError as error:
            raise UserError(f"{printable(name)}.safetensors cannot be read ({printable(str(error))[:200]})") from None


def parse_load(content: bytes) -> Load:
    """The content of one load's file.

    Raises:
        ValueError: it is not a safetensors file.
    """
    header = parse_header(io.BytesIO(content), len(content), LARGEST_HEADER)
    data = memoryview(content)[header.data_start :]
    tensors = {each.name: Raw(each.dtype, each.shape, data[each.start : each.end]) for each in header.tensors}
    try:
        return Load(json.loads(header.metadata.get("facts", "null")), tensors)
    except RecursionError as error:
        raise ValueError("its facts are nested too deep") from error


def read_regular(name: str, descriptor: int | None, directory: Path, limit: int = LARGEST) -> bytes | None:
    """The content of a regular file in a directory; None for anything else, which is neither followed nor waited for.

    Args:
        descriptor: of the directory, where it is open.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        place = name if descriptor is not None else directory / name
        with open(os.open(place, flags, dir_fd=descriptor), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_size > limit:
                return None
            return file.read(limit + 1)
    except OSError:
        return None


def read_record(record: dict) -> dict[str, str]:
    """Name -> sha256 of the files in a record of the first process; nothing where it has none."""
    files = record.get("files")
    return {str(name): str(digest) for name, digest in files.items()} if isinstance(files, dict) else {}
