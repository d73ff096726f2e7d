import torch
import torch.nn.functional as F
from torch import nn


class AttributeGate(nn.Module):
    """Weights for the attributes, from the last prompt position only."""

    def __init__(self, dim: int, hidden: int, n_out: int, temperature: float, dropout: float = 0.0, n_layers: int = 2):
        super().__init__()
        self.temperature = temperature
        self.dropout = nn.Dropout(dropout)
        dims = [dim] + [hidden] * (n_layers - 1)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(dims, dims[1:])])
        self.out = nn.Linear(dims[-1], n_out, bias=False)
        self.logit_scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        for layer in self.layers:
            x = self.dropout(F.relu(layer(x)))
        return F.softmax(self.out(x) / self.temperature, dim=-1) * self.logit_scale


class EnsembleHead(nn.Module):
    """Small independent scalar heads; their spread tells how sure the model is."""

    def __init__(self, dim: int, members: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.weight = nn.Parameter(torch.empty(members, dim))
        self.bias = nn.Parameter(torch.zeros(members))

    def forward(self, x):
        return torch.einsum("bd,md->bm", self.norm(x), self.weight) + self.bias


def pair_loss(chosen: torch.Tensor, rejected: torch.Tensor, margin=None, center: float = 0.0) -> torch.Tensor:
    diff = chosen - rejected
    if margin is not None:
        diff = diff - margin
    loss = -F.logsigmoid(diff).mean()
    if center:
        loss = loss + center * ((chosen + rejected) ** 2).mean()
    return loss
