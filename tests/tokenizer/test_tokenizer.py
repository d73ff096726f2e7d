"""Tokenizers: what each kind keeps, what is saved and reloaded, added tokens, and every refusal."""

import filecmp
import json
import os
import subprocess
import sys
import sysconfig
import types
import unicodedata
from pathlib import Path

import pytest
from helpers import tiny
from helpers.processes import ROOT, clean_environment
from helpers.versions import VERSIONS
from safetensors import safe_open

from pinfold.cli import tokenizer as tokenizer_command
from pinfold.common.errors import UserError
from pinfold.tokenizer.add import add_tokens
from pinfold.tokenizer.corpus import find_files, read_dataset, read_texts
from pinfold.tokenizer.save import save
from pinfold.tokenizer.train import SPECIAL, train

LIBRARY = Path(sysconfig.get_path("stdlib"))
SIZES = {"wordpiece": 700, "bpe": 700, "unigram": 300}
HARD = [
    "", " ", "\n\n\t x  \r\n",
    "Caf\u00e9 \u4f60\u597d \u0627\u0644", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f600",
    "\ufeff\u00a0\u2003|\x00\x7f",
    "".join(chr(c) for c in range(0x250)), "   def f():\n        pass",
]  # fmt: skip


@pytest.fixture(scope="session")
def text() -> list[str]:
    """Prose and code of the standard library."""
    return [(LIBRARY / name).read_text(encoding="utf-8")[:40_000] for name in ("argparse.py", "inspect.py")]


@pytest.fixture(scope="session")
def trained(text):
    """One tokenizer of each kind."""
    return {
        kind: train([t[:15_000] for t in text] if kind == "unigram" else text, kind, size)
        for kind, size in SIZES.items()
    }


@pytest.fixture
def corpus(text, tmp_path) -> Path:
    (tmp_path / "corpus.py").write_text(text[0], encoding="utf-8")
    return tmp_path / "corpus.py"


def command(tmp_path, *arguments, given=b"") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pinfold", "tokenizer", *map(str, arguments)],
        input=given, capture_output=True, cwd=tmp_path, env=clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT)),
    )  # fmt: skip


def run(*arguments) -> int:
    """The verb in this process."""
    import argparse

    parser = argparse.ArgumentParser()
    tokenizer_command.add_arguments(parser)
    return tokenizer_command.main(parser.parse_args(list(map(str, arguments))))


@pytest.mark.parametrize("kind", SIZES)
def test_special_tokens_come_first_and_frame_texts_and_pairs(trained, kind):
    tokenizer = trained[kind]
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [0, 1, 2, 3, 4]
    assert len(tokenizer) == SIZES[kind] == max(tokenizer.get_vocab().values()) + 1
    one, pair = tokenizer("the parser"), tokenizer("the parser", "an argument")
    assert one["input_ids"][0] == 2 and one["input_ids"][-1] == 3
    first = len(one["input_ids"])
    assert pair["token_type_ids"] == [0] * first + [1] * (len(pair["input_ids"]) - first)
    assert pair["input_ids"].count(3) == 2 and pair["input_ids"].count(2) == 1


@pytest.mark.parametrize("kind", SIZES)
def test_mask_between_spaces_is_one_token_and_the_words_stay_the_same(trained, kind):
    tokenizer = trained[kind]
    ids = tokenizer("the [MASK] is", add_special_tokens=False)["input_ids"]
    assert ids.count(4) == 1
    at = ids.index(4)
    assert ids[:at] == tokenizer("the", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids[at + 1 :]).strip() == "is"
    assert tokenizer.convert_ids_to_tokens(ids)[at - 1] not in ("\u0120", "\u2581")


@pytest.mark.parametrize("kind", SIZES)
def test_truncation_ends_at_model_max_length(trained, kind):
    assert len(trained[kind]("parser " * 2000, truncation=True)["input_ids"]) == 512


@pytest.mark.parametrize("kind", SIZES)
def test_cased_stays_cased_and_lower_case_lowers_also_after_saving(text, tmp_path, kind):
    from transformers import AutoTokenizer

    for lowercase in (False, True):
        made = train([text[0][:15_000]], kind, 300, lowercase=lowercase)
        save(made, tmp_path / str(lowercase))
        for tokenizer in (made, AutoTokenizer.from_pretrained(tmp_path / str(lowercase))):
            ids = tokenizer("The Parser", add_special_tokens=False)["input_ids"]
            assert tokenizer.decode(ids) == ("the parser" if lowercase else "The Parser")


def test_byte_level_bpe_gives_every_text_back(trained):
    for text in HARD:
        ids = trained["bpe"](text, add_special_tokens=False)["input_ids"]
        assert trained["bpe"].decode(ids) == unicodedata.normalize("NFC", text) and 1 not in ids


def test_whitespace_bpe_says_unk_to_an_unseen_character(text):
    tokenizer = train(text, "bpe", 500, pre_tokenizer="whitespace", unk_token="[UNK]")
    tokens = tokenizer.tokenize("parse \U0001f601 it")
    assert "[UNK]" in tokens and "\u0120" not in "".join(tokens)


