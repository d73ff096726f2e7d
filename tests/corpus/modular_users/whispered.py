"""Whisper with its encoder layer scaled."""

from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import (
    WhisperEncoderLayer,
    WhisperForConditionalGeneration,
    WhisperModel,
)


class WhisperedConfig(WhisperConfig):
    model_type = "whispered"


class WhisperedEncoderLayer(WhisperEncoderLayer):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs) * 0.5


class WhisperedModel(WhisperModel):
    pass


class WhisperedForConditionalGeneration(WhisperForConditionalGeneration):
    pass
