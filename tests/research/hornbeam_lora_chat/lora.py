"""LoRA without peft.  Several adapters live next to one frozen weight, one (or none) is active."""
import math
from contextlib import contextmanager
from typing import Dict, Iterable, List, Optional

import torch
from torch import nn
import torch.nn.functional as F


class LoraLinear(nn.Linear):
    """is-a Linear so that the weight keeps its name in the checkpoint of the base model"""

    def __init__(self, in_features, out_features, bias=True, adapters: Optional[Dict[str, dict]] = None,
                 dropout: float = 0.0, device=None, dtype=None):
        super().__init__(in_features, out_features, bias=bias, device=device, dtype=dtype)
        self.lora_A = nn.ParameterDict()
        self.lora_B = nn.ParameterDict()
        self.scale = {}
        self.active: Optional[str] = None
        self.merged: Optional[str] = None
        self.drop = nn.Dropout(dropout)
        for name, spec in (adapters or {}).items():
            r = spec["r"]
            self.lora_A[name] = nn.Parameter(torch.empty(r, in_features, device=device, dtype=dtype))
            self.lora_B[name] = nn.Parameter(torch.zeros(out_features, r, device=device, dtype=dtype))
            self.scale[name] = spec["alpha"] / r
            nn.init.kaiming_uniform_(self.lora_A[name], a=math.sqrt(5))

    @classmethod
    def wrap(cls, linear: nn.Linear, adapters, dropout=0.0):
        new = cls(linear.in_features, linear.out_features, linear.bias is not None, adapters, dropout,
                  device=linear.weight.device, dtype=linear.weight.dtype)
        new.weight = linear.weight
        if linear.bias is not None:
            new.bias = linear.bias
        return new

    def delta(self, name):
        return (self.lora_B[name] @ self.lora_A[name]) * self.scale[name]

    def merge(self, name):
        assert self.merged is None
        self.weight.data += self.delta(name)
        self.merged = name

    def unmerge(self):
        if self.merged is not None:
            self.weight.data -= self.delta(self.merged)
            self.merged = None

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        if self.active is None or self.merged is not None:
            return y
        a, b = self.lora_A[self.active], self.lora_B[self.active]
        return y + F.linear(F.linear(self.drop(x), a), b) * self.scale[self.active]

    def extra_repr(self):
        return super().extra_repr() + f", adapters={list(self.scale)}"


def inject(model: nn.Module, targets: Iterable[str], adapters, dropout=0.0) -> List[str]:
    done = []
    for name, module in list(model.named_modules()):
        leaf = name.rsplit(".", 1)[-1]
        if isinstance(module, nn.Linear) and not isinstance(module, LoraLinear) and leaf in targets:
            parent = model.get_submodule(name.rsplit(".", 1)[0]) if "." in name else model
            setattr(parent, leaf, LoraLinear.wrap(module, adapters, dropout))
            done.append(name)
    return done


def set_active(model: nn.Module, name: Optional[str]):
    for m in model.modules():
        if isinstance(m, LoraLinear):
            if name is not None and name not in m.scale:
                raise KeyError(f"no adapter {name}, have {list(m.scale)}")
            m.active = name


@contextmanager
def disabled(model: nn.Module):
    old = {m: m.active for m in model.modules() if isinstance(m, LoraLinear)}
    set_active(model, None)
    try:
        yield model
    finally:
        for m, a in old.items():
            m.active = a


def lora_state_dict(model: nn.Module, name: str):
    return {k: v for k, v in model.state_dict().items() if f"lora_A.{name}" in k or f"lora_B.{name}" in k}


def mark_only_lora_trainable(model: nn.Module):
    for n, p in model.named_parameters():
        p.requires_grad_("lora_" in n)
