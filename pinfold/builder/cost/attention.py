"""One encoder layer's attention: pairs that are seen, pairs that are computed, and what backward keeps.

It follows bert_model/attention_bert.py: local windows in blocks with the keys around them, shared keys of the stride,
random keys of each block of 64 queries, dense attention with a mask for short rows, and global tokens by themselves.
"""

from dataclasses import dataclass

from . import pairs
from .parts import INDEX, NUMBER

CHUNK = 8192  # tokens of all rows that are computed together on an accelerator; on a CPU they are 512
SMALLEST_BLOCK = 32  # of queries in local attention


@dataclass(frozen=True)
class Shape:
    """Sizes that every layer of a drawing shares."""

    batch: int
    length: int
    hidden: int
    heads: int
    dropout: float  # of the attention weights
    window: int
    stride: int
    keys: int
    first: int  # global tokens, as many as there are
    seed: int

    @property
    def states(self) -> int:
        """Numbers of one vector for each token."""
        return self.batch * self.length * self.hidden

    @property
    def copied(self) -> bool:
        """Whether heads have to be copied apart, to be multiplied as one batch."""
        return self.batch > 1 and self.heads > 1

    @property
    def weights(self) -> int:
        """Matrices of scores that are kept where dropout is on: the softmax, what is dropped, and the rest."""
        return 3 if self.dropout else 1


@dataclass(frozen=True)
class Attention:
    """Of one row of the batch: ``seen`` and ``computed`` pairs of query and key; bytes ``kept`` of the batch."""

    seen: int
    computed: int
    kept: int


def attention(kind: str, shape: Shape, layer: int) -> Attention:
    return KINDS[kind](shape, layer)


def full(shape: Shape, layer: int) -> Attention:
    return Attention(pairs.full(shape.length), shape.length**2, dense(shape, masked=False))


def local(shape: Shape, layer: int) -> Attention:
    seen = pairs.local(shape.length, shape.window, shape.first)
    block = max(shape.window, SMALLEST_BLOCK)
    if shape.length <= block + shape.window:
        return Attention(seen, shape.length**2, dense(shape, masked=True))
    steps = chunks(shape, block)
    near = block + 2 * shape.window + shape.first
    kept = sum(_blocks(shape, block, near, count) for count in steps)
    kept += _mixed(shape, block, len(steps), is_kept=not shape.dropout)
    kept += global_tokens(shape, 3)
    computed = sum(steps) * block * near + shape.first * shape.length
    return Attention(seen, computed, kept)


def _blocks(shape: Shape, block: int, near: int, count: int) -> int:
    """Some blocks of each row, folded into the batch: queries, keys and values around them, scores or the mask."""
    folded = shape.batch * count
    copied, padded = folded * near * shape.hidden, shape.batch * (count * block + near - block) * shape.hidden
    queries = folded * block * shape.hidden
    if shape.dropout:
        views = not shape.first and shape.batch == 1 and shape.heads == 1  # values of blocks may overlap
        scores = shape.weights * folded * shape.heads * block * near
        return NUMBER * (queries + copied + (padded if views else copied) + scores)
    views = not shape.first and shape.batch == 1
    mask, sums = folded * block * near, folded * shape.heads * block
    return NUMBER * (2 * queries + 2 * (padded if views else copied) + mask + sums)


def strided(shape: Shape, layer: int) -> Attention:
    seen = pairs.strided(shape.length, shape.stride, shape.first)
    if shape.length <= 2 * shape.stride:
        return Attention(seen, shape.length**2, dense(shape, masked=True))
    keys = pairs.shared_keys(shape.length, shape.stride, shape.first)
    numbers = 3 * shape.states + 2 * shape.batch * keys * shape.hidden
    numbers += shape.states if shape.copied else 0  # queries
    numbers += shape.weights * shape.batch * shape.heads * shape.length * (keys + 1)
    numbers += shape.states  # the mixture
    kept = NUMBER * numbers + shape.length * keys + INDEX * keys + global_tokens(shape, 0)
    return Attention(seen, shape.length * keys + shape.first * shape.length, kept)


def random(shape: Shape, layer: int) -> Attention:
    seen = pairs.random(shape.length, shape.keys, shape.first, shape.seed, layer)
    block = pairs.RANDOM_BLOCK
    if shape.length <= block:
        return Attention(seen, shape.length**2, dense(shape, masked=True))
    steps = chunks(shape, block)
    blocks, keys = sum(steps), shape.first + shape.keys
    queries = shape.batch * blocks * block
    numbers = 2 * shape.states + 2 * shape.batch * blocks * keys * shape.hidden + 3 * queries * shape.hidden
    numbers += shape.weights * queries * shape.heads * (keys + 1)
    for i, count in enumerate(steps):  # whole blocks are not padded, and then have to be copied for the product
        whole = i < len(steps) - 1 or not shape.length % block
        copied = whole and shape.heads > 1 and (shape.batch > 1 or count > 1)
        numbers += shape.batch * count * block * shape.hidden if copied else 0
    kept = NUMBER * numbers + queries * keys + INDEX * blocks * keys
    kept += _mixed(shape, block, len(steps), is_kept=False) + global_tokens(shape, 1)
    return Attention(seen, queries // shape.batch * keys + shape.first * shape.length, kept)


KINDS = {"full": full, "local": local, "strided": strided, "random": random}


def chunks(shape: Shape, block: int) -> list[int]:
    """How many blocks of each row are computed at a time."""
    blocks, step = -(-shape.length // block), max(1, CHUNK // (shape.batch * block))
    return [min(step, blocks - start) for start in range(0, blocks, step)]


def dense(shape: Shape, masked: bool) -> int:
    """Full attention, by a mask or none."""
    scores = shape.batch * shape.heads * shape.length
    if shape.dropout:
        return NUMBER * (4 * shape.states + shape.weights * scores * shape.length)
    return NUMBER * (4 * shape.states + scores + (shape.length**2 if masked else 0))


def global_tokens(shape: Shape, fresh: int) -> int:
    """The first tokens' own full attention.

    Args:
        fresh: how many of query, key and value were not kept before: all 3, the query (1), or none.
    """
    if not shape.first:
        return 0
    rows = shape.batch * shape.first
    if not shape.dropout:
        return NUMBER * (fresh * shape.states + rows * shape.heads + rows * shape.hidden)
    values = shape.states if shape.copied or fresh == 3 else 0
    return NUMBER * (shape.states + values + rows * shape.hidden + shape.weights * rows * shape.heads * shape.length)


def _mixed(shape: Shape, block: int, steps: int, is_kept: bool) -> int:
    """What goes into the projection, where it is memory that is not counted yet.

    Args:
        is_kept: attention keeps its result, and so that of all blocks, with the last one's padding.
    """
    apart = shape.heads > 1 and shape.hidden > shape.heads  # heads are put side by side by copying
    padded = -(-shape.length // block) * block
    if shape.first or steps > 1 or (padded > shape.length and (shape.batch > 1 or apart)):
        return NUMBER * shape.states
    if is_kept:
        return 0
    return NUMBER * (shape.states if apart else shape.batch * padded * shape.hidden)
