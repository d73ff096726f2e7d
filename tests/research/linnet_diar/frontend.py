import math

import torch
import torch.nn.functional as F
from torch import nn


def mel(hz):
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def hz(m):
    return 700.0 * (10.0 ** (m / 2595.0) - 1.0)


class SincFrontend(nn.Module):
    """Band-pass filters with learnt edges, beside the raw wave."""

    def __init__(self, filters, kernel, sample_rate, lowest=30.0, narrowest=20.0):
        super().__init__()
        if kernel % 2 == 0:
            kernel += 1
        self.kernel, self.sample_rate = kernel, sample_rate
        self.lowest, self.narrowest = lowest, narrowest
        edges = torch.linspace(mel(lowest), mel(sample_rate / 2 - lowest - narrowest), filters + 1).tolist()
        edges = torch.tensor([hz(m) for m in edges])
        self.low = nn.Parameter(edges[:-1, None].clone())
        self.band = nn.Parameter((edges[1:] - edges[:-1])[:, None])
        half = kernel // 2
        self.register_buffer("window", torch.hamming_window(kernel, periodic=False)[:half], persistent=False)
        steps = 2 * math.pi * torch.arange(-half, 0).float()[None] / sample_rate
        self.register_buffer("steps", steps, persistent=False)

    def filters(self):
        low = self.lowest + self.low.abs()
        high = (low + self.narrowest + self.band.abs()).clamp(max=self.sample_rate / 2)
        left = (torch.sin(high * self.steps) - torch.sin(low * self.steps)) / (self.steps / 2) * self.window
        middle = 2 * (high - low)
        full = torch.cat([left, middle, left.flip(1)], 1) / (2 * (high - low))
        return full[:, None]

    def forward(self, wave):
        y = F.conv1d(wave[:, None], self.filters().to(wave.dtype), padding=self.kernel // 2)
        return wave + torch.log1p(y.abs()).mean(1)


class StatisticsPooling(nn.Module):
    def forward(self, x, mask=None):
        if mask is None:
            return torch.cat([x.mean(1), x.std(1)], -1)
        w = mask[..., None].to(x.dtype)
        n = w.sum(1).clamp(min=2.0)
        mean = (x * w).sum(1) / n
        return torch.cat([mean, (((x - mean[:, None]) ** 2 * w).sum(1) / (n - 1)).clamp(min=1e-9).sqrt()], -1)
