"""P72: weights that the model changes once it is used, so that what is saved then is another model."""

import pytest
from corpus.net_folder import text_findings

from pinfold.audit.finding import ERROR

HEAD = (
    "self.head = nn.Linear(config.width, config.vocab_size)\n"
    "self.gain = nn.Parameter(torch.ones(8))\nself.done = False"
)


def found(tmp_path, forward="pass", more="", init="", **parts):
    parts = {"forward": forward, "more": more, "init": f"{HEAD}\n{init}", **parts}
    return [(f.severity, f.case) for f in text_findings(tmp_path, **parts) if f.code == "P72"]


ONCE = "if not self.done:\n    {}\n    self.done = True"
IN_PLACE = (
    "self.head.weight.div_(2)",
    "self.head.weight.data /= 2",
    "self.head.weight.data = self.head.weight.data / 2",
    "self.head.weight = nn.Parameter(self.head.weight * 0.5)",
    "self.gain.data.mul_(2)",
    "for weight in (self.head.weight, self.gain):\n        weight.mul_(2)",
    "for name, p in self.named_parameters():\n        p.data.mul_(2)",
    "weight = self.head.weight\n    weight.data.add_(1)",
)


@pytest.mark.parametrize("line", IN_PLACE)
def test_forward_changes_a_weight(tmp_path, line):
    assert found(tmp_path, ONCE.format(line)) == [(ERROR, "P72.in_place")]


METHODS = (
    "def scale(self):\n    if not self.done:\n        self.head.weight.data.mul_(2)\n    self.done = True",
    "def scale(self):\n    self.inner()\n\ndef inner(self):\n"
    "    with torch.no_grad():\n        self.head.weight.mul_(2)",
    "def scale(self):\n    w = self.head.weight\n    w.mul_(2) if self.training else w.div_(2)",
)


@pytest.mark.parametrize("more", METHODS)
def test_a_method_that_forward_calls(tmp_path, more):
    assert found(tmp_path, "self.scale()", more) == [(ERROR, "P72.in_place")]


TRAIN = "def train(self, mode=True):\n    {}\n    return super().train(mode)"
ADDS = "self.head.weight.data += self.gain"
MERGES = (
    TRAIN.format(f"if not mode and not self.done:\n        {ADDS}"),
    TRAIN.format(f"if mode:\n        self.done = False\n    else:\n        {ADDS}"),
    "def train(self, to_train: bool = True):\n    super().train(to_train)\n"
    "    if not to_train:\n        self.merge()\n\n"
    f"def merge(self):\n    {ADDS}",
)


@pytest.mark.parametrize("more", MERGES)
def test_evaluation_merges_a_part_into_a_weight(tmp_path, more):
    assert found(tmp_path, more=more) == [(ERROR, "P72.merged_by_train")]


@pytest.mark.parametrize(
    ("forward", "parts"),
    [
        ("if self.training:\n    self.head.weight.data.mul_(0.99)", {}),
        ("self.head.weight.data.mul_(0.99) if self.training else None", {}),
        ("self.gain.data.clamp_(0, 4)", {}),  # twice is once
        ("self.head.weight.data = self.gain.data", {}),
        ("hidden = self.words(input_ids)\nhidden.mul_(2)\nhidden += 1", {}),
        ("self.head.weight.data.mul_(2)\nself.words(input_ids)\nself.head.weight.data.div_(2)", {}),
        ("self.count.add_(1)", {"init": "self.register_buffer('count', torch.zeros(1))"}),
        (
            "if not self.scaled:\n    self.head.weight.data.mul_(2)\n    self.scaled.fill_(True)",
            {"init": "self.register_buffer('scaled', torch.tensor(False))"},
        ),
        ("if self.config.scale:\n    self.head.weight.data.mul_(2)", {"config": {"scale": False}}),
        ("self.head.weight.grad.mul_(2)", {}),
        ("pass", {"more": "def fuse(self):\n    self.head.weight.data.mul_(2)"}),  # a method of whoever uses it
        ("pass", {"more": TRAIN.format("if mode:\n        self.head.weight.data.mul_(2)")}),
        (
            "self.head.weight.data.mul_(2)",
            {
                "more": "def save_pretrained(self, *args, **kwargs):\n    self.head.weight.data.div_(2)\n"
                "    super().save_pretrained(*args, **kwargs)"
            },
        ),
    ],
)
def test_weights_that_stay_as_they_are(tmp_path, forward, parts):
    assert found(tmp_path, forward, **parts) == []


def test_a_factor_that_is_one_for_every_layer(tmp_path):
    scale = "for number, layer in enumerate(self.layers):\n    layer.weight.div_(2 ** (number // self.config.every))"
    layers = "self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(config.num_hidden_layers)])"
    few = {"every": 6, "num_hidden_layers": 2}
    (tmp_path / "few").mkdir()
    assert found(tmp_path / "few", scale, init=layers, config=few) == []
    assert found(tmp_path, scale, init=layers, config={**few, "every": 1}) == [(ERROR, "P72.in_place")]
