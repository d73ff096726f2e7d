"""The table of transformers' own code (audit/stock.json.gz) is what its sources, its objects and its runs say."""

import ast
import importlib
import inspect
import sys
from importlib import metadata

import pytest
from helpers.processes import ROOT

from pinfold.audit import stock
from pinfold.audit.rules.values import TENSOR, TUPLE, from_words, in_words
from pinfold.folder.releases import RELEASES, releases_of_ranges

sys.path.insert(0, str(ROOT / "scripts"))
script = importlib.import_module("stock")
flow_script = importlib.import_module("stock_flow")
sys.path.pop(0)

OWN = metadata.version("transformers")
MODULES = (
    *("cache_utils", "masking_utils", "modeling_rope_utils", "pytorch_utils"),
    *("generation.utils", "models.llama.modeling_llama", "models.bert.modeling_bert", "models.t5.modeling_t5"),
)


def test_the_table_is_of_the_releases_that_names_are_known_of():
    assert tuple(stock.read_table()["releases"]) == RELEASES


@pytest.mark.parametrize("module", MODULES)
def test_parameters_are_those_of_the_installed_release(module):
    if OWN not in RELEASES:  # the table was made before that release, and holds nothing to compare it with
        pytest.skip(f"transformers {OWN} is newer than the table; run scripts/stock.py")
    there = importlib.import_module(f"transformers.{module}")
    compared = 0
    for name, rows in stock.read_table()["parameters"][f"transformers.{module}"].items():
        texts = [text for spans, text in rows.items() if OWN in releases_of_ranges(spans)]
        target = there
        for word in name.split("."):
            target = getattr(target, word, None)
        if not texts or target is None or isinstance(target, property):
            continue
        function = target.__init__ if inspect.isclass(target) else target
        if function is object.__init__:
            continue
        signature = [
            each for each in inspect.signature(function).parameters.values() if each.name not in ("self", "cls")
        ]
        known = stock._parse(texts[0])
        assert known.positional == tuple(each.name for each in signature if each.kind == each.POSITIONAL_OR_KEYWORD), (
            name
        )
        # older names, which deprecate_kwarg takes, are in no signature
        assert {each.name for each in signature if each.kind == each.KEYWORD_ONLY} <= set(known.by_name), name
        assert known.rest == any(each.kind == each.VAR_KEYWORD for each in signature), name
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        required = {each.name for each in signature if each.default is each.empty and each.kind in by_name}
        assert known.required == required, name
        compared += 1
    assert compared > 3


def function(text):
    return ast.parse(text).body[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(self, a, b=1, *, c, d=2, **more): pass", "a b= * c d= **"),
        ("@staticmethod\ndef f(a, *rest): pass", "a *args"),
        ("@deprecate_kwarg('old', new_name='a', version='9')\ndef f(self, a): pass", "a * old=a"),
        ("@deprecate_kwarg('old', version='9')\ndef f(self, a): pass", "a * old="),
        ("@can_return_tuple\ndef f(self, a): pass", "a * return_dict="),
        ("@property\ndef f(self): pass", "?"),
        ("@other.wraps_it\ndef f(self, a): pass", "?"),
    ],
)
def test_parameters_are_read_from_the_source(text, words):
    assert script.takes(function(text), True) == words


def test_methods_that_each_call_of_forward_comes_to():
    text = """
class Own(Base):
    def forward(self, x):
        x = self.first(x)
        if self.asks(x):
            x = self.sometimes(x)
        y = self.either(x) if x else x
        for layer in self.layers:
            layer(self.each(x))
        if x is None:
            return x
        return self.last(x)

    def first(self, x):
        return self.second(x)

    def second(self, x):
        return x
"""
    cls = script._class(function(text), calls=True)
    assert cls.methods["forward"].always == {"first", "asks", "each"}
    assert cls.methods["forward"].somewhere == {"first", "asks", "sometimes", "either", "each", "last"}
    assert script._reached(cls.methods, lambda method: method.always) == {"first", "second"}


def test_a_method_is_looked_for_in_bases_of_other_files():
    texts = {
        "transformers/a.py": "class First:\n    def __init__(self, size): pass\n    def both(self, x): pass\n",
        "transformers/b.py": "from .a import First\nclass Second(First):\n    def own(self): pass\n",
        "transformers/c.py": "import elsewhere\nclass Third(elsewhere.Other):\n    pass\n",
    }
    table = script.Release(texts, {}).parameters()
    assert table[("transformers.b", "Second")] == "size"
    assert table[("transformers.b", "Second.both")] == "x"
    assert table[("transformers.c", "Third")] == "?"


def flows(text):
    return flow_script.File(ast.parse(text).body).flows()


LAYER = """
class Attention(nn.Module):
    def forward(self, hidden_states, past=None):
        return self.out(hidden_states), None

class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attend = Attention(config)
        self.mlp = nn.Linear(8, 8)

    def forward(self, hidden_states, flag=False):
        residual = hidden_states
        {attends}
        hidden_states = residual + self.mlp(hidden_states)
        {returns}
"""


