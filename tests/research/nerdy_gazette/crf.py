"""Linear chain CRF, batch first (rewritten from my thesis code)."""
from typing import List, Optional

import torch
from torch import nn


class CRF(nn.Module):

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.num_tags = num_tags
        self.start_transitions = nn.Parameter(torch.empty(num_tags))
        self.end_transitions = nn.Parameter(torch.empty(num_tags))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for p in (self.start_transitions, self.end_transitions, self.transitions):
            nn.init.uniform_(p, -0.1, 0.1)

    def forward(self, emissions: torch.Tensor, tags: torch.LongTensor, mask: torch.Tensor) -> torch.Tensor:
        """log likelihood, mean over the batch"""
        num = self._score(emissions, tags, mask)
        den = self._normalizer(emissions, mask)
        return (num - den).mean()

    def _score(self, emissions, tags, mask):
        b, n, _ = emissions.shape
        rows = torch.arange(b, device=emissions.device)
        score = self.start_transitions[tags[:, 0]] + emissions[rows, 0, tags[:, 0]]
        for i in range(1, n):
            step = self.transitions[tags[:, i - 1], tags[:, i]] + emissions[rows, i, tags[:, i]]
            score = score + step * mask[:, i]
        last = mask.long().sum(1) - 1
        return score + self.end_transitions[tags[rows, last]]

    def _normalizer(self, emissions, mask):
        score = self.start_transitions + emissions[:, 0]
        for i in range(1, emissions.shape[1]):
            nxt = torch.logsumexp(score.unsqueeze(2) + self.transitions + emissions[:, i].unsqueeze(1), dim=1)
            score = torch.where(mask[:, i].bool().unsqueeze(1), nxt, score)
        return torch.logsumexp(score + self.end_transitions, dim=1)

    @torch.no_grad()
    def decode(self, emissions: torch.Tensor, mask: torch.Tensor) -> List[List[int]]:
        best = []
        for row, m in zip(emissions, mask.bool()):
            n = int(m.sum())
            score, history = self.start_transitions + row[0], []
            for i in range(1, n):
                total = score.unsqueeze(1) + self.transitions
                score, idx = total.max(0)
                score = score + row[i]
                history.append(idx)
            tag = int((score + self.end_transitions).argmax())
            path = [tag]
            for idx in reversed(history):
                tag = int(idx[tag])
                path.append(tag)
            best.append(path[::-1])
        return best
