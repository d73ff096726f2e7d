import torch
from torch import nn


def masked_mean(x, mask):
    mask = mask.unsqueeze(-1).to(x.dtype)
    return (x * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def masked_max(x, mask):
    return x.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(x.dtype).min).max(1).values


POOLERS = {"mean": masked_mean, "max": masked_max, "first": lambda x, mask: x[:, 0]}


class Pooler(nn.Module):
    def __init__(self, names, hidden_size):
        super().__init__()
        unknown = [n for n in names if n not in POOLERS]
        if unknown:
            raise ValueError(f"unknown pooling {unknown}, choose of {sorted(POOLERS)}")
        self.names = names
        self.dense = nn.Linear(hidden_size * len(names), hidden_size)

    def forward(self, x, mask):
        return torch.tanh(self.dense(torch.cat([POOLERS[n](x, mask) for n in self.names], -1)))
