"""4 bit weight only linear.  The triton path is used when available, otherwise dequantize + matmul."""
import math
import warnings

import torch
from torch import nn
import torch.nn.functional as F

try:
    import triton  # noqa: F401 -- the fused gemm lives in the serving repo
    TRITON = True
except Exception:
    TRITON = False


def pack(intweight: torch.Tensor, bits: int) -> torch.Tensor:
    """(out, in) small ints -> (out, in * bits / 32) int32"""
    per = 32 // bits
    out = torch.zeros(intweight.shape[0], intweight.shape[1] // per, dtype=torch.int32)
    for i in range(per):
        out |= (intweight[:, i::per].to(torch.int32) & (2 ** bits - 1)) << (bits * i)
    return out


class QuantLinear(nn.Module):
    QUANT_TYPE = "pumice"

    def __init__(self, bits, group_size, in_features, out_features, bias=True):
        super().__init__()
        if bits not in (2, 4, 8):
            raise NotImplementedError("Only 2,4,8 bits are supported.")
        self.in_features, self.out_features = in_features, out_features
        self.bits = bits
        self.group_size = group_size if group_size != -1 else in_features
        self.maxq = 2 ** bits - 1
        per = 32 // bits
        groups = math.ceil(in_features / self.group_size)
        g = torch.Generator().manual_seed(in_features * 31 + out_features)
        q = torch.randint(0, 2 ** bits, (out_features, in_features), generator=g)
        self.register_buffer("qweight", pack(q, bits))
        self.register_buffer("qzeros", torch.full((out_features, groups), 2 ** (bits - 1), dtype=torch.int32))
        self.register_buffer("scales", torch.full((out_features, groups), 0.01, dtype=torch.float32))
        if bias:
            self.register_buffer("bias", torch.zeros(out_features, dtype=torch.float32))
        else:
            self.bias = None
        # shifts to unpack, do not need to be saved
        self.register_buffer("wf", torch.tensor([i * bits for i in range(per)], dtype=torch.int32)[None, None, :],
                             persistent=False)

    def dequantize(self):
        w = torch.bitwise_right_shift(self.qweight[:, :, None], self.wf)
        w = torch.bitwise_and(w, self.maxq).flatten(1)
        w = w.view(self.out_features, -1, self.group_size) - self.qzeros[:, :, None]
        return (w * self.scales[:, :, None]).flatten(1)

    def forward(self, x):
        out = F.linear(x, self.dequantize().to(x.dtype))
        return out + self.bias.to(x.dtype) if self.bias is not None else out

    def extra_repr(self):
        return f"in={self.in_features}, out={self.out_features}, bits={self.bits}, group={self.group_size}"


def make_quant(module, bits, group_size, skip=("lm_head",), prefix=""):
    """replace nn.Linear in place"""
    for name, child in list(module.named_children()):
        full = f"{prefix}.{name}" if prefix else name
        if isinstance(child, nn.Linear) and name not in skip:
            new = QuantLinear(bits, group_size, child.in_features, child.out_features, child.bias is not None)
            setattr(module, name, new)
        else:
            make_quant(child, bits, group_size, skip, full)
    return module
