"""Pegasus whose positions start later."""

from transformers import PegasusConfig
from transformers.models.pegasus.modeling_pegasus import (
    PegasusForConditionalGeneration,
    PegasusModel,
    PegasusSinusoidalPositionalEmbedding,
)


class ShiftedPegasusConfig(PegasusConfig):
    model_type = "shifted_pegasus"


class ShiftedPegasusSinusoidalPositionalEmbedding(PegasusSinusoidalPositionalEmbedding):
    def forward(self, input_ids_shape, cache_length=0, position_ids=None):
        return super().forward(input_ids_shape, cache_length + 2, position_ids)


class ShiftedPegasusModel(PegasusModel):
    pass


class ShiftedPegasusForConditionalGeneration(PegasusForConditionalGeneration):
    pass
