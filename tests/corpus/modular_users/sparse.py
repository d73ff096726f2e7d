"""A mixture of experts from Mixtral, with its router changed."""

import torch
from transformers.models.mixtral.configuration_mixtral import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralForCausalLM, MixtralModel, MixtralTopKRouter


class SparseConfig(MixtralConfig):
    model_type = "sparse"
    num_local_experts: int = 4


class SparseTopKRouter(MixtralTopKRouter):
    def forward(self, hidden_states):
        return super().forward(torch.tanh(hidden_states))


class SparseModel(MixtralModel):
    pass


class SparseForCausalLM(MixtralForCausalLM):
    pass
