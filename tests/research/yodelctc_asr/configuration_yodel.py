"""Yodel configuration"""
from transformers import PretrainedConfig


class YodelConfig(PretrainedConfig):
    model_type = "yodel"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}

    def __init__(self, n_mels=80, d_model=512, n_layers=17, n_heads=8, ff_expansion=4, conv_kernel_size=31, pos_kernel=32, pos_groups=16,
                 subsampling=4, dropout=0.1, vocab_size=1025, ctc_blank=1024, ctc_loss_reduction="mean", ctc_zero_infinity=True, **kwargs):
        super().__init__(**kwargs)
        self.n_mels = n_mels
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.ff_expansion = ff_expansion
        self.conv_kernel_size = conv_kernel_size
        self.pos_kernel = pos_kernel
        self.pos_groups = pos_groups
        self.subsampling = subsampling
        self.dropout = dropout
        self.vocab_size = vocab_size
        self.ctc_blank = ctc_blank
        self.ctc_loss_reduction = ctc_loss_reduction
        self.ctc_zero_infinity = ctc_zero_infinity
