"""P32, P47 and P60: code that looks as if generate failed, and to which generate hands nothing that it fails with."""

import json

import pytest

from pinfold.audit.examine import examine

CONFIGURATION = """
from transformers import PretrainedConfig


class OrielConfig(PretrainedConfig):
    model_type = "oriel-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, use_cache=True, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        self.width = width
        self.use_cache = use_cache
"""
MODELING = """
import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_oriel import OrielConfig


class OrielSampler(PreTrainedModel):
    config_class = OrielConfig

    def __init__(self, config):
        super().__init__(config)
        self.states = nn.Linear(config.width, config.width)
        self.post_init()

    def forward(self, hidden, past_key_values=None):
        self.length = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        return self.states(hidden)


class OrielForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = OrielConfig
    {attribute}

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.head = nn.Linear(config.width, config.vocab_size)
        {sampler}
        self.post_init()

    {method}

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, **kwargs):
        {reads}
        hidden = self.words(input_ids)
        {calls}
        return CausalLMOutputWithPast(logits=self.head(hidden))
"""
CONFIG = {
    "model_type": "oriel-tiny",
    "auto_map": {
        "AutoConfig": "configuration_oriel.OrielConfig",
        "AutoModelForCausalLM": "modeling_oriel.OrielForCausalLM",
    },
}
READS = "seen = past_key_values[0][0].shape[2] if past_key_values is not None else 0"
PREPARES = """def prepare_inputs_for_generation(self, input_ids, past_key_values=None, **kwargs):
        {body}
        return {{"input_ids": input_ids{more}}}"""
HANDS_ON = ', "past_key_values": past_key_values'
EMPTY = {"attribute": "pass", "sampler": "pass", "method": "pass", "reads": "pass", "calls": "pass"}


def codes(tmp_path, code, files=(), **shape):
    (tmp_path / "configuration_oriel.py").write_text(CONFIGURATION)
    (tmp_path / "modeling_oriel.py").write_text(MODELING.format(**{**EMPTY, **shape}))
    for name, settings in {"config.json": CONFIG, **dict(files)}.items():
        (tmp_path / name).write_text(json.dumps(settings))
    return [finding for finding in examine(tmp_path, "oriel").findings if finding.code == code]


def test_a_cache_that_is_read_as_tuples(tmp_path):
    (finding,) = codes(tmp_path, "P32", reads=READS)
    assert "OrielForCausalLM.forward reads the cache as a tuple" in finding.sentence


NONE_IS_MADE = {
    "its own preparation": {
        "method": "def _prepare_cache_for_generation(self, *args, **kwargs):\n        return None"
    },
    "says no": {
        "method": "@classmethod\n    def _supports_default_dynamic_cache(cls):\n        return False",
    },
    "its generate sets a keyword": {
        "method": "def generate(self, ids, **kwargs):\n        "
        "return super().generate(ids, use_cache=False, **kwargs)",
    },
    "its generate sets an item": {
        "method": 'def generate(self, *args, **kwargs):\n        kwargs["use_cache"] = False\n        '
        "return super().generate(*args, **kwargs)",
    },
    "its generate has a default": {
        "method": "def generate(self, ids, use_cache=False, **kwargs):\n        "
        "return super().generate(ids, use_cache=use_cache, **kwargs)",
    },
}


@pytest.mark.parametrize("shape", NONE_IS_MADE)
def test_no_cache_is_made(tmp_path, shape):
    assert codes(tmp_path, "P32", reads=READS, **NONE_IS_MADE[shape]) == []


def test_a_stateful_class_is_handed_one_by_later_releases(tmp_path):
    (finding,) = codes(tmp_path, "P32", reads=READS, attribute="_is_stateful = True")
    assert "5.4.0" not in finding.releases and "5.12.1" in finding.releases


def test_a_class_that_only_repeats_what_is_so(tmp_path):
    says = "@classmethod\n    def _supports_default_dynamic_cache(cls):\n        return True"
    assert codes(tmp_path, "P32", reads=READS, method=says)


def test_settings_of_generate_count_alone_where_they_have_a_file(tmp_path):
    assert codes(tmp_path, "P32", {"generation_config.json": {"use_cache": False}}, reads=READS) == []
    says_no = {"config.json": {**CONFIG, "use_cache": False}}
    assert codes(tmp_path, "P32", {**says_no, "generation_config.json": {"eos_token_id": 3}}, reads=READS)


@pytest.mark.parametrize(
    "sets",
    [
        "self.generation_config.use_cache = False",
        "self.generation_config = GenerationConfig(use_cache=False)",
        "generation = self.generation_config; generation.use_cache = True; self.generation_config.use_cache = False",
    ],
)
def test_settings_of_generate_in_the_constructor(tmp_path, sets):
    assert codes(tmp_path, "P32", reads=READS, sampler=sets) == []


