"""The commands and the snippet of docs/export.md, with a small checkpoint in place of the page's own."""

import contextlib
import importlib.util
import io
import shlex

import pytest
from helpers.pages import block
from helpers.processes import ROOT

pytestmark = pytest.mark.slow
WORDS = ["[PAD]", "[UNK]", "the", "graph", "needs", "no", "code", "."]


def test_the_commands_and_the_snippet_of_the_page_run(tmp_path, monkeypatch):
    for package in ("onnxruntime", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from pinfold.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    (tmp_path / "bert_model").symlink_to(ROOT / "bert_model")
    configuration = importlib.import_module("bert_model.configuration_bert")
    modeling = importlib.import_module("bert_model.modeling_bert")
    config = configuration.BERTConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40,
    )  # fmt: skip
    torch.manual_seed(0)
    modeling.BERTModel(config).save_pretrained("runs/minilm")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        "runs/minilm"
    )
    (tmp_path / "sentences.txt").write_text("the graph needs no code .\nno code\n")

    def run(command: str) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main(shlex.split(command)[1:]) == 0, printed.getvalue()
        return printed.getvalue()

    assert "last_hidden_state: at most" in run(block("export", "bash", "pip install").splitlines()[1])
    assert "texts 1 to 2" in run(f"{block('export', 'bash', '--int8')} --accept")
    assert (tmp_path / "runs/export/minilm/onnx/model_quantized.onnx").is_file()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block("export", "python", "InferenceSession"), {"__name__": "page"})
    assert printed.getvalue().startswith("(1, ") and printed.getvalue().strip().endswith("16)")
