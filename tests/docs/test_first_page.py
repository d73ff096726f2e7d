"""The commands and snippets of README.md run, in the order in which a newcomer meets them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pages import SHA, block
from helpers.processes import ROOT, clean_environment

USERS_HUB = "/home/you/.local/share/pinfold/hub"  # what the page shows; the tests' own is elsewhere
pytestmark = pytest.mark.slow


def test_the_output_on_the_first_screen_is_what_a_push_prints(place):
    def shape(text):
        text = re.sub(r"\b[0-9a-f]{12,40}\b", "HEX", text)
        return re.sub(r"[\d.]+|\(sandboxed:[^)]*\)", "N", re.sub(r"; (partly )?sandboxed[^)]*\)", ")", text)).strip()

    shown = [shape(line) for line in block("README", "text", "push to local").splitlines() if line]
    assert shown[0].endswith(shape(USERS_HUB))
    pushed = re.sub("(?<=on the embedded Hub in ).*", USERS_HUB, place[2])
    printed = [shape(line) for line in pushed.splitlines()]
    # how far a machine fences is its own matter; that it says so is not
    assert any("sandboxed: " in line for line in printed)
    assert [line for line in shown if line not in printed and "sandboxed: " not in line] == []


def test_the_lines_that_serve_and_the_snippet_are_what_a_push_prints(place):
    # the tests' Hub is not in the default directory, which needs no --data
    printed = re.sub(r"(?<=pinfold hub) --data \S+", "", SHA.sub("HEX", place[2]))
    for line in SHA.sub("HEX", block("README", "python", "local/resnet-digits")).splitlines():
        assert line in printed
    serve, export = block("README", "bash", "--port 7870   #").splitlines()
    assert serve.removeprefix(".venv/bin/") in printed and export in printed


def test_the_snippet_loads_from_another_folder(place, tmp_path):
    _, _, pushed, address, _ = place
    code = SHA.sub(SHA.search(pushed)[0], block("README", "python", "local/resnet-digits"))
    code += "\nprint('LOADED', type(model).__name__, type(processor).__name__)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean_environment(tmp_path / "home", **address),
        capture_output=True, text=True,
    )  # fmt: skip
    assert "LOADED ResnetModelForImageClassification ResnetImageProcessor" in done.stdout, done.stderr
    offline = block("load", "bash", "HF_HUB_OFFLINE").split("export ")[1].strip().split("=")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean_environment(tmp_path / "home", **dict([offline])),
        capture_output=True, text=True,
    )  # fmt: skip
    assert "LOADED" in done.stdout, done.stderr


def test_a_model_in_five_minutes(tmp_path):
    """The files as the page shows them, and its commands, from an empty directory."""
    (tmp_path / "my_model").mkdir()
    (tmp_path / "my_model" / "configuration_my.py").write_text(block("README", "python", "class MyConfig"))
    (tmp_path / "my_model" / "modeling_my.py").write_text(block("README", "python", "class MyForSequence"))
    (tmp_path / "my_model" / "card.md").write_text(block("README", "markdown", "license"))
    (tmp_path / "make_checkpoint.py").write_text(block("README", "python", "save_pretrained"))
    lines = [line.split("  #")[0].strip() for line in block("README", "bash", "make_checkpoint").splitlines()]
    assert lines[0].startswith("pip install ") and len(lines) == 4
    scripts = Path(sys.executable).parent
    environment = clean_environment(
        tmp_path / "home", PYTHONPATH=str(ROOT), PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}"
    )
    printed = ""
    for line in lines[1:]:
        done = subprocess.run(["bash", "-euc", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr[-2000:])
        printed += done.stdout
    assert "my_model: 0 errors, 0 warnings; by its code it loads in 4.48-" in printed
    assert "audit    nothing found" in printed
    assert re.search(r"Published local/my-model at [0-9a-f]{40}", printed)
