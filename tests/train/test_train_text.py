"""Training on text: a small decoder end to end, what is held out, and mistakes in one line."""

import json
import math
import shutil

import pytest
import torch
from helpers.processes import ROOT
from helpers.training import SMALL_DECODER, set_options, train
from safetensors.torch import load_file

from pinfold.train.tasks.text import held_out, load_text

FOLDER = ROOT / "decoder_model"
SHORT = [*set_options(**SMALL_DECODER), "--vocab-size", 300, "--block-size", 32, "--epochs", 1]


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Twelve texts of Python's documentation, a file each."""
    path = tmp_path_factory.mktemp("data") / "books"
    path.mkdir()
    for number, text in enumerate(load_text("python-docs")[2][:12]):
        (path / f"{number:02}.txt").write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(books, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "books"
    assert train(FOLDER, "--data", books, "--output", output, *SHORT, "--epochs", 3, "--task", "causal-lm") == 0
    return output


@pytest.mark.slow
def test_the_loss_falls_and_the_perplexity_is_that_of_the_saved_model_on_the_held_out_documents(trained, books):
    """Measured anew by hand: documents between [CLS] and [SEP], one after the other, in blocks."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(trained, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(trained, trust_remote_code=True)
    results = json.loads((trained / "eval_results.json").read_text())
    assert results["task"] == "causal-lm" and results["dataset"]["name"] == "books" and results["dataset"]["n"] == 12
    kept, held = held_out(load_text(str(books))[2], results["split"]["fraction"], results["split"]["seed"])
    assert len(kept) + len(held) == 12 and not set(kept) & set(held)
    ids = []
    for text in held:
        ids += [tokenizer.bos_token_id, *tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    ids = torch.tensor(ids[: len(ids) // 32 * 32]).view(-1, 32)
    with torch.no_grad():
        logits = model(ids).logits[:, :-1]
    chances = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])
    assert results["n"] == chances.numel()
    assert results["metrics"]["perplexity"] == pytest.approx(float(torch.exp(-chances.mean())), rel=1e-4)
    history = json.loads((trained / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(300), abs=0.2)  # before it has learned anything
    assert losses[-1] < losses[0] - 1 and len(losses) > 20 and sum("eval_loss" in entry for entry in history) >= 3


def test_what_is_saved_generates_and_its_tokenizer_puts_nothing_around_a_prompt(trained):
    from transformers import pipeline

    run = pipeline("text-generation", str(trained), trust_remote_code=True, device="cpu")
    text = "The  statement\n\tis caf\u00e9"
    ids = run.tokenizer(text)["input_ids"]
    assert run.tokenizer.decode(ids) == text and not set(ids) & set(run.tokenizer.all_special_ids)
    assert run(text, max_new_tokens=5, do_sample=False)[0]["generated_text"].startswith(text)
    config = run.model.config
    assert [config.pad_token_id, config.bos_token_id, config.eos_token_id, config.vocab_size] == [0, 2, 3, 300]
    assert {"AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"} <= set(config.auto_map)
    assert json.loads((trained / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_a_checkpoint_is_fine_tuned_with_its_own_tokenizer(trained, books, tmp_path):
    output = tmp_path / "out"
    given = ["--data", books / "*.txt", "--block-size", 32, "--epochs", 1, "--learning-rate", 1e-9]
    assert train(FOLDER, *given, "--weight-decay", 0, "--from", trained, "--output", output) == 0
    before, after = (load_file(path / "model.safetensors") for path in (trained, output))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-6) for name in before)
    assert (output / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()


def test_documents_are_held_out_whole_and_the_same_ones_for_a_seed():
    documents = [chr(97 + i) * (10 + i) for i in range(20)]
    kept, held = held_out(documents, 0.2, seed=1)
    assert sorted(kept + held) == documents and (kept, held) == held_out(documents, 0.2, seed=1)
    assert held != held_out(documents, 0.2, seed=2)[1]
    assert 0.15 < sum(map(len, held)) / sum(map(len, documents)) < 0.25
    assert held_out(["a" * 8, "b" * 2], 0.2, seed=0) == (["a" * 8], ["bb"])
    # none is short enough: the end of the longest, from a line's begin
    assert held_out(["one\ntwo\nthree\n", "x"], 0.5, seed=0) == (["one\n", "x"], ["two\nthree\n"])


def without_tokenizer(trained, path):
    shutil.copytree(trained, path, ignore=shutil.ignore_patterns("tokenizer*"))
    return path


MISTAKES = {
    "no such file": (lambda b, c, t: ["--data", t / "none"], "no such file or directory"),
    "empty file": (lambda b, c, t: ["--data", (t / "a.txt").write_text("") or t / "a.txt"], "no text in it"),
    "binary file": (lambda b, c, t: ["--data", (t / "a").write_bytes(b"a\0b") and t / "a"], "a binary file"),
    "too little": (lambda b, c, t: ["--data", (t / "a").write_text("word " * 200) and t / "a"], "than this corpus"),
    "long blocks": (lambda b, c, t: ["--data", b, "--block-size", 9000], "blocks of 9000 tokens"),
    "few positions": (
        lambda b, c, t: ["--data", b, "--set", "max_position_embeddings=16"],
        "is more than max_position_embeddings=16",
    ),
    "field refused": (lambda b, c, t: ["--data", b, "--set", "num_attention_heads=5"], "is not a multiple of"),
    "unknown field": (lambda b, c, t: ["--data", b, "--set", "depth=5"], "KEY being one of attention_bias,"),
    "too large": (lambda b, c, t: ["--data", b, "--set", "hidden_size=65536"], "make the model smaller with --set"),
    "no tokenizer": (lambda b, c, t: ["--data", b, "--tokenizer", t], "no tokenizer.json; make one"),
    "two": (lambda b, c, t: ["--data", b, "--tokenizer", c, "--vocab-size", 300], "leave one of them out"),
    "small vocabulary": (
        lambda b, c, t: ["--data", b, "--tokenizer", c, "--set", "vocab_size=200"],
        "300 tokens, the model vocab_size=200",
    ),
    "no checkpoint": (lambda b, c, t: ["--data", b, "--from", t, "--tokenizer", c], "no checkpoint; give a directory"),
    "a checkpoint alone": (
        lambda b, c, t: ["--data", b, "--from", without_tokenizer(c, t / "c")],
        "no tokenizer that loads",
    ),
    "other sizes": (
        lambda b, c, t: ["--data", b, "--from", c, "--set", "hidden_size=64"],
        "its weights do not fit the model",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake, trained, books, tmp_path, capsys):
    arguments, words = MISTAKES[mistake]
    work = tmp_path / "work"
    work.mkdir()
    assert train(FOLDER, "--output", tmp_path / "out", "--block-size", 32, *arguments(books, trained, work)) == 2
    error = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert error[-1].startswith("pinfold train: ") and words in error[-1] and len(error) == 1, error


def test_a_task_that_the_folder_cannot_have_and_an_option_of_another_one(books, tmp_path, capsys):
    output = ["--output", tmp_path / "out"]
    assert train(ROOT / "resnet_model", "--data", books, "--task", "causal-lm", *output) == 2
    assert "resnet_model: no AutoModelForCausalLM here, only AutoConfig" in capsys.readouterr().err
    assert train(ROOT / "resnet_model", "--data", "digits", "--block-size", 4, *output) == 2
    words = "--block-size=4 is for --task causal-lm, and this is image-classification; leave it out"
    assert words in capsys.readouterr().err
