"""What a model gives, as named tensors, and the first difference between two of them."""

import math

from ..values import CACHES, flat

# Sums in another order: a float32 has 24 bits, and tiny models add a few hundred numbers a few times over. A model
# that magnifies errors gets as much more as it magnifies them: see Subject.rounding.
ROUNDING = 2e-5
# bfloat16 keeps 8 bits, an error of 0.4 % an operation; a tiny model has some dozens of them.
HALF = 0.1
MAGNIFIED = 10  # of what one rounding of each weight does, in place of the roundings of all operations


def tensors(output) -> dict:
    """Every tensor of an output by its name, caches left out."""
    return flat(output, CACHES)


def difference(actual: dict, expected: dict, tolerance: float = 0.0) -> str | None:
    """The first difference in words, or None. Distances count against the largest number of the expected tensor."""
    if set(actual) != set(expected):
        return f"other outputs: {', '.join(sorted(set(actual) ^ set(expected))[:4])}"
    for name, tensor in expected.items():
        if line := apart(actual[name], tensor, tolerance):
            return f"{name} {line}"
    return None


def apart(actual, expected, tolerance: float = 0.0) -> str | None:
    """How two tensors differ, or None."""
    if actual.shape != expected.shape:
        return f"has shape {list(actual.shape)} instead of {list(expected.shape)}"
    if not actual.numel():
        return None
    if not tolerance and actual.dtype != expected.dtype:
        return f"is {actual.dtype} instead of {expected.dtype}"
    a, b = actual.detach().double().cpu(), expected.detach().double().cpu()
    same = (a == b) | (a.isnan() & b.isnan())
    if same.all():
        return None
    distance = (a - b)[~same].abs().max().item()
    # a mask's lowest number, which some models return, says nothing about the size of the rest
    largest = max((b[b.isfinite() & (b.abs() < 1e30)].abs().max().item() if b.isfinite().any() else 0.0), 1e-3)
    if math.isfinite(distance) and distance <= tolerance * largest:
        return None
    if not a.isfinite().all() and b.isfinite().all():
        return "is not finite"
    return f"differs by {distance:.3g} where the largest number is {largest:.3g}"


def infinite(outputs: dict) -> str | None:
    """The first output with NaN or infinity in it."""
    return next((n for n, t in outputs.items() if t.is_floating_point() and not t.isfinite().all()), None)


def listed(names, most: int = 3) -> str:
    """A few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