def test_further_special_tokens_follow_the_five(text, tmp_path):
    tokenizer = train(text, "bpe", 400, special_tokens=["<user>", "<end>"])
    save(tokenizer, tmp_path / "out")
    assert tokenizer.convert_tokens_to_ids(["<user>", "<end>"]) == [5, 6]
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert config["additional_special_tokens"] == ["<user>", "<end>"] and "extra_special_tokens" not in config
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast" and "backend" not in config


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIZES)
def test_the_same_text_gives_the_same_files_in_another_process(corpus, tmp_path, kind):
    given = ["train", corpus, "--kind", kind, "--vocab-size", SIZES[kind], "--output"]
    done = command(tmp_path, *given, "a")
    assert done.returncode == 0, done.stderr
    assert b"bytes a token" in done.stdout and f"{SIZES[kind]} tokens".encode() in done.stdout
    assert run(*given, tmp_path / "b") == 0
    names = sorted(os.listdir(tmp_path / "a"))
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False)[0] == names


@pytest.mark.slow
@pytest.mark.versions
@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k == "wordpiece" else pytest.mark.sweep) for k in SIZES])
def test_older_releases_give_the_same_ids(trained, tmp_path, monkeypatch, kind, overlay):
    monkeypatch.chdir(ROOT)
    made = [*VERSIONS[:-1]]
    for version in made:
        overlay(version)
    assert save(trained[kind], tmp_path / "out", versions=made) == made


def test_stdin_jsonl_csv_directories_and_globs_are_read(tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "a.txt").write_text("one\n")
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "sentence": "two"}\n\n{"id": 2, "sentence": "three"}\n')
    (tmp_path / "rows.csv").write_text('id,text\n1,"four, five"\n')
    (tmp_path / "rows.tsv").write_text("id\tbody\n1\tsix\n")
    assert list(read_texts(find_files([str(tmp_path / "d")]))) == ["one\n"]
    assert list(read_texts(find_files([str(tmp_path / "rows.*")]))) == ["four, five", "two", "three", "six"]
    assert list(read_texts([tmp_path / "rows.csv"], "id")) == ["1"]


@pytest.mark.slow
def test_standard_input_trains(tmp_path, text):
    done = command(tmp_path, "train", "-", "--vocab-size", 400, "--output", "out", given=text[0].encode())
    assert done.returncode == 0 and (tmp_path / "out" / "tokenizer.json").exists(), done.stderr


def test_an_iterator_trains(text):
    assert len(train((line for line in text[0].splitlines(keepends=True)), "bpe", 400)) == 400


def test_a_data_set_is_read_in_batches_and_its_absence_names_the_pip_line(monkeypatch):
    data = types.SimpleNamespace(
        column_names=["id", "text"], iter=lambda batch_size: iter([{"text": ["a", None]}, {"text": ["b"]}])
    )
    fake = types.SimpleNamespace(load_dataset=lambda name, config, split: data)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert list(read_dataset("x", None, "train", None)) == ["a", "b"]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        list(read_dataset("x", None, "train", None))


def bad(tmp_path) -> dict[str, tuple[list, str]]:
    """Arguments of train, and the words of the refusal."""
    files = {
        "empty.txt": b" \n", "nul.txt": b"a\0b", "latin.txt": b"caf\xe9", "few.txt": b"a few words",
        "good.txt": b"word " * 50,
        "rows.csv": b"id,title\n1,x\n", "rows.jsonl": b'{"text": 1}\n', "broken.jsonl": b"{", "full/x": b"x",
        "made/tokenizer.json": b"{}",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "hollow").mkdir()
    good = "good.txt"
    return {
        "empty": (["empty.txt"], "corpus is empty"),
        "small corpus": (["few.txt"], r"more than this corpus can give: it gave \d+"),
        "NUL": (["nul.txt"], r"nul\.txt: a binary file"),
        "not UTF-8": (["latin.txt"], r"latin\.txt: not UTF-8 at byte 3"),
        "missing": (["nowhere.txt"], "no such file"),
        "glob": (["*.nothing"], "no file matches"),
        "no text": (["hollow"], "no .txt file"),
        "column": (["rows.csv", "--column", "text"], "no column 'text'; its columns are id, title"),
        "which column": (["rows.csv"], "which column is the text"),
        "no table": ([good, "--column", "text"], "no table among the files"),
        "not text": (["rows.jsonl"], "row 1 has int"),
        "not JSON": (["broken.jsonl"], "line 1 is not a JSON object"),
        "specials": ([good, "--vocab-size", "5"], "no room beside 5 special tokens"),
        "alphabet": ([good, "--vocab-size", "200"], "less than special tokens and alphabet, 261"),
        "wordpiece alphabet": ([good, "--vocab-size", "6", "--kind", "wordpiece"], "special tokens and alphabet, 12"),
        "twice": ([good, "--special-tokens", "[PAD]"], r"\[PAD\] given twice"),
        "output": ([good, "--output", "full"], "contains other files"),
        "a tokenizer": ([good, "--output", "made"], "--overwrite"),
        "a file": ([good, "--output", good], "a file; --output is a directory"),
        "nothing": ([], "give text to train on"),
        "held out": ([good, "--held-out", "2"], "a fraction from 0 to 0.5"),
        "pre-tokenizer": ([good, "--kind", "unigram", "--pre-tokenizer", "whitespace"], "is for --kind bpe"),
        "its own": ([good, "--kind", "wordpiece", "--pre-tokenizer", "byte-level"], "wordpiece has its own"),
        "no merges": ([good, "--kind", "unigram", "--min-frequency", "0"], "unigram merges no pairs"),
        "no unknown": ([good, "--unk-token", "[UNK]"], "leave it out, or use --pre-tokenizer whitespace"),
        "its unknown": ([good, "--kind", "unigram", "--unk-token", "[UNK]"], r"unigram has \[UNK\] anyway"),
        "split of a file": ([good, "--split", "train"], "--split=train is for a data set"),
        "configuration of a file": ([good, "--config", "x"], "--config=x is for a data set"),
    }


