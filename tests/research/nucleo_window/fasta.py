"""FASTA / BED helpers for the notebooks."""
import gzip
from typing import Dict, Iterator, List, Tuple

import numpy as np

LOOKUP = np.full(256, 5, dtype=np.int64)
for i, base in enumerate("ACGT"):
    LOOKUP[ord(base)] = i
    LOOKUP[ord(base.lower())] = i


def read_fasta(path: str) -> Iterator[Tuple[str, str]]:
    opener = gzip.open if path.endswith(".gz") else open
    name, parts = None, []
    with opener(path, "rt") as f:
        for line in f:
            line = line.strip()
            if line.startswith(">"):
                if name is not None:
                    yield name, "".join(parts)
                name, parts = line[1:].split()[0], []
            elif line:
                parts.append(line)
    if name is not None:
        yield name, "".join(parts)


def encode(seq: str) -> np.ndarray:
    return LOOKUP[np.frombuffer(seq.encode("ascii"), dtype=np.uint8)]


def windows(seq: np.ndarray, size: int, step: int, max_n: float = 0.1) -> Iterator[Tuple[int, np.ndarray]]:
    for s in range(0, max(len(seq) - size, 0) + 1, step):
        w = seq[s : s + size]
        if (w == 5).mean() <= max_n:
            yield s, w


def read_bed(path: str) -> Dict[str, List[Tuple[int, int, str]]]:
    out: Dict[str, List[Tuple[int, int, str]]] = {}
    with open(path) as f:
        for line in f:
            if line.startswith(("#", "track", "browser")):
                continue
            c, s, e, *rest = line.rstrip("\n").split("\t")
            out.setdefault(c, []).append((int(s), int(e), rest[0] if rest else "."))
    return out


def mask_spans(ids: np.ndarray, share: float = 0.15, mean_len: float = 4.0, rng=None) -> np.ndarray:
    rng = rng or np.random.default_rng()
    target, mask = int(share * len(ids)), np.zeros(len(ids), dtype=bool)
    while mask.sum() < target:
        n = 1 + rng.geometric(1 / mean_len)
        s = rng.integers(0, max(len(ids) - n, 1))
        mask[s : s + n] = True
    return mask & (ids < 4)
