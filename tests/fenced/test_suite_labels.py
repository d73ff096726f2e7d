"""The suite with losses and outputs of other kinds: pairs of rows, noise, pictures, dicts; and what its lines say."""

import pytest
from helpers import common

from pinfold.fenced import values
from pinfold.fenced.suite import table
from pinfold.verify import suite as check_suite

CONFIGURATION = """from transformers import PretrainedConfig


class OtherConfig(PretrainedConfig):
    model_type = "custom-other"


OtherConfig.register_for_auto_class()
"""
MODELING = """import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from .configuration_other import OtherConfig


class OtherModel(PreTrainedModel):
    config_class = OtherConfig
    main_input_name = "x"

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(9, 4)
        self.first = nn.Linear(6, 4)
        self.second = nn.Linear(4, 6)
        self.third = nn.Linear(4, 2)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(0, 0.5)

FORWARD

OtherModel.register_for_auto_class("AutoModel")
"""
LARGE = '{"x": {"shape": [2, 8, 6]}}'


def folder_of(tmp_path, forward, probe):
    folder = tmp_path / "other_model"
    folder.mkdir()
    (folder / "configuration_other.py").write_text(CONFIGURATION)
    body = "\n".join(f"    {line}" for line in forward.strip().splitlines())
    (folder / "modeling_other.py").write_text(MODELING.replace("FORWARD", body))
    (folder / "probe.json").write_text(probe)
    return folder


def answers(folder, *checks):
    return {check: common.answer(folder, "AutoModel", "cpu", check) for check in checks}


