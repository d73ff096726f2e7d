"""On which condition a setting is read in forward, as a forecast says it (P15)."""

import pytest
from corpus.net_folder import findings

FORWARD = """
class Wide(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, x, y=None, fast=False, mode="a", **kwargs):
        {line}
        return x
"""


def where(tmp_path, line):
    """The condition that a finding about config.depth names."""
    (finding,) = findings(tmp_path, "P15", FORWARD.format(line=line), "self.wide = Wide(config)")
    return finding.where


@pytest.mark.parametrize(
    "line",
    [
        "x = x * self.config.depth",
        "y = y if y is not None else self.config.depth",
        "y = self.config.depth if y is None else y",
        "y = self.config.depth if not fast else y",
        "if fast:\n            pass\n        else:\n            x = x * self.config.depth",
        "if self.config.depth:\n            x = x + 1",
        "if y is None:\n            if not fast:\n                x = x * self.config.depth",
    ],
)
def test_what_the_defaults_of_a_function_choose_runs_in_a_plain_call(line, tmp_path):
    assert where(tmp_path, line) == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("if fast:\n            x = x * self.config.depth", "where fast"),
        ("y = y if y is None else self.config.depth", "where y is not None"),
        ("x = x if self.training else x * self.config.depth", "where not (self.training)"),
        ("x = x if x.ndim == 2 else x * self.config.depth", "where x.ndim != 2"),
        ("if mode == 'a':\n            x = x * self.config.depth", "where mode == 'a'"),
        ("y = x\n        if y is None:\n            x = x * self.config.depth", "where y is None"),
        ("if x.any():\n            if y is None:\n                x = x * self.config.depth", "where x.any()"),
    ],
)
def test_what_a_caller_or_the_input_decides_is_said(line, words, tmp_path):
    assert where(tmp_path, line) == words
