"""A prefix that has the parent's in it: LongerLlama."""

from transformers import LlamaConfig as BaseConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM as BaseForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP as BaseMLP
from transformers.models.llama.modeling_llama import LlamaModel


class LongerLlamaConfig(BaseConfig):
    model_type = "longer_llama"


class LongerLlamaMLP(BaseMLP):
    def forward(self, x):
        return super().forward(x) + x


class LongerLlamaModel(LlamaModel):
    pass


class LongerLlamaForCausalLM(BaseForCausalLM):
    pass
