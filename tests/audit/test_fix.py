"""The fixer: what it changes is cured, everything else keeps its bytes, and a second run finds nothing."""

import json
import os

import numpy
import pytest
from helpers import tiny
from helpers.forks import Readers
from safetensors.numpy import save_file

from pinfold.audit.fixes import files, fix
from pinfold.audit.json_text import JsonText
from pinfold.audit.run import audit
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder, read_modules
from pinfold.staging.stage import stage

CALL = "        self.post_init()\n"
TIED = '''"""A bag of words whose head is its embedding, for tests."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput

from .configuration_tiny import TinyConfig


class TinyPreTrainedModel(PreTrainedModel):
    config_class = TinyConfig
    base_model_prefix = "tiny"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.5)


class TinyModel(TinyPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask=None):
        return BaseModelOutput(last_hidden_state=self.embedding(input_ids))


class TinyForMaskedLM(TinyPreTrainedModel):
    _tied_weights_keys = ["head.weight"]
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.tiny = TinyModel(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.tiny.get_input_embeddings()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new):
        self.head = new

    def forward(self, input_ids, attention_mask=None):
        return MaskedLMOutput(logits=self.head(self.tiny(input_ids).last_hidden_state))


TinyModel.register_for_auto_class("AutoModel")
TinyForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
'''
LOAD = """
import sys, torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification
torch.manual_seed(0)
model = globals()[sys.argv[2]].from_pretrained(sys.argv[1], trust_remote_code=True).eval()
out = model(input_ids=torch.arange(12).view(2, 6))
head = getattr(model, "head", None)
tied = head is not None and head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
print(f"{float(out[0].double().abs().sum()):.9f} tied={tied}")
"""


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    running = Readers(tmp_path_factory.mktemp("readers"))
    yield running
    running.close()


@pytest.fixture
def load(readers, tmp_path):
    """load(directory, "AutoModel") -> what came of loading it."""
    return lambda directory, auto: readers.run(LOAD, tmp_path / "home", directory, auto)


def put(folder, checkpoint, path):
    """Stage a folder and a checkpoint, as a push does."""
    path.mkdir()
    return stage(read_folder(folder), checkpoint, path).directory


def fixes_of(directory) -> list[fix.Fix]:
    found = fix.propose(directory, read_modules(directory)).changes
    files.apply(found)
    assert fix.propose(directory, read_modules(directory)).changes == []  # a second time changes nothing
    return found


def codes(directory) -> set[str]:
    return {finding.code for finding in audit(directory, read_modules(directory))}


@pytest.fixture
def staged(tmp_path, tiny_folder, tiny_checkpoint):
    """What a push would upload, to be broken."""
    return put(tiny_folder, tiny_checkpoint, tmp_path / "staged")


def edit(path, old: str, new: str = "", count: int = -1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def changed(directory, **values) -> dict:
    """Set keys of config.json, or remove those that are None."""
    path = directory / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}, indent=2) + "\n")
    return config


def test_a_clean_folder_needs_no_fix(staged):
    assert codes(staged) == set() and fix.propose(staged, read_modules(staged)).changes == []
    assert files.diff([]) == "" and fix.propose(staged, read_modules(staged)).reasons == []


@pytest.mark.slow
def test_post_init_is_added_and_the_model_loads_in_transformers_5(load, staged):
    good = load(staged, "AutoModelForSequenceClassification")
    assert good.returncode == 0, good.stderr[-1500:]
    edit(staged / "modeling_tiny.py", CALL)
    broken = load(staged, "AutoModelForSequenceClassification")
    assert broken.returncode != 0 and "all_tied_weights_keys" in broken.stderr
    assert "P10" in codes(staged)
    before = (staged / "modeling_tiny.py").read_text()
    (found,) = fixes_of(staged)
    assert found.codes == ["P10"] and found.file == "modeling_tiny.py" and "P10" not in codes(staged)
    assert [line for line in (staged / "modeling_tiny.py").read_text().splitlines(True) if line != CALL] == (
        before.splitlines(True)
    )
    again = load(staged, "AutoModelForSequenceClassification")
    assert again.returncode == 0 and again.stdout == good.stdout


