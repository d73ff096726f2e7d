"""P26: the name under which a forward takes its cache, and models that keep none."""

import json

import pytest

from pinfold.audit.examine import examine
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

CONFIGURATION = """
from transformers import PretrainedConfig


class TextConfig(PretrainedConfig):
    model_type = "text-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, pad_token_id=0{arguments}, **kwargs):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.num_hidden_layers = num_hidden_layers
        self.vocab_size = vocab_size
        self.width = width
{body}

TextConfig.register_for_auto_class()
"""
MODELING = """
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_text import TextConfig


class TextForCausalLM(PreTrainedModel{mixin}):
    config_class = TextConfig
    base_model_prefix = "model"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.post_init()
{more}
    def forward(self, input_ids=None, attention_mask=None, {arguments}**kwargs):
{body}        return CausalLMOutputWithPast(logits=self.words(input_ids))


TextForCausalLM.register_for_auto_class("AutoModelForCausalLM")
"""
OWN = "    def prepare_inputs_for_generation(self, input_ids, **kwargs):\n        return {'input_ids': input_ids}\n"


def folder(tmp_path, arguments="", body="", more="", config="", config_body="", mixin=", GenerationMixin", lines=""):
    directory = tmp_path / "text"
    directory.mkdir()
    text = CONFIGURATION.format(arguments=config, body=config_body) + lines
    (directory / "configuration_text.py").write_text(text)
    text = MODELING.format(arguments=arguments, body=body, more=more, mixin=mixin)
    (directory / "modeling_text.py").write_text(text)
    return directory


