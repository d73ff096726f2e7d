"""`pinfold tokenizer` given what it cannot use: one line, exit code 2, nothing half-written; Ctrl-C: 130."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.processes import ROOT, clean_environment, listen_to_ctrl_c
from transformers import BertConfig, BertForMaskedLM

from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.tokenizer import corpus as tokenizer_corpus
from pinfold.tokenizer.add import add_tokens, resize
from pinfold.tokenizer.save import save
from pinfold.tokenizer.train import train

WORDS = "the quick brown fox jumps over the lazy dog while five boxing wizards pack a dozen jugs "
GOOD = ["good.txt", "--vocab-size", "270"]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A directory to be in, with files of every bad kind."""
    monkeypatch.chdir(tmp_path)
    files = {
        "good.txt": WORDS.encode() * 20, "blank.txt": b" \n\t\n", "empty.txt": b"", "bytes": bytes(range(1, 256)),
        "text.gz": gzip.compress(WORDS.encode()), "wide.txt": WORDS.encode("utf-16"), "full/x": b"x",
        "half.jsonl": b'{"text": "a \\ud800 b"}',
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "hollow").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    save(train([WORDS * 20], "bpe", 270), tmp_path / "made")
    for name, content in {"list": "[]", "text": "{", "nothing": "{}"}.items():
        shutil.copytree(tmp_path / "made", tmp_path / name)
        (tmp_path / name / ("tokenizer_config.json" if name == "list" else "tokenizer.json")).write_text(content)
    return tmp_path


BAD = {
    "nowhere.txt": (["train", "nowhere.txt"], "nowhere.txt: no such file"),
    "no name": (["train", ""], "TEXT is empty"),
    "directory": (["train", "hollow"], "no .txt file"),
    "empty": (["train", "empty.txt"], "corpus is empty"),
    "blank": (["train", "blank.txt"], "corpus is empty"),
    "device": (["train", "/dev/null"], "corpus is empty"),
    "binary": (["train", "bytes"], "bytes: not UTF-8"),
    "gzip": (["train", "text.gz"], "text.gz: compressed by gzip"),
    "half a character": (["train", "half.jsonl"], "half.jsonl: row 1 has '\\ud800', half of a character"),
    "UTF-16": (["train", "wide.txt"], "wide.txt: "),
    "memory": (["train", "/proc/self/mem"], "/proc/self/mem: cannot be read"),
    "huge": (["train", "good.txt", "--vocab-size", "1000000000"], "must be an integer up to 10000000"),
    "large": (["train", "good.txt", "--vocab-size", "10000000"], "more than this corpus can give: it gave"),
    "small": (["train", "good.txt", "--vocab-size", "30", "--kind", "unigram"], "--vocab-size=30"),
    "twice": (["train", *GOOD, "--special-tokens", "<a>", "<a>"], "<a> given twice"),
    "hold blank": (["train", *GOOD, "--held-out", "blank.txt"], "an empty file"),
    "here": (["train", *GOOD, "--output", "."], "the directory you are in"),
    "above": (["train", *GOOD, "--output", ".."], "the directory you are in, or one above"),
    "below a file": (["train", *GOOD, "--output", "good.txt/x"], "good.txt is a file"),
    "link": (["train", *GOOD, "--output", "loop"], "a link to nothing"),
    "input": (["train", *GOOD, "--output", "good.txt"], "a file; --output is a directory"),
    "held": (["train", *GOOD, "--output", "full"], "contains other files"),
    "long": (["train", *GOOD, "--output", "a" * 300], "File name too long"),
    "add nowhere": (["add", "nowhere", "<x>"], "no tokenizer_config.json there"),
    "add list": (["add", "list", "<x>"], "give a tokenizer that AutoTokenizer loads"),
    "add text": (["add", "text", "<x>"], "give a tokenizer that AutoTokenizer loads"),
    "add nothing": (["add", "nothing", "<x>"], "give a tokenizer that AutoTokenizer loads"),
    "add in place": (["add", "made", "<x>", "--output", "made"], "choose another --output\n"),
    "add checkpoint": (["add", "made", "<x>", "--checkpoint", "full"], "full: no config.json"),
}


