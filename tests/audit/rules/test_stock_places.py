"""Modules of the folder that transformers calls otherwise in other releases (P56), and methods that it lost (P09)."""

import pytest
from corpus.net_folder import findings

from pinfold.audit.finding import ERROR, WARNING
from pinfold.folder.releases import release_ranges, releases_of_ranges

OF_LLAMA = "LlamaAttention, LlamaDecoderLayer, LlamaForCausalLM, LlamaModel"
LLAMA = f"from transformers.models.llama.modeling_llama import {OF_LLAMA}\n"
NAMES = "position_embeddings=None, attention_mask=None, position_ids=None, past_key_value=None"
FLAGS = "output_attentions=False, use_cache=False, cache_position=None"
OWN = """

class Own({base}):
    def __init__(self, *args):
        super().__init__({handed})

    def forward(self, {takes}):
        {body}


"""
OVER = """class Over({base}):
    def __init__(self, config):
        super().__init__(config)
        {build}

    {more}


"""
EACH = "for layer in self.layers:\n            layer.self_attn = Own(config)"
PAIR = "return hidden_states, None"
BUILDS = "self.inside = Over(config)"


def up_to_newest(ranges):
    return release_ranges(releases_of_ranges(ranges))


def said(tmp_path, takes, body=PAIR, build=EACH, own="nn.Module", base="LlamaModel", **more):
    return [
        (f.severity, release_ranges(f.releases), f.sentence)
        for f in reported(tmp_path, takes, body, build, own, base, **more)
    ]


def reported(tmp_path, takes, body, build, own, base, top=LLAMA, more="pass", builds=BUILDS, between=""):
    handed = "" if own == "nn.Module" else "*args"
    layers = top + OWN.format(base=own, takes=takes, body=body, handed=handed) + between
    layers += OVER.format(base=base, build=build, more=more)
    return findings(tmp_path, "P56", layers, builds)


@pytest.mark.parametrize(
    ("build", "base"),
    [
        (EACH, "LlamaModel"),
        ("for n in range(2):\n            self.layers[n].self_attn = Own(config)", "LlamaModel"),
        ("for layer in self.model.layers:\n            layer.self_attn = Own(config)", "LlamaForCausalLM"),
        ("self.self_attn = Own(config)", "LlamaDecoderLayer"),
        ("patch(self.layers, config)", "LlamaModel"),
    ],
)
@pytest.mark.parametrize("own", ["nn.Module", "LlamaAttention"])
def test_an_attention_in_the_place_of_transformers(tmp_path, build, base, own):
    takes = f"hidden_states, {NAMES}, {FLAGS}"
    top = LLAMA + "\n\ndef patch(layers, config):\n    for layer in layers:\n        layer.self_attn = Own(config)\n"
    (one,) = said(tmp_path, takes, build=build, base=base, own=own, top=top)
    assert one[:2] == (ERROR, up_to_newest("4.56-"))
    assert "takes no past_key_values" in one[2] and "LlamaDecoderLayer, whose self_attn it is" in one[2]


@pytest.mark.parametrize(
    ("takes", "ranges", "words"),
    [
        (f"hidden_states, {NAMES}, {FLAGS}".replace("cache_position=None", "**kwargs"), "", ""),
        (f"hidden_states, {NAMES}, **kwargs", "", ""),
        (f"hidden_states, {NAMES}, use_cache=False, cache_position=None", "4.48-4.53 4.56-", "output_attentions"),
        (f"hidden_states, cache_position, {NAMES}, **kwargs", "5.4-", "needs cache_position"),
        ("hidden_states, past_key_values, **kwargs", "4.48-4.55 5.24-", "needs past_key_values"),
    ],
)
def test_arguments_that_it_takes_or_not(tmp_path, takes, ranges, words):
    findings_said = said(tmp_path, takes)
    assert [each[:2] for each in findings_said] == ([(ERROR, up_to_newest(ranges))] if ranges else [])
    assert all(words in each[2] for each in findings_said)


LAYERS = "self.layers = nn.ModuleList([Own() for _ in range(2)])"


@pytest.mark.parametrize(
    ("body", "ranges"),
    [
        ("return (hidden_states,)", "4.54-"),
        (
            "outputs = (hidden_states,)\n        if kwargs:\n            outputs += (None,)\n        return outputs",
            "4.54-",
        ),
        ("return hidden_states", "4.48-4.53"),
        ("return hidden_states if NEW else (hidden_states,)", ""),
        ("if NEW:\n            return hidden_states\n        return (hidden_states,)", ""),
        ("return self.any_other_thing(hidden_states)", ""),
    ],
)
@pytest.mark.parametrize(
    "build", [LAYERS, "self.layers[0] = Own()", "self.layers = nn.ModuleList()\n        self.layers.append(Own())"]
)
def test_what_a_layer_returns(tmp_path, build, body, ranges):
    top = LLAMA + "import transformers\n\nNEW = transformers.__version__ >= '4.54'\n"
    expected = [(ERROR, up_to_newest(ranges))] if ranges else []
    assert [each[:2] for each in said(tmp_path, "hidden_states, **kwargs", body, build, top=top)] == expected


