"""Locals of the subclass that have the names of the parent's locals and parameters."""

import copy

from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaMLP, LlamaModel, LlamaRMSNorm


class ShadowConfig(LlamaConfig):
    model_type = "shadow"


class ShadowMLP(LlamaMLP):
    def __init__(self, config):
        config = copy.deepcopy(config)
        config.intermediate_size = config.intermediate_size * 2
        super().__init__(config)

    def forward(self, hidden):
        residual = hidden
        return super().forward(hidden) + residual


class ShadowRMSNorm(LlamaRMSNorm):
    def forward(self, states):
        input_dtype = 3
        variance = super().forward(states * input_dtype)
        return variance * input_dtype


class ShadowDecoderLayer(LlamaDecoderLayer):
    def forward(self, hidden_states, attention_mask=None, **kwargs):
        residual = hidden_states
        hidden_states = super().forward(hidden_states, attention_mask=attention_mask, **kwargs)
        return hidden_states + 0.5 * residual


class ShadowModel(LlamaModel):
    pass


class ShadowForCausalLM(LlamaForCausalLM):
    pass
