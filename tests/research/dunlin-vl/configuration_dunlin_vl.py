import copy

from transformers import Qwen2Config
from transformers.configuration_utils import PretrainedConfig


class DunlinVisionConfig(PretrainedConfig):
    model_type = "dunlin_vision"
    base_config_key = "vision_config"

    def __init__(
        self,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_channels=3,
        image_size=384,
        patch_size=16,
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=1e-6,
        attention_dropout=0.0,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range


class DunlinVLConfig(PretrainedConfig):
    model_type = "dunlin_vl"
    sub_configs = {"vision_config": DunlinVisionConfig, "text_config": Qwen2Config}

    def __init__(
        self,
        vision_config=None,
        text_config=None,
        image_token_id=151655,
        downsample_ratio=2,
        select_layer=-1,
        projector_hidden_act="gelu",
        ignore_index=-100,
        **kwargs,
    ):
        if vision_config is None:
            vision_config = DunlinVisionConfig()
        elif isinstance(vision_config, dict):
            vision_config = DunlinVisionConfig(**vision_config)
        if text_config is None:
            text_config = Qwen2Config()
        elif isinstance(text_config, dict):
            text_config = Qwen2Config(**text_config)
        self.vision_config = vision_config
        self.text_config = text_config
        self.image_token_id = image_token_id
        self.downsample_ratio = downsample_ratio
        self.select_layer = select_layer
        self.projector_hidden_act = projector_hidden_act
        self.ignore_index = ignore_index
        super().__init__(**kwargs)

    @property
    def num_image_tokens(self):
        side = self.vision_config.image_size // self.vision_config.patch_size // self.downsample_ratio
        return side * side

    def to_dict(self):
        output = copy.deepcopy(self.__dict__)
        output["vision_config"] = self.vision_config.to_dict()
        output["text_config"] = self.text_config.to_dict()
        output["model_type"] = self.__class__.model_type
        output.pop("_attn_implementation_internal", None)
        return output
