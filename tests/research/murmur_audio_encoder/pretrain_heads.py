"""Heads of the pre-training, not part of the released checkpoints."""
import torch
from torch import nn
import torch.nn.functional as F


class GumbelQuantizer(nn.Module):
    def __init__(self, dim, groups=2, entries=320, out=256):
        super().__init__()
        self.groups, self.entries = groups, entries
        self.codevectors = nn.Parameter(torch.FloatTensor(1, groups * entries, out // groups).uniform_())
        self.weight_proj = nn.Linear(dim, groups * entries)
        self.temperature = 2.0

    def forward(self, x):
        b, n, _ = x.shape
        logits = self.weight_proj(x).view(b * n * self.groups, -1)
        p = F.gumbel_softmax(logits.float(), tau=self.temperature, hard=True) if self.training else F.one_hot(logits.argmax(-1), self.entries).float()
        soft = logits.view(b * n, self.groups, -1).softmax(-1).mean(0)
        perplexity = torch.exp(-(soft * torch.log(soft + 1e-7)).sum(-1)).sum()
        code = p.view(b * n, -1).unsqueeze(-1) * self.codevectors
        return code.view(b * n, self.groups, self.entries, -1).sum(-2).view(b, n, -1), perplexity


def contrastive(pred, target, negatives, temperature=0.1):
    cand = torch.cat([target[None], negatives], 0)
    logits = F.cosine_similarity(pred.float(), cand.float(), dim=-1) / temperature
    logits = logits.flatten(1).t()
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
