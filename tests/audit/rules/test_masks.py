"""P47: a mask that generate refuses; and P11 where the head is the input embeddings themselves."""

import json

import pytest

from pinfold.audit.examine import examine

CONFIGURATION = """
from transformers import PretrainedConfig


class PondConfig(PretrainedConfig):
    model_type = "pond-tiny"

    def __init__(self, vocab_size=40, width=8, use_cache=False, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.use_cache = use_cache
"""
MODELING = """
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_pond import PondConfig


class PondModel(PreTrainedModel):
    config_class = PondConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids=None):
        return self.words(input_ids)


class PondForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = PondConfig
    base_model_prefix = "pond"

    def __init__(self, config):
        super().__init__(config)
        self.pond = PondModel(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()
{more}
    def forward(self, {forward}):
        return CausalLMOutput(logits=F.linear(self.pond(input_ids), self.pond.words.weight))
"""
PREPARE = """
    def prepare_inputs_for_generation(self, {prepare}):
        return {{"input_ids": input_ids}}
"""
CONFIG = {
    "model_type": "pond-tiny",
    "auto_map": {
        "AutoConfig": "configuration_pond.PondConfig",
        "AutoModelForCausalLM": "modeling_pond.PondForCausalLM",
    },
    "use_cache": False,
}
MASKED = "input_ids=None, attention_mask=None, **kwargs"


def codes(tmp_path, code, *, forward=MASKED, prepare="", more="", settings=None, files=None):
    (tmp_path / "configuration_pond.py").write_text(CONFIGURATION)
    more += PREPARE.format(prepare=prepare) if prepare else ""
    (tmp_path / "modeling_pond.py").write_text(MODELING.format(more=more, forward=forward))
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **(settings or {})}))
    for name, text in (files or {}).items():
        (tmp_path / name).write_text(text)
    return [finding for finding in examine(tmp_path, "pond").findings if finding.code == code]


@pytest.mark.parametrize(
    ("forward", "prepare", "words"),
    [
        ("input_ids=None, **kwargs", "input_ids, **kwargs", "hand it on to forward"),
        ("input_ids=None, state=None, return_dict=None", "input_ids, state=None, **model_kwargs", "hand it on"),
        (MASKED, "input_ids, **others", "or call its **others **kwargs"),
        (MASKED, "input_ids, past_key_values=None", "Take attention_mask=None in prepare_inputs_for_generation"),
    ],
)
def test_a_mask_that_is_named_nowhere(tmp_path, forward, prepare, words):
    (finding,) = codes(tmp_path, "P47", forward=forward, prepare=prepare)
    assert words in finding.fix and {"4.48.3", "5.24.0"} <= set(finding.releases)


@pytest.mark.parametrize(
    "shape",
    [
        {"prepare": "input_ids, **kwargs"},
        {"prepare": "input_ids, **model_kwargs"},
        {"prepare": "input_ids, attention_mask=None, **rest", "forward": "input_ids=None, **kwargs"},
        {"prepare": ""},  # transformers' own names it
        {"prepare": "input_ids, **rest", "more": "\n    def generate(self, input_ids):\n        return input_ids\n"},
        {"prepare": "input_ids, **rest", "settings": {"is_encoder_decoder": True}},
        {
            "prepare": "input_ids, **rest",
            "files": {"tokenizer_config.json": '{"model_input_names": ["input_ids"], "eos_token": "x"}'},
        },
        {"prepare": "input_ids, **rest", "more": '\n    main_input_name = "frames"\n'},
    ],
)
def test_a_mask_that_is_named_or_not_asked_for(tmp_path, shape):
    assert codes(tmp_path, "P47", **shape) == []


GIVES = "\n    def get_output_embeddings(self):\n        return {}\n"
INPUT = "\n    def get_input_embeddings(self):\n        return {}\n"


