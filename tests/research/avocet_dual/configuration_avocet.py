import copy

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)


class AvocetImageConfig(PretrainedConfig):
    model_type = "avocet_image"
    base_config_key = "image_config"

    def __init__(
        self, depths=(3, 3, 9, 3), widths=(96, 192, 384, 768), stem=4, kernel=7, layer_scale=1e-2, drop_path=0.0, **kwargs
    ):
        super().__init__(**kwargs)
        if len(depths) != len(widths):
            raise ValueError("depths and widths must be of one length")
        self.depths, self.widths = list(depths), list(widths)
        self.stem = stem
        self.kernel = kernel
        self.layer_scale = layer_scale
        self.drop_path = drop_path
        self.hidden_size = self.widths[-1]


class AvocetConfig(PretrainedConfig):
    model_type = "avocet_dual"
    is_composition = True
    has_no_defaults_at_init = True
    sub_configs = {"image_config": AvocetImageConfig, "text_config": AutoConfig}

    def __init__(self, projection=512, logit_scale_init=2.6592, pooling="mean", **kwargs):
        if "text_config" not in kwargs or "image_config" not in kwargs:
            raise ValueError("AvocetConfig needs text_config and image_config; use from_towers()")
        text_config = kwargs.pop("text_config")
        image_config = kwargs.pop("image_config")
        super().__init__(**kwargs)
        if isinstance(text_config, dict):
            text_config = dict(text_config)
            text_config = AutoConfig.for_model(text_config.pop("model_type"), **text_config)
        if isinstance(image_config, dict):
            image_config = AvocetImageConfig(**image_config)
        self.text_config = text_config
        self.image_config = image_config
        self.projection = projection
        self.logit_scale_init = logit_scale_init
        self.pooling = pooling

    @classmethod
    def from_towers(cls, text_config, image_config, **kwargs):
        return cls(text_config=text_config.to_dict(), image_config=image_config.to_dict(), **kwargs)

    def to_dict(self):
        output = copy.deepcopy(self.__dict__)
        output["text_config"] = self.text_config.to_dict()
        output["image_config"] = self.image_config.to_dict()
        output["model_type"] = self.model_type
        return output
