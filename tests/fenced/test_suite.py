"""The suite: a good folder passes all of it, each fault is found by the check that is named for it."""

import json
import re

import pytest
from corpus import suite_models
from helpers import common
from helpers.processes import ROOT
from huggingface_hub import CommitOperationAdd, HfApi

from pinfold.cli.main import main as command
from pinfold.common.errors import UserError
from pinfold.convert import eject
from pinfold.fence import overlays
from pinfold.fence import process as fence
from pinfold.fenced.suite import table, upstream
from pinfold.folder.model_folder import read_modules
from pinfold.verify import suite as check_suite

FOLDERS = sorted(path for path in ROOT.glob("*_model") if path.is_dir())
# What every run tests of our folders, one of each kind: a base, words, classes. All the others are of the sweep.
QUICK = {
    ("bert_model", "AutoModel"),
    ("decoder_model", "AutoModelForCausalLM"),
    ("sentiment_model", "AutoModelForSequenceClassification"),
}
# Faults of our own folders that are known and not fixed yet.
KNOWN = {}


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    return suite_models.write(tmp_path_factory.mktemp("suite") / "fine_model")


def failures(folder, auto, device="cpu"):
    """Check -> sentence, of those that fail; every other one says what it compared or why it does not apply."""
    sentences = {}
    for check in common.CHECKS:
        state, sentence = common.answer(folder, auto, device, check)
        assert sentence, (check, state)
        if state == table.FAILED:
            sentences[check] = sentence
    return sentences


@pytest.mark.slow
@pytest.mark.parametrize("auto", [suite_models.BASE, suite_models.WORDS, suite_models.TEXTS])
def test_a_good_model_passes_everything(fine, auto):
    assert failures(fine, auto) == {}
    applied = [c for c in common.CHECKS if c not in ("nested configurations", "ignored keys", "static cache")]
    if auto == suite_models.WORDS:  # nothing else may pass by not applying
        states = {c: common.answer(fine, auto, "cpu", c)[0] for c in applied if c != "problem types"}
        assert set(states.values()) == {table.PASSED}, states


@pytest.mark.parametrize("name", suite_models.FAULTS)
def test_a_fault_is_found_by_the_check_named_for_it(tmp_path, name):
    auto, file, old, new, check, word = suite_models.FAULTS[name]
    folder = suite_models.write(tmp_path / "faulty_model", (file, old, new))
    auto = suite_models.BASE if auto == suite_models.C else auto
    state, sentence = common.answer(folder, auto, "cpu", check)
    assert state == table.FAILED and word in sentence, sentence
    assert "\n" not in sentence and len(sentence) < 700


