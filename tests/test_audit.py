"""The audit: each check trips on what it is for, and on nothing else."""

import json

import numpy
import pytest
import tiny
from safetensors.numpy import save_file

from pinfold.publish.audit import audit
from pinfold.publish.folder import read_folder
from pinfold.publish.stage import stage


@pytest.fixture
def good(tiny_folder, tiny_checkpoint, tmp_path):
    """A staged directory without fault, free to be spoiled."""
    directory = tmp_path / "staged"
    directory.mkdir()
    stage(read_folder(tiny_folder), tiny_checkpoint, directory)
    return directory


def codes(directory):
    return sorted({finding.code for finding in audit(directory, read_folder(directory))})


def edit(directory, name, **keys):
    path = directory / name
    config = json.loads(path.read_text()) if path.exists() else {}
    config.update(keys)
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def auto_map(directory, **entries):
    found = json.loads((directory / "config.json").read_text())["auto_map"] | entries
    edit(directory, "config.json", auto_map={k: v for k, v in found.items() if v is not None})


def append(directory, name, text):
    path = directory / name
    path.write_text(path.read_text() + text)


def prepend(directory, name, text):
    path = directory / name
    path.write_text(text + path.read_text())


def test_a_folder_that_follows_the_contract_has_no_finding(good):
    assert codes(good) == []


