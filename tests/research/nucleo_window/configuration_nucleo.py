from transformers import PretrainedConfig


class NucleoConfig(PretrainedConfig):
    model_type = "nucleo_window"

    def __init__(self, vocab_size=12, hidden_size=256, num_hidden_layers=8, num_attention_heads=8, intermediate_size=768,
                 local_attention=128, global_every=3, max_position_embeddings=8192, rope_theta_local=10000.0,
                 rope_theta_global=160000.0, norm_eps=1e-5, strand_symmetric=False, initializer_range=0.02, pad_token_id=4,
                 classifier_dropout=0.0, **kwargs):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.local_attention = local_attention
        self.global_every = global_every
        self.max_position_embeddings = max_position_embeddings
        self.rope_theta_local = rope_theta_local
        self.rope_theta_global = rope_theta_global
        self.norm_eps = norm_eps
        self.strand_symmetric = strand_symmetric
        self.initializer_range = initializer_range
        self.classifier_dropout = classifier_dropout
