"""What cannot be saved, or is another model when it is loaded again; and caches of the folder's own."""

import json

import pytest
from corpus.net_folder import findings

from pinfold.audit.examine import examine
from pinfold.audit.finding import ERROR

ROTARY = """
class Rotary(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("steps", torch.arange(width).float(){more})


class Block(nn.Module):
    def __init__(self, width, rotary):
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.rotary = {keeps}


"""
SHARED = (
    "rotary = Rotary(8)\n        self.layers = nn.ModuleList([Block(8, rotary) for _ in range(2)])",
    "self.rotary = Rotary(8)\n        self.layers = nn.ModuleList([Block(8, self.rotary) for _ in range(2)])",
    "rotary = Rotary(8)\n        self.layers = nn.ModuleList()\n        for _ in range(2):\n"
    "            self.layers.append(Block(8, rotary))",
)
EACH = "self.layers = nn.ModuleList([Block(8, Rotary(8)) for _ in range(2)])"


@pytest.mark.parametrize("build", SHARED)
def test_a_module_of_buffers_that_each_layer_is_handed(tmp_path, build):
    (finding,) = findings(tmp_path, "P37", ROTARY.format(more="", keeps="rotary"), build)
    assert "one module" in finding.sentence and "persistent=False" in finding.fix


@pytest.mark.parametrize(
    ("more", "keeps", "build"),
    [
        (", persistent=False", "rotary", SHARED[0]),
        ("", "[rotary]", SHARED[0]),  # a plain list does not register it
        ("", "rotary", EACH),
        ("", "rotary", SHARED[2].replace("range(2)", "range(1)")),
    ],
)
def test_buffers_that_are_stored_once_or_never(tmp_path, more, keeps, build):
    assert findings(tmp_path, "P37", ROTARY.format(more=more, keeps=keeps), build) == []


LAYERS = "self.layers = nn.ModuleList([Block(8, None) for _ in range(3)])\n        "
METHOD = "def share(self):\n        for layer in self.layers[1:]:\n            layer.{0} = self.layers[0].{0}\n"


@pytest.mark.parametrize(
    ("code", "loop"),
    [
        ("P37", "for layer in self.layers[1:]:\n            layer.mix = self.layers[0].mix"),
        ("P11c", "for layer in self.layers:\n            layer.mix.weight = self.layers[0].mix.weight"),
        ("P11c", "for number, layer in enumerate(self.layers):\n            pass\n        self.share()"),
        ("P37", "self.share()"),
    ],
)
def test_a_loop_that_puts_one_into_each_layer(tmp_path, code, loop):
    more = METHOD.format("mix" if code == "P37" else "mix.weight") if "share" in loop else ""
    (finding,) = findings(tmp_path, code, ROTARY.format(more="", keeps="None"), LAYERS + loop, more)
    assert finding.severity == ERROR and "loop" in finding.sentence


@pytest.mark.parametrize(
    "loop",
    [
        "for layer in self.layers[1:]:\n            layer.width = self.width",
        "for layer in self.layers[1:]:\n            layer.mix = nn.Linear(8, 8)",
        "for layer in self.layers[1:]:\n            first = self.layers[0].mix",
    ],
)
def test_a_loop_that_shares_nothing(tmp_path, loop):
    for code in ("P37", "P11c"):
        assert (
            findings(tmp_path, code, ROTARY.format(more="", keeps="None"), LAYERS + "self.width = 8\n        " + loop)
            == []
        )


PART = """
class Decoder(nn.Module):
    def __init__(self, {takes}):
        super().__init__()
        self.down = nn.Linear(8, 8)
        self.out = nn.Linear(8, 40, bias=False)
        {keeps}


"""


@pytest.mark.parametrize(
    ("takes", "keeps", "build"),
    [
        ("words", "self.out.weight = words.weight", "self.decoder = Decoder(self.words)"),
        ("weight", "self.out.weight = weight", "self.decoder = Decoder(self.words.weight)"),
        (
            "weight=None",
            "if weight is not None:\n            self.out.weight = weight",
            "self.decoder = Decoder(weight=self.words.weight)",
        ),
    ],
)
def test_a_weight_that_a_part_is_handed(tmp_path, takes, keeps, build):
    (finding,) = findings(tmp_path, "P37", PART.format(takes=takes, keeps=keeps), build)
    assert finding.case == "P11c.in_loop" and finding.severity == ERROR


@pytest.mark.parametrize(
    ("takes", "keeps", "build"),
    [
        ("weight", "self.out.weight = nn.Parameter(weight.clone())", "self.decoder = Decoder(self.words.weight)"),
        ("weight=None", "if weight is not None:\n            self.out.weight = weight", "self.decoder = Decoder()"),
        ("weight", "self.seen = weight.shape", "self.decoder = Decoder(self.words.weight)"),
    ],
)
def test_a_weight_that_stays_where_it_is(tmp_path, takes, keeps, build):
    assert findings(tmp_path, "P37", PART.format(takes=takes, keeps=keeps), build) == []