BAD = {
    "P01 head": lambda d: auto_map(d, AutoModelForSequenceClassification=None),
    "P01 base": lambda d: auto_map(d, AutoModel=None),
    "P01 no map": lambda d: edit(d, "config.json", auto_map=None),
    "P02 file": lambda d: auto_map(d, AutoModel="ghost.TinyModel"),
    "P02 class": lambda d: auto_map(d, AutoModel="modeling_tiny.Ghost"),
    "P02 list": lambda d: auto_map(d, AutoModel=["modeling_tiny.TinyModel", None]),
    "P02 path": lambda d: auto_map(d, AutoModel="code/modeling_tiny.TinyModel"),
    "P02 processor": lambda d: edit(d, "preprocessor_config.json", auto_map={"AutoImageProcessor": "ghost.Processor"}),
    "P03 model": lambda d: auto_map(d, AutoModel="other/code--modeling_tiny.TinyModel"),
    "P03 config": lambda d: auto_map(d, AutoConfig="other/code--configuration_tiny.TinyConfig"),
    "P03 tokenizer": lambda d: edit(d, "tokenizer_config.json", auto_map={"AutoTokenizer": ["a/b--t.Slow", None]}),
    "P04 bert": lambda d: edit(d, "config.json", model_type="bert"),
    "P04 resnet": lambda d: edit(d, "config.json", model_type="resnet"),
    "P04 gpt-sw3": lambda d: edit(d, "config.json", model_type="gpt2"),
    "P05 trust": lambda d: edit(d, "config.json", trust_remote_code=True),
    "P05 attention": lambda d: edit(d, "config.json", _attn_implementation_internal="kernels/evil"),
    "P05 processor": lambda d: edit(d, "processor_config.json", trust_remote_code=True),
    "P06 dot": lambda d: prepend(d, "modeling_tiny.py", "from . import layers_tiny\n"),
    "P06 absolute": lambda d: prepend(d, "modeling_tiny.py", "import layers_tiny\n"),
    "P06 absolute from": lambda d: prepend(d, "modeling_tiny.py", "from layers_tiny import Mixer as M\n"),
    "P06 subpackage": lambda d: prepend(d, "modeling_tiny.py", "from .sub.deep import x\n"),
    "P06 missing": lambda d: prepend(
        d, "modeling_tiny.py", "try:\n    from .ghost import x\nexcept ImportError: x = 1\n"
    ),
    "P06 docstring": lambda d: append(d, "layers_tiny.py", '\nNOTE = """\nfrom .ghost import x\n"""\n'),
    "P06 parent": lambda d: prepend(d, "modeling_tiny.py", "from ..up import x\n"),
    "P07 helper": lambda d: [
        (d / "deep_tiny.py").write_text("X = 1\n"),
        prepend(d, "layers_tiny.py", "from .deep_tiny import X\n"),
    ],
    "P07 configuration's helper": lambda d: [
        (d / "deep_tiny.py").write_text("X = 1\n"),
        prepend(d, "configuration_tiny.py", "from .deep_tiny import X\n"),
    ],
    "P07 in a function": lambda d: [
        (d / "deep_tiny.py").write_text("X = 1\n"),
        append(d, "layers_tiny.py", "\ndef late():\n    from .deep_tiny import X\n    return X\n"),
    ],
    "P16 missing": lambda d: (d / "modeling_tiny.py").write_text(
        tiny.MODELING.replace("    config_class = TinyConfig\n", "")
    ),
    "P16 other": lambda d: (d / "modeling_tiny.py").write_text(
        tiny.MODELING.replace("config_class = TinyConfig", "config_class = PreTrainedModel")
    ),
    "P16 one head": lambda d: (d / "modeling_tiny.py").write_text(
        tiny.MODELING.replace("    accepts_loss_kwargs", "    config_class = dict\n    accepts_loss_kwargs")
    ),
    "P19 bin": lambda d: (d / "pytorch_model.bin").write_bytes(b"x"),
    "P19 pt": lambda d: (d / "extra.pt").write_bytes(b"x"),
    "P19 nested": lambda d: [(d / "sub").mkdir(), (d / "sub" / "a.pkl").write_bytes(b"x")],
    "P19b format": lambda d: save_file({"a": numpy.zeros(3)}, d / "model.safetensors"),
    "P19b other": lambda d: save_file({"a": numpy.zeros(3)}, d / "model.safetensors", {"format": "np"}),
    "P19b shard": lambda d: save_file({"a": numpy.zeros(3)}, d / "model-2.safetensors"),
    "P19c tied": lambda d: save_file(
        {"head": numpy.arange(64.0).reshape(8, 8), "emb": numpy.arange(64.0).reshape(8, 8)},
        d / "model.safetensors",
        {"format": "pt"},
    ),
    "P19c large": lambda d: save_file(
        {"head": numpy.arange(6400.0).reshape(80, 80), "emb": numpy.arange(6400.0).reshape(80, 80)},
        d / "model.safetensors",
        {"format": "pt"},
    ),
    "P19c three": lambda d: save_file(
        {n: numpy.arange(2000.0).reshape(2, 1000) for n in "abc"}, d / "model.safetensors", {"format": "pt"}
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_fault_is_found_by_its_code(good, case):
    BAD[case](good)
    assert case.split()[0] in codes(good)


def first_page_equal(d):
    a = numpy.arange(6400.0).reshape(80, 80)
    b = a.copy()
    b[79, 79] = 0
    save_file({"a": a, "b": b}, d / "model.safetensors", {"format": "pt"})


NEAR = {
    "helper imported by both": lambda d: [
        (d / "deep_tiny.py").write_text("X = 1\n"),
        prepend(d, "layers_tiny.py", "from .deep_tiny import X\n"),
        prepend(d, "modeling_tiny.py", "from .deep_tiny import X\n"),
    ],
    "import in a function": lambda d: append(
        d, "modeling_tiny.py", "\ndef late():\n    from .layers_tiny import Mixer\n    return Mixer\n"
    ),
    "import over lines": lambda d: prepend(
        d, "modeling_tiny.py", "from .layers_tiny import (\n    Mixer as Other,\n)\n"
    ),
    "docstring in prose": lambda d: append(d, "layers_tiny.py", '\nNOTE = "taken from .ghost, import it there"\n'),
    "a package with a sibling's beginning": lambda d: prepend(d, "modeling_tiny.py", "import json as layers\n"),
    "model type that contains a built-in": lambda d: edit(d, "config.json", model_type="my-bert"),
    "equal vectors": lambda d: save_file(
        {"a": numpy.arange(9.0), "b": numpy.arange(9.0)}, d / "model.safetensors", {"format": "pt"}
    ),
    "constant matrices": lambda d: save_file(
        {"a": numpy.zeros((9, 9)), "b": numpy.zeros((9, 9))}, d / "model.safetensors", {"format": "pt"}
    ),
    "equal first page": first_page_equal,
    "same numbers, other shape": lambda d: save_file(
        {"a": numpy.arange(64.0).reshape(8, 8), "b": numpy.arange(64.0).reshape(4, 16)},
        d / "model.safetensors",
        {"format": "pt"},
    ),
    "tokenizer pair": lambda d: [
        (d / "tokenization_tiny.py").write_text("class TinyTokenizer:\n    pass\n"),
        edit(d, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_tiny.TinyTokenizer", None]}),
    ],
    "annotated config_class": lambda d: (d / "modeling_tiny.py").write_text(
        tiny.MODELING.replace("config_class = TinyConfig", "config_class: type = TinyConfig")
    ),
    "class imported into the file": lambda d: [
        append(d, "layers_tiny.py", "\nclass Extra(nn.Module):\n    pass\n"),
        prepend(d, "modeling_tiny.py", "from .layers_tiny import Extra\n"),
        auto_map(d, AutoModelForCausalLM="modeling_tiny.Extra"),
    ],
}


@pytest.mark.parametrize("case", NEAR)
def test_a_near_miss_is_no_finding(good, case):
    NEAR[case](good)
    assert codes(good) == []


def test_auditing_executes_nothing(good, tmp_path):
    marker = tmp_path / "executed"
    for file in good.glob("*.py"):
        prepend(good, file.name, f"open({str(marker)!r}, 'w').close()\n")
    codes(good)
    assert not marker.exists()


def test_findings_use_the_words_that_people_search_for(good):
    auto_map(good, AutoModel=None)
    edit(good, "config.json", model_type="resnet")
    lines = [str(finding) for finding in audit(good, read_folder(good))]
    assert lines == [
        'P01 config.json: auto_map has no "AutoModel" entry although modeling_tiny.py defines TinyModel. Users '
        'calling AutoModel.from_pretrained will get "Unrecognized configuration class". Add "AutoModel": '
        '"modeling_tiny.TinyModel".',
        'P04 model_type "resnet" is a built-in transformers type. Without trust_remote_code, users silently get the '
        'stock model with random weights. Use "custom-resnet".',
    ]
