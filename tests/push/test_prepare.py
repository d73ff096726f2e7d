"""What a first push asks for: all of it in one message, since each refusal costs its author a push."""

import json
import re
import sys

import pytest

from pinfold.common.errors import UserError
from pinfold.push.options import PushOptions
from pinfold.push.steps import publish

CONFIGURATION = """
from transformers import PretrainedConfig


class NetConfig(PretrainedConfig):
    model_type = "net-asked"
"""
MODELING = """
{top}
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
{imports}

class NetModel(PreTrainedModel):
    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
        self.first = nn.Linear(7, 3)
        self.post_init()

    def forward(self, {takes}):
        return BaseModelOutput(last_hidden_state={value})
"""
REGISTER = '\n\nNetModel.register_for_auto_class("AutoModel")\n'
FLOATS = {"takes": "features", "value": "self.first(features)"}
PAIR = {"takes": "left, right", "value": "self.first(left) + self.first(right)"}
WORDS = {"takes": "input_ids, attention_mask=None", "value": "self.first(torch.ones(*input_ids.shape, 7))"}
REACHES = "import urllib.request\nurllib.request.urlopen('http://example.org/')"
CARD = "card.md; write one that begins with these lines: ---, license: apache-2.0, ---"


def code(takes, value, top="", imports="from .configuration_net import NetConfig\n"):
    return MODELING.format(top=top, imports=imports, takes=takes, value=value)


def saved(path, monkeypatch, modeling):
    """A folder of this code with its weights, without a card."""
    folder = path / "net_asked"
    folder.mkdir()
    (folder / "configuration_net.py").write_text(
        CONFIGURATION.format(body="") + "\n\nNetConfig.register_for_auto_class()\n"
    )
    (folder / "modeling_net.py").write_text(code(**FLOATS))
    monkeypatch.syspath_prepend(str(path))
    for name in [name for name in sys.modules if name.split(".")[0] == "net_asked"]:
        del sys.modules[name]
    from net_asked.configuration_net import NetConfig
    from net_asked.modeling_net import NetModel

    NetModel(NetConfig()).save_pretrained(path / "saved")
    (folder / "modeling_net.py").write_text(modeling)
    return folder


def refused(**options):
    with pytest.raises(UserError) as caught:
        publish(PushOptions(repo="local/net", endpoint="embedded", **options))
    return str(caught.value)


@pytest.mark.parametrize(
    ("modeling", "said", "asks"),
    [
        (code(**FLOATS) + REGISTER, [], ["features"]),
        (code(**PAIR), ["P28"], ["left", "right"]),
        (code(**WORDS), ["P28"], []),
        (code(**WORDS) + REGISTER, [], []),
        (code(**FLOATS, top=REACHES) + REGISTER, ["S03"], []),  # what the audit fears is not run for a probe
    ],
)
def test_a_folder_without_a_card_is_asked_for_all_it_lacks(tmp_path, monkeypatch, modeling, said, asks):
    folder = saved(tmp_path, monkeypatch, modeling)
    text = refused(path=folder, checkpoint=tmp_path / "saved", versions=["4.48.3", "newest"])
    assert text.startswith(f"{folder} has no {CARD}")
    assert re.findall(r"\b[PS]\d\d\b", text) == said
    offered = re.search(r"forward takes this one:\n\n(  {\n.*)", text, re.DOTALL)
    assert list(json.loads(offered[1]) if offered else {}) == asks


def test_an_audit_that_fails_asks_for_the_probe_as_well(tmp_path, monkeypatch):
    folder = saved(tmp_path, monkeypatch, code(**FLOATS))
    (folder / "card.md").write_text("---\nlicense: mit\n---\nA net.\n")
    options = {"path": folder, "checkpoint": tmp_path / "saved", "versions": ["4.48.3", "newest"]}
    text = refused(**options)
    assert text.startswith("the audit found 1 error: P28")
    findings, question, probe = text.split("\n\n")
    assert "then: " not in findings and question.startswith("  then: ") and len(probe.splitlines()) == 3
    (folder / "probe.json").write_text(probe)
    assert "probe" not in refused(**options)


def test_a_script_without_consent_is_asked_for_card_and_probe(tmp_path, monkeypatch):
    saved(tmp_path, monkeypatch, "")
    script = tmp_path / "train.py"
    script.write_text(CONFIGURATION + code(**FLOATS, imports="") + "\n\nprint(NetModel(NetConfig()))\n")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    del config["auto_map"]
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("sys.stdin", None)
    folder = tmp_path / "net_asked_flat"
    text = refused(path=folder, checkpoint=tmp_path / "saved", flatten=f"{script}:NetModel")
    first = text.split("\n  ")[0]
    assert "needs your consent" in first and f"{folder} then needs a card.md too: " in first
    assert list(json.loads(text.split("forward takes this one:")[1])) == ["features"]
    assert not folder.exists() and "pinfold-" not in text


MODULAR = (
    "from transformers.models.llama.modeling_llama import LlamaModel\n\n\nclass LensModel(LlamaModel):\n    pass\n"
)


@pytest.mark.parametrize("card", ["", "---\nlicense: apache-2.0\n---\n"])
@pytest.mark.parametrize("checkpoint", [None, "{}", '{"auto_map": {"AutoModel": "modeling_lens.LensModel"}}'])
def test_a_modular_file_alone_is_to_be_converted_first(tmp_path, card, checkpoint):
    (folder := tmp_path / "lens").mkdir()
    (folder / "modular_lens.py").write_text(MODULAR)
    if card:
        (folder / "card.md").write_text(card)
    (at := tmp_path / "weights").mkdir()
    if checkpoint:
        (at / "config.json").write_text(checkpoint)
    for options in (PushOptions(path=folder, checkpoint=at), PushOptions(path=folder)):
        with pytest.raises(
            UserError, match=rf"pinfold convert {re.escape(str(folder))}/modular_lens\.py, and"
        ) as error:
            publish(options)
        assert (CARD in str(error.value)) == (not card)


@pytest.mark.parametrize(
    ("beside", "text", "config"),
    [
        ("modeling_lens.py", MODULAR, "{}"),
        ("", MODULAR + '\n\nLensModel.register_for_auto_class("AutoModel")\n', "{}"),
        ("", MODULAR, '{"auto_map": {"AutoModel": "modular_lens.LensModel"}}'),
    ],
)
def test_a_modular_file_that_was_converted_or_is_loaded_itself_is_not(tmp_path, beside, text, config):
    (folder := tmp_path / "lens").mkdir()
    (folder / "modular_lens.py").write_text(text)
    (folder / "config.json").write_text(config)
    if beside:
        (folder / beside).write_text("")
    with pytest.raises(UserError) as error:
        publish(PushOptions(path=folder, checkpoint=folder))
    assert "pinfold convert" not in str(error.value)
