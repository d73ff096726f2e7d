"""P54: a processor's template of a chat that a load leaves out."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoProcessor, PreTrainedTokenizerFast

from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

MODELING = """
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class NoteConfig(PretrainedConfig):
    model_type = "note-tiny"


class NoteModel(PreTrainedModel):
    config_class = NoteConfig

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(2, 2)
        self.post_init()

    def forward(self, input_ids=None, return_dict=None):
        return (self.layer(input_ids),)


NoteConfig.register_for_auto_class()
NoteModel.register_for_auto_class("AutoModel")
"""
PROCESSING = """
from transformers import ProcessorMixin


class {base}(ProcessorMixin):
    attributes = ["tokenizer"]
    tokenizer_class = "AutoTokenizer"
{init}
    def __call__(self, text=None, **kwargs):
        return self.tokenizer(text)

{more}
NoteProcessor.register_for_auto_class("AutoProcessor")
"""
ROOM = "\n    def __init__(self, tokenizer=None, places=4, **kwargs):\n        self.places = places\n"
ROOM += "        super().__init__(tokenizer, **kwargs)\n"
NO_ROOM = ROOM.replace(", **kwargs", "")
NAMED = ROOM.replace("places=4", "places=4, chat_template=None").replace(
    "tokenizer, **", "tokenizer, chat_template=chat_template, **"
)
BY_KEYWORD = NAMED.replace("places=4, ", "places=4, *, ")
SETS = ROOM + "        self.chat_template = self.tokenizer.chat_template\n"
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
# how the class is written -> (its __init__, the first release in which the template is left out; None: in none)
SHAPES = {
    "others in kwargs": (ROOM, "4.53"),
    "no others": (NO_ROOM, "4.49"),
    "none of its own": ("", "4.53"),
    "by keyword alone": (BY_KEYWORD, "4.53"),
    "named": (NAMED, None),
    "set by itself": (SETS, None),
}


def folder(path, init, base="NoteProcessor", more="", stored="chat_template.jinja"):
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, model_input_names=["input_ids"]).save_pretrained(path)
    (path / "modeling_note.py").write_text(MODELING)
    (path / "processing_note.py").write_text(PROCESSING.format(init=init, base=base, more=more))
    entries = {"AutoConfig": "modeling_note.NoteConfig", "AutoModel": "modeling_note.NoteModel"}
    (path / "config.json").write_text(json.dumps({"model_type": "note-tiny", "auto_map": entries}))
    settings = {"processor_class": "NoteProcessor", "auto_map": {"AutoProcessor": "processing_note.NoteProcessor"}}
    if stored == "chat_template.jinja":
        (path / stored).write_text(TEMPLATE)
    elif stored == "processor_config.json":
        settings["chat_template"] = TEMPLATE
    (path / "processor_config.json").write_text(json.dumps(settings))
    return path


def findings(path):
    return [f for f in audit(path, read_modules(path)) if f.code == "P54"]


def writes_a_chat(path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(path / "cache"))
    processor = AutoProcessor.from_pretrained(path, trust_remote_code=True)
    try:
        return processor.apply_chat_template([{"role": "user", "content": "a b"}]) == "a b"
    except ValueError as error:
        assert "does not have a chat template" in str(error)
        return False


@pytest.mark.parametrize("stored", ["chat_template.jinja", "processor_config.json"])
@pytest.mark.parametrize("init, since", SHAPES.values(), ids=SHAPES)
def test_a_template_that_a_load_leaves_out_is_named(tmp_path, monkeypatch, init, since, stored):
    path = folder(tmp_path, init, stored=stored)
    found = findings(path)
    assert [f"transformers {since}-" in f.sentence and stored in f.sentence for f in found] == [True] * bool(since)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    if init is not SETS:  # that one has a template where its tokenizer has one
        assert writes_a_chat(path, monkeypatch) == (since is None)


def test_the_class_that_a_load_takes_decides(tmp_path):
    derived = "class NoteProcessor(Base):\n    pass\n\n"
    assert findings(folder(tmp_path, ROOM, base="Base", more=derived))
    assert not findings(folder(tmp_path, NAMED, base="Base", more=derived))


def test_nothing_is_said_where_no_template_lies_beside_it(tmp_path):
    assert not findings(folder(tmp_path, ROOM, stored=""))


def test_one_of_transformers_own_processors_names_it(tmp_path):
    own = "from transformers import LlavaProcessor\n\n\nclass NoteProcessor(LlavaProcessor):\n    pass\n\n"
    assert not findings(folder(tmp_path, "", base="Unused", more=own))


def test_only_releases_that_the_folder_supports_are_named(tmp_path):
    path = folder(tmp_path, ROOM)
    (path / "modeling_note.py").write_text('MIN_TRANSFORMERS = "5.0"\n' + MODELING)
    (found,) = findings(path)
    assert "transformers 5.0-" in found.sentence
