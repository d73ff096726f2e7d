"""Habits of published research code: what is a fault in them, and what only looks like one."""

import json

import numpy
import pytest
from safetensors.numpy import save_file

from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

CONFIGURATION = """
from transformers import PretrainedConfig


class NetConfig(PretrainedConfig):
    model_type = "net-tiny"

    def __init__(self, vocab_size=40, width=8, vision_config=None, {arguments}**kwargs):
        {first}super().__init__({passed}**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.vision_config = vision_config


NetConfig.register_for_auto_class()
"""
MODELING = """
from argparse import Namespace

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_net import NetConfig

{layers}

class NetModel(PreTrainedModel):
    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        {build}
        self.post_init()

    {more}

    def forward(self, input_ids=None, **kwargs):
        return (self.words(input_ids),)


NetModel.register_for_auto_class("AutoModel")
"""
LAYER = """
class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.a = config.depth


"""
OUTER = LAYER.replace("Layer", "Outer").replace("config.depth", "Layer(config)")
TUNER = "class Tuner:\n    def bench(self, *args, config, **meta):\n        return config.depth\n"
DATA = """
class Data:
    def __init__(self, config):
        self.config = config

    def read(self):
        return self.config.depth
"""


def findings(tmp_path, code, layers="", build="pass", more="", arguments="", passed="", first=""):
    text = CONFIGURATION.format(arguments=arguments, passed=passed, first=first)
    (tmp_path / "configuration_net.py").write_text(text)
    (tmp_path / "modeling_net.py").write_text(MODELING.format(layers=layers, build=build, more=more))
    return [f for f in audit(tmp_path, read_modules(tmp_path)) if f.code == code]


@pytest.mark.parametrize(
    ("layers", "build", "reported"),
    [
        (LAYER, "self.a = Layer(config)", True),
        (LAYER, "self.a = Layer(config=self.config)", True),
        (LAYER + OUTER, "self.a = Outer(config)", True),
        (LAYER, "self.a = {'layer': Layer}", True),
        (LAYER, "self.a = Layer(Namespace(**config.vision_config))", False),
        (LAYER + OUTER, "self.a = Outer(Namespace(**config.vision_config))", False),
        (LAYER, "other = NetConfig(); self.a = Layer(other)", False),
        (LAYER, "self.a = Layer(config.vision_config)", False),
        (TUNER, "self.a = Tuner()", False),
        (DATA, "self.a = Data(Namespace(depth=2))", False),
        (DATA, "self.a = Data(config)", True),
    ],
)
def test_only_the_folders_own_configuration_has_to_have_what_is_read(tmp_path, layers, build, reported):
    assert ["depth is read" in f.sentence for f in findings(tmp_path, "P15", layers, build)] == [True] * reported


@pytest.mark.parametrize(
    ("first", "passed", "reported"),
    [
        ("", "", True),
        ("", "depth=2, ", False),
        ("table = read_defaults(); ", "**table, ", False),
        ("table = {}; table.update(kwargs); ", "**table, ", False),
        ("", "**{'depth': 2}, ", False),
    ],
)
def test_a_constructor_that_passes_on_a_table_may_set_anything(tmp_path, first, passed, reported):
    lines = findings(tmp_path, "P15", build="self.depth = config.depth", first=first, passed=passed)
    assert ["depth is read" in f.sentence for f in lines] == [True] * reported


@pytest.mark.parametrize("name", ["pad_token_id", "is_decoder", "max_length", "tie_word_embeddings"])
def test_what_transformers_4_sets_itself_fails_from_5_on(tmp_path, name):
    (finding,) = findings(tmp_path, "P15", build=f"self.x = config.{name}")
    assert finding.releases[0].startswith("5.0") and str(finding).endswith("transformers 4 sets it, and 5 does not.")
    (tmp_path / "configuration_net.py").unlink()
    assert findings(tmp_path, "P15", build="self.x = config.use_return_dict") == []


CALLS = "def talk(self, ids):\n        return self.{name}(ids)"
PREPARES = "def prepare_inputs_for_generation(self, input_ids, **kwargs):\n        return {}\n\n    "


@pytest.mark.parametrize(
    ("more", "reported"),
    [
        (CALLS.format(name="generate"), True),
        (CALLS.format(name="_get_logits_processor"), True),
        (PREPARES + CALLS.format(name="generate"), False),
        (PREPARES + CALLS.format(name="_get_stopping_criteria"), False),
        (PREPARES + CALLS.format(name="_extract_past_from_model_output"), True),  # gone from the mixin too
        (PREPARES + CALLS.format(name="get_head_mask"), True),
    ],
)
def test_an_auto_class_adds_what_generates(tmp_path, more, reported):
    assert len(findings(tmp_path, "P09", more=more)) == reported


