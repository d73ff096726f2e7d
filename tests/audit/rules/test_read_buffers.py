"""P12: a buffer that no file holds does no harm where nothing reads it."""

import json

import pytest

from pinfold.audit.examine import examine

CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


class FordConfig(PretrainedConfig):
    model_type = "ford-tiny"

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width


class Positions({base}):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("steps", torch.arange(width), persistent=False)
        {made}

    def forward(self, x):
        {read}
        return x


class FordModel(PreTrainedModel):
    config_class = FordConfig

    def __init__(self, config):
        super().__init__(config)
        self.positions = Positions(config.width)
        self.head = nn.Linear(config.width, 2)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)

    def forward(self, x):
        {outer}
        return self.head(self.positions(x))
"""
SETTINGS = {
    "model_type": "ford-tiny",
    "auto_map": {"AutoConfig": "modeling_ford.FordConfig", "AutoModel": "modeling_ford.FordModel"},
}


def severity(tmp_path, *, base="nn.Module", made="pass", read="pass", outer="pass"):
    (tmp_path / "modeling_ford.py").write_text(CODE.format(base=base, made=made, read=read, outer=outer))
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS))
    report = examine(tmp_path, "ford")
    (found,) = {f.severity for f in report.findings if f.code == "P12" and not f.case}
    assert ("P12" in report.forecast) is (found == "error")
    return found


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"made": "self.register_buffer('pairs', torch.outer(self.steps, self.steps))"},
        {"read": "if self.steps is None: raise ValueError"},
        {"read": "self.steps = x.new_zeros(2)"},
        {"read": "hasattr(self, 'steps')"},
        {"outer": "x = x + self.head.bias"},
    ],
)
def test_a_buffer_that_nothing_reads(tmp_path, shape):
    assert severity(tmp_path, **shape) == "warning"


@pytest.mark.parametrize(
    "shape",
    [
        {"read": "x = x + self.steps"},
        {"outer": "x = x + self.positions.steps"},
        {"read": "x = x + getattr(self, 'steps')"},
        {"read": "x = x + getattr(self, 'st' + 'eps')"},
        {"read": "x = x + sum(self.buffers())"},
        {"read": "x = x + self._buffers['steps']"},
        {"read": "x = x + self.get_buffer('steps')"},
        {"read": "self.steps += 1"},
        {"read": "for name in ('steps', 'x'): x = x + operator.attrgetter(name)(self)"},
        {"base": "LlamaRotaryEmbedding"},
    ],
)
def test_a_buffer_that_may_be_read(tmp_path, shape):
    assert severity(tmp_path, **shape) == "error"
