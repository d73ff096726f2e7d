"""P32: a cache that a model hands on to a decoder, which takes it for tuples."""

import json

import pytest

from pinfold.audit.examine import examine

CONFIGURATION = """
from transformers import PretrainedConfig


class MillConfig(PretrainedConfig):
    model_type = "mill-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, use_cache=True, is_encoder_decoder=True, **kwargs):
        super().__init__(is_encoder_decoder=is_encoder_decoder, **kwargs)
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        self.width = width
        self.use_cache = use_cache
"""
MODELING = """
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import Seq2SeqLMOutput

from .configuration_mill import MillConfig


class MillDecoder(PreTrainedModel):
    config_class = MillConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.post_init()

    def forward(self, input_ids, states=None, {name}=None):
        {reads}
        return self.words(input_ids)


class MillModel(PreTrainedModel):
    config_class = MillConfig

    def __init__(self, config):
        super().__init__(config)
        self.decoder = MillDecoder(config)
        self.post_init()

    def forward(self, decoder_input_ids, {outer}):
        return self.decoder(decoder_input_ids, {hands})


class MillForConditionalGeneration(PreTrainedModel, GenerationMixin):
    config_class = MillConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = MillModel(config)
        self.head = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def forward(self, input_ids=None, decoder_input_ids=None, past_key_values=None, cache=None, **kwargs):
        past_key_values = past_key_values if cache is None else cache
        return Seq2SeqLMOutput(logits=self.head(self.model(decoder_input_ids, {given})))
"""
LENGTH = "self.length = 0 if {0} is None else {0}[0][0].shape[2]"
CONFIG = {
    "model_type": "mill-tiny",
    "auto_map": {
        "AutoConfig": "configuration_mill.MillConfig",
        "AutoModelForSeq2SeqLM": "modeling_mill.MillForConditionalGeneration",
    },
    "is_encoder_decoder": True,
}
ALIKE = {"name": "past_key_values", "outer": "past_key_values=None", "given": "past_key_values"}


def caches(tmp_path, **shape):
    (tmp_path / "configuration_mill.py").write_text(CONFIGURATION)
    (tmp_path / "modeling_mill.py").write_text(MODELING.format(**shape))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return [finding for finding in examine(tmp_path, "mill").findings if finding.code == "P32"]


SHAPES = {
    "by position": {**ALIKE, "hands": "None, past_key_values"},
    "by name": {**ALIKE, "hands": "past_key_values=past_key_values"},
    "under another usual name": {**ALIKE, "name": "past", "hands": "past=past_key_values"},
    "in kwargs": {
        "name": "past_key_values",
        "outer": "**kwargs",
        "hands": "**kwargs",
        "given": "past_key_values=past_key_values",
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_decoder_two_models_below_reads_tuples(tmp_path, shape):
    values = SHAPES[shape]
    (finding,) = caches(tmp_path, reads=LENGTH.format(values["name"]), **values)
    assert "MillDecoder.forward reads the cache as a tuple" in finding.sentence
    assert {"4.54.1", "4.57.6", "5.12.1"} <= set(finding.releases) and "4.53.3" not in finding.releases


@pytest.mark.parametrize(
    "reads",
    [
        "self.length = past_key_values.get_seq_length() if past_key_values is not None else 0",
        "self.length = past_key_values[0][0].shape[2] if isinstance(past_key_values, tuple) else 0",
        "pass",
    ],
)
def test_a_decoder_that_knows_the_class(tmp_path, reads):
    assert caches(tmp_path, reads=reads, **ALIKE, hands="None, past_key_values") == []


def test_a_cache_that_goes_nowhere(tmp_path):
    shape = {"name": "past_key_values", "outer": "unused=None", "hands": "None", "given": "None"}
    assert caches(tmp_path, reads=LENGTH.format("past_key_values"), **shape) == []
