"""What a load, forward and generate run for certain, in the shapes of strangers' code: P01, P09, P32, P37, P45."""

# ruff: noqa: E501 (lines of programs)

import json

import pytest

from pinfold.audit.examine import examine, forecast
from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

CONFIGURATION = """
from transformers import PretrainedConfig


class RunConfig(PretrainedConfig):
    model_type = "run-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, use_cache=True, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.num_hidden_layers = num_hidden_layers
        self.use_cache = use_cache


RunConfig.register_for_auto_class()
"""
MODELING = """
import torch
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_run import RunConfig


class Bend(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.bow = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.bow * x

{top}

class RunForCausalLM(PreTrainedModel{bases}):
    config_class = RunConfig
    accepts_loss_kwargs = False
    _supports_cache_class = True
    base_model_prefix = "model"
{body}
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
{init}
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, new):
        self.words = new

{more}
    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, use_cache=None, **kwargs):
{forward}
        return CausalLMOutputWithPast(logits=self.words(input_ids), past_key_values=past_key_values)


{end}
"""
REGISTER = 'RunForCausalLM.register_for_auto_class("AutoModelForCausalLM")'
SETTINGS = {
    "model_type": "run-tiny",
    "architectures": ["RunForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_run.RunConfig", "AutoModelForCausalLM": "modeling_run.RunForCausalLM"},
    "use_cache": True,
    "tie_word_embeddings": False,
}


def indented(text, depth):
    return "\n".join(" " * depth + line for line in text.splitlines())


@pytest.fixture
def folder(tmp_path):
    def write(config=None, files=None, bases=", GenerationMixin", end=REGISTER, **parts):
        directory = tmp_path / "run"
        directory.mkdir()
        texts = {name: indented(parts.get(name, ""), 4) for name in ("body", "more")}
        texts |= {name: indented(parts.get(name, ""), 8) for name in ("init", "forward")}
        modeling = MODELING.format(top=parts.get("top", ""), bases=bases, end=end, **texts)
        (directory / "modeling_run.py").write_text(modeling)
        (directory / "configuration_run.py").write_text(parts.get("configuration", CONFIGURATION))
        (directory / "config.json").write_text(json.dumps({**SETTINGS, **(config or {})}))
        for name, text in (files or {}).items():
            (directory / name).write_text(text)
        return directory

    return write


def findings(directory, code):
    return [f for f in audit(directory, read_modules(directory)) if f.code == code]


def said(directory):
    return examine(directory, "run").forecast


# Members of transformers' classes that a release lacks

FROM_CONFIG = "use_cache = use_cache if use_cache is not None else self.config.use_cache\n"
IN_FORWARD = {
    "below use_cache": FROM_CONFIG + "if use_cache:\n    seen = past_key_values.get_usable_length(1)",
    "without a condition": "mask = self.get_head_mask(None, 1)",
    "where no cache is given": "legacy = not isinstance(past_key_values, Cache)\nif legacy:\n"
    "    past_key_values = DynamicCache.from_legacy_cache(past_key_values)",
    "in the other branch of training": FROM_CONFIG + "if self.training:\n    use_cache = False\nelse:\n"
    "    mask = self.get_head_mask(None, 1)",
    "what nothing decides is passed over": "if attention_mask is not None:\n    attention_mask = attention_mask.bool()\n"
    "mask = self.get_head_mask(None, 1)",
}


@pytest.mark.parametrize("lines", IN_FORWARD.values(), ids=IN_FORWARD)
def test_a_missing_member_stops_forward_where_forward_runs_it(folder, lines):
    directory = folder(forward=lines)
    assert {f.case for f in findings(directory, "P09")} == {"P09.forward"}
    assert "loads, and forward fails: P09" in said(directory) and "can fail: P09" not in said(directory)


PREPARE = "def prepare_inputs_for_generation(self, input_ids, past_key_values=None, **kwargs):\n"
RETURN = '\n    return {"input_ids": input_ids, "past_key_values": past_key_values}\n'
WHILE_GENERATING = {
    "a cache is there": "    if past_key_values is not None:\n        length = past_key_values.seen_tokens",
    "of transformers' class": "    if isinstance(past_key_values, Cache):\n        most = past_key_values.get_max_length()",
    "not the other branch": "    if past_key_values is None:\n        length = 0\n    else:\n"
    "        length = past_key_values.seen_tokens",
}


