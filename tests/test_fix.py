"""What the checker mends: the finding is gone, the rest of the file is as it was, and a second time finds nothing."""

import json
import subprocess
import sys

import pytest
import tiny
from conftest import clean_environment

from pinfold.errors import UserError
from pinfold.publish import fix
from pinfold.publish.audit import audit
from pinfold.publish.folder import read_folder
from pinfold.publish.stage import stage

TIED = tiny.MODELING.replace(
    "    accepts_loss_kwargs = False\n",
    '    accepts_loss_kwargs = False\n    _tied_weights_keys = ["classifier.weight"]\n\n'
    "    def get_input_embeddings(self):\n        return self.tiny.embedding\n\n"
    "    def get_output_embeddings(self):\n        return self.classifier\n",
).replace("nn.Linear(config.width, config.num_labels)", "nn.Linear(config.width, config.vocab_size, bias=False)")
UNFINISHED = tiny.MODELING.replace("        self.post_init()\n", "")


@pytest.fixture
def staged(tiny_folder, tiny_checkpoint, tmp_path):
    """A staged directory, free to be spoiled."""
    (tmp_path / "staged").mkdir()
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "staged").directory


def mended(directory):
    """Fix what can be fixed, twice; the codes that were cured."""
    found = fix.fixes(directory, read_folder(directory))
    fix.apply(found)
    assert fix.fixes(directory, read_folder(directory)) == []
    return sorted({code for each in found for code in each.codes})


def codes(directory):
    return {finding.code for finding in audit(directory, read_folder(directory))}


def edit(path, **keys):
    config = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}, indent=2) + "\n")


def test_post_init_is_called_at_the_end_of_every_init(tmp_path):
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=UNFINISHED)
    assert "P10" in codes(folder) and mended(folder) == ["P10"] and codes(folder) == set()
    assert (folder / "modeling_tiny.py").read_text() == tiny.MODELING


LOAD = """
import sys, torch
from transformers import AutoModelForSequenceClassification as Auto
model = Auto.from_pretrained(sys.argv[1], trust_remote_code=True)
print("LOADED", type(model).__name__)
"""


def test_a_folder_that_failed_to_load_loads_when_it_was_mended(staged, tmp_path):
    def load():
        environment = clean_environment(tmp_path / f"home-{len(list(tmp_path.iterdir()))}", HF_HUB_OFFLINE="1")
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(staged)], env=environment, capture_output=True, text=True
        )
        return done.stdout + done.stderr

    path = staged / "modeling_tiny.py"
    path.write_text(UNFINISHED)
    edit(staged / "config.json", auto_map={"AutoConfig": "configuration_tiny.TinyConfig"})
    assert "LOADED" not in load()
    assert mended(staged) == ["P01", "P10"]
    assert "LOADED TinyForSequenceClassification" in load()


def test_line_ends_and_everything_else_stay(tmp_path):
    folder = tiny.write_folder(tmp_path / "folder")
    source = UNFINISHED.replace('"""A bag', '"""A  bag').replace("\n", "\r\n")
    (folder / "modeling_tiny.py").write_bytes(source.encode())
    mended(folder)
    after = (folder / "modeling_tiny.py").read_bytes().decode()
    assert after.count("\r\n") == after.count("\n") == source.count("\n") + 2
    assert after.replace("        self.post_init()\r\n", "") == source


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # a way out before the end; on one line; a last line that the file does not show as one
        ("        self.post_init()\n", "        if config.width:\n            return\n        self.x = 1\n"),
        ("        self.post_init()\n", "        return None\n"),
        ("        self.post_init()\n", "        self.x = 1; self.y = 2\n"),
    ],
)
def test_an_init_that_ends_in_another_way_is_mended_or_left(tmp_path, old, new):
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=tiny.MODELING.replace(old, new))
    mended(folder)
    compile((folder / "modeling_tiny.py").read_text(), "x", "exec")
    source = (folder / "modeling_tiny.py").read_text()
    assert ("post_init" in source) == ("if config.width" not in source)


