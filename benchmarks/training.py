"""Training throughput of bert_model against transformers' BertForSequenceClassification: the same Trainer, texts,
weights, batches and precision; what differs is the model, and whether batches are grouped by length.

Runs take turns; medians of tokens a second: python benchmarks/training.py [--pairs 5]
"""

import argparse
import dataclasses
import platform
import random
import statistics
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bert_model.configuration_bert import BERTConfig
from bert_model.modeling_bert import BERTForSequenceClassification

SIZES = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
EXAMPLES, BATCH = 128, 16
GOAL = 1.3  # times the tokens a second of transformers' BERT


def examples() -> list[dict]:
    """Token ids whose lengths are spread as those of a collection of reviews are: many short, few long ones."""
    draw = random.Random(0)
    lengths = [min(256, max(8, round(draw.lognormvariate(4.2, 0.7)))) for _ in range(EXAMPLES)]
    return [
        {"input_ids": [draw.randrange(1, 30000) for _ in range(length)], "labels": i % 2}
        for i, length in enumerate(lengths)
    ]


def collate(items: list[dict]) -> dict[str, torch.Tensor]:
    rows = [torch.tensor(item["input_ids"]) for item in items]
    ids = torch.nn.utils.rnn.pad_sequence(rows, True, 0)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([i["labels"] for i in items])}


def epoch_seconds(model: torch.nn.Module, data: list[dict], grouped: bool, where: str) -> float:
    """Trainer's own time for one pass over the data."""
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    sampling = {"train_sampling_strategy": "group_by_length"}  # the name in transformers 5
    options = {}
    if grouped:
        options = sampling if sampling.keys() <= known else {"group_by_length": True}
    arguments = TrainingArguments(
        output_dir=where, use_cpu=True, num_train_epochs=1, per_device_train_batch_size=BATCH, report_to="none",
        save_strategy="no", disable_tqdm=True, logging_strategy="no", remove_unused_columns=False, **options,
    )  # fmt: skip
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer.train().metrics["train_runtime"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    ours = BERTForSequenceClassification(BERTConfig(**SIZES, attn_implementation="sdpa"))
    theirs = BertForSequenceClassification(BertConfig(**SIZES, attn_implementation="sdpa"))
    theirs.load_state_dict(ours.state_dict())
    data = examples()
    tokens = sum(len(item["input_ids"]) for item in data)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, float32, torch {torch.__version__}, "
        f"transformers {transformers.__version__}; {EXAMPLES} texts of 8 to 256 tokens, {tokens / EXAMPLES:.0f} in "
        f"the mean, batches of {BATCH}; medians of {args.pairs} runs that take turns",
        flush=True,
    )
    kinds = {
        "transformers' BERT": (theirs, False),
        "transformers' BERT, grouped by length": (theirs, True),
        "bert_model": (ours, False),
        "bert_model, grouped by length": (ours, True),
    }
    tokens_a_second: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as where:
        for turn in range(args.pairs + 1):
            for kind, (model, grouped) in kinds.items():
                taken = epoch_seconds(model, data, grouped, where)
                if turn:  # the first round warms up
                    tokens_a_second[kind].append(tokens / taken)
            print(f"  round {turn} of {args.pairs}", file=sys.stderr, flush=True)
    rates = {kind: statistics.median(each) for kind, each in tokens_a_second.items()}
    for kind, rate in rates.items():
        print(f"  {kind:<40} {rate:7.0f} tokens a second")
    stock, stock_grouped, _, best = rates.values()
    for what, other in (("as it trains by default", stock), ("grouped by length, too", stock_grouped)):
        verdict = "reached" if best / other >= GOAL else "NOT REACHED"
        print(
            f"  unpadded and grouped, against transformers' BERT {what}: {best / other:.2f}x  wanted {GOAL}x  "
            f"{verdict}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