def seen(path: Path) -> list[str]:
    return sorted(str(p) for p in path.rglob("*"))


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(name, place, capsys):
    arguments, words = BAD[name]
    before = seen(place)
    output = [] if "--output" in arguments else ["--output", "out"]
    assert main(["tokenizer", *arguments, *output]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and error.startswith("pinfold tokenizer: ")
    assert seen(place) == before


def test_half_a_character_of_an_iterator_is_one_line():
    with pytest.raises(UserError, match="half of a character"):
        train(iter(["a \ud800 b"]), "bpe", 300)


@pytest.mark.parametrize("given", ["0", "-5", "x", "99999999999999999999"])
def test_a_size_that_is_not_one_is_exit_code_2(given, place, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tokenizer", "train", "good.txt", f"--vocab-size={given}", "--output", "out"])
    assert ended.value.code == 2 and "must be a whole number " in capsys.readouterr().err.splitlines()[-1]
    assert not (place / "out").exists()


@pytest.mark.parametrize("problem", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file")])
def test_a_file_that_cannot_be_read_or_is_gone_by_now_is_named(problem, place, capsys, monkeypatch):
    class Unreadable(type(Path())):
        def read_bytes(self):
            raise problem

    monkeypatch.setattr(tokenizer_corpus, "Path", Unreadable)
    assert main(["tokenizer", "train", *GOOD, "--output", "out"]) == 2
    assert f"good.txt: cannot be read ({problem.strerror})" in capsys.readouterr().err
    assert not (place / "out").exists()


# the verb, which says when it has begun to train
TRAINING = """
import sys
from pinfold.cli.main import main
from pinfold.tokenizer import train
own = train._trained
train._trained = lambda *given: (print("training", flush=True), own(*given))[1]
sys.exit(main(["tokenizer", *sys.argv[1:]]))
"""


def test_closed_standard_input_is_one_line(place):
    done = subprocess.run(
        f"exec {sys.executable} -m pinfold tokenizer train - --output out <&-", shell=True, capture_output=True,
        env=clean_environment(place / "home", PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    assert (
        done.returncode == 2
        and done.stderr == b"pinfold tokenizer: stdin is closed; pipe text into it, or name files\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_training_stops_at_once_and_leaves_nothing(number, place):
    # different words, of which a Unigram takes a minute or more
    (place / "big.txt").write_text(" ".join(f"{i * 7919 % 999983:x}{i * 104729 % 999979:o}" for i in range(500_000)))
    before = seen(place)
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, "train", "big.txt", "--kind", "unigram", "--output", "out"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c,
        env=clean_environment(place / "home", PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    assert process.stdout.readline() == "training\n"
    time.sleep(1)  # into the library
    assert process.poll() is None
    process.send_signal(number)
    try:
        error = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else 143) and "Traceback" not in error
    assert [path for path in seen(place) if "home" not in path] == before


class Forgetful(BertForMaskedLM):
    """A head with a separate bias, which resizing does not reach."""

    def __init__(self, config):
        super().__init__(config)
        self.own = torch.nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, *arguments, **more):
        output = super().forward(*arguments, **more)
        output.logits = output.logits + self.own
        return output


SIZES = dict(vocab_size=270, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)


def test_a_bias_that_does_not_follow_stops_resizing():
    with pytest.raises(UserError, match=r"after resizing to 272 rows, .* another number of tokens; resize its head"):
        resize(Forgetful(BertConfig(**SIZES)).eval(), 270, 272, None)
    assert "270 rows, now 272" in resize(BertForMaskedLM(BertConfig(**SIZES)).eval(), 270, 272, None)


def test_the_bias_of_bert_model_follows_and_is_seen_to(monkeypatch):
    from bert_model.configuration_bert import BERTConfig
    from bert_model.modeling_bert import BERTForMaskedLM, BERTWithVocabulary

    model = BERTForMaskedLM(BERTConfig(**SIZES)).eval()
    resize(model, 270, 272, None)
    assert model(torch.tensor([[271]])).logits.shape[-1] == 272 == len(model.cls.predictions.bias)
    monkeypatch.delattr(BERTWithVocabulary, "resize_token_embeddings")
    with pytest.raises(UserError, match=r"after resizing to 272 rows, .* still scores another number of tokens"):
        resize(BERTForMaskedLM(BERTConfig(**SIZES)).eval(), 270, 272, None)


def test_weights_that_do_not_load_are_one_line(place):
    BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(place / "bert")
    weights = place / "bert" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(UserError, match="give a checkpoint that loads") as error:
        add_tokens(place / "made", ["<x>"], place / "out", place / "bert")
    config = json.loads((place / "bert" / "config.json").read_text())
    (place / "bert" / "config.json").write_text(json.dumps(config | {"architectures": {"a": 1}}))
    with pytest.raises(UserError, match=r"no config\.json that can be read"):
        add_tokens(place / "made", ["<x>"], place / "out", place / "bert")
    assert "\n" not in str(error.value) and not os.path.exists(place / "out")
