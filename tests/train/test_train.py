"""Training: the demo end to end, a folder from outside this repository, interruptions, and mistakes in one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.processes import ROOT
from helpers.training import last_error, train
from PIL import Image
from safetensors.torch import load_file

from pinfold.train.data.pictures import digits
from pinfold.train.tasks.task import hold_out

CONFIGURATION = '''"""Two colours, for tests."""

from transformers import PretrainedConfig


class PatchConfig(PretrainedConfig):
    model_type = "outside-patch"

    def __init__(self, width=4, image_size=8, **kwargs):
        super().__init__(**kwargs)
        if width < 1:
            raise ValueError(f"width={width} must be positive; use 4")
        self.width, self.image_size = width, image_size


PatchConfig.register_for_auto_class()
'''

MODELING = '''"""One hidden layer over the pixels, for tests."""

from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from .configuration_patch import PatchConfig


class PatchForImageClassification(PreTrainedModel):
    config_class = PatchConfig
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.body = nn.Linear(3 * config.image_size**2, config.width)
        self.norm = nn.BatchNorm1d(config.width)
        self.head = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
            nn.init.zeros_(module.bias)

    def forward(self, pixel_values, labels=None):
        logits = self.head(self.norm(self.body(pixel_values.flatten(1))).relu())
        return ImageClassifierOutput(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)


PatchForImageClassification.register_for_auto_class("AutoModelForImageClassification")
'''

PROCESSING = '''"""Resize and scale, for tests."""

import numpy as np
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature


class PatchImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __init__(self, image_size=8, **kwargs):
        super().__init__(**kwargs)
        self.image_size = image_size

    def preprocess(self, images, return_tensors=None, **kwargs):
        size = (self.image_size, self.image_size)
        pixels = [np.asarray(i.convert("RGB").resize(size), np.float32).transpose(2, 0, 1) / 255 for i in images]
        return BatchFeature({"pixel_values": np.stack(pixels)}, return_tensors)


PatchImageProcessor.register_for_auto_class("AutoImageProcessor")
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("outside") / "patch_model"
    path.mkdir()
    for name, text in (("configuration", CONFIGURATION), ("modeling", MODELING), ("image_processing", PROCESSING)):
        (path / f"{name}_patch.py").write_text(text)
    return path


def write_pictures(root: Path, colours: dict[str, tuple[int, int, int]], each: int = 20) -> Path:
    """One folder per colour, of noisy pictures of that colour."""
    generator = np.random.default_rng(0)
    for name, colour in colours.items():
        (root / name).mkdir(parents=True)
        for i in range(each):
            noise = generator.integers(-40, 40, (12, 10, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "colours", {"blue": (60, 60, 200), "red": (200, 60, 60)})


@pytest.fixture(scope="module")
def trained(folder, pictures, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "colours"
    # 32 pictures to train on: the last batch of an epoch would be a single one, which batch norm refuses
    options = ["--epochs", 4, "--batch-size", 31, "--learning-rate", 0.01]
    assert train(folder, "--data", pictures, "--output", output, *options) == 0
    return output


@pytest.mark.slow
def test_the_demo_survives_a_kill_and_measures_what_it_saves(tmp_path, capsys):
    output = tmp_path / "digits"
    command = [sys.executable, "-m", "pinfold", "train", "resnet_model", "--data", "digits", "--output", str(output)]
    command += ["--epochs", "2"]  # killed in or after the first; a whole training is in the demo that tests share
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # on a busy machine, spinning threads make it crawl
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not list(output.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "continuing from" in run.stdout and "held-out accuracy" in run.stderr  # the latter in the progress bar
    results = json.loads((output / "eval_results.json").read_text())
    assert results["n"] == 360
    assert not list(output.glob("checkpoint-*"))

    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(output, trust_remote_code=True).eval()
    processor = AutoImageProcessor.from_pretrained(output, trust_remote_code=True)
    data = digits()
    split = results["split"]
    _, held = hold_out(len(data.labels), split["fraction"], split["seed"], "pictures", classes=data.labels)
    with torch.no_grad():
        logits = model(**processor([data.images[i] for i in held], return_tensors="pt")).logits
    capsys.readouterr()
    right = (logits.argmax(-1) == torch.tensor([data.labels[i] for i in held])).sum().item()
    assert right == round(results["metrics"]["accuracy"] * results["n"])
    assert train(ROOT / "resnet_model", "--data", "digits", "--output", output) == 2
    error = capsys.readouterr().err
    assert "a finished training; choose another --output" in error and error.count("\n") == 1


def test_a_folder_from_outside_trains_on_a_directory_of_class_folders(trained, capsys):
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    model = AutoModelForImageClassification.from_pretrained(trained, trust_remote_code=True).eval()
    assert type(model).__name__ == "PatchForImageClassification"
    assert AutoConfig.from_pretrained(trained, trust_remote_code=True).id2label == {0: "blue", 1: "red"}
    processor = AutoImageProcessor.from_pretrained(trained, trust_remote_code=True)
    pixels = processor([Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")], return_tensors="pt")
    assert model(**pixels).logits.argmax(-1).tolist() == [1, 0]
    results = json.loads((trained / "eval_results.json").read_text())
    assert results["metrics"]["accuracy"] == 1.0 and results["n"] == 8
    assert results["dataset"]["name"] == "colours" and results["dataset"]["classes"] == ["blue", "red"]
    assert results["split"] == {"name": "held-out", "fraction": 0.2, "stratified": True, "seed": 0}
    state = json.loads((trained / "trainer_state.json").read_text())
    assert sum("eval_accuracy" in entry for entry in state["log_history"]) >= 4
    training = json.loads((trained / "training.json").read_text())
    assert training["settings"]["epochs"] == 4 and training["seconds"] > 0 and training["arguments"]["seed"] == 0


def test_an_interrupted_training_ends_with_the_same_weights(trained, folder, pictures, tmp_path, monkeypatch):
    from pinfold.train import run as verb

    command = [folder, "--data", pictures, "--output", tmp_path / "out"]
    command += ["--epochs", 4, "--batch-size", 31, "--learning-rate", 0.01]
    make_trainer = verb.make_trainer

    def stopped_in_the_third_epoch(*arguments):
        from transformers import TrainerCallback

        class Stop(TrainerCallback):
            def on_step_begin(self, args, state, control, **kwargs):
                if state.global_step == 2:
                    raise KeyboardInterrupt

        trainer = make_trainer(*arguments)
        trainer.add_callback(Stop)
        return trainer

    monkeypatch.setattr(verb, "make_trainer", stopped_in_the_third_epoch)
    assert train(*command) == 130
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["checkpoint-2", "training.json"]
    monkeypatch.undo()
    shutil.copytree(tmp_path / "out" / "checkpoint-2", tmp_path / "out" / "checkpoint-3")
    (tmp_path / "out" / "checkpoint-3" / "trainer_state.json").write_text(
        "{"
    )  # as if it had been cut off while saving
    assert train(*command) == 0
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_other_settings_do_not_continue_an_interrupted_training(folder, pictures, tmp_path, capsys):
    output = tmp_path / "out"
    assert train(folder, "--data", pictures, "--output", output, "--epochs", 1) == 0
    (output / "eval_results.json").unlink()
    capsys.readouterr()
    assert train(folder, "--data", pictures, "--output", output, "--epochs", 2) == 2
    assert "epochs was 1 and is 2" in capsys.readouterr().err
    assert train(folder, "--data", pictures, "--output", output, "--epochs", 2, "--overwrite") == 0


def test_fine_tuning_draws_only_the_classifier_anew(folder, trained, tmp_path, capsys):
    colours = {"blue": (60, 60, 200), "green": (60, 200, 60), "red": (200, 60, 60)}
    data = write_pictures(tmp_path / "three", colours, each=5)
    command = [folder, "--data", data, "--output", tmp_path / "out", "--epochs", 1]
    command += ["--learning-rate", 1e-9, "--weight-decay", 0]
    assert train(*command, "--from", trained, "--eval-fraction", 0.4) == 0
    assert "new weights for 3 classes: head.bias, head.weight" in capsys.readouterr().out
    before, after = load_file(trained / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert after["head.weight"].shape == (3, 4)
    torch.testing.assert_close(after["body.weight"], before["body.weight"], rtol=0, atol=1e-6)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"] == dict(
        zip("012", colours, strict=True)
    )


def test_the_same_seed_holds_out_the_same_pictures_of_every_class():
    labels = [0] * 50 + [1] * 20 + [2] * 10

    def drawn(seed):
        return hold_out(80, 0.2, seed, "pictures", classes=labels)

    kept, held = drawn(3)
    assert sorted(kept + held) == list(range(80))
    assert [sum(labels[i] == c for i in held) for c in (0, 1, 2)] == [10, 4, 2]
    assert drawn(3) == (kept, held) != drawn(4)


def test_set_reaches_configuration_and_image_processor(folder, pictures, tmp_path):
    output = tmp_path / "out"
    arguments = ["--set", "image_size=4", "--set", "width=3", "--epochs", 1]
    assert train(folder, "--data", pictures, "--output", output, *arguments) == 0
    assert load_file(output / "model.safetensors")["body.weight"].shape == (3, 48)
    assert json.loads((output / "preprocessor_config.json").read_text())["image_size"] == 4


def broken(root: Path, name: str, content: bytes) -> Path:
    """A copy of the pictures with one file more."""
    path = write_pictures(root / "data", {"a": (0, 0, 0), "b": (255, 255, 255)}, each=5)
    (path / name).write_bytes(content)
    return path


MISTAKES = {
    "no such folder": (lambda f, d, t: ["nowhere", "--data", d], "nowhere: no such folder"),
    "no model": (lambda f, d, t: [t, "--data", d], "defines a PreTrainedModel"),
    "no data": (lambda f, d, t: [f, "--data", t / "none"], "no such folder; give 'digits'"),
    "empty data": (lambda f, d, t: [f, "--data", t], "0 class folders"),
    "one class": (lambda f, d, t: [f, "--data", write_pictures(t / "d", {"a": (0, 0, 0)})], "1 class folders"),
    "empty class": (
        lambda f, d, t: [f, "--data", (write_pictures(t / "d", {"a": (0, 0, 0)}) / "b").mkdir() or t / "d"],
        "no pictures in b",
    ),
    "too few": (
        lambda f, d, t: [f, "--data", write_pictures(t / "d", {"a": (0, 0, 0), "b": (1, 1, 1)}, each=1)],
        "the smallest class having 1",
    ),
    "no picture": (lambda f, d, t: [f, "--data", broken(t, "a/x.png", b"hello")], "x.png: cannot be opened"),
    "cut off": (
        lambda f, d, t: [f, "--data", broken(t, "a/x.png", (d / "red" / "00.png").read_bytes()[:200])],
        "x.png: cannot be opened",
    ),
    "unknown field": (lambda f, d, t: [f, "--data", d, "--set", "depth=3"], "KEY being one of image_size, width"),
    "no value": (lambda f, d, t: [f, "--data", d, "--set", "width"], "KEY=VALUE is expected"),
    "refused value": (lambda f, d, t: [f, "--data", d, "--set", "width=0"], "width=0 must be positive"),
    "no checkpoint": (lambda f, d, t: [f, "--data", d, "--from", t / "none"], "no checkpoint; give a directory"),
    "no weights": (lambda f, d, t: [f, "--data", d, "--from", f], "no checkpoint; give a directory"),
    "output is a file": (lambda f, d, t: [f, "--data", d, "--output", f / "modeling_patch.py"], "File exists"),
    "output is in use": (lambda f, d, t: [f, "--data", d, "--output", f], "contains other files"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake, folder, pictures, tmp_path, capsys):
    arguments, words = MISTAKES[mistake]
    arguments = arguments(folder, pictures, tmp_path)
    if "--output" not in arguments:
        arguments += ["--output", tmp_path / "out", "--epochs", 1]
    assert train(*arguments) == 2
    error = last_error(capsys)
    assert error.startswith("pinfold train: ") and words in error


def test_code_that_cannot_be_imported_is_named(folder, pictures, tmp_path, capsys):
    copied = shutil.copytree(folder, tmp_path / "copy")
    (copied / "modeling_patch.py").write_text("import no_such_package\n" + MODELING)
    assert train(copied, "--data", pictures, "--output", tmp_path / "out") == 2
    assert (
        "modeling_patch.py: ModuleNotFoundError on import (No module named 'no_such_package')"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("argument", ["--epochs=0", "--learning-rate=-1", "--batch-size=many", "--eval-fraction=1.5"])
def test_numbers_out_of_range_are_refused(argument, folder, pictures, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        train(folder, "--data", pictures, "--output", tmp_path / "out", argument)
    assert stopped.value.code == 2 and "must be" in capsys.readouterr().err