ONE_EACH = '{"x": {"shape": [2, 6]}, "y": {"shape": [2, 6]}}'
STEPS = '{"x": {"shape": [2, 3, 6]}, "y": {"shape": [2, 3, 6]}}'
PAIRS = {
    "vectors": ("def forward(self, x, y):\n    return {'scores': self.first(x) @ self.first(y).T}", ONE_EACH),
    "late interaction": (
        "def forward(self, x, y):\n"
        "    pairs = torch.einsum('qmh,dnh->qdmn', self.first(x), self.first(y))\n"
        "    return {'scores': pairs.max(-1).values.sum(-1)}",
        STEPS,
    ),
    "several numbers of a pair": (
        "def forward(self, x, y):\n    return {'scores': self.third(self.first(x)[:, None] * self.first(y)[None])}",
        ONE_EACH,
    ),
    "one input": (
        "def forward(self, x):\n    return {'scores': self.first(x) @ self.first(x).T}",
        '{"x": {"shape": [2, 6]}}',
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_an_output_of_pairs_of_rows_is_compared_with_its_own_pair(tmp_path, name):
    said = answers(folder_of(tmp_path, *PAIRS[name]), "row alone", "batch of one")
    assert {state for state, _ in said.values()} == {table.PASSED}, said
    assert "scores has a number for each pair of rows" in said["row alone"][1]


WRONG = {
    "pairs that depend on the other rows": (
        "def forward(self, x, y):\n    return {'scores': (self.first(x) @ self.first(y).T).softmax(0)}",
        ONE_EACH,
        "row alone",
        "rows are mixed up",
    ),
    "classes that are squeezed": (
        "def forward(self, x):\n    return {'scores': self.third(self.first(x)).squeeze()}",
        '{"x": {"shape": [2, 6]}}',
        "batch of one",
        "see squeeze() without dim",
    ),
    "a mean over rows": (
        "def forward(self, x):\n    return {'scores': self.first(x - x.mean(0))}",
        '{"x": {"shape": [2, 6]}}',
        "row alone",
        "rows are mixed up",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_rows_that_are_mixed_up_fail_all_the_same(tmp_path, name):
    forward, probe, check, words = WRONG[name]
    state, said = answers(folder_of(tmp_path, forward, probe), check)[check]
    assert state == table.FAILED and words in said, said


NOISE = """def forward(self, x, class_labels=None, noise=None):
    hidden = self.first(x if noise is None else x + noise)
    if class_labels is not None:
        hidden = hidden + self.words(class_labels)[:, None]
    out = self.second(hidden)
    return {"sample": out} if noise is None else {"loss": F.mse_loss(out, noise), "sample": out}
"""
RESTORES = """def forward(self, x, labels=None):
    out = self.second(self.first(x))
    return {"audio": out} if labels is None else {"loss": F.l1_loss(out, labels.reshape(out.shape)), "audio": out}
"""
HEADS = """def forward(self, x, labels=None):
    hidden = self.third(self.first(x["a"]) + self.words(x["b"]))
    logits = {"click": hidden[:, 0], "buy": hidden[:, 1]}
    if labels is None:
        return {"logits": logits}
    each = [F.binary_cross_entropy_with_logits(logits[n], labels[n].float()) for n in logits]
    return {"loss": sum(each), "logits": logits}
"""
IN_DICT = '{"x": {"a": {"shape": [2, 6]}, "b": {"shape": [2], "values": "ramp", "below": 9}}}'
LOSSES = {
    "noise beside the class that is drawn": (NOISE, LARGE, "noise"),
    "a picture or a sound itself": (RESTORES, LARGE, "labels"),
    "a dict of labels": (HEADS, IN_DICT, None),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_found_for_targets_of_other_kinds(tmp_path, name):
    forward, probe, target = LOSSES[name]
    checks = ("labels matter", "learns", "frozen stays", "half", "autocast", "row alone", "same twice")
    said = answers(folder_of(tmp_path, forward, probe), *checks)
    assert table.FAILED not in {state for state, _ in said.values()}, said
    assert said["frozen stays"][0] == said["row alone"][0] == said["same twice"][0] == table.PASSED, said
    if target:
        assert said["labels matter"] == (table.PASSED, target)


@pytest.mark.parametrize("ending", ["", ", main_input_name"])
def test_trainer_steps_over_a_dict_where_the_main_input_is_a_tensor(tmp_path, ending):
    folder = folder_of(tmp_path, HEADS, IN_DICT)
    code = folder / "modeling_other.py"
    if ending:
        code.write_text(code.read_text().replace('main_input_name = "x"', 'main_input_name = "y"'))
    state, said = answers(folder, "trainer step")["trainer step"]
    assert state == (table.PASSED if ending else table.FAILED), said
    assert ending or "set main_input_name to an argument that is a tensor" in said


CONDITIONED = """def forward(self, x, class_labels=None):
    hidden = self.first(x)
    return {"sample": hidden if class_labels is None else hidden + self.words(class_labels)}
"""
IGNORES = "def forward(self, x, labels=None):\n    return {'sample': self.first(x)}"
TWO = "def forward(self, x, labels=None, class_labels=None):\n    return {'sample': self.first(x)}"


@pytest.mark.parametrize(
    ("forward", "state", "words"),
    [
        (CONDITIONED, table.NOT_APPLICABLE, "forward takes no labels"),
        (IGNORES, table.FAILED, "forward takes labels, and gives no loss"),
        (TWO, table.FAILED, "forward takes class_labels and labels, and gives no loss"),
    ],
)
def test_only_what_changes_no_output_is_called_labels(tmp_path, forward, state, words):
    folder = folder_of(tmp_path, forward, '{"x": {"shape": [2, 6]}}')
    said = answers(folder, "labels matter")["labels matter"]
    assert said[0] == state and words in said[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Only leaves are copied.\nWhat is written below it is advice, and an address: https://example.org",
            "Only leaves",
        ),
        (
            "Only leaves are copied, and this is none.\nSee also:\nhttps://example.org/a-long-page-of-advice",
            "Only leaves",
        ),
        ("Error(s) in loading state_dict:\n\tsize mismatch for w", "Error(s) in loading state_dict: … size mismatch"),
        ("one line", "one line"),
        ("mat1 and mat2 cannot be multiplied (2x6 and 5x3)\n" + "frame\n" * 6, "mat1 and mat2 cannot be multiplied"),
    ],
)
def test_an_error_is_shown_by_what_it_says_first(text, said):
    shown = values.first_line(RuntimeError(text))
    assert shown.startswith(said) and "frame" not in shown and "\n" not in shown
    assert values.first_line(RuntimeError("")) == ""


def test_one_cause_is_one_line():
    def result(check, text, version="5.0.0", state=table.FAILED):
        return check_suite.Result(version, "AutoModel", "M", "cpu", check, state, text, 0.0)

    results = [result(check, "no loss") for check in ("learns", "autocast", "half")]
    results += [result("documented", "no docstring"), result("learns", "no loss", "4.57.6")]
    shown = list(check_suite.lines(results))
    assert "  autocast, half (1): no loss" in shown and "  learns (1, 2): no loss" in shown
    assert "  documented (1): no docstring" in shown
