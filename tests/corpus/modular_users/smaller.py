"""What the parent has and this one does not: attributes, submodules and methods."""

from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaMLP, LlamaModel, LlamaRMSNorm


class SmallerConfig(LlamaConfig):
    model_type = "smaller"
    pretraining_tp = AttributeError()

    def validate_architecture(self):
        raise AttributeError("not needed")


class SmallerRMSNorm(LlamaRMSNorm):
    def extra_repr(self):
        raise AttributeError()


class SmallerMLP(LlamaMLP):
    def __init__(self, config):
        super().__init__(config)
        del self.gate_proj
        del self.hidden_size
        self.up_proj = nn.Linear(config.hidden_size, self.intermediate_size, bias=True)

    def forward(self, x):
        return self.down_proj(self.act_fn(self.up_proj(x)))


class SmallerModel(LlamaModel):
    _can_compile_fullgraph = AttributeError()


class SmallerForCausalLM(LlamaForCausalLM):
    _tp_plan = AttributeError()
