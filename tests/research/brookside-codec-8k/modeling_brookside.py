"""Brookside neural audio codec."""
import math
from dataclasses import dataclass
from typing import Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_brookside import BrooksideCodecConfig
from .quantize_brookside import EuclideanCodebook, ResidualVectorQuantizer

try:
    import torchaudio  # only for `load_wave`
except Exception:  # noqa
    torchaudio = None


@dataclass
class BrooksideOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    audio_values: Optional[torch.FloatTensor] = None
    audio_codes: Optional[torch.LongTensor] = None
    latents: Optional[torch.FloatTensor] = None


class Snake1d(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x):
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).pow(2)


class CausalConv1d(nn.Module):
    def __init__(self, config, c_in, c_out, kernel_size, stride=1, dilation=1):
        super().__init__()
        self.conv = nn.Conv1d(c_in, c_out, kernel_size, stride=stride, dilation=dilation)
        if config.use_weight_norm:
            self.conv = weight_norm(self.conv)
        self.stride = stride
        self.span = (kernel_size - 1) * dilation + 1
        self.register_buffer("padding_total", torch.tensor(self.span - stride, dtype=torch.int64), persistent=False)

    def forward(self, x):
        length = x.shape[-1]
        left = int(self.padding_total)
        frames = math.ceil((length - self.span + left) / self.stride + 1)
        extra = max(0, (frames - 1) * self.stride + self.span - left - length)
        return self.conv(F.pad(x, (left, extra)))


class CausalConvTranspose1d(nn.Module):
    def __init__(self, config, c_in, c_out, kernel_size, stride):
        super().__init__()
        self.conv = nn.ConvTranspose1d(c_in, c_out, kernel_size, stride)
        if config.use_weight_norm:
            self.conv = weight_norm(self.conv)
        self.trim = kernel_size - stride

    def forward(self, x):
        y = self.conv(x)
        return y[..., : y.shape[-1] - self.trim]


class ResUnit(nn.Module):
    def __init__(self, config, dim, dilation):
        super().__init__()
        self.block = nn.Sequential(
            Snake1d(dim),
            CausalConv1d(config, dim, dim // 2, 3, dilation=dilation),
            Snake1d(dim // 2),
            CausalConv1d(config, dim // 2, dim, 1),
        )

    def forward(self, x):
        return x + self.block(x)


class SkipLSTM(nn.Module):
    def __init__(self, dim, layers=1):
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, layers)

    def forward(self, x):
        y = x.permute(2, 0, 1)
        y = self.lstm(y)[0] + y
        return y.permute(1, 2, 0)


class BrooksideEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim = config.num_filters
        layers = [CausalConv1d(config, 1, dim, config.kernel_size)]
        for ratio in config.downsampling_ratios:
            layers += [ResUnit(config, dim, d) for d in config.dilations]
            layers += [Snake1d(dim), CausalConv1d(config, dim, dim * 2, 2 * ratio, stride=ratio)]
            dim *= 2
        if config.use_lstm:
            layers.append(SkipLSTM(dim))
        layers += [Snake1d(dim), CausalConv1d(config, dim, config.hidden_size, config.last_kernel_size)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class BrooksideDecoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim = config.num_filters * 2 ** len(config.downsampling_ratios)
        layers = [CausalConv1d(config, config.hidden_size, dim, config.kernel_size)]
        if config.use_lstm:
            layers.append(SkipLSTM(dim))
        for ratio in config.downsampling_ratios[::-1]:
            layers += [Snake1d(dim), CausalConvTranspose1d(config, dim, dim // 2, 2 * ratio, ratio)]
            dim //= 2
            layers += [ResUnit(config, dim, d) for d in config.dilations]
        layers += [Snake1d(dim), CausalConv1d(config, dim, 1, config.last_kernel_size)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return torch.tanh(x)


class BrooksidePreTrainedModel(PreTrainedModel):
    config_class = BrooksideCodecConfig
    base_model_prefix = "codec"
    main_input_name = "input_values"

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.constant_(module.bias, 0)
        elif isinstance(module, nn.LSTM):
            for name, param in module.named_parameters():
                if "weight" in name:
                    nn.init.xavier_uniform_(param)
                elif "bias" in name:
                    nn.init.constant_(param, 0.0)


class BrooksideCodecModel(BrooksidePreTrainedModel):
    def __init__(self, config: BrooksideCodecConfig):
        super().__init__(config)
        self.encoder = BrooksideEncoder(config)
        self.quantizer = ResidualVectorQuantizer(config)
        self.decoder = BrooksideDecoder(config)
        # self.semantic_head = nn.Linear(config.hidden_size, 768)   # distillation, only in training
        self.post_init()

    @property
    def hop_length(self):
        return self.config.hop_length

    def _check(self, x):
        if x.dim() == 2:
            x = x.unsqueeze(1)
        if x.shape[1] != 1:
            raise ValueError(f"mono waveforms are expected, not {x.shape[1]} channels")
        return x

    def encode(self, input_values, num_quantizers=None) -> torch.LongTensor:
        """[B, 1, T] or [B, T] -> codes [B, n_q, frames]"""
        z = self.encoder(self._check(input_values))
        return self.quantizer(z, num_quantizers)[1]

    def decode(self, audio_codes, length=None) -> torch.FloatTensor:
        audio = self.decoder(self.quantizer.decode(audio_codes))
        return audio if length is None else audio[..., :length]

    def forward(
        self,
        input_values: torch.FloatTensor,
        padding_mask: Optional[torch.Tensor] = None,
        num_quantizers: Optional[int] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, BrooksideOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        x = self._check(input_values)
        if padding_mask is not None:
            x = x * padding_mask.unsqueeze(1).to(x.dtype)
        z = self.encoder(x)
        q, codes, commit = self.quantizer(z, num_quantizers)
        audio = self.decoder(q)[..., : x.shape[-1]]
        loss = None
        if self.training:
            loss = F.l1_loss(audio, x) + self.multiscale_stft(audio, x) + commit
        if not return_dict:
            return tuple(v for v in (loss, audio, codes, q) if v is not None)
        return BrooksideOutput(loss=loss, audio_values=audio, audio_codes=codes, latents=q)

    @staticmethod
    def multiscale_stft(a, b, sizes=(64, 128, 256)):
        total = 0.0
        for n in sizes:
            w = torch.hann_window(n, device=a.device, dtype=a.dtype)
            sa, sb = (
                torch.stft(v.squeeze(1), n, n // 4, window=w, return_complex=True).abs().clamp_min(1e-5) for v in (a, b)
            )
            total = total + F.l1_loss(sa.log10(), sb.log10()) + F.l1_loss(sa, sb)
        return total / len(sizes)

    def apply_weight_norm(self):
        for m in self.modules():
            if isinstance(m, (CausalConv1d, CausalConvTranspose1d)):
                m.conv = weight_norm(m.conv)

    def remove_weight_norm(self):
        for m in self.modules():
            if isinstance(m, (CausalConv1d, CausalConvTranspose1d)):
                parametrize.remove_parametrizations(m.conv, "weight")

    @torch.no_grad()
    def codebook_usage(self):
        return [
            (m.cluster_size > 0.5).float().mean().item() for m in self.modules() if isinstance(m, EuclideanCodebook)
        ]

    def load_wave(self, path):
        if torchaudio is None:
            raise ImportError("load_wave needs torchaudio")
        wave, rate = torchaudio.load(path)
        if rate != self.config.sampling_rate:
            wave = torchaudio.functional.resample(wave, rate, self.config.sampling_rate)
        return wave.mean(0, keepdim=True).unsqueeze(0).to(self.device)
