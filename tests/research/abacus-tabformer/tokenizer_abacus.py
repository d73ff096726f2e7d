"""Numbers and categories to tokens. (Not a text tokenizer.)"""

import math

import torch
from torch import nn


class NLinear(nn.Module):
    """a linear layer of its own for each feature: [B, F, in] -> [B, F, out]"""

    def __init__(self, n, d_in, d_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, d_in, d_out))
        self.bias = nn.Parameter(torch.empty(n, d_out))

    def forward(self, x):
        return torch.einsum("bfi,fio->bfo", x, self.weight) + self.bias


class PeriodicFeatures(nn.Module):
    def __init__(self, n, k, sigma):
        super().__init__()
        self.sigma = sigma
        self.frequencies = nn.Parameter(torch.empty(n, k))

    def forward(self, x):
        v = 2 * math.pi * self.frequencies[None] * x[..., None]
        return torch.cat([torch.cos(v), torch.sin(v)], dim=-1)


class PiecewiseLinear(nn.Module):
    """share of each bin that lies below the number; the edges are quantiles of the training set"""

    def __init__(self, n, bins):
        super().__init__()
        self.register_buffer("edges", torch.linspace(-3, 3, bins + 1).repeat(n, 1))

    def forward(self, x):
        left, right = self.edges[:, :-1], self.edges[:, 1:]
        share = (x[..., None] - left) / (right - left)
        share = torch.cat([share[..., :1].clamp_max(1), share[..., 1:].clamp(0, 1)], dim=-1)
        return share


class NumericTokenizer(nn.Module):
    def __init__(self, config):
        super().__init__()
        n, num, d = config.num_numeric, config.numeric_config, config.encoder_config.d_token
        self.kind = num.kind
        self.missing = nn.Parameter(torch.empty(n, d))
        if num.kind == "plr":
            self.features = PeriodicFeatures(n, num.n_frequencies, num.sigma)
            self.project = NLinear(n, 2 * num.n_frequencies, d)
        elif num.kind == "bins":
            self.features = PiecewiseLinear(n, num.n_bins)
            self.project = NLinear(n, num.n_bins, d)
        elif num.kind == "linear":
            self.features = nn.Identity()
            self.project = NLinear(n, 1, d)
        else:
            raise ValueError(f"unknown kind of numeric tokens: {num.kind}")

    def forward(self, x):
        nan = x.isnan()
        x = torch.where(nan, torch.zeros_like(x), x)
        f = self.features(x)
        if self.kind == "linear":
            f = f.unsqueeze(-1)
        tokens = self.project(f)
        if self.kind == "plr":
            tokens = torch.relu(tokens)
        return torch.where(nan[..., None], self.missing[None].to(tokens.dtype), tokens)


class CategoricalTokenizer(nn.Module):
    def __init__(self, config):
        super().__init__()
        sizes = config.categorical_cardinalities
        self.table = nn.Embedding(sum(sizes) + len(sizes), config.encoder_config.d_token)
        # one more row for each column: values that the training set did not have
        self.sizes = sizes
        offsets = torch.tensor([0] + [s + 1 for s in sizes[:-1]]).cumsum(0)
        self.register_buffer("offsets", offsets)

    def forward(self, x):
        limit = torch.tensor(self.sizes, device=x.device)
        x = torch.where((x < 0) | (x >= limit), limit, x)
        return self.table(x + self.offsets)
