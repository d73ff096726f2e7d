# Made by pinfold from modular_decoder.py: edit that file, and run main.py again.
# pinfold 0.1.0, transformers 5.24.0. Taken from there:
#   transformers.models.gemma.modeling_gemma.GemmaRMSNorm 6f26b03c449f085b
#   transformers.models.llama.configuration_llama.LlamaConfig 646de0a43248930a
#   transformers.models.llama.modeling_llama.LlamaAttention b696b4d58eff39fa
#   transformers.models.llama.modeling_llama.LlamaDecoderLayer 8266b53b560febe3
#   transformers.models.llama.modeling_llama.LlamaForCausalLM 70dd63e37a8a0d98
#   transformers.models.llama.modeling_llama.LlamaForQuestionAnswering fc4849660a796410
#   transformers.models.llama.modeling_llama.LlamaForSequenceClassification ef5f5feb58c4f779
#   transformers.models.llama.modeling_llama.LlamaForTokenClassification ace707ec5bcaca05
#   transformers.models.llama.modeling_llama.LlamaMLP dff52a61a4d4a2a1
#   transformers.models.llama.modeling_llama.LlamaModel 202b35fa9004e959
#   transformers.models.llama.modeling_llama.LlamaPreTrainedModel 2a6e47e6f7bec5f7
#   transformers.models.llama.modeling_llama.LlamaRotaryEmbedding b9c35cdb3f24d413
#   transformers.models.llama.modeling_llama.apply_rotary_pos_emb a6dd2967da96713e
#   transformers.models.llama.modeling_llama.eager_attention_forward 7224317efc61532f
#   transformers.models.llama.modeling_llama.repeat_kv d7cb84ea104d6a1d
#   transformers.models.llama.modeling_llama.rotate_half c3e95bb5f330fa3c
# ruff: noqa
# Copyright 2022 EleutherAI and the HuggingFace Inc. team. All rights reserved.
#
# This code is based on EleutherAI's GPT-NeoX library and the GPT-NeoX
# and OPT implementations in this library. It has been modified from its
# original forms to accommodate minor architectural differences compared
# to GPT-NeoX and OPT used by the Meta AI team that trained the model.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

import re

import transformers

MIN_TRANSFORMERS = "4.48"
if [*map(int, re.findall(r"\d+", transformers.__version__)[:3])] < [*map(int, MIN_TRANSFORMERS.split("."))]:
    raise ImportError(
        f"this model needs transformers >= {MIN_TRANSFORMERS}, and this is {transformers.__version__}; "
        "run: pip install -U transformers"
    )

from transformers.configuration_utils import PretrainedConfig

ROTARY_KINDS = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}


def rotary_fields(given, kwargs, length, base=10000.0):
    """`rope_parameters` from any form that they have had; takes rope_theta and rope_scaling out of ``kwargs``.

    Raises:
        ValueError: a kind that is not known, or that lacks a number which it needs.
    """
    found = dict(kwargs.pop("rope_scaling", None) or given or {})
    if any(isinstance(value, dict) for value in found.values()):
        return found  # one set for each kind of layer
    kind = found.pop("type", "default")
    found.setdefault("rope_type", kind)
    for name, value in (("rope_theta", base), ("partial_rotary_factor", None)):
        value = kwargs.pop(name, value)
        if value is not None:
            found.setdefault(name, value)
    kind = found["rope_type"]
    if kind not in ROTARY_KINDS:
        raise ValueError(f"rope_type={kind!r} is not known; use one of {', '.join(ROTARY_KINDS)}")
    if missing := [name for name in ROTARY_KINDS[kind] if name not in found]:
        raise ValueError(f"rope_type={kind!r} needs {' and '.join(missing)}; add it to rope_parameters")
    if kind in ("llama3", "yarn", "longrope"):
        found.setdefault("original_max_position_embeddings", length)
    return found


class DecoderConfig(PretrainedConfig):
    """Sizes and variant of a decoder; the defaults are those of a model with 7 billion weights."""

    model_type = "custom_decoder"
    # Default tensor parallel plan for base model `DecoderModel`
    base_model_tp_plan = {
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }
    base_model_pp_plan = {
        "embed_tokens": (["input_ids"], ["inputs_embeds"]),
        "layers": (["hidden_states", "attention_mask"], ["hidden_states"]),
        "norm": (["hidden_states"], ["hidden_states"]),
    }

    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012 (transformers reads a list)

    def __init__(
        self,
        vocab_size: int = 32000,
        hidden_size: int = 4096,
        intermediate_size: int = 11008,
        num_hidden_layers: int = 32,
        num_attention_heads: int = 32,
        num_key_value_heads: int | None = None,
        hidden_act: str = "silu",
        max_position_embeddings: int = 2048,
        initializer_range: float = 0.02,
        rms_norm_eps: float = 1e-6,
        use_cache: bool = True,
        pad_token_id: int | None = None,
        bos_token_id: int | None = 1,
        eos_token_id: int | list[int] | None = 2,
        pretraining_tp: int | None = 1,
        tie_word_embeddings: bool = False,
        rope_parameters: dict | None = None,
        attention_bias: bool = False,
        attention_dropout: int | float | None = 0.0,
        mlp_bias: bool = False,
        head_dim: int | None = None,
        use_bidirectional_attention: bool = False,  # every token sees all, as in an encoder
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.pretraining_tp = pretraining_tp
        self.tie_word_embeddings = tie_word_embeddings
        self.rope_parameters = rope_parameters
        self.attention_bias = attention_bias
        self.attention_dropout = attention_dropout
        self.mlp_bias = mlp_bias
        self.head_dim = head_dim
        self.use_bidirectional_attention = use_bidirectional_attention
        for name in (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "max_position_embeddings",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be 1 or more")
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads

        self.rope_parameters = rotary_fields(self.rope_parameters, kwargs, self.max_position_embeddings, 10000.0)
        if not 0.0 <= initializer_range <= 1.0:
            raise ValueError(f"initializer_range={initializer_range!r} must be a number from 0.0 to 1.0")
        self.validate_architecture()
        super().__init__(
            pad_token_id=self.pad_token_id,
            bos_token_id=self.bos_token_id,
            eos_token_id=self.eos_token_id,
            tie_word_embeddings=self.tie_word_embeddings,
            **kwargs,
        )

    @property
    def rope_theta(self):
        """The name up to transformers 4, for what still reads it."""
        return self.rope_parameters["rope_theta"]

    @rope_theta.setter
    def rope_theta(self, value):
        self.rope_parameters = {**self.rope_parameters, "rope_theta": value}

    @property
    def rope_scaling(self):
        """The name up to transformers 4; None where nothing is scaled."""
        return None if self.rope_parameters["rope_type"] == "default" else self.rope_parameters

    @rope_scaling.setter
    def rope_scaling(self, value):
        self.rope_parameters = rotary_fields(value, {}, self.max_position_embeddings, self.rope_theta)

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


DecoderConfig.register_for_auto_class()
