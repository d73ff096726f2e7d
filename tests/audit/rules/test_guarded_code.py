"""Code that asks for itself what it has, in several shapes; odd code that must not stop or slow a check."""

# ruff: noqa: E501 (lines of programs)

import time

import pytest

from pinfold.audit.examine import examine
from pinfold.audit.finding import errors

CONFIGURATION = """from transformers import LlamaConfig, PretrainedConfig


class MyConfig(LlamaConfig):
    model_type = "my-own"


MyConfig.register_for_auto_class()
"""
HEAD = """import functools

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from .configuration_my import MyConfig

OLD: bool = tuple(map(int, transformers.__version__.split(".")[:2])) < (4, 54)
MAJOR, MINOR = map(int, transformers.__version__.split(".")[:2])
"""
MODEL = """

class MyModel(PreTrainedModel):
    config_class = MyConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(100, 32)
        self.layers = nn.ModuleList([{layer}(config, i) for i in range(2)])
        self.old = OLD
        self.post_init()

    def forward(self, input_ids, **kwargs):
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            {body}
        return x
{more}

MyModel.register_for_auto_class("AutoModel")
"""


def write(folder, body="x = layer(x)", layer="LlamaDecoderLayer", above="", more="", configuration=CONFIGURATION):
    (folder / "configuration_my.py").write_text(configuration)
    (folder / "modeling_my.py").write_text(HEAD + above + MODEL.format(body=body, layer=layer, more=more))
    return folder


def codes(folder):
    return [finding.code for finding in errors(examine(folder, "my").findings)]


def test_a_model_that_calls_its_own_constructors_methods_is_read_too(tmp_path):
    assert codes(write(tmp_path, "x = layer(x)[0]")) == ["P55"]


CONDITIONAL = """

class Mine(LlamaDecoderLayer):
    if OLD:
        def forward(self, x, *args, **kwargs):
            out = super().forward(x, *args, **kwargs)
            return (out[0] * 1.0,) + out[1:]
    else:
        def forward(self, x, *args, **kwargs):
            return super().forward(x, *args, **kwargs) * 1.0
"""
TWO_CLASSES = """
if OLD:
    class Mine(LlamaDecoderLayer):
        def forward(self, x, *args, **kwargs):
            return super().forward(x, *args, **kwargs)[0] * 1.0
else:
    class Mine(LlamaDecoderLayer):
        def forward(self, x, *args, **kwargs):
            return super().forward(x, *args, **kwargs) * 1.0
"""
DISPATCHED = """

@functools.singledispatch
def unwrap(value):
    return value[0]


@unwrap.register
def _(value: torch.Tensor):
    return value
"""
MATCHED = (
    "out = layer(x)\n            match out:\n                case (first, *_):\n                    out = first\n"
)


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("out = layer(x)\n            x = out[0] if OLD else out", {}),
        ("out = layer(x)\n            x = out[0] if (MAJOR, MINOR) < (4, 54) else out", {}),
        ("out = layer(x)\n            x = out[0] if self.old else out", {}),
        ("out = layer(x)\n            x = out[0] if out[0].ndim == 3 else out", {}),
        ("self.last = layer(x)\n            x = self.last[0] if isinstance(self.last, tuple) else self.last", {}),
        (MATCHED + "            x = out * 2", {}),
        ("x = unwrap(layer(x))", {"above": DISPATCHED}),
        ("x = layer(x)", {"above": CONDITIONAL, "layer": "Mine"}),
        ("x = layer(x)", {"above": TWO_CLASSES, "layer": "Mine"}),
    ],
)
def test_code_that_asks_what_a_layer_returned_has_no_error(tmp_path, body, more):
    assert codes(write(tmp_path, body, **more)) == []


def test_a_condition_that_is_made_of_itself_has_an_end(tmp_path):
    flip = "    def step(self, x, flip):\n        flip = not flip\n        if flip:\n            x = x[0]\n        return x\n"
    codes(write(tmp_path, "x = self.step(layer(x), True)", more="\n" + flip))
    chain = "".join(f"        a{n} = not (a{n - 1} and a{n - 1})\n" for n in range(1, 40))
    more = f"\n    def step(self, x, b):\n        a0 = not b\n{chain}        if a39:\n            x = x[0]\n        return x\n"
    started = time.process_time()
    codes(write(tmp_path, "x = self.step(layer(x), True)", more=more))
    assert time.process_time() - started < 10


def test_a_method_that_is_called_isinstance_is_a_method(tmp_path):
    more = "\n    def isinstance(self):\n        return True\n\n    def go(self, past_key_values=None):\n"
    more += "        if self.isinstance():\n            return isinstance()\n"
    codes(write(tmp_path, more=more))


