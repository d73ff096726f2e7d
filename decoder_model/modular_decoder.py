"""A causal decoder: Llama with Gemma's norm. `python main.py decoder_model/modular_decoder.py` writes the rest.

- Llama: Touvron et al. 2023, https://arxiv.org/abs/2302.13971; grouped-query attention: Ainslie et al. 2023,
  https://arxiv.org/abs/2305.13245; rotary positions: Su et al. 2021, https://arxiv.org/abs/2104.09864.
- Changed: the norm is Gemma's (https://arxiv.org/abs/2403.08295), whose weights start at 0 and are added to 1, all of
  it in float32; `use_bidirectional_attention=True` makes it an encoder.
"""

from transformers import initialization as init
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaForCausalLM,
    LlamaForQuestionAnswering,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    LlamaModel,
    LlamaPreTrainedModel,
)

MIN_TRANSFORMERS = "4.48"  # what is newer is replaced by code of the generated files' own


class DecoderConfig(LlamaConfig):
    """Sizes and variant of a decoder; the defaults are those of a model with 7 billion weights."""

    model_type = "custom_decoder"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012 (transformers reads a list)

    use_bidirectional_attention: bool = False  # every token sees all, as in an encoder

    def __post_init__(self, **kwargs):
        for name in (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "max_position_embeddings",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be 1 or more")
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        """Raise ValueError when no model can be built from the sizes."""
        heads, shared = self.num_attention_heads, self.num_key_value_heads
        if self.hidden_size % heads:
            near = sorted(n for n in range(1, self.hidden_size + 1) if self.hidden_size % n == 0)
            near = sorted(sorted(near, key=lambda n: abs(n - heads))[:2])
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of num_attention_heads={heads}; use "
                f"{' or '.join(map(str, near))} heads"
            )
        if heads % shared:
            raise ValueError(
                f"num_attention_heads={heads} is not a multiple of num_key_value_heads={shared}; leave the latter out "
                "for a key of its own in each head, or use 1 for one that all share"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim={self.head_dim} is odd, but rotary positions turn pairs; use an even one")

    @property
    def is_causal(self):
        """What attention and masks read."""
        return not self.use_bidirectional_attention

    @is_causal.setter
    def is_causal(self, value):
        self.use_bidirectional_attention = not value


class DecoderRMSNorm(GemmaRMSNorm):
    pass


class DecoderAttention(LlamaAttention):
    def __init__(self, config: DecoderConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        del self.is_causal

    @property
    def is_causal(self):
        return self.config.is_causal


class DecoderPreTrainedModel(LlamaPreTrainedModel):
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, DecoderRMSNorm):
            init.zeros_(module.weight)  # the norm adds 1


class DecoderModel(LlamaModel):
    pass


class DecoderForCausalLM(LlamaForCausalLM):
    pass


class DecoderForSequenceClassification(LlamaForSequenceClassification):
    pass


class DecoderForTokenClassification(LlamaForTokenClassification):
    pass


class DecoderForQuestionAnswering(LlamaForQuestionAnswering):
    base_model_prefix = "model"
