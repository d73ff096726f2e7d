"""Metrics of predictions, with 95 % intervals."""

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
    share = hits / n
    spread = Z95**2 / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return (middle - half if hits else 0.0), (middle + half if hits < n else 1.0)  # exact at the ends


def bootstrap(measure: Callable[[Any, Any], float], predicted: Any, true: Any) -> tuple[float, float]:
    """95 % interval of any metric of pairs: its percentiles over samples drawn with replacement, the same each time.

    Efron 1979, https://doi.org/10.1214/aos/1176344552. scipy.stats.bootstrap draws the same samples, but takes
    much longer, and gives NaN where the metric of a single sample is NaN, such as the correlation of a constant.
    """
    import numpy as np

    draw = np.random.default_rng(0)
    samples = (draw.integers(0, len(true), len(true)) for _ in range(DRAWS))
    low, high = np.nanpercentile([measure(predicted[i], true[i]) for i in samples], [2.5, 97.5])
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
        seen = sides > 0
        return float((2 * counts.diagonal()[seen] / sides[seen]).mean())

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
    """Of a regression: errors, Pearson's correlation, and R2, the part of the variance that is explained; (n,)."""
    import numpy as np

    def absolute(predicted: Any, true: Any) -> float:
        return float(np.abs(predicted - true).mean())

    def correlation(predicted: Any, true: Any) -> float:
        return float(np.corrcoef(predicted, true)[0, 1]) if predicted.std() and true.std() else float("nan")

    error = float(((predicted - true) ** 2).mean())
    scores = {
        "mean_squared_error": error,
        "mean_absolute_error": absolute(predicted, true),
        "mean_absolute_error_interval": bootstrap(absolute, predicted, true),
        "r2": 1 - error / float(true.var()) if true.std() else float("nan"),
    }
    if math.isfinite(pearson := correlation(predicted, true)):
        scores |= {"pearson": pearson, "pearson_interval": bootstrap(correlation, predicted, true)}
    return {name: value for name, value in scores.items() if not isinstance(value, float) or math.isfinite(value)}


def perplexity(sums: Any, counts: Any) -> float:
    """The exponential of the mean loss of a token, from the sums and numbers of tokens of rows, (n,).

    >>> import numpy as np
    >>> perplexity(np.array([math.log(4), 0.0]), np.array([1, 1]))
    2.0
    """
    return math.exp(min(700.0, float(sums.sum() / max(1.0, counts.sum()))))


def of_losses(sums: Any, counts: Any) -> dict[str, Any]:
    """Of a language model: perplexity, with an interval from rows drawn anew, as tokens of a row belong together."""
    value = perplexity(sums, counts)
    return {
        "perplexity": value,
        "perplexity_interval": bootstrap(perplexity, sums, counts),
        "loss": math.log(value),
    }


def entities(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """First place, place behind the last, and kind, of the entities in tags of IOB2, IOB1, IOBES, BILOU or BMES.

    As conlleval of CoNLL 2000 (https://www.cnts.ua.ac.be/conll2000/chunking/output.html) takes them: an I- behind
    nothing of its kind begins one, too.

    >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]))
    [(0, 2, 'PER'), (3, 4, 'LOC'), (4, 5, 'LOC')]
    """
    complete: set[tuple[int, int, str]] = set()
    begun = 0
    kind = None  # of the entity that is open
    for place, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-") if "-" in tag else ("O", "", None)
        mark = {"U": "S", "L": "E", "M": "I"}.get(mark, mark)
        # first close, then open: a B- right behind an entity does both
        if kind is not None and (mark in "BSO" or name != kind):
            complete.add((begun, place, kind))
            kind = None
        if name is not None and mark in "BIES" and kind is None:
            begun = place
            kind = name
        if mark in "ES" and kind is not None:
            complete.add((begun, place + 1, kind))
            kind = None
    return complete


def of_tags(answers: Sequence[tuple[Sequence[str], Sequence[str]]], names: Sequence[str]) -> dict[str, Any]:
    """Of tagged sentences, predicted and true: words right; and F1 of whole entities, or else of each tag.

    Intervals are of sentences drawn anew, as the words of one belong together.
    """
    import numpy as np

    hits = np.array([sum(a == b for a, b in zip(*pair, strict=True)) for pair in answers])
    words = np.array([len(true) for _, true in answers])

    def share(hits: Any, words: Any) -> float:
        return float(hits.sum() / words.sum())

    scores = {"accuracy": share(hits, words), "accuracy_interval": bootstrap(share, hits, words)}
    if any(len(name) > 2 and name[:2] in ("B-", "I-", "S-", "U-") for name in names):
        return scores | of_entities(answers, sorted({name[2:] for name in names if name[1:2] == "-"}))
    ids = {name: i for i, name in enumerate(names)}
    flat = [np.array([ids[tag] for pair in answers for tag in pair[side]]) for side in (0, 1)]
    by_tag = of_classes(*flat, names)
    return scores | {"macro_f1": by_tag["macro_f1"], "per_class": by_tag["per_class"]}


def of_entities(answers: Sequence[tuple[Sequence[str], Sequence[str]]], kinds: Sequence[str]) -> dict[str, Any]:
    """F1 of whole entities in tagged sentences, predicted and true, and the scores of each kind of entity."""
    import numpy as np

    pairs = [(entities(predicted), entities(true)) for predicted, true in answers]
    counts = np.array([[len(a & b), len(a), len(b)] for a, b in pairs])  # right, predicted, true of each sentence

    def f1(counts: Any, _: Any = None) -> float:
        right, predicted, true = counts.sum(0)
        return float(2 * right / (predicted + true)) if predicted + true else 0.0

    per_class = {}
    for kind in kinds:
        of_kind = [tuple({entity for entity in side if entity[2] == kind} for side in pair) for pair in pairs]
        right = sum(len(a & b) for a, b in of_kind)
        predicted = sum(len(a) for a, _ in of_kind)
        true = sum(len(b) for _, b in of_kind)
        per_class[kind] = {
            "precision": right / predicted if predicted else 0.0,
            "recall": right / true if true else 0.0,
            "f1": 2 * right / (predicted + true) if predicted + true else 0.0,
            "n": true,
        }
    return {"entity_f1": f1(counts), "entity_f1_interval": bootstrap(f1, counts, counts), "per_class": per_class}