@pytest.mark.slow
def test_tied_keys_become_a_table_and_the_weights_are_tied_in_transformers_5(load, tmp_path):
    text = TIED.replace('["head.weight"]', '{"head.weight": "tiny.embedding.weight"}')
    configuration = tiny.CONFIGURATION.replace("width=8, **", "width=8, tie_word_embeddings=True, **").replace(
        "super().__init__(", "super().__init__(tie_word_embeddings=tie_word_embeddings, "
    )
    folder = tiny.write_folder(tmp_path / "tied", modeling_tiny=text, configuration_tiny=configuration)
    checkpoint = tiny.save_checkpoint(folder, tmp_path / "checkpoint", "TinyForMaskedLM")
    directory = put(folder, checkpoint, tmp_path / "staged")
    good = load(directory, "AutoModelForMaskedLM")
    assert good.returncode == 0 and "tied=True" in good.stdout, good.stderr[-1500:]
    edit(directory / "modeling_tiny.py", '{"head.weight": "tiny.embedding.weight"}', '["head.weight"]')
    broken = load(directory, "AutoModelForMaskedLM")
    assert broken.returncode != 0 and "P11" in codes(directory)
    (found,) = fixes_of(directory)
    assert found.codes == ["P11"] and "P11" not in codes(directory)
    again = load(directory, "AutoModelForMaskedLM")
    assert again.returncode == 0 and again.stdout == good.stdout


def test_the_flag_that_transformers_4_takes_for_granted_is_written_down(tmp_path):
    folder = tiny.write_folder(tmp_path / "tied", modeling_tiny=TIED)
    (folder / "config.json").write_text('{"model_type": "outside-tiny"}')
    found = {each.file: each.codes for each in fixes_of(folder)}
    assert found == {"config.json": ["P01", "P11b"], "modeling_tiny.py": ["P11"]}
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True
    assert not {"P11", "P11b", "P01"} & codes(folder)


@pytest.mark.parametrize("keys", ['["head.weight"]', '{"head.weight": "tiny.embedding.weight"}'])
@pytest.mark.parametrize("apart", [True, False])
def test_a_head_of_its_own_in_the_file_is_not_tied(tmp_path, keys, apart):
    text = TIED.replace('["head.weight"]', keys)
    folder = tiny.write_folder(tmp_path / "tied", modeling_tiny=text)
    (folder / "config.json").write_text('{"model_type": "outside-tiny"}')
    words = numpy.random.default_rng(0).standard_normal((16, 8)).astype(numpy.float32)
    head = words + 1 if apart else words.copy()
    save_file({"head.weight": head, "tiny.embedding.weight": words}, folder / "model.safetensors", {"format": "pt"})
    fixes_of(folder)
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is not apart
    assert not {"P11", "P11b", "P01"} & codes(folder)


@pytest.mark.slow
def test_auto_map_is_completed_and_the_model_loads(load, staged):
    complete = json.loads((staged / "config.json").read_text())["auto_map"]
    changed(staged, auto_map={"AutoConfig": complete["AutoConfig"]})
    assert load(staged, "AutoModelForSequenceClassification").returncode != 0
    assert "P01" in codes(staged)
    (found,) = fixes_of(staged)
    assert found.codes == ["P01"] and codes(staged) == set()
    assert json.loads((staged / "config.json").read_text())["auto_map"] == complete
    assert load(staged, "AutoModelForSequenceClassification").returncode == 0


@pytest.mark.parametrize(
    "value", ["ghost.TinyModel", "modeling_tiny.Ghost", "TinyModel", ["modeling_tiny.TinyModel"], 7]
)
def test_an_entry_that_leads_nowhere_is_fixed(staged, value):
    config = json.loads((staged / "config.json").read_text())
    changed(staged, auto_map={**config["auto_map"], "AutoModel": value})
    assert "P02" in codes(staged)
    assert [each.codes for each in fixes_of(staged)] == [["P02"]]
    assert (
        json.loads((staged / "config.json").read_text())["auto_map"] == config["auto_map"] and codes(staged) == set()
    )


def test_code_in_another_repository_is_its_owners_matter(staged):
    changed(staged, auto_map={"AutoModel": "somebody/code--modeling_tiny.TinyModel"})
    assert fix.propose(staged, read_modules(staged)).changes == []


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_the_dtype_is_that_of_the_tensors(staged, key):
    changed(staged, **{"torch_dtype": None, key: "float16"})
    assert "P20" in codes(staged)
    assert [each.codes for each in fixes_of(staged)] == [["P20"]]
    config = json.loads((staged / "config.json").read_text())
    assert config["torch_dtype"] == "float32" and "dtype" not in config and codes(staged) == set()


