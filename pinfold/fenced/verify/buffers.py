"""Tensors of a loaded model that no file holds, against those of a fresh constructor.

transformers 5 builds a model without memory and then gives each buffer some that no code wrote to, unless the folder's
_init_weights fills it. Such memory can hold the right numbers by luck, so it is dirtied before a model is loaded.
"""

import contextlib
import math
from collections.abc import Iterator

# What a block of the allocator is left with: not a number, and a number that no model computes with.
PATTERNS = (0xFF, 0x71)
LARGEST = 32 << 20  # bytes; glibc maps larger blocks anew, and those are always zero


def outside(model, held: set) -> dict:
    """Buffers that the file does not hold, and tensors that are plain attributes of a module: name -> tensor."""
    import torch

    tensors = {name: buffer for name, buffer in model.named_buffers(remove_duplicate=False) if name not in held}
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{path}.{key}".lstrip(".")] = value
            elif isinstance(value, (list, tuple, dict)) and not key.startswith("_"):
                items = value.items() if isinstance(value, dict) else enumerate(value)
                tensors |= {f"{path}.{key}.{i}".lstrip("."): v for i, v in items if isinstance(v, torch.Tensor)}
    parameters = {id(p) for p in model.parameters()}
    return {name: value for name, value in tensors.items() if id(value) not in parameters}


def sizes(model, held: set) -> dict[str, list[int]]:
    """The shapes of these tensors."""
    return {name: list(tensor.shape) for name, tensor in outside(model, held).items()}


def grown(before: dict[str, list[int]], after: dict[str, list[int]]) -> list[list]:
    """[name, shape before, shape after] of each table that is there or longer only since forward ran."""
    return [
        [name, before.get(name, []), shape]
        for name, shape in sorted(after.items())
        if math.prod(shape) > (math.prod(before[name]) if name in before else 0)
    ]


def of_fresh_model(cls, config, dtype: str, held: set, seed: int = 0) -> dict:
    """The same tensors of a newly constructed model."""
    model = built(cls, config, dtype, seed)
    return {name: value.detach().clone() for name, value in outside(model, held).items()}


def built(cls, config, dtype: str, seed: int = 0):
    """A newly constructed model on the CPU, with its weights drawn from the seed."""
    import torch

    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        return cls(config).eval()
    finally:
        torch.set_default_dtype(before)


def unwritten(model, missing: list) -> list[str]:
    """Parameters that the file lacks and no code drew: their memory is what ``dirtied`` left, or as strange."""
    import torch

    state = model.state_dict()
    odd: list[str] = []
    for name in missing:
        tensor = state.get(name)
        if tensor is None or tensor.device.type == "meta" or not tensor.is_floating_point() or not tensor.numel():
            continue
        size = tensor.detach().abs().float()
        remnants = (size > 0) & (
            size < torch.finfo(torch.float32).tiny
        )  # halves of addresses; no initialisation draws those
        if not torch.isfinite(size).all() or size.max() > 1e15 or remnants.any():
            odd.append(f"{name} is not in the file and holds memory that no code wrote; draw it in _init_weights")
    return odd


@contextlib.contextmanager
def dirtied(sizes: list[int], turn: int = 0) -> Iterator[None]:
    """Meanwhile the allocator's free blocks of these sizes in bytes, and somewhat larger, hold a pattern.

    Every second block stays in use, so that the others neither join nor go back to the system, which would give
    zeros. Aligned memory is cut out of blocks that are larger than it.
    """
    import torch

    blocks: list = []
    left = 8 * LARGEST
    for size in sorted(set(sizes) - {0}, reverse=True):
        for near in (size, size + 64, size + 128, 2 * size + 128):
            # much of what is small is taken by others in between
            count = min(600 if near < 1 << 12 else 60 if near < 1 << 16 else 6, left // near)
            if near <= LARGEST:
                blocks += [torch.full((near,), PATTERNS[turn % 2], dtype=torch.uint8) for _ in range(count)]
                left -= near * count
    every_second = blocks[::2]
    del blocks
    yield
    del every_second
