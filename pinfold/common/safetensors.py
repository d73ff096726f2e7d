"""The header of a safetensors file: names, types and shapes of its tensors, without reading one of them.

Source: the format's description in the safetensors repository (8 bytes of length, then JSON, then the data).
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from pinfold.common.errors import UserError

# safetensors' names of floating-point dtypes, in torch's words
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn"}
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8),
    "F4": 4,
}
MAX_HEADER = 100_000_000  # bytes, the format's own limit
MAX_DIMENSIONS = 64
MAX_DTYPE = 20  # characters


@dataclass(frozen=True)
class Tensor:
    """A tensor, and where its bytes are: counted from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def parameters(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say about the rest."""

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    length: int

    @property
    def data_start(self) -> int:
        """Where in the file the data begin."""
        return 8 + self.length

    @cached_property
    def dtypes(self) -> dict[str, int]:
        """Parameters of each type, the largest part first."""
        counted: Counter[str] = Counter()
        for tensor in self.tensors:
            counted[tensor.dtype] += tensor.parameters
        return dict(counted.most_common())

    @property
    def parameters(self) -> int:
        return sum(self.dtypes.values())


def header_length(start: bytes) -> int:
    """The length of the header that the first 8 bytes of a file announce."""
    return int.from_bytes(start[:8], "little")


def parse_header(file: BinaryIO, size: int, limit: int = MAX_HEADER) -> Header:
    """Read a header from the start of a file of this size.

    Raises:
        ValueError: saying what is wrong with it.
    """
    length = header_length(file.read(8))
    if size < 8 or length > size - 8:
        raise ValueError(f"it announces a header of {length} bytes and has {size} in all")
    if length > limit:
        raise ValueError(f"its header has {length} bytes; at most {limit} are read here")
    text = file.read(length)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("its header is not JSON") from error
    if not isinstance(content, dict):
        raise ValueError("its header is not a JSON object")
    metadata = content.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its __metadata__ does not map texts to texts")
    data_size = size - 8 - length
    return Header(tuple(_tensor(name, value, data_size) for name, value in content.items()), metadata, length)


def read_header(path: Path) -> Header:
    """The header of a file that is a whole safetensors file.

    Raises:
        UserError: the file is not safetensors, or is cut off.
    """
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            header = parse_header(file, size)
        _check_whole(header, size)
    except ValueError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); save the checkpoint again") from None
    return header


def read_tensors(paths: Iterable[Path]) -> list[Tensor]:
    """The tensors of several files."""
    return [tensor for path in paths for tensor in read_header(path).tensors]


def _tensor(name: str, value: object, data_size: int) -> Tensor:
    fields = value if isinstance(value, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or len(dtype) > MAX_DTYPE or not _numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"tensor {name[:100]!r} lacks a dtype or a shape")
    if not _numbers(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_size:
        raise ValueError(f"tensor {name[:100]!r} lies outside the file")
    tensor = Tensor(name, dtype, tuple(shape), *offsets)
    if tensor.parameters > 8 * tensor.size:  # a type that is not in the table, too
        raise ValueError(f"tensor {name[:100]!r} has a shape of more numbers than it has bits")
    if dtype in BITS and tensor.parameters * BITS[dtype] != 8 * tensor.size:
        raise ValueError(f"tensor {name[:100]!r} has another size than its shape says")
    return tensor


def _numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 2**63 for each in value)


def _check_whole(header: Header, size: int) -> None:
    """The tensors lie one behind the other, and fill the file: the format allows no holes."""
    end = 0
    for tensor in sorted(header.tensors, key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != end:
            raise ValueError("its tensors are not in one piece")
        end = tensor.end
    if header.data_start + end != size:
        raise ValueError(f"{header.data_start + end} bytes announced, {size} there")
