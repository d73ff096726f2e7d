"""The table of what transformers' own functions take (audit/stock.json.gz) is what its sources and its objects say."""

import ast
import importlib
import inspect
import sys
from importlib import metadata

import pytest
from helpers.processes import ROOT

from pinfold.audit import stock
from pinfold.folder.releases import RELEASES, releases_of_ranges

sys.path.insert(0, str(ROOT / "scripts"))
script = importlib.import_module("stock")
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
