"""A model's outputs on its probes, by "Auto class/probe/name": their hash, and the first that differs."""

import hashlib
import math

from ..probe import probes
from ..values import sha256


def compare_outputs(
    auto: str, outputs: dict, expected: dict, versions: tuple = ("", ""), before: str = "in memory"
) -> list[str]:
    """D03: the first output that is not the expected one.

    Args:
        expected: of any Auto classes. versions: the releases that gave the expected outputs, and these.
        before: which model gave the expected ones, where the releases are the same.
    """
    expected = {key: value for key, value in expected.items() if key.startswith(f"{auto}/")}
    same_version = versions[0] == versions[1]
    if set(expected) != set(outputs):
        odd = ", ".join(sorted(set(expected) ^ set(outputs))[:5])
        where = before if same_version else f"in {versions[0]}"
        return [f"{auto}: it and the model {where} return different outputs: {odd}"]
    for key, value in expected.items():
        if probes.same_tensor(outputs[key], value):
            continue
        alike = value.shape == outputs[key].shape and value.dtype == outputs[key].dtype
        largest = (outputs[key].double() - value.double()).abs().max().item() if alike and value.numel() else math.inf
        probe, name = key.split("/", 2)[1:]
        what = f"{auto}: {name} differs from the model {before}"
        if not same_version:
            what = f"{auto}: {name}: output differs between {versions[0]} and {versions[1]}"
        return [f"{what}: max |d| = {largest:.3g} (probe {probe!r})"]
    return []


def hash_outputs(outputs: dict, auto: str) -> str:
    """One sha256 of the names, types, shapes and numbers of an Auto class's outputs."""
    digest = hashlib.sha256()
    for key in sorted(k for k in outputs if k.startswith(f"{auto}/")):
        value = outputs[key]
        digest.update(f"{key} {value.dtype} {list(value.shape)} {sha256(value)}".encode())
    return digest.hexdigest()
