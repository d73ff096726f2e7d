"""D08: whether generate() writes what the model's own logits say, from what the sandbox handed over.

Tokens of the run with the cache have to be those of the run without. Where one differs, its logits have to agree
within CLOSE: only then may the order of a sum decide. Logits are compared at every step that both runs reached with
the same tokens.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from pinfold.common.errors import printable
from pinfold.fence.handed import Raw
from pinfold.fenced.verify.generation import STEPS, STEPS_OF_LARGE, TURN
from pinfold.verify import raw

# Part of the largest logit. With a cache the sums of a step are added in another order; float32 then differs in the
# sixth digit, half precision in the third, and layers add to that.
CLOSE = {"float32": 1e-3, "float64": 1e-6, "float16": 3e-2, "bfloat16": 1e-1}
MOST_LINES = 2  # the others have the same cause


def faults(name: str, pairs: list, tensors: Mapping[str, Raw], dtype: str) -> list[str]:
    """One line for each way of generating that writes something else than the run without a cache.

    Args:
        name: of the class. pairs, tensors: of ``runs`` in fenced/verify/generation.py. dtype: of the checkpoint.

    Raises:
        KeyError, TypeError, ValueError: they do not have that form.
    """
    return list(_lines(name, pairs, tensors, CLOSE.get(dtype, 1e-3)))[:MOST_LINES]


def allowed(dtype: str) -> str:
    """The tolerance, and its reason."""
    part = CLOSE.get(dtype, 1e-3)
    return f"D08: with a cache, logits may differ by {part:g} of the largest ({dtype}): sums have another order"


def limit(name: str, facts: Mapping, tensors: Mapping[str, Raw], dtype: str) -> list[str]:
    """What generate() of a second turn cannot do, and what to do: [sentence, cure], or [] where nothing is known.

    No failure: a text in one turn is right, and no release asks a class for more.

    Args:
        name, dtype: as ``faults`` has them. facts, tensors: of ``second_turn`` in fenced/verify/generation.py.

    Raises:
        KeyError, TypeError, ValueError: they do not have that form.
    """
    if not facts:
        return []
    if own := facts.get("cache"):
        what = printable(f"its cache ({own}) is not a transformers Cache")[:120]
        return [f"{what}: assisted decoding and going on from a returned cache do not work", ""]
    more = int(facts["holds"]) - int(facts["text"])
    length = "past.get_seq_length()" + (f" - {more}" if more > 0 else f" + {-more}" if more < 0 else "")
    cure = f"the cache holds {int(facts['holds'])} places for {int(facts['text'])} tokens; " if more else ""
    cure += f"slice by the cache's length in prepare_inputs_for_generation: input_ids[:, {length}:]"
    if facts["error"]:
        return [printable(f"going on from a returned cache fails: {facts['error']}"), cure if more else ""]
    runs = (raw.without(f"{which}/", tensors) for which in ("without", "with"))
    difference = _apart(*runs, CLOSE.get(dtype, 1e-3), TURN)
    if difference is None:
        return []
    _, apart, largest = difference
    sentence = f"going on from a returned cache writes other text: logits differ by {apart:.3g} of {largest:.3g}"
    if not more and not facts["prepares"]:
        cure = "several tokens behind a cache have to see it and each other: mask and count from its length"
    return [sentence, cure]


def _lines(name: str, pairs: list, tensors: Mapping[str, Raw], bound: float) -> Iterator[str]:
    if not pairs:
        raise ValueError("nothing was generated")
    seen: set[str] = set()  # an error that does not depend on how the text is written is said once
    for number, pair in enumerate(pairs):
        if pair["steps"] not in (STEPS, STEPS_OF_LARGE):
            raise ValueError(f"{pair['steps']!r} steps were not asked for")
        line = pair["error"]
        if not line:
            without, with_cache = (raw.without(f"{number}/{which}/", tensors) for which in ("without", "with"))
            compare = _beams_differ if pair["beams"] > 1 else _greedy_differ
            line = compare(without, with_cache, bound, int(pair["steps"]))
        if line and line not in seen:
            seen.add(line)
            yield printable(f"{name}.generate, {pair['how']}: {line}{pair['cure']}")


def _greedy_differ(without: Mapping[str, Raw], with_cache: Mapping[str, Raw], bound: float, steps: int) -> str | None:
    difference = _apart(without, with_cache, bound, steps)
    if difference is None:
        return None
    step, apart, largest = difference
    return (
        f"with its cache the logits of new token {step} differ from those without by {apart:.3g} "
        f"(the largest logit is {largest:.3g}), so it writes other text"
    )


def _apart(
    without: Mapping[str, Raw], with_cache: Mapping[str, Raw], bound: float, steps: int
) -> tuple[int, float, float] | None:
    """The first new token whose logits differ, by how much, and the largest logit; None where none do."""
    before, after = (raw.array(each["sequences"])[:, -steps:] for each in (without, with_cache))
    expected, computed = (raw.array(each["logits"]).astype("f4") for each in (without, with_cache))
    if expected.shape != computed.shape or len(expected) != steps or before.shape != after.shape:
        raise ValueError("the runs have different shapes")
    same = np.ones(len(before), bool)
    for step in range(steps):
        finite = expected[step][np.isfinite(expected[step])]
        largest = float(np.abs(finite).max()) if finite.size else 0.0
        with np.errstate(invalid="ignore"):  # minus infinity equals itself
            apart = np.where(expected[step] == computed[step], 0, np.abs(expected[step] - computed[step]))
        for row in np.flatnonzero(same):
            difference = float(apart[row].max())
            if not difference <= bound * largest:
                return step + 1, difference, largest
        # equal logits within the bound: another token then is a tie that the order of a sum decides
        same &= before[:, step] == after[:, step]
    return None


def _beams_differ(without: Mapping[str, Raw], with_cache: Mapping[str, Raw], bound: float, _: int) -> str | None:
    """Beams may end on another text only where its score is as good."""
    if raw.same(without["sequences"], with_cache["sequences"]):
        return None
    if "scores" in without and "scores" in with_cache:
        expected, computed = (raw.array(each["scores"]) for each in (without, with_cache))
        apart = float(np.abs(expected - computed).max())
        if apart <= bound * max(1.0, float(np.abs(expected).max())):
            return None
        return f"with its cache the best text has another score than without (the difference is {apart:.3g})"
    return "with its cache it writes other text than without"
