"""A linear chain over labels."""
import torch
from torch import nn


class Chain(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.moves = nn.Parameter(torch.zeros(labels, labels))
        self.first = nn.Parameter(torch.zeros(labels))

    def loss(self, scores, tags, mask):
        gold = self.first[tags[:, 0]] + scores[:, 0].gather(1, tags[:, :1]).squeeze(1)
        total = self.first + scores[:, 0]
        for t in range(1, scores.shape[1]):
            step = self.moves[tags[:, t - 1], tags[:, t]] + scores[:, t].gather(1, tags[:, t:t + 1]).squeeze(1)
            gold = gold + step * mask[:, t]
            grown = torch.logsumexp(total.unsqueeze(2) + self.moves, dim=1) + scores[:, t]
            total = torch.where(mask[:, t:t + 1].bool(), grown, total)
        return (torch.logsumexp(total, dim=1) - gold).mean()

    @torch.no_grad()
    def best(self, scores):
        total, back = self.first + scores[:, 0], []
        for t in range(1, scores.shape[1]):
            value, place = (total.unsqueeze(2) + self.moves).max(dim=1)
            total = value + scores[:, t]
            back.append(place)
        path = [total.argmax(-1)]
        for place in reversed(back):
            path.append(place.gather(1, path[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(path[::-1], dim=1)
