"""Log-mel spectra in the model, so that they are the same wherever it runs."""
import math

import numpy as np
import torch
from torch import nn


def hz_to_mel(f):
    return 2595.0 * np.log10(1.0 + np.asarray(f) / 700.0)


def mel_to_hz(m):
    return 700.0 * (10.0 ** (np.asarray(m) / 2595.0) - 1.0)


def mel_filters(sampling_rate, n_fft, n_mels, fmin, fmax):
    fmax = fmax or sampling_rate / 2
    points = mel_to_hz(np.linspace(hz_to_mel(fmin), hz_to_mel(fmax), n_mels + 2))
    bins = np.linspace(0, sampling_rate / 2, n_fft // 2 + 1)
    bank = np.zeros((n_mels, len(bins)), dtype=np.float32)
    for i in range(n_mels):
        low, middle, high = points[i : i + 3]
        up = (bins - low) / max(middle - low, 1e-6)
        down = (high - bins) / max(high - middle, 1e-6)
        bank[i] = np.maximum(0, np.minimum(up, down))
    return bank


class LogMel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_fft = config.n_fft
        self.hop = config.hop_length
        bank = mel_filters(config.sampling_rate, config.n_fft, config.num_mel_bins, config.fmin, config.fmax)
        self.register_buffer("filters", torch.from_numpy(bank))
        self.register_buffer("window", torch.hann_window(config.n_fft))
        self.gain = nn.Parameter(torch.ones(config.num_mel_bins))
        self.shift = nn.Parameter(torch.zeros(config.num_mel_bins))

    def forward(self, wave):
        spectrum = torch.stft(
            wave.float(), self.n_fft, self.hop, window=self.window, center=True, return_complex=True
        )
        power = spectrum.abs() ** 2
        mel = torch.log(self.filters @ power + 1e-5)
        return (mel.transpose(1, 2) * self.gain + self.shift) / math.sqrt(10.0)
