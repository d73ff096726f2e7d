from typing import List, Optional

import torch


def maxsim(q: torch.Tensor, d: torch.Tensor, q_mask=None, d_mask=None) -> torch.Tensor:
    """q [A, Q, D], d [B, L, D] -> [A, B]"""
    sim = torch.einsum("aqd,bld->abql", q, d)
    if d_mask is not None:
        sim = sim.masked_fill(~d_mask.bool()[None, :, None, :], -1e4)
    best = sim.max(dim=-1).values
    if q_mask is not None:
        best = best * q_mask[:, None, :].to(best.dtype)
    return best.sum(-1)


def maxsim_pairs(q, d, q_mask=None, d_mask=None):
    """q [N, Q, D], d [N, L, D] -> [N]"""
    sim = q @ d.transpose(1, 2)
    if d_mask is not None:
        sim = sim.masked_fill(~d_mask.bool()[:, None, :], -1e4)
    best = sim.max(dim=-1).values
    if q_mask is not None:
        best = best * q_mask.to(best.dtype)
    return best.sum(-1)


def pool_neighbours(vectors: torch.Tensor, factor: int, keep_first: int = 1) -> torch.Tensor:
    """merges each `factor` neighbours into their mean; a cheap stand-in for the clustering"""
    if factor <= 1 or vectors.shape[0] <= keep_first + factor:
        return vectors
    head, rest = vectors[:keep_first], vectors[keep_first:]
    chunks = [c.mean(0) for c in rest.split(factor)]
    return torch.nn.functional.normalize(torch.cat([head, torch.stack(chunks)]), dim=-1)


def rank(q: torch.Tensor, docs: List[torch.Tensor], k: Optional[int] = None):
    lengths = torch.tensor([d.shape[0] for d in docs])
    padded = torch.nn.utils.rnn.pad_sequence(docs, batch_first=True)
    mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
    scores = maxsim(q[None], padded, d_mask=mask.to(padded.device))[0]
    top = scores.topk(min(k or len(docs), len(docs)))
    return list(zip(top.indices.tolist(), top.values.tolist()))
