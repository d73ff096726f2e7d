"""BART with a norm in front of each encoder layer."""

from torch import nn
from transformers import BartConfig
from transformers.models.bart.modeling_bart import BartEncoderLayer, BartForConditionalGeneration, BartModel


class PrenormBartConfig(BartConfig):
    model_type = "prenorm_bart"


class PrenormBartEncoderLayer(BartEncoderLayer):
    def __init__(self, config, layer_idx=None):
        super().__init__(config, layer_idx)
        self.first_norm = nn.LayerNorm(self.embed_dim)

    def forward(self, hidden_states, attention_mask, **kwargs):
        return super().forward(self.first_norm(hidden_states), attention_mask, **kwargs)


class PrenormBartModel(BartModel):
    pass


class PrenormBartForConditionalGeneration(BartForConditionalGeneration):
    pass
