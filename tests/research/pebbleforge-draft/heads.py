"""Heads that guess the tokens after the next one."""
import torch
import torch.nn.functional as F
from torch import nn


class DraftBlock(nn.Module):
    def __init__(self, hidden_size: int, residual: bool = True):
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        self.act = nn.SiLU()
        self.residual = residual

    def forward(self, x):
        y = self.act(self.linear(x))
        return x + y if self.residual else y


class DraftHead(nn.Module):
    """A block and the head of the language model, which is handed in."""

    def __init__(self, config, lm_head: nn.Linear):
        super().__init__()
        self.block = DraftBlock(config.hidden_size, config.draft_residual)
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-6)
        self.lm_head = lm_head

    def forward(self, hidden_states):
        return self.lm_head(self.norm(self.block(hidden_states)))


def draft_loss(draft_logits: list, labels: torch.Tensor, ignore_index: int = -100):
    """Head i says the token i + 2 places on."""
    total = 0.0
    for i, logits in enumerate(draft_logits):
        shift = i + 2
        if labels.shape[1] <= shift:
            continue
        total = total + F.cross_entropy(
            logits[:, :-shift].flatten(0, 1).float(), labels[:, shift:].flatten(), ignore_index=ignore_index
        )
    return total / max(1, len(draft_logits))


def longest_agreement(proposed: torch.Tensor, verified: torch.Tensor) -> int:
    """How many of the proposed tokens the model would have written itself."""
    same = (proposed == verified).int()
    return int(same.cumprod(dim=-1).sum(dim=-1).min())


def count_parameters(head: DraftHead) -> int:
    """Without the head that is shared."""
    return sum(p.numel() for n, p in head.named_parameters() if not n.startswith("lm_head"))
