"""The form that the documentation shows: the configuration comes from the modeling file."""

from torch import nn
from transformers.models.llama.modeling_llama import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaMLP,
    LlamaModel,
)


class TutorialConfig(LlamaConfig):
    model_type = "tutorial"
    extra: int = 3


class TutorialMLP(LlamaMLP):
    def __init__(self, config):
        super().__init__(config)
        self.extra = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        return super().forward(x) + self.extra(x)


class TutorialModel(LlamaModel):
    config_class = TutorialConfig


class TutorialForCausalLM(LlamaForCausalLM):
    config_class = TutorialConfig