@pytest.mark.parametrize("lines", WHILE_GENERATING.values(), ids=WHILE_GENERATING)
def test_a_missing_member_stops_generate_where_it_prepares_inputs(folder, lines):
    directory = folder(more=PREPARE + lines + RETURN)
    assert {f.case for f in findings(directory, "P09")} == {"P09.generate"}
    assert "cannot generate: P09" in said(directory)


UNSURE = {
    "a cache that may be given": ("if past_key_values is not None:\n    seen = past_key_values.seen_tokens", {}),
    "a setting that is off": (
        FROM_CONFIG + "if use_cache:\n    s = past_key_values.seen_tokens",
        {"use_cache": False},
    ),
    "behind a return": ("if attention_mask is None:\n    return (input_ids,)\nmask = self.get_head_mask(None, 1)", {}),
    "in a branch of an expression": ("s = past_key_values.seen_tokens if attention_mask is None else 0", {}),
    "in a loop": ("for layer in kwargs:\n    mask = self.get_head_mask(None, 1)", {}),
}


@pytest.mark.parametrize(("lines", "config"), UNSURE.values(), ids=UNSURE)
def test_a_missing_member_that_a_load_decides_on_is_no_certain_fault(folder, lines, config):
    directory = folder(forward=lines, config=config)
    assert [f.case for f in findings(directory, "P09")] == [""]
    assert "can fail: P09" in said(directory) and "forward fails: P09" not in said(directory)


def test_a_member_in_a_class_that_a_load_does_not_build_is_no_certain_fault(folder):
    other = "class Aside(PreTrainedModel):\n    config_class = RunConfig\n\n    def forward(self, x):\n"
    directory = folder(top=other + "        return self.get_head_mask(x, 1)\n\n")
    assert [f.case for f in findings(directory, "P09")] == [""]


def test_what_generate_calls_is_missed_in_every_release_that_lacks_it(folder):
    """PreTrainedModel has prepare_inputs_for_generation up to 4.51, GenerationMixin has it later."""
    lines = "    if isinstance(past_key_values, Cache):\n        most = past_key_values.get_max_length()"
    (found,) = findings(folder(more=PREPARE + lines + RETURN), "P09")
    assert {"4.49.0", "4.52.4", "4.53.3", "4.57.6"} <= set(found.releases) and "4.48.3" not in found.releases


# Classes that no entry names

FURTHER = "class Run{}(PreTrainedModel):\n    config_class = RunConfig\n\n    def __init__(self, config):\n"
FURTHER += (
    "        super().__init__(config)\n        self.post_init()\n\n    def forward(self, x):\n        return x\n\n"
)


@pytest.mark.parametrize("name", ["Model", "ForSequenceClassification", "ForTokenClassification"])
def test_a_further_class_does_not_stop_the_model_that_is_offered(folder, name):
    directory = folder(top=FURTHER.format(name), end="")
    (found,) = findings(directory, "P01")
    assert found.severity == ERROR and "P01" not in said(directory)  # AutoModel...from_pretrained does raise


@pytest.mark.parametrize(
    "auto_map",
    [
        {"AutoConfig": "configuration_run.RunConfig"},
        {"AutoConfig": "configuration_run.RunConfig", "AutoModel": "modeling_run.RunModel"},
        {"AutoConfig": "configuration_run.RunConfig", "AutoModel": "modeling_run.Nobody"},
    ],
)
def test_what_the_folder_is_has_to_be_named(folder, auto_map):
    directory = folder(top=FURTHER.format("Model"), end="", config={"auto_map": auto_map})
    assert "P01 a missing entry of auto_map" in said(directory)


PARTS = {
    "tokenization_run.py": "from transformers import PreTrainedTokenizer\n\n\nclass RunTokenizer(PreTrainedTokenizer):\n"
    "    pass\n",
    "processing_run.py": "from transformers import ProcessorMixin\n\n\nclass RunProcessor(ProcessorMixin):\n    pass\n",
    "image_processing_run.py": "from transformers import BaseImageProcessor\n\n\n"
    "class RunImageProcessor(BaseImageProcessor):\n    pass\n",
}


@pytest.mark.parametrize("name", PARTS)
def test_a_tokenizer_or_processor_without_an_entry_does_not_stop_the_model(folder, name):
    directory = folder(files={name: PARTS[name]})
    found = findings(directory, "P01")
    assert found and {f.severity for f in found} == {ERROR} and not forecast(found).startswith("by its code, in")


