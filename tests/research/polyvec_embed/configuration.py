from transformers import PretrainedConfig


class PolyVecConfig(PretrainedConfig):
    model_type = "polyvec"

    def __init__(
        self,
        vocab_size=250048,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=None,
        intermediate_size=2048,
        hidden_act="silu",
        max_position_embeddings=8192,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        rope_scaling=None,
        pooling="cls",
        embedding_dim=None,
        matryoshka_dims=None,
        initializer_range=0.02,
        attention_dropout=0.0,
        pad_token_id=0,
        **kwargs,
    ):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads or num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.rms_norm_eps = rms_norm_eps
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.pooling = pooling
        self.embedding_dim = embedding_dim
        self.matryoshka_dims = matryoshka_dims
        self.initializer_range = initializer_range
        self.attention_dropout = attention_dropout
