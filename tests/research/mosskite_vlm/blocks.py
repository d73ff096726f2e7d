import math

import torch
from torch import nn
import torch.nn.functional as F


def alibi_slopes(n):
    start = 2 ** (-(2 ** -(math.log2(n) - 3)))
    return [start ** (i + 1) for i in range(n)]


class CausalAttention(nn.Module):
    """ALiBi causal attention; bias is recomputed, it is cheap"""

    def __init__(self, dim, heads, layer_idx):
        super().__init__()
        self.h, self.d, self.layer_idx = heads, dim // heads, layer_idx
        self.slopes = alibi_slopes(heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x, keep=None, cache=None):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.h, self.d).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.update(k, v, self.layer_idx)
        m = k.shape[2]
        cols = torch.arange(m, device=x.device)
        rows = torch.arange(m - n, m, device=x.device)
        dist = cols[None] - rows[:, None]
        slopes = torch.tensor(self.slopes, device=x.device, dtype=x.dtype).view(1, -1, 1, 1)
        bias = slopes * dist.to(x.dtype)
        bias = bias.masked_fill(dist > 0, float("-inf"))
        if keep is not None:
            bias = bias.masked_fill(keep[:, None, None, :m] == 0, torch.finfo(x.dtype).min)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.out(o.transpose(1, 2).reshape(b, n, c))


class CrossAttention(nn.Module):
    def __init__(self, dim, kv_dim, heads):
        super().__init__()
        self.h, self.d = heads, dim // heads
        self.norm = nn.LayerNorm(dim)
        self.q = nn.Linear(dim, dim, bias=False)
        self.kv = nn.Linear(kv_dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Parameter(torch.full((1,), 0.1))

    def forward(self, x, media):
        b, n, c = x.shape
        q = self.q(self.norm(x)).view(b, n, self.h, self.d).transpose(1, 2)
        k, v = self.kv(media).view(b, -1, 2, self.h, self.d).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        return x + torch.tanh(self.gate) * self.out(o)


class FeedForward(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.w1 = nn.Linear(dim, hidden)
        self.w2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return x + self.w2(F.relu(self.w1(self.norm(x))).square())


class VisionEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.stem = nn.Conv2d(3, c.dim, c.patch, stride=c.patch)
        self.pos = nn.Parameter(torch.randn(1, (c.image // c.patch) ** 2, c.dim) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(c.dim, c.n_heads, 4 * c.dim, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(c.n_layers)
        )
        self.norm = nn.LayerNorm(c.dim)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2) + self.pos
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)
