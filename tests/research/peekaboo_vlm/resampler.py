import torch
from torch import nn


class PatchEncoder(nn.Module):
    """small ViT over nn.TransformerEncoderLayer"""

    def __init__(self, width, layers, heads, image_size, patch_size):
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        n = (image_size // patch_size) ** 2 + 1
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(n, width))
        self.ln_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True) for _ in range(layers)]
        )
        self.ln_post = nn.LayerNorm(width)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        cls = self.class_embedding.to(x.dtype) + torch.zeros(x.shape[0], 1, x.shape[-1], dtype=x.dtype, device=x.device)
        x = self.ln_pre(torch.cat([cls, x], dim=1) + self.positional_embedding.to(x.dtype))
        for b in self.blocks:
            x = b(x)
        return self.ln_post(x)


class QueryResampler(nn.Module):
    """Learned queries look at the patches (one cross attention layer was enough)."""

    def __init__(self, n_queries, width, out_width):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(n_queries, width) * 0.02)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.ln_q = nn.LayerNorm(width)
        self.ln_kv = nn.LayerNorm(width)
        self.proj = nn.Linear(width, out_width)

    def forward(self, patches):
        q = self.ln_q(self.queries).unsqueeze(0).expand(patches.shape[0], -1, -1)
        kv = self.ln_kv(patches)
        out, _ = self.attn(q, kv, kv, need_weights=False)
        return self.proj(out)