# Caches and generate

TUPLES = "length = past_key_values[0][0].shape[2] if past_key_values else 0"


@pytest.mark.parametrize(
    "generate",
    [
        "def generate(self, *args, **kwargs):\n    return super().generate(*args, **kwargs)\n",
        "def generate(self, inputs, **kwargs):\n    out = super().generate(inputs, **kwargs)\n    return out[:, 1:]\n",
        "def generate(self, inputs, **kwargs):\n    if inputs is None:\n        return None\n"
        "    return super(RunForCausalLM, self).generate(inputs, **kwargs)\n",
    ],
)
def test_a_generate_that_goes_on_to_the_library_gets_its_cache(folder, generate):
    assert findings(folder(more=generate, forward=TUPLES), "P32")


def test_a_generate_of_its_own_gets_no_cache(folder):
    own = "def generate(self, inputs, **kwargs):\n    return self(inputs)[0].argmax(-1)\n"
    assert not findings(folder(more=own, forward=TUPLES), "P32")


@pytest.mark.parametrize(
    ("prepare", "codes"),
    [
        (
            'def {}(self, input_ids, past=None, **kwargs):\n    return {{"input_ids": input_ids, "past_key_values": past}}',
            0,
        ),
        ('def {}(self, input_ids, **kwargs):\n    return {{"input_ids": input_ids}}', 0),
        ('def {}(self, input_ids, **kwargs):\n    return {{"input_ids": input_ids, **kwargs}}', 1),
        (
            'def {}(self, ids, **kwargs):\n    past = kwargs.get("past_key_values")\n'
            '    return {{"input_ids": ids, "past_key_values": past}}',
            1,
        ),
        ("def {}(self, ids, **kwargs):\n    return dict(input_ids=ids, past_key_values=kwargs['past_key_values'])", 1),
    ],
)
def test_a_cache_that_is_not_handed_on_is_not_taken_for_tuples(folder, prepare, codes):
    assert len(findings(folder(more=prepare.format("prepare_inputs_for_generation"), forward=TUPLES), "P32")) == codes


@pytest.mark.parametrize("bases", [", GenerationMixin", ""])
def test_generate_reads_the_number_of_layers_also_where_an_auto_class_adds_it(folder, bases):
    without = CONFIGURATION.replace("self.num_hidden_layers = ", "self.layers = ").replace(
        "num_hidden_layers=1", "layers=1"
    )
    without = without.replace("= num_hidden_layers", "= layers").replace("use_cache=True", "use_cache=False")
    directory = folder(more=PREPARE + RETURN, bases=bases, configuration=without)
    assert any("num_hidden_layers is read by generate" in f.sentence for f in findings(directory, "P15"))


# Modules, ties and names

CHAIN = "act = Bend(8)\nself.chain = nn.Sequential({})\n"


@pytest.mark.parametrize(
    "lines",
    [
        CHAIN.format("") + "for _ in range(3):\n    self.chain.append(nn.Linear(8, 8))\n    self.chain.append(act)",
        CHAIN.format("nn.Linear(8, 8), act") + "self.chain.append(act)",
        CHAIN.format("act") + "for _ in range(config.num_hidden_layers):\n    self.chain.append(act)",
    ],
)
def test_one_module_that_is_appended_twice_cannot_be_saved(folder, lines):
    assert findings(folder(init=lines), "P37")


@pytest.mark.parametrize(
    "lines",
    [
        "self.chain = nn.Sequential()\nfor _ in range(3):\n    act = Bend(8)\n    self.chain.append(act)",
        CHAIN.format("") + "self.chain.append(act)",
        CHAIN.format("") + "for _ in range(1):\n    self.chain.append(act)",
        "self.chain = nn.Sequential()\nact = nn.ReLU()\nfor _ in range(3):\n    self.chain.append(act)",
    ],
)
def test_modules_that_are_appended_once_or_have_no_weights_can_be_saved(folder, lines):
    assert not findings(folder(init=lines), "P37")


