"""Decoders of T5's layers (P58), names that cannot be sorted (P66), ties without a flag.

In which releases is in ranges.json; here are other shapes, and what looks like one and does no harm.
"""

import json

import pytest
import torch
from corpus.net_folder import CONFIGURATION, findings, findings_of, text_findings
from safetensors.torch import save_file

from pinfold.audit import ranges
from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules


def said(tmp_path, code, **parts):
    return [(f.severity, f.case) for f in text_findings(tmp_path, **parts) if f.code == code]


STACK = """
import copy
from transformers.models.{kind}.modeling_{kind} import {cls}
{more}
"""
BUILDS = """inner = copy.deepcopy(config)
inner.is_decoder = True
inner.is_encoder_decoder = {both}
self.decoder = {cls}(inner)"""
CALLS = "self.decoder(input_ids, encoder_hidden_states=self.words(input_ids), use_cache=True)"
HEIR = "class Wide(T5Stack):\n    def __init__(self, config):\n        super().__init__(config)\n\n"


@pytest.mark.parametrize(
    ("kind", "cls", "init", "case"),
    [
        ("t5", "T5Stack", BUILDS, "P58.T5Stack"),
        ("mt5", "MT5Stack", BUILDS, "P58.T5Stack"),
        ("longt5", "LongT5Stack", BUILDS, "P58.T5Stack"),
        ("t5", "Wide", BUILDS, "P58.T5Stack"),
        ("t5", "T5Stack", BUILDS.replace("inner", "self.inner").replace("(self", "(config=self"), "P58.T5Stack"),
    ],
)
def test_a_decoder_without_a_cache_for_its_encoder(tmp_path, kind, cls, init, case):
    top = STACK.format(kind=kind, cls="T5Stack" if cls == "Wide" else cls, more=HEIR if cls == "Wide" else "")
    found = said(tmp_path, "P58", top=top, init=init.format(cls=cls, both=False), forward=CALLS)
    assert found == [(ERROR, case)]


@pytest.mark.parametrize(
    ("init", "forward"),
    [
        (BUILDS.format(cls="T5Stack", both=True), CALLS),
        (BUILDS.format(cls="T5Stack", both=False), "self.decoder(input_ids)"),
        (BUILDS.format(cls="T5Stack", both=False).replace("is_decoder = True", "is_decoder = False"), CALLS),
        ("inner = copy.deepcopy(config)\ninner.use_cache = False\n" + BUILDS.format(cls="T5Stack", both=False)
         .partition("\n")[2], CALLS),
        (BUILDS.format(cls="T5Stack", both=False), CALLS[:-1] + ", past_key_values=EncoderDecoderCache())"),
    ],
)  # fmt: skip
def test_a_decoder_that_has_one_or_needs_none(tmp_path, init, forward):
    top = STACK.format(
        kind="t5", cls="T5Stack", more="from transformers import EncoderDecoderCache\n" * ("past" in forward)
    )
    assert said(tmp_path, "P58", top=top, init=init, forward=forward) == []


LIST = """
class Chain(nn.{base}):
    def __init__(self, size):
        {fills}
        self.{name} = {made}


"""


@pytest.mark.parametrize(
    ("parts", "harms"),
    [
        ({}, True),
        ({"base": "Sequential", "fills": "super().__init__(nn.Linear(size, size))"}, True),
        ({"fills": "super().__init__()\n        self.append(nn.Linear(size, size))"}, True),
        ({"made": "nn.Dropout(0.1)"}, False),
        ({"fills": "super().__init__()"}, False),  # nothing but what has a name
        ({"base": "Module", "fills": "super().__init__()\n        self.parts = nn.ModuleList()"}, False),
    ],
)
def test_a_list_of_modules_with_a_name(tmp_path, parts, harms):
    more = {"base": "ModuleList", "fills": "super().__init__([nn.Linear(size, size)])", "name": "last",
            "made": "nn.Linear(size, size)", **parts}  # fmt: skip
    found = findings(tmp_path, "P66", layers=LIST.format(**more), build="self.chain = Chain(config.width)")
    assert [(f.severity, f.case) for f in found] == ([(WARNING, "P66.parametrized")] if harms else [])