BART = "from transformers.models.bart.modeling_bart import BartEncoderLayer\n"
THREE = "return hidden_states, None, None"


@pytest.mark.parametrize(("body", "ranges"), [(THREE, "4.54-"), (PAIR, "4.48-4.53")])
def test_how_many_values_an_attention_returns(tmp_path, body, ranges):
    build = "self.self_attn = Own(config)"
    (one,) = said(tmp_path, "hidden_states, **kwargs", body, build, base="BartEncoderLayer", top=BART)
    assert one[:2] == (ERROR, up_to_newest(ranges))


def test_values_that_no_supported_release_expects(tmp_path):
    (one,) = said(tmp_path, "hidden_states, **kwargs", THREE)
    assert one[:2] == (ERROR, up_to_newest("4.48-")) and "returns 3 values" in one[2]


def test_rotary_positions(tmp_path):
    build = "self.rotary_emb = Own(config)"
    (one,) = said(tmp_path, "x, ids", "return x, x", build)
    assert one[:2] == (ERROR, up_to_newest("5.0-")) and "takes no position_ids" in one[2]
    assert said(tmp_path, "x, position_ids=None", "return x, x", build) == []


def test_a_model_below_a_head_of_transformers(tmp_path):
    takes = "input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None, "
    build = "self.model = Own(config)"
    (one,) = said(
        tmp_path, takes + "use_cache=None, cache_position=None", "return None", build, base="LlamaForCausalLM"
    )
    assert one[:2] == (ERROR, up_to_newest("4.48-4.53 5.24-"))
    assert said(tmp_path, takes + "**kwargs", "return None", build, base="LlamaForCausalLM") == []


OWN_FORWARD = "def forward(self, x):\n        return x"
CALLS_LAYERS = "def forward(self, x):\n        for layer in self.layers:\n            layer(x)\n        return x"
GOES_ON = "def forward(self, x):\n        return super().forward(inputs_embeds=x)"


@pytest.mark.parametrize(("more", "count"), [(OWN_FORWARD, 0), (GOES_ON, 1), (CALLS_LAYERS, 1), ("pass", 1)])
def test_only_what_runs_calls_it(tmp_path, more, count):
    assert len(said(tmp_path, f"hidden_states, {NAMES}, {FLAGS}", more=more)) == count


@pytest.mark.parametrize(
    ("build", "builds"),
    [
        ("if config.width > 8:\n            self.layers[0].self_attn = Own(config)", BUILDS),
        (EACH, "if config.width > 8:\n            self.inside = Over(config)"),
    ],
)
def test_what_may_not_be_there_is_a_warning(tmp_path, build, builds):
    (one,) = said(tmp_path, f"hidden_states, {NAMES}, {FLAGS}", build=build, builds=builds)
    assert one[0] == WARNING


LOST = "from transformers.models.llama.modeling_llama import LlamaModel\n\n\nclass Over(LlamaModel):\n    {body}\n\n\n"
MASK = "_update_causal_mask"


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        (f"theirs = LlamaModel.{MASK}", ERROR),
        (f"def forward(self, x):\n        return self.{MASK}(x)", ERROR),
        (f"def forward(self, x):\n        return super().{MASK}(x)", ERROR),
        (f"def forward(self, x):\n        return LlamaModel.{MASK}(self, x)", ERROR),
        (f"def mask_of(self, x):\n        return self.{MASK}(x)", WARNING),
    ],
)
def test_a_method_that_transformers_lost(tmp_path, body, severity):
    (finding,) = findings(tmp_path, "P09", LOST.format(body=body), BUILDS)
    assert (finding.severity, release_ranges(finding.releases)) == (severity, up_to_newest("4.53-"))
    assert f"LlamaModel.{MASK} does not exist" in finding.sentence


def test_the_place_that_is_sure_to_run_is_named(tmp_path):
    body = f"def chat(self, x):\n        return self.{MASK}(x)\n\n    def forward(self, x):\n"
    (finding,) = findings(tmp_path, "P09", LOST.format(body=f"{body}        return self.{MASK}(x)"), BUILDS)
    assert finding.severity == ERROR and finding.case == "P09.forward"


@pytest.mark.parametrize(
    "body",
    [
        f"def {MASK}(self, x):\n        return x\n\n    def forward(self, x):\n        return self.{MASK}(x)",
        f"theirs = getattr(LlamaModel, '{MASK}', None)",
        f"if hasattr(LlamaModel, '{MASK}'):\n        theirs = LlamaModel.{MASK}",
        f"try:\n        theirs = LlamaModel.{MASK}\n    except AttributeError:\n        theirs = None",
        "theirs = LlamaModel.forward",
        "LlamaModel._update_causal_mask = None",
    ],
)
def test_a_method_that_is_there_or_asked_for(tmp_path, body):
    assert findings(tmp_path, "P09", LOST.format(body=body), BUILDS) == []
