"""Weights as they are published: copied or split into shards, tensors aligned, the same bytes each time."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.files import write_json
from pinfold.common.safetensors import Tensor, read_header
from pinfold.folder.filenames import INDEX

ALIGNMENT = 64  # bytes; that of torch's allocations on a CPU


def _stage_weights(weights: list[Path], directory: Path, limit: int) -> None:
    """Write the tensors anew: format=pt, in shards of at most ``limit`` bytes, on aligned places.

    transformers maps a file into memory, and a matrix product picks its kernel by the alignment of its operands: the
    same tensor at an odd place gives other last bits than in the model that was saved. So matrices start at multiples
    of 64 bytes, as torch's own allocations do, wherever the format (no holes) allows it.
    """
    from huggingface_hub import split_state_dict_into_shards_factory

    tensors: dict[str, _Stored] = {}
    for path in weights:
        header = read_header(path)
        for tensor in header.tensors:
            tensors[tensor.name] = _Stored(path, header.data_start + tensor.start, tensor)
    split = split_state_dict_into_shards_factory(
        dict(sorted(tensors.items())),
        get_storage_size=lambda stored: stored.tensor.size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit,
    )
    for filename, names in split.filename_to_tensors.items():
        _write_safetensors(directory / filename, {name: tensors[name] for name in names})
    if split.is_sharded:
        write_json(directory / INDEX, {"metadata": split.metadata, "weight_map": split.tensor_to_filename})


@dataclass
class _Stored:
    """Where a tensor's bytes are."""

    path: Path
    offset: int
    tensor: Tensor


def _write_safetensors(path: Path, tensors: dict[str, _Stored]) -> None:
    """Write one file; whole multiples of 64 bytes first, then odd matrices, then odd vectors."""
    order = sorted(
        tensors, key=lambda n: (tensors[n].tensor.size % ALIGNMENT != 0, len(tensors[n].tensor.shape) < 2, n)
    )
    header: dict = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in order:
        tensor = tensors[name].tensor
        offsets = [position, position + tensor.size]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        position += tensor.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with open(path, "wb") as target:
        target.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            stored = tensors[name]
            with open(stored.path, "rb") as source:
                source.seek(stored.offset)
                left = stored.tensor.size
                while block := source.read(min(left, 1 << 22)):
                    target.write(block)
                    left -= len(block)
