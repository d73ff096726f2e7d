"""sentiment_model pushed to a Hub and loaded pinned, in old and new transformers: the same bytes in each.

One process for each version does everything (sentiment_versions.py); the tests read what it said.
"""

import json
import re
import subprocess
import sys

import pytest
import torch
from helpers.forks import in_forks
from helpers.hub.card_page import copied_example_runs
from helpers.processes import ROOT, clean_environment, run_here
from helpers.versions import VERSIONS

from pinfold.tokenizer.save import write_portable
from pinfold.tokenizer.train import train as train_tokenizer
from sentiment_model.configuration_sentiment import SentimentConfig
from sentiment_model.modeling_sentiment import SentimentAnalyzer

pytestmark = [pytest.mark.slow, pytest.mark.versions]  # a push, and a process in each release
TEXTS = ["a lovely film, not a dull one", "the song was fine and the chair was poor today", "dreary"] * 20


@pytest.fixture(scope="module")
def pushed(hub, forks, tmp_path_factory):
    """The model in memory, the commit, and what the push printed; a page's test runs the command by itself."""
    work = tmp_path_factory.mktemp("sentiment")
    torch.manual_seed(0)
    made = train_tokenizer(TEXTS, "wordpiece", 70, lowercase=True, model_max_length=64)
    fields = {"vocab_size": len(made), "embedding_dim": 16, "hidden_dim": 12, "pooling": "attention"}
    model = SentimentAnalyzer(SentimentConfig(**fields)).eval()
    model.save_pretrained(work / "checkpoint")
    write_portable(made, work / "checkpoint")
    given = ["--checkpoint", work / "checkpoint", "--versions", "newest", "--endpoint", hub["url"]]
    command = ["push", ROOT / "sentiment_model", "--repo", "local/sentiment", *given]
    with in_forks(forks):
        done = run_here(*map(str, command), HF_TOKEN=hub["token"])
    assert done.returncode == 0, done.stderr[-3000:]
    return model, re.search(r"Published local/sentiment at ([0-9a-f]{40})", done.stdout)[1], done.stdout


@pytest.fixture(scope="module")
def said(pushed, hub, overlay, tmp_path_factory):
    """Version -> what its process found."""
    found = {}
    for version in VERSIONS:
        home = tmp_path_factory.mktemp("home")
        environment = clean_environment(home, HF_ENDPOINT=hub["url"], HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": "" if version == "newest" else str(overlay(version))}
        command = [
            sys.executable,
            str(ROOT / "tests" / "helpers" / "models" / "sentiment_versions.py"),
            "local/sentiment",
            pushed[1],
        ]
        done = subprocess.run(
            [*command, str(home / "saved")], env=environment, cwd=home, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{version}: {done.stderr[-3000:]}"
        found[version] = json.loads(done.stdout.split("RESULT ")[1])
    return found


@pytest.mark.sweep  # those of resnet_model, decoder_model and bert_model are copied in every run
def test_the_example_copied_from_the_cards_page_prints_what_the_card_shows(pushed, hub, tmp_path):
    assert "id2label[best]" in copied_example_runs(hub["url"], "local/sentiment", tmp_path / "home")


def test_the_push_finds_nothing_and_verifies_both_classes_and_the_tokenizer(pushed):
    told = pushed[2]
    assert "audit    nothing found" in told and "AutoTokenizer: ids equal" in told
    autos = set(re.findall(r"AutoModel\w*", told.split("verify")[1].split(":")[0]))
    assert autos == {"AutoModel", "AutoModelForSequenceClassification"}
    assert f'AutoModelForSequenceClassification.from_pretrained("local/sentiment", revision="{pushed[1]}"' in told


def test_everything_is_the_same_in_every_version(said):
    """Ids, logits, states, loss, gradients, the model saved and loaded again, and the pipeline's answers."""
    newest = said["newest"]["same"]
    assert {version: found["same"] for version, found in said.items()} == dict.fromkeys(VERSIONS, newest)
    assert newest["labels"] == ["negative", "neutral", "positive"] and newest["missing"] == []
    assert {label for label, _ in newest["answers"]} <= set(newest["labels"]) and newest["wide"] == [5, 5, 5]
    assert newest["again"] == newest["logits"]


def test_training_is_the_same_in_every_version_and_with_accumulation(said):
    """Two steps of SGD; four micro-batches sum in another order than one batch: in float32, 1e-6."""
    for version, found in said.items():
        assert found["apart"] < 1e-6, (version, found["apart"])
        for mine, newest in zip(found["weights"], said["newest"]["weights"], strict=True):
            torch.testing.assert_close(torch.tensor(mine), torch.tensor(newest), rtol=0, atol=1e-6)
