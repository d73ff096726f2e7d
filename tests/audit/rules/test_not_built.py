"""Faults in what a load does not build, as the settings rule it out (P12, P17)."""

import json

import pytest
from corpus.net_folder import MODELING, findings_of

CONFIGURATION = """
from transformers import PretrainedConfig


class NetConfig(PretrainedConfig):
    model_type = "net-tiny"

    def __init__(self, vocab_size=40, width=8, scaled=False, kind="plain", **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.scaled = scaled
        self.kind = kind
"""
LAYERS = """
class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size))
        self.register_buffer("table", torch.ones(size), persistent=False)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        {block}
"""


def codes(tmp_path, build, block="pass", **settings):
    (tmp_path / "configuration_net.py").write_text(CONFIGURATION)
    text = MODELING.format(layers=LAYERS.format(block=block), build=build, more="")
    (tmp_path / "modeling_net.py").write_text(text)
    entries = {"AutoConfig": "configuration_net.NetConfig", "AutoModel": "modeling_net.NetModel"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", "auto_map": entries, **settings}))
    return {f.code for f in findings_of(tmp_path) if f.code in ("P12", "P17")}


@pytest.mark.parametrize(
    ("build", "block"),
    [
        ("if config.scaled:\n            self.scale = Scale(config.width)", "pass"),
        ("self.scale = Scale(config.width) if config.scaled else None", "pass"),
        ("self.block = Block(config)", "self.scale = nn.Identity() if not config.scaled else Scale(8)"),
        ("if config.kind == 'plain':\n            pass\n        else:\n            self.scale = Scale(8)", "pass"),
        ("if config.scaled:\n            self.parts = nn.ModuleList([Scale(8) for _ in range(2)])", "pass"),
    ],
)
def test_what_settings_rule_out(tmp_path, build, block):
    assert codes(tmp_path, build, block) == set()


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        ("if config.scaled:\n            self.scale = Scale(config.width)", {"scaled": True}),
        ("if config.depth:\n            self.scale = Scale(config.width)", {}),  # which nobody says
        ("if config.scaled:\n            self.scale = Scale(8)\n        self.other = Scale(8)", {}),
        ("kinds = {'a': Scale}\n        self.scale = kinds['a'](8)", {}),
        ("self.scale = Scale(config.width)", {}),
        ("self.scale = globals()['Sca' + 'le'](8)", {}),
        ("self.scale = getattr(modules, 'Scale')(8)", {}),
    ],
)
def test_what_is_built(tmp_path, build, settings):
    assert codes(tmp_path, build, **settings) == {"P12", "P17"}


def test_a_class_that_nothing_names(tmp_path):
    assert codes(tmp_path, "pass") == set()


def test_a_buffer_that_settings_rule_out(tmp_path):
    buffer = 'self.register_buffer("late", torch.ones(8), persistent=False)'
    assert codes(tmp_path, f"if config.scaled:\n            {buffer}") == set()


def test_without_settings_nothing_is_ruled_out(tmp_path):
    build = "if config.scaled:\n            self.scale = Scale(config.width)"
    assert codes(tmp_path, build) == set()
    (tmp_path / "config.json").unlink()
    assert {f.code for f in findings_of(tmp_path)} >= {"P12", "P17"}
