"""Classes in packages, scripts and notebooks as flat folders: the same numbers, and nothing that is not needed."""

import ast
import importlib
import itertools
import json
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
import torch
from helpers.processes import ROOT, clean_environment

from pinfold.audit.run import audit
from pinfold.common.errors import UserError
from pinfold.flatten import flatten, flatten_live, write_folder
from pinfold.folder.model_folder import read_folder

COUNT = itertools.count()
PACKAGES = ROOT / "tests" / "corpus" / "packages"
CLASSIFIER = "labpkg.models.vis.modeling_vis:VisForImageClassification"
SCRIPT = """
    import torch
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

    SIZES = {"small": 4}
    TOKEN = "not needed"
    device = torch.device("cpu")

    class TabConfig(PretrainedConfig):
        model_type = "tab-mlp"

        def __init__(self, hidden=SIZES["small"], **kwargs):
            super().__init__(**kwargs)
            self.hidden = hidden

    # how the numbers
    # are bent
    def bend(x: "torch.Tensor"):
        device = x.device  # not the one above
        return torch.tanh(x).to(device)

    class TabModel(PreTrainedModel):
        config_class = TabConfig

        def __init__(self, config):
            super().__init__(config)
            self.layer = nn.Linear(config.hidden, config.hidden)
            self.post_init()

        def forward(self, features):
            return (bend(self.layer(features)),)

    print("training" + str(device))
    if __name__ == "__main__":
        model = TabModel(TabConfig())
"""


@pytest.fixture
def labpkg(monkeypatch):
    """The package of the corpus on Python's path, and forgotten afterwards."""
    monkeypatch.syspath_prepend(str(PACKAGES))
    yield "labpkg"
    for name in [name for name in sys.modules if name.split(".")[0] == "labpkg"]:
        del sys.modules[name]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package({"a/b.py": text}) -> a package "own" of these files, on Python's path."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / "own" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(tmp_path))
        return "own"

    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "own"]:
        del sys.modules[name]


def loaded(flat, directory, monkeypatch):
    """The flat folder's modeling module, imported as a package of its own."""
    write_folder(flat, directory, yes=True)
    name = f"flat_{next(COUNT)}"
    root = types.ModuleType(name)
    root.__path__ = [str(directory)]
    monkeypatch.setitem(sys.modules, name, root)
    stem = next(file for file in flat.files if file.startswith("modeling_")).removesuffix(".py")
    return importlib.import_module(f"{name}.{stem}")


def same_numbers(original, flat_class, inputs):
    torch.manual_seed(0)
    model = original(original.config_class())
    copy = flat_class(flat_class.config_class())
    copy.load_state_dict(model.state_dict())
    outputs = model.eval()(inputs)[0], copy.eval()(inputs)[0]
    assert torch.equal(*outputs) and outputs[0].std() > 0


def test_a_package_gives_the_same_numbers(labpkg, tmp_path, monkeypatch):
    flat = flatten(CLASSIFIER)
    assert sys.modules.get("labpkg") is None  # read, not imported
    module = loaded(flat, tmp_path / "flat", monkeypatch)
    original = importlib.import_module("labpkg.models.vis.modeling_vis")
    torch.manual_seed(1)
    same_numbers(original.VisForImageClassification, module.VisForImageClassification, torch.randn(2, 3, 4, 4))


def test_a_package_takes_what_is_needed(labpkg, tmp_path):
    flat = flatten(CLASSIFIER)
    files = {
        "blocks.py",
        "configuration_labvis.py",
        "misc.py",
        "modeling_vis.py",
        "norms.py",
        "registry.py",
        "swin.py",
    }
    assert set(flat.files) == files and flat.name == "labvis_model" and not flat.asks
    whole = "\n".join(flat.files.values())
    assert "Unused" not in whole and "not_installed_at_all" not in whole and "labpkg" not in code_of(whole)
    assert "# größe" in whole and "# The activation\n# used everywhere.\ndef act" in whole
    assert "# Copyright 2026 the authors" in flat.files["modeling_vis.py"]
    assert "AutoConfig" not in whole and "AutoModel.register" not in whole
    assert 'register_for_auto_class("AutoModelForImageClassification")' in flat.files["modeling_vis.py"]
    write_folder(flat, tmp_path / "flat")
    assert audit(tmp_path / "flat", read_folder(tmp_path / "flat")) == []