@pytest.mark.parametrize(
    ("base", "name", "reported"),
    [
        ("LlamaForCausalLM", "generate", False),
        ("Qwen2ForCausalLM", "lm_head", False),
        ("BertModel", "get_head_mask", True),
        ("LlamaModel", "embed_tokens", False),
    ],
)
def test_a_model_of_transformers_own_brings_its_members(tmp_path, base, name, reported):
    text = f"from transformers import {base}\n\n\nclass Own({base}):\n    def talk(self, ids):\n        "
    text += f"self.{name}(ids)\n"
    (tmp_path / "modeling_own.py").write_text(text)
    lines = [f for f in audit(tmp_path, read_modules(tmp_path)) if f.code == "P09" and name in f.sentence]
    assert len(lines) == reported


HEAD = "self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)"
WORDS = "def get_input_embeddings(self):\n        return self.words\n"
GIVES = WORDS + "\n    def get_output_embeddings(self):\n        return None\n"
RAISES = "def get_input_embeddings(self):\n        raise NotImplementedError\n"
DECLARES = WORDS + "\n    _tied_weights_keys = {'lm_head.weight': 'words.weight'}\n"
INNER = (
    "class Inner(PreTrainedModel):\n    config_class = NetConfig\n\n    def __init__(self, config):\n"
    "        super().__init__(config)\n        self.embed_tokens = nn.Embedding(9, 9)\n        self.post_init()\n\n\n"
)


@pytest.mark.parametrize(
    ("build", "more", "layers", "arguments", "passed", "reported"),
    [
        (HEAD, WORDS, "", "", "", True),
        (HEAD + "; self.embed_tokens = nn.Embedding(9, 9)", "", "", "", "", True),
        (HEAD + "; self.model = Inner(config)", "", INNER, "", "", True),
        (HEAD + "; self.net = Inner(config)", "base_model_prefix = 'net'", INNER, "", "", True),
        (HEAD + "; self.other = Inner(config)", "", INNER, "", "", False),
        (HEAD, RAISES, "", "", "", False),
        (HEAD, "", "", "", "", False),
        (HEAD, GIVES, "", "", "", False),
        (HEAD, DECLARES, "", "", "", False),
        (HEAD.replace("lm_head", "head"), WORDS, "", "", "", False),
        (HEAD, WORDS, "", "tie_word_embeddings=False, ", "tie_word_embeddings=tie_word_embeddings, ", False),
    ],
)
def test_a_head_that_transformers_ties_by_its_name(tmp_path, build, more, layers, arguments, passed, reported):
    lines = findings(tmp_path, "P11f", layers, build, more, arguments, passed)
    assert len(lines) == reported
    assert all((f.releases[0], f.releases[-1]) == ("4.54.1", "4.57.6") for f in lines)


