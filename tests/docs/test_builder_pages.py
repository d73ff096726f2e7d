"""The commands of docs/builder.md."""

import re

import pytest
from helpers.builder.server import serving
from helpers.pages import PAGES, block
from helpers.processes import ROOT, run_here

pytestmark = pytest.mark.slow


def test_the_first_command_serves_the_page(tmp_path):
    assert block("builder", "bash", "pip install").splitlines()[1] == "pinfold builder"
    with serving(tmp_path / "out") as server:
        status, text = server.send("/")
        assert status == 200 and "<title>pinfold builder</title>" in text
        assert server.address.startswith("http://127.0.0.1:")


def test_a_folder_is_opened_with_the_command_of_the_page(tmp_path):
    words = block("builder", "bash", "--folder").split()
    assert words == ["pinfold", "builder", "--folder", "my_model", "--run"]
    with serving(tmp_path / "out", "--folder", str(ROOT / "sentiment_model"), "--run") as server:
        answer = server.ask("/api/schema")
        state = answer["architectures"]["folder"]["default"]
        assert answer["start"] == "folder" and "vocab_size" in state["config"]
        checked = server.ask("/api/check", {"state": state, "batch": 1, "length": 16})
        assert checked["ok"] and checked["costs"]["parameters"] > 0
        small = {**state, "config": {**state["config"], "vocab_size": 50}}
        assert server.events("/api/run", {"state": small, "length": 8})[-1]["finite"]
        done = server.events("/api/export", {"state": small})[-1]
        assert done["event"] == "result", done
        assert (tmp_path / "out" / "sentiment_model" / "modeling_sentiment.py").is_file()


def test_without_run_a_folders_code_stays_where_it_is(tmp_path):
    refused = run_here("builder", "--folder", str(ROOT / "sentiment_model"), "--output", str(tmp_path))
    assert refused.returncode == 2 and "add --run" in refused.stderr and "What an audit cannot see" in refused.stdout


def test_the_space_of_the_page_is_written(tmp_path):
    assert block("builder", "bash", "--space").split() == ["pinfold", "builder", "--space", "my_space"]
    written = run_here("builder", "--space", str(tmp_path / "my_space"))
    assert written.returncode == 0 and "hf upload" in written.stdout
    names = {path.name for path in (tmp_path / "my_space").iterdir()}
    assert names == {"app.py", "requirements.txt", "README.md", "pinfold", "bert_model", "decoder_model"}
    assert len((tmp_path / "my_space" / "app.py").read_text().splitlines()) <= 20
    again = run_here("builder", "--space", str(tmp_path / "my_space"))
    assert again.returncode == 2 and "is not an empty directory" in again.stderr


def test_the_limits_of_the_page_are_those_of_the_program():
    from pinfold.builder.drawing.schema import schema

    limits = schema()["limits"]
    for value in ("layers", "length", "batch", "run_length"):
        assert f"{limits[value]:,} " in PAGES["builder"], value
    assert f"{limits['run_parameters'] // 10**6} million parameters" in PAGES["builder"]


def test_the_keys_of_the_page_are_those_of_its_script():
    script = "".join(path.read_text() for path in (ROOT / "pinfold/builder/static").glob("*.js"))
    listed = re.findall(r"`(\w+)`", PAGES["builder"].partition("## Keys")[2].partition("##")[0])
    assert {"Enter", "Alt", "Delete", "Escape", "Ctrl", "Tab"} <= set(listed)
    for word in ("altKey", "ctrlKey", "Delete", "Escape", "KeyD", "ArrowUp"):
        assert word in script
