"""Statements between and after: attributes set before super() and used by nothing, post_init, loops, deletions."""

import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaModel


class AfterConfig(LlamaConfig):
    model_type = "after"


class AfterModel(LlamaModel):
    def __init__(self, config):
        size = config.hidden_size
        super().__init__(config)
        self.extra = nn.ModuleList([nn.Linear(size, size) for _ in range(2)])
        for number, layer in enumerate(self.extra):
            layer.number = number
        self.register_buffer("ramp", torch.linspace(0, 1, size))
        if config.tie_word_embeddings:
            self.tied = True
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        outputs = super().forward(input_ids, attention_mask, **kwargs)
        for layer in self.extra:
            outputs.last_hidden_state = layer(outputs.last_hidden_state) + self.ramp
        return outputs


class AfterForCausalLM(LlamaForCausalLM):
    _keys_to_ignore_on_load_missing = ["model.extra"]  # noqa: RUF012

    def __init__(self, config):
        super().__init__(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=True)
        self.post_init()
