import math

import torch
import torch.nn.functional as F
from torch import nn


class MemoryBank(nn.Module):
    """Slots shared by all layers. Keys and values are projections of one table."""

    def __init__(self, slots, width, heads, head_dim):
        super().__init__()
        self.slots, self.heads, self.head_dim = slots, heads, head_dim
        self.table = nn.Parameter(torch.zeros(slots, width))
        self.to_k = nn.Linear(width, heads * head_dim, bias=False)
        self.to_v = nn.Linear(width, heads * head_dim, bias=False)
        self.register_buffer("usage", torch.zeros(slots))

    def keys_values(self, batch):
        k = self.to_k(self.table).view(self.slots, self.heads, self.head_dim).transpose(0, 1)
        v = self.to_v(self.table).view(self.slots, self.heads, self.head_dim).transpose(0, 1)
        return k.unsqueeze(0).expand(batch, -1, -1, -1), v.unsqueeze(0).expand(batch, -1, -1, -1)

    @torch.no_grad()
    def note(self, weights):
        if self.training:
            self.usage.mul_(0.99).add_(weights.detach().float().mean(dim=(0, 1, 2)), alpha=0.01)

    def reset_parameters(self):
        nn.init.normal_(self.table, std=1.0 / math.sqrt(self.table.shape[-1]))


def read_memory(bank: MemoryBank, queries: torch.Tensor) -> torch.Tensor:
    k, v = bank.keys_values(queries.shape[0])
    weights = F.softmax(queries.float() @ k.float().transpose(-1, -2) / math.sqrt(bank.head_dim), dim=-1)
    bank.note(weights)
    return weights.type_as(v) @ v


def balance_loss(bank: MemoryBank) -> torch.Tensor:
    share = bank.usage / bank.usage.sum().clamp(min=1e-6)
    return (share * share.clamp(min=1e-9).log()).sum() + math.log(bank.slots)


def duplicate_slots(bank: MemoryBank, least: int = 4):
    """Overwrites the slots that nothing reads with copies of the busiest ones, plus noise."""
    with torch.no_grad():
        order = bank.usage.argsort()
        lazy, busy = order[:least], order[-least:]
        bank.table[lazy] = bank.table[busy] + 0.01 * torch.randn_like(bank.table[busy])
        bank.usage[lazy] = bank.usage[busy] / 2
        bank.usage[busy] /= 2
