"""A short name that is part of other words: `downsample`, `sample`, `same`, and a class that keeps its name."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP


class SamConfig(LlamaConfig):
    model_type = "sam_llama"
    downsample: int = 2


class Sample(nn.Module):
    def forward(self, x):
        return x + 1


class SamMLP(LlamaMLP):
    llama_like = "llama"

    def __init__(self, config):
        super().__init__(config)
        self.downsample_llamas = config.downsample
        self.sample = Sample()

    def forward(self, x):
        same = super().forward(x)
        return torch.add(self.sample(same), same, alpha=self.downsample_llamas)


class SamForCausalLM(LlamaForCausalLM):
    pass
