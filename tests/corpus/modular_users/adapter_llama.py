"""A new layer of its own, used in the parent's block after super()."""

from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer


class AdapterLlamaConfig(LlamaConfig):
    model_type = "adapter_llama"
    adapter_size: int = 4


class AdapterLlamaAdapter(nn.Module):
    def __init__(self, config: AdapterLlamaConfig):
        super().__init__()
        self.down = nn.Linear(config.hidden_size, config.adapter_size)
        self.up = nn.Linear(config.adapter_size, config.hidden_size)

    def forward(self, x):
        return x + self.up(self.down(x).relu())


class AdapterLlamaDecoderLayer(LlamaDecoderLayer):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.adapter = AdapterLlamaAdapter(config)

    def forward(self, hidden_states, **kwargs):
        return self.adapter(super().forward(hidden_states, **kwargs))


class AdapterLlamaForCausalLM(LlamaForCausalLM):
    pass
