"""Imports under a guard, a constant that depends on one, and functions that call each other."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.utils import is_torch_available, logging

try:
    from math import tau
except ImportError:
    tau = 6.283185307179586

if is_torch_available():
    import torch.nn.functional as F

logger = logging.get_logger(__name__)
ROUND, HALF = tau, tau / 2
TABLE = {name: getattr(nn, name) for name in ("ReLU", "GELU")}


def outer(x):
    return inner(x) / ROUND if x.ndim else x


def inner(x, scale=HALF):
    return F.relu(x) * scale


class GuardedConfig(LlamaConfig):
    model_type = "guarded"


class GuardedMLP(LlamaMLP):
    def __init__(self, config):
        super().__init__(config)
        self.act_fn = TABLE["GELU"]()

    def forward(self, x):
        return outer(super().forward(x)) + torch.sin(x * ROUND)


class GuardedForCausalLM(LlamaForCausalLM):
    pass
