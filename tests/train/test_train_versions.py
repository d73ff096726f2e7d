"""One training in several releases of transformers: batches at once, in four parts, and on two processes."""

import json
import os
import random
import subprocess
import sys

import pytest
import torch
from helpers.processes import ROOT
from helpers.training import NO_DROPOUT, SMALL_BERT, kill_trainings, set_options, tagged_sentences, train
from helpers.versions import VERSIONS
from safetensors.torch import load_file

SMALL = set_options(**SMALL_BERT)
STILL = set_options(**NO_DROPOUT)
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Sums of gradients are rounded in another order, and AdamW divides small ones by their own size.
WEIGHTS, NORMS = 1e-4, 1e-5


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("versions") / "texts.csv"
    path.write_text("text\n" + "\n".join(" ".join(words) for words, _ in tagged_sentences(424)))
    return path


def run(output, texts, *more, launcher=(), overlay=None):
    options = ["bert_model", "--task", "masked-lm", "--data", texts, *SMALL, *STILL, "--vocab-size", 80]
    options += ["--block-size", 16, "--batch-size", 16, "--epochs", 3, "--learning-rate", 0.005, *more]
    command = [sys.executable, *launcher, "-m", "pinfold", "train", *map(str, options), "--output", str(output)]
    path = os.pathsep.join(str(part) for part in (overlay, ROOT) if part)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def weights_and_norms(output):
    weights = load_file(output / "model.safetensors")
    history = json.loads((output / "trainer_state.json").read_text())["log_history"]
    return weights, [entry["grad_norm"] for entry in history if "grad_norm" in entry]


@pytest.mark.sweep
@pytest.mark.parametrize("version", VERSIONS)
def test_parts_of_a_batch_and_two_processes_train_as_one_batch_does(version, texts, overlay, tmp_path):
    there = None if version == "newest" else overlay(version)
    run(tmp_path / "one", texts, overlay=there)
    run(tmp_path / "parts", texts, "--batch-size", 4, "--accumulate", 4, overlay=there)
    run(tmp_path / "two", texts, launcher=LAUNCHER, overlay=there)
    used = json.loads((tmp_path / "one" / "training.json").read_text())["versions"]["transformers"]
    assert version in (used, "newest")
    weights, norms = weights_and_norms(tmp_path / "one")
    assert len(norms) == 24
    for name in ("parts", "two"):
        others, other_norms = weights_and_norms(tmp_path / name)
        assert weights.keys() == others.keys()
        worst = max(float((weights[key] - others[key]).abs().max()) for key in weights)
        gradients = max(abs(a - b) for a, b in zip(norms, other_norms, strict=True))
        print(f"{used} {name}: weights {worst:.1e}, norms of gradients {gradients:.1e}")
        assert worst < WEIGHTS and gradients < NORMS


@pytest.mark.sweep
def test_ten_kills_at_random_steps_change_nothing(texts, tmp_path, capsys):
    """With dropout: the random state has to come back, too."""
    options = [ROOT / "bert_model", "--task", "masked-lm", "--data", texts, *SMALL, "--vocab-size", 80]
    options += ["--block-size", 16, "--batch-size", 4, "--epochs", 12]
    assert train(*options, "--output", tmp_path / "whole") == 0
    steps = json.loads((tmp_path / "whole" / "trainer_state.json").read_text())["global_step"]
    broken = [*options, "--output", tmp_path / "broken"]
    kill_trainings(*((at, broken) for at in sorted(random.Random(1).sample(range(1, steps), 10))))
    assert train(*broken) == 0 and "continuing from" in capsys.readouterr().out
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
