from transformers import PretrainedConfig


class QuartzConfig(PretrainedConfig):
    """
    pooling_mode: cls, mean or attention
    relative_buckets / max_distance: T5-style relative bias, shared by all layers
    """

    model_type = "quartz_embed"

    def __init__(self, vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
                 relative_buckets=32, max_distance=128, layer_norm_eps=1e-12, dropout=0.0, pooling_mode="mean", output_dim=None,
                 temperature=0.05, initializer_range=0.02, pad_token_id=0, **kwargs):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.relative_buckets = relative_buckets
        self.max_distance = max_distance
        self.layer_norm_eps = layer_norm_eps
        self.dropout = dropout
        self.pooling_mode = pooling_mode
        self.output_dim = output_dim
        self.temperature = temperature
        self.initializer_range = initializer_range
