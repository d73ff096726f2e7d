"""Pushes with a tokenizer: beside a model, alone, and with the files of sentence-transformers.

Through the front door: real pushes to a real server; ids are compared in every transformers version that was made.
The sandbox is not the subject here: its jobs run in forks of a warm process.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import tiny
from helpers.processes import clean_environment
from helpers.versions import VERSIONS
from huggingface_hub import HfApi
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from pinfold.audit.finding import errors
from pinfold.audit.rules import sentence as sentence_rules
from pinfold.audit.run import audit
from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.fenced.verify import tokens
from pinfold.folder import tokenizer_files
from pinfold.folder.model_folder import read_folder
from pinfold.staging import stage

TEXTS = ["The quick brown fox is lazy.", "Two dogs, aged 3.5 years, are not lazy at all!"] * 20
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


OLDER = ("4.48.3", "4.57.6", "5.0.0")


def word_pieces() -> tuple:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return made, trainers.WordPieceTrainer(vocab_size=200, special_tokens=list(SPECIAL.values()), show_progress=False)


def byte_pairs() -> tuple:
    made = Tokenizer(models.BPE())
    made.normalizer, made.pre_tokenizer = normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = [*list(SPECIAL.values())[:-1], AddedToken("[MASK]", lstrip=True, special=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return made, trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )


def save_tokenizer(path: Path, kind=word_pieces, **more) -> Path:
    """A tokenizer that was trained here, as transformers 5 saves it."""
    made, trainer = kind()
    made.train_from_iterator(TEXTS, trainer)
    ids = [("[CLS]", made.token_to_id("[CLS]")), ("[SEP]", made.token_to_id("[SEP]"))]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ids)
    special = {f"{name}_token": token for name, token in SPECIAL.items()}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=128, **special, **more).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return save_tokenizer(tmp_path_factory.mktemp("tokenizers") / "words")


@pytest.fixture
def tokenizer(trained, tmp_path):
    """A tokenizer's directory with a card.md, which the test may change."""
    path = shutil.copytree(trained, tmp_path / "tok")
    (path / "card.md").write_text("---\nlicense: mit\n---\nSplits English words.\n")
    return path


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """A model's checkpoint with a tokenizer's files."""
    path = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    return save_tokenizer(path, byte_pairs)


@pytest.fixture
def repo(hub, request):
    name = f"local/{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())[:60].strip('-')}"
    return name, HfApi(endpoint=hub["url"], token=hub["token"])


@pytest.fixture
def push(hub, repo, capsys, monkeypatch):
    """push(PATH, ...) -> (exit code, stdout, stderr)."""
    monkeypatch.setenv("HF_TOKEN", hub["token"])

    def run(*arguments):
        code = main(["push", *map(str, arguments), "--repo", repo[0], "--endpoint", hub["url"]])
        return code, *capsys.readouterr()

    return run


def load(hub, snippet, home, overlay=None, **environment):
    """Run a printed snippet as its reader does, and return ids of a text."""
    code = f"{snippet}\nprint('RESULT', tokenizer('a quick [MASK] dog')['input_ids'])"
    return ran(code, home, overlay, HF_ENDPOINT=hub["url"], HF_HUB_DISABLE_IMPLICIT_TOKEN="1", **environment)


def ran(code, home, overlay=None, **environment):
    """What a fresh process prints after RESULT."""
    environment = clean_environment(home, **environment) | ({"PYTHONPATH": str(overlay)} if overlay else {})
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.split("RESULT")[1])


def staged(folder, checkpoint):
    directory = checkpoint.parent / f"staged-{len(list(checkpoint.parent.iterdir()))}"
    directory.mkdir()
    return stage.stage(read_folder(folder), checkpoint, directory)


@pytest.fixture
def minimum(overlay):
    """The releases of the minimum matrix, made where they are missing."""
    for version in OLDER:
        overlay(version)


