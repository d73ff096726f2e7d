"""Vectors as the nearest centroid and a coarse residual."""
import numpy as np
import torch


class ResidualCodec:
    def __init__(self, centroids: torch.Tensor, nbits: int = 2):
        self.centroids = torch.nn.functional.normalize(centroids.float(), dim=-1)
        self.nbits = nbits
        self.cutoffs = None
        self.weights = None

    def fit(self, sample: torch.Tensor):
        codes = self.nearest(sample)
        residual = (sample - self.centroids[codes]).flatten()
        options = 2**self.nbits
        steps = torch.arange(0, options, dtype=torch.float32) / options
        self.cutoffs = torch.quantile(residual, steps[1:])
        self.weights = torch.quantile(residual, steps + 0.5 / options)
        return self

    def nearest(self, vectors: torch.Tensor, batch: int = 4096) -> torch.Tensor:
        codes = []
        for start in range(0, len(vectors), batch):
            codes.append((self.centroids @ vectors[start : start + batch].float().T).argmax(0))
        return torch.cat(codes)

    def compress(self, vectors: torch.Tensor):
        codes = self.nearest(vectors)
        buckets = torch.bucketize(vectors.float() - self.centroids[codes], self.cutoffs)
        return codes.int(), self._pack(buckets)

    def decompress(self, codes, packed, dim):
        buckets = self._unpack(packed, len(codes) * dim).view(len(codes), dim)
        vectors = self.centroids[codes.long()] + self.weights[buckets]
        return torch.nn.functional.normalize(vectors, dim=-1)

    def _pack(self, buckets: torch.Tensor) -> np.ndarray:
        bits = [(buckets >> i) & 1 for i in range(self.nbits)]
        flat = torch.stack(bits, dim=-1).flatten().numpy().astype(np.uint8)
        return np.packbits(flat, bitorder="little")

    def _unpack(self, packed: np.ndarray, count: int) -> torch.Tensor:
        bits = np.unpackbits(packed, bitorder="little")[: count * self.nbits].reshape(-1, self.nbits)
        weights = 1 << np.arange(self.nbits)
        return torch.from_numpy((bits * weights).sum(-1))
