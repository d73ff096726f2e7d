"""decoder_model pushed to a Hub and loaded pinned, in old and new transformers: the same bytes in each.

One process for each version does everything (decoder_versions.py); the tests read what it said.
"""

import importlib.util
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.forks import in_forks
from helpers.hub.card_page import copied_example_runs
from helpers.models.decoder import IDS, build
from helpers.processes import ROOT, clean_environment, run_here
from helpers.versions import VERSIONS

from decoder_model.modeling_decoder import DecoderForCausalLM

pytestmark = [pytest.mark.slow, pytest.mark.versions]  # a push, and a process in each release


def tokenizer():
    """The one that make compat gives its checkpoint."""
    path = ROOT / "scripts" / "compat_decoder.py"
    specification = importlib.util.spec_from_file_location("compat_decoder", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.tokenizer(module.TEXTS, 288, 64)


@pytest.fixture(scope="module")
def pushed(hub, forks, tmp_path_factory):
    """The model in memory, the commit, and what the push printed; a page's test runs the command by itself."""
    work = tmp_path_factory.mktemp("decoder")
    model = build(vocab_size=288)
    for part in (model, tokenizer()):
        part.save_pretrained(work / "checkpoint")
    given = ["--checkpoint", work / "checkpoint", "--versions", "newest", "--endpoint", hub["url"]]
    command = ["push", ROOT / "decoder_model", "--repo", "local/decoder", *given]
    with in_forks(forks):
        done = run_here(*map(str, command), HF_TOKEN=hub["token"])
    assert done.returncode == 0, done.stderr[-3000:]
    return model, re.search(r"Published local/decoder at ([0-9a-f]{40})", done.stdout)[1], done.stdout


@pytest.fixture(scope="module")
def said(pushed, hub, overlay, tmp_path_factory):
    """Version -> what its process found, and where it saved."""
    paths = {version: "" if version == "newest" else str(overlay(version)) for version in VERSIONS}

    def run(version):
        home = tmp_path_factory.mktemp("home")
        environment = clean_environment(home, HF_ENDPOINT=hub["url"], HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths[version]}
        command = [
            sys.executable,
            str(ROOT / "tests" / "helpers" / "models" / "decoder_versions.py"),
            "local/decoder",
            pushed[1],
        ]
        done = subprocess.run(
            [*command, str(home / "saved")], env=environment, cwd=home, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{version}: {done.stderr[-3000:]}"
        return {**json.loads(done.stdout.split("RESULT ")[1]), "saved": home / "saved"}

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(VERSIONS, pool.map(run, VERSIONS), strict=True))


def test_the_example_copied_from_the_cards_page_prints_what_the_card_shows(pushed, hub, tmp_path):
    assert "model.generate(" in copied_example_runs(hub["url"], "local/decoder", tmp_path / "home")


def test_the_push_finds_nothing_and_verifies_every_class_and_the_tokenizer(pushed):
    printed = pushed[2]
    assert "audit    nothing found" in printed and "AutoTokenizer: ids equal" in printed
    steps = [printed.index(f"\n  {step} ") for step in ("audit", "convert", "verify")]
    assert steps == sorted(steps), "the code is audited before it is run"
    autos = set(re.findall(r"AutoModel\w*", printed.split("verify")[1].split(":")[0]))
    assert autos == {
        "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification", "AutoModelForQuestionAnswering",
    }  # fmt: skip
    assert f'AutoModelForCausalLM.from_pretrained("local/decoder", revision="{pushed[1]}"' in printed
    assert "AutoTokenizer.from_pretrained(" in printed


def test_everything_is_the_same_in_every_version(said):
    """Logits, losses, hidden states, attentions, gradients, heads, generated ids and written text."""
    assert [said[version]["version"] for version in VERSIONS[:-1]] == list(VERSIONS[:-1])
    assert len({found["version"] for found in said.values()}) == len(VERSIONS)
    newest = said["newest"]
    assert len(newest) > 60 and newest["loaded"] == "DecoderForCausalLM"
    for version, found in said.items():
        assert found.keys() == newest.keys()
        differs = [key for key in newest if key not in ("version", "saved") and found[key] != newest[key]]
        assert not differs, (version, differs)


def test_what_any_version_saves_is_the_model_that_was_pushed(pushed, said):
    with torch.no_grad():
        expected = pushed[0](IDS).logits
        for version, found in said.items():
            again = DecoderForCausalLM.from_pretrained(found["saved"]).eval()
            assert torch.equal(again(IDS).logits, expected), version
            assert (found["saved"] / "modeling_decoder.py").exists()