@pytest.mark.parametrize(
    ("attends", "returns", "text"),
    [
        ("hidden_states, _ = self.attend(hidden_states)", "return hidden_states", "t"),
        ("hidden_states, _ = self.attend(hidden_states)", "return (hidden_states,)", "1"),
        ("outputs = self.attend(hidden_states)", "return (hidden_states,) + outputs[1:]", "2"),
        ("out = (hidden_states,)", "if flag:\n            out += (None,)\n        return out", "1-2"),
        ("out = self.other(hidden_states)", "return (hidden_states,) + out[1:]", "1-"),
        ("out = self.other(hidden_states)", "return out", ""),
        ("pass", "return BaseModelOutput(last_hidden_state=hidden_states)", "o"),
        ("pass", "if flag:\n            return hidden_states\n        return (hidden_states,)", ""),
        ("pass", "if self.training:\n            return hidden_states\n        return (hidden_states,)", "1"),
        ("pass", "return self.finish(hidden_states)\n\n    def finish(self, x):\n        return x, x, x", "3"),
    ],
)
def test_what_forward_returns_is_read_from_its_body(attends, returns, text):
    assert flows(LAYER.format(attends=attends, returns=returns))["Layer"].returns == text


def test_a_value_is_read_as_it_is_written():
    for text in ("t", "o", "1", "2-3", "1-", ""):
        assert in_words(from_words(text)) == text


STACK = """
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList([Layer(config) for _ in range(2)])

    def forward(self, hidden_states, mask=None, **kwargs):
        {calls}
        return hidden_states
"""


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ("for layer in self.layers:\n            hidden_states = layer(hidden_states, mask=mask)", "1 mask >t"),
        ("for layer in self.layers[:1]:\n            hidden_states = layer(hidden_states, mask)[0]", "2 >i"),
        ("for n in range(2):\n            x, past = self.layers[n](x=hidden_states, **kwargs)", "0 x ** >2"),
        ("for layer in self.layers:\n            if mask.any():\n                layer(hidden_states)", "?1"),
        (
            "for layer in self.layers:\n            if self.training:\n                layer(1)\n"
            "            else:\n                layer(*hidden_states)",
            "*",
        ),
    ],
)
def test_how_a_part_is_called_is_read_too(calls, text):
    whole = LAYER.format(attends="pass", returns="return hidden_states") + STACK.format(calls=calls)
    stack = flows(whole)["Stack"]
    assert stack.parts == {"layers": "Layer*"} and stack.hands == {"layers": text}


def test_a_part_that_is_one_of_two_classes_has_no_class_and_is_called():
    text = LAYER.format(attends="pass", returns="return hidden_states").replace(
        "self.mlp = nn.Linear(8, 8)",
        "if config.deep:\n            self.mlp = Attention(config)\n        else:\n"
        "            self.mlp = Other(config)",
    )
    text += "\nclass Other(Attention):\n    def forward(self, hidden_states):\n        return hidden_states\n"
    layer = flows(text)["Layer"]
    assert layer.parts == {"attend": "Attention"} and layer.hands["mlp"].startswith("1")


SIZES = {"vocab_size": 24, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY = {
    "LlamaModel": {**SIZES, "num_key_value_heads": 2},
    "Qwen2Model": {**SIZES, "num_key_value_heads": 2},
    "BertModel": SIZES,
    "GPT2Model": {"vocab_size": 24, "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16},
    "OPTModel": {**SIZES, "ffn_dim": 8, "word_embed_proj_dim": 8, "max_position_embeddings": 16},
    "GPTNeoXModel": {**SIZES, "max_position_embeddings": 16},
}


@pytest.mark.parametrize("name", TINY)
def test_modules_are_handed_and_return_what_the_table_says(name):
    if OWN not in RELEASES:  # as above: the table holds nothing of that release to compare with
        pytest.skip(f"transformers {OWN} is newer than the table; run scripts/stock.py")
    import torch
    import transformers

    config = getattr(transformers, name.replace("Model", "Config"))(**TINY[name])
    model = getattr(transformers, name)(config).eval()
    file = type(model).__module__
    known = stock.flows(file, OWN)
    owners = {}
    for owner in model.modules():
        for part, child in owner.named_children():
            several = [child, *child.children()] if isinstance(child, torch.nn.ModuleList) else [child]
            owners |= {each: (type(owner).__name__, part) for each in several}
    seen = {"returns": 0, "hands": 0}

    def look(module, by_place, by_name, output):
        value = from_words(known["returns"].get(type(module).__name__, ""))
        if value.kind == TENSOR:
            assert isinstance(output, torch.Tensor), type(module)
        elif value.kind == TUPLE:
            assert value.least <= len(output) <= (value.most or len(output)), type(module)
        seen["returns"] += value.kind in (TENSOR, TUPLE)
        calls = [c for c in stock.handed(file, *owners.get(module, ("", "")), OWN) if c.certain]
        for call in calls[:1]:
            assert call.count in (None, len(by_place)), type(module)
            assert set(by_name) == set(call.names) or (call.rest and set(by_name) > set(call.names)), type(module)
        seen["hands"] += bool(calls)

    for module in model.modules():
        if module is not model:
            module.register_forward_hook(look, with_kwargs=True)
    with torch.no_grad():
        model(input_ids=torch.arange(5)[None], attention_mask=torch.ones(1, 5, dtype=torch.long))
    assert seen["returns"] and seen["hands"]
