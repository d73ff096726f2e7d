"""Tokens added to a tokenizer and rows to a checkpoint with custom code, through the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.processes import ROOT, clean_environment
from safetensors.torch import load_file

from pinfold.tokenizer.add import add_tokens
from pinfold.tokenizer.save import save
from pinfold.tokenizer.train import train

EMBEDDING = "bert.embeddings.word_embeddings.weight"
TEXT = ["the quick brown fox jumps over the lazy dog, and a dozen boxes of liquor jugs were packed. " * 20]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path, int]:
    """A tokenizer, a checkpoint of bert_model with a tied masked-LM head, and how many tokens both have."""
    from bert_model.configuration_bert import BERTConfig
    from bert_model.modeling_bert import BERTForMaskedLM

    path = tmp_path_factory.mktemp("add")
    save(train(TEXT, "bpe", 280), path / "tokenizer")
    config = BERTConfig(
        vocab_size=280, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    BERTForMaskedLM(config).save_pretrained(path / "bert")
    return path / "tokenizer", path / "bert", 280


def held(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_the_command_gives_a_folders_model_rows(made, tmp_path):
    tokenizer, bert, before = made
    inputs = held(tokenizer), held(bert)
    done = subprocess.run(
        [sys.executable, "-m", "pinfold", "tokenizer", "add", tokenizer, "<code>", "<end>", "--checkpoint", bert,
         "--folder", ROOT / "bert_model", "--output", "out"],
        capture_output=True, text=True, cwd=tmp_path, env=clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{before} rows, now {before + 2}, tied" in done.stdout
    assert (held(tokenizer), held(bert)) == inputs
    out = tmp_path / "out"
    assert not [p for p in out.rglob("*") if p.suffix in (".bin", ".pt")]
    from transformers import AutoTokenizer

    from bert_model.modeling_bert import BERTForMaskedLM

    again, words = BERTForMaskedLM.from_pretrained(out), AutoTokenizer.from_pretrained(out, trust_remote_code=False)
    old, new = load_file(bert / "model.safetensors"), load_file(out / "model.safetensors")
    assert new[EMBEDDING][:before].equal(old[EMBEDDING]) and new[EMBEDDING].shape == (before + 2, 16)
    fresh = new[EMBEDDING][before:]
    assert fresh.isfinite().all() and not fresh.eq(0).all(1).any() and not fresh[0].equal(old[EMBEDDING][0])
    # drawn around the mean of the others, closely
    assert (fresh - old[EMBEDDING].mean(0)).abs().max() < old[EMBEDDING].std()
    output = again.get_output_embeddings()
    assert output.weight is again.get_input_embeddings().weight
    bias = "cls.predictions.bias"  # of the head, not of the decoder: resizing has to reach it by itself
    assert new[bias].shape == (before + 2,) and new[bias][:before].equal(old[bias]) and new[bias][before:].eq(0).all()
    assert again.config.vocab_size == before + 2
    assert words.convert_tokens_to_ids(["<code>", "<end>"]) == [before, before + 1]
    assert words("a <code> fox<end>")["input_ids"].count(before) == 1


def test_a_write_that_fails_leaves_everything_as_it_was(made, tmp_path, monkeypatch):
    from pinfold.tokenizer import add as tokenizer_add

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokenizer_add, "write_portable", full)
    inputs = held(made[0]), held(made[1])
    with pytest.raises(OSError, match="No space"):
        add_tokens(made[0], ["<x>"], tmp_path / "out", made[1], ROOT / "bert_model")
    assert list(tmp_path.iterdir()) == [] and (held(made[0]), held(made[1])) == inputs
