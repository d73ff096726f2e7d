"""The rows of an encoder: bert_model/modeling_bert.py, as formulas of its configuration.

Sources: parameters and products of Devlin et al. 2018 (https://arxiv.org/abs/1810.04805); what backward keeps follows
torch's own derivatives, operator by operator, with dropout where its rate is above 0.
"""

from . import alive
from .attention import Attention, Shape, attention
from .parts import FIXED, INDEX, KEPT, LEARNED, NUMBER, ONCE, Parts, Row, class_loss, labels, rate, value_loss

CHOICES = 2  # texts of one row in multiple choice
POOLED = (
    "AutoModel",
    "AutoModelForPreTraining",
    "AutoModelForNextSentencePrediction",
    "AutoModelForSequenceClassification",
    "AutoModelForMultipleChoice",
)


def encoder(config: dict, head: str, batch: int, length: int) -> Parts:
    texts = batch * CHOICES if head == "AutoModelForMultipleChoice" else batch
    shape = Shape(
        texts, length, config["hidden_size"], config["num_attention_heads"], config["attention_probs_dropout_prob"],
        config["attention_window"], config["attention_stride"], config["num_random_keys"],
        min(config["num_global_tokens"], length), config["attention_seed"],
    )  # fmt: skip
    kinds, functions = per_layer(config, "attention_type"), per_layer(config, "hidden_act")
    prefix = "" if head == "AutoModel" else "bert."
    rows = [_embedding(config, f"{prefix}embeddings", texts, length)]
    layers, density = _layers(config, f"{prefix}encoder.layer.", kinds, functions, shape)
    rows += layers
    if head in POOLED:
        rows.append(_pooler(config, f"{prefix}pooler", texts, length))
    heads, loss = HEADS[head](config, batch, length)
    return Parts(rows + heads, loss, alive.encoder(config, kinds, functions, head, shape), density)


def _embedding(config: dict, name: str, batch: int, length: int) -> Row:
    hidden, tokens = config["hidden_size"], batch * length
    learned = config["position_embedding_type"] != "sinusoidal"
    words = config["vocab_size"] + config["type_vocab_size"]
    words += config["max_position_embeddings"] if learned else 0
    dropped = bool(config["hidden_dropout_prob"])
    kept = INDEX * (2 * tokens + (length if learned else 0)) + NUMBER * tokens * (hidden * (1 + dropped) + 2)
    return Row("embedding", None, name, (words + 2) * hidden, 0, 0, kept)


def per_layer(config: dict, name: str) -> list[str]:
    value = config[name]
    return list(value) if isinstance(value, (list, tuple)) else [value] * config["num_hidden_layers"]


def _layers(
    config: dict, prefix: str, kinds: list[str], functions: list[str], shape: Shape
) -> tuple[list[Row], list[float]]:
    """A row and the density of each layer."""
    batch, length, hidden = shape.batch, shape.length, shape.hidden
    inner, tokens = config["intermediate_size"], batch * length
    parameters = 4 * (hidden * hidden + hidden) + 2 * hidden * inner + inner + hidden + 4 * hidden
    products = 8 * tokens * hidden * hidden + 4 * tokens * hidden * inner
    # what goes into attention, into the feed-forward network and into both norms; the norms' means and deviations
    kept = NUMBER * tokens * (4 * hidden + 4 + (2 * hidden if config["hidden_dropout_prob"] else 0))
    rows: list[Row] = []
    density: list[float] = []
    known: dict[str | int, Attention] = {}
    for i, (kind, function) in enumerate(zip(kinds, functions, strict=True)):
        key = kind if kind != "random" else i  # each layer draws its own keys
        if key not in known:
            known[key] = attention(kind, shape, i)
        mixed = known[key]
        rows.append(Row(
            "layers", i, f"{prefix}{i}", parameters + LEARNED.get(function, 0),
            products + 4 * batch * hidden * mixed.computed, products + 4 * batch * hidden * mixed.seen,
            kept + mixed.kept + function_keeps(function, tokens * inner), FIXED.get(function, 0),
        ))  # fmt: skip
        density.append(mixed.seen / length**2)
    return rows, density


