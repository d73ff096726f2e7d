"""Outputs at padding, which nothing reads: releases compute other numbers there.

A row of padding on the left has nothing to attend to. 4.48.3 and 5.24.0 give such a row other numbers, with the same
ones at every word. Between releases, these places are left out of the comparison; within one release they are not.
"""

from collections.abc import Mapping

from pinfold.fence.handed import Raw
from pinfold.fenced.probe.probes import padding
from pinfold.verify import raw


def compare(
    auto: str,
    outputs: Mapping[str, Raw],
    expected: Mapping[str, Raw],
    columns: Mapping[str, int],
    versions: tuple[str, str],
) -> list[str]:
    """D03, without the places of padding.

    Args:
        columns: probe -> how many tokens a row of it has, where forward takes a mask of them.
    """
    if versions[0] == versions[1] or not columns:
        return raw.compare_outputs(auto, outputs, expected, versions)
    return raw.compare_outputs(auto, *(_words_alone(auto, each, columns) for each in (outputs, expected)), versions)


def _words_alone(auto: str, outputs: Mapping[str, Raw], columns: Mapping[str, int]) -> dict[str, Raw]:
    """With zeros at padding, where an output has a place for each token."""
    alone = dict(outputs)
    for key, tensor in outputs.items():
        probe = key.removeprefix(f"{auto}/").split("/")[0]
        if not key.startswith(f"{auto}/") or len(tensor.shape) < 2 or tensor.shape[1] != columns.get(probe):
            continue
        rows, length = tensor.shape[:2]
        data = bytearray(tensor.data)
        step = len(data) // (rows * length) if rows * length else 0
        for row in range(rows):
            for place in range(length)[padding(probe, row, length)]:
                start = (row * length + place) * step
                data[start : start + step] = bytes(step)
        alone[key] = Raw(tensor.dtype, tensor.shape, memoryview(data))
    return alone
