"""P31 to P40 in the shapes in which people write them, and what only looks like them."""

# ruff: noqa: E501 (lines of programs)

import pytest
from corpus.net_folder import errors_of

from pinfold.audit.finding import ERROR
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

SET = "self.rope_scaling = rope_scaling"


@pytest.mark.parametrize(
    "lines",
    [
        'if config.rope_scaling is None:\n    self.f = 1.0\nelse:\n    self.f = config.rope_scaling["factor"]',
        'self.f = config.rope_scaling["factor"] if config.rope_scaling is not None else 1.0',
        'scaling = config.rope_scaling\nif scaling:\n    self.f = scaling["factor"]',
        'scaling = getattr(config, "rope_scaling", None)\nif scaling is not None:\n    kind = scaling["type"]',
        'if config.width and self.config.rope_scaling:\n    self.f = self.config.rope_scaling["factor"]',
        'if not config.rope_scaling:\n    self.f = 1.0\nelse:\n    self.f = float(config.rope_scaling["factor"])',
        "self.f = self.of(config)\n\ndef of(config):\n    if config.rope_scaling is None:\n        return 1.0\n"
        '    return config.rope_scaling["factor"]',
    ],
)
def test_what_takes_none_for_no_scaling_fails(lines, tmp_path):
    assert errors_of(tmp_path, before=SET, init=lines) == ["P31"]


@pytest.mark.parametrize(
    ("parts", "config"),
    [
        ({"after": SET, "init": 'if config.rope_scaling:\n    self.f = config.rope_scaling["factor"]'}, {}),
        ({"before": SET, "init": 'if config.rope_scaling:\n    self.f = config.rope_scaling.get("factor", 1)'}, {}),
        ({"before": SET, "init": 'if config.rope_scaling:\n    self.f = config.rope_scaling["rope_type"]'}, {}),
        (
            {
                "before": SET,
                "init": 'if "factor" in (config.rope_scaling or {}):\n    f = config.rope_scaling["factor"]',
            },
            {},
        ),
        (
            {"before": SET, "init": 'if config.rope_scaling:\n    self.f = config.rope_scaling["factor"]'},
            {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
        ),
        (
            {
                "before": SET,
                "init": 'x = config.rope_scaling\nif x is not None and "factor" in x:\n    f = x["factor"]',
            },
            {},
        ),
        (
            {"before": SET, "init": 'x = config.rope_scaling\nif x:\n    if "factor" in x:\n        f = x["factor"]'},
            {},
        ),
        (
            {
                "before": SET,
                "init": 'x = config.rope_scaling\nif x is not None and x.get("type") == "linear":\n    f = x["factor"]',
            },
            {},
        ),
        (
            {
                "before": SET,
                "init": 'try:\n    if config.rope_scaling:\n        f = config.rope_scaling["factor"]\nexcept KeyError:\n    f = 1',
            },
            {},
        ),
        (
            {
                "before": f'if rope_scaling is None:\n    rope_scaling = {{"type": "linear", "factor": 2}}\n{SET}',
                "init": 'if config.rope_scaling is not None:\n    f = config.rope_scaling["factor"]',
            },
            {},
        ),
        (
            {
                "before": SET,
                "after": SET,
                "init": 'if config.rope_scaling is not None:\n    f = config.rope_scaling["factor"]',
            },
            {},
        ),
        ({"before": f'if rope_scaling is not None and rope_scaling["factor"] < 1:\n    raise ValueError\n{SET}'}, {}),
    ],
)
def test_what_asks_for_the_key_or_is_never_filled_is_right(parts, config, tmp_path):
    assert errors_of(tmp_path, config, **parts) == []


def test_the_older_key_beside_the_newer_one_in_the_file(tmp_path):
    config = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    # what is set after super().__init__ is also lost when it is saved
    assert errors_of(tmp_path, config, after=SET, init='self.kind = config.rope_scaling["type"]') == ["P31", "P31"]


@pytest.mark.parametrize(
    "after", ["self.max_position_embeddings = 64", "self.rope_theta, self.max_position_embeddings = 1e4, 64"]
)
def test_sizes_that_are_set_after_they_are_read(after, tmp_path):
    config = {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}
    assert errors_of(tmp_path, config, after=after, passed="rope_scaling=rope_scaling, ") == ["P31"]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("self.max_position_embeddings = 64\nself.rope_theta = 1e4", SET, "yarn"),
        ("", "self.max_position_embeddings = 64", "linear"),
        ("", "", "yarn"),
    ],
)
def test_sizes_in_time_or_of_a_kind_that_needs_none(before, after, kind, tmp_path):
    config = {"rope_scaling": {"rope_type": kind, "factor": 2.0}}
    assert errors_of(tmp_path, config, before=before, after=after) == []


TUPLES = [
    "past = past_key_values[0][0].shape[2] if past_key_values is not None else 0",
    "for layer, past in zip([self.words], past_key_values):\n    pass",
    "pasts = past_key_values if past_key_values is not None else cache\nx = pasts[0]",
    "for i, layer in enumerate([1]):\n    past = past_key_values[i] if past_key_values is not None else None",
    "sizes = [past[0].shape for past in past_key_values or ()] if past_key_values else 0\nx = past_key_values[-1]",
]


