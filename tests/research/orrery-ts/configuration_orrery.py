import numpy as np
from transformers import PretrainedConfig


class OrreryConfig(PretrainedConfig):
    model_type = "orrery_ts"
    attribute_map = {"prediction_length": "horizon"}

    def __init__(
        self,
        patch_length=16,
        horizon=64,
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=10,
        num_attention_heads=8,
        num_quantiles=9,
        max_patches=512,
        scale_floor=1e-6,
        use_frequency=True,
        initializer_range=0.02,
        **kwargs,
    ):
        self.patch_length = patch_length
        self.horizon = horizon
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_quantiles = num_quantiles
        self.max_patches = max_patches
        self.scale_floor = scale_floor
        self.use_frequency = use_frequency
        self.initializer_range = initializer_range
        # 0.1 .. 0.9 for nine of them
        self.quantiles = np.round(np.linspace(0, 1, num_quantiles + 2)[1:-1], 4).tolist()
        kwargs.pop("quantiles", None)
        super().__init__(**kwargs)
