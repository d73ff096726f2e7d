"""P67: what a configuration holds and JSON cannot; and what looks like it and is written all the same."""

import pytest
from corpus.net_folder import findings

from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

REFUSED = {
    "a set": "self.names = {1, 2}",
    "a set of what was given": "self.names = set(names)",
    "a frozenset in a list": "self.names = [frozenset(names)]",
    "a type of torch": "self.compute = torch.float32",
    "a type in a table": "self.quantized = {'kind': torch.bfloat16}",
    "a device": "self.place = torch.device('cpu')",
    "a tensor": "self.steps = torch.arange(4).float()",
    "an array": "self.mean = np.array([0.5, 0.5])",
    "a number of numpy": "self.count = np.int64(3)",
    "a function": "self.activation = torch.tanh",
    "a lambda": "self.schedule = lambda step: step",
    "a path": "self.place = Path('data')",
    "an object": "self.spec = Spec(3)",
    "a member of an Enum": "self.pool = Pool.MEAN",
    "configurations in a list": "self.stages = [StageConfig() for _ in range(2)]",
    "a range": "self.numbers = range(4)",
    "bytes": "self.magic = b'net'",
    "keys that are tuples": "self.pairs = {(0, 1): 2}",
    "a view": "self.fields = {'a': 1}.keys()",
}
WRITTEN = {
    "a list of them": "self.names = sorted({1, 2})",
    "the type under its name": "self.torch_dtype = torch.float32",
    "a text of a type": "self.compute = str(torch.float32)",
    "a float of numpy": "self.scale = np.sqrt(4)",
    "a constant of numpy": "self.scale = np.pi",
    "the version": "self.made_with = torch.__version__",
    "a question": "self.on_gpu = torch.cuda.is_available()",
    "a number of a tensor": "self.scale = torch.arange(4).sum().item()",
    "a member that is a text": "self.kind = Kind.ONE",
    "a configuration": "self.stage = StageConfig()",
    "taken back": "self.names = {1, 2}\n        del self.names",
    "set again": "self.names = {1, 2}\n        self.names = sorted(self.names)",
    "perhaps": "if names:\n            self.names = set(names)",
    "a local": "names = {1, 2}",
    "tuples": "self.sizes = (1, (2, 3))",
}
TOP = """
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from transformers import PretrainedConfig


class Spec:
    def __init__(self, number):
        self.number = number


class Pool(Enum):
    MEAN = "mean"


class Kind(str, Enum):
    ONE = "one"


class StageConfig(PretrainedConfig):
    def __init__(self, depth=1, **kwargs):
        self.depth = depth
        super().__init__(**kwargs)


class NetConfig(PretrainedConfig):
"""


def unwritable(tmp_path, line, method=""):
    """Findings of a configuration with a line more."""
    findings(tmp_path, "P67", arguments="names=(1, 2), ")
    path = tmp_path / "configuration_net.py"
    text = path.read_text().replace(
        "\nfrom transformers import PretrainedConfig\n\n\nclass NetConfig(PretrainedConfig):\n", TOP
    )
    text = text.replace(
        "        self.vision_config = vision_config\n", f"        self.vision_config = None\n        {line}\n{method}"
    )
    assert "class Spec" in text and line in text
    path.write_text(text)
    return [finding for finding in audit(tmp_path, read_modules(tmp_path)) if finding.code == "P67"]


@pytest.mark.parametrize("shape", REFUSED)
def test_what_json_cannot_hold(tmp_path, shape):
    (finding,) = unwritable(tmp_path, REFUSED[shape])
    assert finding.case == "P67.configuration" and "JSON cannot hold" in finding.sentence


@pytest.mark.parametrize("shape", WRITTEN)
def test_what_json_can_hold(tmp_path, shape):
    assert unwritable(tmp_path, WRITTEN[shape]) == []


@pytest.mark.parametrize("name", ["to_dict", "to_diff_dict", "to_json_string"])
def test_a_configuration_that_writes_itself(tmp_path, name):
    method = f"\n    def {name}(self, *args):\n        return super().{name}(*args)\n"
    assert unwritable(tmp_path, REFUSED["a set"], method) == []


@pytest.mark.parametrize(
    "line", ["config.kind = torch.float32", "self.config.names = {1, 2}", "config.act = torch.tanh"]
)
def test_what_the_model_adds_is_not_saved(tmp_path, line):
    (finding,) = findings(tmp_path, "P67", build=line)
    assert finding.case == "P67.in_model"


@pytest.mark.parametrize(
    "line", ["config.kind = 'float32'", "self.kind = torch.float32", "config.torch_dtype = torch.float32"]
)
def test_what_the_model_adds_and_json_holds(tmp_path, line):
    assert findings(tmp_path, "P67", build=line) == []
