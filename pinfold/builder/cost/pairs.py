"""How many pairs of a query and a key each kind of attention sees, for a row without padding, by formula.

The numbers are those of ``attention_mask(config, layer, length).sum()`` of bert_model/attention_bert.py.
Random keys come out of a hash, so that their number has no formula: the hash is computed, in whole numbers as there.
"""

import functools

import numpy as np

RANDOM_BLOCK = 64  # queries that share their random keys: attention_bert.py
LIMIT = 2**31 - 1
AT_ONCE = 2**20  # keys that are drawn together


def full(length: int) -> int:
    return length * length


def causal(length: int) -> int:
    return length * (length + 1) // 2


def local(length: int, window: int, first: int) -> int:
    """Tokens see ``window`` tokens on either side; the ``first`` ones, which are global, see and are seen by all."""
    rest = max(length - first, 0)
    reach = min(window, max(rest - 1, 0))
    band = rest + 2 * reach * rest - reach * (reach + 1)  # itself, and rest - d pairs at distance d on either side
    return length * length - rest * rest + band


def strided(length: int, stride: int, first: int) -> int:
    """Tokens see themselves and each key whose place is a multiple of ``stride``."""
    first = min(first, length)
    rest, shared = length - first, shared_keys(length, stride, first) - first
    return length * length - rest * rest + rest * shared + rest - shared


def shared_keys(length: int, stride: int, first: int) -> int:
    """Keys that all tokens see: the global ones, and those of the stride behind them."""
    first = min(first, length)
    return first + -(-length // stride) - -(-first // stride)


@functools.lru_cache(maxsize=4096)
def random(length: int, keys: int, first: int, seed: int, layer: int) -> int:
    """Tokens see themselves and the keys of their block; the time grows with blocks * keys, some 10 ns for each."""
    first = min(first, length)
    rest, blocks = length - first, -(-length // RANDOM_BLOCK)
    step, seen = max(1, AT_ONCE // keys), rest  # each token sees itself
    for start in range(0, blocks, step):
        numbers = np.arange(start, min(start + step, blocks))
        drawn = np.sort(_drawn(numbers, keys, length, seed, layer), axis=1, kind="stable")
        new = drawn >= first
        new[:, 1:] &= drawn[:, 1:] != drawn[:, :-1]
        low = np.maximum(numbers * RANDOM_BLOCK, first)
        high = np.minimum((numbers + 1) * RANDOM_BLOCK, length)  # the block's queries that are not global: low..high
        own = new & (drawn >= low[:, None]) & (drawn < high[:, None])  # such a key is one that its token sees anyway
        seen += int((new.sum(1) * np.maximum(high - low, 0)).sum()) - int(np.count_nonzero(own))
    return length * length - rest * rest + seen


def _drawn(blocks: np.ndarray, keys: int, length: int, seed: int, layer: int) -> np.ndarray:
    """``random_keys`` of attention_bert.py for some blocks: (blocks, keys), in any order and with repetitions.

    Only the lowest 31 bits of each step count there, and 32 are kept here, whatever overflows.
    """
    start = ((seed * 1000003) ^ (layer * 7919)) & LIMIT
    limit = np.uint32(LIMIT)
    x = (blocks.astype(np.uint32) * np.uint32(keys))[:, None] + np.arange(keys, dtype=np.uint32)
    x = (x * np.uint32(40503) + np.uint32(start)) & limit
    for factor, shift in ((0x2C1B3C6D, 15), (0x297A2D39, 12), (0x1B873593, 15)):
        x = ((x ^ (x >> np.uint32(shift))) * np.uint32(factor)) & limit
    places = ((x >> np.uint32(11)).astype(np.int64) * length) >> 20
    return places.astype(np.uint16) if length < 2**16 else places  # small numbers are sorted faster