@pytest.mark.slow
def test_a_model_with_its_tokenizer_is_verified_with_its_ids(
    forked, push, hub, repo, tiny_folder, checkpoint, tmp_path, minimum
):
    code, out, err = push(tiny_folder, "--checkpoint", checkpoint, "--versions", "minimum")
    assert code == 0, err
    assert "AutoTokenizer: ids equal" in out and "transformers 4.48.3, 4.57.6, 5.0.0, " in out
    files = Path(repo[1].snapshot_download(repo[0], cache_dir=tmp_path / "read"))
    assert json.loads((files / "config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    settings = json.loads((files / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast" and "backend" not in settings
    snippet = out[out.index("from transformers import") :]
    assert re.search(
        r'AutoTokenizer.from_pretrained\(".*", revision="[0-9a-f]{40}", trust_remote_code=True\)', snippet
    )
    wanted = PreTrainedTokenizerFast.from_pretrained(checkpoint)("a quick [MASK] dog")["input_ids"]
    assert load(hub, snippet, tmp_path / "reader") == wanted
    assert "The tokenizer's ids of fixed texts are the same" in (files / "README.md").read_text()


@pytest.mark.slow
def test_ids_that_staging_changes_stop_the_push(forked, push, repo, tiny_folder, checkpoint, monkeypatch):
    def spoiled(config):
        return {**real(config), "padding_side": "left"}

    real = tokenizer_files.portable_tokenizer
    monkeypatch.setattr(stage, "portable_tokenizer", spoiled)
    code, _, err = push(tiny_folder, "--checkpoint", checkpoint, "--versions", "newest")
    assert code == 2 and err.count("\n") == 1
    assert "D03" in err and "AutoTokenizer: ids of 'padded' differ between the checkpoint and what was loaded" in err
    assert not repo[1].repo_exists(repo[0])


def test_a_difference_between_versions_names_both():
    one, other = {"pair": {"input_ids": [1, 2]}}, {"pair": {"input_ids": [1, 3]}}
    assert tokens.compare(one, one, ("5.23.0", "4.48.3")) == []
    assert tokens.compare(one, other, ("5.23.0", "4.48.3")) == [
        "AutoTokenizer: ids of 'pair' differ between 5.23.0 and 4.48.3: input_ids [1, 3] and [1, 2]"
    ]


def test_a_text_that_one_version_refuses_is_said_so():
    (line,) = tokens.compare({"empty": {"refused": "ValueError"}}, {"empty": {"input_ids": []}}, ("5.23.0", "5.0.0"))
    assert "the text 'empty' gives ids in 5.23.0 and ValueError in 5.0.0; raise" in line


@pytest.mark.parametrize(
    "further",
    [{"token_type_ids": []}, {"token_type_ids": [], "attention_mask": []}, {"attention_mask": [[]]}],
)
def test_a_text_without_tokens_has_no_further_inputs(further):
    without, given = {"empty": {"input_ids": []}}, {"empty": {"input_ids": [], **further}}
    for before, after in ((without, given), (given, without)):
        assert tokens.compare(after, before, ("5.24.0", "4.48.3")) == []
    assert tokens.compare({"empty": {"input_ids": [1]}}, without, ("5.24.0", "4.48.3"))
    assert tokens.compare({"empty": {}}, without, ("5.24.0", "4.48.3"))
    mask = {"empty": {"input_ids": [], "attention_mask": [1]}}
    assert "attention_mask" in tokens.compare(mask, without, ("5.24.0", "4.48.3"))[0]


def test_inputs_that_only_some_versions_give_are_said_with_the_cure():
    with_types = {"pair": {"input_ids": [1], "token_type_ids": [0]}}
    (line,) = tokens.compare(with_types, {"pair": {"input_ids": [1]}}, ("5.23.0", "4.48.3"))
    assert line.endswith(
        "token_type_ids null and [0]; list what it gives as model_input_names in tokenizer_config.json"
    )


@pytest.mark.parametrize("names", [None, ["input_ids", "token_type_ids", "attention_mask"]])
def test_every_version_gives_the_inputs_that_the_checkpoint_gave(tmp_path, names):
    """transformers 4 adds token_type_ids where a file does not say, 5 does not."""
    given = {"model_input_names": names} if names else {}
    path = save_tokenizer(tmp_path / "tok", **given)
    (tmp_path / "staged").mkdir()
    made = stage.stage_tokenizer(tmp_path / "staged", path)
    settings = json.loads((made.directory / "tokenizer_config.json").read_text())
    assert settings["model_input_names"] == (names or ["input_ids", "attention_mask"])


@pytest.mark.slow
@pytest.mark.versions
def test_a_stock_tokenizer_beside_a_model_of_its_own_type_gives_every_version_the_same(
    tiny_folder, tiny_checkpoint, tmp_path, overlay
):
    """transformers 5.0 takes another class beside a model that is not its own, and that gives no token_type_ids."""
    from transformers import BertTokenizer

    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL.values(), "a", "quick", "dog"]) + "\n")
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(checkpoint)
    made = staged(tiny_folder, checkpoint)
    settings = json.loads((made.directory / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "BertTokenizer" and not set(tokenizer_files.NOTES) & set(settings)
    code = (
        "import json\nfrom transformers import AutoTokenizer\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(made.directory)!r}, trust_remote_code=True)\n"
        "print('RESULT', json.dumps(dict(tokenizer('A quick dog', 'a dog'))))"
    )
    ids = [2, 5, 6, 7, 3, 5, 7, 3]
    wanted = {"input_ids": ids, "token_type_ids": [0] * 5 + [1] * 3, "attention_mask": [1] * 8}
    for version in dict.fromkeys((*VERSIONS, "5.0.0")):
        path = None if version == "newest" else overlay(version)
        assert ran(code, tmp_path / "home", path, HF_HUB_OFFLINE="1") == wanted, version


def test_a_broken_tokenizer_is_said_in_one_line(forked, push, tiny_folder, checkpoint):
    (checkpoint / "tokenizer.json").write_text('{"version": "1.0"}')
    code, _, err = push(tiny_folder, "--checkpoint", checkpoint, "--versions", "newest")
    assert code == 2 and "AutoTokenizer: the checkpoint's tokenizer does not load" in err and err.count("\n") == 1


def test_a_checkpoint_without_a_tokenizer_has_no_column_for_it(forked, push, tiny_folder, tiny_checkpoint):
    code, out, _ = push(tiny_folder, "--checkpoint", tiny_checkpoint, "--versions", "newest", "--dry-run")
    assert code == 0 and "AutoTokenizer" not in out


def test_tokenizer_json_alone_gets_the_settings_that_every_version_needs(tiny_folder, checkpoint):
    (checkpoint / "tokenizer_config.json").unlink()
    made = staged(tiny_folder, checkpoint)
    assert json.loads((made.directory / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast"
    }
    assert made.config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not errors(audit(made.directory, read_folder(made.directory)))


@pytest.mark.slow
@pytest.mark.versions
def test_a_tokenizer_alone_is_published_and_needs_no_trust(
    forked, push, hub, repo, tokenizer, tmp_path, overlay, minimum
):
    code, out, err = push(tokenizer, "--versions", "minimum", "--tag", "v1")
    assert code == 0, err
    assert "AutoTokenizer: ids equal" in out and " tokens, transformers 4.48.3, 4.57.6, 5.0.0, " in out
    snippet = out[out.index("from transformers import") :]
    assert "trust_remote_code" not in snippet and "torch" not in snippet
    wanted = PreTrainedTokenizerFast.from_pretrained(tokenizer)("a quick [MASK] dog")["input_ids"]
    assert load(hub, snippet, tmp_path / "reader") == wanted
    for version in VERSIONS:  # from what the first load left
        path = None if version == "newest" else overlay(version)
        assert load(hub, snippet, tmp_path / "reader", path, HF_HUB_OFFLINE="1") == wanted
    sha = re.search(r'revision="([0-9a-f]{40})"', out)[1]
    pin, files, _ = repo[1].list_repo_commits(repo[0])
    assert files.commit_id == sha and files.title == "Publish PreTrainedTokenizerFast with pinfold"
    assert set(repo[1].list_repo_files(repo[0], revision=sha)) == {
        ".gitattributes",
        "config.json",
        "pinfold.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    card = Path(repo[1].hf_hub_download(repo[0], "README.md", cache_dir=tmp_path / "read")).read_text()
    assert "Splits English words." in card and "license: mit" in card and "library_name: transformers" in card
    assert "It needs no `trust_remote_code`" in card and "custom_code" not in card and "every tensor" not in card
    assert pin.title == f"Pin the card to {sha[:12]}"
    code, again, _ = push(tokenizer, "--versions", "newest")
    assert code == 0 and "nothing changed" in again and sha in again


def test_a_dry_run_of_a_tokenizer_uploads_nothing(quick, push, repo, tokenizer):
    code, out, _ = push(tokenizer, "--versions", "newest", "--dry-run")
    assert code == 0 and "+ tokenizer.json" in out and "dry run: nothing was uploaded" in out
    assert not repo[1].repo_exists(repo[0])


def test_a_pull_request_with_a_tokenizer(quick, push, repo, tokenizer):
    assert push(tokenizer, "--versions", "newest")[0] == 0
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text()) | {"model_max_length": 64}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings))
    code, out, _ = push(tokenizer, "--versions", "newest", "--create-pr")
    assert code == 0 and "The pull request's commit is" in out


def test_a_tokenizer_without_card_md_says_what_to_write(push, tokenizer):
    (tokenizer / "card.md").unlink()
    code, _, err = push(tokenizer)
    assert code == 2 and "has no card.md; write one that begins with" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"auto_map": {"AutoTokenizer": ["tokenization_x.Words", None]}}, "P02"),
        ({"auto_map": {"AutoTokenizer": [None, "some/one--tokenization_x.Words"]}}, "P03"),
        ({"trust_remote_code": True}, "P05"),
    ],
)
def test_settings_of_a_tokenizer_that_choose_code_stop_the_push(push, repo, tokenizer, change, finding):
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text()) | change
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(settings))
    code, _, err = push(tokenizer, "--versions", "newest")
    assert code == 2 and finding in err
    assert not repo[1].repo_exists(repo[0])