def code_of(text):
    """Python without its comments."""
    return "\n".join(ast.unparse(ast.parse("#" + part)) for part in text.split("# Taken from")[1:])


def test_what_a_package_says_of_its_auto_class(labpkg):
    text = flatten("labpkg.models.vis.modeling_vis:VisModel").files["modeling_vis.py"]
    assert 'VisModel.register_for_auto_class("AutoModel")' in text and "ForImage" not in text
    named = flatten(CLASSIFIER, {"AutoModelForVideoClassification": "x.VisForImageClassification"})
    assert '"AutoModelForVideoClassification"' in named.files["modeling_vis.py"]


def test_names_that_are_passed_on(labpkg):
    assert flatten("labpkg.models:VisForImageClassification").files == flatten(CLASSIFIER).files


SHAPES = {
    "modules as names": {
        "__init__.py": "",
        "nn/__init__.py": "from . import core\n",
        "nn/core.py": "from torch import nn\nclass Core(nn.Linear):\n    pass\nSCALE = 3.0\n",
        "models.py": """
            from transformers import PretrainedConfig, PreTrainedModel
            from own import nn as own_nn

            class OwnConfig(PretrainedConfig):
                model_type = "own"

            class OwnModel(PreTrainedModel):
                config_class = OwnConfig

                def __init__(self, config):
                    super().__init__(config)
                    self.core = own_nn.core.Core(4, 4)

                def forward(self, x):
                    import own.nn.core as core
                    return (self.core(x) * core.SCALE,)
        """,
    },
    "a table that is filled later": {
        "__init__.py": "",
        "models/__init__.py": "",
        "models/acts.py": 'import torch\nACTS = {}\n\n\ndef soft(x):\n    return torch.nn.functional.softplus(x)\n\n\n'
        'ACTS["soft"] = soft\nfor _name in ("tanh", "sigmoid"):\n    ACTS[_name] = getattr(torch, _name)\n',
        "models/config.py": """
            from transformers import PretrainedConfig as Base
            from . import acts

            class OwnConfig(Base):
                model_type = "own"

                def __init__(self, act="tanh", **kwargs):
                    super().__init__(**kwargs)
                    if act not in acts.ACTS:
                        raise ValueError(act)
                    self.act = act
        """,
        "models.py": "raise RuntimeError('a module that the package of the same name hides')\n",
        "models/net.py": """
            import transformers as tr
            from torch import nn
            from .acts import ACTS as TABLE
            from .config import OwnConfig

            class OwnModel(tr.PreTrainedModel):
                config_class = OwnConfig

                def __init__(self, config):
                    super().__init__(config)
                    self.lin = nn.Linear(4, 4)

                def forward(self, x):
                    return (TABLE[self.config.act](self.lin(x)),)
        """,
    },
    "bases and mixins of several modules": {
        "__init__.py": "from .zoo import *\n",
        "zoo/__init__.py": "from .base import *\nfrom .net import OwnModel\n",
        "zoo/base.py": """
            from __future__ import annotations
            __all__ = ["Base", "OwnConfig"]
            from typing import TYPE_CHECKING
            import transformers
            from transformers import PreTrainedModel
            if TYPE_CHECKING:
                from own.zoo.net import OwnModel

            class OwnConfig(transformers.PretrainedConfig):
                model_type = "own"

            class Base(PreTrainedModel):
                config_class = OwnConfig

                def twin(self) -> OwnModel:
                    from own.zoo.net import OwnModel
                    return OwnModel(self.config)
        """,
        "zoo/mixin.py": "class Doubles:\n    def twice(self, x):\n        return x + x\n",
        "zoo/net.py": """
            from torch.nn import *
            from own.zoo import Base
            from own.zoo.mixin import Doubles

            class OwnModel(Doubles, Base):
                def __init__(self, config):
                    super().__init__(config)
                    self.lin = Sequential(Linear(4, 4), ReLU())

                def forward(self, x):
                    return (self.twice(self.lin(x)),)
        """,
    },
}  # fmt: skip
TARGETS = {
    "modules as names": "own.models",
    "a table that is filled later": "own.models.net",
    "bases and mixins of several modules": "own",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_packages(shape, package, tmp_path, monkeypatch):
    package(SHAPES[shape])
    flat = flatten(f"{TARGETS[shape]}:OwnModel")
    assert not [line for text in flat.files.values() for line in text.splitlines() if "import own" in line]
    module = loaded(flat, tmp_path / "flat", monkeypatch)
    original = importlib.import_module(TARGETS[shape]).OwnModel
    torch.manual_seed(1)
    same_numbers(original, module.OwnModel, torch.randn(3, 4))
    if hasattr(module.OwnModel, "twin"):
        model = module.OwnModel(module.OwnModel.config_class())
        assert type(model.twin()) is module.OwnModel


def test_packages_that_are_needed_are_listed(package):
    package({
        "net.py": """
            import einops
            from sklearn.preprocessing import scale
            from transformers import PretrainedConfig, PreTrainedModel
            try:
                import xformers
            except ImportError:
                xformers = None

            class OwnConfig(PretrainedConfig):
                model_type = "own"

            class OwnModel(PreTrainedModel):
                config_class = OwnConfig

                def forward(self, x):
                    return einops.rearrange(scale(x), "a b -> b a"), xformers
        """
    })  # fmt: skip
    flat = flatten("own.net:OwnModel")
    assert flat.files["requirements.txt"].splitlines()[1:] == ["scikit-learn"]  # einops is not installed here
    assert "    xformers = None" in flat.files["modeling_own.py"]


# a script or notebook ---------------------------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_a_script_gives_only_what_is_used(script, tmp_path, monkeypatch):
    flat = flatten(f"{script}:TabModel")
    assert set(flat.files) == {"configuration_tab_mlp.py", "modeling_tab_mlp.py"} and flat.asks
    whole = "\n".join(flat.files.values())
    for word in ("TOKEN", "training", "torch.device", "__main__", str(tmp_path)):
        assert word not in whole
    assert "# how the numbers\n# are bent\ndef bend" in whole
    module = loaded(flat, tmp_path / "flat", monkeypatch)
    original = {"__name__": "train"}
    exec(compile(script.read_text(), "train.py", "exec"), original)
    torch.manual_seed(1)
    same_numbers(original["TabModel"], module.TabModel, torch.randn(2, 4))


def test_a_notebook_file(script, tmp_path):
    text = textwrap.dedent(SCRIPT)
    head, rest = text.split("# how the numbers")
    function, rest = rest.split("class TabModel")
    stale = "class TabModel:\n    pass\n"  # an earlier try; the last definition counts
    sources = ["%pip install x\n!ls\n" + head, "%%bash\nexport TOKEN=1", stale, "%%time\n# how the numbers" + function]
    sources += [
        "class TabModel" + rest,
        "model?",
        "%%writefile x.py\nclass TabModel: pass",
        "TabModel(TabConfig()) (",
    ]
    cells = [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in sources]
    notebook = tmp_path / "train.ipynb"
    notebook.write_text(json.dumps({"cells": [*cells, {"cell_type": "markdown", "source": "class TabModel: pass"}]}))
    files, of_script = flatten(f"{notebook}:TabModel").files, flatten(f"{script}:TabModel").files
    assert code_of("\n".join(files.values())) == code_of("\n".join(of_script.values()))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('SIZES = {"small": 4}', 'SIZES = {"small": len("four")}', "uses SIZES, which is computed there"),
        ("torch.tanh(x)", "torch.tanh(x) * device.index", "uses device, which is computed there"),
        ("torch.tanh(x)", "torch.tanh(x) * nowhere", "bend uses nowhere, which is not defined there"),
        ("config_class = TabConfig", "name = 1", "TabModel has no configuration class"),
        ("class TabModel", "class OtherModel", "defines no class TabModel; it has TabConfig, OtherModel"),
        ("torch.tanh(x)", "torch.tanh(x", "is not valid Python"),
    ],
)
def test_what_a_script_cannot_give(script, old, new, words):
    text = script.read_text()
    # in the function the name is the module's then
    text = text.replace("    device = x.device  # not the one above\n", "") if "device" in new else text
    script.write_text(text.replace(old, new))
    with pytest.raises(UserError) as error:
        flatten(f"{script}:TabModel")
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("labpkg", "write my.package.module:Class"),
        ("labpkg:", "write my.package.module:Class"),
        ("labpkg.nowhere:Model", "no module labpkg.nowhere"),
        ("nowhere_at_all.x:Model", "no package nowhere_at_all"),
        ("labpkg.models:build_model", "defines no class build_model"),
        ("../labpkg:Model", "is not the name of a module"),
        ("nowhere.py:Model", "no such file"),
    ],
)
def test_what_cannot_be_named(labpkg, target, words):
    with pytest.raises(UserError, match=words):
        flatten(target)


