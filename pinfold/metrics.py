"""How good a model is, with what chance leaves open: metrics of predictions, and their 95 % intervals."""

import math
from collections.abc import Callable, Sequence
from typing import Any

Z95 = 1.959963984540054  # standard deviations that hold 95 % of a normal distribution
DRAWS = 1000  # of a bootstrap: the ends of the interval then move by about a hundredth of its width


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953).

    >>> [round(end, 3) for end in wilson(90, 100)]
    [0.826, 0.945]
    """
    if n == 0:
        return 0.0, 1.0
    share, spread = hits / n, Z95**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return (middle - half if hits else 0.0), (middle + half if hits < n else 1.0)  # exact at the ends


def bootstrap(measure: Callable[[Any, Any], float], predicted: Any, true: Any) -> tuple[float, float]:
    """95 % interval of any metric of pairs: its percentiles over samples drawn with replacement, the same each time.

    Efron 1979, https://doi.org/10.1214/aos/1176344552.
    """
    import numpy as np

    draw = np.random.default_rng(0)
    places = (draw.integers(0, len(true), len(true)) for _ in range(DRAWS))
    low, high = np.nanpercentile([measure(predicted[i], true[i]) for i in places], [2.5, 97.5])
    return float(low), float(high)


def of_classes(predicted: Any, true: Any, names: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro F1, each class, and the confusion matrix (rows: the true class) of class ids (n,)."""
    import numpy as np
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    confusion = confusion_matrix(true, predicted, labels=range(len(names)))
    each = precision_recall_fscore_support(true, predicted, labels=range(len(names)), zero_division=0)
    hits = int((predicted == true).sum())

    def macro(predicted: Any, true: Any) -> float:  # of counts, as sklearn's would take seconds for all draws
        counts = np.bincount(true * len(names) + predicted, minlength=len(names) ** 2).reshape(len(names), -1)
        sides = counts.sum(0) + counts.sum(1)
        there = sides > 0
        return float((2 * counts.diagonal()[there] / sides[there]).mean())

    return {
        "accuracy": hits / len(true),
        "accuracy_interval": wilson(hits, len(true)),
        "macro_f1": macro(predicted, true),
        "macro_f1_interval": bootstrap(macro, predicted, true),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for name, p, r, f, n in zip(names, *each, strict=True)
        },
        "confusion_matrix": confusion.tolist(),
    }


def of_sets(predicted: Any, true: Any, names: Sequence[str]) -> dict[str, Any]:
    """Of several labels: whole rows right, micro and macro F1, and each label; 0 and 1, (n, labels)."""
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    hits = int((predicted == true).all(1).sum())
    each = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)

    def micro(predicted: Any, true: Any) -> float:
        sides = predicted.sum() + true.sum()
        return float(2 * (predicted * true).sum() / sides) if sides else 0.0

    return {
        "accuracy": hits / len(true),
        "accuracy_interval": wilson(hits, len(true)),
        "micro_f1": micro(predicted, true),
        "micro_f1_interval": bootstrap(micro, predicted, true),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for name, p, r, f, n in zip(names, *each, strict=True)
        },
    }


def of_numbers(predicted: Any, true: Any) -> dict[str, Any]:
    """Of a regression: errors, Pearson's correlation, and the part of the variance that is told; (n,)."""
    import numpy as np

    def absolute(predicted: Any, true: Any) -> float:
        return float(np.abs(predicted - true).mean())

    def correlation(predicted: Any, true: Any) -> float:
        return float(np.corrcoef(predicted, true)[0, 1]) if predicted.std() and true.std() else float("nan")

    error = float(((predicted - true) ** 2).mean())
    found = {
        "mean_squared_error": error,
        "mean_absolute_error": absolute(predicted, true),
        "mean_absolute_error_interval": bootstrap(absolute, predicted, true),
        "r2": 1 - error / float(true.var()) if true.std() else float("nan"),
    }
    if math.isfinite(together := correlation(predicted, true)):
        found |= {"pearson": together, "pearson_interval": bootstrap(correlation, predicted, true)}
    return {name: value for name, value in found.items() if not isinstance(value, float) or math.isfinite(value)}
