"""Mining of hard negatives for the contrastive stage."""
import json
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import torch


def chunked_topk(q: torch.Tensor, d: torch.Tensor, k: int, chunk: int = 65536) -> Tuple[torch.Tensor, torch.Tensor]:
    best_s = torch.full((len(q), k), float("-inf"))
    best_i = torch.zeros((len(q), k), dtype=torch.long)
    for start in range(0, len(d), chunk):
        s = q @ d[start : start + chunk].t()
        kk = min(k, s.shape[1])
        ts, ti = s.topk(kk, dim=1)
        both_s = torch.cat([best_s, ts], 1)
        both_i = torch.cat([best_i, ti + start], 1)
        best_s, pick = both_s.topk(k, dim=1)
        best_i = both_i.gather(1, pick)
    return best_s, best_i


def mine(queries: torch.Tensor, passages: torch.Tensor, positives: Sequence[Iterable[int]], n: int = 7, skip: int = 10,
         margin: float = 0.95, pool: int = 100) -> List[List[int]]:
    """negatives below margin * positive score, the first `skip` ranks are left out (false negatives)"""
    scores, ids = chunked_topk(queries, passages, pool)
    out = []
    for q, row_s, row_i, pos in zip(queries, scores.tolist(), ids.tolist(), positives):
        pos = set(pos)
        limit = margin * max(float(q @ passages[p]) for p in pos)
        cand = [i for s, i in list(zip(row_s, row_i))[skip:] if i not in pos and s < limit]
        out.append(cand[:n])
    return out


def recall_at(ranked: Sequence[Sequence[int]], positives: Sequence[Iterable[int]], k: int) -> float:
    hits = [len(set(r[:k]) & set(p)) / max(len(set(p)), 1) for r, p in zip(ranked, positives)]
    return sum(hits) / max(len(hits), 1)


def write_jsonl(path: str, queries: Sequence[str], passages: Sequence[str], positives, negatives) -> None:
    with open(path, "w", encoding="utf-8") as f:
        for q, p, n in zip(queries, positives, negatives):
            f.write(json.dumps({"query": q, "pos": [passages[i] for i in p], "neg": [passages[i] for i in n]}, ensure_ascii=False) + "\n")
