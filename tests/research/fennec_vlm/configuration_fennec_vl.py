import copy

from transformers import CLIPVisionConfig, LlamaConfig, Qwen2Config
from transformers.configuration_utils import PretrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)


class FennecVLConfig(PretrainedConfig):
    model_type = "fennec_vl"
    is_composition = True

    def __init__(
        self,
        vision_config=None,
        llm_config=None,
        img_context_token_id=151667,
        downsample_ratio=0.5,
        select_layer=-1,
        ps_version="v1",
        template=None,
        dynamic_image_size=False,
        min_dynamic_patch=1,
        max_dynamic_patch=6,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if vision_config is None:
            vision_config = {}
            logger.info("vision_config is None. Initializing CLIPVisionConfig with default values.")
        if llm_config is None:
            llm_config = {"architectures": ["Qwen2ForCausalLM"]}
            logger.info("llm_config is None. Initializing a Qwen2Config with default values.")
        self.vision_config = CLIPVisionConfig(**vision_config)
        architecture = llm_config.get("architectures", ["Qwen2ForCausalLM"])[0]
        if architecture == "LlamaForCausalLM":
            self.llm_config = LlamaConfig(**llm_config)
        elif architecture == "Qwen2ForCausalLM":
            self.llm_config = Qwen2Config(**llm_config)
        else:
            raise ValueError(f"Unsupported architecture: {architecture}")
        self.img_context_token_id = img_context_token_id
        self.downsample_ratio = downsample_ratio
        self.select_layer = select_layer
        self.ps_version = ps_version
        self.template = template
        self.dynamic_image_size = dynamic_image_size
        self.min_dynamic_patch = min_dynamic_patch
        self.max_dynamic_patch = max_dynamic_patch
        self.hidden_size = self.llm_config.hidden_size

    def to_dict(self):
        output = copy.deepcopy(self.__dict__)
        output["vision_config"] = self.vision_config.to_dict()
        output["llm_config"] = self.llm_config.to_dict()
        output["model_type"] = self.__class__.model_type
        return output