def test_a_dtype_is_left_alone_where_tensors_differ_or_are_quantised(staged):
    import torch
    from safetensors.torch import load_file, save_file

    changed(staged, torch_dtype="float16", quantization_config={"bits": 4})
    assert fix.propose(staged, read_modules(staged)).changes == []
    tensors = load_file(staged / "model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name].to(torch.bfloat16)
    save_file(tensors, staged / "model.safetensors", metadata={"format": "pt"})
    changed(staged, torch_dtype="float64", quantization_config=None)
    assert fix.propose(staged, read_modules(staged)).changes == []
    (staged / "model.safetensors").write_bytes(b"\xff" * 20)
    assert fix.propose(staged, read_modules(staged)).changes == []


def test_tokenizer_classes_that_transformers_4_knows(staged):
    tokenizer = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "extra_special_tokens": ["<x>"]}
    (staged / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=4))
    (staged / "tokenizer.json").write_text("{}")
    assert {"P22", "P22b"} <= codes(staged)
    found = {each.file: each.codes for each in fixes_of(staged)}
    assert found == {"config.json": ["P22"], "tokenizer_config.json": ["P22b"]}
    assert json.loads((staged / "config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert json.loads((staged / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<x>"],
    }
    assert not {"P22", "P22b"} & codes(staged)


def test_a_tokenizer_class_in_config_json_is_rewritten_too_unless_only_5_is_wanted(staged):
    changed(staged, tokenizer_class="TokenizersBackend")
    configuration = (staged / "configuration_tiny.py").read_text()
    (staged / "configuration_tiny.py").write_text(f'{configuration}\nMIN_TRANSFORMERS = "5.0"\n')
    assert fix.propose(staged, read_modules(staged)).changes == []
    (staged / "configuration_tiny.py").write_text(configuration)
    assert [each.codes for each in fixes_of(staged)] == [["P22b"]]
    assert json.loads((staged / "config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_the_only_configuration_class_is_named(staged):
    edit(staged / "modeling_tiny.py", "    config_class = TinyConfig\n")
    edit(
        staged / "modeling_tiny.py",
        "class TinyPreTrainedModel(PreTrainedModel):\n",
        'class TinyPreTrainedModel(PreTrainedModel):\n    """Words.\n\n    More.\n    """\n\n',
    )
    assert "P16" in codes(staged)
    assert [each.codes for each in fixes_of(staged)] == [["P16"]]
    assert '    More.\n    """\n    config_class = TinyConfig\n' in (staged / "modeling_tiny.py").read_text()
    assert "P16" not in codes(staged)


def test_a_configuration_class_that_the_file_does_not_know_is_not_guessed(staged):
    edit(staged / "modeling_tiny.py", "    config_class = TinyConfig\n")
    edit(staged / "modeling_tiny.py", "from .configuration_tiny import TinyConfig", "from . import configuration_tiny")
    assert fix.propose(staged, read_modules(staged)).changes == []
    (reason,) = fix.propose(staged, read_modules(staged)).reasons
    assert reason.startswith("modeling_tiny.py:") and "no config_class" in reason


NESTED = """        super().__init__(config)
        if config.width:
            if config.vocab_size:
                self.a = 1
"""
INITS = {
    "plain": (
        "        super().__init__(config)\n        self.a = 1\n",
        "        super().__init__(config)\n        self.a = 1\n" + CALL,
    ),
    "nested if at the end": (NESTED, NESTED + CALL),
    "return at the end": (
        "        super().__init__(config)\n        return\n",
        "        super().__init__(config)\n" + CALL + "        return\n",
    ),
    "return in the middle": (
        "        super().__init__(config)\n        if config.width:\n            return\n        self.a = 1\n",
        "        super().__init__(config)\n        if config.width:\n            self.post_init()\n"
        "            return\n        self.a = 1\n" + CALL,
    ),
    "several lines": (
        "        super().__init__(\n            config,\n        )  # done\n        # the end\n",
        "        super().__init__(\n            config,\n        )  # done\n" + CALL + "        # the end\n",
    ),
    "a string of lines": (
        '        super().__init__(config)\n        self.a = """x\ny\n"""\n',
        '        super().__init__(config)\n        self.a = """x\ny\n"""\n' + CALL,
    ),
    "semicolons": (
        "        super().__init__(config); self.a = 1; self.b = 2\n",
        "        super().__init__(config); self.a = 1; self.b = 2\n" + CALL,
    ),
    "a function inside": (
        "        super().__init__(config)\n\n        def f():\n            return 1\n\n        self.f = f()\n",
        "        super().__init__(config)\n\n        def f():\n            return 1\n\n        self.f = f()\n" + CALL,
    ),
    "wide characters": (
        '        super().__init__(config); self.a = "ü€𝄞"\n',
        '        super().__init__(config); self.a = "ü€𝄞"\n' + CALL,
    ),
}
SHELL = (
    "from transformers import PreTrainedModel\n\nfrom .configuration_tiny import TinyConfig\n\n\n"
    "class X(PreTrainedModel):\n    config_class = TinyConfig\n\n    def __init__(self, config{}\n"
    "    def forward(self, x):\n        return x\n"
)


@pytest.mark.parametrize("case", INITS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_post_init_is_put_where_init_ends(tmp_path, case, end):
    body, wanted = INITS[case]
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=None, layers_tiny=None)
    before, after = (SHELL.format("):\n" + text).replace("\n", end) for text in (body, wanted))
    (folder / "modeling_tiny.py").write_bytes(before.encode())
    (found,) = fixes_of(folder)
    assert (folder / "modeling_tiny.py").read_bytes().decode() == after
    assert found.codes == ["P10"] and "P10" not in codes(folder)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("): super().__init__(config)\n", "):\n        super().__init__(config)\n" + CALL),
        (
            "): super().__init__(config); self.a = 1  # x\n",
            "):\n        super().__init__(config); self.a = 1  # x\n" + CALL,
        ),
        ("): super().__init__(\n        config)\n", "):\n        super().__init__(\n        config)\n" + CALL),
    ],
)
def test_an_init_on_one_line_is_taken_apart(tmp_path, given, wanted):
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=SHELL.format(given), layers_tiny=None)
    fixes_of(folder)
    assert (folder / "modeling_tiny.py").read_text() == SHELL.format(wanted)


