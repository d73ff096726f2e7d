from transformers import PretrainedConfig


class PumiceConfig(PretrainedConfig):
    model_type = "pumice"

    def __init__(self, vocab_size=50304, hidden_size=2048, intermediate_size=8192, num_hidden_layers=24,
                 num_attention_heads=16, max_position_embeddings=2048, layer_norm_eps=1e-5, initializer_range=0.02,
                 w_bit=4, group_size=128, zero_point=True, quantize_head=False, pad_token_id=0, bos_token_id=1,
                 eos_token_id=2, tie_word_embeddings=False, use_cache=False, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.w_bit = w_bit
        self.group_size = group_size
        self.zero_point = zero_point
        self.quantize_head = quantize_head
        self.use_cache = use_cache
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         tie_word_embeddings=tie_word_embeddings, use_cache=use_cache, **kwargs)
