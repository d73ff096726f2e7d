"""A small index over compressed vectors, for the demo and for tests. Real corpora go to the other repository."""
from collections import defaultdict
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch

try:
    from .residual_codec import ResidualCodec
except ImportError:
    from residual_codec import ResidualCodec


def kmeans(vectors: torch.Tensor, k: int, rounds: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randperm(len(vectors), generator=generator)[:k]
    centroids = vectors[picked].clone()
    for _ in range(rounds):
        codes = (centroids @ vectors.T).argmax(0)
        for i in range(len(centroids)):
            mine = vectors[codes == i]
            if len(mine):
                centroids[i] = mine.mean(0)
        centroids = torch.nn.functional.normalize(centroids, dim=-1)
    return centroids


class Searcher:
    def __init__(self, model, tokenizer, nbits: int = 2):
        self.model = model
        self.tokenizer = tokenizer
        self.nbits = nbits
        self.codec = None
        self.parts: List[Tuple[torch.Tensor, np.ndarray]] = []
        self.lists: Dict[int, set] = defaultdict(set)

    def index(self, passages: Sequence[str], k: int = 64):
        encoded = self.model.encode(list(passages), is_query=False, tokenizer=self.tokenizer)
        encoded = [e.float().cpu() for e in encoded]
        everything = torch.cat(encoded)
        self.codec = ResidualCodec(kmeans(everything, min(k, len(everything))), self.nbits).fit(everything)
        for number, vectors in enumerate(encoded):
            codes, packed = self.codec.compress(vectors)
            self.parts.append((codes, packed))
            for code in codes.tolist():
                self.lists[code].add(number)
        return self

    def search(self, query: str, k: int = 10, probes: int = 4) -> List[Tuple[int, float]]:
        q = self.model.encode(query, is_query=True, tokenizer=self.tokenizer)[0].float().cpu()
        near = (q @ self.codec.centroids.T).topk(min(probes, len(self.codec.centroids)), dim=-1).indices
        candidates = sorted(set().union(*(self.lists[c] for c in near.flatten().tolist())))
        scored = []
        for number in candidates:
            codes, packed = self.parts[number]
            vectors = self.codec.decompress(codes, packed, q.shape[-1])
            scored.append((number, float((q @ vectors.T).max(-1).values.sum())))
        return sorted(scored, key=lambda row: -row[1])[:k]
