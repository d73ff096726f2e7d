"""Llama whose logits are capped: code after super() works on what it gave back."""

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaModel


class SoftLlamaConfig(LlamaConfig):
    model_type = "soft_llama"
    cap: float = 3.0


class SoftLlamaModel(LlamaModel):
    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        outputs = super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        outputs.last_hidden_state = torch.tanh(outputs.last_hidden_state / self.config.cap) * self.config.cap
        return outputs


class SoftLlamaForCausalLM(LlamaForCausalLM):
    pass