GOES_ON = OWN.replace("{'input_ids': input_ids}", "super().prepare_inputs_for_generation(input_ids)")
NO_CACHE = "        self.use_cache = use_cache\n"
TUPLES = "    @classmethod\n    def _supports_default_dynamic_cache(cls):\n        return False\n"
BOTH = "past_key_values=None, cache=None, "
# shape -> (how the folder is written, the words of the finding; None: there is none)
SHAPES = {
    "the older name": ({"arguments": "past_key_values=None, "}, "takes its cache as past_key_values"),
    "the newer name": ({"arguments": "cache=None, "}, "takes its cache as cache"),
    "both": ({"arguments": BOTH}, None),
    "both, one from kwargs": (
        {"arguments": "past_key_values=None, ", "body": '        past_key_values = kwargs.pop("cache", None)\n'},
        None,
    ),
    "both, one by subscript": (
        {
            "arguments": "cache=None, ",
            "body": '        if "past_key_values" in kwargs:\n            cache = kwargs["past_key_values"]\n',
        },
        None,
    ),
    "renamed by a decorator": (
        {
            "arguments": "cache=None, ",
            "more": '    @deprecate_kwarg("past_key_values", "5.40.0", new_name="cache")\n',
        },
        None,
    ),
    "no cache": ({}, "takes no cache, but its configuration does not say so"),
    "no cache, said by an argument": ({"config": ", use_cache=False"}, None),
    "no cache, said by an attribute": ({"config_body": "        self.use_cache = False\n"}, None),
    "no cache, said by the class": ({"config_body": "    use_cache = False\n"}, None),
    "no cache, wrongly said": (
        {"config": ", use_cache=True"},
        "takes no cache, but its configuration does not say so",
    ),
    "no cache, own inputs": ({"more": OWN}, None),
    "a state": ({"arguments": "cache_params=None, "}, None),
    "will generate, once P34 is followed": ({"mixin": ""}, "TextForCausalLM.forward takes no cache"),
    "from 5.24 on": ({"arguments": "cache=None, ", "lines": 'MIN_TRANSFORMERS = "5.24"\n'}, None),
    "a generate of its own": (
        {"more": "    def generate(self, input_ids, **kwargs):\n        return input_ids\n"},
        None,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cache_that_falls_into_kwargs_is_found(shape, tmp_path):
    edits, words = SHAPES[shape]
    directory = folder(tmp_path, **edits)
    findings = [f for f in audit(directory, read_modules(directory)) if f.code == "P26"]
    assert [words in f.sentence for f in findings] == [True] * (words is not None), findings
    if findings:
        assert findings[0].file == "modeling_text.py" and findings[0].severity == "error"


def test_the_forecast_names_the_releases_that_write_other_text(tmp_path):
    reads = "        kept = past_key_values\n"  # a cache that nothing reads is a fault of its own
    report = examine(folder(tmp_path, arguments="past_key_values=None, ", body=reads), "text")
    assert report.forecast == (
        "by its code it loads in 4.48-5.23, in 5.24 it writes wrong text: P26 generate loses its cache"
    )


def test_a_cache_that_a_part_takes_from_the_kwargs_is_not_lost(tmp_path):
    directory = folder(tmp_path, arguments="past_key_values=None, ")
    path = directory / "modeling_text.py"
    inner = (
        "class TextModel(PreTrainedModel):\n    config_class = TextConfig\n\n    def __init__(self, config):\n"
        "        super().__init__(config)\n        self.words = nn.Embedding(config.vocab_size, config.width)\n"
        "        self.post_init()\n\n    def forward(self, input_ids, cache=None, **kwargs):\n"
        "        return self.words(input_ids)\n\n\n"
    )
    path.write_text(path.read_text().replace("class TextForCausalLM", inner + "class TextForCausalLM"))
    assert [f for f in audit(directory, read_modules(directory)) if f.code == "P26"] == []


OUTPUTS = """
from dataclasses import dataclass
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import ModelOutput


@dataclass
class Own({base}):
    scores: object = None
    {field}: object = None
{more}
"""


@pytest.mark.parametrize(
    ("base", "field", "more", "found"),
    [
        ("ModelOutput", "past_key_values", "", True),
        ("ModelOutput", "cache_params", "", True),
        ("CausalLMOutputWithPast", "past_key_values", "", True),
        ("Own0", "past_key_values", "", True),
        ("CausalLMOutputWithPast", "router_logits", "", False),
        ("ModelOutput", "mems", "", False),
        ("object", "past_key_values", "", False),
        ("ModelOutput", "states", "\n    def past_key_values(self):\n        return self.states\n", False),
    ],
)
def test_output_classes_whose_cache_is_renamed(tmp_path, base, field, more, found):
    directory = folder(tmp_path, arguments=BOTH)
    file = directory / "modeling_text.py"
    between = "\n\nclass Own0(ModelOutput):\n    pass\n" if base == "Own0" else ""
    text = OUTPUTS.format(base=base, field=field, more=more).replace("\n\n@dataclass", f"{between}\n\n@dataclass")
    file.write_text(text + file.read_text())
    findings = [f for f in audit(directory, read_modules(directory)) if f.code == "P29"]
    assert len(findings) == found
    if found:
        assert f"Own has a field {field}" in findings[0].sentence and findings[0].releases[0] == "5.24.0"


@pytest.mark.parametrize(
    ("arguments", "more", "fix"),
    [
        ("past_key_values=None, cache=None", "", "return_dict=None and cache_position=None and inputs_embeds=None"),
        ("past_key_values=None, cache=None, return_dict=None", "", "cache_position=None and inputs_embeds=None"),
        ("past_key_values=None, cache=None, return_dict=None", OWN, ""),
        ("past_key_values=None, cache=None", OWN, "return_dict=None"),
        (
            "past_key_values=None, return_dict=None",
            GOES_ON,
            "cache_position=None and inputs_embeds=None",
        ),
        ("past_key_values=None, cache=None, return_dict=None, cache_position=None", "", "inputs_embeds=None"),
        ("past_key_values=None, cache=None, return_dict=None, cache_position=None, inputs_embeds=None", "", ""),
        ("past_key_values=None, cache=None, **inputs", "", ""),
        ("cache=None", "    def generate(self, input_ids):\n        return input_ids\n", ""),
    ],
)
def test_a_forward_that_generate_cannot_call(tmp_path, arguments, more, fix):
    directory = folder(tmp_path, arguments="ARGUMENTS", more=more)
    file = directory / "modeling_text.py"
    file.write_text(file.read_text().replace("ARGUMENTS**kwargs", arguments))
    findings = [str(f) for f in audit(directory, read_modules(directory)) if "which generate passes:" in f.sentence]
    assert len(findings) == bool(fix) and all(line.endswith(f" Take {fix} in forward.") for line in findings)


@pytest.mark.parametrize(
    ("old", "new", "shape", "found"),
    [
        ("self.num_hidden_layers =", "self.depth =", {}, True),
        ("self.num_hidden_layers =", "attribute_map = {}\n        self.n_layer =", {}, True),
        ("self.num_hidden_layers =", "self.depth =", {"config": ", use_cache=False", "config_body": NO_CACHE}, False),
        ("self.num_hidden_layers =", "self.depth =", {"more": TUPLES}, False),
        ("self.num_hidden_layers =", "self.depth =", {"mixin": ""}, True),
        ('= "text-tiny"', '= "text-tiny"\n    attribute_map = {"num_hidden_layers": "depth"}', {}, False),
    ],
)
def test_the_layers_by_which_generate_makes_its_cache(tmp_path, old, new, shape, found):
    directory = folder(tmp_path, arguments=BOTH, **shape)
    file = directory / "configuration_text.py"
    text = file.read_text().replace(old, new)
    file.write_text(text.replace("self.num_hidden_layers =", "self.depth =") if "depth" in new else text)
    findings = [f for f in audit(directory, read_modules(directory)) if "num_hidden_layers is read" in f.sentence]
    assert len(findings) == found
    if found:
        assert findings[0].code == "P15" and findings[0].releases[0].startswith("4.56")
        assert str(findings[0]).endswith('in the body of TextConfig: attribute_map = {"num_hidden_layers": "..."}.')


@pytest.mark.parametrize(
    ("call", "severity", "words"),
    [
        ("Own(scores, past_key_values=cache)", "error", "Own(past_key_values=...) raises a TypeError there"),
        ("Own(**given)", "error", "Own(past_key_values=...) raises a TypeError there"),
        ("Own(scores, cache)", "warning", "what a model returns has past_key_values=None there"),
    ],
)
def test_an_output_that_is_built_without_the_name_loses_its_cache_and_does_not_fail(tmp_path, call, severity, words):
    directory = folder(tmp_path, arguments=BOTH)
    file = directory / "modeling_text.py"
    text = OUTPUTS.format(base="ModelOutput", field="past_key_values", more="")
    file.write_text(f"{text}{file.read_text()}\n\ndef output(scores, cache, given):\n    return {call}\n")
    (finding,) = [f for f in audit(directory, read_modules(directory)) if f.code == "P29"]
    assert finding.severity == severity and words in finding.sentence


PREPARES = "    def prepare_inputs_for_generation(self, input_ids, {arguments}):\n{body}\n"
ALONE = "        return {'input_ids': input_ids, 'past_key_values': past_key_values}"
WITH_REST = "        return {'past_key_values': past_key_values, **kwargs}"
UPDATED = "        inputs = {'input_ids': input_ids}\n        inputs.update(kwargs)\n        return inputs"
TO_SUPER = "        return super().prepare_inputs_for_generation(input_ids, {how}, **kwargs)"
OF_MIXIN = "        return GenerationMixin.prepare_inputs_for_generation(self, input_ids, {how})"
# shape -> (arguments after input_ids, body, severity and words of the finding, None where nothing is reported)
OWN_INPUTS = {
    "drops the rest": ("past_key_values=None, **kwargs", ALONE, ("warning", "computed from the whole text again")),
    "returns the rest": ("past_key_values=None, **kwargs", WITH_REST, ("error", "beside the whole text")),
    "adds the rest": ("past_key_values=None, **kwargs", UPDATED, ("error", "beside the whole text")),
    "joins the rest": (
        "past_key_values=None, **kwargs",
        "        return kwargs | {'input_ids': input_ids}",
        ("error", "beside the whole text"),
    ),
    "takes no rest": ("past_key_values=None, use_cache=None", ALONE, ("error", "raises a TypeError")),
    "by position": (
        "past_key_values=None, **kwargs",
        TO_SUPER.format(how="past_key_values"),
        ("error", "by position"),
    ),
    "by name": ("past_key_values=None, **kwargs", TO_SUPER.format(how="past_key_values=past_key_values"), None),
    "both names": ("past_key_values=None, cache=None, **kwargs", ALONE, None),
    "the other from the rest": (
        "past_key_values=None, **kwargs",
        '        past_key_values = past_key_values or kwargs.get("cache")\n' + ALONE,
        None,
    ),
    "by name, of the mixin": ("past_key_values=None, **kwargs", OF_MIXIN.format(how="past_key_values=cache"), None),
    "by name, of a base": (
        "past_key_values=None, **kwargs",
        OF_MIXIN.replace("GenerationMixin", "transformers.GenerationMixin").format(how="**kwargs"),
        None,
    ),
    "by position, of the mixin": (
        "past_key_values=None, **kwargs",
        OF_MIXIN.format(how="past_key_values"),
        ("error", "by position"),
    ),
    "no cache at all": ("**kwargs", "        return {'input_ids': input_ids}", None),
}


def test_a_forward_gets_only_what_its_own_preparation_names(tmp_path):
    more = PREPARES.format(arguments="past_key_values=None, **kwargs", body=ALONE)
    directory = folder(tmp_path, arguments="past_key_values=None, ", more=more)
    (finding,) = [f for f in audit(directory, read_modules(directory)) if f.code == "P26"]
    assert finding.severity == "warning" and "prepare_inputs_for_generation takes the cache" in finding.sentence


@pytest.mark.parametrize("shape", OWN_INPUTS)
def test_own_inputs_that_know_the_cache_by_the_older_name(shape, tmp_path):
    arguments, body, expected = OWN_INPUTS[shape]
    more = PREPARES.format(arguments=arguments, body=body)
    directory = folder(tmp_path, arguments=BOTH, more=more)
    findings = [f for f in audit(directory, read_modules(directory)) if f.code == "P26"]
    severity, words = expected or ("", "")
    assert [(f.severity, words in f.sentence) for f in findings] == [(severity, True)] * bool(expected)
    assert all(f.releases[0] == "5.24.0" for f in findings)


SAID = {"config": ", use_cache=False", "config_body": NO_CACHE}


@pytest.mark.parametrize(
    ("shape", "config", "generation", "first", "cure"),
    [
        (SAID, None, None, "", ""),
        (SAID, {}, None, "5.0.0", "config.json"),
        ({"config_body": "    use_cache = False\n"}, {}, None, "5.0.0", "config.json"),
        (SAID, {"use_cache": False}, None, "", ""),
        (SAID, {"use_cache": True}, None, "4.54", "config.json"),
        (SAID, {}, {"use_cache": False}, "", ""),
        (SAID, {"use_cache": False}, {}, "4.54", "generation_config.json"),
        ({}, {}, None, "4.54", "config.json"),
        ({}, {"use_cache": False}, None, "", ""),
        ({"more": OWN}, {}, None, "", ""),
        ({**SAID, "arguments": BOTH}, {}, None, "", ""),
    ],
)
def test_generate_reads_files_and_not_the_class(tmp_path, shape, config, generation, first, cure):
    directory = folder(tmp_path, **shape)
    for name, stored in (("config.json", config), ("generation_config.json", generation)):
        if stored is not None:
            base = {"model_type": "text-tiny"} if name == "config.json" else {"_from_model_config": True}
            (directory / name).write_text(json.dumps(base | stored))
    findings = [f for f in audit(directory, read_modules(directory)) if f.code == "P26"]
    assert len(findings) == bool(first)
    for finding in findings:
        assert finding.releases[0].startswith(first) and finding.releases[-1].startswith("5.24")
        assert f'Write "use_cache": false into {cure}' in finding.fix
