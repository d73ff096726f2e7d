"""P82, P83 and P32: a cache that nothing fills, what forward gives to generate, and tuples made of an empty cache."""

import json

import pytest

from pinfold.audit.examine import examine

CODE = """
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from transformers import Cache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import ModelOutput


class WeirConfig(PretrainedConfig):
    model_type = "weir-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.num_hidden_layers = num_hidden_layers

{classes}

class WeirLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mix = nn.Linear(config.width, config.width)

    def forward(self, x, past=None):
        {layer}
        return self.mix(x)


class WeirForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = WeirConfig
    {flag}

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList([WeirLayer(config) for _ in range(2)])
        self.layer = WeirLayer(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    {prepare}

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, return_dict=None, {more}**kwargs):
        use_cache = kwargs.get("use_cache")
        {before}
        x = self.words(input_ids)
        {body}
        logits = self.head(x)
        {last}
"""
CONFIG = {
    "model_type": "weir-tiny",
    "auto_map": {"AutoConfig": "modeling_weir.WeirConfig", "AutoModelForCausalLM": "modeling_weir.WeirForCausalLM"},
}
EMPTY = dict.fromkeys(("classes", "flag", "prepare", "more"), "") | {"layer": "pass", "before": "pass", "body": "pass"}
GIVES = "return CausalLMOutputWithPast(logits=logits)"
BACK = "return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)"
SAYS = "_supports_cache_class = True"


def codes(tmp_path, code, settings=None, **shape):
    (tmp_path / "modeling_weir.py").write_text(CODE.format(**{**EMPTY, "last": GIVES, **shape}))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **(settings or {})}))
    report = examine(tmp_path, "weir")
    found = [finding for finding in report.findings if finding.code == code]
    assert not found or f": {code} " in report.forecast
    return found


def prepares(body, names="input_ids, past_key_values=None, attention_mask=None, **kwargs"):
    lines = f"def prepare_inputs_for_generation(self, {names}):\n        {body}\n        "
    return lines + 'return {"input_ids": input_ids, "past_key_values": past_key_values}'


LAST = "if past_key_values is not None:\n            input_ids = input_ids[:, -1:]"
WHOLE = "pass"
LOOP = "for layer in self.layers:\n            x = layer(x, past=past_key_values)"
NUMBERED = "for number, layer in enumerate(self.layers):\n            x = layer(x, past_key_values)"


@pytest.mark.parametrize(
    ("shape", "case"),
    [
        ({}, "P82.named"),
        ({"more": "cache=None, "}, "P82.named"),
        ({"flag": SAYS}, "P82.named"),
        ({"last": BACK}, "P82.named"),
        ({"last": BACK, "flag": SAYS}, "P82.handed_back"),
        ({"body": LOOP}, "P82.named"),
        ({"body": NUMBERED}, "P82.named"),
        ({"body": "x = self.layer(x, past_key_values)"}, "P82.named"),
        ({"before": "past_key_values = None"}, "P82.named"),
        ({"before": "seen = past_key_values.get_seq_length() if past_key_values is not None else 0"}, "P82.named"),
        ({"prepare": prepares(LAST)}, "P82.prepares_last"),
    ],
)
def test_a_cache_that_nothing_fills(tmp_path, shape, case):
    (finding,) = codes(tmp_path, "P82", **shape)
    assert finding.case == case and {"4.57.6", "5.12.1"} <= set(finding.releases)


@pytest.mark.parametrize(
    "shape",
    [
        {"prepare": prepares(WHOLE)},
        {"prepare": prepares("input_ids = input_ids[:, past_key_values.get_seq_length() :]")},
        {"layer": "x, past = past.update(x, x, 0)", "body": LOOP},
        {"layer": "keep(past)", "body": NUMBERED},
        {"body": "x, y = past_key_values.update(x, x, 0)"},
        {"body": "x = helper(x, past_key_values)"},
        {"body": "x = self.head(x, past_key_values)"},
        {"before": "kept = past_key_values"},
        {"more": "cache=None, ", "before": "cache = past_key_values if cache is None else cache"},
        {"more": "cache=None, ", "body": "x, y = cache.update(x, x, 0)"},
        {"more": "cache_params=None, "},
        {"before": "kwargs['past'] = locals()['past_key_values']"},
        {"before": "self.seen = input_ids"},
        {"flag": "_is_stateful = True"},
        {"settings": {"use_cache": False}},
        {"settings": {"is_encoder_decoder": True}},
        {"prepare": "def generate(self, input_ids):\n        return input_ids"},
    ],
)
def test_a_cache_that_may_be_filled_or_is_not_handed_over(tmp_path, shape):
    assert codes(tmp_path, "P82", **shape) == []


