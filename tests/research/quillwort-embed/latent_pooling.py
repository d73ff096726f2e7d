from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    m = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * m).sum(dim=1) / m.sum(dim=1).clamp(min=1e-9)


def last_token(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    left_padded = mask[:, -1].sum() == mask.shape[0]
    if left_padded:
        return hidden[:, -1]
    lengths = mask.sum(dim=1) - 1
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), lengths]


class PreNorm(nn.Module):
    def __init__(self, dim, fn, context_dim=None):
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(context_dim) if context_dim is not None else None

    def forward(self, x, **kwargs):
        x = self.norm(x)
        if self.norm_context is not None:
            kwargs["context"] = self.norm_context(kwargs["context"])
        return self.fn(x, **kwargs)


class GEGLU(nn.Module):
    def forward(self, x):
        x, gates = x.chunk(2, dim=-1)
        return x * F.gelu(gates)


class FeedForward(nn.Module):
    def __init__(self, dim, mult=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, dim * mult * 2), GEGLU(), nn.Linear(dim * mult, dim))

    def forward(self, x):
        return self.net(x)


class CrossAttention(nn.Module):
    def __init__(self, query_dim, context_dim=None, heads=8, dim_head=64):
        super().__init__()
        inner = dim_head * heads
        context_dim = context_dim or query_dim
        self.heads = heads
        self.to_q = nn.Linear(query_dim, inner, bias=False)
        self.to_kv = nn.Linear(context_dim, inner * 2, bias=False)
        self.to_out = nn.Linear(inner, query_dim, bias=False)

    def _split(self, t):
        b, n, _ = t.shape
        return t.view(b, n, self.heads, -1).transpose(1, 2)

    def forward(self, x, context: Optional[torch.Tensor] = None):
        q = self._split(self.to_q(x))
        k, v = self.to_kv(context if context is not None else x).chunk(2, dim=-1)
        out = F.scaled_dot_product_attention(q, self._split(k), self._split(v))
        b, h, n, d = out.shape
        return self.to_out(out.transpose(1, 2).reshape(b, n, h * d))


class LatentPooler(nn.Module):
    """Tokens are queries, a trained dictionary of latents gives keys and values; then a masked mean."""

    def __init__(self, config):
        super().__init__()
        dim = config.hidden_size
        self.output_normalize = config.output_normalize
        self.cross_attend_blocks = nn.ModuleList(
            [
                PreNorm(
                    dim,
                    CrossAttention(dim, dim, heads=config.cross_heads, dim_head=config.cross_dim_head),
                    context_dim=dim,
                ),
                PreNorm(dim, FeedForward(dim, mult=config.mult)),
            ]
        )
        self.latents = nn.Parameter(torch.randn(config.num_latents, dim))

    def forward(self, hiddens, attention_mask: Optional[torch.Tensor] = None):
        attn, ff = self.cross_attend_blocks
        b = hiddens.shape[0]
        latents = self.latents.unsqueeze(0).expand(b, -1, -1)
        hiddens = attn(hiddens, context=latents) + hiddens
        hiddens = ff(hiddens) + hiddens
        if attention_mask is None:
            return hiddens
        pooled = masked_mean(hiddens, attention_mask)
        if self.output_normalize:
            pooled = F.normalize(pooled, p=2, dim=-1)
        return pooled
