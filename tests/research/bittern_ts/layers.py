import math

import torch
import torch.nn.functional as F
from torch import nn


class InstanceScaler(nn.Module):
    """Takes level and spread of each series away, and gives them back."""

    def __init__(self, kind, channels, eps=1e-5):
        super().__init__()
        self.kind, self.eps = kind, eps
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("floor", torch.full((1,), eps))

    def statistics(self, x, observed):
        weight = observed.to(x.dtype)
        count = weight.sum(1, keepdim=True).clamp(min=1.0)
        if self.kind == "robust":
            filled = torch.where(observed, x, torch.full_like(x, float("nan")))
            middle = filled.nanmedian(1, keepdim=True).values.nan_to_num(0.0)
            spread = ((x - middle).abs() * weight).sum(1, keepdim=True) / count
        else:
            middle = (x * weight).sum(1, keepdim=True) / count
            spread = (((x - middle) ** 2 * weight).sum(1, keepdim=True) / count).sqrt()
        return middle, torch.maximum(spread, self.floor)

    def forward(self, x, observed):
        middle, spread = self.statistics(x, observed)
        return ((x - middle) / spread * self.gain + self.shift) * observed, (middle, spread)

    def back(self, y, statistics):
        middle, spread = (s.unsqueeze(-1) for s in statistics)
        gain = torch.where(self.gain.abs() < self.eps, torch.full_like(self.gain, self.eps), self.gain)
        return (y - self.shift[:, None]) / gain[:, None] * spread + middle


class FrequencyMixer(nn.Module):
    """Complex gains on the real spectrum along the patches; kept as two real parameters."""

    def __init__(self, steps, width):
        super().__init__()
        self.steps = steps
        bins = steps // 2 + 1
        self.real = nn.Parameter(torch.ones(bins, width))
        self.imaginary = nn.Parameter(torch.zeros(bins, width))

    def forward(self, x):
        spectrum = torch.fft.rfft(x.float(), dim=1)
        spectrum = spectrum * torch.complex(self.real.float(), self.imaginary.float())
        return torch.fft.irfft(spectrum, n=self.steps, dim=1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q = self.q(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in self.kv(x).chunk(2, -1))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    def __init__(self, steps, config):
        super().__init__()
        width = config.d_model
        self.norm_f, self.norm_a, self.norm_m = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.frequency = FrequencyMixer(steps, width)
        self.attention = Attention(width, config.num_heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.expansion * width), nn.GELU(), nn.Linear(config.expansion * width, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        x = x + self.dropout(self.frequency(self.norm_f(x)))
        x = x + self.dropout(self.attention(self.norm_a(x)))
        return x + self.dropout(self.mlp(self.norm_m(x)))


def time_codes(steps, width):
    where = torch.arange(steps).float()[:, None]
    rates = torch.exp(torch.arange(0, width, 2).float() * (-math.log(10000.0) / width))
    return torch.stack([(where * rates).sin(), (where * rates).cos()], -1).flatten(1)[:, :width]