INFINITE = "        self.register_buffer('causal', torch.full((8, 8), -math.inf).triu(1))\n"
ENDS = "        self.gradient_checkpointing = False\n"
RIGHT = {
    "a saved mask with infinity in it": ((suite_models.M, ENDS, ENDS + INFINITE), ["every weight drawn", "ties"]),
    "dropout that no field sets": (
        (suite_models.M, "nn.Dropout(config.dropout)", "nn.Dropout(0.1)"),
        ["accumulation", "trainer step"],
    ),
    "five words": ((suite_models.C, "vocab_size=64", "vocab_size=5"), ["resize", "embeddings"]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_and_rare_passes(tmp_path, name):
    edit, checks = RIGHT[name]
    folder = suite_models.write(tmp_path / "rare_model", edit)
    answers = {check: common.answer(folder, suite_models.WORDS, "cpu", check) for check in checks}
    assert {state for state, _ in answers.values()} == {table.PASSED}, answers


def test_pictures_have_as_many_channels_as_the_configuration_says(tmp_path):
    """As the demo's, which its own config.json states."""
    (tmp_path / "config.json").write_text('{"model_type": "custom_resnet", "input_channels": 1}')
    folder = str(ROOT / "resnet_model")
    classes = common.subject.classes_of(folder, common.places(ROOT / "resnet_model"))
    subject = common.subject.prepare(folder, classes, "AutoModel", "cpu", str(tmp_path), str(tmp_path))
    assert subject.inputs["pixel_values"].shape[1] == 1


def test_a_folder_says_what_goes_into_its_models(tmp_path):
    """Here in batches of three, which the suite would not give by itself."""
    folder = suite_models.write(tmp_path / "own_model")
    (folder / "probe.json").write_text('{"input_ids": {"shape": [3, 8], "values": "ramp", "modulo": 60}}')
    assert list(common.prepared(folder, "AutoModel", "cpu").inputs["input_ids"].shape) == [3, 8]
    assert common.answer(folder, "AutoModel", "cpu", "same twice")[0] == table.PASSED
    state, sentence = common.answer(folder, "AutoModel", "cpu", "row alone")
    assert (state, sentence) == (table.NOT_APPLICABLE, "its inputs cannot be batched in twos")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Expecting property name"),
        ('{"input_ids": {"shape": [0]}}', "input_ids needs a shape of positive integers"),
        (
            '{"input_ids": {"shape": [2, 8], "values": "noise"}}',
            "input_ids: values must be wave, ramp or ones, and at most 100 million",
        ),
    ],
)
def test_a_broken_probe_is_named_itself_and_not_the_configuration(tmp_path, content, words):
    folder = suite_models.write(tmp_path / "own_model")
    (folder / "probe.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        common.prepared(folder, "AutoModel", "cpu")
    assert "probe.json" in str(caught.value) and "suite.json" not in str(caught.value)


def classes(folders):
    for folder in folders:
        for auto in common.places(folder):
            # of resnet_model, whose widths cannot be made small, a few checks are asked below
            marks = () if (folder.name, auto) in QUICK else pytest.mark.sweep
            yield pytest.param(folder, auto, id=f"{folder.name}-{auto}", marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "auto"), [*classes(FOLDERS)])
def test_our_model_folders_pass(folder, auto):
    sentences = failures(folder, auto)
    assert set(sentences) == KNOWN.get((folder.name, auto), set()), sentences


# What is wrong with transformers' own classes, in the words of the check; every other check passes.
UPSTREAM = {
    "llama": {
        # heads of one line without a docstring; the head of questions has a prefix that the base does not know; two
        # take **kwargs, and do not hand num_items_in_batch on to their loss
        "AutoModelForQuestionAnswering": {"documented", "head and base"},
        "AutoModelForSequenceClassification": {"documented", "accumulation"},
        "AutoModelForTokenClassification": {"documented", "accumulation"},
    },
    # positions count from the left, its embeddings are saved under a name that only the whole model has, and its loss
    # takes labels that are shifted already
    "bart": {"AutoModelForCausalLM": {"head and base", "ignored labels", "padding left", "prompts in a batch"}},
    "t5": {},
    "vit": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "vit" else pytest.mark.sweep) for n in UPSTREAM])
def test_what_transformers_own_models_fail_is_known(tmp_path, name):
    folder = tmp_path / f"my_{name}"
    eject.eject(name, folder)
    for auto in common.places(folder):
        sentences = failures(folder, auto)
        assert set(sentences) == UPSTREAM[name].get(auto, set()), (auto, sentences)


@pytest.mark.slow
def test_the_command_shows_a_table_and_writes_it_as_json(tmp_path, pinfold):
    fine = suite_models.write(tmp_path / "fine_model", suite_models.NO_HEADS)
    report = tmp_path / "report.json"
    done = pinfold("check", "--suite", fine, "--json", report)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout
    assert shown.index("What an audit cannot see") < shown.index("running its code, ") < shown.index("FineModel: 51")
    assert "1 FineModel (AutoModel), transformers" in shown and "0 failed" in shown
    assert "  nested configurations (1): it holds no other configuration" in shown
    rows = json.loads(report.read_text())["suite"]
    assert len(rows) == len(table.CHECKS) and {row["state"] for row in rows} == {table.PASSED, table.NOT_APPLICABLE}


