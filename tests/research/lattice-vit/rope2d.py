"""Rotary positions over rows and columns."""
import torch
from torch import nn


def axial_angles(dim: int, side: int, base: float) -> torch.Tensor:
    """(side * side, dim // 2): the first half turns with the row, the second with the column."""
    quarter = dim // 4
    freqs = base ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    place = (torch.arange(side, dtype=torch.float32) + 0.5) / side * 2 - 1
    angles = place[:, None] * freqs[None, :] * torch.pi
    rows = angles[:, None, :].expand(side, side, quarter)
    columns = angles[None, :, :].expand(side, side, quarter)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, dim // 2)


class AxialRope(nn.Module):
    def __init__(self, head_dim, side, base, prefix):
        super().__init__()
        self.prefix = prefix
        angles = axial_angles(head_dim, side, base)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def rotate(self, x):
        head, tail = x[:, :, : self.prefix], x[:, :, self.prefix :]
        a, b = tail.chunk(2, dim=-1)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        tail = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
        return torch.cat([head, tail], dim=2)

    def forward(self, q, k):
        return self.rotate(q), self.rotate(k)
