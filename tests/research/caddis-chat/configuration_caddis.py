from transformers import PretrainedConfig


class CaddisConfig(PretrainedConfig):
    model_type = "caddis"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
    }

    def __init__(
        self,
        vocab_size=64000,
        n_embd=4096,
        n_layer=32,
        n_head=32,
        ffn_width=11008,
        dropout=0.0,
        norm_eps=1e-6,
        init_std=0.02,
        rope_base=10000,
        train_length=2048,
        stretch_rope=True,
        use_flash="auto",
        use_cache=True,
        tie_word_embeddings=False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.ffn_width = ffn_width
        self.dropout = dropout
        self.norm_eps = norm_eps
        self.init_std = init_std
        self.rope_base = rope_base
        self.train_length = train_length
        self.stretch_rope = stretch_rope
        self.use_flash = use_flash
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