ASKS = "def save_pretrained(self, save_directory, {0}):\n        super().save_pretrained(save_directory)\n"
ALONE = (
    "def save_pretrained(self, save_directory, **kwargs):\n"
    "        save_file(self.state_dict(), f'{{save_directory}}/model.safetensors'){0}\n"
)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (ASKS.format("tokenizer"), "asks for tokenizer"),
        (ASKS.format("tokenizer, **kwargs"), "asks for tokenizer"),
        (ASKS.format("*, step"), "asks for step"),
        (ALONE.format(""), "no config.json"),
        ("_keys_to_ignore_on_save = ['words.weight']\n", "leaves words.weight out"),
        ("_keys_to_ignore_on_save = (r'words.weight', 'position_ids')\n", "leaves words.weight out"),
    ],
)
def test_a_model_that_saves_otherwise(tmp_path, more, words):
    (finding,) = findings(tmp_path, "P57", more=more)
    assert words in finding.sentence


@pytest.mark.parametrize(
    "more",
    [
        ASKS.format("tokenizer=None, **kwargs"),
        ASKS.format("*args, **kwargs"),
        ALONE.format("\n        self.config.save_pretrained(save_directory)"),
        ALONE.format("\n        self.write_settings(save_directory)")
        + "\n    def write_settings(self, place):\n        pass\n",
        "_keys_to_ignore_on_save = ['position_ids', r'rotary']\n",
        "_keys_to_ignore_on_save = ['words.weight']\n    _tied_weights_keys = {'words.weight': 'other.weight'}\n",
    ],
)
def test_a_model_that_saves_as_usual(tmp_path, more):
    assert findings(tmp_path, "P57", more=more) == []


HOLDS = "from transformers import Cache, DynamicCache\n\n\nclass Holds(DynamicCache):\n{body}\n\n"
START = "    def __init__(self, config=None):\n        super().__init__({0})\n        {1}\n"


@pytest.mark.parametrize(
    ("handed", "sets", "case"),
    [
        ("", "self.max_cache_len = 64", "P51.sets_max_cache_len"),
        ("", "self.max_batch_size: int = 4", "P51.sets_max_batch_size"),
        ("", "self.is_compileable, self.kept = False, {}", "P51.sets_is_compileable"),
        ("config", "pass", "P51.argument_by_place"),
        ("config.num_hidden_layers", "pass", "P51.argument_by_place"),
        ("2", "pass", "P51.argument_by_place"),
    ],
)
def test_a_cache_that_its_constructor_breaks(tmp_path, handed, sets, case):
    text = HOLDS.format(body=START.format(handed, sets))
    (finding,) = findings(tmp_path, "P51", text, "self.held = Holds()")
    assert (finding.severity, finding.case) == (ERROR, case)


@pytest.mark.parametrize(
    ("handed", "sets", "more"),
    [
        ("", "self.own_max_cache_len = 64", ""),
        ("*()", "pass", ""),
        ("None", "pass", ""),
        ("config=config", "pass", ""),  # P50 says where that is not taken
        ("", "self.max_cache_len = 64", "\n    max_cache_len = 0\n"),
        ("", "self.layers = []", ""),
    ],
)
def test_a_cache_that_is_built_everywhere(tmp_path, handed, sets, more):
    text = HOLDS.format(body=START.format(handed, sets) + more)
    assert findings(tmp_path, "P51", text, "self.held = Holds()") == []


KEYS = {
    "a choice": "if version.parse(transformers.__version__).major >= 5:\n        _tied_weights_keys = {0}\n    else:\n"
    "        _tied_weights_keys = {1}\n",
    "a list that a release exchanges": "_tied_weights_keys = {1}\n    if IS_NEW:\n        _tied_weights_keys = {0}\n",
    "what transformers has": "if hasattr(PreTrainedModel, 'all_tied_weights_keys'):\n"
    "        _tied_weights_keys = {0}\n    else:\n        _tied_weights_keys = {1}\n",
}
TOP = (
    "import transformers\nfrom packaging import version\n\n"
    "IS_NEW = version.parse(transformers.__version__) >= version.parse('5.0.0')\n"
)
TABLE, LIST = "{'head.weight': 'words.weight'}", "['head.weight']"


@pytest.mark.parametrize("shape", KEYS)
def test_keys_that_the_version_chooses(tmp_path, shape):
    more = KEYS[shape].replace("{0}", TABLE).replace("{1}", LIST)
    assert findings(tmp_path, "P11", TOP, more=more) == []


