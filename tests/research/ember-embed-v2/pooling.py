"""From token states to one vector."""

import torch
from torch import nn


def last_token(states, mask):
    steps = torch.arange(mask.shape[1], device=mask.device)
    place = (mask * steps).argmax(dim=1)
    return states[torch.arange(states.shape[0], device=states.device), place]


class Pool(nn.Module):
    def __init__(self, width: int, kind: str):
        super().__init__()
        self.kind = kind
        if kind == "weighted":
            self.score = nn.Linear(width, 1)

    def forward(self, states, mask, skip=None):
        if skip is not None:
            # the instruction guides the states but is not part of the vector
            steps = torch.arange(mask.shape[1], device=mask.device)
            mask = mask * (steps[None] >= skip[:, None]).to(mask.dtype)
        if self.kind == "last":
            return last_token(states, mask)
        weight = mask.to(states.dtype)
        if self.kind == "weighted":
            score = self.score(states).squeeze(-1).masked_fill(mask == 0, torch.finfo(states.dtype).min)
            weight = score.softmax(dim=-1)
        return torch.einsum("bt,btd->bd", weight, states) / weight.sum(1, keepdim=True).clamp(min=1e-6)