def test_a_failure_is_exit_code_1_and_its_sentence_is_shown(forked, tmp_path, monkeypatch, capsys):
    folder = suite_models.write(
        tmp_path / "faulty_model", suite_models.FAULTS["no docstring"][1:4], suite_models.NO_HEADS
    )
    only = ["documented"]
    monkeypatch.setattr(check_suite, "run", lambda *a, one=check_suite.run, **k: one(*a, **k, only=only))
    assert command(["check", "--suite", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert "documented      FAILS\n" in shown and "suite: 0 passed, 1 failed, 0 not applicable" in shown
    assert "  documented (1): no docstring: FineModel; say what it takes" in shown


def test_a_repository_is_checked_at_a_commit_from_its_own_configuration(forked, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    folder = suite_models.write(tmp_path / "fine_model", suite_models.NO_HEADS)
    named = {"AutoConfig": "configuration_fine.FineConfig", "AutoModel": "modeling_fine.FineModel"}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "custom-fine", "num_hidden_layers": 1, "auto_map": named})
    )
    api = HfApi(endpoint=hub["url"], token=hub["token"])
    api.create_repo("local/suite-fine")
    files = [CommitOperationAdd(path.name, path.read_bytes()) for path in folder.iterdir()]
    sha = api.create_commit("local/suite-fine", files, commit_message="all").oid
    only = ["hidden states"]
    monkeypatch.setattr(check_suite, "run", lambda *a, one=check_suite.run, **k: one(*a, **k, only=only))
    report = tmp_path / "report.json"
    target = f"local/suite-fine@{sha}"
    assert command(["check", "--suite", target, "--endpoint", hub["url"], "--json", str(report)]) == 0
    assert f"local/suite-fine at {sha}" in capsys.readouterr().out
    (row,) = json.loads(report.read_text())["suite"]
    assert (row["state"], row["text"]) == (table.PASSED, "2 hidden_states")  # one layer, as config.json says


def test_code_with_a_security_error_is_not_run_without_a_fence(tmp_path, monkeypatch, capsys):
    top = '"""A small decoder with two heads."""\n'
    folder = suite_models.write(
        tmp_path / "bad_model", (suite_models.M, top, f'{top}import os\nos.system("touch {tmp_path}/ran")\n')
    )
    monkeypatch.setattr("pinfold.fence.sandbox.available", lambda: fence.Fence())
    assert command(["check", "--suite", str(folder)]) == 2
    output = capsys.readouterr()
    assert "is not run: S" in output.err and "error" in output.out and not (tmp_path / "ran").exists()


def test_a_folder_that_cannot_be_made_small_says_what_to_write(tmp_path):
    edit = (suite_models.M, suite_models.EMBEDDED, "        raise ValueError('only at night')\n")
    folder = suite_models.write(tmp_path / "odd_model", edit)
    results = table.run(str(folder), common.places(folder), "AutoModel", "cpu")
    assert [r["check"] for r in results] == ["can be run"] and results[0]["state"] == table.FAILED
    assert "only at night" in results[0]["text"] and "suite.json" in results[0]["text"]


