import torch
from torch import nn
import torch.nn.functional as F


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.h, c // self.h).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class LanternViT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.patch = nn.Conv2d(config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.side = config.image_size // config.patch_size
        self.pos_embed = nn.Parameter(torch.zeros(1, self.side**2, config.hidden_size))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def interpolate(self, h, w):
        if (h, w) == (self.side, self.side):
            return self.pos_embed
        p = self.pos_embed.view(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        p = F.interpolate(p.float(), size=(h, w), mode="bicubic", antialias=True, align_corners=False).to(self.pos_embed.dtype)
        return p.flatten(2).transpose(1, 2)

    def forward(self, pixel_values):
        x = self.patch(pixel_values)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2) + self.interpolate(h, w)
        for blk in self.blocks:
            x = blk(x)
        return self.norm(x), (h, w)
