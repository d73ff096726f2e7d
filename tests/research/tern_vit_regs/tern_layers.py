import torch
from torch import nn
from transformers.activations import ACT2FN


def drop_path(x: torch.Tensor, p: float = 0.0, training: bool = False) -> torch.Tensor:
    if p == 0.0 or not training:
        return x
    keep = 1 - p
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    mask = (keep + torch.rand(shape, dtype=x.dtype, device=x.device)).floor_()
    return x.div(keep) * mask


class DropPath(nn.Module):
    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x):
        return drop_path(x, self.p, self.training)

    def extra_repr(self):
        return f"p={self.p}"


class LayerScale(nn.Module):
    def __init__(self, dim, value):
        super().__init__()
        self.lambda1 = nn.Parameter(value * torch.ones(dim))

    def forward(self, x):
        return x * self.lambda1


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = nn.Linear(config.hidden_size, inner)
        self.activation = ACT2FN[config.hidden_act] if isinstance(config.hidden_act, str) else config.hidden_act
        self.fc2 = nn.Linear(inner, config.hidden_size)

    def forward(self, x):
        return self.fc2(self.activation(self.fc1(x)))


class SwiGLU(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = int(config.hidden_size * config.mlp_ratio)
        inner = (int(inner * 2 / 3) + 7) // 8 * 8
        self.weights_in = nn.Linear(config.hidden_size, 2 * inner)
        self.weights_out = nn.Linear(inner, config.hidden_size)

    def forward(self, x):
        a, b = self.weights_in(x).chunk(2, dim=-1)
        return self.weights_out(nn.functional.silu(a) * b)
