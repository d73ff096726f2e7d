import torch
from torch import Tensor, nn
import torch.nn.functional as F


def mean_pooling(h: Tensor, mask: Tensor) -> Tensor:
    m = mask.unsqueeze(-1).to(h.dtype)
    return (h * m).sum(1) / m.sum(1).clamp(min=1e-9)


def weighted_mean_pooling(h: Tensor, mask: Tensor) -> Tensor:
    """SGPT style, later tokens count more"""
    w = torch.arange(1, h.shape[1] + 1, device=h.device, dtype=h.dtype)[None, :, None]
    m = mask.unsqueeze(-1).to(h.dtype) * w
    return (h * m).sum(1) / m.sum(1).clamp(min=1e-9)


def last_token_pool(h: Tensor, mask: Tensor) -> Tensor:
    left_padding = mask[:, -1].sum() == mask.shape[0]
    if left_padding:
        return h[:, -1]
    lengths = mask.sum(dim=1) - 1
    return h[torch.arange(h.shape[0], device=h.device), lengths]


class LatentPooler(nn.Module):
    """not used in the released checkpoint"""

    def __init__(self, dim, n_latents=32, heads=4):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(n_latents, dim))
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, h, mask):
        kv = self.latents[None].expand(h.shape[0], -1, -1)
        y, _ = self.attn(h, kv, kv)
        return mean_pooling(y + self.ff(y), mask)


POOLERS = {"mean": mean_pooling, "weightedmean": weighted_mean_pooling, "eos_token": last_token_pool}
