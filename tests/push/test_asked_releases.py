"""Releases of transformers that a folder's own requirements leave out: in the audit, a push and its card."""

from types import SimpleNamespace

import pytest
from helpers import tiny

from pinfold.audit.examine import examine
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder
from pinfold.push import card
from pinfold.push.prepare import Preparation
from pinfold.verify import matrix

TIED = "    _tied_weights_keys = {'classifier.weight': 'tiny.embedding.weight'}\n"
EXPOSED = "    def get_output_embeddings(self):\n        return self.classifier\n\n"
HEAD = "class TinyForSequenceClassification(TinyPreTrainedModel):\n"


def tied(path, requirements="", constant=""):
    modeling = tiny.MODELING.replace(HEAD, HEAD + TIED + EXPOSED) + constant
    configuration = tiny.CONFIGURATION.replace("width=8, ", "width=8, tie_word_embeddings=True, ").replace(
        "super().__init__(**kwargs)", "super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)"
    )
    folder = tiny.write_folder(path, modeling_tiny=modeling, configuration_tiny=configuration)
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    return folder


@pytest.mark.parametrize(
    ("requirements", "constant", "silent"),
    [
        ("", "", False),
        ("transformers!=5.3.*\n", "", True),
        ("torch\ntransformers >= 4.48, != 5.3.*  # ties\n", "", True),
        ("", 'REQUIREMENTS = ("transformers<5",)\n', True),
        ("transformers>=4.48\n", "", False),
        ("transformers!=5.2.*\n", "", False),
    ],
)
def test_a_release_that_is_left_out_is_not_said_to_fail(tmp_path, requirements, constant, silent):
    report = examine(tied(tmp_path / "tied", requirements, constant), "tied")
    assert ("P11g" not in {f.code for f in report.findings}) is silent
    if silent:
        asked = "transformers<5, which leaves out 5.0-5.24" if constant else ", which leaves out 5.3"
        assert report.forecast.endswith(asked) and "loads in 4.48-" in report.forecast
        assert "4.48-5.24" not in report.forecast


def test_what_fails_where_nothing_is_asked_for_is_still_said(tmp_path):
    text = tiny.MODELING.replace(
        "config_class = TinyConfig", "config_class = TinyConfig\n    _tied_weights_keys = ['a']"
    )
    folder = tiny.write_folder(tmp_path / "listed", modeling_tiny=text)
    said = examine(folder, "listed").forecast
    assert "5.0" in said and "leaves out" not in said
    (folder / "requirements.txt").write_text("transformers<5\n")
    asked = examine(folder, "listed").forecast  # a load does not read requirements.txt
    assert asked == f"{said}; it asks for transformers<5, which leaves out 5.0-5.24"


@pytest.mark.parametrize(
    ("requirements", "releases", "line"),
    [
        ("", ["4.48.3", "5.24.0"], '"torch" "transformers>=4.48"'),
        ("transformers!=5.3.*", ["4.48.3", "5.24.0"], '"torch" "transformers>=4.48,!=5.3.*"'),
        ("transformers<5,>=4.40", ["4.48.3", "4.57.6"], '"torch" "transformers>=4.48,<5"'),
        ("transformers>=4.50", ["4.48.3", "4.57.6"], '"torch" "transformers>=4.50"'),
        ("transformers==4.57.6", ["4.57.6"], '"torch" "transformers==4.57.6"'),
        ("transformers==4.51.3", ["4.48.3", "5.24.0"], '"torch" "transformers>=4.48"'),
        ("transformers==4.30.1", ["4.48.3", "5.24.0"], '"torch" "transformers>=4.48"'),
    ],
)
def test_the_cards_pip_line(tmp_path, requirements, releases, line):
    folder = read_folder(tied(tmp_path / "tied", requirements))
    (tmp_path / "staged").mkdir()
    staged = SimpleNamespace(
        folder=folder, directory=tmp_path / "staged", code=["modeling_tiny.py"], tokenizer_only=False, auto_map={}
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(card.snippet, "parts", lambda staged: {})
        assert card.requirements(staged, releases) == line


def test_a_push_says_what_it_does_not_verify(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "find_overlay", lambda version: None)
    folder = read_folder(tied(tmp_path / "tied", "transformers!=5.3.*"))

    def choose(*versions):
        asking = SimpleNamespace(options=SimpleNamespace(versions=list(versions)))
        return Preparation.choose_releases(asking, folder)

    chosen = choose("4.48.3", "5.3.0")
    assert (chosen.chosen, chosen.left_out, chosen.asked) == (["4.48.3"], ["5.3.0"], "transformers!=5.3.*")
    with pytest.raises(UserError, match=r"asks for transformers!=5\.3\.\*, and 5\.3\.0 was chosen; add a release"):
        choose("5.3.0")
    assert choose("5.4.0").left_out == []
