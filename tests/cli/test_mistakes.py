"""Mistakes that are found before any work begins: one line, exit code 2, and nothing is left on the disk."""

import json

import pytest
import torch
from safetensors.torch import save_file

from pinfold.cli.main import main

MODELING = """
from transformers import PreTrainedModel
from .configuration_x import XConfig

class XModel(PreTrainedModel):
    config_class = XConfig

XModel.register_for_auto_class("AutoModel")
"""
CONFIGURATION = """
from transformers import PretrainedConfig

class XConfig(PretrainedConfig):
    model_type = "x"

XConfig.register_for_auto_class()
"""
# arguments -> what the line says
MISTAKES = {
    "a user name": (["hub", "token", "a b"], "'a b' cannot be a user name"),
    "a port": (["hub", "--port", "99999"], "--port 99999"),
    "a source": (["hub", "import", "nowhere", "me/x"], "nowhere is not a folder"),
    "a repository": (["hub", "import", "folder", "../x"], "'../x' is not a repository name"),
    "a data directory, deep": (["hub", "token", "a b", "--data", "some/where/new"], "cannot be a user name"),
    "an empty folder": (["check", "empty"], "empty: no files; give a model folder"),
    "check: where JSON goes": (
        ["check", "folder", "--json", "no/x.json"],
        "the directory no does not exist",
    ),
    "check: JSON is a directory": (["check", "folder", "--json", "empty"], "--json empty: a directory; name a file"),
    "summarize: where JSON goes": (["summarize", "folder", "--json", "no/x.json"], "the directory no does not exist"),
    "--prefix alone": (["convert", "--prefix", "My"], "--prefix needs --eject NAME OUT"),
    "--with alone": (["convert", "--with", "tokenizer"], "--with needs --eject NAME OUT"),
    "two cases": (["tokenizer", "train", "x", "--lowercase", "--cased", "--output", "y"], "not allowed with argument"),
    "a file to push": (["push", "file.txt"], "file.txt: a file; give its folder, ., with configuration_*.py"),
    "a file to train": (
        ["train", "file.txt", "--data", "digits", "--output", "y"],
        "a file; give its folder",
    ),
    "compat: no such": (["compat", "run", "nowhere"], "nowhere: no such folder; give a directory, or a repository"),
    "compat: a name": (["compat", "run", "me/a--b"], "repository='me/a--b': "),
    "a version": (["compat", "make", "abc"], "'abc' is not a release of transformers"),
    "push: a version": (["push", "folder", "--checkpoint", "bare", "--versions", "abc"], "'abc' is not a release of"),
    "push: an address": (["push", "folder", "--checkpoint", "bare", "--endpoint", "abc"], "--endpoint=abc is not the"),
    "push: no config.json": (["push", "folder", "--checkpoint", "bare"], "config.json"),
    "push: no weights": (["push", "folder", "--checkpoint", "empty"], "config.json"),
    "a number": (["train", "folder", "--epochs", "0"], "'0' must be a whole number of at least 1"),
    "a number with limits": (["train", "folder", "--warmup", "2"], "'2' must be a number from 0 to 1"),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a model folder, weights without a config.json, an empty folder and a file."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "bare", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "folder/modeling_x.py").write_text(MODELING)
    (tmp_path / "folder/configuration_x.py").write_text(CONFIGURATION)
    (tmp_path / "folder/card.md").write_text("---\nlicense: mit\n---\nA model.\n")
    (tmp_path / "file.txt").write_text("x")
    save_file({"weight": torch.zeros(1)}, tmp_path / "bare/model.safetensors")
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_leaves_one_line_and_nothing_else(name, here, capsys):
    arguments, words = MISTAKES[name]
    before = sorted(here.rglob("*"))
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    out, error = capsys.readouterr()
    assert code == 2 and words in error and error.count("\n") == 1 and not out, out + error
    assert sorted(here.rglob("*")) == before


def test_a_data_directory_that_is_in_use_is_kept_when_a_mistake_follows(here, capsys):
    assert main(["hub", "token", "me", "--data", "data"]) == 0
    before = sorted((here / "data").rglob("*"))
    assert main(["hub", "token", "a b", "--data", "data"]) == 2
    assert sorted((here / "data").rglob("*")) == before and "a b" in capsys.readouterr().err


def test_a_card_that_would_stop_a_push_is_named_by_check(here, capsys):
    (here / "folder/card.md").write_text("---\nlicense: [\n---\nA model.\n")
    assert main(["check", "folder", "--json", "report.json"]) == 0
    assert "a push would stop here: folder/card.md: its front matter is" in capsys.readouterr().out
    assert json.loads((here / "report.json").read_text())["code"] == 0


@pytest.mark.parametrize(
    "verb", [["tokenizer", "train"], ["tokenizer", "add"], ["compat", "make"], ["compat", "run"], ["hub", "gc"]]
)
def test_the_help_of_an_action_shows_how_to_call_it(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and f"Example:\n  pinfold {' '.join(verb)}" in shown


def test_an_adapter_is_called_one_with_the_way_to_merge_it(here, capsys):
    (here / "adapter").mkdir()
    (here / "adapter/adapter_config.json").write_text('{"base_model_name_or_path": "me/base", "peft_type": "LORA"}')
    save_file({"a": torch.zeros(1)}, here / "adapter/adapter_model.safetensors", {"format": "pt"})
    assert main(["push", "folder", "--checkpoint", "adapter"]) == 2
    assert "adapter is an adapter (adapter_config.json)" in (error := capsys.readouterr().err)
    assert "model.merge_and_unload().save_pretrained(DIR)" in error
    assert main(["check", "adapter"]) == 0
    out = capsys.readouterr().out
    assert "an adapter: a load also runs the code of me/base, not pinned; pinfold check me/base" in out
    assert "trust_remote_code is not needed" not in out


@pytest.mark.parametrize("name", ["model.layers.0.q_proj.lora_A.default.weight", "h.0.attn.base_layer.weight"])
def test_an_adapter_inside_of_a_saved_model_is_named(here, capsys, name):
    save_file({name: torch.zeros(1)}, here / "bare/model.safetensors", {"format": "pt"})
    (here / "bare/config.json").write_text('{"model_type": "x", "architectures": ["XModel"]}')
    assert main(["push", "folder", "--checkpoint", "bare"]) == 2
    assert f"{name} belongs to an adapter that is still inside the model" in capsys.readouterr().err


def test_a_folder_without_a_class_to_load_has_no_forecast(here, capsys):
    (here / "folder/modeling_x.py").write_text("from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n")
    (here / "folder/configuration_x.py").unlink()
    assert main(["check", "folder"]) == 0
    out = capsys.readouterr().out
    assert "no class that from_pretrained loads: a model derives from transformers.PreTrainedModel" in out
    assert "by its code" not in out
