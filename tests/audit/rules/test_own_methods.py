"""Methods that transformers calls in the place of its own (P57, P61, P62), and settings around the text (P63)."""

import pytest
from corpus.net_folder import text_findings

from pinfold.audit.finding import ERROR, WARNING


def said(tmp_path, code, **parts):
    return [(f.severity, f.case) for f in text_findings(tmp_path, **parts) if f.code == code]


SAVES = "def save_pretrained(self, save_directory, **kwargs):\n"
CONFIG = "    self.config.save_pretrained(save_directory)\n"


@pytest.mark.parametrize(
    "does",
    [
        '    torch.save(self.state_dict(), f"{save_directory}/parts.pt")',
        "    self.config.save_pretrained(save_directory)\n    self.words.save_pretrained(f'{save_directory}/words')",
        '    save_file(self.state_dict(), os.path.join(save_directory, "heads.safetensors"))',
        "    self.config.save_pretrained(save_directory)\n    self.write(save_directory)",
    ],
)
def test_a_save_that_writes_no_weights(tmp_path, does):
    write = '\n\ndef write(self, place):\n    torch.save(self.words.weight, f"{place}/words.pt")\n'
    assert said(tmp_path, "P57", more=SAVES + does + write) == [(ERROR, "P57.writes_elsewhere")]


@pytest.mark.parametrize(
    "does",
    [
        "    super().save_pretrained(save_directory, **kwargs)",
        "    PreTrainedModel.save_pretrained(self, save_directory)",
        "    self.words.save_pretrained(save_directory)",
        CONFIG + '    save_file(self.state_dict(), os.path.join(save_directory, "model.safetensors"))',
        CONFIG + "    torch.save(self.state_dict(), os.path.join(save_directory, WEIGHTS_NAME))",
        "    self.write(save_directory)",
        "    self.config.save_pretrained(save_directory)\n    write_all(self, save_directory)",
    ],
)
def test_a_save_that_may_write_them(tmp_path, does):
    top = "from .tools import write_all\n"
    write = '\n\ndef write(self, place):\n    save_file(self.state_dict(), f"{place}/{NAME}")\n'
    files = {"tools.py": "def write_all(model, place):\n    pass\n"}
    parts = {"top": top + 'NAME = "model.safetensors"\n', "files": files}
    assert said(tmp_path, "P57", more=SAVES + does + write, **parts) == []


def test_a_save_beside_a_load_of_its_own(tmp_path):
    loads = "\n\n@classmethod\ndef from_pretrained(cls, path, **kwargs):\n    return cls(TextConfig())\n"
    assert said(tmp_path, "P57", more=SAVES + "    torch.save(1, 'a.pt')" + loads) == []


TOP = """from transformers import GenerationConfig


class Steps(GenerationConfig):
{init}    def validate(self{takes}):
        return None
"""
PLAIN_INIT = "    def __init__(self, **kwargs):\n        self.steps = kwargs.pop('steps', 4)\n\n"
REFUSES = "P61.no_strict_own_constructor"
USES = "self.generation_config = Steps()"


@pytest.mark.parametrize(
    ("takes", "init"),
    [("", PLAIN_INIT), (", is_init=False", PLAIN_INIT), (", is_init=False", ""), (", *args", ""), ("", "")],
)
def test_a_validate_that_refuses(tmp_path, takes, init):
    top = TOP.format(takes=takes, init=init)
    assert said(tmp_path, "P61", top=top, init=USES) == [(ERROR, REFUSES)]


@pytest.mark.parametrize(
    ("takes", "init"),
    [(", *args, **kwargs", ""), (", is_init=False, strict=False", ""), (", strict=False", PLAIN_INIT)],
)
def test_a_validate_that_takes_all(tmp_path, takes, init):
    assert said(tmp_path, "P61", top=TOP.format(takes=takes, init=init), init=USES) == []


