"""Weights in one repository, code in another: both are pinned, and verified so."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import tiny
from helpers.processes import clean_environment
from helpers.versions import VERSIONS
from huggingface_hub import HfApi

from pinfold.cli.main import main


@pytest.fixture(scope="module")
def code_repo(hub, tiny_folder, tiny_checkpoint):
    """A repository with code, and its commit."""
    api = HfApi(endpoint=hub["url"], token=hub["token"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        api.create_repo("local/shared-code")
        commit = api.upload_folder(repo_id="local/shared-code", folder_path=tiny_folder, allow_patterns="*.py")
    return "local/shared-code", commit.oid


@pytest.fixture
def weights(tiny_folder, tmp_path):
    """A checkpoint with its own words about it, and no code."""
    directory = tiny.save_checkpoint(tiny_folder, tmp_path / "weights", id2label={0: "a", 1: "b"})
    for file in directory.glob("*.py"):
        file.unlink()
    (directory / "card.md").write_text(tiny.CARD)
    return directory


@pytest.fixture
def push(hub, monkeypatch, capsys):
    """push(...) -> (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setenv("HF_TOKEN", hub["token"])
        capsys.readouterr()
        code = main(["push", *map(str, arguments), "--endpoint", hub["url"]])
        out, err = capsys.readouterr()
        return code, out, err

    return run


ENDS = ("--versions", *VERSIONS)
LOAD = """
import torch, transformers
{snippet}
assert type(model).__module__.count("{code}"), type(model).__module__
torch.save(model(torch.arange(6)[None]).logits, {path!r})
"""


@pytest.mark.slow
@pytest.mark.versions
def test_weights_are_published_without_code_and_load_with_both_pins(forked, push, hub, code_repo, weights, tmp_path):
    repo, sha = code_repo
    code, out, err = push(weights, "--repo", "local/weights-only", "--code-from", f"{repo}@{sha}", *ENDS)
    assert code == 0, out + err
    snippet = out[out.index("from transformers import") :]
    assert f'code_revision="{sha}", trust_remote_code=True' in snippet
    api = HfApi(endpoint=hub["url"], token=hub["token"])
    names = set(api.list_repo_files("local/weights-only"))
    assert not [name for name in names if name.endswith(".py")] and "model.safetensors" in names

    def download(name):
        return Path(api.hf_hub_download("local/weights-only", name, cache_dir=tmp_path / "read")).read_text()

    config = json.loads(download("config.json"))
    assert config["auto_map"]["AutoModel"] == f"{repo}--modeling_tiny.TinyModel"
    card = download("README.md")
    assert f'code_revision="{sha}"' in card and f"Python files of `{repo}`" in card
    script = LOAD.format(snippet=snippet, code=sha, path=str(tmp_path / "logits.pt"))
    environment = clean_environment(tmp_path / "home", HF_ENDPOINT=hub["url"])
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    again = push(weights, "--repo", "local/weights-only", "--code-from", f"{repo}@{sha}", *ENDS)
    assert again[0] == 0 and "nothing changed" in again[1]


def test_its_code_is_audited_where_it_lies(push, quick, hub, weights, tiny_folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    api = HfApi(endpoint=hub["url"], token=hub["token"])
    api.create_repo("local/bad-code")
    api.upload_folder(repo_id="local/bad-code", folder_path=tiny_folder, allow_patterns="*.py")
    bad = (tiny_folder / "modeling_tiny.py").read_text() + "\nimport os\nos.system('true')\n"
    commit = api.upload_file(path_or_fileobj=bad.encode(), path_in_repo="modeling_tiny.py", repo_id="local/bad-code")
    code, _, err = push(weights, "--repo", "local/refused", "--code-from", f"local/bad-code@{commit.oid}")
    assert code == 2 and "S02" in err and not api.repo_exists("local/refused")


@pytest.mark.parametrize(
    ("code_from", "words"),
    [
        ("local/shared-code@main", "all 40 hex digits; a branch can move"),
        ("local/shared-code", "must be owner/name@SHA"),
        (f"local/shared-code@{'0' * 40}", "has no such commit of local/shared-code"),
        (f"local/nowhere@{'0' * 40}", "has no such commit of local/nowhere"),
        ("../x@" + "0" * 40, "--code-from='../x': .*use owner/name"),
    ],
)
def test_code_that_cannot_be_pinned_is_one_line(push, quick, code_repo, weights, code_from, words):
    code, _, err = push(weights, "--repo", "local/never", "--code-from", code_from)
    assert code == 2 and re.search(words, err) and len(err.strip().splitlines()) == 1, err


def test_it_needs_weights(push, code_repo, tmp_path):
    repo, sha = code_repo
    code, _, err = push("--repo", "local/never", "--code-from", f"{repo}@{sha}")
    assert code == 2 and "--code-from needs weights" in err
    code, _, err = push(tmp_path, "--repo", "local/never", "--code-from", f"{repo}@{sha}")
    assert code == 2 and "has no model.safetensors" in err
