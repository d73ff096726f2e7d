"""Methods that transformers' classes do not call in every release (P49), and arguments that it does not take (P50).

In which releases is in ranges.json for the laboratory's cases; here are other shapes, and what looks like one and does
no harm.
"""

import ast

import pytest
from corpus.net_folder import findings

from pinfold.audit import stock
from pinfold.audit.finding import ERROR, WARNING
from pinfold.folder.releases import MINORS, release_ranges

STOCK = "from transformers.models.{model}.modeling_{model} import {cls}\n"
DERIVED = STOCK + "\n\nclass Seen({cls}):\n    def {method}(self, *args, **kwargs):\n        {body}\n{more}\n\n"
LLAMA = {"model": "llama", "cls": "LlamaModel", "method": "_update_causal_mask", "body": "return None", "more": ""}
BUILDS = "self.inside = Seen(config)"
GOES_ON = "    def forward(self, *args, **kwargs):\n        return super().forward(*args, **kwargs)\n"


def up_to_newest(ranges):
    return ranges + MINORS[-1] * ranges.endswith("-")


def methods(tmp_path, build=BUILDS, **parts):
    return findings(tmp_path, "P49", DERIVED.format(**(LLAMA | parts)), build)


@pytest.mark.parametrize(
    ("parts", "ranges"),
    [
        ({}, "4.53-"),
        ({"more": GOES_ON}, "4.53-"),
        ({"model": "bert", "cls": "BertModel", "method": "_create_attention_masks"}, "4.48-4.57"),
        ({"model": "bert", "cls": "BertSelfAttention", "method": "transpose_for_scores"}, "4.54-"),
    ],
)
def test_a_method_that_transformers_calls_in_some_releases(tmp_path, parts, ranges):
    (finding,) = methods(tmp_path, **parts)
    assert (release_ranges(finding.releases), finding.severity) == (up_to_newest(ranges), ERROR)
    assert finding.case == "P49.always"


@pytest.mark.parametrize(
    "parts",
    [
        {"more": GOES_ON.replace("return super().forward", "return self._update_causal_mask")},  # calls it itself
        {
            "more": GOES_ON.replace("return super().forward(*args, **kwargs)", "return args")
        },  # never goes on to Llama's
        {"body": "return super()._update_causal_mask(*args, **kwargs)"},
        {"method": "_mask_of_words"},  # Llama has no such method anywhere
        {"build": "self.outside = Outside(config)"},
        {"model": "bert", "cls": "BertModel", "method": "get_input_embeddings"},
    ],
)
def test_methods_that_are_called_or_change_nothing(tmp_path, parts):
    assert methods(tmp_path, **parts) == []


@pytest.mark.parametrize(
    ("build", "count"),
    [
        ("for part in self.parts:\n            part.inside = Seen(config)", 1),
        ("for part in self.parts:\n            for inner in part:\n                inner.inside = Seen(config)", 1),
        ("with torch.no_grad():\n            self.inside = Seen(config)", 1),
        ("if config.width > 8:\n            self.inside = Seen(config)", 0),
        ("while self.parts:\n            self.inside = Seen(config)", 0),
    ],
)
def test_what_a_loop_over_layers_puts_there_is_built(tmp_path, build, count):
    assert len(methods(tmp_path, build)) == count


def test_a_method_that_is_called_on_some_conditions_is_a_warning(tmp_path):
    method = "_prepare_4d_causal_attention_mask_with_cache_position"
    (finding,) = methods(tmp_path, method=method)
    assert finding.severity == WARNING and "on some conditions" in finding.sentence


CACHE = "from transformers import DynamicCache\n"
MASKS = "from transformers.masking_utils import create_causal_mask\n"
ROTARY = STOCK.format(model="llama", cls="LlamaRotaryEmbedding")
T5 = STOCK.format(model="t5", cls="T5Stack")
HANDED = "config=config, input_embeds=None, attention_mask=None, cache_position=None, past_key_values=None"
CALL = f"create_causal_mask({HANDED})"
OF_SIGNATURE = "if 'config' in inspect.signature(DynamicCache).parameters:"
OF_VERSION = "if version.parse(transformers.__version__) >= version.parse('4.56'):"
KEPT = "def kept(self):\n        {asks}\n            return DynamicCache(config=self.config)\n"
OWN_STACK = (
    "\n\nclass Own(T5Stack):\n    def __init__(self, config, words):\n        super().__init__(config, words)\n\n\n"
)


def calls(tmp_path, layers, build="pass", more=""):
    return [(f.severity, f.case, release_ranges(f.releases)) for f in findings(tmp_path, "P50", layers, build, more)]


