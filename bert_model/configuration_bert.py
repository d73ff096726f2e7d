"""Configuration of a BERT encoder, read from a stock BERT checkpoint's config.json as it is.

- BERT: Pre-training of Deep Bidirectional Transformers, Devlin et al. 2018, https://arxiv.org/abs/1810.04805.
- Added: the kind of attention and the activation layer by layer, sinusoidal positions (Vaswani et al. 2017,
  https://arxiv.org/abs/1706.03762), mean pooling, and computing a padded batch on its real tokens only.
"""

import math
from typing import Any

from transformers import PretrainedConfig
from transformers.activations import ACT2FN

CODE_DIGEST = ""  # filled in the published copy, so that two versions of this code never share loaded modules

ATTENTION_TYPES = ("full", "local", "strided", "random")
POSITIONS = ("learned", "absolute", "sinusoidal")  # absolute is the stock name of learned
POOLINGS = ("cls", "mean")
PROBLEMS = (None, "regression", "single_label_classification", "multi_label_classification")
LARGEST = 2**31 - 1  # of a size: what is larger is a slip, and would be found out by running out of memory


class BERTConfig(PretrainedConfig):
    """Sizes and variant of a BERT; the defaults are bert-base-uncased.

    Raises ValueError for a value that no model can be built from, with the cure.
    """

    model_type = "custom_bert"
    # What transformers' tensor and pipeline parallelism split; names are relative to BERTModel.
    base_model_tp_plan = {  # noqa: RUF012 (transformers reads a plain dict)
        "encoder.layer.*.attention.self.query": "colwise",
        "encoder.layer.*.attention.self.key": "colwise",
        "encoder.layer.*.attention.self.value": "colwise",
        "encoder.layer.*.attention.output.dense": "rowwise",
        "encoder.layer.*.intermediate.dense": "colwise",
        "encoder.layer.*.output.dense": "rowwise",
    }
    base_model_pp_plan = {  # noqa: RUF012
        "embeddings": (["input_ids", "token_type_ids", "position_ids", "inputs_embeds"], ["hidden_states"]),
        "encoder.layer": (["hidden_states", "bias"], ["hidden_states"]),
        "pooler": (["hidden_states", "mask"], ["pooler_output"]),
    }

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str | list[str] = "gelu",  # one for all layers, or one for each
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        classifier_dropout: float | None = None,  # None: hidden_dropout_prob
        tie_word_embeddings: bool = True,
        position_embedding_type: str = "learned",  # or sinusoidal, which has no longest sequence
        pooling: str = "cls",  # what the pooler reads: the first real token, or the mean of all real ones
        attention_type: str | list[str] = "full",  # one of ATTENTION_TYPES for all layers, or one for each
        attention_window: int = 64,  # local: tokens seen on either side
        attention_stride: int = 16,  # strided: every such key is seen
        num_random_keys: int = 64,  # random: keys seen by each block of 64 queries
        num_global_tokens: int = 0,  # the first tokens, which see and are seen by all; not read by full attention
        attention_seed: int = 0,  # random: draws the keys, together with the layer's index
        unpad_inputs: bool = True,  # compute a padded batch on its real tokens only; pads then come back as zeros
        **kwargs: Any,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = plain(hidden_act)
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.classifier_dropout = classifier_dropout
        self.position_embedding_type = position_embedding_type
        self.pooling = pooling
        self.attention_type = plain(attention_type)
        self.attention_window = attention_window
        self.attention_stride = attention_stride
        self.num_random_keys = num_random_keys
        self.num_global_tokens = num_global_tokens
        self.attention_seed = attention_seed
        self.unpad_inputs = unpad_inputs
        self.pad_token_id = pad_token_id
        self.tie_word_embeddings = tie_word_embeddings
        for name in ("is_decoder", "add_cross_attention"):
            if kwargs.get(name):
                raise ValueError(f"{name}=True needs a decoder, which this encoder is not; leave it out")
        if kwargs.pop("use_flash_attention_2", False):
            raise ValueError('use_flash_attention_2=True is now attn_implementation="flash_attention_2"')
        self.check_architecture()
        classes = kwargs.get("num_labels")
        if classes is not None and not (type(classes) is int and 0 < classes <= LARGEST):
            raise ValueError(f"num_labels={classes!r} must be an integer of at least 1; leave it out if unsure")
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)

    def check_architecture(self) -> None:
        """Raise ValueError when no model can be built from the fields.

        The model calls it once more: `from_pretrained(..., attention_type=...)` sets fields after construction.
        """
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                     "max_position_embeddings", "type_vocab_size", "attention_window", "attention_stride",
                     "num_random_keys"):  # fmt: skip
            self.check_number(name, least=1)
        for name in ("num_global_tokens", "attention_seed"):
            self.check_number(name, least=0)
        if self.hidden_size % self.num_attention_heads:
            near = sorted(divisors(self.hidden_size), key=lambda n: abs(n - self.num_attention_heads))[:2]
            raise ValueError(
                f"hidden_size={self.hidden_size} is not a multiple of num_attention_heads={self.num_attention_heads}; "
                f"use {' or '.join(map(str, sorted(near)))}"
            )
        for name, optional in (("hidden_dropout_prob", False), ("attention_probs_dropout_prob", False),
                               ("classifier_dropout", True)):  # fmt: skip
            value = getattr(self, name)
            if not (optional and value is None) and not (is_number(value) and 0 <= value < 1):
                raise ValueError(f"{name}={value!r} must be at least 0 and less than 1; use 0 for no dropout")
        for name in ("initializer_range", "layer_norm_eps"):
            if not is_number(getattr(self, name)) or not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a positive number; leave it out if unsure")
        pad = self.pad_token_id
        if pad is not None and not (type(pad) is int and 0 <= pad < self.vocab_size):
            last = self.vocab_size - 1
            raise ValueError(f"pad_token_id={pad!r} must be from 0 to {last}, or None for no padding token")
        for name in ("unpad_inputs", "tie_word_embeddings"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} must be True or False")
        if str(self.position_embedding_type).startswith("relative"):
            raise ValueError(
                f"position_embedding_type={self.position_embedding_type!r} adds positions inside attention, which is "
                "not supported; use 'learned' or 'sinusoidal'"
            )
        self.check_choice("position_embedding_type", [self.position_embedding_type], POSITIONS)
        self.check_choice("pooling", [self.pooling], POOLINGS)
        for name, allowed in (("attention_type", ATTENTION_TYPES), ("hidden_act", tuple(ACT2FN))):
            value = getattr(self, name)
            self.check_choice(name, self.per_layer(name) if isinstance(value, (list, tuple)) else [value], allowed)
        # the last two are transformers' own fields, which it reads after this code at first
        self.check_choice("problem_type", [getattr(self, "problem_type", None)], PROBLEMS)
        if getattr(self, "id2label", None) == {}:
            raise ValueError("id2label={} names no class; leave it out, or give num_labels")

    def check_number(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if type(value) is not int or value < least:
            raise ValueError(f"{name}={value!r} must be an integer of at least {least}; leave it out if unsure")
        most = 10_000 if name == "num_hidden_layers" else LARGEST
        if value > most and name != "attention_seed":
            raise ValueError(f"{name}={value!r} is more than {most}; leave it out if unsure")

    def check_choice(self, name: str, values: list, allowed: tuple[str, ...]) -> None:
        for value in values:
            if value not in allowed:
                raise ValueError(f"{name}={value!r} is not known; use {' or '.join(map(repr, allowed))}")

    def per_layer(self, name: str) -> list[str]:
        """The field's value for each layer, from one value or a list.

        Raises:
            ValueError: the list is of another length than there are layers.
        """
        value = getattr(self, name)
        if not isinstance(value, (list, tuple)):
            return [value] * self.num_hidden_layers
        if len(value) != self.num_hidden_layers:
            raise ValueError(
                f"{name} lists {len(value)} values for num_hidden_layers={self.num_hidden_layers}; "
                "give one for each layer, or a single one for all"
            )
        return list(value)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def divisors(number: int) -> list[int]:
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


BERTConfig.register_for_auto_class()
