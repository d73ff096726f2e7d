"""Decorators: its own on one method and one class, the parent's kept on the others."""

import functools

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaMLP, LlamaModel, LlamaRotaryEmbedding


def twice(function):
    @functools.wraps(function)
    def new(self, *args, **kwargs):
        return function(self, *args, **kwargs) * 2

    new.twice = True
    return new


def label(cls):
    cls.label = "mine"
    return cls


class MarkedConfig(LlamaConfig):
    model_type = "marked"


class MarkedRotaryEmbedding(LlamaRotaryEmbedding):
    def forward(self, x, position_ids):
        return super().forward(x, position_ids)


@label
class MarkedMLP(LlamaMLP):
    @twice
    def forward(self, x):
        return super().forward(x)


class MarkedModel(LlamaModel):
    pass


class MarkedForCausalLM(LlamaForCausalLM):
    pass
