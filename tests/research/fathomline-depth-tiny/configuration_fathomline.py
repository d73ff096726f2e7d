# coding=utf-8
"""Fathomline model configuration"""

from transformers.configuration_utils import PretrainedConfig
from transformers.utils import logging


logger = logging.get_logger(__name__)


class FathomlineConfig(PretrainedConfig):
    r"""
    Configuration of [`FathomlineForDepthEstimation`].

    Args:
        out_indices (`list[int]`):
            Which hidden states go to the neck; 0 is what comes out of the patch embedding.
        reassemble_factors (`list[float]`):
            How much each of them is enlarged (or made smaller, below one).
        depth_estimation_type (`str`, *optional*, defaults to `"relative"`):
            `"relative"` gives an inverse depth without a scale, `"metric"` metres up to `max_depth`.
        num_bins (`int`, *optional*, defaults to 64):
            Number of depth bins of the metric head.
    """

    model_type = "fathomline"

    def __init__(
        self,
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        mlp_ratio=4,
        hidden_act="gelu",
        image_size=518,
        patch_size=14,
        num_channels=3,
        qkv_bias=True,
        layerscale_value=1.0,
        drop_path_rate=0.0,
        use_mask_token=True,
        layer_norm_eps=1e-6,
        initializer_range=0.02,
        out_indices=None,
        reassemble_factors=None,
        neck_hidden_sizes=None,
        fusion_hidden_size=64,
        head_in_index=-1,
        head_hidden_size=32,
        use_batch_norm_in_fusion_residual=True,
        depth_estimation_type="relative",
        max_depth=None,
        num_bins=64,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.mlp_ratio = mlp_ratio
        self.hidden_act = hidden_act
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.qkv_bias = qkv_bias
        self.layerscale_value = layerscale_value
        self.drop_path_rate = drop_path_rate
        self.use_mask_token = use_mask_token
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.out_indices = out_indices if out_indices is not None else [3, 6, 9, 12]
        self.reassemble_factors = reassemble_factors if reassemble_factors is not None else [4, 2, 1, 0.5]
        self.neck_hidden_sizes = neck_hidden_sizes if neck_hidden_sizes is not None else [48, 96, 192, 384]
        self.fusion_hidden_size = fusion_hidden_size
        self.head_in_index = head_in_index
        self.head_hidden_size = head_hidden_size
        self.use_batch_norm_in_fusion_residual = use_batch_norm_in_fusion_residual
        if depth_estimation_type not in ["relative", "metric"]:
            raise ValueError("depth_estimation_type must be one of ['relative', 'metric']")
        self.depth_estimation_type = depth_estimation_type
        self.max_depth = max_depth if max_depth else 1
        self.num_bins = num_bins


__all__ = ["FathomlineConfig"]