def test_statements_that_are_left_out_are_named(script):
    script.write_text(script.read_text() + 'SIZES["large"] = 8\nTabModel.extra = 1\nSIZES["odd"] = len("abc")\n')
    flat = flatten(f"{script}:TabModel")
    assert [line.split(": ", 1)[1] for line in flat.left_out] == ["SIZES['odd'] = len('abc')"]
    assert 'SIZES["large"] = 8' in flat.files["configuration_tab_mlp.py"] + flat.files["modeling_tab_mlp.py"]
    assert "TabModel.extra = 1" in flat.files["modeling_tab_mlp.py"]


# the folder on the disk --------------------------------------------------------------------------------------------


def test_a_folder_is_written_once_and_keeps_the_card(script, tmp_path):
    flat, folder = flatten(f"{script}:TabModel"), tmp_path / "flat"
    assert len(write_folder(flat, folder, yes=True)) == 2
    (folder / "card.md").write_text("mine")
    assert write_folder(flatten(f"{script}:TabModel"), folder) == []  # the same: without a question
    script.write_text(script.read_text().replace("tanh", "sigmoid"))
    assert write_folder(flatten(f"{script}:TabModel"), folder, yes=True) == ["modeling_tab_mlp.py"]
    assert (folder / "card.md").read_text() == "mine"


