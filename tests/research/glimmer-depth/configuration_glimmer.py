import copy

from transformers.configuration_utils import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging
from transformers.utils.backbone_utils import verify_backbone_config_arguments

logger = logging.get_logger(__name__)


class GlimmerConfig(PretrainedConfig):
    model_type = "glimmer_depth"

    def __init__(
        self,
        backbone_config=None,
        backbone=None,
        use_pretrained_backbone=False,
        use_timm_backbone=False,
        backbone_kwargs=None,
        fusion_hidden_size=64,
        n_bins=64,
        min_depth=1e-3,
        max_depth=80.0,
        head_hidden_size=32,
        initializer_range=0.02,
        silog_lambda=0.85,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if backbone_config is None and backbone is None:
            logger.info("`backbone_config` is `None`. Initializing the config with the default `Dinov2` backbone.")
            backbone_config = CONFIG_MAPPING["dinov2"](
                image_size=518, out_indices=[9, 10, 11, 12], apply_layernorm=True, reshape_hidden_states=False
            )
        elif isinstance(backbone_config, dict):
            config_class = CONFIG_MAPPING[backbone_config["model_type"]]
            backbone_config = config_class.from_dict(backbone_config)
        verify_backbone_config_arguments(
            use_timm_backbone=use_timm_backbone,
            use_pretrained_backbone=use_pretrained_backbone,
            backbone=backbone,
            backbone_config=backbone_config,
            backbone_kwargs=backbone_kwargs,
        )
        self.backbone_config = backbone_config
        self.backbone = backbone
        self.use_pretrained_backbone = use_pretrained_backbone
        self.use_timm_backbone = use_timm_backbone
        self.backbone_kwargs = backbone_kwargs
        self.fusion_hidden_size = fusion_hidden_size
        self.n_bins = n_bins
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.head_hidden_size = head_hidden_size
        self.initializer_range = initializer_range
        self.silog_lambda = silog_lambda

    def to_dict(self):
        output = copy.deepcopy(self.__dict__)
        if output["backbone_config"] is not None:
            output["backbone_config"] = self.backbone_config.to_dict()
        output["model_type"] = self.__class__.model_type
        return output