def test_a_tokenizer_with_code_of_its_own_goes_with_its_model(push, tokenizer):
    (tokenizer / "tokenization_x.py").write_text("")
    code, _, err = push(tokenizer)
    assert code == 2 and "publish a tokenizer that needs it with its model" in err and err.count("\n") == 1


def test_what_else_lies_beside_a_tokenizer_is_left_out(quick, push, tokenizer):
    (tokenizer / "training_args.bin").write_bytes(b"pickle")
    (tokenizer / "corpus.txt").write_text("a quick dog")
    code, out, _ = push(tokenizer, "--versions", "newest", "--dry-run")
    assert code == 0 and "left out: training_args.bin (a pickle)" in out and "left out: corpus.txt" in out


def test_a_tokenizer_never_takes_the_place_of_a_model(quick, push, tiny_folder, tiny_checkpoint, tokenizer):
    assert push(tiny_folder, "--checkpoint", tiny_checkpoint)[0] == 0
    for more in ([], ["--dry-run"]):
        code, _, err = push(tokenizer, *more)
        assert code == 2 and "holds a model, and a tokenizer alone would replace it" in err


def write_modules(path: Path, modules=MODULES) -> Path:
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 16, "do_lower_case": false}')
    (path / "config_sentence_transformers.json").write_text('{"prompts": {}, "similarity_fn_name": "cosine"}')
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}'
    )
    (path / "2_Normalize").mkdir()
    return path


