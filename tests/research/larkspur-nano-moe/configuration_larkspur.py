"""Larkspur configuration"""

from transformers.configuration_utils import PreTrainedConfig


class LarkspurConfig(PreTrainedConfig):
    r"""
    Configuration of a Larkspur decoder: grouped-query attention with an output gate, sliding and full layers with
    their own rotary settings, and a sigmoid router over small experts.

    Args:
        layer_types (`list[str]`, *optional*): one of `"sliding_attention"` and `"full_attention"` for each layer.
        mlp_layer_types (`list[str]`, *optional*): one of `"dense"` and `"sparse"` for each layer.
        rope_parameters (`dict`, *optional*): rotary settings by layer type.
    """

    model_type = "larkspur"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        vocab_size: int = 64000,
        hidden_size: int = 1024,
        intermediate_size: int = 2816,
        moe_intermediate_size: int = 512,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        num_key_value_heads: int = 4,
        head_dim: int = 64,
        hidden_act: str = "silu",
        max_position_embeddings: int = 32768,
        initializer_range: float = 0.02,
        rms_norm_eps: float = 1e-6,
        use_cache: bool = True,
        pad_token_id: int | None = None,
        bos_token_id: int | None = 1,
        eos_token_id: int | None = 2,
        tie_word_embeddings: bool = True,
        rope_parameters: dict | None = None,
        attention_gate: bool = True,
        attention_dropout: float = 0.0,
        sliding_window: int = 1024,
        layer_types: list[str] | None = None,
        mlp_layer_types: list[str] | None = None,
        num_experts: int = 32,
        num_experts_per_tok: int = 4,
        routed_scaling_factor: float = 1.0,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.moe_intermediate_size = moe_intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.attention_gate = attention_gate
        self.attention_dropout = attention_dropout
        self.sliding_window = sliding_window
        self.num_experts = num_experts
        self.num_experts_per_tok = num_experts_per_tok
        self.routed_scaling_factor = routed_scaling_factor

        # three sliding layers, then a full one
        self.layer_types = layer_types or [
            "full_attention" if (i + 1) % 4 == 0 else "sliding_attention" for i in range(num_hidden_layers)
        ]
        self.mlp_layer_types = mlp_layer_types or ["dense"] + ["sparse"] * (num_hidden_layers - 1)
        self.rope_parameters = rope_parameters or {
            "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        }
        self.tie_word_embeddings = tie_word_embeddings
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        super().__init__(**kwargs)


__all__ = ["LarkspurConfig"]
