"""Caches of the folder's own (P51), settings of sampling (P52), and configurations that are only half built (P15).

In which releases is in ranges.json; here are other shapes, and what looks like one and does no harm.
"""

import json

import pytest
from corpus.net_folder import findings

from pinfold.audit import ranges
from pinfold.audit.examine import examine
from pinfold.audit.finding import ERROR, WARNING

HOLDS = "from transformers import Cache, DynamicCache\n\n\nclass Holds({base}):\n{body}\n\n"
SUPER = "    def __init__(self):\n        super().__init__()\n"
UPDATE = "    def update(self, key, value, index, more=None):\n        {does}\n        return key, value\n"
APPENDS = UPDATE.format(does="self.key_cache.append(key)")
BUILDS = "self.held = Holds()"


def caches(tmp_path, base, body, build=BUILDS, more=""):
    return [(f.severity, f.case) for f in findings(tmp_path, "P51", HOLDS.format(base=base, body=body), build, more)]


@pytest.mark.parametrize(
    ("base", "body", "case"),
    [
        ("Cache", SUPER, "P51.without_layers"),
        ("Cache", "    pass\n", "P51.without_layers"),  # the constructor of Cache itself
        ("Cache", "    def __init__(self, size=1):\n        Cache.__init__(self)\n", None),  # not followed
        ("DynamicCache", APPENDS, "P51.reads_lists"),
        (
            "DynamicCache",
            "    def get_seq_length(self, index=0):\n        return len(self.value_cache)\n",
            "P51.reads_lists",
        ),
        ("DynamicCache", SUPER + "        self.key_cache = []\n" + APPENDS, "P51.sets_lists"),
        ("DynamicCache", SUPER + "        self.value_cache: list = [None] * 4\n", "P51.sets_lists"),
    ],
)
def test_caches_as_they_were(tmp_path, base, body, case):
    said = caches(tmp_path, base, body)
    assert [found for found in said if found[1] != "P50"] == ([(ERROR, case)] if case and ranges.harm(case) else [])


@pytest.mark.parametrize(
    ("base", "body"),
    [
        ("DynamicCache", SUPER + "        self.kept = []\n" + UPDATE.format(does="self.kept.append(key)")),
        ("DynamicCache", "    @property\n    def key_cache(self):\n        return []\n" + APPENDS),
        ("DynamicCache", UPDATE.format(does="if hasattr(self, 'key_cache'):\n            self.key_cache.append(key)")),
        ("Cache", "    def __init__(self):\n        super().__init__(layers=[])\n"),
        ("dict", APPENDS),
    ],
)
def test_caches_that_fit(tmp_path, base, body):
    assert caches(tmp_path, base, body) == []


def test_a_cache_that_nothing_builds_for_certain_is_a_warning(tmp_path):
    more = "def chat(self):\n        return Holds()\n"
    assert caches(tmp_path, "DynamicCache", APPENDS, "pass", more) == [(WARNING, "P51.reads_lists")]


MODELING = """
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_fern import FernConfig


class FernForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = FernConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(9, 8)
        {reads}
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, **kwargs):
        return CausalLMOutput(logits=self.words(input_ids))


FernForCausalLM.register_for_auto_class("AutoModelForCausalLM")
"""
CONFIGURATION = """
from transformers import PretrainedConfig


class PartConfig(PretrainedConfig):
    {part}


class BaseConfig(PretrainedConfig):
    def __init__(self, scale=0.5, text_config=None, use_cache=True, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.use_cache = use_cache
        self.twice = 2 * scale
        {sets}


class FernConfig(BaseConfig):
    model_type = "fern-tiny"
    {body}


FernConfig.register_for_auto_class()
"""
OWN = "def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n"
DEPTH = "def __init__(self, {name}=2, **kwargs):\n        super().__init__(**kwargs)\n        self.{name} = {name}\n"


def ferns(tmp_path, case, reads="pass", body="pass", part="pass", sets="pass", **settings):
    (tmp_path / "configuration_fern.py").write_text(CONFIGURATION.format(part=part, sets=sets, body=body))
    (tmp_path / "modeling_fern.py").write_text(MODELING.format(reads=reads))
    auto = {"AutoConfig": "configuration_fern.FernConfig", "AutoModelForCausalLM": "modeling_fern.FernForCausalLM"}
    config = {"model_type": "fern-tiny", "auto_map": auto, "num_hidden_layers": 1, **settings}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return [finding for finding in examine(tmp_path, "fern").findings if finding.case == case]


BASE = "P15.constructor_of_base"


@pytest.mark.parametrize(
    "reads", ["self.scale = config.scale", "self.scale = self.config.twice", "print(config.twice + 1)"]
)
def test_a_base_whose_constructor_does_not_run(tmp_path, reads):
    (finding,) = ferns(tmp_path, BASE, reads)
    assert finding.releases == ranges.harmed(BASE) and "def __init__(self, **kwargs)" in finding.fix