@pytest.mark.parametrize("count", [12, 40])
def test_methods_that_call_each_other_take_seconds(tmp_path, count):
    def method(number):
        calls = "".join(f"        x = self.m{(number * 5 + k) % count}(x)\n" for k in range(5))
        return f"\n    def m{number}(self, x):\n{calls}        return self.layers[0](x)[0]\n"

    started = time.process_time()
    codes(write(tmp_path, "x = self.m0(x)", more="".join(map(method, range(count)))))
    assert time.process_time() - started < 15  # about 2 s on an idle core


def test_a_name_in_many_branches_takes_seconds(tmp_path):
    lines = "".join(f"        a{n} = x\n" for n in range(500))
    lines += "".join(f"        if kw.get('k{n}'):\n            a{n} = a{n + 1}\n" for n in range(490))
    started = time.process_time()
    codes(write(tmp_path, "x = layer(x)", more=f"\n    def many(self, x, **kw):\n{lines}        return a0\n"))
    assert time.process_time() - started < 15


@pytest.mark.parametrize(
    "body",
    [
        "save = super().save_pretrained\n        return save(save_directory, **kwargs)",
        "return getattr(super(), 'save_pretrained')(save_directory, **kwargs)",
        "functools.partial(super().save_pretrained, save_directory)(**kwargs)",
        "write_down(self, save_directory)",
        "self.config.save_pretrained(save_directory)\n"
        "        torch.save(1, (save_directory / 'model').with_suffix('.safetensors'))",
        "raise NotImplementedError('this model is for inference')",  # the author's choice, which a user is shown
    ],
)
def test_a_save_that_may_write_the_weights_is_no_error(tmp_path, body):
    above = "\n\ndef write_down(model, directory):\n    PreTrainedModel.save_pretrained(model, directory)\n"
    more = f"\n    def save_pretrained(self, save_directory, **kwargs):\n        {body}\n"
    assert "P57" not in codes(write(tmp_path, more=more, above=above))


def test_a_save_that_writes_something_else_is_one(tmp_path):
    more = "\n    def save_pretrained(self, save_directory, **kwargs):\n        self.config.save_pretrained(save_directory)\n"
    assert "P57" in codes(write(tmp_path, more=more))


OUTER = """from transformers import PretrainedConfig


class MyConfig(PretrainedConfig):
    model_type = "my-own"

    def __init__(self, text_config=None, **kwargs):
        {before}super().__init__(**kwargs)
        self.text_config = PretrainedConfig(**(text_config or {{}}))

    def get_text_config(self, decoder=False, **kwargs):
        {body}


MyConfig.register_for_auto_class()
"""


@pytest.mark.parametrize(
    ("before", "body", "count"),
    [
        ("", "return self.text_config", 1),
        ("", "return self.text_config if hasattr(self, 'text_config') else self", 0),
        ("", "return getattr(self, 'text_config', None) or self.text_config", 0),
        ("", "if 'text_config' not in self.__dict__:\n            return self\n        return self.text_config", 0),
        ("", "try:\n            return self.text_config\n        except AttributeError:\n            return self", 0),
        ("setattr(self, 'text_config', None)\n        ", "return self.text_config", 0),
        ("self._prepare()\n        ", "return self.text_config", 0),
    ],
)
def test_settings_of_the_text_that_are_asked_for_early(tmp_path, before, body, count):
    assert codes(write(tmp_path, configuration=OUTER.format(before=before, body=body))).count("P62") == count


LOST = """
    def no_split(self):
        {body}

"""


@pytest.mark.parametrize(
    "expects, body",
    [
        (False, "return LlamaModel._update_causal_mask"),
        (True, "with contextlib.suppress(AttributeError):\n            return LlamaModel._update_causal_mask"),
        (True, "with suppress(KeyError, AttributeError):\n            return LlamaModel._update_causal_mask"),
        (False, "with suppress(KeyError):\n            return LlamaModel._update_causal_mask"),
        (True, "if '_update_causal_mask' in dir(LlamaModel):\n            return LlamaModel._update_causal_mask"),
        (False, "if '_update_causal_mask' in KNOWN:\n            return LlamaModel._update_causal_mask"),
        (
            True,
            "try:\n            return LlamaModel._update_causal_mask\n        except AttributeError:\n            pass",
        ),
        (False, "try:\n            return LlamaModel._update_causal_mask\n        except KeyError:\n            pass"),
    ],
)
def test_a_method_that_may_be_lost_is_no_finding_where_the_code_expects_it(tmp_path, expects, body):
    above = "\nimport contextlib\nfrom contextlib import suppress\nfrom transformers.models.llama.modeling_llama import LlamaModel\n\nKNOWN = ()\n"
    folder = write(tmp_path, above=above, more=LOST.format(body=body))
    lost = [f for f in examine(folder, "my").findings if f.code == "P09"]
    assert bool(lost) is not expects, lost
