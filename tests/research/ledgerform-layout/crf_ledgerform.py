"""A linear-chain CRF over the labels, in the log domain."""

import torch
from torch import nn


class LinearChainCRF(nn.Module):
    def __init__(self, num_labels: int):
        super().__init__()
        self.num_labels = num_labels
        self.start = nn.Parameter(torch.zeros(num_labels))
        self.end = nn.Parameter(torch.zeros(num_labels))
        self.transitions = nn.Parameter(torch.zeros(num_labels, num_labels))

    def _numerator(self, emissions, tags, mask):
        batch = torch.arange(tags.shape[0], device=tags.device)
        score = self.start[tags[:, 0]] + emissions[batch, 0, tags[:, 0]]
        for t in range(1, tags.shape[1]):
            step = self.transitions[tags[:, t - 1], tags[:, t]] + emissions[batch, t, tags[:, t]]
            score = score + step * mask[:, t]
        last = mask.long().sum(1) - 1
        return score + self.end[tags[batch, last]]

    def _denominator(self, emissions, mask):
        alpha = self.start + emissions[:, 0]
        for t in range(1, emissions.shape[1]):
            nxt = torch.logsumexp(alpha[:, :, None] + self.transitions[None] + emissions[:, t, None, :], dim=1)
            alpha = torch.where(mask[:, t, None].bool(), nxt, alpha)
        return torch.logsumexp(alpha + self.end, dim=1)

    def neg_log_likelihood(self, emissions, tags, mask):
        # the first place has to be a real token
        mask = mask.clone()
        mask[:, 0] = 1
        tags = tags.clamp_min(0)
        mask = mask.to(emissions.dtype)
        return (self._denominator(emissions, mask) - self._numerator(emissions, tags, mask)).mean()

    @torch.no_grad()
    def viterbi(self, emissions, mask):
        score, back = self.start + emissions[:, 0], []
        for t in range(1, emissions.shape[1]):
            best, at = (score[:, :, None] + self.transitions[None]).max(dim=1)
            keep = mask[:, t, None].bool()
            score = torch.where(keep, best + emissions[:, t], score)
            back.append(torch.where(keep, at, torch.arange(self.num_labels, device=at.device)[None]))
        tag = (score + self.end).argmax(-1)
        path = [tag]
        for at in reversed(back):
            tag = at.gather(1, tag[:, None]).squeeze(1)
            path.append(tag)
        return torch.stack(path[::-1], dim=1)
