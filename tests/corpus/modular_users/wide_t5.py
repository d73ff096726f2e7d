"""T5 with two feed-forward parts side by side; what one attribute holds is replaced after super()."""

from torch import nn
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5DenseActDense, T5ForConditionalGeneration, T5LayerFF, T5Model


class WideT5Config(T5Config):
    model_type = "wide_t5"


class WideT5DenseActDense(T5DenseActDense):
    pass


class WideT5LayerFF(T5LayerFF):
    def __init__(self, config):
        super().__init__(config)
        self.second = WideT5DenseActDense(config)
        self.dropout = nn.Identity()

    def forward(self, hidden_states):
        normed = self.layer_norm(hidden_states)
        return hidden_states + self.dropout(self.DenseReluDense(normed) + self.second(normed))


class WideT5Model(T5Model):
    pass


class WideT5ForConditionalGeneration(T5ForConditionalGeneration):
    pass
