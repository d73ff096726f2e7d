"""P15, P16 and P31: configurations that a decorator makes, that are called as transformers' own, and rotary settings."""

# ruff: noqa: E501 (lines of programs)

import pytest
from corpus.net_folder import errors_of, text_findings

FIELDS = (
    "{top}\nfrom transformers import PretrainedConfig\n\n\n{decorator}\nclass TextConfig(PretrainedConfig):\n"
    '    model_type = "text-tiny"\n    vocab_size: int = 40\n    width: int = 8\n    num_hidden_layers: int = 1\n'
    "    tie_word_embeddings: bool = False\n    use_cache: bool = True\n{body}\n\nTextConfig.register_for_auto_class()\n"
)
INIT = "\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n"


@pytest.mark.parametrize(
    ("top", "decorator", "body", "reported"),
    [
        ("from dataclasses import dataclass", "@dataclass", "", True),
        ("import dataclasses", "@dataclasses.dataclass(kw_only=True)", "", True),
        ("from dataclasses import dataclass as data", "@data(repr=False)", "", True),
        ("from dataclasses import dataclass", "@dataclass", "\n    def __post_init__(self):\n        super().__init__()\n", True),
        ("from dataclasses import dataclass", "@dataclass", "\n    def __post_init__(self, **kwargs):\n        super().__post_init__(**kwargs)\n", True),
        ("from huggingface_hub.dataclasses import strict", "@strict", "", True),
        ("from dataclasses import dataclass", "@dataclass", INIT, False),  # dataclass leaves one that is there
        ("from dataclasses import dataclass", "@dataclass(init=False)", "", False),
        ("from mine import dataclass", "@dataclass", "", False),
        ("", "", "", False),
    ],
)  # fmt: skip
def test_a_configuration_that_a_decorator_makes(top, decorator, body, reported, tmp_path):
    text = FIELDS.format(top=top, decorator=decorator, body=body)
    lines = [f for f in text_findings(tmp_path, configuration=text) if f.code == "P15"]
    assert [f.sentence.split("@")[1].split()[0] in ("dataclass", "strict") for f in lines] == [True] * reported


def test_a_decorator_in_the_releases_that_it_fails_in(tmp_path):
    text = FIELDS.format(top="from dataclasses import dataclass", decorator="@dataclass", body="")
    (finding,) = [f for f in text_findings(tmp_path, configuration=text) if f.code == "P15"]
    assert (finding.releases[0], finding.releases[-1]) == ("4.48.3", "5.3.0")


BASED = "from transformers import {stock}\n"


@pytest.mark.parametrize(
    ("stock", "config", "own", "last"),
    [
        ("BertPreTrainedModel", "BertConfig", "", "4.48.3"),
        ("GPT2PreTrainedModel", "GPT2Config", "", "4.48.3"),
        ("LlamaForCausalLM", "LlamaConfig", "", "4.48.3"),
        ("BertPreTrainedModel", "TextConfig", "", "newest"),
        ("BertPreTrainedModel", "BertConfig", "config_class = BertConfig", None),
        ("LlamaForCausalLM", "LlamaConfig", "config_class = LlamaConfig", None),
    ],
)
def test_the_configuration_class_of_a_stock_base(stock, config, own, last, tmp_path):
    parts = {"top": BASED.format(stock=stock), "base": stock, "mixin": "", "body": own, "config_class": ""}
    findings = [f for f in text_findings(tmp_path, renamed=config, **parts) if f.code == "P16"]
    if last is None:
        assert not findings
    else:
        (finding,) = findings
        assert (finding.releases[-1] == last) == (last != "newest")


KINDS = {
    "linear": {"factor": 2.0},
    "yarn": {"factor": 2.0, "original_max_position_embeddings": 32},
    "llama3": {"factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    "longrope": {"factor": 2.0, "short_factor": [1.0], "long_factor": [1.0], "original_max_position_embeddings": 32},
    "dynamic": {"factor": 2.0},
}
SET = "self.rope_scaling = rope_scaling"
PASSED = "rope_scaling=rope_scaling, "
LENGTH = "self.max_position_embeddings = 64\n"
THETA = {"rope_theta": 10000.0}


@pytest.mark.parametrize(
    ("kind", "more", "parts", "first", "last"),
    [
        ("linear", {}, {"passed": PASSED}, "5.4.0", "5.4.0"),
        ("yarn", {}, {"before": LENGTH, "passed": PASSED}, "5.4.0", "5.4.0"),
        ("longrope", {}, {"passed": PASSED}, "5.4.0", "5.4.0"),
        ("llama3", {}, {"before": LENGTH, "passed": PASSED}, "5.4.0", "newest"),
        ("llama3", THETA, {"after": LENGTH, "passed": PASSED}, "5.4.0", "newest"),
        ("yarn", THETA, {"after": LENGTH, "passed": PASSED}, "5.4.0", "newest"),
        ("longrope", THETA, {"after": "self.hidden_size = 8", "passed": PASSED}, "5.4.0", "newest"),
        (
            "llama3",
            {"original_max_position_embeddings": None},
            {"before": LENGTH, "passed": PASSED},
            "5.4.0",
            "newest",
        ),
        ("linear", THETA, {"passed": PASSED}, None, None),
        ("dynamic", {}, {"passed": PASSED}, None, None),
        ("llama3", THETA, {"before": LENGTH, "passed": PASSED}, None, None),
        ("llama3", {}, {"before": LENGTH + SET}, None, None),
        ("longrope", {}, {"before": "self.hidden_size = 8\n" + SET}, None, None),
        ("linear", {}, {"after": SET}, None, None),  # what comes behind super().__init__ is not checked
        ("linear", {}, {}, None, None),  # an argument that goes nowhere
    ],
)
def test_settings_that_are_checked_before_they_are_complete(kind, more, parts, first, last, tmp_path):
    stored = {k: v for k, v in {"rope_type": kind, **KINDS[kind], **more}.items() if v is not None}
    findings = [f for f in text_findings(tmp_path, {"rope_scaling": stored}, **parts) if f.code == "P31"]
    if first is None:
        assert not findings
    else:
        (finding,) = findings
        assert finding.releases[0] == first and (finding.releases[-1] == "5.4.0") == (last == "5.4.0")
        assert "before super().__init__" in str(finding) and CURED.replace("\n    ", " ") in finding.fix


READS = "self.scaled = config.rope_scaling is not None"
CURED = "if rope_scaling:\n    self.rope_scaling = rope_scaling"


def test_the_cure_for_settings_that_are_never_set_names_a_place_before_super(tmp_path):
    (finding,) = [f for f in text_findings(tmp_path, init=READS) if f.code == "P15"]
    assert CURED.replace("\n    ", " ") in finding.fix and "super().__init__(rope_scaling=rope_scaling" in finding.fix


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_configuration_with_that_cure_is_right(kind, tmp_path):
    config = {"rope_scaling": {"rope_type": kind, **KINDS[kind]}} if kind else {}
    before = f"self.hidden_size = 8\nself.num_attention_heads = 1\n{LENGTH}{CURED}"
    reads = 'self.f = 1.0 if config.rope_scaling is None else config.rope_scaling["factor"]'
    assert errors_of(tmp_path, config, before=before, passed=PASSED, init=reads) == []
