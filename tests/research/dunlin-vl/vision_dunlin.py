from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN


class DunlinVisionEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size
        )
        self.num_patches = (config.image_size // config.patch_size) ** 2
        self.position_embedding = nn.Embedding(self.num_patches, config.hidden_size)
        self.register_buffer("position_ids", torch.arange(self.num_patches).expand((1, -1)), persistent=False)

    def forward(self, pixel_values):
        x = self.patch_embedding(pixel_values.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        return x + self.position_embedding(self.position_ids)


class DunlinVisionAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (p(x).view(b, n, self.num_heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).reshape(b, n, c))


class DunlinVisionLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = DunlinVisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.fc2(self.act(self.fc1(self.layer_norm2(x))))


class DunlinVisionTower(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embeddings = DunlinVisionEmbeddings(config)
        self.layers = nn.ModuleList([DunlinVisionLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values, select_layer: int = -1):
        x = self.embeddings(pixel_values)
        states = [x]
        for layer in self.layers:
            x = layer(x)
            states.append(x)
        if select_layer == -1:
            return self.post_layernorm(x)
        return states[select_layer]


class DunlinProjector(nn.Module):
    """Space to depth, then a two-layer MLP into the text width."""

    def __init__(self, vision_dim, text_dim, ratio, act):
        super().__init__()
        self.ratio = ratio
        self.norm = nn.LayerNorm(vision_dim * ratio**2)
        self.linear_1 = nn.Linear(vision_dim * ratio**2, text_dim)
        self.act = ACT2FN[act]
        self.linear_2 = nn.Linear(text_dim, text_dim)

    def unshuffle(self, x):
        b, n, c = x.shape
        side = int(n**0.5)
        r = self.ratio
        x = x.view(b, side // r, r, side // r, r, c).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(b, (side // r) ** 2, c * r * r)

    def forward(self, x, mask: Optional[torch.Tensor] = None):
        return self.linear_2(self.act(self.linear_1(self.norm(self.unshuffle(x)))))
