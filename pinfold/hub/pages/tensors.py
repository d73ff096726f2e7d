"""The header of a safetensors file: names, types and shapes of its tensors, without reading one of them."""

import io
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from pinfold.hub.storage import lfs
from pinfold.hub.storage.repository import Entry, Repository

MAX_HEADER = 16 * 2**20  # bytes; the format allows 100 MB, which is half a minute of parsing
MAX_DIMENSIONS = 64
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
}


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def parameters(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say about the rest."""

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    length: int

    @cached_property
    def dtypes(self) -> dict[str, int]:
        """Parameters of each type, the largest part first."""
        counted: Counter[str] = Counter()
        for each in self.tensors:
            counted[each.dtype] += each.parameters
        return dict(counted.most_common())

    @property
    def parameters(self) -> int:
        return sum(self.dtypes.values())


def read(repo: Repository, entry: Entry) -> Header:
    """Read 8 bytes and the header they announce. ValueError says what is wrong with it."""
    if entry.pointer and not lfs.owns(repo, entry.pointer):
        raise ValueError("the stored file is missing on the server's disk")
    path = entry.pointer and lfs.object_path(repo, entry.pointer.oid)
    with path.open("rb") if path else io.BytesIO(entry.content or b"") as file:
        length = int.from_bytes(file.read(8), "little")
        if entry.size < 8 or length > entry.size - 8:
            raise ValueError(f"it announces a header of {length} bytes and has {entry.size} in all")
        if length > MAX_HEADER:
            raise ValueError(f"its header has {length} bytes; at most {MAX_HEADER} are read here")
        text = file.read(length)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is not JSON") from error
    if not isinstance(content, dict):
        raise ValueError("its header is not a JSON object")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
        raise ValueError("its __metadata__ does not map texts to texts")
    room = entry.size - 8 - length
    return Header(tuple(_tensor(name, value, room) for name, value in content.items()), metadata, length)


def _tensor(name: str, value: Any, room: int) -> Tensor:
    fields = value if isinstance(value, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or not _numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"tensor {name[:100]!r} lacks a dtype or a shape")
    if not _numbers(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= room:
        raise ValueError(f"tensor {name[:100]!r} lies outside the file")
    tensor = Tensor(name, dtype[:20], tuple(shape))
    if tensor.parameters > 8 * (offsets[1] - offsets[0]):  # of a type not known here, too
        raise ValueError(f"tensor {name[:100]!r} has a shape of more numbers than it has bits")
    if dtype in _BITS and tensor.parameters * _BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        raise ValueError(f"tensor {name[:100]!r} has another size than its shape says")
    return tensor


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)
