"""Functions and a constant that take the place of the parent's."""

import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaForCausalLM

SHARP = 1.5


def rotate_half(x):
    return torch.cat((x[..., 1::2], -x[..., ::2]), dim=-1)


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    weights = query @ key.transpose(2, 3) * scaling * SHARP
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class TurnedConfig(LlamaConfig):
    model_type = "turned"


class TurnedAttention(LlamaAttention):
    pass


class TurnedForCausalLM(LlamaForCausalLM):
    pass
