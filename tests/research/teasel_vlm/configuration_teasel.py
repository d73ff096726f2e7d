from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig
from transformers.models.auto import CONFIG_MAPPING
from transformers.utils import logging

logger = logging.get_logger(__name__)


class TeaselVisionConfig(PretrainedConfig):
    model_type = "teasel_vision"
    base_config_key = "vision_config"

    def __init__(
        self,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=224,
        patch_size=14,
        num_channels=3,
        layer_norm_eps=1e-6,
        layer_scale=0.1,
        attention_dropout=0.0,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.layer_norm_eps = layer_norm_eps
        self.layer_scale = layer_scale
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range

    @property
    def grid(self):
        return self.image_size // self.patch_size


class TeaselConfig(PretrainedConfig):
    model_type = "teasel_vl"
    sub_configs = {"text_config": AutoConfig, "vision_config": TeaselVisionConfig}
    is_composition = True

    def __init__(
        self,
        text_config=None,
        vision_config=None,
        projector=None,
        image_token_id=151655,
        select_layer=-1,
        initializer_range=0.02,
        **kwargs,
    ):
        if isinstance(vision_config, dict):
            vision_config = TeaselVisionConfig(**vision_config)
        elif vision_config is None:
            logger.info("vision_config is None, defaults are used")
            vision_config = TeaselVisionConfig()
        if isinstance(text_config, dict):
            text_config = CONFIG_MAPPING[text_config.get("model_type", "qwen2")](**text_config)
        elif text_config is None:
            text_config = CONFIG_MAPPING["qwen2"]()
        self.vision_config = vision_config
        self.text_config = text_config
        self.projector = projector or {"kind": "shuffle", "factor": 2, "hidden": 4096}
        self.image_token_id = image_token_id
        self.select_layer = select_layer
        self.initializer_range = initializer_range
        super().__init__(**kwargs)

    @property
    def tokens_per_image(self):
        return (self.vision_config.grid // self.projector["factor"]) ** 2
