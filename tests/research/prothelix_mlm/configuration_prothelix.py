from transformers.configuration_utils import PretrainedConfig


class ProtHelixConfig(PretrainedConfig):
    """Config of the ProtHelix family (8M .. 650M)."""

    model_type = "prothelix"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}

    def __init__(self, vocab_size=33, d_model=320, n_layers=6, n_heads=20, expansion_ratio=8 / 3, rope_base=10000.0,
                 rope_scale_base=None, token_dropout=True, mask_token_id=32, pad_token_id=1, mask_ratio_train=0.12,
                 residue_scaling=True, initializer_range=0.02, tie_word_embeddings=False, **kwargs):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.expansion_ratio = expansion_ratio
        self.rope_base = rope_base
        self.rope_scale_base = rope_scale_base
        self.token_dropout = token_dropout
        self.mask_token_id = mask_token_id
        self.mask_ratio_train = mask_ratio_train
        self.residue_scaling = residue_scaling
        self.initializer_range = initializer_range
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)
