"""Configuration of Rill."""
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Optional

from transformers import AutoConfig, PretrainedConfig


class LayerNormType(str, Enum):
    default = "default"
    rms = "rms"


@dataclass
class ModelConfig:
    """What the model itself needs; RillConfig wraps it for transformers."""

    d_model: int = 768
    n_heads: int = 12
    n_layers: int = 12
    mlp_ratio: int = 4
    mlp_hidden_size: Optional[int] = None
    rope_theta: float = 10000.0
    layer_norm_type: str = "rms"
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0
    include_bias: bool = False
    max_sequence_length: int = 1024
    vocab_size: int = 50257
    eos_token_id: int = 50256
    pad_token_id: int = 50256
    mask_token_id: Optional[int] = 50256
    weight_tying: bool = False
    init_std: float = 0.02

    def asdict(self):
        return asdict(self)


class RillConfig(PretrainedConfig):
    model_type = "rill"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, use_cache: bool = False, **kwargs):
        model_config = ModelConfig()
        all_kwargs = model_config.asdict()
        all_kwargs.update(kwargs)
        all_kwargs.update({"use_cache": use_cache})
        super().__init__(**all_kwargs)

    @property
    def num_attention_heads(self):
        return self.n_heads

    @property
    def num_hidden_layers(self):
        return self.n_layers

    @property
    def hidden_size(self):
        return self.d_model

    def to_model_config(self) -> ModelConfig:
        names = [f.name for f in fields(ModelConfig)]
        return ModelConfig(**{name: getattr(self, name) for name in names})


AutoConfig.register("rill", RillConfig, exist_ok=True)