@pytest.mark.parametrize(
    "more", [f"_tied_weights_keys = {LIST}\n", f"if bool(1):\n        _tied_weights_keys = {LIST}\n"]
)
def test_keys_that_it_does_not_choose(tmp_path, more):
    assert findings(tmp_path, "P11", TOP, more=more)


CONFIGURATION = """
from transformers import PretrainedConfig


class TarnConfig(PretrainedConfig):
    model_type = "tarn-tiny"

    def __init__(self, vocab_size=40, width=8, rope_scaling=None, {argument}**kwargs):
        {before}
        super().__init__(**kwargs)
        {after}
        self.vocab_size = vocab_size
        self.width = width
"""
MODELING = """
from torch import nn
from transformers import PreTrainedModel

from .configuration_tarn import TarnConfig


class TarnModel(PreTrainedModel):
    config_class = TarnConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        {reads}
        self.post_init()

    def forward(self, input_ids=None, **kwargs):
        return (self.words(input_ids),)
"""
SETTINGS = {
    "model_type": "tarn-tiny",
    "auto_map": {"AutoConfig": "configuration_tarn.TarnConfig", "AutoModel": "modeling_tarn.TarnModel"},
}
LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
SETS = "self.rope_scaling = rope_scaling"
FACTOR = 'self.factor = (config.rope_scaling or {}).get("factor", 1.0)'


def tarn(tmp_path, code, settings, before="pass", after="pass", reads="pass", argument=""):
    text = CONFIGURATION.format(before=before, after=after, argument=argument)
    (tmp_path / "configuration_tarn.py").write_text(text)
    (tmp_path / "modeling_tarn.py").write_text(MODELING.format(reads=reads))
    (tmp_path / "config.json").write_text(json.dumps(SETTINGS | settings))
    return [(f.case, f.severity) for f in examine(tmp_path, "tarn").findings if f.code == code]


@pytest.mark.parametrize(
    ("settings", "before", "after", "reads", "lost"),
    [
        (LINEAR, "pass", SETS, FACTOR, True),
        (LINEAR, "pass", SETS, "self.factor = config.rope_scaling['factor']", True),
        (LINEAR, SETS, "pass", FACTOR, False),
        (LINEAR, "pass", SETS, "pass", False),  # nothing reads it
        ({"rope_scaling": None}, "pass", SETS, FACTOR, False),
        (LINEAR, "pass", "self.rope_scaling = rope_scaling or kwargs.get('rope_parameters')", FACTOR, False),
    ],
)
def test_settings_of_positions_that_are_lost_when_saved(tmp_path, settings, before, after, reads, lost):
    found = tarn(tmp_path, "P31", settings, before, after, reads)
    assert (("P31.lost_when_saved", ERROR) in found) is lost


@pytest.mark.parametrize(
    ("reads", "wrong"),
    [
        ("self.factor = 1.0 if config.rope_scaling is None else 2.0", True),
        ("if config.rope_scaling is not None:\n            self.factor = 2.0", True),
        (
            "if not config.rope_scaling:\n            self.factor = 1.0\n        else:\n            self.factor = 2.0",
            True,
        ),
        (FACTOR, False),
        ("if config.rope_scaling is not None:\n            print('scaled')", False),
        ("if config.rope_scaling is not None:\n            raise ValueError('not scaled')", False),
        ("if config.rope_scaling:\n            self.factor = config.rope_scaling.get('factor', 1.0)", False),
    ],
)
def test_none_that_decides(tmp_path, reads, wrong):
    found = tarn(tmp_path, "P31", {"rope_theta": 1e4}, SETS, reads=reads)
    assert (("P31.none_decides", ERROR) in found) is wrong


@pytest.mark.parametrize(
    ("settings", "before", "after", "argument", "case"),
    [
        ({}, "pass", "self.top_k = top_k", "top_k=5, ", "P52.own_field_no_text"),
        ({}, "self.max_length = max_length", "pass", "max_length=99, ", "P52.own_field_before_no_text"),
        (
            {"temperature": 0.5},
            "pass",
            "self.temperature = temperature",
            "temperature=None, ",
            "P52.own_field_no_text",
        ),
        ({}, "pass", "self.temperature = temperature", "temperature=None, ", None),
        ({}, "pass", "self.experts = experts", "experts=5, ", None),
        ({}, "pass", "self.use_cache = use_cache", "use_cache=False, ", None),
    ],
)
def test_a_field_that_is_named_as_a_setting_of_generate(tmp_path, settings, before, after, argument, case):
    found = tarn(tmp_path, "P52", settings, before, after, argument=argument)
    assert found == ([(case, ERROR)] if case else [])
