"""The audit: each rule trips on what it is for, with its words and its place, and on nothing else."""

import ast
import json
import os
import re
import subprocess
import sys
import time

import pytest
from corpus import bad_folders
from corpus.bad_cases import BAD
from corpus.bad_folders import L, M, top
from corpus.good_cases import GOOD
from helpers.processes import ROOT

from pinfold.audit.finding import errors
from pinfold.audit.run import audit, snippets
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder, read_modules
from pinfold.folder.releases import lowest_version
from pinfold.staging.stage import stage

RULES = [f"P{number:02d}" for number in range(1, 26)]
KINDS = ["P11b", "P11c", "P11d", "P14b", "P14c", "P19b", "P19c", "P22b"]


def findings(directory, **arguments):
    return audit(directory, read_modules(directory), **arguments)


@pytest.mark.parametrize("case", BAD)
def test_a_fault_is_found_by_its_code_words_and_place(tmp_path, case):
    bad = BAD[case]
    directory = bad_folders.write(tmp_path / "folder", bad.edits)
    fitting = [f for f in findings(directory, **bad.arguments) if f.code == bad.code and bad.words in f.sentence]
    assert fitting, "\n".join(map(str, findings(directory, **bad.arguments)))
    if bad.at:
        file, text = bad.at
        source = (directory / file).read_text()
        line = source.count("\n", 0, source.index(text)) + 1
        assert (file, line) in {(f.file, f.line) for f in fitting}
    if bad.code != "P24":
        assert errors(fitting)
    assert all("\n" not in str(finding) for finding in fitting)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("requirements.txt", "einops>=0.7\n"),
        ("card.md", "---\nlicense: mit\nrequirements: [einops]\n---\nwords\n"),
        ("card.md", "---\nlicense: mit\n---\n```bash\npip install einops\n```\n"),
    ],
)
def test_what_the_folder_declares_holds_for_its_staged_copy(tmp_path, file, text):
    """Neither file is among those that are published, and the message names both as the cure."""
    edits = [top(M, "import einops")]
    original = bad_folders.write(tmp_path / "original", edits)
    staged = bad_folders.write(tmp_path / "staged", edits)
    assert "P08" in {f.code for f in findings(staged, original=original)}
    (original / file).write_text(text)
    assert "P08" not in {f.code for f in findings(staged, original=original)}


@pytest.mark.parametrize(
    ("case", "cure"),
    [
        ("P11b no flag", "Take tie_word_embeddings=True in"),
        ("P11b a head of its own", "Take tie_word_embeddings=False in"),
        ("P11b a head that a tool wrote twice", "Take tie_word_embeddings=True in"),
        ("P11 a head of its own", "Take tie_word_embeddings=False in"),
        ("P17 stored", 'or leave these releases out, with MIN_TRANSFORMERS = "4.49"'),
        ("P18 beside transformers' own part", "Set accepts_loss_kwargs = False in the body of GoodFor"),
    ],
)
def test_the_cure_fits_the_checkpoint(tmp_path, case, cure):
    """An author who did as the message said lost the head that was trained: the file says whether it was tied."""
    every = findings(bad_folders.write(tmp_path / "folder", BAD[case].edits))
    assert [cure in finding.fix for finding in every if finding.code == BAD[case].code] == [True]


@pytest.mark.parametrize("case", GOOD)
def test_a_folder_that_follows_the_contract_has_no_error(tmp_path, case):
    edits = [edit for edit in GOOD[case] if not isinstance(edit, dict)]
    arguments = next((edit for edit in GOOD[case] if isinstance(edit, dict)), {})
    directory = bad_folders.write(tmp_path / "folder", edits)
    assert [str(f) for f in errors(findings(directory, **arguments))] == []


def test_the_corpus_is_as_large_as_it_says():
    for code in (*RULES, *KINDS):
        assert sum(bad.code == code for bad in BAD.values()) >= 3, code
    assert len(GOOD) >= 60


def test_the_good_folder_has_not_even_a_warning(tmp_path):
    assert findings(bad_folders.write(tmp_path / "folder"), commit=bad_folders.SHA) == []


@pytest.mark.parametrize("name", ["MIN_TRANSFORMERS", "REQUIREMENTS"])
def test_a_setting_that_a_loop_binds_is_read_without_a_traceback(tmp_path, name):
    directory = bad_folders.write(tmp_path / "folder")
    modeling = directory / M
    modeling.write_text(modeling.read_text() + f"\nfor {name} in ():\n    pass\n")
    folder = read_modules(directory)
    assert lowest_version(folder) == "4.48"
    assert [str(finding) for finding in errors(audit(directory, folder)) if finding.code != "P21"] == []


