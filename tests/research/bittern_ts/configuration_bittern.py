from transformers import PreTrainedConfig


class BitternConfig(PreTrainedConfig):
    model_type = "bittern_ts"

    def __init__(
        self,
        context_length=512,
        horizon=96,
        channels=1,
        patch=16,
        d_model=128,
        num_blocks=4,
        num_heads=4,
        expansion=2,
        looks=None,
        quantiles=(0.1, 0.5, 0.9),
        dropout=0.1,
        scaling="robust",
        init_std=0.02,
        **kwargs,
    ):
        self.context_length = context_length
        self.horizon = horizon
        self.channels = channels
        self.patch = patch
        self.d_model = d_model
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.expansion = expansion
        self.looks = list(looks) if looks is not None else [context_length]
        self.quantiles = list(quantiles)
        self.dropout = dropout
        self.scaling = scaling
        self.init_std = init_std
        super().__init__(**kwargs)
        for look in self.looks:
            if look % patch or look > context_length:
                raise ValueError(f"look {look} must be a multiple of patch={patch} and at most {context_length}")
