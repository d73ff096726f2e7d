"""`Ancestor.m(self, ...)`: what the parent does is left out."""

import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaMLP, LlamaModel, LlamaPreTrainedModel


class ElderConfig(LlamaConfig):
    model_type = "elder"


class ElderMLP(LlamaMLP):
    def __init__(self, config):
        nn.Module.__init__(self)
        self.only = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        return torch.relu(self.only(x))


class ElderModel(LlamaModel):
    pass


class ElderForCausalLM(LlamaForCausalLM):
    def __init__(self, config):
        LlamaPreTrainedModel.__init__(self, config)
        self.model = ElderModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Sequential(nn.Linear(config.hidden_size, config.vocab_size, bias=True))
        self.post_init()

    def get_output_embeddings(self):
        return None