@pytest.mark.parametrize("lines", TUPLES)
def test_a_forward_that_takes_the_cache_for_tuples(lines, tmp_path):
    assert errors_of(tmp_path, forward=lines) == ["P32"]


def test_a_preparation_that_takes_the_cache_for_tuples(tmp_path):
    more = (
        "def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache=None, **kwargs):\n"
        "    if past_key_values is not None:\n        input_ids = input_ids[:, past_key_values[0][0].shape[2] :]\n"
        "    return {'input_ids': input_ids, 'past_key_values': past_key_values}\n"
    )
    assert errors_of(tmp_path, more=more) == ["P32"]


@pytest.mark.parametrize(
    "lines",
    [
        "past = past_key_values.get_seq_length() if past_key_values is not None else 0",
        "if isinstance(past_key_values, Cache):\n    past = 0\nelse:\n    past = past_key_values[0][0].shape[2]",
        "if past_key_values is not None and not hasattr(past_key_values, 'update'):\n    past = past_key_values[0]",
        "x = kwargs['past'] if 'past' in kwargs else None",
        "if type(past_key_values) is tuple:\n    past = past_key_values[0][0].shape[2]",
        "if self.is_older(past_key_values):\n    past = past_key_values[0][0].shape[2]",
        "pasts = past_key_values\nif pasts is None:\n    pasts = [None] * 2\npast = pasts[0]",
        "import transformers\npast_key_values = transformers.DynamicCache.from_legacy_cache(past_key_values)",
    ],
)
def test_a_forward_that_asks_what_the_cache_is(lines, tmp_path):
    assert "P32" not in errors_of(tmp_path, forward=lines)


def test_tuples_of_a_model_that_keeps_no_cache(tmp_path):
    assert errors_of(tmp_path, {"use_cache": False}, cache=False, forward=TUPLES[0]) == []


PREPARES = "def prepare_inputs_for_generation(self, input_ids, **kwargs):\n    return {'input_ids': input_ids}\n"
CHAT = "def chat(self, ids):\n    return self.generate(ids)\n"


@pytest.mark.parametrize(
    ("parts", "codes"),
    [
        ({"mixin": ""}, ["P34"]),
        ({"mixin": "", "more": CHAT}, ["P09", "P34"]),
        ({"mixin": "", "more": CHAT, "name": "ForImageClassification"}, ["P09"]),
        ({"mixin": "", "name": "ForImageClassification"}, []),
        ({"mixin": "", "more": f"{PREPARES}\n{CHAT}"}, []),
        ({"mixin": "", "more": "def generate(self, ids):\n    return ids\n"}, []),
    ],
)
def test_a_model_that_cannot_generate(parts, codes, tmp_path):
    assert errors_of(tmp_path, **parts) == codes


@pytest.mark.parametrize(
    ("parts", "codes"),
    [
        ({"takes": "**kwargs"}, ["P26", "P34"]),
        ({"takes": "past_key_values=None, **kwargs"}, ["P26", "P34"]),
        ({"takes": "cache=None, **kwargs"}, ["P26", "P34"]),
        ({"forward": TUPLES[0]}, ["P32", "P34"]),
        ({"takes": "**kwargs", "more": "def generate(self, ids):\n    return ids\n"}, []),
        ({"takes": "**kwargs", "name": "ForImageClassification"}, []),
    ],
)
def test_what_generate_will_find_is_said_before_there_is_one(parts, codes, tmp_path):
    assert errors_of(tmp_path, mixin="", **parts) == codes


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("@property\ndef _supports_sdpa(self):\n    return self.words._supports_sdpa", ["P35"]),
        ("@property\ndef _supports_flash_attn(self):\n    inner = self.words\n    return bool(inner)", ["P35"]),
        ("@property\ndef _supports_sdpa(self):\n    return self.config.width > 4", []),
        ("@property\ndef _supports_sdpa(self):\n    return hasattr(self, 'words') and bool(self.words)", []),
        (
            "@property\ndef _supports_sdpa(self):\n    try:\n        return bool(self.words)\n    except AttributeError:\n        return True",
            [],
        ),
        ("@property\ndef _supports_sdpa(self):\n    return bool(self.base_model_prefix)", []),
        (
            "import functools\n@functools.cached_property\ndef _supports_sdpa(self):\n    return bool(self.words)",
            ["P35"],
        ),
        ("@property\ndef _supports_flash_attn_2(self):\n    return self.words is not None", []),
        ("_supports_sdpa = True", []),
    ],
)
def test_a_property_that_reads_a_part(body, codes, tmp_path):
    assert errors_of(tmp_path, body=body) == codes


