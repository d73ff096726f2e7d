from collections import OrderedDict
from typing import Callable, Optional

import torch
from torch import nn
import torch.nn.functional as F


class LayerNormFp32(nn.LayerNorm):
    """Subclass torch's LayerNorm to handle fp16 (by casting to float32 and back)."""

    def forward(self, x: torch.Tensor):
        orig_type = x.dtype
        x = F.layer_norm(x.to(torch.float32), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.to(orig_type)


class QuickGELU(nn.Module):
    # NOTE This is slower than nn.GELU or nn.SiLU and uses more GPU memory
    def forward(self, x: torch.Tensor):
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, d_model: int, n_head: int, mlp_ratio: float = 4.0, act_layer: Callable = QuickGELU):
        super().__init__()
        self.ln_1 = LayerNormFp32(d_model)
        self.attn = nn.MultiheadAttention(d_model, n_head, batch_first=True)
        self.ln_2 = LayerNormFp32(d_model)
        mlp_width = int(d_model * mlp_ratio)
        self.mlp = nn.Sequential(OrderedDict([
            ("c_fc", nn.Linear(d_model, mlp_width)),
            ("gelu", act_layer()),
            ("c_proj", nn.Linear(mlp_width, d_model)),
        ]))

    def forward(self, x, attn_mask=None):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads):
        super().__init__()
        self.width = width
        self.layers = layers
        self.grad_checkpointing = False
        self.resblocks = nn.ModuleList([ResidualAttentionBlock(width, heads) for _ in range(layers)])

    def forward(self, x, attn_mask=None):
        for r in self.resblocks:
            if self.grad_checkpointing and not torch.jit.is_scripting():
                x = torch.utils.checkpoint.checkpoint(r, x, attn_mask, use_reentrant=False)
            else:
                x = r(x, attn_mask)
        return x


class TextTower(nn.Module):
    def __init__(self, cfg, output_dim):
        super().__init__()
        self.context_length = cfg.context_length
        self.eot = cfg.eot_token_id
        self.token_embedding = nn.Embedding(cfg.vocab_size, cfg.width)
        self.positional_embedding = nn.Parameter(torch.empty(cfg.context_length, cfg.width))
        self.transformer = Transformer(cfg.width, cfg.layers, cfg.heads)
        self.ln_final = LayerNormFp32(cfg.width)
        self.text_projection = nn.Parameter(torch.empty(cfg.width, output_dim))
        self.init_parameters()

    def init_parameters(self):
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=self.transformer.width**-0.5)

    def build_attention_mask(self, n, device):
        # lazily create causal attention mask, pytorch uses additive attention mask; fill with -inf
        mask = torch.empty(n, n, device=device)
        mask.fill_(float("-inf"))
        mask.triu_(1)
        return mask

    def forward(self, text):
        n = text.shape[1]
        x = self.token_embedding(text) + self.positional_embedding[:n]
        x = self.ln_final(self.transformer(x, self.build_attention_mask(n, x.device).to(x.dtype)))
        # take features from the eot embedding
        at = (text == self.eot).int().argmax(dim=-1)
        return x[torch.arange(x.shape[0], device=x.device), at] @ self.text_projection


class VisionTower(nn.Module):
    def __init__(self, cfg, output_dim):
        super().__init__()
        self.pool = cfg.pool
        self.conv1 = nn.Conv2d(3, cfg.width, cfg.patch_size, stride=cfg.patch_size, bias=False)
        scale = cfg.width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(cfg.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn((cfg.image_size // cfg.patch_size) ** 2 + 1, cfg.width))
        self.ln_pre = LayerNormFp32(cfg.width)
        self.transformer = Transformer(cfg.width, cfg.layers, cfg.heads)
        self.ln_post = LayerNormFp32(cfg.width)
        self.proj = nn.Parameter(scale * torch.randn(cfg.width, output_dim))

    def lock(self):
        for p in self.parameters():
            p.requires_grad = False

    def forward(self, x):
        x = self.conv1(x).flatten(2).permute(0, 2, 1)
        cls = self.class_embedding.view(1, 1, -1).expand(x.shape[0], -1, -1)
        x = self.ln_pre(torch.cat([cls.to(x.dtype), x], dim=1) + self.positional_embedding.to(x.dtype))
        x = self.transformer(x)
        x = x[:, 0] if self.pool == "tok" else x[:, 1:].mean(1)
        return self.ln_post(x) @ self.proj
