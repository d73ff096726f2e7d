"""Log-mel features computed on the device of the model."""
import math

import torch
from torch import nn


def to_mel(hz):
    return 2595.0 * math.log10(1.0 + hz / 700.0)


def from_mel(mel):
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def triangles(bins, n_fft, rate):
    edges = [from_mel(to_mel(0.0) + i * (to_mel(rate / 2) - to_mel(0.0)) / (bins + 1)) for i in range(bins + 2)]
    freqs = torch.linspace(0, rate / 2, n_fft // 2 + 1)
    rows = []
    for low, mid, high in zip(edges, edges[1:], edges[2:]):
        up = (freqs - low) / (mid - low)
        down = (high - freqs) / (high - mid)
        rows.append(torch.minimum(up, down).clamp(min=0) * 2.0 / (high - low))
    return torch.stack(rows)


class LogMel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_fft, self.hop = config.n_fft, config.hop
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("filters", triangles(config.num_mel_bins, config.n_fft, config.sample_rate))

    @torch.no_grad()
    def forward(self, wave):
        spec = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)[..., :-1].abs() ** 2
        mel = (self.filters @ spec).clamp(min=1e-10).log10()
        return (torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8.0) + 4.0) / 4.0
