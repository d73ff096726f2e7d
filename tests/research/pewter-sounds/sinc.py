"""Band-pass filters of which only the edges are learned."""
import math

import torch
import torch.nn.functional as F
from torch import nn


class SincBank(nn.Module):
    def __init__(self, count: int, width: int, rate: int):
        super().__init__()
        self.width = width + 1 - width % 2
        self.rate = rate
        low, high = 30.0, rate / 2 - 100.0
        mel = torch.linspace(math.log1p(low / 700), math.log1p(high / 700), count + 1)
        edges = torch.expm1(mel) * 700
        self.low = nn.Parameter(edges[:-1].unsqueeze(1))
        self.band = nn.Parameter(edges.diff().unsqueeze(1))
        half = self.width // 2
        self.steps = torch.arange(-half, half + 1).float() / rate
        self.register_buffer("window", torch.hamming_window(self.width, periodic=False), persistent=False)

    def kernels(self):
        low = self.low.abs() + 20.0
        high = torch.clamp(low + self.band.abs() + 20.0, max=self.rate / 2)
        steps = self.steps.to(low.device)
        bank = 2 * high * torch.sinc(2 * high * steps) - 2 * low * torch.sinc(2 * low * steps)
        return (bank / bank.abs().amax(1, keepdim=True) * self.window).unsqueeze(1)

    def forward(self, wave):
        return F.conv1d(wave.unsqueeze(1), self.kernels(), padding=self.width // 2).abs().add(1e-4).log()
