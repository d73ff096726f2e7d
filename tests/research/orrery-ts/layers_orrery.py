import math

import torch
import torch.nn.functional as F
from torch import nn


class InstanceScaler(nn.Module):
    """Mean and deviation of each series, of what was observed."""

    def __init__(self, floor):
        super().__init__()
        self.floor = floor

    def statistics(self, x, observed):
        weight = observed.to(x.dtype)
        count = weight.sum(-1, keepdim=True).clamp(min=1)
        mean = (x * weight).sum(-1, keepdim=True) / count
        var = ((x - mean) ** 2 * weight).sum(-1, keepdim=True) / count
        return mean, var.sqrt().clamp(min=self.floor)


class ResidualBlock(nn.Module):
    def __init__(self, input_dims, hidden_dims, output_dims):
        super().__init__()
        self.input_layer = nn.Linear(input_dims, hidden_dims)
        self.activation = nn.SiLU()
        self.output_layer = nn.Linear(hidden_dims, output_dims)
        self.residual_layer = nn.Linear(input_dims, output_dims)

    def forward(self, x):
        return self.output_layer(self.activation(self.input_layer(x))) + self.residual_layer(x)


class PatchPositions(nn.Module):
    """Sines and cosines made for the length that is asked, never stored."""

    def __init__(self, dims, min_timescale=1, max_timescale=10_000):
        super().__init__()
        self.dims = dims
        self.min_timescale = min_timescale
        self.max_timescale = max_timescale

    def forward(self, length, device, dtype):
        position = torch.arange(length, dtype=torch.float32, device=device)
        steps = self.dims // 2
        increment = math.log(self.max_timescale / self.min_timescale) / max(steps - 1, 1)
        inv = self.min_timescale * torch.exp(torch.arange(steps, dtype=torch.float32, device=device) * -increment)
        scaled = position[:, None] * inv[None]
        return torch.cat([scaled.sin(), scaled.cos()], dim=1).to(dtype)


class PerDimScale(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(dims))

    def forward(self, q):
        return q * (1.442695041 / math.sqrt(q.shape[-1]) * F.softplus(self.scale))


class OrreryAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.per_dim = PerDimScale(config.hidden_size // self.heads)

    def forward(self, x, mask):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(self.per_dim(q), k, v, attn_mask=mask, scale=1.0)
        return self.out(out.transpose(1, 2).reshape(b, t, c))


class OrreryLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = nn.RMSNorm(config.hidden_size, eps=1e-6)
        self.attn = OrreryAttention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.gate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x, mask):
        x = x + self.attn(self.norm1(x), mask)
        return x + self.down(F.relu(self.gate(self.norm2(x))))
