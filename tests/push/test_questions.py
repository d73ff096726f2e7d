"""A push that the audit stops also asks for the inputs that nothing says."""

import json
import types
from dataclasses import replace
from pathlib import Path

import pytest

from pinfold.audit.finding import Finding
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder
from pinfold.push import questions
from pinfold.staging.stage import Staged

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
    (directory := folder.with_name("staged")).mkdir()
    (directory / "config.json").write_text('{"is_decoder": true}')
    entries = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    return Staged(directory, read_folder(folder), entries, {"architectures": ["OwnModel"]}, [], [])


@pytest.fixture
def runs(monkeypatch):
    """The models that were run, and what their sandbox says."""
    every = types.SimpleNamespace(says=ASKED, count=0, source="")

    def reference(of, *_):
        every.count += 1
        every.source = (of.folder.path / "modeling_own.py").read_text()
        raise UserError(every.says)

    monkeypatch.setattr(questions.verify, "reference", reference)
    return every


@pytest.mark.parametrize("names", ["x_num, x_cat=None", "points", "node_features, edge_index", "input_features"])
def test_inputs_that_no_name_explains_are_asked_for_at_once(tmp_path, runs, names):
    lines = questions.probe_asked(staged(tmp_path / "own", names), tmp_path, tmp_path, [P18, P08])
    assert lines == [ASKED] and runs.count == 1


@pytest.mark.parametrize("names", ["input_ids, age", "pixel_values, *, camera", "tokens, input_ids=None"])
def test_an_argument_beside_words_and_pictures_is_asked_for(tmp_path, runs, names):
    assert questions.probe_asked(staged(tmp_path / "own", names), tmp_path, tmp_path, [P18]) == [ASKED]


@pytest.mark.parametrize("names", ["input_ids", "points"])
def test_what_nothing_else_is_wrong_with_is_run_whatever_it_takes(tmp_path, runs, names):
    assert questions.probe_asked(staged(tmp_path / "own", names), tmp_path, tmp_path, []) == [ASKED]
    assert runs.count == 1


@pytest.mark.parametrize("end", ["", "    def __init__(self, width=4, **kwargs):\n        self.width = width\n"])
def test_what_keeps_a_model_from_being_built_is_corrected_in_a_copy(tmp_path, runs, end):
    own = staged(tmp_path / "own", "points")
    wrong = "super().__init__(is_decoder=True, **kwargs)\n"
    text = (tmp_path / "own" / "modeling_own.py").read_text()
    head = end or "    def __init__(self, **kwargs):\n"
    text = text.replace('    model_type = "own-inputs"\n', f'    model_type = "own-inputs"\n\n{head}        {wrong}')
    (tmp_path / "own" / "modeling_own.py").write_text(text)
    own = replace(own, folder=read_folder(tmp_path / "own"))
    assert questions.probe_asked(own, tmp_path, tmp_path, [P18]) == [ASKED]
    assert "super().__init__(is_decoder=is_decoder, **kwargs)" in runs.source
    assert (tmp_path / "own" / "modeling_own.py").read_text() == text


def test_a_folder_that_cannot_be_corrected_is_run_as_it_is(tmp_path, runs):
    own = staged(tmp_path / "own", "points")
    (tmp_path / "elsewhere.py").write_text("import torch\n")
    (tmp_path / "own" / "helper.py").symlink_to(tmp_path / "elsewhere.py")
    assert questions.probe_asked(own, tmp_path, tmp_path, [P18]) == [ASKED]
    assert runs.count == 1


@pytest.mark.parametrize("names", ["input_ids", "pixel_values", "input_ids=None, input_values=None"])
def test_a_model_with_inputs_that_have_a_name_is_not_run_for_it(tmp_path, runs, names):
    assert questions.probe_asked(staged(tmp_path / "own", names), tmp_path, tmp_path, [P18]) == []
    assert runs.count == 0


def test_code_with_a_finding_of_security_is_not_run(tmp_path, runs):
    assert questions.probe_asked(staged(tmp_path / "own", "points"), tmp_path, tmp_path, [P18, S03]) == []
    assert runs.count == 0


def test_an_answered_question_is_not_asked_again(tmp_path, runs):
    own = staged(tmp_path / "own", "points")
    (tmp_path / "own" / "probe.json").write_text("{}")
    assert questions.probe_asked(own, tmp_path, tmp_path, [P18]) == [] and runs.count == 0


def test_what_may_follow_from_the_other_faults_is_not_said(tmp_path, runs):
    runs.says = "D01 own: NameError: name 'einops' is not defined"
    assert questions.probe_asked(staged(tmp_path / "own", "points"), tmp_path, tmp_path, [P08]) == []


@pytest.mark.parametrize(
    "probe",
    [
        {"x": {"shape": [2, 3]}},
        {"sample": {"shape": [2, 1, 16, 16], "values": "wave"}, "timestep": {"shape": [2], "below": 200}},
        {"query_input_ids": {"text": ['a "quoted" row', "this one: {"]}, "k": {"values": None}, "z": {"values": []}},
    ],
)
@pytest.mark.parametrize("lead", ["put probe.json beside card.md; forward takes", "TypeError: {'a': 1}; correct"])
def test_a_ready_probe_has_lines_of_its_own(probe, lead):
    lines = questions.laid_out(f"{lead} this one: {json.dumps(probe)}").split("\n")
    assert lines[:2] == [f"{lead} this one:", ""] and len(lines) == len(probe) + 4
    assert json.loads("\n".join(lines[2:])) == probe


@pytest.mark.parametrize("why", ["no probe", 'put this one: {"x": {"shape": [2, …', "this one: []", ASKED])
def test_what_is_no_probe_stays_as_it_is(why):
    assert questions.laid_out(why) == why
