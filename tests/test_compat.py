"""Overlays of older transformers, and the matrix that runs in them."""

import pytest

from pinfold import compat
from pinfold.errors import UserError
from pinfold.publish.folder import read_folder
from pinfold.publish.stage import stage


def test_a_requirement_that_the_environment_satisfies_is_shared(overlay):
    names = {p.name.split("-")[0] for p in overlay("4.57.6").glob("*.dist-info")}
    assert {"transformers", "tokenizers", "huggingface_hub"} <= names
    assert not names & {"torch", "numpy", "PyYAML", "pyyaml", "safetensors", "regex"}


def test_an_overlay_that_was_not_made_is_named_with_its_cure(tmp_path):
    with pytest.raises(UserError, match=r"run: pinfold compat make 4\.50\.0"):
        compat.overlay("4.50.0", tmp_path)


def test_an_interrupted_installation_does_not_look_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(compat, "_pip_install", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compat.make_overlay("4.50.0", tmp_path)
    with pytest.raises(UserError, match="no overlay"):
        compat.overlay("4.50.0", tmp_path)


def test_a_version_that_does_not_exist_is_one_line(pinfold):
    done = pinfold("compat", "make", "4.999.0")
    assert done.returncode == 2 and "cannot install transformers==4.999.0" in done.stderr
    done = pinfold("compat", "make", "latest")
    assert done.returncode == 2 and "VERSION=latest is not a released version" in done.stderr


@pytest.fixture
def old_and_new(overlay, monkeypatch):
    """ "4.48.3" is an overlay, whatever the current directory."""
    directory = overlay("4.48.3")
    monkeypatch.setattr(compat, "overlay", lambda version: None if version == "newest" else directory)


@pytest.fixture
def published(tiny_folder, tiny_checkpoint, tmp_path):
    """A staged directory, as it would be on the Hub."""
    (tmp_path / "published").mkdir()
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "published").directory


def test_a_directory_gives_the_same_numbers_in_4_48_and_the_newest(old_and_new, published):
    rows = compat.run(str(published), ["4.48.3", "newest"])
    assert [row.failure for row in rows] == ["", ""] and rows[0].version == "4.48.3" != rows[1].version
    assert rows[0].hashes == rows[1].hashes
    assert set(rows[0].hashes) == {"AutoModel", "AutoModelForSequenceClassification"}


def test_a_folder_that_breaks_in_the_newest_version_is_said_to(old_and_new, published):
    """Without post_init() 4.48 loads a model and 5 does not. The reference needs no loading, so it exists."""
    source = (published / "modeling_tiny.py").read_text()
    (published / "modeling_tiny.py").write_text(source.replace("        self.post_init()\n", ""))
    rows = compat.run(str(published), ["4.48.3", "newest"])
    assert rows[0].failure == "" and "all_tied_weights_keys" in rows[1].failure


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
