from transformers import PretrainedConfig


class MedlarConfig(PretrainedConfig):
    model_type = "medlar"

    def __init__(
        self,
        vocab_size=32000,
        embedding_size=768,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        generator_layers=4,
        max_position_embeddings=512,
        relative_buckets=8,
        hidden_dropout_prob=0.1,
        layer_norm_eps=1e-7,
        initializer_range=0.02,
        rtd_weight=50.0,
        share_embeddings="gdes",
        mask_token_id=4,
        pad_token_id=0,
        **kwargs,
    ):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        if share_embeddings not in ("no", "yes", "gdes"):
            raise ValueError(f"share_embeddings is no, yes or gdes, not {share_embeddings!r}")
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.generator_layers = generator_layers
        self.max_position_embeddings = max_position_embeddings
        self.relative_buckets = relative_buckets
        self.hidden_dropout_prob = hidden_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.rtd_weight = rtd_weight
        self.share_embeddings = share_embeddings
        self.mask_token_id = mask_token_id
