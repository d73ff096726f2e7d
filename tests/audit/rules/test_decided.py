"""What config.json decides in a constructor (P14), and what it only seems to decide."""

import json

import pytest
from corpus.net_folder import LAYER, findings

KEEPS = "self.ahead = ahead; self.rope = rope; self.flash = flash; "
TENSOR = "self.turn = torch.arange(8)"
CHOICE = "self.turn = nn.Parameter(torch.ones(8)) if config.{field} else torch.ones(8)"
IN_LAYER = LAYER.replace("self.a = config.depth", "if config.rope == 'ntk':\n            " + TENSOR)


@pytest.mark.parametrize(
    ("build", "layers", "stored", "reported"),
    [
        (TENSOR, "", {}, True),
        (f"if config.rope == 'ntk':\n            {TENSOR}", "", {"rope": "linear"}, False),
        (f"if config.rope == 'ntk':\n            {TENSOR}", "", {"rope": "ntk"}, True),
        (f"if config.rope == 'ntk':\n            {TENSOR}", "", None, True),  # no config.json: nothing decides
        (f"if self.config.ahead is not None:\n            {TENSOR}", "", {"model_type": "net-tiny"}, False),
        (f"if not config.flash and config.rope:\n            {TENSOR}", "", {"flash": True}, False),
        (f"if config.flash:\n            pass\n        else:\n            {TENSOR}", "", {"flash": True}, False),
        (f"if config.flash:\n            pass\n        else:\n            {TENSOR}", "", {"flash": False}, True),
        (CHOICE.format(field="flash"), "", {"flash": True}, False),
        (CHOICE.format(field="flash"), "", {"flash": False}, True),
        ("self.a = Layer(config)", IN_LAYER, {"rope": "linear"}, False),
        ("self.a = Layer(config.vision_config)", IN_LAYER, {"rope": "linear"}, True),  # another configuration
    ],
)
def test_a_branch_that_the_settings_rule_out_is_not_run(tmp_path, build, layers, stored, reported):
    if stored is not None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", **stored}))
    fields = {"arguments": "ahead=None, rope='ntk', flash=False, ", "first": KEEPS}
    lines = findings(tmp_path, "P14b", layers, build, **fields)
    assert len(lines) == reported


MOVES = LAYER.replace("config):", "config, device=None):").replace(
    "self.a = config.depth", "self.a = nn.Linear(8, 8)\n        {}"
)


@pytest.mark.parametrize(
    ("line", "reported"),
    [
        ("self.to(config.device)", True),
        ("self.a.to('cuda:0')", True),
        ("self.cuda()", True),
        ("self.a = self.a.to(device=torch.device('cuda' if torch.cuda.is_available() else 'cpu'))", True),
        ("self.register_buffer('b', torch.arange(8).to(config.device))", True),
        ("self.register_buffer('b', torch.arange(8, device='cpu').to(config.device))", False),  # made with values
        ("self.to(torch.float16)", False),
        ("self.to('meta')", False),
        ("self.config.to(config.device)", False),
        ("self.move(config.device)", True),  # a method that does so
        ("where = torch.device('cuda')\n        self.to(where)", True),
        ("self.move(device)", False),  # an argument, which may be None
        ("self.register_buffer('b', torch.arange(8).float().to(device))", False),
        ("self.register_buffer('b', torch.arange(8)); self.c = self.b.to(self.a.weight.device)", False),
        ("pass", False),
    ],
)
def test_what_a_constructor_moves_to_a_device(tmp_path, line, reported):
    move = "\n    def move(self, device):\n        self.to(device)\n"
    layers = MOVES.format(line).rstrip() + "\n" + move + "\n\n"
    assert len(findings(tmp_path, "P14d", layers, "self.a = Layer(config)")) == reported


NTK = "if config.{} == 'ntk':\n            " + TENSOR
IF_NONE = f"if config.rope is None:\n            pass\n        else:\n            {TENSOR}"
KEPT = "self.rope = rope; "


