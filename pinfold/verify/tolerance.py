"""Differences that measuring takes for none, each with the reason that the load itself shows.

A push compares bit for bit. A folder that is only looked at may compute a table anew while forward runs, or attention
in another way in another release: then sums round otherwise, and no line of the folder is at fault. A difference
without such a reason stays a failure, however small it is.
"""

from collections.abc import Mapping

import numpy as np

from pinfold.common.errors import plain_line
from pinfold.fence.handed import Raw
from pinfold.fenced.probe.caches import is_cache
from pinfold.fenced.verify.attention import spoken
from pinfold.verify import raw

# Part of the largest number of an output. Rounding differs in the last digit, and layers add to that.
CLOSE = {"F64": 1e-12, "F32": 1e-5, "F16": 2e-3, "BF16": 2e-2}


def reason(facts: Mapping, attention: dict) -> str:
    """Why this load may round otherwise than the reference; "" where nothing shows a reason.

    Args:
        facts: of the load, as fenced/verify/load.py hands them over. attention: of the reference, by part.
    """
    if grows := facts.get("grows"):
        name, before, after = (plain_line(word, 100) for word in grows[0])
        more = f" and {len(grows) - 1} more" if len(grows) > 1 else ""
        return (
            f"{name}{more} grows while forward runs ({before} became {after}), and a longer table is rounded otherwise"
        )
    if facts.get("attention") and facts["attention"] != attention:
        own, other = (spoken(each) for each in (facts["attention"], attention))
        return f"attention is {plain_line(own, 60)} here and {plain_line(other, 60)} there, which add in another order"
    return ""


def within(auto: str, outputs: Mapping[str, Raw], expected: Mapping[str, Raw], why: str) -> str:
    """A sentence with the largest difference, the tolerance and its reason; "" where it is more, or has no reason."""
    if not why:
        return ""
    names = [key for key in expected if key.startswith(f"{auto}/") and not is_cache(key)]
    largest, allowed = 0.0, 0.0
    for key in names:
        value, other = expected[key], outputs.get(key)
        if other is None or other.shape != value.shape or other.dtype != value.dtype:
            return ""
        if raw.same(other, value):
            continue
        size = _largest(value)
        bound = CLOSE.get(value.dtype, 0.0)
        apart = raw.largest_difference(other, value)
        if not apart <= bound * size:  # also where either is not a number
            return ""
        largest, allowed = max(largest, apart / size), max(allowed, bound)
    return (
        f"{auto}: outputs differ by {largest:.1g} of the largest number; up to {allowed:.0e} is allowed, because {why}"
    )


def _largest(tensor: Raw) -> float:
    numbers = np.abs(raw.array(tensor).astype("f8"))
    return float(numbers.max()) if numbers.size and np.isfinite(numbers).all() else 0.0
