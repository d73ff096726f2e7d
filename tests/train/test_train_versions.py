"""One training in several releases of transformers: batches at once, in four parts, and on two processes."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest
import torch
from helpers.processes import ROOT
from safetensors.torch import load_file
from train.test_train_tasks import SMALL, STILL, tagged

VERSIONS = ("4.48.3", "4.57.6", "5.0.0", "newest")
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# Sums of gradients are rounded in another order, and AdamW divides small ones by their own size.
WEIGHTS, NORMS = 1e-4, 1e-5


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("versions") / "texts.csv"
    path.write_text("text\n" + "\n".join(" ".join(words) for words, _ in tagged(424)))
    return path


def run(output, texts, *more, launcher=(), overlay=None):
    options = ["bert_model", "--task", "masked-lm", "--data", texts, *SMALL, *STILL, "--vocab-size", 80]
    options += ["--block-size", 16, "--batch-size", 16, "--epochs", 3, "--learning-rate", 0.005, *more]
    command = [sys.executable, *launcher, "-m", "pinfold", "train", *map(str, options), "--output", str(output)]
    path = os.pathsep.join(str(part) for part in (overlay, ROOT) if part)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def told(output):
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
    weights, norms = told(tmp_path / "one")
    assert len(norms) == 24
    for name in ("parts", "two"):
        others, other_norms = told(tmp_path / name)
        assert weights.keys() == others.keys()
        worst = max(float((weights[key] - others[key]).abs().max()) for key in weights)
        gradients = max(abs(a - b) for a, b in zip(norms, other_norms, strict=True))
        print(f"{used} {name}: weights {worst:.1e}, norms of gradients {gradients:.1e}")
        assert worst < WEIGHTS and gradients < NORMS


KILLED = """
import os, signal, sys
from transformers import Trainer
at, original = int(sys.argv[1]), Trainer.training_step
def training_step(self, *arguments, **keywords):
    if self.state.global_step >= at:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments, **keywords)
Trainer.training_step = training_step
from pinfold.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.sweep
def test_ten_kills_at_random_steps_change_nothing(texts, tmp_path):
    """With dropout: the random state has to come back, too."""
    options = ["train", ROOT / "bert_model", "--task", "masked-lm", "--data", texts, *SMALL, "--vocab-size", 80]
    options = [str(o) for o in (*options, "--block-size", 16, "--batch-size", 4, "--epochs", 12)]
    whole = subprocess.run(
        [sys.executable, "-m", "pinfold", *options, "--output", str(tmp_path / "whole")],
        capture_output=True,
        text=True,
    )
    assert whole.returncode == 0, whole.stderr[-2000:]
    steps = json.loads((tmp_path / "whole" / "trainer_state.json").read_text())["global_step"]
    broken = [*options, "--output", str(tmp_path / "broken")]
    for at in sorted(random.Random(1).sample(range(1, steps), 10)):
        done = subprocess.run([sys.executable, "-c", KILLED, str(at), *broken], cwd=ROOT, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    done = subprocess.run([sys.executable, "-m", "pinfold", *broken], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "continuing from" in done.stdout
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