@pytest.mark.parametrize("body", ["        if config.width: return\n", "        return super().__init__(config)\n"])
def test_an_init_whose_end_is_not_plain_is_left_with_a_reason(tmp_path, body):
    text = SHELL.format("):\n        super().__init__(config)\n" + body)
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=text, layers_tiny=None)
    assert fix.propose(folder, read_modules(folder)).changes == []
    (reason,) = fix.propose(folder, read_modules(folder)).reasons
    assert reason.startswith("modeling_tiny.py:") and "post_init" in reason


def test_a_class_of_the_last_line_and_of_tabs(tmp_path):
    text = SHELL.format("):\n        super().__init__(config)\n").split("    def forward")[0].rstrip("\n")
    text = text.replace(
        "    config_class = TinyConfig\n",
        "    config_class = TinyConfig\n    forward = None\n    def forward(self): pass\n",
    )
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=text.replace("    ", "\t"), layers_tiny=None)
    fixes_of(folder)
    assert (folder / "modeling_tiny.py").read_text().endswith("\t\tsuper().__init__(config)\n\t\tself.post_init()")


def test_an_abstract_base_is_left_alone_and_a_subclass_of_one_that_calls_it_is_not(tmp_path):
    text = tiny.MODELING.replace(
        "    def _init_weights",
        "    def __init__(self, config):\n        super().__init__(config)\n\n    def _init_weights",
    ).replace(
        "        self.classifier = nn.Linear(config.width, config.num_labels)\n" + CALL,
        "        self.classifier = nn.Linear(config.width, config.num_labels)\n",
    )
    text = text.replace(
        "TinyForSequenceClassification(TinyPreTrainedModel)", "TinyForSequenceClassification(TinyModel)"
    )
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=text)
    (found,) = fixes_of(folder)
    assert found.after.count("post_init()") == text.count("post_init()") + 1
    assert "config.num_labels)\n" + CALL in found.after


TIES = {
    'r"^head\\.weight$"': '{"head.weight": "tiny.embedding.weight"}',
    "": "{}",
    '\n        "head.weight",\n    ': '{"head.weight": "tiny.embedding.weight"}',
}


@pytest.mark.parametrize("given", TIES)
def test_lists_of_tied_keys_in_other_shapes(tmp_path, given):
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=TIED.replace('["head.weight"]', f"[{given}]"))
    fixes_of(folder)
    assert (folder / "modeling_tiny.py").read_text() == TIED.replace('["head.weight"]', TIES[given])


@pytest.mark.parametrize(
    "edits",
    [
        {'["head.weight"]': '["head.weight", "head.bias"]'},
        {'["head.weight"]': '["other.weight"]'},
        {'["head.weight"]': '[r"heads.\\d+.weight"]'},
        {"return self.tiny.get_input_embeddings()": "return find(self)"},
        {"return self.tiny.get_input_embeddings()": "return self.ghost"},
    ],
)
def test_a_tie_whose_source_is_not_plain_is_left_with_a_reason(tmp_path, edits):
    text = TIED
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=text)
    assert fix.propose(folder, read_modules(folder)).changes == []
    (reason,) = fix.propose(folder, read_modules(folder)).reasons
    assert "tied" in reason and reason.startswith("modeling_tiny.py:")


