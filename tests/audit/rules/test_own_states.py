"""P57, P37 and P11 of what a model's own methods make of its state; P31 and P12 of transformers' rotary embeddings."""

import pytest
from corpus.net_folder import findings, text_findings

from pinfold.audit.finding import ERROR

LAYERS = "self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])\n        self.head = nn.Linear(8, 8)"
STATE = "def state_dict(self, *args, **kwargs):\n        state = super().state_dict(*args, **kwargs)\n        {}\n"


def said(tmp_path, code, more, build=LAYERS):
    return [(f.severity, f.case) for f in findings(tmp_path, code, build=build, more=more)]


@pytest.mark.parametrize(
    ("body", "case"),
    [
        ("return {k: v for k, v in state.items() if 'layers' not in k}", "P57.state_dict_part"),
        ("return {k: v for k, v in state.items() if not k.startswith('head.')}", "P57.state_dict_part"),
        ("state.pop('head.weight')\n        return state", "P57.state_dict_part"),
        ("del state['head.weight']\n        return state", "P57.state_dict_part"),
        ("return {'model.' + k: v for k, v in state.items()}", "P57.state_dict_renamed"),
        ("return {f'net.{k}': v for k, v in state.items()}", "P57.state_dict_renamed"),
        ("return {k.replace('layers', 'h'): v for k, v in state.items()}", "P57.state_dict_renamed"),
        ("state['top.weight'] = state.pop('head.weight')\n        return state", "P57.state_dict_renamed"),
    ],
)
def test_a_state_that_is_not_what_the_model_has(tmp_path, body, case):
    assert said(tmp_path, "P57", STATE.format(body)) == [(ERROR, case)]


@pytest.mark.parametrize(
    "body",
    [
        "return state",
        "return {k: v.clone() for k, v in state.items()}",
        "return {k: v for k, v in state.items() if 'inv_freq' not in k}",  # a table that the file does not have
        "state.pop('steps', None)\n        return state",
        "return {str(len(state)): v for k, v in state.items() if False} or state",
    ],
)
def test_a_state_that_stays_as_it_is(tmp_path, body):
    assert said(tmp_path, "P57", STATE.format(body)) == []


TIES = "def tie_weights(self, *args, **kwargs):\n        for layer in {}:\n            layer.{} = {}\n"
DECLARES = '_tied_weights_keys = {"layers.1.weight": "layers.0.weight"}\n\n    '


@pytest.mark.parametrize(
    ("over", "part"), [("self.layers[1:]", "weight"), ("self.layers", "bias"), ("list(self.layers)[1:]", "weight")]
)
def test_a_loop_of_tie_weights_ties_weights(tmp_path, over, part):
    more = TIES.format(over, part, f"self.layers[0].{part}")
    assert said(tmp_path, "P37", more) == [(ERROR, "P37.tied_in_loop")]


@pytest.mark.parametrize(
    "more",
    [
        DECLARES + TIES.format("self.layers[1:]", "weight", "self.layers[0].weight"),
        TIES.format("self.layers", "width", "self.layers[0].width"),
        TIES.format("self.layers", "weight", "nn.Parameter(torch.ones(8, 8))"),
    ],
)
def test_a_loop_of_tie_weights_that_saving_takes(tmp_path, more):
    assert said(tmp_path, "P37", more) == []


ROTARY = "from transformers.models.{0}.modeling_{0} import {1}"
OWN_INIT = "def _init_weights(self, module):\n    {}\n    nn.init.normal_(self.words.weight)"


def of_rotary(tmp_path, kind="LlamaRotaryEmbedding", handed="config", init="pass", model="llama", **parts):
    top = ROTARY.format(model, kind)
    build = parts.pop("build", f"self.rotary = {kind}({handed})")
    found = text_findings(tmp_path, top=top, init=build, more=OWN_INIT.format(init) if init else "", **parts)
    return {f.case for f in found if f.case in ("P31.stock_embedding", "P12.stock_rotary")}


BOTH = {"P31.stock_embedding", "P12.stock_rotary"}


@pytest.mark.parametrize(
    ("parts", "cases"),
    [
        ({}, BOTH),
        ({"handed": "config=self.config"}, BOTH),
        ({"model": "mistral", "kind": "MistralRotaryEmbedding"}, BOTH),
        ({"init": "super()._init_weights(module)"}, {"P31.stock_embedding"}),
        ({"init": None}, {"P31.stock_embedding"}),
        (
            {"init": "module.inv_freq.copy_(torch.ones(4)) if hasattr(module, 'inv_freq') else None"},
            {"P31.stock_embedding"},
        ),
        ({"handed": "config.text_config"}, set()),
        ({"build": "if config.width > 9:\n    self.rotary = LlamaRotaryEmbedding(config)"}, set()),
    ],
)
def test_a_rotary_embedding_of_transformers(tmp_path, parts, cases):
    configuration = CONFIGURATION.format(sets="self.rope_theta = 1e4")
    assert of_rotary(tmp_path, configuration=configuration, **parts) == cases


CONFIGURATION = """
from transformers import PretrainedConfig


class TextConfig(PretrainedConfig):
    model_type = "text-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, **kwargs):
        {sets}
        super().__init__(tie_word_embeddings=False, **kwargs)
        self.vocab_size, self.width, self.num_hidden_layers = vocab_size, width, num_hidden_layers


TextConfig.register_for_auto_class()
"""


@pytest.mark.parametrize(
    "parts",
    [
        {"configuration": CONFIGURATION.format(sets="self.rope_parameters = {'rope_type': 'default'}")},
        {"configuration": CONFIGURATION.format(sets="self.rope_scaling = None")},
        {"configuration": CONFIGURATION.format(sets="pass"), "config": {"rope_scaling": None}},
        {"configuration": CONFIGURATION.format(sets="pass").replace("PretrainedConfig", "LlamaConfig")},
    ],
)
def test_a_configuration_with_rotary_settings(tmp_path, parts):
    assert of_rotary(tmp_path, **parts) == {"P12.stock_rotary"}
