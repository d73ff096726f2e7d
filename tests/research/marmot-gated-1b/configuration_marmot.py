from huggingface_hub.dataclasses import strict

from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_rope_utils import RopeParameters


@strict
class MarmotConfig(PreTrainedConfig):
    r"""
    Sizes of Marmot. `value_residual` adds the first layer's values to those of every later layer, with a learned share.
    """

    model_type = "marmot"
    base_model_tp_plan = {
        "layers.*.self_attn.qkv_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }

    vocab_size: int = 65536
    hidden_size: int = 1536
    intermediate_size: int = 6144
    num_hidden_layers: int = 20
    num_attention_heads: int = 12
    num_key_value_heads: int | None = None
    head_dim: int = 128
    hidden_act: str = "relu2"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    value_residual: bool = True
    logit_cap: float | None = 15.0
    attention_dropout: float | int = 0.0
    rope_parameters: RopeParameters | dict | None = None
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None

    def __post_init__(self, **kwargs):
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads has to be a multiple of num_key_value_heads")
        super().__post_init__(**kwargs)


__all__ = ["MarmotConfig"]
