"""A model of the user's own, without any parent among the models, but with Llama's configuration and norm."""

import torch
from torch import nn
from transformers import LlamaConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.llama.modeling_llama import LlamaRMSNorm


class AloneConfig(LlamaConfig):
    model_type = "alone"


class AloneBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm = LlamaRMSNorm(config.hidden_size)
        self.mix = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)

    def forward(self, x):
        return x + self.mix(self.norm(x))[0]


class AlonePreTrainedModel(PreTrainedModel):
    config: AloneConfig
    config_class = AloneConfig
    base_model_prefix = "model"


class AloneModel(AlonePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(AloneBlock(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def forward(self, input_ids, **kwargs):
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        return BaseModelOutput(last_hidden_state=torch.tanh(x))
