"""One prefix that begins another: My and MyMy, from two architectures."""

from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.gemma.modeling_gemma import GemmaMLP
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP


class MyConfig(LlamaConfig):
    model_type = "my_llama"


class MyMyMLP(GemmaMLP):
    def forward(self, x):
        return super().forward(x) * 3


class MyMLP(LlamaMLP):
    def forward(self, x):
        return super().forward(x) * 2


class MyAttention(LlamaAttention):
    pass


class MyDecoderLayer(LlamaDecoderLayer):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        if layer_idx == 1:
            self.mlp = MyMyMLP(config)


class MyForCausalLM(LlamaForCausalLM):
    pass