@pytest.mark.parametrize(
    ("layers", "build", "expected"),
    [
        (ROTARY, "self.rotary = LlamaRotaryEmbedding(config, device=None)", "5.19-"),
        (ROTARY, "self.rotary = LlamaRotaryEmbedding(8, 64, 10000.0)", "4.48-"),  # as it was before 4.48
        (
            "from transformers.models.llama import modeling_llama\n",
            "self.r = modeling_llama.LlamaRotaryEmbedding(config, None)",
            "5.19-",
        ),
        (T5, "self.stack = nn.ModuleList([T5Stack(config, None) for _ in range(2)])", "5.0-"),
        (T5 + OWN_STACK, "self.stack = Own(config, None)", "5.0-"),
        (MASKS, f"self.mask = {CALL}", "5.9-"),
        ("import transformers\n", "self.kept = transformers.DynamicCache(config=config)", "4.48-4.55"),
    ],
)
def test_arguments_that_a_release_does_not_take(tmp_path, layers, build, expected):
    assert calls(tmp_path, layers, build) == [(ERROR, "P50.load", up_to_newest(expected))]


def test_a_call_that_may_not_run_is_a_warning(tmp_path):
    chat = "def chat(self):\n        return DynamicCache(config=self.config)\n"
    assert calls(tmp_path, CACHE, more=chat) == [(WARNING, "", "4.48-4.55")]


def test_a_call_in_forward_is_found_through_methods_and_functions(tmp_path):
    layers = CACHE + "\n\ndef fresh(config):\n    return DynamicCache(config=config)\n\n\n"
    layers += "class Layer(nn.Module):\n    def forward(self, x):\n        return self.held()\n\n"
    layers += "    def held(self):\n        return fresh(self.config)\n\n\n"
    assert calls(tmp_path, layers, "self.layer = Layer()") == [(ERROR, "P50.forward", "4.48-4.55")]


@pytest.mark.parametrize(
    "more",
    [
        "try:\n        kept = DynamicCache(config=NetConfig())\n    except TypeError:\n        kept = None\n",
        KEPT.format(asks=OF_SIGNATURE),
        KEPT.format(asks=OF_VERSION),
        "def kept(self, **more):\n        return DynamicCache(**more)\n",
        "def kept(self):\n        return DynamicCache()\n",
        "def kept(self):\n        DynamicCache = dict\n        return DynamicCache(config=self.config)\n",
        "class Kept(dict):\n        def __init__(self):\n            super().__init__(config=None)\n",
    ],
)
def test_calls_that_raise_nothing(tmp_path, more):
    assert calls(tmp_path, CACHE, more=more) == []


def test_a_method_of_the_folder_is_not_taken_for_one_of_transformers(tmp_path):
    own = "def get_head_mask(self, first, second, third, fourth):\n        return self.get_head_mask(1, 2, 3, 4)\n"
    assert calls(tmp_path, CACHE, more=own) == []
    (found,) = calls(tmp_path, CACHE, more="def kept(self):\n        return self.get_head_mask(1, 2, 3, 4)\n")
    assert found[0] == WARNING


def refuses(words, call):
    return stock._parse(words).refuses(ast.parse(call, mode="eval").body)


@pytest.mark.parametrize(
    ("words", "call", "reason"),
    [
        ("a b=", "f(1, 2)", ""),
        ("a b=", "f(1, 2, 3)", "takes 2 arguments without a name"),
        ("a b=", "f(b=1)", "needs a"),
        ("a b=", "f(1, a=2)", "gets a twice"),
        ("a b=", "f(1, c=2)", "takes no c"),
        ("a b= **", "f(1, c=2)", ""),
        ("a b= *args c", "f(1, 2, 3)", "needs c"),
        ("a * old=a", "f(old=1)", ""),
        ("a * old=a", "f(**more)", ""),
        ("a b", "f(*more)", ""),
        ("", "f(1)", "takes no arguments without a name"),
    ],
)
def test_a_call_is_held_against_parameters_as_python_does(words, call, reason):
    assert refuses(words, call) == reason


def test_a_name_is_looked_up_where_it_is_imported_from():
    everywhere = stock.parameters("transformers", "DynamicCache")
    assert everywhere == stock.parameters("transformers.cache_utils", "DynamicCache")
    assert len(everywhere) >= 35
    # many files define this one, each another
    assert stock.parameters("transformers", "eager_attention_forward") == {}
    llama = stock.parameters("transformers.models.llama.modeling_llama", "eager_attention_forward")
    assert llama and all(each.rest for each in llama.values())
