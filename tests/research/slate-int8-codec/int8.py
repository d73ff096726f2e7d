import torch
from torch import nn
import torch.nn.functional as F


class Int8Linear(nn.Module):
    """y = (x W8^T) * scale + b.  W8 and scale are buffers: they are not trained but belong to the checkpoint"""

    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        w = (torch.arange(in_features * out_features).reshape(out_features, in_features) * 37 % 255 - 127)
        self.register_buffer("weight_int8", w.to(torch.int8))
        self.register_buffer("scale", torch.full((out_features, 1), 0.002))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    @classmethod
    @torch.no_grad()
    def from_float(cls, lin: nn.Linear):
        new = cls(lin.in_features, lin.out_features, lin.bias is not None)
        s = lin.weight.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        new.weight_int8.copy_((lin.weight / s).round().to(torch.int8))
        new.scale.copy_(s)
        if lin.bias is not None:
            new.bias.copy_(lin.bias)
        return new

    @property
    def weight(self):
        # some code asks for .weight.dtype / .device
        return self.weight_int8.to(self.scale.dtype) * self.scale

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), self.bias)


def linear(config, i, o, bias=True):
    return Int8Linear(i, o, bias) if config.int8 else nn.Linear(i, o, bias)


@torch.no_grad()
def quantize_(module: nn.Module, skip=("heads",)):
    for n, c in list(module.named_children()):
        if n in skip:
            continue
        if isinstance(c, nn.Linear):
            setattr(module, n, Int8Linear.from_float(c))
        else:
            quantize_(c, skip)
    return module
