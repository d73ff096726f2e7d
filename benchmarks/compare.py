"""`pinfold compare` beside benchmarks/bert.py: the same four kinds at the same size, timed in turns in one run.

Both time one layer's attention at 4,096 tokens with 12 heads of 32; one by the comparator's functions, one by the
benchmark's own. Printed are each kind's ratios to full attention with their quartiles by both, whether the quartiles
overlap, and whether the order of the kinds is the same: python benchmarks/compare.py [--turns 9]
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import bert
from pinfold.builder.attention import measure
from pinfold.builder.attention.compare import machine
from pinfold.builder.attention.masks import known_kinds
from pinfold.builder.attention.settings import Settings
from pinfold.builder.attention.words import machine_text, ratio_text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    torch.manual_seed(0)
    kinds = known_kinds()
    settings = Settings(kinds, length=args.tokens, heads=12, width=32)
    ours = [measure.forward(settings, kind, args.tokens) for kind in kinds]
    theirs = [bert.attention(kind, args.tokens) for kind in kinds]
    times = measure.turns([*ours, *theirs], args.turns)
    print(f"{machine_text(machine())}, {args.tokens:,} tokens, {args.turns} turns; ratios to full attention")
    orders, agreed = [], True
    ratios = []
    for half in (times[: len(kinds)], times[len(kinds) :]):
        full = half[kinds.index("full")]
        spreads = [measure.spread([one / other for one, other in zip(each, full, strict=True)]) for each in half]
        ratios.append(spreads)
        orders.append([kinds[i] for i in sorted(range(len(kinds)), key=lambda i: spreads[i]["median"])])
    for kind, mine, benchmark in zip(kinds, *ratios, strict=True):
        same = within(mine, benchmark)
        agreed = agreed and same
        print(
            f"  {kind:<8} compare {ratio_text(mine)}  bert.py {ratio_text(benchmark)}  "
            f"{'within the spread' if same else 'NOT WITHIN THE SPREAD'}"
        )
    print(f"  order    compare {' < '.join(orders[0])}  bert.py {' < '.join(orders[1])}")
    agreed = agreed and orders[0] == orders[1]
    print(f"  {'the two agree' if agreed else 'THE TWO DO NOT AGREE'}")
    return 0


def within(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether the quartiles overlap."""
    return one["low"] <= other["high"] and other["low"] <= one["high"]


if __name__ == "__main__":
    sys.exit(main())
