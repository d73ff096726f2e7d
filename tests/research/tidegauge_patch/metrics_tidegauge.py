"""MASE, sMAPE, CRPS over quantiles; a seasonal naive for the scale."""
from typing import Optional, Sequence

import numpy as np


def seasonal_naive(history: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    last = history[..., -season:]
    reps = -(-horizon // season)
    return np.concatenate([last] * reps, -1)[..., :horizon]


def mase(y: np.ndarray, f: np.ndarray, history: np.ndarray, season: int = 1) -> float:
    scale = np.abs(history[..., season:] - history[..., :-season]).mean(-1, keepdims=True)
    return float((np.abs(y - f) / np.maximum(scale, 1e-8)).mean())


def smape(y: np.ndarray, f: np.ndarray) -> float:
    return float((200 * np.abs(y - f) / np.maximum(np.abs(y) + np.abs(f), 1e-8)).mean())


def quantile_loss(y: np.ndarray, q: np.ndarray, levels: Sequence[float]) -> float:
    total = 0.0
    for i, level in enumerate(levels):
        d = y - q[..., i]
        total += np.maximum(level * d, (level - 1) * d).mean()
    return float(2 * total / len(levels))