FIELDS = "    logits: torch.Tensor = None\n    past_key_values: object = None\n"
DATACLASS = f"\n\n@dataclass\nclass Given:\n{FIELDS}"
NAMED = f"\n\nclass Given(NamedTuple):\n{FIELDS}"
OBJECT = "\n\nclass Given:\n    def __init__(self, logits):\n        self.logits = logits\n"
LIKE_A_TABLE = DATACLASS + "\n    def __contains__(self, name):\n        return False\n"
AN_OUTPUT = f"\n\n@dataclass\nclass Given(ModelOutput):\n{FIELDS}"
UPDATES = (
    "def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):\n        return model_kwargs"
)
TUPLES = "output = (logits, x)\n        return ((loss,) + output) if loss is not None else output"


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ({"last": "return (logits,)"}, "4.48.3"),
        ({"last": "return logits, past_key_values"}, "4.48.3"),
        ({"before": "loss = None", "last": TUPLES}, "4.48.3"),
        ({"classes": DATACLASS, "last": "return Given(logits=logits)"}, "4.48.3"),
        ({"classes": DATACLASS, "last": "given = Given(logits=logits)\n        return given"}, "4.48.3"),
        ({"classes": OBJECT, "last": "return Given(logits)"}, "4.48.3"),
        ({"classes": NAMED, "last": "return Given(logits)"}, "5.24.0"),
        (
            {
                "classes": DATACLASS,
                "last": "if not return_dict:\n            return (x,)\n        return Given(logits)",
            },
            "4.48.3",
        ),
    ],
)
def test_what_generate_cannot_use(tmp_path, shape, first):
    (finding,) = codes(tmp_path, "P83", **shape)
    assert finding.releases[0] == first and finding.releases[-1] == "5.24.0"


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"classes": AN_OUTPUT, "last": "return Given(logits=logits)"},
        {"classes": LIKE_A_TABLE, "last": "return Given(logits=logits)"},
        {"classes": DATACLASS, "last": "return Given(logits=logits)", "prepare": UPDATES},
        {"classes": DATACLASS + "\nGiven.get = None\n", "last": "return Given(logits=logits)"},
        {"last": "if not return_dict:\n            return (logits,)\n        " + GIVES},
        {"last": "if use_cache:\n            return (logits,)\n        " + GIVES},
        {"last": "return self.answer(logits)"},
        {"last": "return (logits,) if not return_dict else CausalLMOutputWithPast(logits=logits)"},
        {"last": "return (logits,)", "prepare": "def generate(self, input_ids):\n        return input_ids"},
    ],
)
def test_what_generate_may_use(tmp_path, shape):
    assert codes(tmp_path, "P83", **shape) == []


MADE = "past = past_key_values.to_legacy_cache() if past_key_values is not None else None\n        "
SEEN = "seen = 0 if past is None else past[0][0].shape[2]"
ASKED = "if past_key_values is not None:\n"
CONVERTED = "            past_key_values = past_key_values.to_legacy_cache()\n        "
IN_PLACE = f"if isinstance(past_key_values, Cache):\n{CONVERTED}"


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ({"before": MADE + SEEN}, "4.54.1"),
        ({"before": MADE + SEEN, "flag": SAYS}, "4.48.3"),
        ({"before": IN_PLACE + SEEN.replace("past", "past_key_values")}, "4.54.1"),
        (
            {"before": ASKED + "            seen = past_key_values.to_legacy_cache()[0][0].size(2)"},
            "4.54.1",
        ),
    ],
)
def test_tuples_of_an_empty_cache(tmp_path, shape, first):
    (finding,) = codes(tmp_path, "P32", **shape)
    assert finding.releases[0] == first and "5.0.0" not in finding.releases


@pytest.mark.parametrize(
    "before",
    [
        MADE + "seen = past[0][0].shape[2] if past else 0",
        MADE + "seen = past[0][0].shape[2] if past is not None and len(past) > 0 else 0",
        MADE + "seen = 0 if past_key_values.get_seq_length() == 0 else past[0][0].shape[2]",
        MADE + "seen = past",
        f"try:\n            {MADE}    {SEEN}\n        except Exception:\n            seen = 0",
    ],
)
def test_tuples_that_are_asked_for(tmp_path, before):
    assert codes(tmp_path, "P32", before=before) == []
