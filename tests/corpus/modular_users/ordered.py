"""Arguments of super(): by position, by keyword, in another order, computed, swapped, and left out."""

from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Block, GPT2LMHeadModel


class OrderedConfig(GPT2Config):
    model_type = "ordered"
    n_inner: int | None = 24


class OrderedMLP(GPT2MLP):
    def __init__(self, intermediate_size, config, *, factor=2):
        super().__init__(config=config, intermediate_size=factor * intermediate_size)


class OrderedBlock(GPT2Block):
    def __init__(self, config, layer_idx=None):
        super().__init__(config, layer_idx=layer_idx)
        self.mlp = OrderedMLP(24, config, factor=3)


class OrderedLMHeadModel(GPT2LMHeadModel):
    pass
