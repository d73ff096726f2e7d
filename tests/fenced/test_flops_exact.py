"""FLOPs on the meta device against torch's own counter, and against formulas written out here, for every folder.

torch.utils.flop_counter has the same convention, 2 FLOPs for a multiply-add, but no formula for LSTMs, and none for
the attention operator of CPUs: on the meta device it sees attention as the products that it consists of.
"""

import pytest
import torch
from helpers.processes import ROOT
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pinfold.fenced.cost import flops, sizes
from pinfold.train.classes import import_classes

SMALL = {
    "bert_model": {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 90,
        "max_position_embeddings": 256,
    },
    "decoder_model": {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 48, "vocab_size": 90, "pad_token_id": 0,
    },
    "resnet_model": {"layers": [1, 2, 1, 1], "base_width": 8},
}  # fmt: skip
VARIANTS = [
    ("bert_model", {}),
    ("bert_model", {"attn_implementation": "eager"}),
    ("bert_model", {"attention_type": ["full", "local", "strided", "random"], "attention_window": 8}),
    ("bert_model", {"attention_type": "local", "attention_window": 16, "num_global_tokens": 2}),
    ("decoder_model", {}),
    ("decoder_model", {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True}),
    ("decoder_model", {"use_bidirectional_attention": True}),
    ("resnet_model", {}),
    ("resnet_model", {"block_type": "basic", "base_width": 64}),
    ("resnet_model", {"cardinality": 4, "stem_type": "deep", "stem_width": 8, "avg_down": True}),
]
HEADS = ("AutoModelForCausalLM", "AutoModelForImageClassification")
CASES = [
    pytest.param(folder, auto, fields, id=f"{folder}-{auto}-{'-'.join(fields)}")
    for folder, fields in VARIANTS
    for auto in import_classes(ROOT / folder)
    if auto.startswith("AutoModel") and (not fields or auto in ("AutoModel", "AutoModelForMaskedLM", *HEADS))
]


def on_meta(folder: str, auto: str, fields: dict):
    cls = import_classes(ROOT / folder)[auto]
    with torch.device("meta"):
        return cls._from_config(cls.config_class(**fields)).eval()


def inputs_for(model, rows: int, length: int = 200, pixels: int = 48) -> dict:
    found = sizes.sized_inputs(
        model, {}, rows, *((None, pixels) if hasattr(model.config, "layers") else (length, None))
    )
    found.pop("attention_mask", None)  # of ones, and a model may look into it
    return {name: tensor.to("meta") for name, tensor in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "auto", "fields"), CASES)
def test_every_class_costs_what_torchs_own_counter_says(folder, auto, fields):
    model = on_meta(folder, auto, {**SMALL[folder], **fields})
    inputs = inputs_for(model, rows=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**inputs)
    found = flops.count(model, inputs)
    assert found[""] == counter.get_total_flops() > 0
    told = counter.get_flop_counts()  # its names have the class of the model in front
    named = {name: sum(told[key].values()) for name in found if (key := f"{type(model).__name__}.{name}") in told}
    assert len(named) > 4 and named == {name: found[name] for name in named}


@pytest.mark.parametrize("depth", [50, 101])
def test_a_resnet_costs_the_sum_over_its_stages(depth):
    """He et al. 2015, table 1: a bottleneck is 1x1, 3x3 and 1x1, and the first of a stage has a projection."""
    blocks = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    rows, size = 2, 224 // 4
    macs = 7 * 7 * 3 * 64 * (224 // 2) ** 2
    parameters = 7 * 7 * 3 * 64 + 2 * 64
    width = 64
    for stage, count in enumerate(blocks):
        inner, out = 64 * 2**stage, 256 * 2**stage
        for block in range(count):
            before, size = size, size // 2 if stage and not block else size
            macs += width * inner * before**2  # the stride is in the 3x3, as in torchvision and timm
            macs += (9 * inner * inner + inner * out) * size**2
            parameters += width * inner + 9 * inner * inner + inner * out + 2 * (2 * inner + out)
            if not block:
                macs += width * out * size**2
                parameters += width * out + 2 * out
            width = out
    macs += width * 1000
    parameters += width * 1000 + 1000
    model = on_meta("resnet_model", "AutoModelForImageClassification", {"layers": list(blocks)})
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert flops.count(model, inputs_for(model, rows, pixels=224))[""] == 2 * rows * macs


@pytest.mark.parametrize(("layers", "width"), [(12, 768), (24, 1024)])
def test_bert_for_masked_words_costs_its_encoder_and_its_head(layers, width):
    """Devlin et al. 2018: base and large; the head is a layer of the model's width, and a score for each word."""
    rows, tokens, inner, words = 2, 128, 4 * width, 30522
    each = rows * tokens * (4 * width**2 + 2 * width * inner) + 2 * rows * tokens**2 * width
    head = rows * tokens * (width**2 + width * words)
    weights = layers * (4 * (width**2 + width) + 2 * width * inner + inner + width + 4 * width)
    weights += (words + 512 + 2) * width + 2 * width + width**2 + width + 2 * width + words  # tied, with its own bias
    fields = {"num_hidden_layers": layers, "hidden_size": width, "intermediate_size": inner}
    fields["num_attention_heads"] = width // 64
    model = on_meta("bert_model", "AutoModelForMaskedLM", fields)
    assert sum(p.numel() for p in model.parameters()) == weights
    found = flops.count(model, inputs_for(model, rows, tokens))
    assert found[""] == 2 * (layers * each + head) and found["cls"] == 2 * head


@pytest.mark.parametrize(("layers", "pooling"), [(1, "last"), (3, "mean"), (2, "attention")])
def test_a_sentiment_analyzer_costs_its_gates(layers, pooling):
    """Four gates, each of inputs and states, for every step and direction; it looks at numbers, so not on meta."""
    cls = import_classes(ROOT / "sentiment_model")["AutoModelForSequenceClassification"]
    rows, tokens, inputs, hidden = 3, 11, 12, 16
    fields = {"vocab_size": 50, "embedding_dim": inputs, "hidden_dim": hidden, "num_layers": layers}
    model = cls(cls.config_class(**fields, pooling=pooling)).eval()
    ids = torch.arange(rows * tokens).reshape(rows, tokens) % 49 + 1
    steps, expected, weights = rows * tokens, 0, 50 * inputs
    for layer in range(layers):
        read = inputs if layer == 0 else 2 * hidden
        expected += 2 * steps * 2 * 4 * hidden * (read + hidden)
        weights += 2 * (4 * hidden * (read + hidden) + 2 * 4 * hidden)
    learned = pooling == "attention"
    expected += 2 * rows * 2 * hidden * 3 + learned * 2 * steps * 2 * hidden
    weights += 2 * hidden * 3 + 3 + learned * 2 * hidden
    assert flops.count(model, {"input_ids": ids})[""] == expected
    assert sum(p.numel() for p in model.parameters()) == weights


@pytest.mark.parametrize("proj", [0, 5])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 3])
def test_an_lstm_on_meta_costs_what_it_costs(layers, directions, proj):
    lstm = nn.LSTM(7, 9, layers, bidirectional=directions == 2, proj_size=proj, device="meta")
    steps, state, expected = 6 * 4, proj or 9, 0
    for layer in range(layers):
        read = 7 if layer == 0 else state * directions
        expected += 2 * steps * directions * (4 * 9 * (read + state) + 9 * proj)
    assert flops.count(lstm, {"input": torch.ones(6, 4, 7, device="meta")})[""] == expected