@pytest.mark.parametrize(
    ("reads", "parts"),
    [
        ("self.scale = config.scale", {"body": OWN}),
        ("self.scale = config.scale", {"scale": 0.5}),  # config.json has it
        ("self.scale = config.hidden_size", {"hidden_size": 8}),
        ("self.scale = config.scale", {"body": "scale = 0.5"}),
        ("pass", {}),  # nobody reads it
    ],
)
def test_a_base_whose_constructor_is_not_missed(tmp_path, reads, parts):
    assert ferns(tmp_path, BASE, reads, **parts) == []


LAYERS = "P15.part_without_layers"
DIRECT = "self.text_config = PartConfig(**(text_config or {}))"


@pytest.mark.parametrize(
    "sets",
    [
        DIRECT,
        "text_config = PartConfig() if text_config is None else text_config\n        self.text_config = text_config",
        DIRECT.replace("self.text_config", "self.decoder"),
    ],
)
def test_a_decoders_configuration_without_layers(tmp_path, sets):
    (finding,) = ferns(tmp_path, LAYERS, body=OWN, part=DEPTH.format(name="depth"), sets=sets)
    assert finding.releases == ranges.harmed(LAYERS) and finding.severity == ERROR


@pytest.mark.parametrize(
    "parts",
    [
        {"part": DEPTH.format(name="num_hidden_layers")},
        {"part": 'attribute_map = {"num_hidden_layers": "depth"}'},
        {"sets": DIRECT.replace("self.text_config", "self.vision_config")},
        {"sets": DIRECT + "\n        self.decoder = PartConfig()"},  # then generate takes neither
        {"text_config": {"num_hidden_layers": 3}},
        {"use_cache": False},
    ],
)
def test_a_decoders_configuration_with_layers(tmp_path, parts):
    assert ferns(tmp_path, LAYERS, body=OWN, **({"sets": DIRECT, "part": DEPTH.format(name="depth")} | parts)) == []


@pytest.mark.parametrize("settings", [{"temperature": 0.7}, {"top_p": 0.9, "do_sample": False}, {"top_k": 4}])
@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_sampling_that_nobody_asks_for(tmp_path, settings, file):
    case = "P52.samples_not_in_file" if file == "generation_config.json" else "P52.samples_not_in_config"
    if file == "generation_config.json":
        (tmp_path / file).write_text(json.dumps(settings))
        settings = {}
    (finding,) = ferns(tmp_path, case, body=OWN, **settings)
    assert finding.file == file and finding.releases == ranges.harmed(case)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.7, "do_sample": True}, {"temperature": 1.0}, {"top_k": 50}, {"temperature": None}]
)
def test_sampling_that_may_be_saved(tmp_path, settings):
    assert ferns(tmp_path, "P52.samples_not_in_config", body=OWN, **settings) == []


@pytest.mark.parametrize("settings", [{"length_penalty": 2.0}, {"early_stopping": True, "num_beams": 1}])
@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_beams_that_nobody_asks_for(tmp_path, settings, file):
    case = "P52.beams_not_in_file" if file == "generation_config.json" else "P52.beams_not_in_config"
    if file == "generation_config.json":
        (tmp_path / file).write_text(json.dumps(settings))
        settings = {}
    (finding,) = ferns(tmp_path, case, body=OWN, **settings)
    assert finding.file == file and "without num_beams above 1" in finding.sentence


@pytest.mark.parametrize(
    ("settings", "case"),
    [
        ({"pad_token_id": -1}, "P52.negative_padding_in_config"),
        ({"pad_token_id": -100}, "P52.negative_padding_in_config"),
        ({"pad_token_id": 0}, None),
        ({"length_penalty": 2.0, "num_beams": 4}, None),
        ({"length_penalty": 1.0, "early_stopping": False}, None),
    ],
)
def test_other_settings_of_generate(tmp_path, settings, case):
    found = [
        f.case
        for name in ("beams_not", "negative_padding")
        for f in ferns(tmp_path, f"P52.{name}_in_config", body=OWN, **settings)
    ]
    assert found == ([case] if case else [])


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ("self.generation_config.temperature = 0.7", True),
        ("self.generation_config = GenerationConfig(top_p=0.9, max_new_tokens=9)", True),
        ("self.generation_config = GenerationConfig(top_p=0.9, do_sample=True)", False),
        ("if config.vocab_size > 3:\n            self.generation_config.temperature = 0.7", False),
        ("self.generation_config = GenerationConfig(**config.of_text)", False),
    ],
)
def test_sampling_that_a_constructor_sets(tmp_path, reads, said):
    assert bool(ferns(tmp_path, "P52.samples_not_in_constructor", body=OWN, reads=reads)) is said
