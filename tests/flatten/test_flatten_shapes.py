"""Ways in which code is really written, each flattened and compared with itself, or refused in one line."""

import importlib
import itertools
import json
import sys
import textwrap
import types

import pytest
import torch

from pinfold.common.errors import UserError
from pinfold.flatten import flatten, flatten_live, write_folder

COUNT = itertools.count()
NET = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
HEAD
class OwnConfig(PretrainedConfig):
    model_type = "own"
class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        INIT
        self.post_init()
    def forward(self, x):
        FWD
"""
REGISTRY = """
class Registry:
    def __init__(self):
        self.known = {}
    def register_module(self, module=None):
        if module is not None:
            self.known[module.__name__] = module
            return module
        return lambda cls: self.register_module(cls)
    def get(self, name, default):
        return self.known.get(name, default)
MODELS = Registry()
def register(cls):
    MODELS.known[cls.__name__] = cls
    return cls
"""
BLOCK = (
    "from torch import nn\n{0}\n{1}class Block(nn.Linear):\n    def forward(self, x):\n"
    "        return super().forward(x) * 2\n{2}\n"
)
LIN = "self.lin = nn.Linear(4, 4)"
FROM_TABLE = "self.lin = MODELS.get('Block', nn.Linear)(4, 4)"


def net(head="", init=LIN, forward="return (self.lin(x),)"):
    return (
        NET.replace("HEAD", head).replace("INIT", init.replace("\n", "\n" + 8 * " "))
        .replace("FWD", forward.replace("\n", "\n" + 8 * " "))
    )  # fmt: skip


def registered(first, decorator="", last=""):
    return {
        "registry.py": REGISTRY, "blocks.py": BLOCK.format(first, decorator, last),
        "net.py": net("from .registry import MODELS\nfrom . import blocks  # noqa", FROM_TABLE),
    }  # fmt: skip


WORKS = {
    "two functions of one name": {
        "a.py": "def act(x): return x + 1\n", "b.py": "def act(x): return x * 2\n",
        "net.py": net("from . import a, b", forward="return (a.act(self.lin(x)) + 10 * b.act(x),)"),
    },
    "an argument that is called as a module": {
        "core.py": "SCALE = 3.0\n",
        "net.py": net("from . import core\nclass Thing:\n    SCALE = 5.0\ndef f(core): return core.SCALE",
                      forward="return (self.lin(x) * core.SCALE * f(Thing),)"),
    },
    "a method of the function's name": {
        "acts.py": "def act(x): return x + 1\n",
        "net.py": net("from . import acts\nclass T:\n    def act(self, x): return x\n    table = {'a': acts.act}",
                      forward="return (T.table['a'](self.lin(x)),)"),
    },
    "one alias for two modules": {
        "a.py": "def act(x): return x + 1\n", "b.py": "def act(x): return x * 2\n",
        "net.py": net("class H:\n    def one(self, x):\n        from . import a as ops\n        return ops.act(x)\n"
                      "    def two(self, x):\n        from . import b as ops\n        return ops.act(x)",
                      forward="return (H().one(self.lin(x)) + H().two(x),)"),
    },
    "a local variable of a module's name": {
        "layers.py": "K = 2.0\n",
        "net.py": net("from . import layers\nG = layers.K",
                      forward="layers = []\nlayers.append(self.lin(x))\nreturn (layers[0] * G,)"),
    },
    "mmcv's register_module(module=)": registered(
        "from .registry import MODELS", last="MODELS.register_module(module=Block)"),
    "a decorator through its module": registered("from . import registry", "@registry.MODELS.register_module()\n"),
    "an item through its module": registered("import own.registry as r", last="r.MODELS.known['Block'] = Block"),
    "a function that registers": registered("from .registry import register", last="register(Block)"),
    "a decorator called afterwards": registered(
        "from .registry import MODELS", last="MODELS.register_module()(Block)"),
    "a loop that registers": registered(
        "from .registry import register", last="for c in (Block,):\n    register(c)"),
    "a table of others": {
        "acts.py": "import torch\nfrom transformers.activations import ACT2FN\n"
                   "class Twice(torch.nn.Module):\n    def forward(self, x): return x * 2\n"
                   "ACT2FN.update({'twice_of_ours': Twice})\n",
        "net.py": net("from transformers.activations import ACT2FN\nfrom . import acts  # noqa",
                      LIN + "\nself.act = ACT2FN['twice_of_ours'] if 'twice_of_ours' in ACT2FN else nn.Identity()",
                      "return (self.act(self.lin(x)),)"),
    },
    "a file that only fills": {
        "tables.py": "T = {}\n", "acts.py": "import torch\nfrom .tables import T\nT['tanh'] = torch.tanh\n",
        "net.py": net("from . import acts  # noqa\nfrom .tables import T",
                      forward="return (T.get('tanh', torch.relu)(self.lin(x)),)"),
    },
    "setattr on the class": {
        "net.py": net("", forward="return (x,)") + "def fw(self, x): return (self.lin(x) * 3,)\n"
                  "setattr(OwnModel, 'forward', fw)\n",
    },
    "a class attribute of its own name": {
        "net.py": net("hidden = 4\nclass H:\n    hidden = hidden", "self.lin = nn.Linear(H.hidden, 4)"),
    },
    "two imports from the future": {
        "net.py": "from __future__ import division, annotations\n"
                  + net(forward="y: Nowhere = self.lin(x)\nreturn (y,)"),
    },
    "modules named as keywords": {
        "class_.py": "A = 2.0\n", "_in.py": "B = 3.0\n",
        "net.py": net("from .class_ import A\nfrom ._in import B", forward="return (self.lin(x) * A * B,)"),
    },
    "a star that comes later": {
        "a.py": "def act(x): return x + 1\n",
        "b.py": "__all__ = ['act']\ndef act(x): return x * 2\ndef norm(x): return x\n",
        "net.py": net("from .a import act\nfrom .b import *", forward="return (act(self.lin(x)),)"),
    },
    "a star that __all__ keeps small": {
        "a.py": "__all__ = ['act']\ndef act(x): return x + 1\n",
        "b.py": "__all__ = ['norm']\ndef norm(x): return act(x)\ndef act(x): return x * 2\n",
        "net.py": net("from .a import *\nfrom .b import *", forward="return (norm(act(self.lin(x))),)"),
    },
    "a configuration under another name": {
        "c.py": "from transformers import PretrainedConfig\nclass _C(PretrainedConfig):\n    model_type = 'own'\n"
                "Conf = _C\n",
        "net.py": NET.split("HEAD")[0] + "from .c import Conf as OwnConfig\nclass OwnModel" +
                  net().split("class OwnModel")[1],
    },
}  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    def make(files):
        for name, text in ({"__init__.py": ""} | files).items():
            path = tmp_path / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))

    yield make
    forget("own")


def forget(top):
    for name in [name for name in sys.modules if name.split(".")[0] == top]:
        del sys.modules[name]


def loaded(flat, directory):
    write_folder(flat, directory, yes=True)
    name = f"shape_{next(COUNT)}"
    root = types.ModuleType(name)
    root.__path__ = [str(directory)]
    sys.modules[name] = root
    stem = next(file for file in flat.files if file.startswith("modeling_")).removesuffix(".py")
    return importlib.import_module(f"{name}.{stem}").OwnModel


def same(one, other):
    torch.manual_seed(0)
    model, copy, x = one(one.config_class()), other(other.config_class()), torch.randn(3, 4)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(x)[0], copy.eval()(x)[0])


@pytest.mark.parametrize("shape", WORKS)
def test_the_same_numbers(shape, own, tmp_path):
    own(WORKS[shape])
    # the copy first: what the original registers with others is not there yet
    copy = loaded(flatten("own.net:OwnModel"), tmp_path / "flat")
    same(importlib.import_module("own.net").OwnModel, copy)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"flags.py": "S = 1.0\n", "net.py": net("from . import flags", LIN + "\nflags.S = 3.0")},
            "sets S of the module",
        ),
        (
            {
                "flags.py": "S = 1.0\n",
                "net.py": net("from . import flags\nflags.S = 3.0", forward="return (flags.S,)"),
            },
            "sets S of the module",
        ),
        (
            {"core.py": "", "net.py": net("from . import core", forward="return (core,)")},
            "uses the module own.core itself",
        ),
        (
            {
                "net.py": net().replace(
                    'class OwnConfig(PretrainedConfig):\n    model_type = "own"',
                    "OwnConfig = type('OwnConfig', (PretrainedConfig,), {})",
                )
            },
            "is not made by a class statement",
        ),
        (
            {
                "a.py": "K = 1\n",
                "net.py": net(
                    "try:\n    from . import a as ops\nexcept ImportError:\n    ops = None",
                    forward="return (self.lin(x) * ops.K,)",
                ),
            },
            "under a condition",
        ),
        ({"net.py": net("def f(a, a): pass")}, "is not valid Python"),
    ],
)
def test_what_is_refused(files, words, own):
    own(files)
    with pytest.raises(UserError) as error:
        flatten("own.net:OwnModel")
    assert words in str(error.value) and "\n" not in str(error.value)


# notebooks and scripts ------------------------------------------------------------------------------------------


def notebook(tmp_path, *cells):
    path = tmp_path / "train.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": cell} for cell in cells]}))
    return f"{path}:OwnModel"


TANH = net(forward="y = self.lin(x)\ny = torch.tanh(y)  # needed?\nreturn (y,)")


@pytest.mark.parametrize(
    "cells",
    [
        ["!pip install einops\n" + TANH],
        ["files = !ls\n" + TANH],
        ["if True:\n    %pip install x\n" + TANH],
        ["!pip install \\\n  einops\n" + TANH],
        ["x = %timeit -o 1\nOwnModel??\n" + TANH],
        [TANH.replace("\n", "\r\n")],
        [net(), "def f():\n    x = 1\n    global x", TANH],
        [net(), "%%writefile net.py\n" + net(), TANH],
    ],
)
def test_cells_with_lines_of_ipython(cells, tmp_path):
    source = {}
    exec(textwrap.dedent(TANH), source)
    flat = flatten(notebook(tmp_path, *cells))
    assert "needed?" in flat.files["modeling_own.py"]
    same(source["OwnModel"], loaded(flat, tmp_path / "flat"))


def test_a_cell_that_cannot_be_read_is_not_passed_over(tmp_path):
    with pytest.raises(UserError, match=r"a cell that defines Own\w+ is not plain Python"):
        flatten(notebook(tmp_path, net(), "$$ no\n" + TANH))


@pytest.mark.parametrize(
    ("text", "there", "absent"),
    [
        (
            "class OwnModel(PreTrainedModel):\n    TRY = 1\n    def who(self): return super(OwnModel, self)\n",
            "",
            "TRY",
        ),
        ("class Trainer:\n    PROJECT = 'mine'\n", "t: 'Trainer'", "PROJECT"),
        ("# model = load('/home/me')  licensed to me\n\nX = 1\n", "", "/home/me"),
    ],
)
def test_earlier_tries_and_annotations_are_not_published(tmp_path, text, there, absent):
    head = NET.split("HEAD")[0]
    code = head + text + net(forward=f"{there} = None\nreturn (self.lin(x),)" if there else "return (self.lin(x),)")
    (tmp_path / "train.py").write_text(code)
    whole = "".join(flatten(f"{tmp_path / 'train.py'}:OwnModel").files.values())
    assert absent not in whole and "class OwnModel" in whole


@pytest.mark.parametrize(
    "head",
    [
        "from functools import partial\nS = partial(float, 3)()".replace("()", ""),
        "import functools\nS = functools.partial(torch.clamp, min=-1)",
        "S = lambda x: x * 2",
        "S = {'square': lambda x: x ** 2}",
        "from typing import TypeVar\nS = TypeVar('S', bound=torch.Tensor)",
        "from collections import namedtuple as pair\nS = pair('S', ['a', 'b'])",
        "import collections\nS = collections.namedtuple('S', 'a b', defaults=(None,))",
        "from typing import NamedTuple\nS = NamedTuple('S', [('a', int)])",
        "import enum\nS = enum.Enum('S', 'A B')",
        "import math\nS = math.sqrt(2)",
        "S = float('-inf')",
        "S = tuple(range(4))",
        "S = [2 ** i for i in range(4)]",
        "S = {name: 1 for name in 'a b'.split()}",
        "FAST = True\nS = 2 if FAST and 2 > 1 else 3",
        "S = [1]\nS += [2]",
        "S = f'{1}_b'",
    ],
)
def test_what_is_made_of_the_code_alone_is_taken(tmp_path, head):
    (tmp_path / "train.py").write_text(net(head, forward="S\nreturn (self.lin(x),)"))
    text = flatten(f"{tmp_path / 'train.py'}:OwnModel").files["modeling_own.py"]
    module: dict = {}
    exec(text.split("class OwnModel")[0].replace("from .", "from x_").split("from x_")[0], module)
    definitions = [line for line in text.splitlines() if line.startswith(("S = ", "S += ", "FAST = "))]
    exec("\n".join(definitions), module)  # with the imports that it needs
    assert "S" in module and all(line in text for line in head.splitlines()[-1:])


@pytest.mark.parametrize(
    ("head", "forward"),
    [
        ("def float(x):\n    return open(x).read()\nS = float('3')", "return (self.lin(x), S)"),
        ("from time import partial\nS = partial()", "return (self.lin(x), S)"),
        ("import json as math\nS = math.loads('3')", "return (self.lin(x), S)"),
        ("S = (lambda x=open('a').read(): x)", "return (self.lin(x), S)"),
        ("S = [open(n).read() for n in 'ab']", "return (self.lin(x), S)"),
        ("S = float(input())", "return (self.lin(x), S)"),
        ("import sys\nS = sys.argv[0]", "return (self.lin(x), S)"),
        ("import os\nS = os.environ['HOME']", "return (self.lin(x), S)"),
        ("import sys\nif len(sys.argv) > 7:\n    S = 2.0\nelse:\n    S = 3.0", "return (self.lin(x) * S,)"),
        ("if __name__ != '__nope__':\n    S = float('3')", "return (self.lin(x) * S,)"),
    ],
)
def test_values_of_the_machine_are_refused(tmp_path, head, forward):
    (tmp_path / "train.py").write_text(net(head, forward=forward))
    with pytest.raises(UserError, match="uses S, which is computed there"):
        flatten(f"{tmp_path / 'train.py'}:OwnModel")


def test_what_a_script_registers(tmp_path):
    text = REGISTRY + BLOCK.format("", "@register\n", "") + net("", FROM_TABLE)
    text = text.replace("MODELS = Registry()", "MODELS = {}").replace("MODELS.known", "MODELS")
    (tmp_path / "train.py").write_text(text)
    source = {"__name__": "train"}
    exec(text, source)
    same(source["OwnModel"], loaded(flatten(f"{tmp_path / 'train.py'}:OwnModel"), tmp_path / "flat"))


def test_a_package_of_the_authors_own_is_not_a_requirement(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "mylab_of_ours").mkdir()
    (tmp_path / "mylab_of_ours" / "blocks.py").write_text("B = 2.0\n")
    (tmp_path / "scripts" / "train.py").write_text(
        net("from mylab_of_ours.blocks import B", forward="return (self.lin(x) * B,)")
    )
    flat = flatten(f"{tmp_path / 'scripts' / 'train.py'}:OwnModel")
    assert "requirements.txt" not in flat.files  # an index may have another package of that name


def test_cells_of_a_running_notebook_with_magics(monkeypatch):
    module = types.ModuleType("__main__")
    exec(TANH, vars(module))
    monkeypatch.setitem(sys.modules, "__main__", module)
    module.In = ["", "get_ipython().run_line_magic('matplotlib', 'inline')\n" + TANH, "get_ipython().system('ls')"]
    assert "needed?" in flatten_live(module.OwnModel(module.OwnConfig())).files["modeling_own.py"]


def test_many_functions_that_call_each_other_take_no_time(own):
    layers = "".join(
        f"def a{n}(x): return a{n + 1}(x) + b{n + 1}(x)\ndef b{n}(x): return a{n + 1}(x)\n" for n in range(40)
    )
    own({
        "net.py": net(f"{layers}def a40(x): return x\ndef b40(x): return x\ndef deco(f):\n    a0(1)\n    return f\n"
                      "@deco\ndef other(x): return x", forward="return (self.lin(x) + 0 * (deco is None),)"),
    })  # fmt: skip
    assert "class OwnModel" in flatten("own.net:OwnModel").files["modeling_own.py"]
