"""The blocks. Everything here is plain torch, so that it can be used in the notebook without transformers."""
import math

import torch
import torch.nn.functional as F
from torch import nn


class ScaleNorm(nn.Module):
    def __init__(self, dim, eps=1e-5):
        super().__init__()
        self.g = nn.Parameter(torch.ones(1) * math.sqrt(dim))
        self.eps = eps

    def forward(self, x):
        return self.g * x / x.norm(dim=-1, keepdim=True).clamp(min=self.eps)


class CausalConv(nn.Module):
    def __init__(self, dim, kernel, dilation=1):
        super().__init__()
        self.left = (kernel - 1) * dilation
        self.conv = nn.Conv1d(dim, dim, kernel, groups=dim, dilation=dilation)

    def forward(self, x):
        x = F.pad(x.transpose(1, 2), (self.left, 0))
        return self.conv(x).transpose(1, 2)


class GatedConvBlock(nn.Module):
    def __init__(self, dim, kernel, dilation):
        super().__init__()
        self.norm = ScaleNorm(dim)
        self.inp = nn.Linear(dim, 2 * dim)
        self.conv = CausalConv(dim, kernel, dilation)
        self.out = nn.Linear(dim, dim)

    def forward(self, x, keep=None):
        a, b = self.inp(self.norm(x)).chunk(2, dim=-1)
        if keep is not None:
            a = a * keep
        return x + self.out(self.conv(a) * torch.sigmoid(b))


class ReluSquared(nn.Module):
    def forward(self, x):
        return F.relu(x) ** 2


class FeedForward(nn.Module):
    def __init__(self, dim, mult=4):
        super().__init__()
        self.net = nn.Sequential(ScaleNorm(dim), nn.Linear(dim, dim * mult), ReluSquared(), nn.Linear(dim * mult, dim))

    def forward(self, x):
        return x + self.net(x)


class CausalAttention(nn.Module):
    """A single head in the middle of the stack; more did not help."""

    def __init__(self, dim):
        super().__init__()
        self.norm = ScaleNorm(dim)
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.slope = nn.Parameter(torch.tensor(0.05))
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x, keep=None):
        n = x.shape[1]
        h = self.norm(x)
        q = self.q(h)
        k, v = self.kv(h).chunk(2, dim=-1)
        distance = torch.arange(n, device=x.device)
        distance = (distance[:, None] - distance[None, :]).to(x.dtype)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) - self.slope.abs() * distance.clamp(min=0)
        scores = scores.masked_fill(distance < 0, torch.finfo(x.dtype).min)
        if keep is not None:
            scores = scores.masked_fill(keep.transpose(1, 2) == 0, torch.finfo(x.dtype).min)
        return x + self.out(scores.softmax(dim=-1) @ v)