@pytest.mark.parametrize("setting", ["tied", "share_words"])
@pytest.mark.parametrize("value", [False, True])
def test_a_tie_below_a_setting_counts_where_the_setting_is_on(folder, setting, value):
    more = "def get_output_embeddings(self):\n    return self.head\n\n"
    more += f"def tie_weights(self, **kwargs):\n    if self.config.{setting}:\n        self.head.weight = self.words.weight\n"
    config = {key: item for key, item in SETTINGS.items() if key != "tie_word_embeddings"} | {setting: value}
    directory = folder(more=more, init="self.head = nn.Linear(8, 40, bias=False)")
    (directory / "config.json").write_text(json.dumps(config))
    assert bool([f for f in findings(directory, "P11") if "missing although" in f.sentence]) == value


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("base", ["BertConfig", "LlamaConfig"])
@pytest.mark.parametrize(
    "line", ["super().__init__(tie_word_embeddings={}, **kwargs)", "self.tie_word_embeddings = {}"]
)
def test_a_configuration_of_a_stock_kind_may_say_itself_whether_it_ties(folder, value, base, line):
    own = line.format(value) if "super" in line else f"super().__init__(**kwargs)\n        {line.format(value)}"
    text = CONFIGURATION.replace("PretrainedConfig", base).replace("super().__init__(**kwargs)", own)
    more = "def get_output_embeddings(self):\n    return self.head\n"
    directory = folder(more=more, init="self.head = nn.Linear(8, 40, bias=False)", configuration=text)
    config = {key: item for key, item in SETTINGS.items() if key != "tie_word_embeddings"}
    (directory / "config.json").write_text(json.dumps(config))
    assert bool([f for f in findings(directory, "P11") if "missing although" in f.sentence]) == value


@pytest.mark.parametrize("init", ["self.part = Bend(8)", "part = Bend(8)\nself.part = part"])
def test_a_property_that_reads_a_part_is_asked_for_before_the_part_is_there(folder, init):
    body = "@property\ndef _supports_sdpa(self):\n    return self.part.fast\n"
    assert findings(folder(more=body, init=init), "P35")


@pytest.mark.parametrize(
    ("names", "codes"),
    [
        ('["absent"]', 1),
        ('["words", "decay"]', 1),
        ('("gate",)', 1),
        ('["words"]', 0),
        ('["bow"]', 0),
        ('["chain", "first"]', 0),
        ("None", 0),
        ("[]", 0),
    ],
)
def test_what_is_kept_in_float32_has_to_be_there(folder, names, codes):
    init = 'self.chain = nn.ModuleDict({"first": nn.Linear(8, 8)})'
    assert len(findings(folder(body=f"_keep_in_fp32_modules = {names}", init=init), "P45")) == codes


PART = (
    "class Part(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.lin = nn.Linear(8, 8)\n"
)


@pytest.mark.parametrize(
    ("top", "init", "codes"),
    [
        (
            PART + "        self.apply(self._init_weights)\n\n    def _init_weights(self, module):\n        pass\n",
            "Part()",
            1,
        ),
        (PART + "\n    @torch.no_grad()\n    def _init_weights(self, module):\n        pass\n", "Part()", 1),
        (
            "class Base(nn.Module):\n    def _init_weights(self, m):\n        pass\n\n\n"
            + PART.replace("nn.Module", "Base"),
            "Part()",
            1,
        ),
        (PART + "\n    def init_weights(self):\n        pass\n", "Part()", 0),
        (PART + "\n    def _init_weights(self, module):\n        pass\n", "nn.Linear(8, 8)", 0),
        (FURTHER.format("Part") + "    def _init_weights(self, module):\n        pass\n", "Part(config)", 0),
    ],
)
def test_a_part_that_initialises_itself_is_taken_for_a_model(folder, top, init, codes):
    assert len(findings(folder(top=top + "\n", init=f"self.part = {init}"), "P46")) == codes


@pytest.mark.parametrize(
    "line", ["cls.config_class.from_pretrained(name)", "RunConfig.from_pretrained(name)", "RunConfig(**kwargs)"]
)
def test_a_class_that_loads_itself_is_not_built_by_transformers(folder, line):
    own = f"@classmethod\ndef from_pretrained(cls, name, *args, **kwargs):\n    config = {line}\n    return cls(config)\n"
    aside = FURTHER.format("Aside").replace("        self.post_init()\n", "")
    directory = folder(more=own, top=aside, body='_tied_weights_keys = ["head.weight"]')
    found = {f.code: f.severity for f in audit(directory, read_modules(directory)) if f.code in ("P10", "P11")}
    assert found == {"P10": WARNING, "P11": ERROR}  # save_pretrained is transformers' own, and reads the keys
