"""What the page is drawn from: rows, fields, palette and presets. The page itself knows no architecture."""

import os
from typing import Any

from pinfold import __version__
from pinfold.builder.drawing.architectures import ARCHITECTURES, Architecture, spoken
from pinfold.builder.drawing.fields import ACTIVATIONS, ATTENTION, BATCH, LAYERS, LENGTH, POOLING, POSITIONS
from pinfold.builder.drawing.state import Drawing, default_config

RUN_PARAMETERS, RUN_LENGTH = 50_000_000, 2048  # most of a model that is run from the page
USUAL = ("gelu", "relu", "silu", "tanh")  # activations in the palette; all others are in each layer's list
NAMES = {"encoder": ("MyEncoder", "my_encoder"), "decoder": ("MyDecoder", "my_decoder")}


def schema() -> dict[str, Any]:
    """The answer to GET /api/schema."""
    import torch
    import transformers

    return {
        "pinfold": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": f"{os.cpu_count()} cores",
        "limits": {
            "layers": LAYERS, "length": LENGTH, "batch": BATCH, "run_parameters": RUN_PARAMETERS,
            "run_length": RUN_LENGTH,
        },
        "start": "encoder",
        "architectures": {name: of(architecture) for name, architecture in ARCHITECTURES.items()},
    }  # fmt: skip


def of_start() -> list[dict[str, Any]]:
    """The state that each architecture begins with."""
    return [preset(architecture, {}).state() for architecture in ARCHITECTURES.values()]


def of(architecture: Architecture) -> dict[str, Any]:
    """One architecture, for the page."""
    own = ENCODER if architecture.name == "encoder" else DECODER
    shown = {name for row in own["rows"] for name in (*row.get("fields", ()), *row.get("each", ()))}
    shown |= {*own["sizes"], *own["attention"], "num_hidden_layers", "num_labels", "problem_type"}
    return {
        "title": architecture.title,
        "text": architecture.text,
        "default": preset(architecture, {}).state(),
        "rows": own["rows"],
        "sizes": own["sizes"],
        "attention": own["attention"],
        "more": [name for name in architecture.fields if name not in shown],
        "fields": {name: field.as_json() for name, field in architecture.fields.items()},
        "palette": palette(architecture),
        "heads": [head(architecture, auto) for auto in architecture.heads],
        "presets": [
            {"label": label, "text": text, "state": preset(architecture, values, heads).state()}
            for label, text, values, heads in own["presets"]
        ],
    }


ENCODER: dict[str, Any] = {
    "rows": [
        {"slot": "embedding", "title": "Embedding",
         "fields": ["vocab_size", "max_position_embeddings", "position_embedding_type", "type_vocab_size"]},
        {"slot": "layers", "title": "Layer", "count": "num_hidden_layers", "each": ["attention_type", "hidden_act"]},
        {"slot": "pooler", "title": "Pooler", "fields": ["pooling"]},
        {"slot": "head", "title": "Head", "fields": []},
    ],
    "sizes": ["hidden_size", "num_attention_heads", "intermediate_size"],
    "attention": ["attention_window", "attention_stride", "num_random_keys", "num_global_tokens", "attention_seed"],
    "presets": [
        ("BERT-tiny", "Two layers in which every token sees all.", {}, None),
        ("Longformer-like", "Windows, and one token that sees everything: long texts at a linear cost.",
         {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024, "num_hidden_layers": 4,
          "max_position_embeddings": 4096, "attention_type": ["local"] * 4, "num_global_tokens": 1},
         ["AutoModelForSequenceClassification", "AutoModelForQuestionAnswering"]),
        ("BigBird-like", "Windows and random keys in turn, and two global tokens.",
         {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024, "num_hidden_layers": 6,
          "max_position_embeddings": 4096, "attention_type": ["local", "random"] * 3, "num_global_tokens": 2},
         ["AutoModelForMaskedLM"]),
    ],
    "start": {
        "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512,
    },
    "heads": ["AutoModelForSequenceClassification"],
}  # fmt: skip
DECODER: dict[str, Any] = {
    "rows": [
        {"slot": "embedding", "title": "Embedding", "fields": ["vocab_size", "max_position_embeddings"]},
        {"slot": "layers", "title": "Layer", "count": "num_hidden_layers", "each": []},
        {"slot": "head", "title": "Head", "fields": ["tie_word_embeddings"]},
    ],
    "sizes": ["hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
              "hidden_act"],
    "attention": ["rope_theta", "use_bidirectional_attention"],
    "presets": [
        ("Small Llama", "Four layers with heads of their own keys.", {}, None),
        ("Grouped keys", "Eight heads share two sets of keys: a quarter of the cache.",
         {"hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 1408,
          "num_hidden_layers": 8, "max_position_embeddings": 4096}, None),
        ("Long rotary base", "One set of keys for all heads, and positions for long texts.",
         {"num_key_value_heads": 1, "rope_theta": 1000000.0, "max_position_embeddings": 8192}, None),
    ],
    "start": {
        "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
        "intermediate_size": 704, "tie_word_embeddings": True,
    },
    "heads": ["AutoModelForCausalLM"],
}  # fmt: skip


def preset(architecture: Architecture, values: dict[str, Any], heads: list[str] | None = None) -> Drawing:
    """A drawing of the architecture's start with other values."""
    own = ENCODER if architecture.name == "encoder" else DECODER
    config = {**default_config(architecture), **own["start"], **values}
    for name, field in architecture.fields.items():
        if field.each and len(config[name]) != config["num_hidden_layers"]:
            config[name] = [config[name][0]] * config["num_hidden_layers"]
    prefix, model_type = NAMES[architecture.name]
    return Drawing(architecture.name, prefix, model_type, list(heads or own["heads"]), config)


def head(architecture: Architecture, auto: str) -> dict[str, Any]:
    """One of the heads, for the page; only those that classify have labels."""
    counts = "Classification" in auto
    first = (architecture.model_class(auto).__doc__ or "").strip().splitlines()
    fields = ["num_labels", "problem_type"] if "SequenceClassification" in auto else ["num_labels"] if counts else []
    return {"auto": auto, "label": spoken(auto), "help": first[0] if first else auto, "fields": fields}


def palette(architecture: Architecture) -> list[dict[str, Any]]:
    """What can be dragged onto the stack, or added by its button."""

    def words(slot: str, field: str, options: tuple[tuple[str, str, str], ...], end: str) -> list[dict[str, Any]]:
        return [
            {"id": f"{field}-{value}", "label": f"{label} {end}".strip(), "help": text, "slot": slot,
             "set": {field: value}}
            for value, label, text in options
        ]  # fmt: skip

    layer = {"id": "layer", "label": "Layer", "help": "one more layer, like the one before it", "slot": "layers"}
    groups = [{"title": "Stack", "items": [{**layer, "set": {}}]}]
    if architecture.name == "encoder":
        usual = tuple(option for option in ACTIVATIONS if option[0] in USUAL)
        groups += [
            {"title": "Embedding", "items": words("embedding", "position_embedding_type", POSITIONS, "positions")},
            {"title": "Attention", "items": words("layers", "attention_type", ATTENTION, "attention")},
            {"title": "Feed-forward", "items": words("layers", "hidden_act", usual, "")},
            {"title": "Pooler", "items": words("pooler", "pooling", POOLING, "")},
        ]
    heads = [head(architecture, auto) for auto in architecture.heads]
    items = [
        {"id": h["auto"], "label": h["label"], "help": h["help"], "slot": "head", "head": h["auto"]} for h in heads
    ]
    return [*groups, {"title": "Heads", "items": items}]
