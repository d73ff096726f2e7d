"""Batches of preference pairs and a few numbers to judge a reward model by. Not needed for inference."""

from collections import defaultdict

import torch


class PairCollator:
    """Puts chosen answers in the first half of a batch and rejected ones in the second, padded on the right."""

    def __init__(self, pad_token_id: int = 0, max_length: int = 4096, pad_to_multiple_of: int | None = None):
        self.pad_token_id = pad_token_id
        self.max_length = max_length
        self.pad_to_multiple_of = pad_to_multiple_of

    def _pad(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
        rows = [r[-self.max_length :] for r in rows]
        width = max(len(r) for r in rows)
        if self.pad_to_multiple_of:
            width = -(-width // self.pad_to_multiple_of) * self.pad_to_multiple_of
        ids = torch.full((len(rows), width), self.pad_token_id, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, r in enumerate(rows):
            ids[i, : len(r)] = torch.tensor(r)
            mask[i, : len(r)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        rows = [f["chosen_ids"] for f in features] + [f["rejected_ids"] for f in features]
        batch = self._pad(rows)
        batch["labels"] = torch.empty(0)
        if all("margin" in f for f in features):
            batch["margin"] = torch.tensor([float(f["margin"]) for f in features])
        return batch


def pair_accuracy(chosen: torch.Tensor, rejected: torch.Tensor, groups: list[str] | None = None) -> dict[str, float]:
    right = (chosen > rejected).float()
    out = {"all": right.mean().item()}
    if groups is not None:
        by_group = defaultdict(list)
        for g, r in zip(groups, right.tolist()):
            by_group[g].append(r)
        out.update({g: sum(v) / len(v) for g, v in sorted(by_group.items())})
    return out


def calibration(chosen: torch.Tensor, rejected: torch.Tensor, bins: int = 10) -> float:
    """Expected calibration error of sigmoid(chosen - rejected)."""
    p = torch.sigmoid(chosen - rejected)
    conf = torch.maximum(p, 1 - p)
    right = (p > 0.5).float()
    edges = torch.linspace(0.5, 1.0, bins + 1)
    total = 0.0
    for lo, hi in zip(edges[:-1], edges[1:]):
        inside = (conf > lo) & (conf <= hi)
        if inside.any():
            total += inside.float().mean().item() * abs(conf[inside].mean().item() - right[inside].mean().item())
    return total
