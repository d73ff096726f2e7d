import copy

from transformers import CLIPVisionConfig, PretrainedConfig, XLMRobertaConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)


class WrenCLIPConfig(PretrainedConfig):
    model_type = "wren_clip"
    is_composition = True

    def __init__(
        self,
        text_config=None,
        vision_config=None,
        projection_dim=512,
        logit_scale_init_value=2.6592,
        text_pooling="mean",
        freeze_vision=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if text_config is None:
            text_config = {}
            logger.info("text_config is None. Initializing XLMRobertaConfig with default values.")
        if vision_config is None:
            vision_config = {}
            logger.info("vision_config is None. Initializing CLIPVisionConfig with default values.")
        self.text_config = XLMRobertaConfig(**text_config) if isinstance(text_config, dict) else text_config
        self.vision_config = CLIPVisionConfig(**vision_config) if isinstance(vision_config, dict) else vision_config
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        self.text_pooling = text_pooling
        self.freeze_vision = freeze_vision
        self.initializer_factor = 1.0

    @classmethod
    def from_text_vision_configs(cls, text_config, vision_config, **kwargs):
        return cls(text_config=text_config.to_dict(), vision_config=vision_config.to_dict(), **kwargs)

    def to_dict(self):
        output = copy.deepcopy(self.__dict__)
        output["text_config"] = self.text_config.to_dict()
        output["vision_config"] = self.vision_config.to_dict()
        output["model_type"] = self.__class__.model_type
        return output
