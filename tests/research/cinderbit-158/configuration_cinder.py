from transformers import PretrainedConfig


class CinderConfig(PretrainedConfig):
    model_type = "cinder_bit"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, vocab_size=32000, hidden_size=2048, intermediate_size=5460, num_hidden_layers=24,
                 num_attention_heads=32, num_key_value_heads=None, act="squared_relu", max_position_embeddings=2048,
                 initializer_range=0.02, rms_norm_eps=1e-5, use_cache=True, pad_token_id=None, bos_token_id=1,
                 eos_token_id=2, tie_word_embeddings=True, rope_base=10000.0, weight_bits=1, input_bits=8, **kwargs):
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.act = act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_base = rope_base
        self.weight_bits = weight_bits
        self.input_bits = input_bits