def test_config_json_alone(tmp_path):
    assert codes(tmp_path, "P32", {"config.json": {**CONFIG, "use_cache": False}}, reads=READS) == []


GIVEN_UP = {
    "it is dropped": PREPARES.format(body="pass", more=""),
    "nothing takes its place": PREPARES.format(body="pass", more=', "past_key_values": None'),
    "it is made tuples": PREPARES.format(
        body="if hasattr(past_key_values, 'to_legacy_cache'):\n"
        "            full = past_key_values.get_seq_length() > 0\n"
        "            past_key_values = past_key_values.to_legacy_cache() if full else None",
        more=HANDS_ON,
    ),
    "anything but a tuple is left out": PREPARES.format(
        body="if not isinstance(past_key_values, tuple):\n            past_key_values = None", more=HANDS_ON
    ),
}


@pytest.mark.parametrize("shape", GIVEN_UP)
def test_a_preparation_that_keeps_the_cache(tmp_path, shape):
    assert codes(tmp_path, "P32", reads=READS, method=GIVEN_UP[shape]) == []


def test_an_empty_cache_that_is_made_tuples(tmp_path):
    body = (
        "if not isinstance(past_key_values, tuple):\n            past_key_values = past_key_values.to_legacy_cache()"
    )
    assert codes(tmp_path, "P32", reads=READS, method=PREPARES.format(body=body, more=HANDS_ON))


def test_a_preparation_that_hands_it_on(tmp_path):
    (finding,) = codes(tmp_path, "P32", reads=READS, method=PREPARES.format(body="pass", more=HANDS_ON))
    assert "OrielForCausalLM.forward" in finding.sentence


SOMETHING_ELSE = (
    "past_key_values = None\n        " + READS,
    "if self.config.width > 9:\n            past_key_values = self.prompts(9)\n"
    "            self.seen = past_key_values[0][0].shape[2]",
    "try:\n            seen = past_key_values[0][0].shape[2]\n        except Exception:\n"
    "            past_key_values = None\n        for layer in past_key_values or ():\n            pass",
)


@pytest.mark.parametrize("reads", SOMETHING_ELSE)
def test_what_is_read_was_not_handed_over(tmp_path, reads):
    assert codes(tmp_path, "P32", reads=reads) == []


def test_an_argument_that_is_a_list_only_where_there_is_none(tmp_path):
    reads = (
        "if past_key_values is None:\n            past_key_values = [None] * 2\n        else:\n            " + READS
    )
    assert codes(tmp_path, "P32", reads=reads)


@pytest.mark.parametrize(
    ("calls", "fails"),
    [
        ("hidden = self.sampler(hidden)", False),
        ("hidden = self.sampler(hidden, past_key_values=None)", False),
        ("hidden = self.sampler(hidden, past_key_values)", True),
        ("hidden = self.sampler(hidden, **{'past_key_values': past_key_values})", True),
    ],
)
def test_a_part_with_an_argument_for_a_cache(tmp_path, calls, fails):
    found = codes(tmp_path, "P32", sampler="self.sampler = OrielSampler(config)", calls=calls)
    assert bool(found) is fails


OF_MODULE = """
class OrielStack(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.states = nn.Linear(width, width)

    def forward(self, hidden, pasts=None):
        self.length = {length}
        return self.states(hidden)
"""


@pytest.mark.parametrize(
    ("length", "fails"),
    [
        ("0 if pasts is None else pasts[0][0].shape[2]", True),
        ("len(hidden)", False),
        ("pasts[0][0].shape[2] if isinstance(pasts, tuple) else 0", False),
    ],
)
def test_a_module_that_is_handed_the_cache(tmp_path, length, fails):
    text = MODELING.replace("\nclass OrielSampler(", OF_MODULE.replace("{length}", length) + "\n\nclass OrielSampler(")
    (tmp_path / "configuration_oriel.py").write_text(CONFIGURATION)
    shape = {"sampler": "self.stack = OrielStack(config.width)", "calls": "self.stack(hidden, pasts=past_key_values)"}
    (tmp_path / "modeling_oriel.py").write_text(text.format(**{**EMPTY, **shape}))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    found = [finding for finding in examine(tmp_path, "oriel").findings if finding.code == "P32"]
    assert bool(found) is fails


UNNAMED = (
    "def prepare_inputs_for_generation(self, input_ids, **rest):\n        return {'input_ids': input_ids}\n\n    "
)


