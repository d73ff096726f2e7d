"""How good a checkpoint is, for the card: read from the eval_results.json that `pinfold train` leaves.

It counts only for the weights that it was measured of: their hashes are in the file.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinfold.card.provenance import hashes_of_weights

FILE = "eval_results.json"
# key in the file -> name in the card, and type in model-index (of https://huggingface.co/docs/hub/model-cards)
METRICS = {
    "accuracy": ("Accuracy", "accuracy"),
    "exact_match": ("Exact match", "exact_match"),
    "f1": ("F1", "f1"),
    "entity_f1": ("F1 of entities", "f1"),
    "macro_f1": ("Macro F1", "f1"),
    "micro_f1": ("Micro F1", "f1"),
    "mean_absolute_error": ("Mean absolute error", "mae"),
    "mean_squared_error": ("Mean squared error", "mse"),
    "pearson": ("Pearson correlation", "pearsonr"),
    "r2": ("R²", "r_squared"),
    "perplexity": ("Perplexity", "perplexity"),
    "loss": ("Loss", "loss"),
}
# key of a baseline's metrics in the file -> what it is
BASELINES = {"bag_of_words": "a bag of words", "commonest_tags": "the commonest tag of each word"}
HUB_TASKS = {"masked-lm": "fill-mask", "causal-lm": "text-generation"}  # where the Hub's name is another
MOST_CLASSES = 40  # rows of a table that is still readable


@dataclass(frozen=True)
class Metric:
    """A number, the 95 % interval where there is one, and what a simple baseline reaches on the same data."""

    key: str
    value: float
    interval: tuple[float, float] | None = None
    baseline: float | None = None

    @property
    def name(self) -> str:
        return METRICS[self.key][0]


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one held-out part of a data set; classes are (name, precision, recall, F1, how many)."""

    task: str
    dataset: str
    description: str
    split: str
    n: int
    metrics: list[Metric]
    classes: list[tuple[str, float, float, float, int]]
    baseline: str = ""
    unit: str = "examples"  # what n counts

    def model_index(self, name: str) -> list[dict]:
        """The front matter's model-index; the type says that its data set is not one of the Hub's."""
        metrics = [{"type": METRICS[m.key][1], "name": m.name, "value": round(m.value, 6)} for m in self.metrics]
        dataset = {"name": self.dataset, "type": "unknown", "split": self.split}
        return [
            {
                "name": name,
                "results": [
                    {"task": {"type": HUB_TASKS.get(self.task, self.task)}, "dataset": dataset, "metrics": metrics}
                ],
            }
        ]


def read_evaluation(checkpoint: Path) -> tuple[Evaluation | None, str]:
    """The evaluation, and else why there is none; "" where there is no file, or one of another program."""
    try:
        content = json.loads((checkpoint / FILE).read_text(encoding="utf-8"))
        weights = content["weights"]
        evaluation = _evaluation(content)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None, ""
    if weights != hashes_of_weights(checkpoint):
        return None, "measured with other weights"
    return evaluation, ""


def _evaluation(content: dict[str, Any]) -> Evaluation:
    measured = content["metrics"]
    baseline = next((key for key in BASELINES if key in measured), "")
    simple = measured.get(baseline, {})
    metrics = []
    for key in METRICS:
        value = measured.get(key)
        if _is_finite(value):
            metrics.append(
                Metric(key, float(value), _interval(measured.get(f"{key}_interval")), _finite(simple.get(key)))
            )
    if not metrics:
        raise ValueError("no metric")
    if int(content["n"]) < 1:
        raise ValueError("of nothing")
    each = measured.get("per_class", {})
    classes = [
        (str(n), float(c["precision"]), float(c["recall"]), float(c["f1"]), int(c["n"])) for n, c in each.items()
    ]
    return Evaluation(
        task=str(content["task"]),
        dataset=str(content["dataset"]["name"]),
        description=str(content["dataset"]["description"]),
        split=str(content["split"]["name"]),
        n=int(content["n"]),
        metrics=metrics,
        classes=classes if len(classes) <= MOST_CLASSES else [],
        baseline=BASELINES.get(baseline, ""),
        unit=str(content.get("unit", "examples")),
    )


def _interval(ends: Any) -> tuple[float, float] | None:
    if not isinstance(ends, list) or len(ends) != 2 or not all(map(_is_finite, ends)):
        return None
    return float(ends[0]), float(ends[1])


def _finite(value: Any) -> float | None:
    return float(value) if _is_finite(value) else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
