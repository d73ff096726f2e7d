"""Overlays of older transformers, and the matrix that runs in them."""

import json
import threading
import time

import pytest
from helpers.processes import ROOT

from pinfold.cli import compat
from pinfold.common.errors import UserError
from pinfold.fence import overlays
from pinfold.folder import releases
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import matrix
from pinfold.verify.verify import Unverified


def test_a_requirement_that_the_environment_satisfies_is_shared(overlay):
    names = {p.name.split("-")[0] for p in overlay("4.57.6").glob("*.dist-info")}
    assert {"transformers", "tokenizers", "huggingface_hub"} <= names
    assert not names & {"torch", "numpy", "PyYAML", "pyyaml", "safetensors", "regex"}


def test_an_overlay_that_was_not_made_is_named_with_its_cure(tmp_path):
    with pytest.raises(UserError, match=r"install with: pinfold compat make 4\.50\.0"):
        overlays.find_overlay("4.50.0", tmp_path)


def test_an_interrupted_installation_does_not_look_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(overlays, "_pip_install", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        overlays.make_overlay("4.50.0", tmp_path)
    with pytest.raises(UserError, match="is not installed in"):
        overlays.find_overlay("4.50.0", tmp_path)


def test_a_version_that_does_not_exist_is_one_line(pinfold):
    done = pinfold("compat", "make", "4.999.0")
    assert done.returncode == 2 and "cannot install transformers==4.999.0" in done.stderr
    done = pinfold("compat", "make", "latest")
    assert done.returncode == 2 and "'latest' is not a release of transformers" in done.stderr


@pytest.fixture
def old_and_new(overlay, monkeypatch):
    """4.48.3 is at hand."""
    overlay("4.48.3")
    monkeypatch.chdir(ROOT)


@pytest.fixture
def published(tiny_folder, tiny_checkpoint, tmp_path):
    """A staged directory, as it would be on the Hub."""
    (tmp_path / "published").mkdir()
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "published").directory


def test_a_directory_that_acts_is_not_run_where_nothing_shuts_it_in(published, monkeypatch, capsys):
    path = published / "modeling_tiny.py"
    path.write_text(path.read_text() + "\nimport os\nos.system('true')\n")
    monkeypatch.setattr("pinfold.fence.sandbox.available", lambda: compat.fence.Fence())
    with pytest.raises(UserError, match="S02 was found and this machine cannot sandbox it"):
        compat.load_in_versions(str(published), ["newest"], show=print)
    assert "audit: S02" in capsys.readouterr().out


@pytest.mark.slow
def test_a_directory_gives_the_same_numbers_in_4_48_and_the_newest(old_and_new, published):
    name, rows = compat.load_in_versions(str(published), ["newest", "4.48.3"])
    assert name == str(published) and [row.failure for row in rows] == ["", ""]
    assert rows[0].version == "4.48.3" != rows[1].version
    assert rows[0].hashes == rows[1].hashes and matrix.agree(rows)
    assert set(rows[0].hashes) == {"AutoModel", "AutoModelForSequenceClassification"}
    assert rows[0].checks["D08"] == "skipped: the class does not generate"
    assert all(rows[0].checks[code] == "ok" for code in matrix.CHECKS.keys() - {"D08"})


@pytest.mark.slow
def test_a_folder_that_breaks_in_the_newest_version_is_said_to(old_and_new, published):
    """Without post_init() 4.48 loads a model and 5 does not. The reference needs no loading, so it exists."""
    source = (published / "modeling_tiny.py").read_text()
    (published / "modeling_tiny.py").write_text(source.replace("        self.post_init()\n", ""))
    _, rows = compat.load_in_versions(str(published), ["4.48.3", "newest"])
    assert rows[0].checks["D01"] == "ok" and "all_tied_weights_keys" in rows[1].failure
    assert "fails in 5." in matrix.summary(rows) and not matrix.agree(rows)


