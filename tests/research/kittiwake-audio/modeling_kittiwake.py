"""Kittiwake: sounds of birds by frame and by clip."""
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from .configuration_kittiwake import KittiwakeConfig
from .frontend import LogMel


@dataclass
class TaggingOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None
    frame_logits: Optional[torch.FloatTensor] = None
    pooling_weights: Optional[torch.FloatTensor] = None


class ConvStem(nn.Module):
    def __init__(self, config):
        super().__init__()
        k = config.conv_kernel
        self.depth = nn.Conv1d(config.num_mel_bins, config.num_mel_bins, k, padding=k // 2, groups=config.num_mel_bins)
        self.point = weight_norm(nn.Conv1d(config.num_mel_bins, config.hidden_size, 1))

    def forward(self, mel):
        x = F.gelu(self.depth(mel.transpose(1, 2)))
        return self.point(x).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim = config.hidden_size
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, config.num_attention_heads, dropout=config.dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(self, x, padding=None):
        y = self.norm1(x)
        x = x + self.attn(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class AttentivePooling(nn.Module):
    def __init__(self, dim, labels):
        super().__init__()
        self.score = nn.Linear(dim, labels)
        self.classify = nn.Linear(dim, labels)

    def forward(self, x, padding=None):
        score = self.score(x)
        if padding is not None:
            score = score.masked_fill(padding[:, :, None], -1e4)
        weights = score.softmax(dim=1)
        frame = self.classify(x)
        return (weights * frame).sum(1), frame, weights


class KittiwakePreTrainedModel(PreTrainedModel):
    config_class = KittiwakeConfig
    base_model_prefix = "kittiwake"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class KittiwakeForAudioClassification(KittiwakePreTrainedModel):
    def __init__(self, config: KittiwakeConfig):
        super().__init__(config)
        self.frontend = LogMel(config)
        self.stem = ConvStem(config)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(config.hidden_size)
        self.pool = AttentivePooling(config.hidden_size, len(config.labels))
        self.gradient_checkpointing = False
        self.post_init()

    def _frame_padding(self, attention_mask, frames):
        if attention_mask is None:
            return None
        lengths = attention_mask.sum(-1) // self.config.hop_length + 1
        return torch.arange(frames, device=lengths.device)[None] >= lengths[:, None]

    def forward(self, input_values, attention_mask=None, labels=None, return_dict=True, **kwargs):
        x = self.stem(self.frontend(input_values).to(self.config.precision))
        padding = self._frame_padding(attention_mask, x.shape[1])
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(block.__call__, x, padding)
            else:
                x = block(x, padding)
        logits, frames, weights = self.pool(self.norm(x), padding)
        loss = None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(logits, labels.float())
        if not return_dict:
            return (loss, logits) if loss is not None else (logits,)
        return TaggingOutput(loss=loss, logits=logits, frame_logits=frames, pooling_weights=weights)

    @torch.no_grad()
    def tag(self, wave: torch.Tensor, threshold: float = 0.5, window_seconds: float = 5.0):
        """Labels by window of a long recording: [(start, end, label, probability)]."""
        size = int(window_seconds * self.config.sampling_rate)
        rows = []
        for start in range(0, wave.shape[-1], size):
            piece = wave[..., start : start + size]
            if piece.shape[-1] < self.config.n_fft:
                continue
            for name, p in zip(self.config.labels, self(piece.reshape(1, -1)).logits.sigmoid()[0].tolist()):
                if p >= threshold:
                    rate = self.config.sampling_rate
                    rows.append((start / rate, (start + piece.shape[-1]) / rate, name, p))
        return rows
