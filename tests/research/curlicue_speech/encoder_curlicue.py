import math
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn


class FeedForwardModule(nn.Module):
    def __init__(self, dim, mult=4, dropout=0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, dim * mult)
        self.down = nn.Linear(dim * mult, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.down(self.dropout(F.silu(self.up(self.norm(x)))))


class ConvolutionModule(nn.Module):
    def __init__(self, dim, kernel):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.pointwise1 = nn.Conv1d(dim, 2 * dim, 1)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.group_norm = nn.GroupNorm(1, dim)
        self.pointwise2 = nn.Conv1d(dim, dim, 1)

    def forward(self, x):
        x = self.norm(x).transpose(1, 2)
        x = F.glu(self.pointwise1(x), dim=1)
        x = F.silu(self.group_norm(self.depthwise(x)))
        return self.pointwise2(x).transpose(1, 2)


class SelfAttentionModule(nn.Module):
    def __init__(self, dim, heads, max_frames):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.max_frames = max_frames
        self.relative = nn.Embedding(2 * max_frames - 1, heads)

    def forward(self, x, mask: Optional[torch.Tensor] = None):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        place = torch.arange(t, device=x.device)
        bias = self.relative(place[None, :] - place[:, None] + self.max_frames - 1).permute(2, 0, 1)[None]
        scores = q @ k.transpose(-1, -2) / math.sqrt(c // self.heads) + bias
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c))


class ConformerBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim = config.hidden_size
        self.ff1 = FeedForwardModule(dim, dropout=config.dropout)
        self.attn = SelfAttentionModule(dim, config.num_attention_heads, config.max_frames)
        self.conv = ConvolutionModule(dim, config.conv_kernel)
        self.ff2 = FeedForwardModule(dim, dropout=config.dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x, mask=None):
        x = x + 0.5 * self.ff1(x)
        x = x + self.attn(x, mask)
        x = x + self.conv(x)
        return self.norm(x + 0.5 * self.ff2(x))


class StackProjector(nn.Module):
    """Puts some frames together and takes them to the width of the text."""

    def __init__(self, stack, dim_in, dim_out):
        super().__init__()
        self.stack = stack
        self.linear_1 = nn.Linear(dim_in * stack, dim_out)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(dim_out, dim_out)

    def forward(self, x):
        b, t, c = x.shape
        t = t - t % self.stack
        x = x[:, :t].reshape(b, t // self.stack, c * self.stack)
        return self.linear_2(self.act(self.linear_1(x)))
