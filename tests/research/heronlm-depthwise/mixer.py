"""Causal depthwise mixing of neighbouring tokens."""
from typing import Dict, Optional

import torch
import torch.nn.functional as F
from torch import nn

try:
    from causal_conv1d import causal_conv1d_fn
except ImportError:
    causal_conv1d_fn = None


class MixerState:
    """The last width - 1 inputs of every layer, so that one token can be mixed with those before it."""

    def __init__(self, width: int):
        self.width = width
        self.tails: Dict[int, torch.Tensor] = {}

    def push(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        tail = self.tails.get(layer)
        if tail is None or tail.shape[0] != x.shape[0]:
            tail = x.new_zeros(x.shape[0], self.width - 1, x.shape[-1])
        joined = torch.cat([tail.to(x.dtype), x], dim=1)
        self.tails[layer] = joined[:, -(self.width - 1):].detach()
        return joined

    def reorder(self, beam_idx):
        self.tails = {layer: tail.index_select(0, beam_idx.to(tail.device)) for layer, tail in self.tails.items()}


class TokenMixer(nn.Module):
    def __init__(self, hidden_size: int, width: int, gated: bool, gate_bias: float, dropout: float = 0.0):
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.zeros(hidden_size, width))
        with torch.no_grad():
            self.weight[:, -1] = 1.0
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.gate = nn.Linear(hidden_size, hidden_size) if gated else None
        if gated:
            nn.init.zeros_(self.gate.weight)
            nn.init.constant_(self.gate.bias, gate_bias)
        self.dropout = nn.Dropout(dropout)

    def reset(self):
        self.weight.data.zero_()
        self.weight.data[:, -1] = 1.0
        self.bias.data.zero_()

    def forward(self, x: torch.Tensor, state: Optional[MixerState] = None, layer_idx: int = 0):
        if state is not None:
            joined = state.push(layer_idx, x)
        else:
            joined = F.pad(x, (0, 0, self.width - 1, 0))
        if causal_conv1d_fn is not None and x.is_cuda and state is None:
            mixed = causal_conv1d_fn(x.transpose(1, 2), self.weight, self.bias).transpose(1, 2)
        else:
            windows = joined.unfold(1, self.width, 1)
            mixed = (windows * self.weight).sum(-1) + self.bias
        if self.gate is not None:
            mixed = mixed * torch.sigmoid(self.gate(x))
        return self.dropout(mixed)