@pytest.mark.slow
def test_releases_below_the_declared_floor_are_not_run(old_and_new, published):
    path = published / "configuration_tiny.py"
    path.write_text(path.read_text().replace("class TinyConfig", 'MIN_TRANSFORMERS = "5.1"\n\n\nclass TinyConfig'))
    lines = []
    _, rows = compat.load_in_versions(str(published), ["4.48.3", "newest"], show=lines.append)
    assert len(rows) == 1 and any("not run: 4.48.3; the folder declares 5.1" in line for line in lines)


def test_versions_are_chosen_once_and_in_order(old_and_new):
    own = releases.every_minor()[-1]
    assert matrix.choose(["newest", own, "4.48.3"]) == (["4.48.3", own], [])
    with pytest.raises(UserError, match=r"needs transformers 99\.0 or later"):
        matrix.choose(["newest"], lowest_version="99.0")
    minors = [version.rsplit(".", 1)[0] for version in releases.every_minor()]
    assert minors[0] == "4.48" and len(set(minors)) == len(minors) >= 30 and "5.0" in minors


ROWS = [
    matrix.Row("4.48.3", {"AutoModel": "ab" * 32}, "", 3.0, {"D01": "ok", "D07": "skipped: on the Hub"}),
    matrix.Row("5.0.0", {}, "D01 loading failed", 2.0, {"D01": "loading failed"}),
]


def test_the_table_says_what_passed_what_failed_and_what_was_left_out(tmp_path):
    path = matrix.write_tables("me/x@" + "0" * 40, ROWS, tmp_path / "new")
    text = path.read_text()
    brief, (head, _, good, bad) = text.splitlines()[2:6], text.splitlines()[7:11]
    assert brief[0] == "| transformers | checks passed | AutoModel |" and "D01 loading failed" in brief[3]
    assert "D01 loads" in head and "| AutoModel " in head
    assert "| 4.48.3" in good and "abababababab" in good and "left out" in good and "FAILS" in bad
    assert "- D07: skipped: on the Hub" in text and "fails in 5.0.0: D01 loading failed" in text
    assert "torch" in text.splitlines()[-1]
    value = json.loads(path.with_suffix(".json").read_text())
    assert value["agree"] is False and [row["version"] for row in value["rows"]] == ["4.48.3", "5.0.0"]


def test_rows_that_differ_do_not_agree():
    other = matrix.Row("5.0.0", {"AutoModel": "cd" * 32}, "", 1.0)
    assert matrix.agree(ROWS[:1]) and not matrix.agree([ROWS[0], other])
    assert "the numbers differ" in matrix.summary([ROWS[0], other])


def test_a_failure_in_one_version_keeps_the_others(monkeypatch):
    def loading(overlay):
        if overlay:
            raise Unverified("D03 differs", [{"check": "D03", "line": "differs"}], {"D01": "ok", "D03": "differs"})
        return {"hashes": {"AutoModel": "0"}, "checks": {"D01": "ok"}}

    monkeypatch.setattr(matrix, "find_overlay", lambda version: version == "4.48.3")
    rows = matrix.run_matrix(["4.48.3", "5.0.0"], loading, 0, 1, lambda row: None)
    assert [row.failure for row in rows] == ["D03 differs", ""] and rows[0].checks["D01"] == "ok"


def test_ctrl_c_ends_the_versions_that_run_beside(monkeypatch):
    """Fenced processes have a session of their own, so that nobody else would end them."""
    ended, waiting = threading.Event(), threading.Event()

    def loading(overlay):
        if overlay:
            waiting.wait(10)
            raise KeyboardInterrupt
        waiting.set()
        assert ended.wait(10)
        return {"hashes": {}}

    monkeypatch.setattr(matrix, "find_overlay", lambda version: version == "4.48.3")
    monkeypatch.setattr(matrix, "end_all", ended.set)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        matrix.run_matrix(["4.48.3", "5.0.0"], loading, 0, 1, lambda row: None)
    assert ended.is_set() and time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere/model@main", "cannot reach|no token|is not on"),
        ("a b", "owner/name"),
    ],
)
def test_a_target_that_is_none_is_one_line(pinfold, tmp_path, target, words):
    done = pinfold("compat", "run", target, "--versions", "newest", "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 2 and "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