@pytest.mark.parametrize(
    ("uses", "severity"),
    [
        ("def chat(self):\n    return self.generate(generation_config=Steps())", WARNING),
        ("def begin(self):\n    self.generation_config = Steps.from_model_config(self.config)", ERROR),
    ],
)
def test_a_validate_of_settings_that_are_not_the_models(tmp_path, uses, severity):
    assert said(tmp_path, "P61", top=TOP.format(takes="", init=""), more=uses) == [(severity, REFUSES)]


CONFIGURATION = """
from transformers import PretrainedConfig


class TextConfig(PretrainedConfig):
    model_type = "text-tiny"
{body}
    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, part=None, **kwargs):
{before}
        super().__init__({passed}**kwargs)
{after}
        self.vocab_size = vocab_size
        self.width = width
        self.num_hidden_layers = num_hidden_layers
        self.use_cache = True

{more}

TextConfig.register_for_auto_class()
"""
INNER = "self.part = PretrainedConfig(**(part or {}))"


def configured(before="pass", after="", more="", body="", passed=""):
    def deep(text, depth):
        return "\n".join(" " * depth + line for line in text.splitlines())

    return CONFIGURATION.format(
        before=deep(before, 8), after=deep(after, 8), more=deep(more, 4), body=deep(body, 4), passed=passed
    )


ASKS = "def get_text_config(self, decoder=False, **kwargs):\n    return {what}\n"


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (INNER, "self.part"),
        ("if part is None:\n    part = {}\n" + INNER, "self.part if decoder else self"),
        (INNER + "\nself.inner = self.part", "self.inner"),
    ],
)
def test_text_settings_that_are_set_too_late(tmp_path, after, what):
    text = configured(after=after, more=ASKS.format(what=what))
    assert said(tmp_path, "P62", configuration=text) == [(ERROR, "P62.text_config_after_super")]


@pytest.mark.parametrize(
    "parts",
    [
        {"before": INNER, "more": ASKS.format(what="self.part")},
        {"after": INNER, "more": ASKS.format(what='getattr(self, "part", self)')},
        {"after": INNER, "body": "part = None", "more": ASKS.format(what="self.part or self")},
        {"after": "pass", "passed": "part=part, ", "more": ASKS.format(what="self.part")},
        {"after": INNER, "more": "@property\ndef inner(self):\n    return self.part\n"},
    ],
)
def test_text_settings_in_time(tmp_path, parts):
    assert said(tmp_path, "P62", configuration=configured(**parts)) == []


GIVES = """def get_input_embeddings(self):
    return self.words

def get_output_embeddings(self):
    return self.head
"""
HEAD = "self.head = nn.Linear(config.width, config.vocab_size, bias=False)"


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("part", ASKS.format(what="self.part")),
        ("text_config", ""),  # transformers finds it by its name
        ("decoder", ""),
    ],
)
def test_outer_settings_tie_what_the_inner_ones_do_not(tmp_path, name, more):
    keeps = f"self.{name} = PretrainedConfig(**kwargs.pop('{name}', {{}}))" if name != "part" else INNER
    text = configured(before=keeps, more=more)
    config = {name: {"vocab_size": 40, "tie_word_embeddings": False}}
    found = said(tmp_path, "P63", configuration=text, config=config, more=GIVES, init=HEAD)
    assert found == [(ERROR, "P63.outer_ties")]


@pytest.mark.parametrize(
    ("config", "gives"),
    [
        ({"part": {"tie_word_embeddings": True}}, GIVES),
        ({"part": {"tie_word_embeddings": False}, "tie_word_embeddings": False}, GIVES),
        ({"part": {"tie_word_embeddings": False}}, GIVES.partition("\n\n")[0]),
        ({"part": {}}, GIVES),
    ],
)
def test_outer_settings_that_tie_nothing(tmp_path, config, gives):
    text = configured(before=INNER, more=ASKS.format(what="self.part"))
    assert said(tmp_path, "P63", configuration=text, config=config, more=gives, init=HEAD) == []
