"""A flat index with residual quantisation, good enough for a million passages."""
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F


class ResidualCodec:
    def __init__(self, centroids: torch.Tensor, nbits: int = 2):
        self.centroids = centroids
        self.nbits = nbits
        self.cutoffs: Optional[torch.Tensor] = None
        self.weights: Optional[torch.Tensor] = None

    @classmethod
    def train(cls, sample: torch.Tensor, k: int, nbits: int = 2, iters: int = 10) -> "ResidualCodec":
        c = sample[torch.randperm(len(sample))[:k]].clone()
        for _ in range(iters):
            a = (sample @ c.t()).argmax(1)
            for j in range(k):
                rows = sample[a == j]
                if len(rows):
                    c[j] = F.normalize(rows.mean(0), dim=0)
        codec = cls(c, nbits)
        res = sample - c[(sample @ c.t()).argmax(1)]
        n = 2**nbits
        q = torch.linspace(0, 1, n + 1)
        codec.cutoffs = res.flatten().quantile(q[1:-1])
        codec.weights = res.flatten().quantile((q[:-1] + q[1:]) / 2)
        return codec

    def compress(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        a = (x @ self.centroids.t()).argmax(1)
        return a.int(), torch.bucketize(x - self.centroids[a], self.cutoffs).to(torch.uint8)

    def decompress(self, codes: torch.Tensor, residuals: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.centroids[codes.long()] + self.weights[residuals.long()], dim=-1)


class FlatIndex:
    def __init__(self, codec: Optional[ResidualCodec] = None):
        self.codec = codec
        self.rows: List = []

    def add(self, embeddings: List[torch.Tensor]) -> None:
        for e in embeddings:
            self.rows.append(self.codec.compress(e) if self.codec else e)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.codec.decompress(*self.rows[i]) if self.codec else self.rows[i]

    def search(self, q: torch.Tensor, k: int = 10) -> List[Tuple[int, float]]:
        scores = torch.stack([(q @ self[i].t()).amax(-1).sum() for i in range(len(self.rows))])
        top = scores.topk(min(k, len(scores)))
        return list(zip(top.indices.tolist(), top.values.tolist()))
