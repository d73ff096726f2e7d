"""The fields of the two architectures that can be drawn: what each may hold, and where the page shows it.

A field's name is that of the model's own configuration. What is not allowed here is still refused by the
configuration's class; what is allowed here and refused there is shown with its message.
"""

import functools
from dataclasses import dataclass
from typing import Any

from pinfold.builder.models import DECODER, ENCODER

LAYERS, LENGTH, BATCH = 200, 8192, 64  # most of what can be drawn
LARGEST = 2**31 - 1  # of an integer, as the configurations have it
WIDEST = 65536  # of a size that weights grow with


@dataclass(frozen=True)
class Field:
    """One setting.

    Args:
        kind: integer, number, word or truth.
        least, most: of a number, both allowed.
        none: whether it may be left empty (null).
        options: of a word, (value, label, help).
        each: whether each layer has its own.
    """

    name: str
    label: str
    help: str
    kind: str = "integer"
    least: float = 1
    most: float = LARGEST
    none: bool = False
    options: tuple[tuple[str, str, str], ...] = ()
    each: bool = False

    def as_json(self) -> dict[str, Any]:
        """What the page is drawn from."""
        seen: dict[str, Any] = {"kind": self.kind, "label": self.label, "help": self.help, "none": self.none}
        if self.kind in ("integer", "number"):
            seen |= {"least": self.least, "most": self.most}
        if self.options:
            seen["options"] = [dict(zip(("value", "label", "help"), option, strict=True)) for option in self.options]
        return seen


# Activation functions without weights that every release of transformers has from 4.48 on.
ACTIVATIONS = tuple(
    (name, name, text)
    for name, text in (
        ("gelu", "BERT's"),
        ("gelu_new", "by tanh, as in GPT-2"),
        ("gelu_pytorch_tanh", "by tanh, as in Gemma"),
        ("gelu_fast", "by tanh, in another order of operations"),
        ("gelu_10", "cut off at -10 and 10, for quantisation"),
        ("quick_gelu", "by sigmoid, as in CLIP"),
        ("laplace", "an error function, as in MEGA"),
        ("leaky_relu", "with a slope of 0.01 below 0"),
        ("linear", "does nothing"),
        ("mish", "x times tanh of softplus"),
        ("relu", "cuts off below 0"),
        ("relu2", "relu, squared"),
        ("relu6", "relu, cut off at 6"),
        ("sigmoid", "from 0 to 1"),
        ("silu", "x times sigmoid, as in Llama"),
        ("swish", "another name of silu"),
        ("tanh", "from -1 to 1"),
    )
)
ATTENTION = (
    ("full", "Full", "every token sees every token"),
    ("local", "Local", "a window of tokens on either side; cost grows with length times window"),
    ("strided", "Strided", "itself and every n-th token"),
    ("random", "Random", "itself and keys drawn for each block of 64 queries"),
)
POSITIONS = (
    ("learned", "Learned", "a table, as long as the longest sequence"),
    ("sinusoidal", "Sinusoidal", "sines and cosines; without a longest sequence and without weights"),
)
POOLING = (
    ("cls", "First token", "the state of the first token, which is [CLS] in BERT's tokenizers"),
    ("mean", "Mean", "the mean of all real tokens; for a tokenizer without [CLS]"),
)
PROBLEM_TYPES = (
    ("regression", "Regression", "numbers"),
    ("single_label_classification", "One label", "one class for each text"),
    ("multi_label_classification", "Several labels", "any number of classes for each text"),
)


def probability(name: str, label: str, text: str, none: bool = False) -> Field:
    return Field(name, label, text, kind="number", least=0, most=0.99, none=none)


SIZES = (
    Field("hidden_size", "Hidden size", "width of a token's state; a multiple of the heads", most=WIDEST),
    Field("num_hidden_layers", "Layers", "length of the stack", most=LAYERS),
    Field("num_attention_heads", "Attention heads", "each sees an equal part of the hidden size", most=4096),
    Field("intermediate_size", "Feed-forward size", "width inside of the feed-forward network", most=4 * WIDEST),
    Field("vocab_size", "Vocabulary", "number of different tokens", most=10_000_000),
    Field("max_position_embeddings", "Longest sequence", "in tokens", most=10_000_000),
)
LABELS = (
    Field("num_labels", "Labels", "number of classes, or of numbers that are predicted", most=1_000_000),
    Field(
        "problem_type", "Kind of labels", "which loss is used; empty: by the labels", kind="word", none=True,
        options=PROBLEM_TYPES,
    ),
)  # fmt: skip
SPREAD = Field("initializer_range", "Spread of new weights", "standard deviation", kind="number", least=1e-9, most=1.0)
EPSILON = "added to the variance before a norm divides by its root"


