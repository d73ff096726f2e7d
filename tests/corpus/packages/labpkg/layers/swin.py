# Copyright 2026 the authors. Licensed under the Apache License, Version 2.0.
"""Swin-like."""
from torch import nn
from .registry import register_layer
from labpkg.layers import norms as N


@register_layer("swin")
class SwinLayer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = N.RMSNorm(dim)
        self.lin = nn.Linear(dim, dim)

    def forward(self, x):
        return x + self.lin(self.norm(x))
