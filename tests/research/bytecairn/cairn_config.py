from transformers import PretrainedConfig


class ByteCairnConfig(PretrainedConfig):
    """bytes in, bytes out. vocab = 256 + specials in the released model"""
    model_type = "bytecairn"

    def __init__(self, vocab_size=264, global_dim=1024, local_dim=512, patch_size=8, global_layers=24,
                 local_layers=6, heads=16, max_patches=1024, ffn_mult=4, dropout=0.0, pad_token_id=0,
                 bos_token_id=1, eos_token_id=2, initializer_range=0.02, **kwargs):
        self.vocab_size = vocab_size
        self.global_dim = global_dim
        self.local_dim = local_dim
        self.patch_size = patch_size
        self.global_layers = global_layers
        self.local_layers = local_layers
        self.heads = heads
        self.max_patches = max_patches
        self.ffn_mult = ffn_mult
        self.dropout = dropout
        self.initializer_range = initializer_range
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)

    # generic code asks for those
    @property
    def hidden_size(self):
        return self.global_dim

    @property
    def num_hidden_layers(self):
        return self.global_layers + self.local_layers

    @property
    def num_attention_heads(self):
        return self.heads