@pytest.mark.parametrize(
    ("call", "codes"),
    [
        ('AutoConfig.register("smollm3", SideConfig)', ["P36"]),
        ('AutoConfig.register("smollm3", SideConfig, exist_ok=False)', ["P36"]),
        ('try:\n    AutoConfig.register("smollm3", SideConfig)\nexcept ValueError:\n    pass', []),
        ('def later():\n    AutoConfig.register("smollm3", SideConfig)', []),
        ('AutoConfig.register("smollm3", SideConfig, exist_ok=True)', []),
        ('AutoConfig.register("text-tiny-side", SideConfig)', []),
    ],
)
def test_a_type_that_a_later_release_brings_along(call, codes, tmp_path):
    top = f'class SideConfig(TextConfig):\n    model_type = "smollm3"\n\n\n{call}\n'
    assert [code for code in errors_of(tmp_path, top=top) if code != "S11"] == codes


@pytest.mark.parametrize(
    ("init", "codes"),
    [
        ("act = nn.PReLU()\nself.net = nn.Sequential(nn.Linear(8, 8), act, nn.Linear(8, 8), act)", ["P37"]),
        ("self.a = nn.Linear(8, 8)\nself.b = self.a", ["P37"]),
        ("self.a = self.b = nn.Linear(8, 8)", ["P37"]),
        ("self.a = self.b = nn.ReLU()", []),
        ("self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)", []),
        ("norm = nn.LayerNorm(8)\nself.a = norm\nself.b = norm", ["P37"]),
        ("layer = nn.Linear(8, 8)\nself.layers = nn.ModuleList([layer, layer])", ["P37"]),
        ("act = nn.ReLU()\nself.net = nn.Sequential(nn.Linear(8, 8), act, nn.Linear(8, 8), act)", []),
        ("self.drop = nn.Dropout(0.1)\nself.other = self.drop", []),
        ("norm = nn.LayerNorm(8)\nself.a = norm\nnorm = nn.LayerNorm(8)\nself.b = norm", []),
        ("self.a = nn.Linear(8, 8)\nself.parts = nn.ModuleList([self.a, nn.Linear(8, 8)])", ["P37"]),
        ("self.many = nn.ModuleList([nn.Linear(8, 8)] * 3)", ["P37"]),
        ("norm = nn.LayerNorm(8, elementwise_affine=False)\nself.a = norm\nself.b = norm", []),
        (
            "layers = []\nfor _ in range(2):\n    layer = nn.Linear(8, 8)\n    layers.append(layer)\n"
            "self.many = nn.ModuleList([layer for layer in layers])",
            [],
        ),
        ("self.a = nn.Linear(8, 8)\nif config.width > 4:\n    self.b = self.a\nelse:\n    self.b = None", []),
        ("self.a = nn.Linear(8, 8)\nself.b = self.a\nself.a = nn.Identity()", []),
        ("self.a = nn.Linear(8, 8)\nself.__dict__['b'] = self.a", []),
    ],
)
def test_a_module_under_two_names(init, codes, tmp_path):
    assert errors_of(tmp_path, init=init) == codes


@pytest.mark.parametrize(
    ("tokenizer", "parts", "codes"),
    [
        ({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "."}, {}, []),  # forward takes **kwargs
        ({"model_input_names": ["input_ids", "token_type_ids"], "eos_token": "."}, {}, []),
    ],
)
def test_inputs_that_a_forward_takes(tokenizer, parts, codes, tmp_path):
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    assert errors_of(tmp_path, config, tokenizer, **parts) == codes


OLD = "        self.inner = {call}(nn.Linear(8, 8))"


@pytest.mark.parametrize(
    ("top", "call", "codes"),
    [
        ("", "nn.utils.weight_norm", ["P17"]),
        ("from torch.nn.utils import weight_norm", "weight_norm", ["P17"]),
        ("from torch.nn.utils import weight_norm as wn", "wn", ["P17"]),
        ("", "nn.utils.parametrizations.weight_norm", []),
        ("def weight_norm(layer):\n    return layer\n", "weight_norm", []),
        (
            "norm = nn.utils.weight_norm\nif hasattr(nn.utils.parametrizations, 'weight_norm'):\n"
            "    norm = nn.utils.parametrizations.weight_norm\n",
            "norm",
            [],
        ),
        ("", "self.weight_norm", []),
    ],
)
def test_the_older_weight_norm(top, call, codes, tmp_path):
    assert errors_of(tmp_path, top=top, init=OLD.format(call=call).strip()) == codes


@pytest.mark.parametrize(
    ("load", "codes"),
    [
        ("return cls(config or TextConfig())", []),
        ("if path == 'new':\n        return cls(config)\n    return super().from_pretrained(path, **kwargs)", ["P10"]),
        ("load = super().from_pretrained\n    return load(path) if path else cls(config)", ["P10"]),
        ("config = TextConfig.from_pretrained(path)\n    return cls(config)", []),
    ],
)
def test_a_class_that_loads_itself(load, codes, tmp_path):
    more = f"@classmethod\ndef from_pretrained(cls, path, config=None, **kwargs):\n    {load}\n"
    directory = tmp_path / "text"
    errors_of(tmp_path, more=more)
    modeling = directory / "modeling_text.py"
    modeling.write_text(modeling.read_text().replace("        self.post_init()\n", ""))
    assert [f.code for f in audit(directory, read_modules(directory)) if f.severity == ERROR] == codes