def test_every_bad_input_is_one_line_and_writes_nothing(tmp_path, monkeypatch):
    cases = bad(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(p for p in tmp_path.rglob("*"))
    for name, (arguments, words) in cases.items():
        output = [] if "--output" in arguments else ["--output", "out"]
        with pytest.raises(UserError, match=words) as caught:
            run("train", *arguments, *output)
        assert "\n" not in str(caught.value), name
        assert sorted(p for p in tmp_path.rglob("*")) == before, name


def test_a_refusal_on_the_command_line_is_exit_code_2(tmp_path):
    done = command(tmp_path, "train", "nowhere", "--output", "out")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"pinfold tokenizer: nowhere" in done.stderr


def test_overwrite_replaces_a_tokenizer(corpus, tmp_path):
    for size, more in ((300, []), (310, ["--overwrite"])):
        assert run("train", corpus, "--vocab-size", size, "--output", tmp_path / "out", *more) == 0
    assert len(json.loads((tmp_path / "out" / "tokenizer.json").read_text())["model"]["vocab"]) == 310
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corpus.py", "out"]


@pytest.fixture
def saved(trained, tmp_path) -> tuple[Path, Path]:
    """A tokenizer, and a tiny stock BERT of its size."""
    from transformers import BertConfig, BertForMaskedLM

    save(trained["wordpiece"], tmp_path / "tokenizer")
    config = BertConfig(
        vocab_size=700, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "tokenizer", tmp_path / "bert"


def test_add_gives_a_stock_model_rows_and_keeps_it_tied(saved, tmp_path):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer, bert = saved
    told = add_tokens(tokenizer, ["<code>", "<end>"], tmp_path / "out", bert, pad_to_multiple_of=8)
    assert "700 rows, now 704, tied" in told
    model, again = (
        AutoModelForMaskedLM.from_pretrained(tmp_path / "out"),
        AutoTokenizer.from_pretrained(tmp_path / "out"),
    )
    embedding, decoder = model.get_input_embeddings(), model.get_output_embeddings()
    assert decoder.weight is embedding.weight and decoder.bias.shape == (704,) == (model.config.vocab_size,)
    assert again.tokenize("a <code>")[-1] == "<code>" and len(again) == 702
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        old = AutoModelForMaskedLM.from_pretrained(bert).get_input_embeddings().weight
        assert file.get_tensor("bert.embeddings.word_embeddings.weight")[:700].equal(old)


def test_add_runs_the_code_of_a_folder_that_is_named(saved, tiny_folder, tmp_path):
    checkpoint = tiny.save_checkpoint(tiny_folder, tmp_path / "tiny", vocab_size=700)
    with pytest.raises(UserError, match="with --folder"):
        add_tokens(saved[0], ["<x>"], tmp_path / "out", checkpoint)
    with pytest.raises(UserError, match="has no get_input_embeddings"):
        add_tokens(saved[0], ["<x>"], tmp_path / "out", checkpoint, tiny_folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["[PAD]"], "in the vocabulary already, as 0"),
        (["a b", "a b"], "given twice"),
        ([" "], "empty"),
        (["<x>", "\u200b\u200b"], "would never match"),  # BERT's normalizer cleans them away
    ],
)
def test_add_refuses_what_is_no_new_token(saved, tmp_path, tokens, words):
    with pytest.raises(UserError, match=words):
        add_tokens(saved[0], tokens, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_add_refuses_a_model_of_another_vocabulary(saved, trained, text, tmp_path):
    save(train(text, "bpe", 800), tmp_path / "larger")
    with pytest.raises(UserError, match="700 embeddings and the tokenizer 800"):
        add_tokens(tmp_path / "larger", ["<x>"], tmp_path / "out", saved[1])
    assert not (tmp_path / "out").exists()
