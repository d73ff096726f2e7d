"""Energy based voice activity detection, cuts meetings into utterances of at most 20 s."""
from typing import List, NamedTuple

import numpy as np


class Segment(NamedTuple):
    start: float
    end: float


def frame_energy(wave: np.ndarray, rate: int, width: float = 0.025, step: float = 0.010) -> np.ndarray:
    w, s = int(width * rate), int(step * rate)
    n = 1 + max(0, (len(wave) - w) // s)
    idx = np.arange(w)[None] + s * np.arange(n)[:, None]
    frames = wave[np.minimum(idx, len(wave) - 1)]
    return 10 * np.log10((frames.astype(np.float64) ** 2).mean(1) + 1e-10)


def hysteresis(energy: np.ndarray, high: float, low: float) -> np.ndarray:
    active, out = False, np.zeros(len(energy), dtype=bool)
    for i, e in enumerate(energy):
        if not active and e > high:
            active = True
        elif active and e < low:
            active = False
        out[i] = active
    return out


def close_gaps(mask: np.ndarray, gap: int) -> np.ndarray:
    mask = mask.copy()
    last = None
    for i, m in enumerate(mask):
        if m:
            if last is not None and 1 < i - last <= gap:
                mask[last:i] = True
            last = i
    return mask


def segments(wave: np.ndarray, rate: int, max_len: float = 20.0, step: float = 0.010) -> List[Segment]:
    e = frame_energy(wave, rate, step=step)
    floor = np.percentile(e, 10)
    mask = close_gaps(hysteresis(e, floor + 12, floor + 6), gap=int(0.4 / step))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    out = []
    for a, b in edges.reshape(-1, 2):
        a, b = a * step, b * step
        while b - a > max_len:
            # cut at the quietest place of the last third
            lo, hi = int((a + 2 * max_len / 3) / step), int((a + max_len) / step)
            cut = (lo + int(np.argmin(e[lo:hi]))) * step
            out.append(Segment(a, cut))
            a = cut
        if b - a > 0.2:
            out.append(Segment(a, b))
    return out


def speakers_by_turn(parts: List[Segment], pause: float = 1.5) -> List[int]:
    """no diarisation, only turns: a long pause starts a new one"""
    turn, out, end = 0, [], None
    for p in parts:
        if end is not None and p.start - end > pause:
            turn += 1
        out.append(turn)
        end = p.end
    return out
