"""CTC prefix beam search, with an optional n-gram over characters."""
import math
from collections import defaultdict
from typing import Callable, Dict, List, Optional, Tuple

NEG = -math.inf


def logadd(*xs: float) -> float:
    m = max(xs)
    if m == NEG:
        return NEG
    return m + math.log(sum(math.exp(x - m) for x in xs))


def prefix_beam_search(logp: List[List[float]], blank: int, width: int = 16, lm: Optional[Callable[[Tuple[int, ...], int], float]] = None,
                       alpha: float = 0.5, beta: float = 0.2, prune: float = -8.0) -> Tuple[Tuple[int, ...], float]:
    beams: Dict[Tuple[int, ...], Tuple[float, float]] = {(): (0.0, NEG)}
    for frame in logp:
        nxt: Dict[Tuple[int, ...], Tuple[float, float]] = defaultdict(lambda: (NEG, NEG))
        for prefix, (pb, pnb) in beams.items():
            for c, p in enumerate(frame):
                if p < prune:
                    continue
                if c == blank:
                    b, nb = nxt[prefix]
                    nxt[prefix] = (logadd(b, pb + p, pnb + p), nb)
                    continue
                new = prefix + (c,)
                bonus = alpha * lm(prefix, c) + beta if lm is not None else 0.0
                b, nb = nxt[new]
                if prefix and prefix[-1] == c:
                    nxt[new] = (b, logadd(nb, pb + p + bonus))
                    b2, nb2 = nxt[prefix]
                    nxt[prefix] = (b2, logadd(nb2, pnb + p))
                else:
                    nxt[new] = (b, logadd(nb, pb + p + bonus, pnb + p + bonus))
        beams = dict(sorted(nxt.items(), key=lambda kv: -logadd(*kv[1]))[:width])
    best, (b, nb) = max(beams.items(), key=lambda kv: logadd(*kv[1]))
    return best, logadd(b, nb)
