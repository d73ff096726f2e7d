from copy import deepcopy
from typing import Any, Dict

from transformers import PretrainedConfig


class TwinHullTextConfig(PretrainedConfig):
    model_type = "twinhull_text"

    def __init__(self, vocab_size=49408, width=512, layers=12, heads=8, context_length=77, eot_token_id=49407, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.layers = layers
        self.heads = heads
        self.context_length = context_length
        self.eot_token_id = eot_token_id


class TwinHullVisionConfig(PretrainedConfig):
    model_type = "twinhull_vision"

    def __init__(self, width=768, layers=12, heads=12, image_size=224, patch_size=16, pool="tok", **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.layers = layers
        self.heads = heads
        self.image_size = image_size
        self.patch_size = patch_size
        self.pool = pool


class TwinHullConfig(PretrainedConfig):
    model_type = "twinhull"
    is_composition = True

    def __init__(self, text_config: Dict = None, vision_config: Dict = None, projection_dim: int = 512,
                 logit_scale_init_value: float = 2.6592, gather_loss: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.text_config = TwinHullTextConfig(**(text_config or {}))
        self.vision_config = TwinHullVisionConfig(**(vision_config or {}))
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value
        self.gather_loss = gather_loss

    @classmethod
    def from_text_vision_configs(cls, text_config, vision_config, **kwargs):
        return cls(text_config=text_config.to_dict(), vision_config=vision_config.to_dict(), **kwargs)

    def to_dict(self):
        output = deepcopy(self.__dict__)
        output["text_config"] = self.text_config.to_dict()
        output["vision_config"] = self.vision_config.to_dict()
        output["model_type"] = self.__class__.model_type
        return output
