import torch
from torch import nn


class LayerMixture(nn.Module):
    """A weighted sum of the last layers."""

    def __init__(self, n):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n))
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, states):
        last = torch.stack(states[-len(self.weights) :], dim=0)
        return self.gamma * (self.weights.softmax(0)[:, None, None, None] * last).sum(0)


class ManyDropouts(nn.Module):
    """The same head under several dropouts, averaged. In eval it is the head."""

    def __init__(self, head, n, start=0.1, step=0.05):
        super().__init__()
        self.head = head
        self.dropouts = nn.ModuleList([nn.Dropout(start + i * step) for i in range(n)])

    def forward(self, x):
        if not self.training:
            return self.head(x)
        return torch.stack([self.head(drop(x)) for drop in self.dropouts]).mean(0)


class PairPooling(nn.Module):
    """cls, mean of the query, mean of the passage and what they share."""

    def __init__(self, dim):
        super().__init__()
        self.dense = nn.Linear(4 * dim, dim)
        self.act = nn.Tanh()

    @staticmethod
    def mean(x, mask):
        mask = mask.unsqueeze(-1).to(x.dtype)
        return (x * mask).sum(1) / mask.sum(1).clamp(min=1.0)

    def forward(self, x, attention_mask, token_type_ids):
        query = self.mean(x, attention_mask * (1 - token_type_ids))
        passage = self.mean(x, attention_mask * token_type_ids)
        return self.act(self.dense(torch.cat([x[:, 0], query, passage, query * passage], dim=-1)))