def test_files_of_sentence_transformers_are_staged(tiny_folder, checkpoint):
    made = staged(tiny_folder, write_modules(checkpoint))
    wanted = {
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
    }
    assert wanted <= set(made.files)
    assert not [name for name, _ in made.left_out if name.startswith(("1_", "2_", "modules"))]
    assert not errors(audit(made.directory, read_folder(made.directory)))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"type": "os.system"}, '[1].type = "os.system" imports that code by name'),
        ({"type": "sentence_transformers_evil.Pooling"}, "imports that code by name"),
        ({"type": None}, "[1].type = null imports"),
        ({"path": "../elsewhere"}, "is outside the repository"),
        ({"path": "/etc"}, "is outside the repository"),
        ({"path": "1_Pooling/../../x"}, "is outside the repository"),
    ],
)
def test_modules_that_import_code_or_lead_out_stop_a_push_and_a_check(
    pinfold, push, tiny_folder, checkpoint, entry, words
):
    modules = [MODULES[0], {**MODULES[1], **entry}]
    write_modules(checkpoint, modules)
    code, _, err = push(tiny_folder, "--checkpoint", checkpoint)
    assert code == 2 and "S14 modules.json" in err and words in err
    done = pinfold("check", checkpoint)
    assert done.returncode == 1 and "S14 modules.json" in done.stdout and words in done.stdout


