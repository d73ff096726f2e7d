from transformers import PretrainedConfig


class TallowConfig(PretrainedConfig):
    model_type = "tallow"
    attribute_map = {"num_hidden_layers": "num_layers", "vocab_size": "padded_vocab_size"}
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(
        self,
        num_layers=28,
        padded_vocab_size=65024,
        hidden_size=2048,
        ffn_hidden_size=5632,
        kv_channels=128,
        num_attention_heads=16,
        multi_query_group_num=2,
        seq_length=2048,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        layernorm_epsilon=1e-5,
        rotary_percent=0.5,
        rope_ratio=1.0,
        use_dynamic_ntk=True,
        use_logn_attn=False,
        add_qkv_bias=True,
        initializer_range=0.02,
        use_cache=True,
        fp32_residual_connection=False,
        quantization_bit=0,
        **kwargs,
    ):
        self.num_layers = num_layers
        self.padded_vocab_size = padded_vocab_size
        self.hidden_size = hidden_size
        self.ffn_hidden_size = ffn_hidden_size
        self.kv_channels = kv_channels
        self.num_attention_heads = num_attention_heads
        self.multi_query_group_num = multi_query_group_num
        self.seq_length = seq_length
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.layernorm_epsilon = layernorm_epsilon
        self.rotary_percent = rotary_percent
        self.rope_ratio = rope_ratio
        self.use_dynamic_ntk = use_dynamic_ntk
        self.use_logn_attn = use_logn_attn
        self.add_qkv_bias = add_qkv_bias
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        self.fp32_residual_connection = fp32_residual_connection
        self.quantization_bit = quantization_bit
        super().__init__(**kwargs)
