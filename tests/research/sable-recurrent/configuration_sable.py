from transformers import PretrainedConfig


class SableConfig(PretrainedConfig):
    model_type = "sable"

    def __init__(self, vocab_size=65536, hidden_size=2048, num_hidden_layers=24, head_size=64, mlp_ratio=3.5,
                 layer_norm_epsilon=1e-5, rescale_every=6, decay_low=-6.0, decay_high=-1.0, use_cache=True,
                 bos_token_id=0, eos_token_id=0, tie_word_embeddings=False, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.head_size = head_size
        self.num_heads = hidden_size // head_size
        self.intermediate_size = int(hidden_size * mlp_ratio) // 32 * 32
        self.mlp_ratio = mlp_ratio
        self.layer_norm_epsilon = layer_norm_epsilon
        self.rescale_every = rescale_every
        self.decay_low = decay_low
        self.decay_high = decay_high
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, bos_token_id=bos_token_id,
                         eos_token_id=eos_token_id, **kwargs)
