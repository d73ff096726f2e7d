"""What an int8 graph loses against the float one, on the same inputs: cosines of rows, and other top classes.

A row is what an output has for one row of the input, its real tokens one after the other. The share of rows whose
largest number stays in its place bounds what a classifier can lose of its accuracy, whatever the labels are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pinfold.fence.handed import Raw
from pinfold.verify import raw

LEAST_COSINE = 0.99
LEAST_SAME = 0.99  # of the rows: one hundredth of accuracy
CLASSES = "logits"


@dataclass
class Loss:
    """
    Args:
        rows: how many. cosines: output -> the smallest and the mean. same: part of the rows whose top class is the
            same; None where no output has one number for each class.
    """

    rows: int
    cosines: dict[str, tuple[float, float]]
    same: float | None = None

    @property
    def too_large(self) -> str:
        """Why it needs consent, in words; empty where it does not."""
        for output, (least, _) in self.cosines.items():
            if not least >= LEAST_COSINE:  # also where it is no number
                return f"the cosine of {output} to the float graph's falls to {least:.4f}, under {LEAST_COSINE}"
        if self.same is not None and self.same < LEAST_SAME:
            return f"{1 - self.same:.1%} of the rows have another top class, over {1 - LEAST_SAME:.0%}"
        return ""

    def words(self) -> str:
        """One line for people."""
        pairs = self.cosines.items()
        parts = [f"{name} {least:.4f} at least, {mean:.4f} in the mean" for name, (least, mean) in pairs]
        same = f"; top class the same in {self.same:.1%}" if self.same is not None else ""
        return f"cosine to the float graph over {self.rows} rows: {'; '.join(parts)}{same}"

    def json(self) -> dict[str, Any]:
        return asdict(self)


def measure(inputs: Mapping[str, Raw], floats: Mapping[str, Raw], quantized: Mapping[str, Raw], trials: int) -> Loss:
    """
    Args:
        inputs: "0/in/attention_mask" and so on. floats, quantized: "0/logits" and so on.

    Raises:
        KeyError: an output is missing. ValueError: it has another shape.
    """
    cosines: dict[str, list[float]] = {}
    same: list[bool] = []
    rows = 0
    for number in range(trials):
        mask = inputs.get(f"{number}/in/attention_mask")
        for name, tensor in raw.without(f"{number}/", floats).items():
            if not raw.is_float(tensor) or not tensor.shape:
                continue
            a, b = raw.array(tensor).astype("f8"), raw.array(quantized[f"{number}/{name}"]).astype("f8")
            if a.shape != b.shape:
                raise ValueError(f"{name} has shape {list(b.shape)} instead of {list(a.shape)}")
            if mask is not None and a.shape[:2] == tuple(mask.shape):
                real = (raw.array(mask) != 0).reshape(*mask.shape, *[1] * (a.ndim - 2))
                a, b = a * real, b * real
            a, b = (each.reshape(len(each), -1) for each in (a, b))
            cosines.setdefault(name, []).extend(_cosine(x, y) for x, y in zip(a, b, strict=True))
            if name == CLASSES and len(tensor.shape) == 2 and tensor.shape[1] > 1:
                same.extend((a.argmax(1) == b.argmax(1)).tolist())
        rows += next(each.shape[0] for each in raw.without(f"{number}/in/", inputs).values())
    table = {name: (min(values), float(np.mean(values))) for name, values in cosines.items()}
    return Loss(rows, table, float(np.mean(same)) if same else None)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b / length) if length else float(np.array_equal(a, b))