def test_code_of_a_person_is_left_alone(script, tmp_path):
    flat, folder = flatten(f"{script}:TabModel"), tmp_path / "flat"
    write_folder(flat, folder, yes=True)
    path = folder / "modeling_tab_mlp.py"
    path.write_text(path.read_text().replace("tanh", "sin"))
    with pytest.raises(UserError, match="was changed since it was written"):
        write_folder(flat, folder, yes=True)
    path.write_text("print('mine')\n")
    with pytest.raises(UserError, match="was not written by a push; name another folder"):
        write_folder(flat, folder, yes=True)
    assert path.read_text() == "print('mine')\n"


def test_a_script_asks_first(script, tmp_path, monkeypatch, capsys):
    flat, folder = flatten(f"{script}:TabModel"), tmp_path / "flat"
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(
        UserError, match=r"needs your consent; pass --yes \(in Python: yes=True\).*needs a card\.md too"
    ):
        write_folder(flat, folder)
    monkeypatch.setattr("pinfold.flatten.folder._can_answer", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(UserError, match="nothing was written"):
        write_folder(flat, folder)
    assert not folder.exists() and "def bend" in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert len(write_folder(flat, folder)) == 2


def test_a_secret_is_not_written(script, tmp_path):
    script.write_text(script.read_text().replace('{"small": 4}', '{"small": 4, "key": "hf_' + "a" * 34 + '"}'))
    with pytest.raises(UserError, match="what looks like a token of the Hugging Face Hub"):
        write_folder(flatten(f"{script}:TabModel"), tmp_path / "flat", yes=True)
    assert not (tmp_path / "flat").exists()


# a model in memory -------------------------------------------------------------------------------------------------


def test_a_model_of_a_package_in_memory(labpkg):
    module = importlib.import_module("labpkg.models.vis.modeling_vis")
    model = module.VisForImageClassification(module.VisConfig())
    assert flatten_live(model).files == flatten(CLASSIFIER).files


def test_a_flat_folder_is_used_as_it_is(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "resnet_model", tmp_path / "resnet_copy")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("resnet_copy.modeling_resnet")
    config = module.ResNetConfig() if hasattr(module, "ResNetConfig") else None
    classes = [c for c in vars(module).values() if isinstance(c, type) and c.__name__.endswith("ImageClassification")]
    assert classes and flatten_live(_bare(classes[0], config)) is None


def _bare(cls, config):
    model = cls.__new__(cls)
    object.__setattr__(model, "config", config)
    return model


def test_classes_that_have_no_source_to_take(monkeypatch):
    module = types.ModuleType("__main__")
    exec(textwrap.dedent(SCRIPT).replace("__main__", "no"), vars(module))
    monkeypatch.setitem(sys.modules, "__main__", module)
    model = module.TabModel(module.TabConfig())
    with pytest.raises(UserError, match="was typed at a prompt"):
        flatten_live(model)
    module.In = ["", "import torch", textwrap.dedent(SCRIPT)]
    assert set(flatten_live(model).files) == {"configuration_tab_mlp.py", "modeling_tab_mlp.py"}
    module.TabModel = type("TabModel", (), {})
    with pytest.raises(UserError, match="was defined again"):
        flatten_live(model)


def test_a_class_within_a_function(labpkg):
    module = importlib.import_module("labpkg.models.vis.modeling_vis")

    class Inner(module.VisModel):
        pass

    with pytest.raises(UserError, match="is defined within a function"):
        flatten_live(Inner(module.VisConfig()))


# whole pushes ------------------------------------------------------------------------------------------------------
CARD = "---\nlicense: apache-2.0\n---\nA model of a test.\n"
PROBE = '{"pixel_values": {"shape": [2, 3, 4, 4], "values": "wave"}}'


def pinfold(*arguments, cwd):
    command = [sys.executable, "-m", "pinfold", *arguments]
    environment = clean_environment(cwd) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_a_package_is_pushed_and_compared_with_itself(labpkg, tmp_path):
    module = importlib.import_module("labpkg.models.vis.modeling_vis")
    torch.manual_seed(0)
    module.VisForImageClassification(module.VisConfig()).save_pretrained(tmp_path / "weights")
    shutil.copytree(PACKAGES / "labpkg", tmp_path / "labpkg", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "labvis_model").mkdir()
    (tmp_path / "labvis_model" / "card.md").write_text(CARD)
    (tmp_path / "labvis_model" / "probe.json").write_text(PROBE)
    newest = importlib.import_module("transformers").__version__
    arguments = ["push", "--flatten", CLASSIFIER, "--checkpoint", "weights", "--versions", newest, "--dry-run"]
    code, out, err = pinfold(*arguments, cwd=tmp_path)
    assert code == 0, err
    assert f"the outputs equal those of {CLASSIFIER.replace(':', '.')}, bit for bit" in out
    # a package that computes something else than the folder that was written from it
    blocks = tmp_path / "labpkg" / "layers" / "blocks.py"
    blocks.write_text(blocks.read_text() + "\n\ndef _other(x):\n    return x.sin()\n\n\nglobals()['act'] = _other\n")
    code, out, err = pinfold(*arguments, cwd=tmp_path)
    assert code == 2 and "the flat folder and labpkg.models.vis.modeling_vis.VisForImageClassification differ" in err


@pytest.mark.slow
def test_a_script_pushes_its_own_class(script, tmp_path):
    (tmp_path / "tab_mlp_model").mkdir()
    (tmp_path / "tab_mlp_model" / "card.md").write_text(CARD)
    (tmp_path / "tab_mlp_model" / "probe.json").write_text('{"features": {"shape": [2, 4], "values": "wave"}}')
    newest = importlib.import_module("transformers").__version__
    script.write_text(script.read_text() + textwrap.indent(textwrap.dedent(f"""
        from pinfold.push import push
        print(push(model, "local/tab", endpoint="embedded", yes=True, versions=["{newest}"]).snippet)
    """), "    "))  # fmt: skip
    environment = clean_environment(tmp_path) | {"PYTHONPATH": str(ROOT), "PINFOLD_HUB": str(tmp_path / "hub")}
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "flatten  tab_mlp_model: configuration_tab_mlp.py, modeling_tab_mlp.py" in done.stdout
    assert '"local/tab"' in done.stdout and "the folder" not in done.stderr


# what the audit says -----------------------------------------------------------------------------------------------


def test_an_import_of_the_package_around_a_folder(labpkg):
    directory = PACKAGES / "labpkg" / "models" / "vis"
    findings = [f for f in audit(directory, read_folder(directory)) if f.code == "P08"]
    assert {f.file for f in findings} == {"config.py", "modeling_vis.py"}
    assert all("which is outside this folder; whoever loads the model does not have" in f.sentence for f in findings)
    assert (
        f"pinfold push --flatten labpkg.models.vis.modeling_vis:VisModel --checkpoint DIR, in {PACKAGES}"
        in findings[0].fix
    )


@pytest.mark.parametrize(
    ("line", "rule", "words"),
    [
        ("from ...shared import act", "P06", "imports from own, which is outside this folder"),
        ("from helpers_beside import act", "P08", "imports from helpers_beside, which is outside this folder"),
        ("from net.deep import act", "P08", "imports from net, which is outside this folder"),
        ("from elsewhere import act", "P08", "import elsewhere is a hard requirement"),
    ],
)
def test_imports_from_around_a_folder(line, rule, words, package, tmp_path):
    package({
        "__init__.py": "", "models/__init__.py": "", "models/net/__init__.py": "", "shared.py": "act = abs\n",
        "models/helpers_beside.py": "act = abs\n", "models/net/deep.py": "act = abs\n",
        "models/net/configuration_net.py": "from transformers import PretrainedConfig\n"
        "class NetConfig(PretrainedConfig):\n    model_type = 'net'\nNetConfig.register_for_auto_class()\n",
        "models/net/modeling_net.py": f"from transformers import PreTrainedModel\n{line}\n"
        "from .configuration_net import NetConfig\nclass NetModel(PreTrainedModel):\n    config_class = NetConfig\n"
        "    def forward(self, x):\n        return act(x)\nNetModel.register_for_auto_class('AutoModel')\n",
    })  # fmt: skip
    directory = tmp_path / "own" / "models" / "net"
    assert [f.code for f in audit(directory, read_folder(directory)) if words in f.sentence] == [rule]


def test_a_requirement_that_is_installed_from_a_directory(package, tmp_path, monkeypatch):
    package({
        "configuration_own.py": "from transformers import PretrainedConfig\nclass OwnConfig(PretrainedConfig):\n"
        "    model_type = 'own'\nOwnConfig.register_for_auto_class()\n",
        "modeling_own.py": "import mylab\nfrom transformers import PreTrainedModel\n"
        "from .configuration_own import OwnConfig\nclass OwnModel(PreTrainedModel):\n    config_class = OwnConfig\n"
        "    def forward(self, x):\n        return mylab.f(x)\nOwnModel.register_for_auto_class('AutoModel')\n",
        "requirements.txt": "mylab\n",
    })  # fmt: skip
    site = tmp_path / "site"
    info = site / "mylab-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mylab\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("mylab\n")
    (site / "mylab.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    from pinfold.audit.rules import files

    own = Path(tmp_path / "own")
    for url, expected in (
        ({"url": "file:///home/me/mylab", "dir_info": {"editable": True}}, ["installed here from /home/me/mylab"]),
        ({"url": "https://github.com/me/mylab", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}, []),
        (None, []),
    ):
        (info / "direct_url.json").unlink(missing_ok=True)
        if url:
            (info / "direct_url.json").write_text(json.dumps(url))
        files._from_files.cache_clear()
        findings = [f for f in audit(own, read_folder(own)) if f.code == "P08"]
        assert len(findings) == len(expected)
        assert all(words in f.sentence for words, f in zip(expected, findings, strict=True))
    files._from_files.cache_clear()