@functools.cache
def encoder_fields() -> dict[str, Field]:
    """Fields of bert_model, by name."""
    fields = (
        *SIZES,
        Field("type_vocab_size", "Kinds of text", "2 for pairs of texts", most=1024),
        Field("position_embedding_type", "Positions", "how a token knows its place", kind="word", options=POSITIONS),
        Field("attention_type", "Attention", "what a token sees", kind="word", options=ATTENTION, each=True),
        Field("hidden_act", "Activation", "between the two halves of the feed-forward network", kind="word",
              options=ACTIVATIONS, each=True),
        Field("attention_window", "Window", "local: tokens seen on either side", most=1_000_000),
        Field("attention_stride", "Stride", "strided: every so-manyth token is seen", most=1_000_000),
        Field("num_random_keys", "Random keys", "random: keys for each block of 64 queries", most=8192),
        Field("num_global_tokens", "Global tokens", "first tokens, which see all and are seen by all; full attention "
              "does not need them", least=0, most=8192),
        Field("attention_seed", "Seed", "random: draws the keys", least=0),
        Field("pooling", "Pooler", "one vector for a text", kind="word", options=POOLING),
        *LABELS,
        probability("hidden_dropout_prob", "Dropout", "share of a state's numbers that training leaves out"),
        probability("attention_probs_dropout_prob", "Dropout of attention", "the same of attention's weights"),
        probability("classifier_dropout", "Dropout of the head", "empty: that of the states", none=True),
        SPREAD,
        Field("layer_norm_eps", "Epsilon of norms", EPSILON, kind="number", least=1e-30, most=1.0),
        Field("pad_token_id", "Padding token", "its id in the vocabulary; empty: none", least=0, none=True),
        Field("tie_word_embeddings", "Tied head", "a head for words shares the embeddings' weights", kind="truth"),
        Field("unpad_inputs", "Leave padding out", "compute a padded batch on its real tokens only", kind="truth"),
    )  # fmt: skip
    return {field.name: field for field in fields}


@functools.cache
def decoder_fields() -> dict[str, Field]:
    """Fields of decoder_model, by name; rope_theta is the one inside of rope_parameters."""
    fields = (
        *SIZES,
        Field("num_key_value_heads", "Key-value heads", "groups of heads share keys and values; as many as heads: "
              "none do", most=4096),
        Field("head_dim", "Size of a head", "empty: hidden size / heads", most=WIDEST, none=True),
        Field("hidden_act", "Activation", "of the gate in the feed-forward network", kind="word",
              options=ACTIVATIONS),
        Field("rope_theta", "Rotary base", "longer sequences want a larger one", kind="number", least=1.0, most=1e12),
        Field("tie_word_embeddings", "Tied head", "the head for words shares the embeddings' weights", kind="truth"),
        Field("use_bidirectional_attention", "Bidirectional", "every token sees all, as in an encoder", kind="truth"),
        *LABELS,
        Field("attention_bias", "Bias in attention", "of queries, keys, values and output", kind="truth"),
        Field("mlp_bias", "Bias in feed-forward", "of its three layers", kind="truth"),
        probability("attention_dropout", "Dropout of attention", "share of weights that training leaves out"),
        SPREAD,
        Field("rms_norm_eps", "Epsilon of norms", EPSILON, kind="number", least=1e-30, most=1.0),
        Field("pad_token_id", "Padding token", "its id in the vocabulary; empty: none", least=0, none=True),
        Field("bos_token_id", "First token", "id of the token that a text begins with; empty: none", least=0,
              none=True),
        Field("eos_token_id", "Last token", "id of the token that ends a text; empty: none", least=0, none=True),
        Field("use_cache", "Cache", "generate keeps keys and values of earlier tokens", kind="truth"),
    )  # fmt: skip
    return {field.name: field for field in fields}


FIELDS = {ENCODER: encoder_fields, DECODER: decoder_fields}
