"""Mistfill configuration (masked diffusion over tokens)."""
from enum import Enum

from transformers import AutoConfig, PretrainedConfig


class Remasking(str, Enum):
    low_confidence = "low_confidence"
    margin = "margin"
    entropy = "entropy"
    random = "random"


class MistfillConfig(PretrainedConfig):
    model_type = "mistfill"
    attribute_map = {
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "intermediate_size": "mlp_hidden_size",
        "max_position_embeddings": "max_sequence_length",
    }

    def __init__(
        self,
        vocab_size=126464,
        d_model=4096,
        n_layers=32,
        n_heads=32,
        n_kv_heads=None,
        mlp_hidden_size=12288,
        max_sequence_length=4096,
        rope_theta=500000.0,
        rope_scaling=None,
        rms_norm_eps=1e-6,
        attention_bias=False,
        attention_dropout=0.0,
        mask_token_id=126336,
        block_length=32,
        include_time=False,
        remasking="low_confidence",
        weight_tying=False,
        initializer_range=0.02,
        pad_token_id=0,
        eos_token_id=2,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        self.mlp_hidden_size = mlp_hidden_size
        self.max_sequence_length = max_sequence_length
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.rms_norm_eps = rms_norm_eps
        self.attention_bias = attention_bias
        self.attention_dropout = attention_dropout
        self.mask_token_id = mask_token_id
        self.block_length = block_length
        self.include_time = include_time
        self.remasking = Remasking(remasking).value
        self.weight_tying = weight_tying
        self.initializer_range = initializer_range
        kwargs.pop("tie_word_embeddings", None)
        super().__init__(
            pad_token_id=pad_token_id, eos_token_id=eos_token_id, tie_word_embeddings=weight_tying, **kwargs
        )


AutoConfig.register("mistfill", MistfillConfig, exist_ok=True)
