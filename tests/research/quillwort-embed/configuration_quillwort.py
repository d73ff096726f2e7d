from typing import Optional

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig
from transformers.models.auto import CONFIG_MAPPING
from transformers.utils import logging

logger = logging.get_logger(__name__)


class LatentPoolConfig(PretrainedConfig):
    model_type = "quillwort_latent"

    def __init__(
        self,
        num_latents: int = 512,
        cross_heads: int = 8,
        cross_dim_head: int = 64,
        mult: int = 4,
        hidden_size: int = 1536,
        output_normalize: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_latents = num_latents
        self.cross_heads = cross_heads
        self.cross_dim_head = cross_dim_head
        self.mult = mult
        self.hidden_size = hidden_size
        self.output_normalize = output_normalize


class QuillwortConfig(PretrainedConfig):
    """Composite configuration: a decoder backbone plus the latent pooler."""

    model_type = "quillwort_embed"
    is_composition = True
    sub_configs = {"text_config": AutoConfig, "latent_config": LatentPoolConfig}

    def __init__(
        self,
        text_config: Optional[dict] = None,
        latent_config: Optional[dict] = None,
        padding_side: str = "right",
        is_mask_instruction: bool = True,
        normalize: bool = True,
        matryoshka_dims=None,
        prompts: Optional[dict] = None,
        pooling: str = "latent",
        **kwargs,
    ):
        if isinstance(text_config, dict):
            text_config.setdefault("model_type", "qwen2")
            text_config = CONFIG_MAPPING[text_config["model_type"]](**text_config)
        elif text_config is None:
            text_config = CONFIG_MAPPING["qwen2"]()
        if isinstance(latent_config, dict):
            latent_config = LatentPoolConfig(**latent_config)
        elif latent_config is None:
            latent_config = LatentPoolConfig(hidden_size=text_config.hidden_size)
        self.text_config = text_config
        self.latent_config = latent_config
        self.hidden_size = text_config.hidden_size
        self.padding_side = padding_side
        self.is_mask_instruction = is_mask_instruction
        self.normalize = normalize
        self.matryoshka_dims = matryoshka_dims or []
        self.prompts = prompts or {}
        self.pooling = pooling
        super().__init__(**kwargs)