def test_one_tied_key_becomes_a_dictionary(tmp_path):
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=TIED)
    assert "P11" in codes(folder) and "P11" in mended(folder) and "P11" not in codes(folder)
    assert '    _tied_weights_keys = {"classifier.weight": "tiny.embedding.weight"}' in (
        (folder / "modeling_tiny.py").read_text().splitlines()
    )


@pytest.mark.parametrize(
    "keys",
    ['["a.weight", "b.weight"]', '[r"classifier.*"]', "KEYS", "[\n        'classifier.weight'\n    ]"],
)
def test_a_tie_whose_source_is_not_plain_is_left(tmp_path, keys):
    source = "KEYS = ['x']\n" + TIED.split('"""\n', 1)[1].replace('["classifier.weight"]', keys)
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=source)
    assert "P11" not in mended(folder)


def test_auto_map_is_completed_and_corrected_and_the_rest_of_the_file_stays(staged):
    path = staged / "config.json"
    edit(path, label2id=None)
    before = json.loads(path.read_text())
    edit(path, auto_map={"AutoConfig": "ghost.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"}, extra=[1, 2])
    assert {"P01", "P02"} <= codes(staged)
    assert mended(staged) == ["P01", "P02"]
    assert codes(staged) == set() and json.loads(path.read_text()) == before | {"extra": [1, 2]}
    assert path.read_text().startswith('{\n  "')


def test_code_of_another_repository_is_its_owners_matter(staged):
    edit(staged / "config.json", auto_map={"AutoModel": "other/code--m.X"})
    mended(staged)
    assert json.loads((staged / "config.json").read_text())["auto_map"]["AutoModel"] == "other/code--m.X"


def test_a_wrong_dtype_is_set_to_that_of_the_tensors(staged):
    edit(staged / "config.json", torch_dtype=None, dtype="float16")
    assert codes(staged) == {"P20"} and mended(staged) == ["P20"] and codes(staged) == set()
    config = json.loads((staged / "config.json").read_text())
    assert config["torch_dtype"] == "float32" and "dtype" not in config


def test_a_tokenizer_class_of_transformers_5_is_rewritten(staged):
    (staged / "tokenizer.json").write_text("{}")
    path = staged / "tokenizer_config.json"
    path.write_text(
        json.dumps({"tokenizer_class": "TokenizersBackend", "backend": "x", "extra_special_tokens": ["<a>"]})
    )
    assert {"P22", "P22b"} <= codes(staged) and mended(staged) == ["P22", "P22b"]
    assert json.loads(path.read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
    }
    assert json.loads((staged / "config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_folder_without_fault_is_not_touched(staged):
    assert fix.fixes(staged, read_folder(staged)) == []


def test_all_files_are_written_or_none(staged, monkeypatch):
    (staged / "modeling_tiny.py").write_text(UNFINISHED)
    edit(staged / "config.json", dtype="float16", torch_dtype=None)
    found = fix.fixes(staged, read_folder(staged))
    real, calls = fix._replace, []

    def failing(path, text):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(path, text)

    monkeypatch.setattr(fix, "_replace", failing)
    with pytest.raises(OSError, match="No space left"):
        fix.apply(found)
    assert len(found) == 2 and [each.path.read_text() for each in found] == [each.before for each in found]
    assert not list(staged.glob(".*"))


def test_a_link_out_of_the_folder_is_not_written_through(staged, tmp_path):
    outside = tmp_path / "outside.json"
    (staged / "config.json").rename(outside)
    edit(outside, dtype="float16", torch_dtype=None)
    (staged / "config.json").symlink_to(outside)
    before = outside.read_text()
    with pytest.raises(UserError, match="links out of the folder"):
        fix.fixes(staged, read_folder(staged))
    assert outside.read_text() == before


def test_the_diff_names_files_and_lines(tmp_path):
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=UNFINISHED)
    text = fix.diff(fix.fixes(folder, read_folder(folder)))
    assert text.startswith("--- a/modeling_tiny.py\n+++ b/modeling_tiny.py\n@@ ")
    assert [line for line in text.splitlines() if line.startswith("+ ")] == ["+        self.post_init()"] * 2
