from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn


def blocks(x: torch.Tensor, size: int) -> torch.Tensor:
    """(b, h, t, d) -> (b, h, n, size, d), t a multiple of size."""
    b, h, t, d = x.shape
    return x.view(b, h, t // size, size, d)


def with_neighbours(x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    """(b, h, n, s, d) -> (b, h, n, 3 s, d): the block before, itself, the one after."""
    padded = F.pad(x, (0, 0, 0, 0, 1, 1), value=value)
    return torch.cat([padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]], dim=3)


class BlockLocalAttention(nn.Module):
    """Takes the place of BartAttention in the encoder. Global tokens see and are seen by all."""

    def __init__(self, embed_dim, num_heads, block, global_tokens, dropout=0.0):
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.block, self.global_tokens = block, global_tokens
        self.dropout = dropout
        self.scaling = self.head_dim**-0.5
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def _shape(self, x):
        b, t, _ = x.shape
        return x.view(b, t, self.num_heads, self.head_dim).transpose(1, 2)

    def attend(self, q, k, v, bias):
        weights = torch.softmax(q @ k.transpose(-1, -2) + bias, dim=-1)
        return F.dropout(weights, p=self.dropout, training=self.training) @ v

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: Optional[torch.Tensor] = None,
        layer_head_mask: Optional[torch.Tensor] = None,
        output_attentions: bool = False,
        **kwargs,
    ) -> Tuple[torch.Tensor, None, None]:
        b, t, _ = hidden_states.shape
        g, s = self.global_tokens, self.block
        lowest = torch.finfo(hidden_states.dtype).min / 2
        bias = hidden_states.new_zeros(b, 1, 1, t)
        if attention_mask is not None:
            bias = attention_mask[:, :, :1, :].clamp(min=lowest)

        q = self._shape(self.q_proj(hidden_states) * self.scaling)
        k, v = self._shape(self.k_proj(hidden_states)), self._shape(self.v_proj(hidden_states))
        y_global = self.attend(q[:, :, :g], k, v, bias)

        rest = t - g
        pad = -rest % s
        q_, k_, v_ = (F.pad(x[:, :, g:], (0, 0, 0, pad)) for x in (q, k, v))
        local_bias = F.pad(bias[..., g:], (0, pad), value=lowest)
        q_ = blocks(q_, s)
        k_, v_ = with_neighbours(blocks(k_, s)), with_neighbours(blocks(v_, s))
        local_bias = with_neighbours(blocks(local_bias.transpose(-1, -2), s), value=lowest).transpose(-1, -2)
        n = q_.shape[2]
        k_global = k[:, :, None, :g].expand(-1, -1, n, -1, -1)
        v_global = v[:, :, None, :g].expand(-1, -1, n, -1, -1)
        both = torch.cat([bias[:, :, None, :, :g].expand(-1, -1, n, -1, -1), local_bias], dim=-1)
        y = self.attend(q_, torch.cat([k_global, k_], 3), torch.cat([v_global, v_], 3), both)
        y = y.reshape(b, self.num_heads, n * s, self.head_dim)[:, :, :rest]
        y = torch.cat([y_global, y], dim=2)
        if layer_head_mask is not None:
            y = y * layer_head_mask.view(1, -1, 1, 1)
        return self.out_proj(y.transpose(1, 2).reshape(b, t, self.embed_dim)), None, None
