"""A configuration with everything: new fields, changed defaults, a validator, properties and an attribute map."""

from typing import Literal

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM


class RichConfig(LlamaConfig):
    """
    A configuration with more.

    Args:
        depth_factor (`int`, *optional*, defaults to 3): How much deeper.
    """

    model_type = "rich_llama"
    attribute_map = {"dim": "hidden_size", "depth": "num_hidden_layers"}  # noqa: RUF012
    keys_to_ignore_at_inference = ["cache", "extras"]  # noqa: RUF012

    vocab_size: int = 99
    depth_factor: int = 3
    flavour: Literal["plain", "rich"] = "rich"
    rms_norm_eps: float = 1e-5

    def __post_init__(self, **kwargs):
        self.more = kwargs.pop("more", None)
        if self.intermediate_size == 11008:
            self.intermediate_size = 2 * self.hidden_size
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        super().validate_architecture()
        if self.depth_factor < 1:
            raise ValueError(f"depth_factor is {self.depth_factor}; it must be 1 or more")

    @property
    def total_depth(self):
        return self.num_hidden_layers * self.depth_factor

    @classmethod
    def small(cls, **kwargs):
        return cls(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, **kwargs)


class RichForCausalLM(LlamaForCausalLM):
    pass
