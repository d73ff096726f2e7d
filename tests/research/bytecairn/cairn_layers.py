import math
import torch
from torch import nn
import torch.nn.functional as F


class RelBias(nn.Module):
    """log bucketed, causal only"""

    def __init__(self, heads, buckets=16, max_distance=64):
        super().__init__()
        self.buckets, self.max_distance = buckets, max_distance
        self.table = nn.Embedding(buckets, heads)

    def bucket(self, n):
        d = -torch.clamp(n, max=0)
        exact = self.buckets // 2
        large = exact + (torch.log(d.float().clamp(min=1) / exact) / math.log(self.max_distance / exact)
                         * (self.buckets - exact)).long()
        return torch.where(d < exact, d, large.clamp(exact, self.buckets - 1))

    def forward(self, q, k, device):
        n = torch.arange(k, device=device)[None, :] - torch.arange(q, device=device)[:, None]
        return self.table(self.bucket(n)).permute(2, 0, 1)


class Block(nn.Module):
    def __init__(self, dim, heads, mult, dropout):
        super().__init__()
        self.heads = heads
        self.n1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.n2 = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, mult * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(mult * dim, dim))
        self.layer_scale = nn.Parameter(torch.ones(2, dim) * 0.5)

    def forward(self, x, mask, bias):
        b, t, _ = x.shape
        m = bias.masked_fill(mask[:t, :t], float("-inf"))
        m = m[None].expand(b, -1, -1, -1).reshape(b * self.heads, t, t)
        h = self.n1(x)
        a, _ = self.attn(h, h, h, attn_mask=m, need_weights=False)
        x = x + a * self.layer_scale[0]
        return x + self.ff(self.n2(x)) * self.layer_scale[1]


class Stack(nn.Module):
    def __init__(self, dim, depth, heads, mult, max_len, dropout=0.0, final_norm=True):
        super().__init__()
        self.blocks = nn.ModuleList([Block(dim, heads, mult, dropout) for _ in range(depth)])
        self.rel = RelBias(heads)
        self.norm = nn.LayerNorm(dim) if final_norm else nn.Identity()
        self.register_buffer("mask", torch.ones(max_len, max_len, dtype=torch.bool).triu(1))

    def forward(self, x):
        bias = self.rel(x.shape[1], x.shape[1], x.device).to(x.dtype)
        for blk in self.blocks:
            x = blk(x, self.mask, bias)
        return self.norm(x)
