from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import PreTrainedConfig


@strict
class CulvertConfig(PreTrainedConfig):
    r"""
    context_length (`int`): the longest history the model looks at, older values are cut off.
    horizon_length (`int`): values that one forward pass forecasts after the last patch.
    quantiles (`list[float]`): levels of the quantile head; 0.5 should be one of them.
    scaling (`str`): `"std"`, `"absmean"` or `"none"`.
    """

    model_type = "culvert_ts"
    attribute_map = {"num_heads": "num_attention_heads"}

    context_length: int = 512
    horizon_length: int = 64
    patch_length: int = 16
    hidden_size: int = 256
    intermediate_size: int = 1024
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    hidden_act: str = "silu"
    quantiles: list[float] | tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    scaling: str = "std"
    use_frequency_token: bool = True
    num_frequencies: int = 6
    rope_base: float = 10000.0
    rms_norm_eps: float = 1e-6
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    tolerance: float = 1e-5

    def __post_init__(self, **kwargs):
        self.quantiles = list(self.quantiles)
        super().__post_init__(**kwargs)

    @property
    def num_quantiles(self) -> int:
        return len(self.quantiles)

    @property
    def max_patches(self) -> int:
        return self.context_length // self.patch_length


__all__ = ["CulvertConfig"]
