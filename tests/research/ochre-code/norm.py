import torch
from torch import nn


class LPLayerNorm(nn.LayerNorm):
    """LayerNorm that computes in the dtype of its input."""

    def __init__(self, normalized_shape, eps=1e-5, bias=True):
        super().__init__(normalized_shape, eps=eps, bias=bias)

    def forward(self, x):
        weight = self.weight.to(x.dtype) if self.weight is not None else None
        bias = self.bias.to(x.dtype) if self.bias is not None else None
        return torch.nn.functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