def test_a_folder_can_say_its_own_tiny_configuration(fine, tmp_path):
    folder = suite_models.write(tmp_path / "own_model")
    (folder / "suite.json").write_text('{"config": {"hidden_size": 24, "num_hidden_layers": 3}}')
    subject = common.prepared(folder, "AutoModel", "cpu")
    assert (subject.config.hidden_size, subject.config.num_hidden_layers) == (24, 3)
    assert common.answer(folder, "AutoModel", "cpu", "hidden states") == (table.PASSED, "4 hidden_states")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"config": ', "suite.json: no"),
        ("\xff", "suite.json: no"),
        ("[]", 'suite.json: it has no "config"'),
        ('{"config": 3}', 'suite.json: it has no "config"'),
    ],
)
def test_a_tiny_configuration_that_is_none_is_one_line(tmp_path, text, words, capsys):
    folder = suite_models.write(tmp_path / "own_model")
    (folder / "suite.json").write_bytes(text.encode("latin-1"))
    assert command(["check", "--suite", str(folder)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and words in error and 'write {"config": {...}}' in error


def test_a_check_that_compares_nothing_has_failed(fine):
    subject = common.prepared(fine, "AutoModel", "cpu")
    assert table.result(lambda subject: None, subject) == (table.FAILED, "the check compared nothing")


def test_an_answer_that_the_folders_code_has_forged_is_refused():
    for results in ({"cpu": [{"check": "all is well"}]}, [], None, {"cpu": [{"check": "ties", "state": "fine"}]}):
        with pytest.raises(UserError, match=r"cannot be read .*: the folder's code tampered with it"):
            list(check_suite._read({"results": results}, "5.0.0", "AutoModel", "FineModel"))


def test_a_check_of_which_nothing_is_said_has_failed():
    every = [{"check": c, "state": table.PASSED, "text": "x", "seconds": 0} for c in common.CHECKS]
    broken = {"check": "can be run", "state": table.FAILED, "text": "x", "seconds": 0}
    for results in ({}, {"cpu": []}, {"cpu": every[1:]}, {"cuda": every}, {"cpu": every, "cuda": every[:-1]}):
        with pytest.raises(
            UserError, match=r"FineModel has failed: on (cpu|cuda) nothing is said of \d+ of its checks"
        ):
            check_suite._read({"results": results}, "5.0.0", "AutoModel", "FineModel")
    with pytest.raises(UserError, match=r"on cpu nothing is said of 1 of its checks .'ties' is the first"):
        check_suite._read({"results": {"cpu": every[:1]}}, "5.0.0", "AutoModel", "FineModel", ["ties"])
    for results, only in (
        ({"cpu": every}, None),
        ({"cpu": [broken]}, None),
        ({"cpu": every[:1]}, [every[0]["check"]]),
    ):
        answer = {"results": results}
        assert len(check_suite._read(answer, "5.0.0", "AutoModel", "FineModel", only)) == len(results["cpu"])
    passed = [{**broken, "state": table.PASSED}]
    with pytest.raises(UserError, match="on cpu nothing is said of"):
        check_suite._read({"results": {"cpu": passed}}, "5.0.0", "AutoModel", "FineModel")


def test_code_that_takes_the_checks_away_does_not_pass(forked, tmp_path):
    top = '"""A small decoder with two heads."""\n'
    forges = 'import sys\nsys.modules["_inside.suite.table"].CHECKS = ()\n'
    folder = suite_models.write(tmp_path / "bad_model", (suite_models.M, top, top + forges), suite_models.NO_HEADS)
    with pytest.raises(UserError, match="on cpu nothing is said of 51 of its checks") as caught:
        check_suite.run(read_modules(folder), [overlays.NEWEST])
    assert "\n" not in str(caught.value)


def test_the_list_says_what_each_check_is_for_and_what_has_no_counterpart(capsys):
    assert command(["check", "--suite", "--list"]) == 0
    shown = capsys.readouterr().out
    for name, check in common.CHECKS.items():
        assert name in shown and check.__doc__.startswith("Fails when ") and "\n" not in check.__doc__, name
    assert "test_multi_gpu_data_parallel_forward: needs several devices" in shown
    words = {*common.CHECKS, "can be run"}
    for test, said in upstream.TABLE.items():
        assert said in words or " " in said, test


@pytest.mark.parametrize(
    "arguments",
    [["--suite"], ["--list", "."], ["--suite", "nowhere"], ["--versions", "4.48.3", "."], ["--suite", "."]],
)
def test_a_wrong_call_is_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(["check", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("version", [pytest.param(v, marks=pytest.mark.sweep) for v in ("4.48.3", "4.57.6", "5.0.0")])
def test_a_good_model_passes_in_older_transformers(fine, overlay, version):
    overlay(version)
    results = check_suite.run(read_modules(fine), [version])
    assert [(r.auto, r.check, r.text) for r in results if r.state == table.FAILED] == []
    assert len(results) == 3 * len(table.CHECKS)


@pytest.mark.parametrize(
    ("auto", "device", "check"),
    common.cases(ROOT / "resnet_model", ["save and load", "buffers after loading", "checkpointing", "hidden states"]),
)
@pytest.mark.slow
def test_checks_can_be_asked_one_by_one(auto, device, check):
    common.ask(ROOT / "resnet_model", auto, device, check)
