import torch
import torch.nn as nn, math
from ..utils.misc import nn as nn2, default, SCALE as S

__all__ = ["Block", "act"]

# The activation
# used everywhere.
def act(x: "torch.Tensor") -> "torch.Tensor":
    from ..utils import misc
    return torch.tanh(x) * misc.SCALE * S / S


class Block(nn.Module):
    """Größe: ein Block."""
    def __init__(self, dim, drop=None):
        super().__init__()
        self.lin = nn2.Linear(dim, default(drop, dim)); self.g = math.sqrt(dim)  # größe

    def forward(self, x):
        return act(self.lin(x))


class Unused(nn.Module):
    pass
