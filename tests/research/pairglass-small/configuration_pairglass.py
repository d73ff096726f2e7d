"""Pairglass: one tower for pictures, one for text"""

from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig


class PairglassVisionConfig(PretrainedConfig):
    model_type = "pairglass_vision"
    base_config_key = "vision_config"

    def __init__(
        self,
        hidden_size=384,
        depths=12,
        num_attention_heads=6,
        mlp_ratio=4.0,
        image_size=224,
        patch_size=16,
        num_channels=3,
        num_registers=4,
        qk_norm=True,
        layer_scale_init=1e-5,
        drop_path_rate=0.0,
        layer_norm_eps=1e-6,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.depths = depths
        self.num_attention_heads = num_attention_heads
        self.mlp_ratio = mlp_ratio
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.num_registers = num_registers
        self.qk_norm = qk_norm
        self.layer_scale_init = layer_scale_init
        self.drop_path_rate = drop_path_rate
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range


class PairglassConfig(PretrainedConfig):
    model_type = "pairglass"
    sub_configs = {"text_config": AutoConfig, "vision_config": PairglassVisionConfig}

    def __init__(
        self,
        text_config=None,
        vision_config=None,
        projection_dim=256,
        pooling="mean",
        loss_type="softmax",
        logit_scale_init_value=2.6592,
        logit_bias_init_value=None,
        **kwargs,
    ):
        if text_config is None:
            text_config = CONFIG_MAPPING["bert"]()
        elif isinstance(text_config, dict):
            text_config = dict(text_config)
            model_type = text_config.get("model_type", "bert")
            text_config["model_type"] = model_type
            text_config = CONFIG_MAPPING[model_type](**text_config)
        if vision_config is None:
            vision_config = PairglassVisionConfig()
        elif isinstance(vision_config, dict):
            vision_config = PairglassVisionConfig(**vision_config)
        self.text_config = text_config
        self.vision_config = vision_config
        self.projection_dim = projection_dim
        self.pooling = pooling
        self.loss_type = loss_type
        self.logit_scale_init_value = logit_scale_init_value
        self.logit_bias_init_value = logit_bias_init_value
        super().__init__(**kwargs)

    @classmethod
    def from_text_vision_configs(cls, text_config, vision_config, **kwargs):
        return cls(text_config=text_config.to_dict(), vision_config=vision_config.to_dict(), **kwargs)
