from transformers import PretrainedConfig


class TidewaterConfig(PretrainedConfig):
    model_type = "tidewater"

    def __init__(
        self,
        vocab_size=65536,
        hidden_size=768,
        intermediate_size=None,
        num_hidden_layers=12,
        head_size=64,
        decay_lora_dim=64,
        mix_lora_dim=32,
        norm_eps=1e-5,
        rescale_every=6,
        chunk_len=64,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        use_cache=True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size if intermediate_size is not None else int(hidden_size * 3.5) // 32 * 32
        self.num_hidden_layers = num_hidden_layers
        self.head_size = head_size
        self.num_heads = hidden_size // head_size
        self.decay_lora_dim = decay_lora_dim
        self.mix_lora_dim = mix_lora_dim
        self.norm_eps = norm_eps
        self.rescale_every = rescale_every
        self.chunk_len = chunk_len
        self.use_cache = use_cache
        super().__init__(
            tie_word_embeddings=tie_word_embeddings, bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs
        )
