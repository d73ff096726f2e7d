from transformers.configuration_utils import PretrainedConfig


class QuaggaConfig(PretrainedConfig):
    model_type = "quagga_hybrid"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, vocab_size=65536, tie_word_embeddings=False, hidden_size=4096, intermediate_size=14336,
                 num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, hidden_act="silu",
                 initializer_range=0.02, rms_norm_eps=1e-6, use_cache=True, pad_token_id=0, bos_token_id=1,
                 eos_token_id=2, attn_layer_period=8, attn_layer_offset=4, lru_width=None, conv1d_width=4,
                 attention_window_size=2048, attention_dropout=0.0, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.hidden_act = hidden_act
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.attn_layer_period = attn_layer_period
        self.attn_layer_offset = attn_layer_offset
        self.lru_width = lru_width or hidden_size
        self.conv1d_width = conv1d_width
        self.attention_window_size = attention_window_size
        self.attention_dropout = attention_dropout
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         tie_word_embeddings=tie_word_embeddings, **kwargs)

    @property
    def layers_block_type(self):
        return ["attention" if i % self.attn_layer_period == self.attn_layer_offset else "recurrent"
                for i in range(self.num_hidden_layers)]
