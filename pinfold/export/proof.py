"""A graph's outputs held against the model's own: at every size that was tried, output by output.

How it works:
- Numbers may be apart by what rounding does to this model: ten times what one rounding of each weight changes,
  measured on it, and at least 2e-5 of the output's largest number, as runtimes add up in another order. Whole numbers
  are equal.
- Where an output has a number for each token, only those of real tokens count: what a model gives at padding has no
  meaning, and runtimes leave it in other states. The proof says so where they differ there.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pinfold.common.errors import UserError, plain_line
from pinfold.fence.handed import Raw
from pinfold.verify import raw

ROUNDING = 2e-5
MAGNIFIED = 10
MOST = 1e-2
FILL = 1e3
USUAL = 1e30  # beyond it lie the lowest numbers of masks, which say nothing about the size of the rest


@dataclass
class Proof:
    """What was compared.

    Args:
        differences: output -> the largest distance over all trials, against its largest number. bounds: what was
            allowed. trials: their sizes in words. padding_differs: outputs that are other numbers at padding.
    """

    trials: list[str]
    differences: dict[str, float] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    padding_differs: list[str] = field(default_factory=list)

    @property
    def largest(self) -> float:
        return max(self.differences.values(), default=0.0)

    def words(self) -> str:
        """One line for people."""
        sizes = "; ".join(self.trials)
        pads = f"; other numbers at padding in {', '.join(self.padding_differs)}" if self.padding_differs else ""
        return f"equal to the model within {self.largest:.1e} of the largest number at {sizes}{pads}"

    def json(self) -> dict[str, Any]:
        return asdict(self)


class Wrong(UserError):
    """A graph that gives other numbers than its model."""


def compare(
    expected: Mapping[str, Raw], actual: Mapping[str, Raw], names: list[str], rounding: Mapping[str, float]
) -> Proof:
    """Hold what a graph gave against what the model gave.

    Args:
        expected: "0/in/input_ids", "0/out/logits" and so on. actual: "0/logits" and so on.
        names: the trials in words. rounding: output -> what one rounding of each weight changes.

    Raises:
        Wrong: an output is missing, has another shape, or is farther away than rounding explains.
    """
    proof = Proof([plain_line(name, 100) for name in names])
    for number, name in enumerate(proof.trials):
        outputs = raw.without(f"{number}/out/", expected)
        given = raw.without(f"{number}/", actual)
        mask = expected.get(f"{number}/in/attention_mask")
        if missing := sorted(set(outputs) - set(given)):
            raise Wrong(f"the graph has no output {missing[0]}; it has {', '.join(sorted(given)) or 'none'}")
        for output, tensor in outputs.items():
            _compare_one(proof, output, tensor, given[output], mask, rounding.get(output, 0.0), name)
    return proof


def _compare_one(
    proof: Proof, output: str, expected: Raw, actual: Raw, mask: Raw | None, rounding: float, trial: str
) -> None:
    if expected.shape != actual.shape:
        raise Wrong(
            f"{output} has shape {list(actual.shape)} instead of {list(expected.shape)} at {trial}: the graph is "
            "right at the size that it was made with only"
        )
    a, b = raw.array(actual), raw.array(expected)
    if not raw.is_float(expected):
        if not np.array_equal(a, b):
            raise Wrong(f"{output} holds other whole numbers than the model's at {trial}")
        proof.differences.setdefault(output, 0.0)
        proof.bounds.setdefault(output, 0.0)
        return
    bound = min(max(ROUNDING, MAGNIFIED * rounding), MOST)
    real = np.ones(b.shape, bool)
    if mask is not None and len(mask.shape) == 2 and b.shape[:2] == tuple(mask.shape):
        real = np.broadcast_to((raw.array(mask) != 0).reshape(*mask.shape, *[1] * (b.ndim - 2)), b.shape)
    distance = _distance(a, b, real)
    if not distance <= bound:
        raise Wrong(f"{output} is {distance:.2g} of its largest number away at {trial}, where {bound:.1g} is allowed")
    proof.differences[output] = max(distance, proof.differences.get(output, 0.0))
    proof.bounds[output] = bound
    if not real.all() and output not in proof.padding_differs and not _distance(a, b, ~real) <= bound:
        proof.padding_differs.append(output)


def _distance(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    """The largest distance against the largest usual number; infinite where one alone is no number."""
    a, b = a[where].astype("f8"), b[where].astype("f8")
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    # a large number that both have, such as the -1e9 of a mask, says nothing about the size of the rest
    usual = np.abs(b[np.isfinite(b) & (np.abs(b) < USUAL) & ~(same & (np.abs(b) >= FILL))])
    distances = np.abs(a[~same] - b[~same])
    return float(distances.max() / max(usual.max() if usual.size else 0.0, 1e-3)) if distances.size else 0.0
