"""P71: a field that makes the cache keep a window, beside code that counts on all tokens; P50 of such a cache."""

import json

import pytest

from pinfold.audit.examine import examine
from pinfold.audit.finding import ERROR, WARNING

CONFIGURATION = """
from transformers import PretrainedConfig


class SillConfig(PretrainedConfig):
    model_type = "sill-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, {field}={window}, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        self.width = width
        {keeps}
"""
MODELING = """
import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
{imports}
from .configuration_sill import SillConfig


class SillAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.states = nn.Linear(config.width, 3 * config.width)

    def forward(self, hidden{takes}, past_key_value=None):
        query, key, value = self.states(hidden)[:, None].chunk(3, -1)
        {updates}
        {masks}


class SillForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = SillConfig
    {attribute}

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList([SillAttention(config, i) for i in range(config.num_hidden_layers)])
        self.head = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, **kwargs):
        hidden = self.words(input_ids)
        for layer in self.layers:
            hidden = layer(hidden, past_key_value=past_key_values if cache is None else cache)
        return CausalLMOutputWithPast(logits=self.head(hidden), past_key_values=past_key_values)
"""
CONFIG = {
    "model_type": "sill-tiny",
    "auto_map": {
        "AutoConfig": "configuration_sill.SillConfig",
        "AutoModelForCausalLM": "modeling_sill.SillForCausalLM",
    },
}
USUAL = {
    "field": "sliding_window",
    "window": "6",
    "keeps": "self.sliding_window = sliding_window",
    "imports": "",
    "takes": ", attention_mask=None",
    "updates": "if past_key_value is not None:\n            "
    "key, value = past_key_value.update(key, value, self.layer_idx)",
    "masks": "return F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)[:, 0]",
    "attribute": "pass",
}


def found(tmp_path, settings=(), **parts):
    parts = {**USUAL, **parts}
    (tmp_path / "configuration_sill.py").write_text(CONFIGURATION.format(**parts))
    (tmp_path / "modeling_sill.py").write_text(MODELING.format(**parts))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **dict(settings)}))
    return [(f.severity, f.case) for f in examine(tmp_path, "sill").findings if f.code == "P71"]


CUT = "scores = query @ key.mT + attention_mask[..., : key.shape[-2]]\n        return (scores @ value)[:, 0]"
NO_MASK = {"takes": "", "masks": "return F.scaled_dot_product_attention(query, key, value)[:, 0]"}
CHUNKS = {"field": "attention_chunk_size", "keeps": "self.attention_chunk_size = attention_chunk_size"}


@pytest.mark.parametrize(
    ("parts", "case"),
    [
        ({}, "P71.mask_of_all"),
        (
            {"masks": "scores = query @ key.transpose(2, 3) + attention_mask\n        return (scores @ value)[:, 0]"},
            "P71.mask_of_all",
        ),
        ({"masks": CUT}, "P71.mask_cut"),
        ({"masks": CUT.replace("[..., : key", "[:, :, :, : key")}, "P71.mask_cut"),
        (NO_MASK, "P71.ignored"),
        (CHUNKS, "P71.mask_of_all"),
        (
            {"updates": "key, value = past_key_value.update(key_states=key, value_states=value, layer_idx=0)"},
            "P71.mask_of_all",
        ),
    ],
)
def test_code_that_counts_on_all_tokens(tmp_path, parts, case):
    assert found(tmp_path, **parts) == [(ERROR, case)]


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({}, {"window": "None"}),
        ({"sliding_window": None}, {}),
        ({}, {"field": "window", "keeps": "self.window = window"}),
        ({}, {"keeps": "self.sliding_window = sliding_window if width > 8 else None"}),
        ({}, {"masks": CUT.replace(": key.shape[-2]", "-key.shape[-2] :")}),
        ({}, {"imports": "from transformers.masking_utils import create_causal_mask"}),
        ({}, {"updates": "key = torch.cat([past_key_value[0], key], 2)"}),
        ({}, {**NO_MASK, "masks": "return self.window(query, key, value)"}),
        ({}, {"attribute": "_is_stateful = True"}),
        ({"layer_types": ["full_attention"]}, {}),
        ({"text_config": {"vocab_size": 3}}, {}),
        ({"use_cache": False}, {"keeps": "self.sliding_window, self.use_cache = sliding_window, False"}),
    ],
)
def test_a_cache_of_which_nothing_is_lost(tmp_path, settings, parts):
    assert found(tmp_path, settings, **parts) == []


def test_layers_of_windows_in_the_settings(tmp_path):
    assert found(tmp_path, {"layer_types": ["full_attention", "sliding_attention"]}) == [(ERROR, "P71.mask_of_all")]


def test_a_wide_window_is_a_warning(tmp_path):
    assert found(tmp_path, {"sliding_window": 4096}) == [(WARNING, "")]


OWN_CACHE = "self.kept = DynamicCache(config=self.config) if use_cache else None"
FORWARD = "def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, **kwargs):\n"
IMPORTED = "from transformers.utils.generic import check_model_inputs, merge_with_config_defaults"
TAKES = "self, use_cache=None, input_ids=None"


@pytest.mark.parametrize(
    ("decorator", "settings", "severity"),
    [
        ("@check_model_inputs", {}, ERROR),
        ("@check_model_inputs()", {}, ERROR),
        ("@merge_with_config_defaults", {}, ERROR),
        ("@check_model_inputs", {"use_cache": False}, WARNING),
        ("@torch.no_grad()", {}, WARNING),
    ],
)
def test_a_decorator_fills_in_whether_a_cache_is_kept(tmp_path, decorator, settings, severity):
    """A cache of the configuration cannot be made up to 4.55 (P50): for certain, where it is made for certain."""
    configuration = CONFIGURATION.replace("{field}={window}", "use_cache=True").replace(
        "{keeps}", "self.use_cache = use_cache"
    )
    text = MODELING.replace(f"    {FORWARD}", f"    {decorator}\n    {FORWARD}        {OWN_CACHE}\n")
    (tmp_path / "configuration_sill.py").write_text(configuration)
    text = text.format(**{**USUAL, "imports": IMPORTED})
    head, tail = text.split("class SillForCausalLM")
    tail = tail.replace("self, input_ids=None", TAKES)
    (tmp_path / "modeling_sill.py").write_text(f"{head}class SillForCausalLM{tail}")
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **settings}))
    (finding,) = (f for f in examine(tmp_path, "sill").findings if f.code == "P50" and "DynamicCache" in f.sentence)
    assert finding.severity == severity
