from transformers import PretrainedConfig


class KnellConfig(PretrainedConfig):
    model_type = "knell"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "num_layers"}

    def __init__(
        self,
        vocab_size=5000,
        num_mel_bins=80,
        d_model=256,
        ffn_dim=2048,
        num_layers=12,
        num_attention_heads=4,
        conv_kernel_size=15,
        subsampling_channels=256,
        dropout=0.1,
        attention_dropout=0.0,
        layerdrop=0.0,
        xscale=True,
        initializer_range=0.02,
        ctc_loss_reduction="sum",
        ctc_zero_infinity=True,
        blank_token_id=0,
        intermediate_ctc_layers=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.num_mel_bins = num_mel_bins
        self.d_model = d_model
        self.ffn_dim = ffn_dim
        self.num_layers = num_layers
        self.num_attention_heads = num_attention_heads
        self.conv_kernel_size = conv_kernel_size
        self.subsampling_channels = subsampling_channels
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.layerdrop = layerdrop
        self.xscale = xscale
        self.initializer_range = initializer_range
        self.ctc_loss_reduction = ctc_loss_reduction
        self.ctc_zero_infinity = ctc_zero_infinity
        self.blank_token_id = blank_token_id
        self.intermediate_ctc_layers = intermediate_ctc_layers or []
