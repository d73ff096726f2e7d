"""Exported drawings: what a user does next with the folder, in other processes, releases and shells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.builder.drawings import random_state
from helpers.processes import ROOT, clean_environment, run_here

from pinfold.builder.drawing.state import read_state
from pinfold.builder.export.export import REPORT, export
from pinfold.builder.export.run import run
from pinfold.fence.overlays import MINIMUM_MATRIX, NEWEST, find_overlay

LOAD = """
import hashlib, json, sys
import torch, transformers
from transformers import AutoConfig
torch.set_num_threads(int(sys.argv[3]))
config = AutoConfig.from_pretrained(sys.argv[1], trust_remote_code=True)
model = getattr(transformers, sys.argv[2]).from_pretrained(sys.argv[1], trust_remote_code=True).eval()
# in memory of its own: where a file's tensors lie in it can change the last bits of what some processors compute
for tensor in [*model.parameters(), *model.buffers()]:
    tensor.data = tensor.data.clone()
inputs = {name: torch.tensor(value) for name, value in json.loads(sys.argv[4]).items()}
with torch.inference_mode():
    output = model(**inputs)
digest = hashlib.sha256()
tensors = {name: value for name, value in output.items() if hasattr(value, "dtype")}
for name in sorted(tensors):
    digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
print("SHA", transformers.__version__, digest.hexdigest())
"""


def quiet(event: dict) -> None:
    """Nobody reads the steps."""


def inputs_of(drawing, batch: int, length: int) -> dict:
    """What the builder's own run puts in, as lists."""
    from pinfold.fenced.cost.sizes import sized_inputs

    model = drawing.of.model_class(drawing.main)(drawing.of.config_class(**drawing.configuration()))
    return {name: tensor.tolist() for name, tensor in sized_inputs(model, {}, batch, length, None).items()}


def numbers_in(release: str, folder, auto: str, inputs: dict, home) -> str:
    """sha256 of the outputs of a load in a clean process with a release."""
    overlay = None if release == NEWEST else find_overlay(release)
    path = os.pathsep.join(map(str, filter(None, [overlay])))
    threads = str(max(1, (os.cpu_count() or 2) // 2))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), auto, threads, json.dumps(inputs)],
        cwd=home, env=clean_environment(home / "home", PYTHONPATH=path, HF_HUB_OFFLINE="1"),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("SHA ")]
    assert lines, done.stderr[-2000:]
    return lines[-1][2]


def releases() -> list[str]:
    """The newest, and those of the minimum matrix that are installed here."""
    return [NEWEST, *(release for release in MINIMUM_MATRIX if release != NEWEST and find_overlay(release))]


def hold(state: dict, tmp_path) -> None:
    """Export a drawing; check it, and load it in every release: the numbers are those of the builder's own run."""
    drawing = read_state(state)
    done = export(drawing, tmp_path / "out", quiet)
    folder = tmp_path / "out" / drawing.model_type
    assert done["folder"] == str(folder)
    checked = run_here("check", str(folder))
    assert checked.returncode == 0, checked.stdout
    assert not [line for line in checked.stdout.splitlines() if line.strip().startswith("error ")], checked.stdout
    own = run(drawing, 1, 12, quiet)
    inputs = inputs_of(drawing, 1, 12)
    for release in releases():
        assert numbers_in(release, folder, drawing.main, inputs, tmp_path) == own["sha256"], release


@pytest.mark.parametrize(("seed", "architecture"), [(1, "encoder"), (2, "encoder"), (1, "decoder"), (2, "decoder")])
def test_an_exported_folder_gives_the_numbers_of_the_builders_own_run(seed, architecture, tmp_path):
    hold(random_state(seed, architecture, small=True), tmp_path)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(3, 31))
@pytest.mark.parametrize("architecture", ["encoder", "decoder"])
def test_many_exported_folders_give_the_numbers_of_the_builders_own_run(architecture, seed, tmp_path):
    hold(random_state(seed, architecture, small=True), tmp_path)


@pytest.mark.slow
def test_the_folder_of_exports_can_be_a_path_from_here(tmp_path, monkeypatch):
    """As the command's own default is."""
    monkeypatch.chdir(tmp_path)
    drawing = read_state(random_state(8, "encoder", small=True))
    done = export(drawing, Path("runs/builder"), quiet)
    assert done["folder"] == f"runs/builder/{drawing.model_type}"
    assert (tmp_path / done["folder"] / REPORT).is_file()
    assert [path.name for path in (tmp_path / "runs/builder").iterdir()] == [drawing.model_type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "architecture"),
    [
        (7, "encoder"),
        pytest.param(8, "decoder", marks=pytest.mark.sweep),
        pytest.param(9, "encoder", marks=pytest.mark.sweep),
    ],
)
def test_an_exported_folder_is_pushed_pinned_and_loaded(seed, architecture, tmp_path):
    """By the command that the page prints; a push loads what it published, at its commit, from an empty cache."""
    state = random_state(seed, architecture, small=True)
    drawing = read_state(state)
    export(drawing, tmp_path / "out", quiet)
    variables = {"PINFOLD_HUB": str(tmp_path / "hub"), "HOME": str(tmp_path / "home")}
    pushed = subprocess.run(
        [sys.executable, "-m", "pinfold", "push", str(tmp_path / "out" / drawing.model_type)],
        cwd=tmp_path, env=clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT), **variables),
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    assert "Published local/" in pushed.stdout and "revision=" in pushed.stdout


@pytest.mark.slow
def test_an_exported_folder_converts_again_to_the_same_files(tmp_path):
    drawing = read_state(random_state(11, "encoder", small=True))
    export(drawing, tmp_path / "out", quiet)
    folder = tmp_path / "out" / drawing.model_type
    before = {path.name: path.read_bytes() for path in folder.glob("*.py")}
    assert run_here("convert", str(folder / f"modular_{drawing.model_type}.py"), "--check").returncode == 0
    assert before == {path.name: path.read_bytes() for path in folder.glob("*.py")}


@pytest.mark.slow
def test_an_attention_kind_that_no_layer_has_is_left_out(tmp_path):
    state = random_state(12, "encoder", small=True)
    layers = state["config"]["num_hidden_layers"]
    state["config"]["attention_type"] = ["local"] * layers
    drawing = read_state(state)
    export(drawing, tmp_path / "out", quiet)
    text = (tmp_path / "out" / drawing.model_type / f"modeling_{drawing.model_type}.py").read_text()
    assert "LocalWindowAttention(" in text and "StridedAttention" not in text and "RandomAttention" not in text
    report = json.loads((tmp_path / "out" / drawing.model_type / REPORT).read_text())
    assert report["drawing"] == state and report["checks"]["D06"] == "ok"


def test_a_folder_that_was_not_exported_is_left_alone(tmp_path):
    from pinfold.common.errors import UserError

    drawing = read_state(random_state(13, "decoder", small=True))
    mine = tmp_path / "out" / drawing.model_type
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="was not exported from this page"):
        export(drawing, tmp_path / "out", quiet)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