@pytest.mark.parametrize(
    ("generate", "fails"),
    [
        ("pass", True),
        ("def generate(self, ids, attention_mask=None, **kwargs):\n        return super().generate(ids)", False),
        ("def generate(self, ids):\n        return super().generate(ids)", False),
        (
            "def generate(self, *args, **kwargs):\n        kwargs.pop('attention_mask', None)\n        "
            "return super().generate(*args, **kwargs)",
            False,
        ),
        ("def generate(self, ids, **kwargs):\n        return super().generate(ids, **kwargs)", True),
        (
            "def generate(self, ids, attention_mask=None):\n        "
            "return super().generate(ids, attention_mask=attention_mask)",
            True,
        ),
    ],
)
def test_a_generate_of_its_own_and_the_mask(tmp_path, generate, fails):
    assert bool(codes(tmp_path, "P47", method=UNNAMED + generate)) is fails


TOKENIZATION = """
from transformers import PreTrainedTokenizer


class OrielTokenizer(PreTrainedTokenizer):
    model_input_names = {names}
"""


@pytest.mark.parametrize(
    ("names", "fails"),
    [("['input_ids']", False), ("('input_ids',)", False), ("['input_ids', 'attention_mask']", True)],
)
def test_a_tokenizer_of_the_folder_gives_no_mask(tmp_path, names, fails):
    (tmp_path / "tokenization_oriel.py").write_text(TOKENIZATION.format(names=names))
    entry = {"auto_map": {"AutoTokenizer": ["tokenization_oriel.OrielTokenizer", None]}}
    found = codes(tmp_path, "P47", {"tokenizer_config.json": entry}, method=UNNAMED)
    assert bool(found) is fails


MATCHES = """def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache_position=None, **kwargs):
        match {what}:
            case None:
                first = 0
            case {rest}:
                first = cache_position[0]
        return {{"input_ids": input_ids[:, first:]{more}}}"""


@pytest.mark.parametrize(
    ("what", "rest", "fails"),
    [
        ("cache_position", "_", False),
        ("(cache_position, 1)", "_", False),
        ("past_key_values", "_", True),
        ("past_key_values", "past if len(past) > 3", False),
    ],
)
def test_a_match_decides_on_the_places(tmp_path, what, rest, fails):
    method = MATCHES.format(what=what, rest=rest, more=HANDS_ON)
    assert bool(codes(tmp_path, "P60", method=method)) is fails


@pytest.mark.parametrize("attribute", ["pass", "_supports_cache_class = True"])
def test_the_cure_names_what_older_releases_ask_for(tmp_path, attribute):
    (finding,) = codes(tmp_path, "P32", reads=READS, attribute=attribute)
    assert ("Let OrielForCausalLM have _supports_cache_class = True" in finding.fix) is (attribute == "pass")


AS_NONE = {
    "asked in forward": {"reads": "seen = past_key_values[0][0].shape[2] if past_key_values else 0"},
    "asked with another": {
        "reads": "if past_key_values and input_ids is not None:\n            seen = past_key_values[0][0].shape[2]"
    },
    "denied": {
        "reads": "if not past_key_values:\n            seen = 0\n        else:\n            "
        "seen = past_key_values[0][0].shape[2]"
    },
    "replaced": {"reads": "past_key_values = past_key_values or [None]\n        " + READS},
    "replaced after a question": {
        "reads": "if not past_key_values:\n            past_key_values = None\n        " + READS
    },
    "in a loop": {"reads": "for layer in past_key_values or [None]:\n            seen = layer"},
    "not handed on": {
        "method": PREPARES.format(body="pass", more=', "past_key_values": past_key_values or None'),
        "reads": READS,
    },
    "not handed on after a question": {
        "method": PREPARES.format(body="if not past_key_values:\n            past_key_values = None", more=HANDS_ON),
        "reads": READS,
    },
}


@pytest.mark.parametrize("shape", AS_NONE)
def test_an_empty_cache_is_false_up_to_4_55(tmp_path, shape):
    (finding,) = codes(tmp_path, "P32", **AS_NONE[shape])
    assert "4.56.2" in finding.releases and not {"4.54.1", "4.55.4"} & set(finding.releases)


@pytest.mark.parametrize(
    "reads",
    [
        READS,
        "if past_key_values is None:\n            past_key_values = None\n        " + READS,
        "past = past_key_values[0] if past_key_values is not None or attention_mask else None",
        "seen = past_key_values[0][0].shape[2]\n        more = past_key_values[0] if past_key_values else None",
    ],
)
def test_an_empty_cache_that_is_read(tmp_path, reads):
    (finding,) = codes(tmp_path, "P32", reads=reads)
    assert "4.54.1" in finding.releases
