"""P11b of modules that are one, P33 of types that a release cannot read, P39 of tokenizers of the folder's own."""

import json
import struct

import pytest
from corpus.net_folder import errors_of, findings_of, text_findings

TIED = "_tied_weights_keys = {{{}}}"
ONE = '"b.weight": "a.weight", "b.bias": "a.bias"'


@pytest.mark.parametrize(
    ("keys", "init", "codes"),
    [
        (ONE, "self.a = nn.Linear(8, 8)\nself.b = self.a", []),
        (ONE, "layer = nn.Linear(8, 8)\nself.a = layer\nself.b = layer", []),
        (ONE, "self.b = self.a = nn.Linear(8, 8)", []),
        ('"b.lin.weight": "a.lin.weight"', "self.a = Side()\nself.b = self.a", []),
        (ONE, "self.a = nn.Linear(8, 8)\nself.b = nn.Linear(8, 8)", ["P11b", "P11b"]),
        ('"b.weight": "words.weight"', "self.a = nn.Linear(8, 40)\nself.b = self.a", ["P11b", "P11b"]),
        (f'{ONE}, "c.weight": "words.weight"', "self.a = nn.Linear(8, 8)\nself.b = self.a", ["P11b", "P11b"]),
    ],
)
def test_a_tie_of_one_module_under_two_names(keys, init, codes, tmp_path):
    top = "class Side(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.lin = nn.Linear(8, 8)"  # noqa: E501
    parts = {"top": f"{top}\n", "init": init, "body": TIED.format(keys), "configuration": WITHOUT_FLAG}
    found = errors_of(tmp_path, **parts)
    assert [code for code in found if code == "P11b"] == codes


WITHOUT_FLAG = """
from transformers import PretrainedConfig


class TextConfig(PretrainedConfig):
    model_type = "text-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, **kwargs):
        super().__init__(**kwargs)
        self.num_hidden_layers = num_hidden_layers
        self.vocab_size = vocab_size
        self.width = width


TextConfig.register_for_auto_class()
"""


def checkpoint(directory, tensors):
    """A safetensors file of (name, type, shape, bytes)."""
    header, data = {}, b""
    for name, dtype, shape, size in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(size)
    text = json.dumps(header).encode()
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


WORDS = ("words.weight", "F32", [40, 8], 1280)


@pytest.mark.parametrize(
    ("dtype", "size", "config", "last"),
    [
        ("F8_E8M0", 8, {"torch_dtype": "float32"}, "4.57.6"),
        ("F8_E4M3FNUZ", 8, {"torch_dtype": "bfloat16"}, "4.57.6"),
        ("F8_E5M2FNUZ", 8, {"dtype": "float32"}, "4.57.6"),
        ("F8_E8M0", 8, {}, "newest"),
        ("F8_E4M3FNUZ", 8, {}, "newest"),
        ("F4", 4, {"torch_dtype": "float32"}, "newest"),
        ("C64", 64, {"torch_dtype": "float32"}, "4.57.6"),
        ("C64", 64, {}, "newest"),
        ("F8_E4M3", 8, {"torch_dtype": "float32"}, None),
        ("U8", 8, {}, None),
    ],
)
def test_tensors_of_a_type_that_not_every_release_reads(dtype, size, config, last, tmp_path):
    text_findings(tmp_path, config)
    checkpoint(tmp_path / "text", [WORDS, ("scale", dtype, [8], size)])
    lines = [f for f in findings_of(tmp_path / "text") if f.code == "P33"]
    if last is None:
        assert not lines
    else:
        (finding,) = lines
        assert finding.sentence.startswith("scale ") and dtype in finding.sentence
        assert (finding.releases[-1] == last) == (last != "newest")


def test_each_type_is_named_once(tmp_path):
    text_findings(tmp_path, {"torch_dtype": "float32"})
    tensors = [("a", "F8_E8M0", [8], 8), ("b", "F8_E8M0", [8], 8), ("c", "F4", [8], 4), ("d", "C64", [2], 16)]
    checkpoint(tmp_path / "text", [WORDS, *tensors])
    lines = [f.sentence[:1] for f in findings_of(tmp_path / "text") if f.code == "P33"]
    assert sorted(lines) == ["a", "c", "d"]


TOKENIZER = "from transformers import {base}\n{more}\n\nclass TextTokenizer({own}):\n    {body}\n"
ENTRY = {"auto_map": {"AutoTokenizer": ["tokenization_text.TextTokenizer", None]}, "eos_token": "."}
TAKES = ", ".join(
    f"{name}=None"
    for name in (
        "past_key_values",
        "cache",
        "use_cache",
        "return_dict",
        "cache_position",
        "position_ids",
        "inputs_embeds",
    )
)


@pytest.mark.parametrize(
    ("base", "body", "takes", "reported"),
    [
        ("PreTrainedTokenizer", "pass", TAKES, True),
        ("PreTrainedTokenizerFast", "padding_side = 'left'", TAKES, True),
        ("PreTrainedTokenizer", "model_input_names = ['input_ids', 'attention_mask', 'spans']", TAKES, True),
        ("PreTrainedTokenizer", "model_input_names = ['input_ids', 'attention_mask']", TAKES, False),
        ("PreTrainedTokenizer", "pass", f"{TAKES}, token_type_ids=None", False),
        ("PreTrainedTokenizer", "pass", f"{TAKES}, **kwargs", False),
        ("PreTrainedTokenizer", "model_input_names = NAMES", TAKES, False),  # a name that is not followed
        ("GPT2Tokenizer", "pass", TAKES, False),
    ],
)
def test_the_inputs_of_a_tokenizer_of_the_folder(base, body, takes, reported, tmp_path):
    text = TOKENIZER.format(base=base, own=base, body=body, more="")
    found = errors_of(tmp_path, tokenizer=ENTRY, takes=takes, files={"tokenization_text.py": text})
    assert ("P39" in found) == reported


def test_the_inputs_of_a_tokenizer_with_an_own_base(tmp_path):
    more = "\n\nclass Base(PreTrainedTokenizer):\n    pass\n"
    text = TOKENIZER.format(base="PreTrainedTokenizer", own="Base", body="pass", more=more)
    assert "P39" in errors_of(tmp_path, tokenizer=ENTRY, takes=TAKES, files={"tokenization_text.py": text})
    text = text.replace(
        "Base(PreTrainedTokenizer):\n    pass", "Base(PreTrainedTokenizer):\n    model_input_names = ['input_ids']"
    )
    (tmp_path / "text" / "tokenization_text.py").write_text(text)
    assert "P39" not in [f.code for f in findings_of(tmp_path / "text")]


@pytest.mark.parametrize(
    ("tokenizer", "config", "files", "reported"),
    [
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, {}, {}, True),
        ({}, {}, {}, True),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "."}, {}, {}, False),
        ({}, {"eos_token_id": 0}, {}, False),
        ({}, {}, {"generation_config.json": '{"eos_token_id": [3, 4], "use_cache": true}'}, False),
        ({}, {}, {"special_tokens_map.json": '{"eos_token": "."}'}, False),
    ],
)
def test_a_tokenizer_that_cannot_say_where_a_text_ends(tokenizer, config, files, reported, tmp_path):
    lines = text_findings(tmp_path, config, tokenizer, files=files)
    assert ("P40" in [f.code for f in lines]) == reported
