"""The Hub's word for what a model does, from the Auto class and from what its forward takes and returns."""

from types import SimpleNamespace

import pytest

from pinfold.card.card import _task
from pinfold.folder.model_folder import read_modules

MODELING = """
from torch import nn
from transformers import PreTrainedModel, BertModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput, Seq2SeqLMOutput


class Net(PreTrainedModel):
    def forward(self, {takes}):
        return {returns}
"""
STATES = "BaseModelOutput(last_hidden_state=x)"


@pytest.mark.parametrize(
    ("auto", "takes", "returns", "word"),
    [
        ("AutoModelForCausalLM", "input_ids", "CausalLMOutput(logits=x)", "text-generation"),
        ("AutoModelForMaskedLM", "input_ids", "CausalLMOutput(logits=x)", "fill-mask"),
        ("AutoModelForImageClassification", "pixel_values", "CausalLMOutput(logits=x)", "image-classification"),
        ("AutoModelForTokenClassification", "input_ids", "CausalLMOutput(logits=x)", "token-classification"),
        ("AutoModelForCTC", "input_values", "CausalLMOutput(logits=x)", "automatic-speech-recognition"),
        ("AutoModel", "input_ids, attention_mask=None", STATES, "feature-extraction"),
        ("AutoModel", "pixel_values", STATES, "image-feature-extraction"),
        ("AutoModel", "past_values", "(x,)", "time-series-forecasting"),
        ("AutoModel", "x, edge_index", "(x,)", "graph-ml"),
        ("AutoModel", "pixel_values_videos", STATES, None),  # the Hub has no word for a video's features
        ("AutoModel", "input_ids, pixel_values", STATES, None),  # two kinds at once
        ("AutoModel", "input_ids", "(x, x)", None),  # something else of what it reads
        ("AutoModel", "points", STATES, None),
    ],
)
def test_the_word_for_a_class_of_the_folder(tmp_path, auto, takes, returns, word):
    (tmp_path / "modeling_net.py").write_text(MODELING.format(takes=takes, returns=returns))
    auto_map = {"AutoConfig": "configuration_net.NetConfig", auto: "modeling_net.Net"}
    staged = SimpleNamespace(folder=read_modules(tmp_path), architecture="Net", auto_map=auto_map)
    assert _task(staged) == word


@pytest.mark.parametrize(
    ("base", "processor", "word"),
    [
        ("BertModel", {}, "feature-extraction"),
        ("ViTModel", {"AutoImageProcessor": "image_processing_net.P"}, "image-feature-extraction"),
        ("PreTrainedModel", {}, None),
    ],
)
def test_the_word_where_a_class_of_transformers_brings_the_forward(tmp_path, base, processor, word):
    text = f"from transformers import {base}\n\n\nclass Net({base}):\n    pass\n"
    (tmp_path / "modeling_net.py").write_text(text)
    auto_map = {"AutoModel": "modeling_net.Net", **processor}
    staged = SimpleNamespace(folder=read_modules(tmp_path), architecture="Net", auto_map=auto_map)
    assert _task(staged) == word