def test_what_is_staged_has_no_finding(tiny_folder, tiny_checkpoint, tmp_path):
    (tmp_path / "staged").mkdir()
    stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "staged")
    assert findings(tmp_path / "staged") == []


def test_code_that_was_edited_after_staging_is_found(tiny_folder, tiny_checkpoint, tmp_path):
    (tmp_path / "staged").mkdir()
    stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "staged")
    path = tmp_path / "staged" / "layers_tiny.py"
    path.write_text(path.read_text().replace("x + self", "x - self"))
    assert [f.code for f in findings(tmp_path / "staged")] == ["P21"]


def test_a_source_folder_is_judged_by_its_code_alone(tmp_path):
    directory = bad_folders.write(tmp_path / "folder", [(M, "        self.post_init()\n", "")])
    for name in ("config.json", "model.safetensors", "tokenizer_config.json", "tokenizer.json"):
        (directory / name).unlink()
    (directory / "notes.bin").write_bytes(b"not published")
    assert [f.code for f in findings(directory)] == ["P10"]


@pytest.mark.parametrize(
    ("edits", "wanted"),
    [
        ([], []),
        ([("config.json", {"model_type": "bert", "auto_map": None, "tokenizer_class": None})], []),
        ([("config.json", {"auto_map": {"AutoModel": "a/b--m.X"}})], ["P02", "P03"]),
        ([("tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})], ["P22b"]),
        ([lambda d: (d / "pytorch_model.bin").write_bytes(b"")], ["P19"]),
        ([("config.json", {"trust_remote_code": True})], ["P05"]),
    ],
)
def test_a_repository_without_code_is_judged_by_its_files(tmp_path, edits, wanted):
    plain = ("config.json", {"auto_map": None}) if not any("auto_map" in str(edit) for edit in edits) else edits[0]
    directory = bad_folders.write(tmp_path / "folder", [plain, *edits])
    for file in directory.glob("*.py"):
        file.unlink()
    assert sorted({f.code for f in audit(directory, None) if f.code.startswith("P")}) == wanted


def test_a_checkout_may_keep_its_model_in_a_folder(tmp_path):
    bad_folders.write(tmp_path / "root" / "good_model")
    root = tmp_path / "root"
    (root / "push.py").write_text("X = 1\n")
    nested = {auto: f"good_model/{place}" for auto, place in bad_folders.AUTO_MAP.items()}
    (root / "config.json").write_text(json.dumps({"model_type": "custom-good", "auto_map": nested}))
    found = findings(root)
    assert not errors(found) and {f.code for f in found} == {"P02"}


def test_auditing_executes_nothing(tmp_path):
    directory = bad_folders.write(tmp_path / "folder")
    for file in directory.glob("*.py"):
        file.write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\n" + file.read_text())
    findings(directory)
    assert not (tmp_path / "executed").exists()


HOSTILE = {
    "syntax": (M, b"def broken(:\n", "not valid Python"),
    "latin-1": (M, "x = 'é'\n".encode("latin-1"), "UTF-8"),
    "null byte": (M, b"x = 1\0\n", "null byte"),
    "byte order mark": (M, b"\xef\xbb\xbfx = 1\n", "byte order mark"),
    "10 MB on one line": (M, b"x = '" + b"a" * 10_000_000 + b"'\n", "limit"),
    "deep parentheses": (M, b"x = " + b"(" * 100_000, "nested|not valid"),
    "deep list": (M, b"x = " + b"[" * 90 + b"]" * 90 + b"\ny = " + b"-" * 50_000 + b"1\n", "nested"),
    "deep attributes": (M, b"x = a" + b".b" * 100_000 + b"\n", "nested"),
    "long sum": (M, b"x = " + b"+".join([b"1"] * 50_000) + b"\n", "nested"),
    "deep functions": (M, b"".join(b" " * i + b"def f():\n" for i in range(99)) + b" " * 99 + b"pass\n", None),
    "many definitions": (M, b"class A: pass\n" * 9_000, None),
    "many empty lines": (M, b"\n" * 200_000, None),
    "a long number": (M, b"x = " + b"9" * 100_000 + b"\n", "not valid Python"),
    "config no JSON": ("config.json", b"{", "not JSON"),
    "config a list": ("config.json", b"[]", "holds list, not an object"),
    "config a bomb": ("config.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply|not JSON"),
    "config of 200 MB": ("config.json", None, "200.0 MB"),
    "config not UTF-8": ("config.json", b'{"a": "\xff"}', "utf-8"),
    "tokenizer a string": ("tokenizer_config.json", b'"x"', "holds str"),
    "header of lies": ("model.safetensors", b"\x10" + b"\0" * 7 + b'{"a": {"x": 1}} ', "not a whole safetensors"),
    "header cut off": ("model.safetensors", b"\xff\xff\0\0\0\0\0\0{}", "not a whole safetensors"),
    "header that is huge": ("model.safetensors", b"\xff" * 8 + b"{}", "not a whole safetensors"),
    "header no table": ("model.safetensors", b"\x02" + b"\0" * 7 + b"[]", "not a whole safetensors"),
    "requirements too large": ("requirements.txt", b"x\n" * 100_000, "limit"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_read_is_one_line(tmp_path, case):
    name, content, words = HOSTILE[case]
    directory = bad_folders.write(tmp_path / "folder")
    if content is None:
        with open(directory / name, "wb") as file:
            file.truncate(200_000_000)
    else:
        (directory / name).write_bytes(content)
    started = time.process_time()
    if words:
        with pytest.raises(UserError, match=f"(?i){words}") as raised:
            findings(directory)
        assert len(str(raised.value).splitlines()) == 1 and len(str(raised.value)) < 500
    else:
        findings(directory)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("name", [M, "config.json", "model.safetensors", "tokenizer_config.json"])
def test_links_out_of_the_folder_are_not_followed(tmp_path, name):
    directory = bad_folders.write(tmp_path / "folder")
    (directory / name).rename(tmp_path / "outside")
    (directory / name).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="links out of the folder"):
        findings(directory)


def test_a_link_within_the_folder_and_one_of_a_cache_are_fine(tmp_path):
    directory = bad_folders.write(tmp_path / "models--me--good" / "snapshots" / "0123")
    blobs = tmp_path / "models--me--good" / "blobs"
    blobs.mkdir()
    for path in list(directory.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(f"../../blobs/{path.name}")
    assert findings(directory) == []


def test_a_pipe_is_not_waited_for(tmp_path):
    directory = bad_folders.write(tmp_path / "folder")
    os.mkfifo(directory / "pipe.py")
    with pytest.raises(UserError, match="not a regular file"):
        findings(directory)


@pytest.mark.slow
def test_many_calls_do_not_multiply(tmp_path):
    """Functions that call each other often, and long chains, in constructors."""
    functions = "".join(f"def f{i}(x):\n" + f"    f{i + 1}(f{i + 1}(x))\n" * 40 for i in range(20))
    text = f"{functions}\n\ndef f20(x):\n    return x"
    chain = "x = torch.ones(1)" + ".a()" * 80
    directory = bad_folders.write(
        tmp_path / "folder", [bad_folders.bottom(L, text), bad_folders.block("\n".join([*[chain] * 100, "f0(1)"]))]
    )
    started = time.process_time()  # not the wall clock, which counts what else the machine does
    findings(directory)
    assert time.process_time() - started < 10


def test_snippets_are_read_as_people_write_them():
    sha = bad_folders.SHA
    text = f"""
Prose: AutoModel.from_pretrained("me/x", trust_remote_code=True) is no snippet.

```pycon
>>> m = AutoModel.from_pretrained("me/x", revision="{sha}",
...     trust_remote_code=True)
>>> t = AutoTokenizer.from_pretrained("me/x")
```
  ```python
  options = dict(trust_remote_code=True)
  AutoModel.from_pretrained("me/x", revision="v1.0", **options)
  ```
"""
    assert [finding.line for finding in snippets(text)] == [7, 11]


def test_an_audit_is_quick_and_imports_no_torch():
    code = (
        "import sys, time; from pathlib import Path; started = time.process_time();"
        "from pinfold.audit.run import audit; from pinfold.folder.model_folder import read_folder;"
        "audit(Path('resnet_model'), read_folder('resnet_model'));"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'imported';"
        "print(time.process_time() - started)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 3  # a second by itself; less than that is left to a busy machine


def test_the_model_folders_of_this_repository_have_no_error():
    for folder in sorted(path.parent for path in ROOT.glob("*_model/modeling_*.py")):
        assert [str(f) for f in errors(findings(folder))] == []


def test_findings_use_the_words_that_people_search_for(tmp_path):
    edits = [("config.json", {"auto_map": {"AutoModel": None}, "model_type": "resnet"})]
    lines = [str(finding) for finding in findings(bad_folders.write(tmp_path / "folder", edits))]
    assert lines == [
        'P01 config.json: auto_map has no "AutoModel" entry although modeling_good.py defines GoodModel. Users '
        'calling AutoModel.from_pretrained will get "Unrecognized configuration class". Add "AutoModel": '
        '"modeling_good.GoodModel".',
        'P04 model_type "resnet" is a built-in transformers type. Without trust_remote_code, users silently get the '
        'stock model with random weights. Use "custom-resnet".',
    ]


def test_every_sentence_about_code_begins_with_its_place(tmp_path):
    for case in ("P10 base", "P12 device", "P13 data", "P14 item", "P15 never set", "P16 missing", "P18 ignored"):
        directory = bad_folders.write(tmp_path / case.replace(" ", "-"), BAD[case].edits)
        for finding in findings(directory):
            assert re.match(rf"{re.escape(finding.file)}:{finding.line}: ", finding.sentence), finding.sentence


BASES = {
    "of this folder": ("class A(PreTrainedModel): ...\n", "self.inner = A(config)", "inner"),
    "by an Auto class": ("", "self.tower = AutoModel.from_config(config.text_config)", "tower"),
    "of transformers": ("", "self.bert = BertModel(config)", "bert"),
    "layers alone": ("", "self.layers = nn.Linear(2, 2)", None),
    "a function's result": ("", "self.layers = build(config)", None),
    "no attribute": ("class A(PreTrainedModel): ...\n", "other = A(config)", None),
}


@pytest.mark.parametrize("case", BASES)
def test_a_head_is_asked_for_its_base_only_where_it_has_one(tmp_path, case):
    more, line, attribute = BASES[case]
    (tmp_path / "configuration_x.py").write_text(
        "from transformers import PretrainedConfig\nclass XConfig(PretrainedConfig):\n    model_type = 'x'\n"
        "XConfig.register_for_auto_class()\n"
    )
    (tmp_path / "modeling_x.py").write_text(
        "from torch import nn\nfrom transformers import AutoModel, BertModel, PreTrainedModel\n"
        f"from .configuration_x import XConfig\n{more}class XForTokenClassification(PreTrainedModel):\n"
        "    config_class = XConfig\n    def __init__(self, config):\n        super().__init__(config)\n"
        f"        {line}\n        self.post_init()\n    def forward(self, input_ids):\n        return input_ids\n"
        "XForTokenClassification.register_for_auto_class('AutoModelForTokenClassification')\n"
    )
    sentences = [str(finding) for finding in audit(tmp_path, read_folder(tmp_path)) if finding.code == "P24"]
    fix = f'Set base_model_prefix = "{attribute}", the attribute that holds the base model.'
    assert [fix in sentence for sentence in sentences] == ([True] if attribute else [])


TYING = """from torch import nn
from transformers import PreTrainedModel
from .configuration_x import XConfig
class Part(PreTrainedModel):
    config_class = XConfig
    _tied_weights_keys = {{"head.weight": "words.weight"}}
    def __init__(self, config):
        super().__init__(config)
        self.words, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.post_init()
    def get_input_embeddings(self):
        return self.words
    def get_output_embeddings(self):
        return self.head
    def set_output_embeddings(self, new):
        self.head = new
    def forward(self, x):
        return self.head(x)
{part}
class XForCausalLM(PreTrainedModel):
    config_class = XConfig
    base_model_prefix = "text"
    def __init__(self, config):
        super().__init__(config)
        self.text = Part(config)
        self.post_init()
    def get_input_embeddings(self):
        return self.text.words
    def forward(self, input_ids):
        return self.text(self.text.words(input_ids))
{whole}
XForCausalLM.register_for_auto_class("AutoModelForCausalLM")
"""
TIES_OF_PARTS = {
    "by the part alone": ("", "", "", True),
    "by the part alone, from 4.55": ("", "", 'MIN_TRANSFORMERS = "4.55"', True),
    "by the part alone, from 4.56": ("", "", 'MIN_TRANSFORMERS = "4.56"', False),
    "given out by the whole": (
        "", "    def get_output_embeddings(self):\n        return self.text.get_output_embeddings()", "", False,
    ),
    "_tie_weights of the part": (
        "    def _tie_weights(self):\n        self.head.weight = self.words.weight", "", "", False,
    ),
    "not tied": ("", "", "UNTIED", False),
}  # fmt: skip


@pytest.mark.parametrize("case", TIES_OF_PARTS)
def test_weights_that_a_part_ties_have_to_be_given_out_by_the_whole(tmp_path, case):
    """The two cures were pushed in transformers 4.48.3 and 5.24; without one, 4.48 to 4.55 leave the head random."""
    part, whole, constant, is_found = TIES_OF_PARTS[case]
    untied = "        super().__init__(tie_word_embeddings=False, **kwargs)\n"
    (tmp_path / "configuration_x.py").write_text(
        "from transformers import PretrainedConfig\nclass XConfig(PretrainedConfig):\n    model_type = 'x'\n"
        "    def __init__(self, **kwargs):\n"
        f"{untied if constant == 'UNTIED' else untied.replace('False', 'True')}XConfig.register_for_auto_class()\n"
        f"{constant if constant != 'UNTIED' else ''}\n"
    )
    (tmp_path / "modeling_x.py").write_text(TYING.format(part=part, whole=whole))
    places = [finding for finding in audit(tmp_path, read_folder(tmp_path)) if finding.code == "P11e"]
    assert [finding.file for finding in places] == ["modeling_x.py"] * is_found
    assert all("self.text.get_output_embeddings()" in str(finding) for finding in places)


LINES = {
    "none": ("", ["XForCausalLM", "XModel", "XConfig"]),
    "models": (
        "XForCausalLM.register_for_auto_class('AutoModelForCausalLM')\nXModel.register_for_auto_class()",
        ["XConfig"],
    ),
    "all": (
        "XForCausalLM.register_for_auto_class('AutoModelForCausalLM')\nXModel.register_for_auto_class()\n"
        "XConfig.register_for_auto_class()",
        [],
    ),
    "in a function": (
        "def register():\n    XModel.register_for_auto_class('AutoModel')",
        ["XForCausalLM", "XConfig"],
    ),
    "newest only": ("MIN_TRANSFORMERS = '4.53'", []),
}


@pytest.mark.parametrize("case", LINES)
def test_classes_that_are_not_registered_are_named_with_their_lines(tmp_path, case):
    more, expected = LINES[case]
    (tmp_path / "configuration_x.py").write_text(
        "from transformers import PretrainedConfig\nclass XConfig(PretrainedConfig):\n    model_type = 'x'\n"
    )
    body = "    config_class = XConfig\n    def __init__(self, config):\n        super().__init__(config)\n"
    body += "        self.post_init()\n    def forward(self, input_ids):\n        return input_ids\n"
    (tmp_path / "modeling_x.py").write_text(
        "from transformers import PreTrainedModel\nfrom .configuration_x import XConfig\n"
        f"class XModel(PreTrainedModel):\n{body}class XForCausalLM(PreTrainedModel):\n{body}{more}\n"
    )
    places = {
        "AutoConfig": "configuration_x.XConfig",
        "AutoModel": "modeling_x.XModel",
        "AutoModelForCausalLM": "modeling_x.XForCausalLM",
    }
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": places}))
    (tmp_path / "train.py").write_text("from modeling_x import XModel\nXModel.register_for_auto_class()\n")
    sentences = [str(finding) for finding in audit(tmp_path, read_folder(tmp_path)) if finding.code == "P28"]
    assert len(sentences) == bool(expected)
    named = [
        name for sentence in sentences for name in places.values() if f"{name.split('.')[1]}.register" in sentence
    ]
    assert {name.split(".")[1] for name in named} == set(expected)
    if case == "none":
        assert 'with XForCausalLM.register_for_auto_class("AutoModelForCausalLM"), end modeling_x.py' in sentences[0]
        assert sentences[0].endswith("and end configuration_x.py with XConfig.register_for_auto_class().")


def test_every_code_of_the_rules_is_in_the_page():
    texts = {
        node.value
        for path in (ROOT / "pinfold" / "audit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    codes = {text for text in texts if re.fullmatch(r"P\d\d[a-z]?", text)}
    page = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    listed = set()
    for first, last in re.findall(r"\b(P\d\d[a-z]?)(?:-(P\d\d[a-z]?))?", "".join(re.findall(r"(?m)^\| P.*?\|", page))):
        *_, letter = first if first[3:] else "aa"
        listed.add(first)
        if last and last[3:]:
            listed |= {f"{first[:3]}{chr(each)}" for each in range(ord(letter), ord(last[3]) + 1)}
        elif last:
            listed |= {f"P{number:02d}" for number in range(int(first[1:]), int(last[1:]) + 1)}
    assert codes and codes <= listed, sorted(codes - listed)
    assert listed <= codes, sorted(listed - codes)