def test_an_activation_function_that_imports_code_is_found(tmp_path):
    write_modules(tmp_path)
    for name, bad in (("torch.nn.modules.activation.Tanh", 0), ("os.abort", 1), (["os.abort"], 1)):
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"activation_function": name}))
        assert len(list(sentence_rules.modules(tmp_path))) == bad, name


def test_modules_json_that_is_no_list(tmp_path):
    (tmp_path / "modules.json").write_text('{"type": "x"}')
    assert [f.code for f in sentence_rules.modules(tmp_path)] == ["S14"]
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        list(sentence_rules.modules(tmp_path))


def test_an_adapter_that_imports_a_package_is_found(tmp_path):
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "some/base", "auto_mapping": {"parent_library": "evil.models"}})
    )
    found = audit(tmp_path, None)
    assert any("makes peft import that package" in f.sentence and f.severity == "error" for f in found)
    assert any("base_model_name_or_path" in f.sentence and f.severity == "warning" for f in found)


@pytest.mark.slow
def test_a_tokenizer_class_of_the_folder_is_verified_in_every_version(forked, push, tmp_path, minimum):
    source = '''"""Letters."""

from transformers import PreTrainedTokenizer


class TinyTokenizer(PreTrainedTokenizer):
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, **kwargs):
        # transformers 5.0 adds [CLS] and [SEP] otherwise, also where a class has none
        super().__init__(unk_token="?", pad_token="_", special_tokens_pattern="none", **kwargs)

    @property
    def vocab_size(self):
        return 28

    def get_vocab(self):
        return {letter: number for number, letter in enumerate("?_abcdefghijklmnopqrstuvwxyz")}

    def _tokenize(self, text):
        return list(text.lower())

    def _convert_token_to_id(self, token):
        return self.get_vocab().get(token, 0)

    def _convert_id_to_token(self, index):
        return "?_abcdefghijklmnopqrstuvwxyz"[index]

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()


TinyTokenizer.register_for_auto_class("AutoTokenizer")
'''
    folder = tiny.write_folder(tmp_path / "tiny_model")
    (folder / "tokenization_tiny.py").write_text(source)
    checkpoint = tiny.save_checkpoint(folder, tmp_path / "checkpoint")
    (checkpoint / "tokenizer_config.json").write_text('{"tokenizer_class": "TinyTokenizer"}')
    code, out, err = push(folder, "--checkpoint", checkpoint, "--dry-run", "--versions", "minimum")
    assert code == 0, err
    assert "AutoTokenizer: ids equal" in out and "transformers 4.48.3, 4.57.6, 5.0.0, " in out
