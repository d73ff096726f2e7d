"""Training windows for Chronicle (pseudo-shuffled, with mixing of series)."""
import itertools
from typing import Iterator, List, Optional

import numpy as np
import torch
from torch.utils.data import IterableDataset


class PseudoShuffled(IterableDataset):
    def __init__(self, base: IterableDataset, buffer_length: int = 100):
        super().__init__()
        self.base = base
        self.buffer_length = buffer_length
        self.generator = torch.Generator()

    def __iter__(self):
        buffer = []
        for element in self.base:
            buffer.append(element)
            if len(buffer) >= self.buffer_length:
                i = torch.randint(len(buffer), size=(), generator=self.generator)
                yield buffer.pop(int(i))
        while buffer:
            i = torch.randint(len(buffer), size=(), generator=self.generator)
            yield buffer.pop(int(i))


class ChronicleWindows(IterableDataset):
    def __init__(self, series: List[np.ndarray], tokenizer, context_length=512, prediction_length=64, drop_prob=0.2, mixup: Optional[float] = 1.5, seed=0):
        super().__init__()
        self.series = [np.asarray(s, dtype=np.float32) for s in series if len(s) > prediction_length]
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.prediction_length = prediction_length
        self.drop_prob = drop_prob
        self.mixup = mixup
        self.rng = np.random.default_rng(seed)

    def _window(self) -> np.ndarray:
        s = self.series[self.rng.integers(len(self.series))]
        n = min(len(s), self.context_length + self.prediction_length)
        start = self.rng.integers(len(s) - n + 1)
        return s[start : start + n]

    def _mix(self) -> np.ndarray:
        k = int(self.rng.integers(1, 4))
        parts = [self._window() for _ in range(k)]
        n = min(map(len, parts))
        lam = self.rng.dirichlet([self.mixup] * k)
        return sum(l * p[-n:] / (np.abs(p[-n:]).mean() + 1e-6) for l, p in zip(lam, parts))

    def __iter__(self) -> Iterator[dict]:
        while True:
            w = self._mix() if self.mixup else self._window()
            ctx, future = torch.tensor(w[: -self.prediction_length])[None], torch.tensor(w[-self.prediction_length :])[None]
            if self.drop_prob:
                drop = torch.from_numpy(self.rng.random(ctx.shape) < self.drop_prob * self.rng.random())
                ctx = ctx.masked_fill(drop, float("nan"))
            ids, mask, scale = self.tokenizer.encode(ctx)
            labels, label_mask, _ = self.tokenizer.encode(future, scale)
            labels[~label_mask] = -100
            yield {"input_ids": ids[0], "attention_mask": mask[0], "labels": labels[0]}
