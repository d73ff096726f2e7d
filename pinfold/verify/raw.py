"""Tensors as a file of the sandbox holds them, compared here: in a process that never imports a folder's code."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pinfold.common.safetensors import DTYPES
from pinfold.fence.handed import Raw
from pinfold.fenced.probe.caches import is_cache

NUMBERS = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "C64": "<c8", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}
FLOATS = ("F64", "F32", "F16", "BF16")


def array(tensor: Raw) -> np.ndarray:
    """The numbers; of bfloat16 as float32, of a type that NumPy lacks its bytes."""
    if tensor.dtype == "BF16":
        upper = np.frombuffer(tensor.data, "<u2").astype("<u4") << 16
        return upper.view("<f4").reshape(tensor.shape)
    if tensor.dtype in NUMBERS:
        return np.frombuffer(tensor.data, NUMBERS[tensor.dtype]).reshape(tensor.shape)
    return np.frombuffer(tensor.data, "u1")


def is_float(tensor: Raw) -> bool:
    """Whether its numbers can be compared as such."""
    return tensor.dtype in FLOATS


def same(a: Raw, b: Raw) -> bool:
    """Whether two tensors are equal bit for bit, as numbers; not a number equals itself here, and 0 equals -0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.data == b.data:
        return True
    if not is_float(a):
        return a.dtype == "C64" and bool(np.array_equal(array(a), array(b), equal_nan=True))
    return bool(np.array_equal(array(a), array(b), equal_nan=True))


def is_rounding(a: Raw, wide: Raw) -> bool:
    """Whether each number in half precision is the one in float32, rounded to the nearest."""
    if a.shape != wide.shape or wide.dtype != "F32" or a.dtype not in ("F16", "BF16"):
        return False
    numbers = array(wide)
    with np.errstate(over="ignore", invalid="ignore"):
        if a.dtype == "F16":
            rounded = numbers.astype("<f2")
        else:
            bits = numbers.view("<u4").astype("<u8")
            bits = np.where(np.isnan(numbers), bits, bits + 0x7FFF + (bits >> 16 & 1))
            rounded = (bits & 0xFFFF0000).astype("<u4").view("<f4")
    return bool(np.array_equal(array(a), rounded, equal_nan=True))


def largest_difference(a: Raw, b: Raw) -> float:
    """Of two tensors of one shape and type; infinite where these differ."""
    if a.shape != b.shape or a.dtype != b.dtype or not array(a).size:
        return float("inf")
    wide = "c16" if a.dtype == "C64" else "f8"
    return float(np.abs(array(a).astype(wide) - array(b).astype(wide)).max())


def beginning(tensor: Raw) -> str:
    """Its first three numbers."""
    return ", ".join(f"{float(number):.3g}" for number in array(tensor).reshape(-1)[:3].real)


def shape(tensor: Raw) -> str:
    """Type and shape, in torch's words."""
    return f"torch.{DTYPES.get(tensor.dtype, tensor.dtype)} {list(tensor.shape)}"


def sha256(tensors: Mapping[str, Raw], auto: str) -> str:
    """One digest of the names, types, shapes and numbers of an Auto class's outputs, its cache apart."""
    whole = hashlib.sha256()
    for key in sorted(key for key in tensors if key.startswith(f"{auto}/") and not is_cache(key)):
        digest = hashlib.sha256(tensors[key].data).hexdigest()
        whole.update(f"{key} {tensors[key].dtype} {list(tensors[key].shape)} {digest}".encode())
    return whole.hexdigest()


def without(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Those whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def compare_outputs(
    auto: str,
    outputs: Mapping[str, Raw],
    expected: Mapping[str, Raw],
    versions: tuple[str, str] = ("", ""),
    before: str = "in memory",
) -> list[str]:
    """D03: the first output that is not the expected one; caches are left to ``compare_caches``.

    Args:
        outputs, expected: by "Auto class/probe/name"; those of other classes are left alone.
        versions: the releases that gave the expected outputs, and these.
        before: which model gave the expected ones, where the releases are the same.
    """
    expected, outputs = (
        {key: value for key, value in each.items() if key.startswith(f"{auto}/") and not is_cache(key)}
        for each in (expected, outputs)
    )
    same_version = versions[0] == versions[1]
    if set(expected) != set(outputs):
        odd = ", ".join(sorted(set(expected) ^ set(outputs))[:5])
        where = before if same_version else f"in {versions[0]}"
        return [f"{auto}: it and the model {where} return different outputs: {odd}"]
    for key, value in expected.items():
        if same(outputs[key], value):
            continue
        probe, name = key.split("/", 2)[1:]
        what = f"{auto}: {name} differs from the model {before}"
        if not same_version:
            what = f"{auto}: {name}: output differs between {versions[0]} and {versions[1]}"
        return [f"{what}: max |d| = {largest_difference(outputs[key], value):.3g} (probe {probe!r})"]
    return []


def compare_caches(
    auto: str, outputs: Mapping[str, Raw], expected: Mapping[str, Raw], versions: tuple[str, str]
) -> list[str]:
    """A line where the cache that forward returns is another, beside the same outputs: a note, not a failure.

    What its numbers do is judged by D08. Releases keep caches in other classes, some with room for further tokens.

    Args:
        outputs, expected, versions: as ``compare_outputs`` has them.
    """
    before, after = (
        {key: value for key, value in each.items() if key.startswith(f"{auto}/") and is_cache(key)}
        for each in (expected, outputs)
    )
    where = "the model in memory" if versions[0] == versions[1] else f"transformers {versions[0]}"
    what = f"{auto}: its outputs are the same, but the cache (past_key_values) is not that of {where}"
    if set(before) != set(after):
        return [f"{what}: {len(after)} tensors instead of {len(before)}"]
    for key, value in before.items():
        if same(after[key], value):
            continue
        if after[key].shape != value.shape or after[key].dtype != value.dtype:
            return [f"{what}: {shape(after[key])} instead of {shape(value)}"]
        return [f"{what}: max |d| = {largest_difference(after[key], value):.3g}"]
    return []


def compare_buffers(
    loaded: Mapping[str, Raw],
    fresh: Mapping[str, Raw],
    drawn: list[str],
    its_own: bool = False,
    wide: Mapping[str, Raw] | None = None,
) -> list[str]:
    """D04: a line for each tensor that is not as a constructor makes it; those drawn at random are left out.

    Args:
        its_own: the load handed over both, and what it leaves out of ``fresh`` would be compared with nothing.
        wide: the reference's own in float32, for a load in half precision. What _init_weights fills there is computed
            in float32 and then rounded, and so nearer to them than what a constructor computes in half precision.
    """
    lines = []
    for name, value in loaded.items():
        if its_own and name not in drawn and name not in fresh:
            lines.append(f"buffer {name} was handed over without what a fresh constructor makes of it")
            continue
        if name in drawn or name not in fresh or same(value, fresh[name]):
            continue
        if wide and name in wide and is_rounding(value, wide[name]):
            continue
        how = f": {beginning(value)} instead of {beginning(fresh[name])}"
        if (value.shape, value.dtype) != (fresh[name].shape, fresh[name].dtype):
            how = f": {shape(value)} instead of {shape(fresh[name])}"
        lines.append(f"buffer {name} differs from a fresh constructor{how}")
    lines += [f"buffer {name} differs from a fresh constructor: it is missing" for name in set(fresh) - set(loaded)]
    return sorted(lines)