@pytest.mark.parametrize(
    ("output", "given", "tied"),
    [
        ("self.pond.words", "self.pond.words", False),
        ("self.get_input_embeddings()", "self.pond.words", False),
        ("self.pond.words", "self.pond.get_input_embeddings()", False),
        ("self.pond.get_input_embeddings()", "self.pond.words", False),
        ("self.head", "self.pond.words", True),
        ("self.head", "self.pond.get_input_embeddings()", True),
    ],
)
def test_a_head_that_is_the_input_embeddings_needs_no_tying(tmp_path, output, given, tied):
    more = GIVES.format(output) + INPUT.format(given)
    found = codes(tmp_path, "P11", more=more, settings={"tie_word_embeddings": True})
    assert bool(found) is tied


def test_a_forward_without_a_mask_that_transformers_own_preparation_passes(tmp_path):
    names = "input_ids=None, return_dict=None, cache_position=None, position_ids=None, inputs_embeds=None, cache=None"
    (finding,) = codes(tmp_path, "P26", forward=names)
    assert "takes no attention_mask, which generate passes" in finding.sentence


@pytest.mark.parametrize(
    ("declared", "severities"),
    [("config: PondConfig", ["error"]), ("config", ["warning"]), ("config: PartConfig", [])],
)
def test_a_field_that_is_read_of_the_declared_class_beside_a_table_of_a_part(tmp_path, declared, severities):
    configuration = CONFIGURATION.replace("        self.width", "        self.part_config = {}\n        self.width")
    text = MODELING.format(more="", forward=MASKED)
    head, tail = text.split("class PondForCausalLM")
    tail = tail.replace("(self, config):", f"(self, {declared}):").replace(
        "        self.pond =", "        assert config.tie_word_embeddings\n        self.pond ="
    )
    files = {"configuration_pond.py": configuration, "modeling_pond.py": f"{head}class PondForCausalLM{tail}"}
    found = [f for f in codes(tmp_path, "P15", files=files) if "tie_word_embeddings" in f.sentence]
    assert [finding.severity for finding in found] == severities


UPDATE = """
    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):
        {body}
        return model_kwargs
"""
CHAT = """
    def chat(self, tokenizer, text):
        inputs = tokenizer(text, return_tensors="pt")
        return self.generate({given})
"""
CARD = """---
license: mit
---
```python
from transformers import AutoModelForCausalLM
out = model.generate({given})
```
"""
EXTENDS = 'if "attention_mask" in model_kwargs:\n            model_kwargs["attention_mask"] = None'


@pytest.mark.parametrize(
    ("more", "card", "severity"),
    [
        ("", "", "error"),
        (UPDATE.format(body=EXTENDS), "", "warning"),
        (UPDATE.format(body='model_kwargs["state"] = outputs.state'), "", "error"),
        (CHAT.format(given="inputs.input_ids, do_sample=True"), "", "warning"),
        (CHAT.format(given="**inputs"), "", "error"),
        (CHAT.format(given="inputs['input_ids'], attention_mask=inputs['attention_mask']"), "", "error"),
        ("", CARD.format(given="ids, max_new_tokens=20"), "warning"),
        ("", CARD.format(given="input_ids=ids"), "warning"),
        ("", CARD.format(given="**tokenizer('a', return_tensors='pt')"), "error"),
        ("", CARD.format(given=""), "error"),
        ("", CARD.format(given="ids, ..."), "warning"),
        ("", CARD.format(given="%%"), "error"),
        (UPDATE.format(body=EXTENDS) + CHAT.format(given="**inputs"), "", "error"),
    ],
)
def test_a_mask_that_the_folder_itself_never_hands_to_generate(tmp_path, more, card, severity):
    files = {"README.md": card} if card else {}
    (finding,) = codes(tmp_path, "P47", prepare="input_ids, **rest", more=more, files=files)
    assert finding.severity == severity
    assert ("P47" in examine(tmp_path, "pond").forecast) is (severity == "error")
