"""Mixins of the user's own beside the parent, before and after it."""

from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaMLP, LlamaModel


class Counting:
    count = 0

    def counted(self):
        self.count += 1
        return self.count


class Doubling(nn.Module):
    def double(self, x):
        return x * 2


class MixedConfig(LlamaConfig):
    model_type = "mixed"


class MixedMLP(LlamaMLP, Doubling):
    def forward(self, x):
        return self.double(super().forward(x))


class MixedModel(Counting, LlamaModel):
    def forward(self, *args, **kwargs):
        self.counted()
        return super().forward(*args, **kwargs)


class MixedForCausalLM(LlamaForCausalLM, Counting):
    pass