@pytest.mark.parametrize(
    ("build", "severity"),
    [
        ("self.a = nn.Linear(8, 8); self.b = nn.Linear(8, 8)", "error"),
        ("self.a = nn.Linear(8, 8); self.b = copy.deepcopy(self.a)", "warning"),
        ("self.a = nn.Linear(8, 8); self.b = nn.Linear(8, 8); self.b.load_state_dict(self.a.state_dict())", "warning"),
        (
            "for a, b in zip(self.words.parameters(), self.other.parameters(), strict=True): b.data.copy_(a.data)",
            "warning",
        ),
        ("self.register_buffer('weight', torch.randn(8, 8))", "warning"),
    ],
)
def test_equal_tensors_that_the_code_copies_are_not_called_tied(tmp_path, build, severity):
    drawn = numpy.random.default_rng(0).standard_normal((40, 40)).astype("float32")
    save_file({"a.weight": drawn, "b.weight": drawn.copy()}, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text("{}")
    assert [f.severity for f in findings(tmp_path, "P19c", build=build)] == [severity]


SAYS = "supports_gradient_checkpointing = True"
HAS = LAYER.replace("self.a = config.depth", "self.gradient_checkpointing = False")
SETS = WORDS + "\n    def set_input_embeddings(self, new):\n        self.words = new\n"


@pytest.mark.parametrize(
    ("more", "layers", "build", "words"),
    [
        (SAYS, "", "pass", "sets supports_gradient_checkpointing"),
        (SAYS, HAS, "pass", ""),
        (SAYS, "from transformers.modeling_layers import GradientCheckpointingLayer\n", "pass", ""),
        (SAYS, "from transformers import BertModel\n", "self.net = BertModel(config.text)", ""),
        (SAYS.replace("True", "False"), "", "pass", ""),
        (WORDS, "", "pass", "no set_input_embeddings"),
        (SETS, "", "pass", ""),
        (WORDS, "", "self.embed_tokens = self.words", ""),
        (WORDS, INNER, "self.net = Inner(config)", ""),
    ],
)
def test_what_a_class_says_and_cannot_do(tmp_path, more, layers, build, words):
    lines = findings(tmp_path, "P30", layers, build, more)
    assert len(lines) == bool(words) and all(words in f.sentence and f.severity == "warning" for f in lines)


TENSOR = "self.turn = torch.arange(8)"
CHOICE = "self.turn = nn.Parameter(torch.ones(8)) if config.{field} else torch.ones(8)"
IN_LAYER = LAYER.replace("self.a = config.depth", "if config.rope == 'ntk':\n            " + TENSOR)


@pytest.mark.parametrize(
    ("build", "layers", "stored", "reported"),
    [
        (TENSOR, "", {}, True),
        (f"if config.rope == 'ntk':\n            {TENSOR}", "", {"rope": "linear"}, False),
        (f"if config.rope == 'ntk':\n            {TENSOR}", "", {"rope": "ntk"}, True),
        (f"if config.rope == 'ntk':\n            {TENSOR}", "", None, True),  # no config.json: nothing decides
        (f"if self.config.prefix is not None:\n            {TENSOR}", "", {"model_type": "net-tiny"}, False),
        (f"if not config.flash and config.rope:\n            {TENSOR}", "", {"flash": True}, False),
        (f"if config.flash:\n            pass\n        else:\n            {TENSOR}", "", {"flash": True}, False),
        (f"if config.flash:\n            pass\n        else:\n            {TENSOR}", "", {"flash": False}, True),
        (CHOICE.format(field="flash"), "", {"flash": True}, False),
        (CHOICE.format(field="flash"), "", {"flash": False}, True),
        ("self.a = Layer(config)", IN_LAYER, {"rope": "linear"}, False),
        ("self.a = Layer(config.vision_config)", IN_LAYER, {"rope": "linear"}, True),  # another configuration
    ],
)
def test_a_branch_that_the_settings_rule_out_is_not_run(tmp_path, build, layers, stored, reported):
    if stored is not None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", **stored}))
    lines = findings(tmp_path, "P14b", layers, build, arguments="prefix=None, rope='ntk', flash=False, ")
    assert len(lines) == reported


MOVES = LAYER.replace("config):", "config, device=None):").replace(
    "self.a = config.depth", "self.a = nn.Linear(8, 8)\n        {}"
)


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("self.to(config.device)", True),
        ("self.a.to('cuda:0')", True),
        ("self.cuda()", True),
        ("self.a = self.a.to(device=torch.device('cuda' if torch.cuda.is_available() else 'cpu'))", True),
        ("self.register_buffer('b', torch.arange(8).to(config.device))", True),
        ("self.register_buffer('b', torch.arange(8, device='cpu').to(config.device))", False),  # made with values
        ("self.to(torch.float16)", False),
        ("self.to('meta')", False),
        ("self.config.to(config.device)", False),
        ("self.move(config.device)", True),  # a method that does so
        ("where = torch.device('cuda')\n        self.to(where)", True),
        ("self.move(device)", False),  # an argument, which may be None
        ("self.register_buffer('b', torch.arange(8).float().to(device))", False),
        ("self.register_buffer('b', torch.arange(8)); self.c = self.b.to(self.a.weight.device)", False),
        ("pass", False),
    ],
)
def test_what_a_constructor_moves_to_a_device(tmp_path, line, reported):
    move = "\n    def move(self, device):\n        self.to(device)\n"
    layers = MOVES.format(line).rstrip() + "\n" + move + "\n\n"
    assert len(findings(tmp_path, "P14d", layers, "self.a = Layer(config)")) == reported


@pytest.mark.parametrize(
    ("arguments", "first", "words"),
    [
        ("inner=None, ", "inner = inner or {}; kind = inner['architectures'][0]; ", "inner is an empty table"),
        ("inner=None, ", "kind = inner['a']; ", "inner is None there"),
        ("inner=None, ", "kind = inner.get('a'); ", "inner is None there"),
        ("inner=None, ", "kind = dict(**inner); ", "inner is None there"),
        ("inner={}, ", "kind = inner['a']; ", "inner is an empty table"),
        ("inner=None, ", "kind = inner.get('a') if inner is not None else 0; ", ""),
        ("inner=None, ", "kind = inner and inner['a']; ", ""),
        ("inner=None, ", "inner = inner or {}; kind = inner.get('a'); ", ""),
        ("inner=None, ", "inner = inner or {}; inner.update(a=1); kind = inner['a']; ", ""),
        ("inner=None, ", "inner = inner or {'a': 1}; kind = inner['a']; ", ""),
        ("inner=4, ", "kind = inner['a']; ", ""),
    ],
)
def test_a_configuration_that_raises_without_arguments(tmp_path, arguments, first, words):
    lines = [f for f in findings(tmp_path, "P15", arguments=arguments, first=first) if "() fails" in f.sentence]
    assert len(lines) == bool(words) and all(words in f.sentence and f.releases[-1] == "5.0.0" for f in lines)


def test_a_guard_in_a_configuration_is_followed(tmp_path):
    guarded = "if inner is None:\n            inner = {'a': 1}\n        kind = inner['a']\n        "
    assert findings(tmp_path, "P15", arguments="inner=None, ", first=guarded) == []
    returns = "if not inner:\n            return\n        kind = inner['a']\n        "
    assert findings(tmp_path, "P15", arguments="inner=None, ", first=returns) == []


def test_rotary_settings_are_passed_on(tmp_path):
    (finding,) = findings(tmp_path, "P15", build="self.a = config.rope_scaling")
    assert "super().__init__(rope_scaling=rope_scaling, **kwargs)" in str(finding)
    passed = {"arguments": "rope_scaling=None, ", "passed": "rope_scaling=rope_scaling, "}
    assert findings(tmp_path, "P15", build="self.a = config.rope_scaling", **passed) == []
