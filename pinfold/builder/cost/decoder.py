"""The rows of a decoder: decoder_model/modeling_decoder.py, as formulas of its configuration.

Sources: Llama (https://arxiv.org/abs/2302.13971), grouped keys and values (https://arxiv.org/abs/2305.13245); what
backward keeps follows torch's own derivatives, operator by operator.
"""

from . import alive, pairs
from .encoder import function_keeps
from .parts import FIXED, INDEX, LEARNED, NUMBER, Parts, Row, class_loss, labels, rate, value_loss

WIDEST = 256  # of a head whose keys torch's attention shares; wider ones are copied for each head


def decoder(config: dict, head: str, batch: int, length: int) -> Parts:
    hidden, tokens, layers = config["hidden_size"], batch * length, config["num_hidden_layers"]
    prefix = "" if head == "AutoModel" else "model."
    seen = pairs.full(length) if config["use_bidirectional_attention"] else pairs.causal(length)
    words = config["vocab_size"] * hidden
    rows = [Row("embedding", None, f"{prefix}embed_tokens", words, 0, 0, INDEX * tokens)]
    rows += _layers(config, f"{prefix}layers.", batch, length, seen)
    # the states, their sizes, the weights with 1 added, and the states in size 1
    norm = NUMBER * (2 * tokens * hidden + tokens + hidden)
    rows.append(Row("norm", None, f"{prefix}norm", hidden, 0, 0, norm, 2 * (head_width(config) // 2)))
    heads, loss = HEADS[head](config, batch, length)
    most = alive.decoder(config, head, head_width(config), batch, length)
    return Parts(rows + heads, loss, most, [seen / length**2] * layers)


def head_width(config: dict) -> int:
    return config["head_dim"] or config["hidden_size"] // config["num_attention_heads"]


def _layers(config: dict, prefix: str, batch: int, length: int, seen: int) -> list[Row]:
    hidden, inner, tokens = config["hidden_size"], config["intermediate_size"], batch * length
    heads, width, function = config["num_attention_heads"], head_width(config), config["hidden_act"]
    shared = config["num_key_value_heads"] or heads
    outputs = (heads + 2 * shared) * width
    parameters = hidden * outputs + heads * width * hidden + 3 * hidden * inner + 2 * hidden
    parameters += outputs + hidden if config["attention_bias"] else 0
    parameters += 2 * inner + hidden if config["mlp_bias"] else 0
    parameters += LEARNED.get(function, 0)
    products = 2 * tokens * (hidden * outputs + heads * width * hidden + 3 * hidden * inner)
    # two norms as the last one, and what comes out of them
    kept = NUMBER * 2 * (3 * tokens * hidden + tokens + hidden)
    kept += _attention_keeps(config, batch, length, heads, shared)
    # the gate's function and its result, the other half, and their product
    kept += function_keeps(function, tokens * inner) + NUMBER * 2 * tokens * inner
    turned = NUMBER * 2 * length * width  # cosines and sines, which all layers share
    score = 4 * batch * heads * width
    return [
        Row(
            "layers", i, f"{prefix}{i}", parameters, products + score * length**2, products + score * seen,
            kept + (0 if i else turned), FIXED.get(function, 0),
        )
        for i in range(config["num_hidden_layers"])
    ]  # fmt: skip


def _attention_keeps(config: dict, batch: int, length: int, heads: int, shared: int) -> int:
    width, rows = head_width(config), batch * heads * length
    alone = width > WIDEST and length == 1  # heads that share a key are then the queries of one head
    if config["attention_dropout"]:  # query, keys and values, three matrices of scores, the mixture
        keys = batch * (shared if alone else heads) * length * width
        return NUMBER * (2 * rows * width + 2 * keys + 3 * rows * length)
    if width > WIDEST and not alone:
        shared = heads
    return NUMBER * (2 * rows * width + 2 * batch * shared * length * width + rows)


def _bare(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    return [], 0


def _linear(name: str, config: dict, outputs: int, vectors: int, bias: bool, kept: int = 0) -> Row:
    """A head that reads every token."""
    hidden = config["hidden_size"]
    flops = 2 * vectors * hidden * outputs
    kept = kept or NUMBER * vectors * hidden
    return Row("head", None, name, (hidden + bias) * outputs, flops, flops, kept)


def _words(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    words, tokens = config["vocab_size"], batch * length
    row = _linear("lm_head", config, words, tokens, bias=False)
    if config["tie_word_embeddings"]:
        row = Row(row.slot, None, row.name, 0, row.flops, row.useful, row.kept)
    # labels are moved by one place: a column longer, unless they have to be copied
    moved = batch * (length + 1) if batch == 1 or length == 1 else tokens
    return [row], class_loss(tokens, words, moved)


def _texts(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    classes, problem = labels(config), config.get("problem_type")
    row = _linear("score", config, classes, batch * length, bias=False)
    ends = INDEX * batch * (1 if config["pad_token_id"] is None else 2)
    single = problem == "single_label_classification" or (problem is None and classes > 1)
    return [row], ends + (class_loss(batch, classes) if single else value_loss(batch * classes))


def _tokens(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    classes, numbers = labels(config), batch * length * config["hidden_size"]
    dropped = rate(config.get("classifier_dropout"), config.get("hidden_dropout"), otherwise=0.1)
    bias = config.get("token_classification_bias", True)
    row = _linear("score", config, classes, batch * length, bias, NUMBER * numbers * (2 if dropped else 1))
    return [row], class_loss(batch * length, classes)


def _places(config: dict, batch: int, length: int) -> tuple[list[Row], int]:
    return [_linear("qa_outputs", config, 2, batch * length, bias=True)], 2 * class_loss(batch, length)


HEADS = {
    "AutoModel": _bare,
    "AutoModelForCausalLM": _words,
    "AutoModelForSequenceClassification": _texts,
    "AutoModelForTokenClassification": _tokens,
    "AutoModelForQuestionAnswering": _places,
}