@pytest.mark.parametrize(
    ("build", "first", "stored", "reported"),
    [
        # an entry of a table is not the table
        (NTK.format("rope['type']"), KEPT, {"rope": {"type": "linear"}}, True),
        (NTK.format("rope['type']").replace("config", "self.config"), KEPT, {"rope": {"type": "linear"}}, True),
        (NTK.format("rope").replace("config", "config['text']"), KEPT, {"rope": "linear"}, True),
        (NTK.format("text.rope"), KEPT, {"rope": "linear"}, True),
        (NTK.format("rope"), KEPT, {"rope": "linear"}, False),
        (f"if config.rope:\n            pass\n        else:\n            {TENSOR}", KEPT, {"rope": [1]}, False),
        (IF_NONE, KEPT, {"rope": None}, False),
        # a field that the constructor changes
        (IF_NONE, "rope = {'type': 'ntk'} if rope is None else rope; self.rope = rope; ", {"rope": None}, True),
        (IF_NONE, "self.rope = rope or 3; ", {"rope": None}, True),
        (IF_NONE, "self.rope = rope; self.rope += 1; ", {"rope": None}, True),
        (IF_NONE, "self.rope = rope; setattr(self, 'rope', 3); ", {"rope": None}, True),
        (IF_NONE, "self.rope = rope; self.rope = 3; ", {"rope": None}, True),
        (IF_NONE, "[self.rope for rope in 'ab']; self.rope = rope; ", {"rope": None}, True),
        (IF_NONE, "self.__dict__.update(rope=3); self.rope = rope; ", {"rope": None}, True),
        (IF_NONE, "", {"rope": None}, True),  # an argument that is dropped
        (IF_NONE.replace("rope", "spin"), "", {"spin": None}, False),  # goes through **kwargs
        (IF_NONE.replace("rope", "spin"), "kwargs['spin'] = 3; ", {"spin": None}, True),
        (IF_NONE.replace("rope", "spin"), "kwargs = {}; ", {"spin": None}, True),
        (IF_NONE.replace("rope", "rope_scaling"), "", {"rope_scaling": None}, True),  # transformers 5 fills it
        # a model that sets it
        ("config.rope = 'ntk'\n        " + NTK.format("rope"), KEPT, {"rope": "linear"}, True),
        ("self.config.rope = 'ntk'\n        " + NTK.format("rope"), KEPT, {"rope": "linear"}, True),
        # another configuration under the same name
        ("config = config.text\n        " + NTK.format("rope"), KEPT, {"rope": "linear"}, True),
        ("config = config['text']\n        " + NTK.format("rope"), KEPT, {"rope": "linear"}, True),
        ("config = self.config\n        " + NTK.format("rope"), KEPT, {"rope": "linear"}, False),
        ("self.config = config.text\n        " + NTK.format("rope"), KEPT, {"rope": "linear"}, True),
    ],
)
def test_a_setting_decides_only_where_the_code_has_it_unchanged(tmp_path, build, first, stored, reported):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", **stored}))
    lines = findings(tmp_path, "P14b", "", build, arguments="rope=None, ", first=first)
    assert len(lines) == reported


METHOD = f"def fill(self, config):\n        if config.rope == 'ntk':\n            {TENSOR}\n"


@pytest.mark.parametrize(
    ("build", "more", "reported"),
    [
        ("self.fill(config)", METHOD, False),
        ("self.fill(self.config)", METHOD, False),
        ("self.fill(config.text)", METHOD, True),
        ("self.fill(config=config.text)", METHOD, True),
        ("self.fill(config)", METHOD.replace("config)", "config: TextConfig)"), True),
        ("self.fill()", METHOD.replace(", config", "").replace("config.rope", "self.config.rope"), False),
    ],
)
def test_a_method_may_take_another_configuration(tmp_path, build, more, reported):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", "rope": "linear"}))
    layers = "class TextConfig:\n    pass\n\n\n"
    assert len(findings(tmp_path, "P14b", layers, build, more, "rope=None, ", first=KEPT)) == reported


TEXT = """
from transformers import PretrainedConfig


class TextConfig(PretrainedConfig):
    model_type = "text"


class Text(PreTrainedModel):
    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
"""


@pytest.mark.parametrize(("config_class", "reported"), [("NetConfig", 0), ("TextConfig", 1)])
def test_a_model_with_another_configuration_class_has_other_settings(tmp_path, config_class, reported):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", "rope": "linear"}))
    layers = TEXT.replace("NetConfig", config_class) + f"        {NTK.format('rope')}\n        self.post_init()\n\n"
    layers += "    def forward(self, input_ids):\n        return input_ids\n\n\n"
    assert len(findings(tmp_path, "P14b", layers, "pass", arguments="rope=None, ", first=KEPT)) == reported


@pytest.mark.parametrize(
    ("stored", "line", "severities"),
    [
        ({"device": None}, "self.words.to(config.device)", []),
        ({"device": None}, "self.words.to(device=self.config.device)", []),
        ({"device": None}, "where = config.device; self.words.to(where)", []),
        ({"device": "auto"}, "self.words.to(config.device)", []),
        ({"device": "cuda:0"}, "self.words.to(config.device)", ["error"]),
        ({"device": 0}, "self.words.to(config.device)", ["error"]),
        ({"device": "cuda"}, "where = config.device; self.words.to(where)", ["error"]),
        ({"device": "cuda"}, "self.words.to(config.text.device)", []),
        ({}, "self.words.to(config.device)", []),  # the default of the constructor
        (None, "self.words.to(config.device)", ["warning"]),
        (None, "where = torch.device(config.device); self.words.to(where)", ["warning"]),
        (None, "self.words.to(config.device or 'cuda')", []),
        (None, "self.words.to('cuda' if config.fast else config.device)", ["error"]),
        (None, "self.bank = torch.arange(3, device='cpu'); self.a = self.bank.cpu().tolist()", []),
        (None, "self.bank = torch.arange(3, device=torch.device('cpu')); self.a = self.bank.to('cuda')", []),
        (None, "self.bank = nn.Parameter(torch.ones(3, device='cpu')); self.bank.cuda()", []),
        (None, "self.bank = torch.arange(3); self.a = self.bank.cpu()", ["error"]),
    ],
)
def test_a_move_counts_where_it_moves_what_has_no_values(tmp_path, stored, line, severities):
    if stored is not None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "net-tiny", **stored}))
    lines = findings(tmp_path, "P14d", "", line, arguments="device=None, ", first="self.device = device; ")
    assert [f.severity for f in lines] == severities
