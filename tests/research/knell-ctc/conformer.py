import math
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn


class ConvSubsampling(nn.Module):
    """Two strided 3x3 convolutions, a quarter of the frames remain."""

    def __init__(self, feat_dim, channels, d_model):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
        )
        self.out = nn.Linear(channels * self.out_len(feat_dim), d_model)

    @staticmethod
    def out_len(n):
        for _ in range(2):
            n = (n - 1) // 2 + 1
        return n

    def forward(self, x, lengths):
        x = self.conv(x.unsqueeze(1))
        b, c, t, f = x.shape
        return self.out(x.transpose(1, 2).reshape(b, t, c * f)), self.out_len(lengths)


class RelPositionalEncoding(nn.Module):
    def __init__(self, d_model, xscale=True):
        super().__init__()
        self.d_model = d_model
        self.xscale = math.sqrt(d_model) if xscale else None
        self.pe = None

    def extend_pe(self, x):
        need = 2 * x.size(1) - 1
        if self.pe is not None and self.pe.size(1) >= need:
            if self.pe.dtype != x.dtype or self.pe.device != x.device:
                self.pe = self.pe.to(dtype=x.dtype, device=x.device)
            return
        pos = torch.arange(x.size(1) - 1, -x.size(1), -1, dtype=torch.float32, device=x.device).unsqueeze(1)
        div = torch.exp(
            torch.arange(0, self.d_model, 2, dtype=torch.float32, device=x.device) * -(math.log(10000.0) / self.d_model)
        )
        pe = torch.zeros(need, self.d_model, device=x.device)
        pe[:, 0::2] = torch.sin(pos * div)
        pe[:, 1::2] = torch.cos(pos * div)
        self.pe = pe.unsqueeze(0).to(x.dtype)

    def forward(self, x):
        self.extend_pe(x)
        if self.xscale:
            x = x * self.xscale
        center = self.pe.size(1) // 2 + 1
        return x, self.pe[:, center - x.size(1) : center + x.size(1) - 1]


class RelPositionAttention(nn.Module):
    def __init__(self, d_model, heads, dropout):
        super().__init__()
        self.h = heads
        self.d_k = d_model // heads
        self.linear_q = nn.Linear(d_model, d_model)
        self.linear_k = nn.Linear(d_model, d_model)
        self.linear_v = nn.Linear(d_model, d_model)
        self.linear_out = nn.Linear(d_model, d_model)
        self.linear_pos = nn.Linear(d_model, d_model, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(heads, self.d_k))
        self.pos_bias_v = nn.Parameter(torch.zeros(heads, self.d_k))
        self.dropout = nn.Dropout(dropout)

    def rel_shift(self, x):
        b, h, q, p = x.shape
        x = F.pad(x, (1, 0)).view(b, h, p + 1, q)
        return x[:, :, 1:].view(b, h, q, p)[..., : p // 2 + 1]

    def forward(self, x, pos_emb, mask: Optional[torch.Tensor] = None):
        b, t, c = x.shape
        q = self.linear_q(x).view(b, t, self.h, self.d_k)
        k = self.linear_k(x).view(b, t, self.h, self.d_k).transpose(1, 2)
        v = self.linear_v(x).view(b, t, self.h, self.d_k).transpose(1, 2)
        p = self.linear_pos(pos_emb).view(1, -1, self.h, self.d_k).transpose(1, 2)
        ac = torch.matmul((q + self.pos_bias_u).transpose(1, 2), k.transpose(-2, -1))
        bd = self.rel_shift(torch.matmul((q + self.pos_bias_v).transpose(1, 2), p.transpose(-2, -1)))
        scores = (ac + bd) / math.sqrt(self.d_k)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], -10000.0)
        attn = torch.softmax(scores, dim=-1)
        if mask is not None:
            attn = attn.masked_fill(~mask[:, None, None, :], 0.0)
        out = torch.matmul(self.dropout(attn), v).transpose(1, 2).reshape(b, t, c)
        return self.linear_out(out), attn


class ConformerConvolution(nn.Module):
    def __init__(self, d_model, kernel_size):
        super().__init__()
        assert (kernel_size - 1) % 2 == 0
        self.pointwise_conv1 = nn.Conv1d(d_model, 2 * d_model, 1)
        self.depthwise_conv = nn.Conv1d(d_model, d_model, kernel_size, padding=(kernel_size - 1) // 2, groups=d_model)
        self.batch_norm = nn.BatchNorm1d(d_model)
        self.pointwise_conv2 = nn.Conv1d(d_model, d_model, 1)

    def forward(self, x, mask=None):
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)
        if mask is not None:
            x = x.masked_fill(~mask[:, None, :], 0.0)
        x = F.silu(self.batch_norm(self.depthwise_conv(x)))
        return self.pointwise_conv2(x).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, d_model, d_ff, dropout):
        super().__init__()
        self.linear1 = nn.Linear(d_model, d_ff)
        self.linear2 = nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.linear2(self.dropout(F.silu(self.linear1(x))))


class ConformerLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d_model
        self.fc_factor = 0.5
        self.norm_feed_forward1 = nn.LayerNorm(d)
        self.feed_forward1 = FeedForward(d, config.ffn_dim, config.dropout)
        self.norm_self_att = nn.LayerNorm(d)
        self.self_attn = RelPositionAttention(d, config.num_attention_heads, config.attention_dropout)
        self.norm_conv = nn.LayerNorm(d)
        self.conv = ConformerConvolution(d, config.conv_kernel_size)
        self.norm_feed_forward2 = nn.LayerNorm(d)
        self.feed_forward2 = FeedForward(d, config.ffn_dim, config.dropout)
        self.norm_out = nn.LayerNorm(d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, pos_emb, mask=None):
        x = x + self.dropout(self.feed_forward1(self.norm_feed_forward1(x))) * self.fc_factor
        att, weights = self.self_attn(self.norm_self_att(x), pos_emb, mask)
        x = x + self.dropout(att)
        x = x + self.dropout(self.conv(self.norm_conv(x), mask))
        x = x + self.dropout(self.feed_forward2(self.norm_feed_forward2(x))) * self.fc_factor
        return self.norm_out(x), weights
