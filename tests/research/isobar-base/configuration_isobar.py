from transformers import PreTrainedConfig


class IsobarConfig(PreTrainedConfig):
    r"""Isobar: a small decoder with parallel residuals.

    ```python
    >>> config = IsobarConfig()
    ```
    """

    model_type = "isobar"
    keys_to_ignore_at_inference = ["past_key_values"]
    default_theta = 20000.0

    def __init__(
        self,
        vocab_size: int | None = 65536,
        hidden_size: int | None = 1024,
        intermediate_size: int | None = 2816,
        num_hidden_layers: int | None = 16,
        num_attention_heads: int | None = 16,
        num_key_value_heads: int | None = None,
        hidden_act: str | None = "silu",
        max_position_embeddings: int | None = 4096,
        initializer_range: float | None = 0.02,
        rms_norm_eps: float | None = 1e-6,
        use_cache: bool | None = True,
        pad_token_id: int | None = None,
        bos_token_id: int | None = 1,
        eos_token_id: int | None = 2,
        tie_word_embeddings: bool | None = True,
        rope_parameters: dict | None = None,
        attention_dropout: float | None = 0.0,
        value_residual: bool | None = True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_attention_heads if num_key_value_heads is None else num_key_value_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_parameters = rope_parameters
        self.attention_dropout = attention_dropout
        self.value_residual = value_residual
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(**kwargs)

    @property
    def head_dim(self):
        return self.hidden_size // self.num_attention_heads


__all__ = ["IsobarConfig"]
