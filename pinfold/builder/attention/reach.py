"""How far a token sees through several layers: boolean powers of masks.

A token's row is a set of bits, 64 in a word: which tokens reach it. A layer's mask gives each row the union of the
rows of the keys that it sees. Most masks have runs (a window) or keys that many queries share (strides, blocks), so
unions are taken over a tree of pairs, and once for 64 queries where they have keys in common.
"""

import dataclasses
from collections.abc import Callable

import numpy

ROWS = 64  # queries whose common keys are united once: the block of random attention


@dataclasses.dataclass(frozen=True)
class Reach:
    """The receptive field over layers."""

    shares: list[float]  # of all pairs, after 1, 2, ... layers
    layers_to_all: int | None  # None: never, or not within layers_tried
    layers_tried: int | None  # None: proven for any number of layers


def pack(mask: numpy.ndarray) -> numpy.ndarray:
    """(queries, keys) booleans -> (queries, words); words, as numpy unites them eight times as fast as bytes."""
    packed = numpy.packbits(mask, axis=1)
    return numpy.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(numpy.uint64)


def unpack(reached: numpy.ndarray) -> numpy.ndarray:
    return numpy.unpackbits(reached.view(numpy.uint8), axis=1, count=len(reached)).view(bool)


def share(reached: numpy.ndarray) -> float:
    """The share of all pairs. Exactly 1 only where every bit is set, as both numbers are whole."""
    return int(BITS[reached.view(numpy.uint16)].sum(dtype=numpy.int64)) / len(reached) ** 2


# how many bits of 16 are set, as numpy 1 cannot count them itself
BITS = numpy.unpackbits(numpy.arange(65536, dtype=numpy.uint16)[:, None].view(numpy.uint8), axis=1).sum(1, numpy.uint8)


def product(mask: numpy.ndarray, reached: numpy.ndarray) -> numpy.ndarray:
    """One more layer on top: row i is the union of the rows of all keys that query i sees."""
    tree = [reached]
    while len(tree[-1]) > 1:
        tree.append(pairs(tree[-1], numpy.bitwise_or))
    united = numpy.zeros_like(reached)
    for start in range(0, len(mask), ROWS):
        unite(mask[start : start + ROWS], tree, united[start : start + ROWS])
    return united


def pairs(rows: numpy.ndarray, join: numpy.ufunc) -> numpy.ndarray:
    """Neighbours joined along the first axis; a last one without a neighbour is joined with zeros."""
    if len(rows) % 2:
        rows = numpy.concatenate([rows, numpy.zeros_like(rows[:1])])
    return join(rows[0::2], rows[1::2])


def unite(seen: numpy.ndarray, tree: list[numpy.ndarray], united: numpy.ndarray) -> None:
    """Fill the rows of a few queries, each node of the tree that a query sees whole counted once, at the top."""
    whole = [by_key(seen)]
    while len(whole) < len(tree) and whole[-1].any():
        whole.append(pairs(whole[-1], numpy.bitwise_and))
    everyone = by_key(numpy.ones((len(seen), 1), dtype=bool))[0]
    for level, nodes in enumerate(whole):
        if level + 1 < len(whole):
            nodes = nodes & ~numpy.repeat(whole[level + 1], 2)[: len(nodes)]
        common = nodes == everyone
        if common.any():
            united |= numpy.bitwise_or.reduce(tree[level][common], axis=0)
        (some,) = numpy.nonzero(~common & (nodes != 0))
        rows, places = numpy.nonzero(numpy.unpackbits(nodes[some].view(numpy.uint8).reshape(-1, ROWS // 8), axis=1).T)
        if len(rows):
            starts = numpy.flatnonzero(numpy.diff(rows, prepend=-1))
            united[rows[starts]] |= numpy.bitwise_or.reduceat(tree[level][some[places]], starts, axis=0)


def by_key(seen: numpy.ndarray) -> numpy.ndarray:
    """(up to 64 queries, keys) booleans -> (keys,): for each key the queries that see it, a bit each."""
    bits = numpy.zeros((ROWS // 8, seen.shape[1]), dtype=numpy.uint8)
    packed = numpy.packbits(seen, axis=0)
    bits[: len(packed)] = packed
    return numpy.ascontiguousarray(bits.T).view(numpy.uint64)[:, 0]


def follow(mask_of: Callable[[int], numpy.ndarray], layers: int, limit: int | None) -> Reach:
    """The receptive field of layers 0, 1, ... and the number of layers after which every token sees every token.

    Args:
        mask_of: the mask of a layer by its index; a token sees itself in every mask.
        layers: how many shares are computed.
        limit: layers that are tried at most; None where every layer has the same mask, which gives an exact answer.
    """
    reached = pack(mask_of(0))
    shares = [share(reached)]
    while shares[-1] < 1 and len(shares) < (limit or layers):
        reached = product(mask_of(len(shares)), reached)
        shares.append(share(reached))
        if limit is None and shares[-1] == shares[-2]:  # rows only grow: this is as far as the mask reaches
            return Reach((shares + shares[-1:] * layers)[:layers], None, None)
    if shares[-1] == 1:
        return Reach((shares + [1.0] * layers)[:layers], len(shares), None)
    if limit is not None:
        return Reach(shares[:layers], None, limit)
    return Reach(shares, power_to_all(mask_of(0)), None)


def power_to_all(mask: numpy.ndarray) -> int | None:
    """The lowest power of a mask in which every pair is seen, by doubling and halving; None if there is none.

    Every token sees itself, so that powers only grow; one that equals its own square is the last.
    """
    powers = [pack(mask)]
    while share(powers[-1]) < 1:
        powers.append(product(unpack(powers[-1]), powers[-1]))
        if numpy.array_equal(powers[-1], powers[-2]):
            return None
    if len(powers) == 1:
        return 1
    layers, reached = 2 ** (len(powers) - 2), powers[-2]  # the highest power of two that does not reach all
    for exponent in range(len(powers) - 3, -1, -1):
        longer = product(unpack(powers[exponent]), reached)
        if share(longer) < 1:
            layers, reached = layers + 2**exponent, longer
    return layers + 1
