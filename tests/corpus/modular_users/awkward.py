"""super() where it is not a statement: in an expression, a loop, a branch, a nested function, with a `with` around."""

import contextlib

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP, LlamaRMSNorm


class AwkwardConfig(LlamaConfig):
    model_type = "awkward"


class AwkwardRMSNorm(LlamaRMSNorm):
    def __init__(self, hidden_size, eps=1e-6):
        if eps < 1e-3:
            super().__init__(hidden_size, eps)
        else:
            super().__init__(hidden_size)
            self.loose = True

    def extra_repr(self):
        return f"awkward, {super().extra_repr()}"

    def forward(self, hidden_states):
        with torch.autocast("cpu", enabled=False), contextlib.nullcontext():
            normed = super().forward(hidden_states)
        return normed + 0.1


class AwkwardMLP(LlamaMLP):
    def forward(self, x):
        for _ in range(2):
            x = super().forward(x) + x
        return x


class AwkwardAttention(LlamaAttention):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, hidden_states, *args, **kwargs):
        def inner(x):
            return super(AwkwardAttention, self).forward(x, *args, **kwargs)

        output, weights = inner(hidden_states * self.factor)
        return output * 2, weights


class AwkwardDecoderLayer(LlamaDecoderLayer):
    def forward(self, hidden_states, *args, **kwargs):
        try:
            return super().forward(hidden_states, *args, **kwargs)
        finally:
            self.seen = getattr(self, "seen", 0) + 1


class AwkwardForCausalLM(LlamaForCausalLM):
    pass
