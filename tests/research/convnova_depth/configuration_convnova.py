from typing import List, Sequence

from transformers.configuration_utils import PretrainedConfig


class ConvNovaConfig(PretrainedConfig):
    """
    dims, depths: widths and block counts of the stages
    n_bins: depth is a soft sum over bin centres
    """

    model_type = "convnova_depth"

    def __init__(
        self,
        num_channels: int = 3,
        dims: Sequence[int] = (96, 192, 384, 768),
        depths: Sequence[int] = (3, 3, 9, 3),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        use_grn: bool = True,
        decoder_dim: int = 128,
        n_bins: int = 64,
        min_depth: float = 1e-3,
        max_depth: float = 80.0,
        **kwargs,
    ) -> None:
        self.num_channels = num_channels
        self.dims = list(dims)
        self.depths = list(depths)
        self.drop_path_rate = drop_path_rate
        self.layer_scale_init_value = layer_scale_init_value
        self.use_grn = use_grn
        self.decoder_dim = decoder_dim
        self.n_bins = n_bins
        self.min_depth = min_depth
        self.max_depth = max_depth
        super().__init__(**kwargs)
