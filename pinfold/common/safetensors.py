"""The header of a safetensors file: names, types and shapes of tensors without their values."""

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path

from pinfold.common.errors import UserError

# safetensors' names of dtypes, in torch's words
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn"}


# bytes of one value; the types of less than a byte are not listed
BYTES = dict.fromkeys(("F64", "I64", "U64", "C64"), 8) | dict.fromkeys(("F32", "I32", "U32"), 4)


def read_header(path: Path) -> dict[str, dict]:
    """The header of a safetensors file: tensor name -> dtype, shape, data_offsets; "__metadata__" too.

    Source: the format's description in the safetensors repository (8 bytes of length, then JSON).

    Raises:
        UserError: the file is not safetensors, or is cut off.
    """
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                raise ValueError("header too long")
            header = json.loads(file.read(length))
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        end = 0
        for entry in sorted(entries, key=lambda e: e["data_offsets"]):
            first, last = entry["data_offsets"]
            if not all(type(n) is int and 0 <= n < 2**63 for n in (first, last, *entry["shape"])):
                raise ValueError("a shape or an offset that is no number")
            size = math.prod(entry["shape"]) * BYTES.get(entry["dtype"], 0)
            if first != end or last < first or (entry["dtype"] in BYTES and size != last - first):
                raise ValueError("tensors that do not fill their place")
            end = last
        if path.stat().st_size != 8 + length + end:
            raise ValueError(f"{8 + length + end} bytes announced, {path.stat().st_size} there")
    except (ValueError, struct.error, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); save the checkpoint again") from None
    return header


def headers(weights: Iterable[Path]) -> dict[str, dict]:
    """All tensors of all files: name -> header entry."""
    return {name: entry for path in weights for name, entry in read_header(path).items() if name != "__metadata__"}