ADDED = """
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import register_parametrization


class Low(nn.Module):
    def __init__(self, size):
        super().__init__()
        {keeps}

    def forward(self, weight):
        return weight

    @classmethod
    def add(cls, layer):
        parametrize.register_parametrization(layer, "weight", cls(8))


"""
KEEPS = "self.more = nn.Parameter(torch.zeros(size))"


@pytest.mark.parametrize(
    ("keeps", "build", "more", "harms"),
    [
        (KEEPS, 'register_parametrization(self.words, "weight", Low(8))', "", True),
        (KEEPS, 'parametrize.register_parametrization(self.words, "weight", parametrization=Low(8))', "", True),
        (KEEPS, "Low.add(self.words)", "", True),
        ("pass", 'register_parametrization(self.words, "weight", Low(8))', "", False),
        (KEEPS, "pass", 'def adapt(self):\n        register_parametrization(self.words, "weight", Low(8))\n', False),
    ],
)
def test_a_parametrization_with_weights(tmp_path, keeps, build, more, harms):
    found = findings(tmp_path, "P66", layers=ADDED.format(keeps=keeps), build=build, more=more)
    assert [f.case for f in found] == (["P66.parametrized"] if harms else [])


@pytest.mark.parametrize(
    ("file", "names", "harms"),
    [
        ("model.safetensors", ("a.0.weight", "a.last.weight"), True),
        ("model.safetensors", ("a.parametrizations.weight.0.b", "a.parametrizations.weight.original"), True),
        ("model-00001-of-00001.safetensors", ("0.b", "c.b"), True),
        ("model.safetensors", ("a.0.weight", "a.1.weight", "b.last"), False),
        ("model.safetensors", ("a.0x.weight", "a.last.weight"), False),
        ("adapter.safetensors", ("a.0.weight", "a.last.weight"), False),
    ],
)
def test_names_in_the_file(tmp_path, file, names, harms):
    findings(tmp_path, "P66")
    save_file({name: torch.zeros(2) for name in names}, tmp_path / file, metadata={"format": "pt"})
    config = {"model_type": "net-tiny", "auto_map": {"AutoModel": "modeling_net.NetModel"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert [f.code for f in findings_of(tmp_path) if f.code == "P66"] == ["P66"] * harms


BOTH = """
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
{top}

class NetConfig(PretrainedConfig):
    model_type = "net-tiny"

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width


class NetModel(PreTrainedModel):
    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
        self.lin = nn.Linear(config.width, config.width)
        self.post_init()

    def _init_weights(self, module):
        if {test}isinstance(module, nn.Linear):
            module.weight.data.normal_()

    def forward(self, x=None):
        return (self.lin(x),)

{end}
"""
REGISTERS = 'AutoConfig.register("net-tiny", NetConfig)\nAutoModel.register(NetConfig, NetModel)'


def writes(tmp_path, config="modeling_net.NetConfig", **parts):
    text = BOTH.format(**{"top": "", "test": "", "end": "", **parts})
    (tmp_path / "modeling_net.py").write_text(text)
    settings = {"model_type": "net-tiny", "auto_map": {"AutoConfig": config, "AutoModel": "modeling_net.NetModel"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    return [(f.severity, f.case) for f in audit(tmp_path, read_modules(tmp_path)) if f.code == "P13"]


@pytest.mark.parametrize(
    ("end", "case"),
    [
        (REGISTERS, "P13.data_registered"),
        ("AutoModel.register(NetConfig, model_class=NetModel)\n", "P13.data_normal"),  # by a name, which is not read
        ("AutoModel.register(NetConfig, NetModel, exist_ok=True)", "P13.data_registered"),
        (REGISTERS + '\nNetModel.register_for_auto_class("AutoModel")', "P13.data_normal"),
        ("", "P13.data_normal"),
        ("def register():\n    AutoModel.register(NetConfig, NetModel)", "P13.data_normal"),
    ],
)
def test_a_model_that_its_own_file_registers(tmp_path, end, case):
    assert writes(tmp_path, end=end) == [(ERROR, case)]


@pytest.mark.parametrize(
    ("top", "test", "harms"),
    [
        ("import transformers\nV5 = transformers.__version__.startswith('5')\n", "not V5 and ", False),
        ("from transformers import __version__\n", "__version__ < '5' and ", False),
        ("import transformers\n", "int(transformers.__version__[0]) < 5 and ", False),
        ("V5 = False\n", "not V5 and ", True),
    ],
)
def test_a_write_for_older_releases_alone(tmp_path, top, test, harms):
    assert writes(tmp_path, top=top, test=test) == ([(ERROR, "P13.data_normal")] if harms else [])


EXPOSES = """def get_output_embeddings(self):
    return self.{name}

def set_output_embeddings(self, new):
    self.{name} = new
"""
MAKES = "self.{name} = nn.Linear(8, 40, bias=False)"
SILENT = CONFIGURATION.replace("NetConfig", "TextConfig").replace("net-tiny", "text-tiny")
SILENT = SILENT.format(arguments="", passed="", first="")


@pytest.mark.parametrize(
    ("keys", "config", "more", "case"),
    [
        ('["head.weight"]', {}, EXPOSES, "P11.list_no_flag"),
        ('("head.weight", "head.bias")', {}, EXPOSES, "P11.list_no_flag"),
        ('["words.weight", "head.weight"]', {}, EXPOSES, "P11.list_no_flag"),
        ('["head.weight"]', {"tie_word_embeddings": False}, EXPOSES, "P11.list_untied"),
        ('["head.weight"]', {}, "", "P11.list_untied"),
        ('["other.weight"]', {}, EXPOSES, "P11.list_untied"),
    ],
)
def test_a_list_of_keys_without_a_flag(tmp_path, keys, config, more, case):
    found = said(
        tmp_path,
        "P11",
        body=f"_tied_weights_keys = {keys}",
        init=MAKES.format(name="head"),
        more=more.format(name="head"),
        config=config,
        configuration=SILENT,
    )
    assert found == [(ERROR, case)]


def test_a_list_of_keys_beside_a_head_that_is_stored(tmp_path):
    parts = {"body": '_tied_weights_keys = ["head.weight"]', "init": MAKES.format(name="head"),
             "more": EXPOSES.format(name="head"), "configuration": SILENT}  # fmt: skip
    text_findings(tmp_path, **parts)
    save_file({"head.weight": torch.ones(40, 8)}, tmp_path / "text" / "model.safetensors", metadata={"format": "pt"})
    cases = [f.case for f in findings_of(tmp_path / "text") if f.code == "P11"]
    assert cases == ["P11.list_untied"]


WORDS = "def get_input_embeddings(self):\n    return self.words\n"


@pytest.mark.parametrize(
    ("name", "more", "case"),
    [
        ("lm_head", WORDS, "P11b.not_exposed_lm_head"),
        ("lm_head", "", "P11b.not_exposed"),  # without words to tie it to
        ("head", WORDS, "P11b.not_exposed"),
    ],
)
def test_a_head_that_some_releases_find_by_its_name(tmp_path, name, more, case):
    body = f'_tied_weights_keys = {{"{name}.weight": "words.weight"}}'
    config = {"tie_word_embeddings": True}
    text = SILENT.replace("**kwargs)", "tie_word_embeddings=True, **kwargs)", 1)
    parts = {"configuration": text, "init": MAKES.format(name=name), "more": more, "config": config, "body": body}
    assert said(tmp_path, "P11b", **parts) == [(ERROR, case)]


@pytest.mark.parametrize(
    ("init", "more", "case"),
    [
        ("self.lm_head.weight = self.words.weight", WORDS, "P11c.assigned_lm_head"),
        ("self.words.weight = self.lm_head.weight", WORDS, "P11c.assigned_lm_head"),
        ("self.lm_head.weight = self.words.weight", "", "P11c.assigned"),
        ("self.lm_head.weight = self.words.weight", WORDS + "\n" + EXPOSES.format(name="lm_head"), "P11c.assigned"),
    ],
)
def test_a_head_that_is_assigned_and_has_that_name(tmp_path, init, more, case):
    config = {"tie_word_embeddings": True}
    parts = {
        "configuration": SILENT,
        "more": more,
        "config": config,
        "init": MAKES.format(name="lm_head") + f"\n{init}",
    }
    assert said(tmp_path, "P11c", **parts) == [(ERROR, case)]


@pytest.mark.parametrize(
    "init", ["self.lm_head.weight = self.words.weight", "self.words.weight = self.lm_head.weight"]
)
@pytest.mark.parametrize("keys", ['{"lm_head.weight": "words.weight"}', '["lm_head.weight"]'])
def test_what_is_assigned_and_declared_is_declared_from_either_side(tmp_path, init, keys):
    parts = {"more": WORDS, "init": MAKES.format(name="lm_head") + f"\n{init}"}
    config = {"tie_word_embeddings": True}
    assert (
        said(tmp_path, "P11c", configuration=SILENT, config=config, body=f"_tied_weights_keys = {keys}", **parts) == []
    )
    (tmp_path / "other").mkdir()
    other = {"configuration": SILENT, "config": config, "body": '_tied_weights_keys = {"other.weight": "words.bias"}'}
    assert len(said(tmp_path / "other", "P11c", **other, **parts)) == 1


PARTS = "self.{name} = {{'depth': 2}}\nself.vision_config = {{}}"


@pytest.mark.parametrize(
    ("after", "harms"),
    [
        (PARTS.format(name="lm_config"), True),
        (PARTS.format(name="llm_config") + "\nself.audio_config = {}", True),
        ("self.vit_config = {}", True),
        (PARTS.format(name="text_config"), False),
        ("self.vision_config = {}\nself.num_hidden_layers = 2", False),
        ("self.vision_config = {}\nself.decoder_layers = 2", False),
    ],
)
def test_layers_of_a_whole_with_parts(tmp_path, after, harms):
    text = SILENT.replace("        self.vision_config = vision_config\n", "").rstrip()
    at = "        self.width = width\n"
    lines = "".join(f"        {line}\n" for line in after.splitlines())
    config = {"num_hidden_layers": None}
    text = text.replace(at, at + lines)
    config = {key: value for key, value in config.items() if value}
    cases = [c for _, c in said(tmp_path, "P15", configuration=text, config=config)]
    assert ("P15.layers_never_set" in cases) == harms


DROPS = """def prepare_inputs_for_generation(self, input_ids, past_key_values=None, **kwargs):
    {first}return {{"input_ids": input_ids, "past_key_values": past_key_values{more}}}
"""


@pytest.mark.parametrize(
    ("first", "more", "newest"),
    [
        ("", "", False),
        ("", ", **kwargs", True),
        ("past_key_values = kwargs.get('cache', past_key_values)\n    ", "", True),
    ],
)
def test_a_cache_for_tuples_where_the_newest_release_hands_over_nothing(tmp_path, first, more, newest):
    reads = "seen = 0 if past_key_values is None else past_key_values[0][0].shape[2]"
    parts = {"more": DROPS.format(first=first, more=more), "forward": reads, "takes": "past_key_values=None, **kwargs"}
    found = [f for f in text_findings(tmp_path, **parts) if f.code == "P32"]
    last = ranges.harmed("P32.tuples_shape")[-1]
    assert [last in f.releases for f in found] == [newest]


OWN_LOAD = """@classmethod
def from_pretrained(cls, path, **kwargs):
    return cls(TextConfig())
"""


@pytest.mark.parametrize(("main", "severity"), [("TextForCausalLM", ERROR), ("Other", WARNING)])
def test_keys_of_a_class_that_loads_itself_are_read_when_it_is_saved(tmp_path, main, severity):
    keys = '_tied_weights_keys = ["head.weight"]'
    other = f"\n\nclass Other(PreTrainedModel):\n    config_class = TextConfig\n    {keys}\n"
    body = keys if main == "TextForCausalLM" else "pass"
    found = said(
        tmp_path, "P11", top=other * (main == "Other"), body=body, more=OWN_LOAD, init=MAKES.format(name="head")
    )
    assert found == [(severity, "P11.list_untied")]