def function_keeps(function: str, numbers: int) -> int:
    """Bytes that backward keeps of an activation function and of what it gives."""
    return KEPT.get(function, 2 * NUMBER) * numbers + ONCE.get(function, 0)


def _pooler(config: dict, name: str, batch: int, length: int) -> Row:
    hidden = config["hidden_size"]
    kept = NUMBER * batch * hidden
    if config["pooling"] == "mean":
        kept += NUMBER * (batch * length + batch + batch * hidden)
    else:
        kept += NUMBER * batch * length * hidden  # a part of the last states keeps all of them
    flops = 2 * batch * hidden * hidden
    return Row("pooler", None, name, hidden * hidden + hidden, flops, flops, kept)


def _bare(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    return [], 0


def _words(config: dict, batch: int, length: int, is_kept: bool = False) -> tuple[list[Row], int]:
    """Scores for each word.

    Args:
        is_kept: the pooler keeps the last states already.
    """
    hidden, words, tokens = config["hidden_size"], config["vocab_size"], batch * length
    function = per_layer(config, "hidden_act")[-1]
    parameters = hidden * hidden + 3 * hidden + LEARNED.get(function, 0) + words
    parameters += 0 if config["tie_word_embeddings"] else words * hidden
    flops = 2 * tokens * hidden * (hidden + words)
    kept = function_keeps(function, tokens * hidden) + NUMBER * tokens * (hidden * (1 if is_kept else 2) + 2)
    row = Row("head", None, "cls.predictions", parameters, flops, flops, kept, FIXED.get(function, 0))
    return [row], class_loss(tokens, words)


def _pairs(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    row = _linear("cls.seq_relationship", config, 2, batch, 0)
    return [row], class_loss(batch, 2)


def _pretraining(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    words, loss = _words(config, batch, length, is_kept=config["pooling"] == "cls")
    pairs, more = _pairs(config, batch, length)
    return words + pairs, loss + more


def _linear(name: str, config: dict, outputs: int, vectors: int, kept: int) -> Row:
    hidden = config["hidden_size"]
    flops = 2 * vectors * hidden * outputs
    return Row("head", None, name, (hidden + 1) * outputs, flops, flops, kept)


def _dropped(config: dict, numbers: int) -> int:
    """What the dropout before a classifier keeps: what is dropped, and the rest."""
    return 2 * NUMBER * numbers if rate(config["classifier_dropout"], config["hidden_dropout_prob"]) else 0


def _texts(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    classes, problem = labels(config), config.get("problem_type")
    row = _linear("classifier", config, classes, batch, _dropped(config, batch * config["hidden_size"]))
    single = problem == "single_label_classification" or (problem is None and classes > 1)
    return [row], class_loss(batch, classes) if single else value_loss(batch * classes)


def _choices(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    texts = batch * CHOICES
    row = _linear("classifier", config, 1, texts, _dropped(config, texts * config["hidden_size"]))
    return [row], class_loss(batch, CHOICES)


def _tokens(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    classes, numbers = labels(config), batch * length * config["hidden_size"]
    row = _linear("classifier", config, classes, batch * length, _dropped(config, numbers) or NUMBER * numbers)
    return [row], class_loss(batch * length, classes)


def _places(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    row = _linear("qa_outputs", config, 2, batch * length, NUMBER * batch * length * config["hidden_size"])
    return [row], 2 * class_loss(batch, length)


HEADS = {
    "AutoModel": _bare,
    "AutoModelForPreTraining": _pretraining,
    "AutoModelForMaskedLM": _words,
    "AutoModelForNextSentencePrediction": _pairs,
    "AutoModelForSequenceClassification": _texts,
    "AutoModelForMultipleChoice": _choices,
    "AutoModelForTokenClassification": _tokens,
    "AutoModelForQuestionAnswering": _places,
}
