from transformers.configuration_utils import PretrainedConfig


class YarrowConfig(PretrainedConfig):
    model_type = "yarrow"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        vocab_size=32000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=None,
        hidden_act="silu",
        max_position_embeddings=131072,
        initializer_range=0.02,
        rms_norm_eps=1e-6,
        use_cache=True,
        rope_theta=10000.0,
        rope_scaling=None,
        sink_tokens=4,
        window=1024,
        attention_bias=False,
        tie_word_embeddings=False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.sink_tokens = sink_tokens
        self.window = window
        self.attention_bias = attention_bias
        self._check_rope_scaling()
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    def _check_rope_scaling(self):
        if self.rope_scaling is None:
            return
        if not isinstance(self.rope_scaling, dict) or "factor" not in self.rope_scaling:
            raise ValueError(f"`rope_scaling` must be a dictionary with a factor, got {self.rope_scaling}")
        if float(self.rope_scaling["factor"]) < 1.0:
            raise ValueError("the factor of `rope_scaling` must be at least 1")