def test_embeddings_are_found_by_their_vocabulary_where_no_method_names_them(tmp_path):
    text = TIED.replace("    def get_input_embeddings(self):\n        return self.tiny.get_input_embeddings()\n\n", "")
    text = text.replace("    def get_input_embeddings(self):\n        return self.embedding\n\n", "")
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=text)
    (found,) = fixes_of(folder)
    assert '{"head.weight": "tiny.embedding.weight"}' in found.after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"b": 1e-5,\n   "a": [1,2]}', '{"b": 1e-5,\n   "a": [1,2], "x": {"y": "z"}}'),
        ('{"a":1}', '{"a":1,"x":{"y": "z"}}'),
        ('{\n    "a": 1.50\n}\n', '{\n    "a": 1.50,\n    "x": {\n        "y": "z"\n    }\n}\n'),
        ('{\r\n\t"a": "é"\r\n}', '{\r\n\t"a": "é",\r\n\t"x": {\r\n\t\t"y": "z"\r\n\t}\r\n}'),
        ("{}\n", '{"x": {"y": "z"}}\n'),
        ('{"x": 0, "a": 1e400}', '{"x": {"y": "z"}, "a": 1e400}'),
    ],
)
def test_a_key_is_set_and_all_other_bytes_stay(before, after):
    text = JsonText(before)
    text.set("x", {"y": "z"})
    assert text.text == after and json.loads(after)["x"] == {"y": "z"}
    text.set("x", {"y": "z"})
    assert text.text == after


@pytest.mark.parametrize("key", "abc")
@pytest.mark.parametrize("before", ['{"a": 1, "b": [{"a": 2}], "c": "}"}', '{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n'])
def test_a_key_is_removed_with_its_comma(before, key):
    text = JsonText(before)
    text.remove(key)
    text.remove("missing")
    wanted = {k: v for k, v in json.loads(before).items() if k != key}
    assert json.loads(text.text) == wanted == text.value
    for other in "abc":
        text.remove(other)
    assert json.loads(text.text) == {}


def test_json_that_is_no_object_or_a_bomb_is_left_to_the_audit(staged):
    for bad in ("[]", "{", '{"a":' * 100_000, "nul", '"x"', "\ufeff{}", '{"a": 1} {'):
        (staged / "tokenizer_config.json").write_text(bad)
        assert fix.propose(staged, read_modules(staged)).changes == []


def test_a_file_that_links_out_of_the_folder_is_refused(staged, tmp_path):
    edit(staged / "modeling_tiny.py", CALL)
    folder = read_modules(staged)
    (staged / "modeling_tiny.py").rename(tmp_path / "outside.py")
    (staged / "modeling_tiny.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(UserError, match="links out"):
        fix.propose(staged, folder)
    assert CALL not in (tmp_path / "outside.py").read_text()


def test_nothing_is_written_when_a_file_cannot_be(staged, monkeypatch):
    edit(staged / "modeling_tiny.py", CALL)
    changed(staged, torch_dtype="float16")
    before = {path.name: path.read_bytes() for path in staged.iterdir()}
    found = fix.propose(staged, read_modules(staged)).changes
    assert len(found) == 2
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space left")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="no space"):
        files.apply(found)
    assert {path.name: path.read_bytes() for path in staged.iterdir()} == before


def test_a_file_that_changed_meanwhile_is_not_overwritten(staged):
    edit(staged / "modeling_tiny.py", CALL)
    found = fix.propose(staged, read_modules(staged)).changes
    edit(staged / "modeling_tiny.py", "for tests", "for the tests")
    with pytest.raises(UserError, match="changed since"):
        files.apply(found)


def test_the_diff_shows_what_is_written_and_permissions_stay(staged):
    edit(staged / "modeling_tiny.py", CALL)
    os.chmod(staged / "modeling_tiny.py", 0o640)
    found = fix.propose(staged, read_modules(staged)).changes
    text = files.diff(found)
    lines = [line for line in text.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert lines == ["+" + CALL.rstrip("\n")] * 2 and text.startswith(
        "--- a/modeling_tiny.py\n+++ b/modeling_tiny.py\n"
    )
    files.apply(found)
    assert (staged / "modeling_tiny.py").stat().st_mode & 0o777 == 0o640
    assert not [path for path in staged.iterdir() if path.name.startswith(".")]
