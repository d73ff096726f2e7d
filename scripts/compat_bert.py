"""Make the small BERT checkpoints that ``make compat`` publishes and loads in every transformers release.

    python scripts/compat_bert.py   # into runs/compat-bert

Three hold the weights of all eight classes, none newly drawn at a load; each has all four kinds of attention:
- bert-words (BERTForPreTraining, with a tokenizer) for BERTModel, masked words and the next sentence as well.
- bert-classes (BERTForSequenceClassification) for tokens and multiple choice: all three call their layer
  ``classifier``, and with one label it has one size.
- bert-answers (BERTForQuestionAnswering).
"""

import shutil
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bert_model import modeling_bert  # noqa: E402 (the checkout is found first)
from bert_model.configuration_bert import BERTConfig  # noqa: E402
from pinfold.tokenizer.train import train  # noqa: E402

OUTPUT = ROOT / "runs" / "compat-bert"
CHECKPOINTS = {
    "bert-words": ("BERTForPreTraining", {}),
    "bert-classes": ("BERTForSequenceClassification", {"num_labels": 1}),
    "bert-answers": ("BERTForQuestionAnswering", {}),
}
TEXTS = ["A quick brown fox sleeps.", "Two lazy dogs, aged 3.5 years, are not quick at all!"] * 20


def config(**more) -> BERTConfig:
    """So small a window and so few keys that the probe's 12 tokens do not see each other in a sparse layer."""
    return BERTConfig(
        vocab_size=128, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, attention_type=["full", "local", "strided", "random"], attention_window=2,
        attention_stride=4, num_random_keys=2, num_global_tokens=1, **more,
    )  # fmt: skip


def main() -> None:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for name, (architecture, more) in CHECKPOINTS.items():
        torch.manual_seed(0)
        getattr(modeling_bert, architecture)(config(**more)).eval().save_pretrained(OUTPUT / name)
    train(TEXTS, "wordpiece", 80, model_max_length=64).save_pretrained(OUTPUT / "bert-words")
    print(f"{', '.join(CHECKPOINTS)} in {OUTPUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
