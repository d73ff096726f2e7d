"""Functions from a file beside this one."""

from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

from .helping import FACTOR, halve
from .helping import halve as other


class HelpedConfig(LlamaConfig):
    model_type = "helped"


class HelpedMLP(LlamaMLP):
    def forward(self, x):
        return other(halve(super().forward(x))) * FACTOR


class HelpedForCausalLM(LlamaForCausalLM):
    pass
