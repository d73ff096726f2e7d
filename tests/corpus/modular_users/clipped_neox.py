"""GPT-NeoX with its feed-forward part clipped."""

import torch
from transformers import GPTNeoXConfig
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXForCausalLM, GPTNeoXMLP, GPTNeoXModel

LIMIT = 0.2


class ClippedNeoXConfig(GPTNeoXConfig):
    model_type = "clipped_neox"


class ClippedNeoXMLP(GPTNeoXMLP):
    def forward(self, hidden_states):
        return torch.clip(super().forward(hidden_states), -LIMIT, LIMIT)


class ClippedNeoXModel(GPTNeoXModel):
    pass


class ClippedNeoXForCausalLM(GPTNeoXForCausalLM):
    pass
