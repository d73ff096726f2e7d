"""A push that the audit stops also asks for the inputs that nothing says."""

import types
from pathlib import Path

import pytest

from pinfold.audit.finding import Finding
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder
from pinfold.push import questions

MODEL = """from transformers import PretrainedConfig, PreTrainedModel


class OwnConfig(PretrainedConfig):
    model_type = "own-inputs"


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def forward(self, {names}, labels=None, **kwargs):
        return None
"""
P18, P08, S03 = (Finding(code, "a sentence") for code in ("P18", "P08", "S03"))
ASKED = 'D01 own: forward takes x, whose shape is unknown; put probe.json beside card.md: {"x": {"shape": [2, 3]}}'


def staged(folder: Path, names: str):
    folder.mkdir()
    (folder / "modeling_own.py").write_text(MODEL.format(names=names))
    return types.SimpleNamespace(
        folder=read_folder(folder), architecture="OwnModel", code_from=None, tokenizer_only=False
    )


@pytest.fixture
def runs(monkeypatch):
    """The models that were run, and what their sandbox says."""
    every = types.SimpleNamespace(says=ASKED, count=0)

    def reference(*_):
        every.count += 1
        raise UserError(every.says)

    monkeypatch.setattr(questions.verify, "reference", reference)
    return every


@pytest.mark.parametrize("names", ["x_num, x_cat=None", "points", "node_features, edge_index", "input_features"])
def test_inputs_that_no_name_explains_are_asked_for_at_once(tmp_path, runs, names):
    lines = questions.unknown_inputs(staged(tmp_path / "own", names), tmp_path, tmp_path, [P18, P08])
    assert lines == [f"then: {ASKED}"] and runs.count == 1


@pytest.mark.parametrize("names", ["input_ids", "pixel_values", "input_ids=None, input_values=None"])
def test_a_model_with_inputs_that_have_a_name_is_not_run_for_it(tmp_path, runs, names):
    assert questions.unknown_inputs(staged(tmp_path / "own", names), tmp_path, tmp_path, [P18]) == []
    assert runs.count == 0


def test_code_with_a_finding_of_security_is_not_run(tmp_path, runs):
    assert questions.unknown_inputs(staged(tmp_path / "own", "points"), tmp_path, tmp_path, [P18, S03]) == []
    assert runs.count == 0


def test_an_answered_question_is_not_asked_again(tmp_path, runs):
    own = staged(tmp_path / "own", "points")
    (tmp_path / "own" / "probe.json").write_text("{}")
    assert questions.unknown_inputs(own, tmp_path, tmp_path, [P18]) == [] and runs.count == 0


def test_what_may_follow_from_the_other_faults_is_not_said(tmp_path, runs):
    runs.says = "D01 own: NameError: name 'einops' is not defined"
    assert questions.unknown_inputs(staged(tmp_path / "own", "points"), tmp_path, tmp_path, [P08]) == []
