"""Train or fine-tune the model of a folder: a classifier of images, texts or words, a language model, or one that
answers questions; in one process, or in several that torchrun or accelerate launch start.

    pinfold train resnet_model --data digits --output runs/resnet-digits
    pinfold train sentiment_model --data reviews.csv --output runs/reviews
    pinfold train resnet_model --data photos --from runs/resnet50d --output runs/photos --epochs 3
    pinfold train decoder_model --data 'books/**/*.txt' --output runs/books --set hidden_size=256

- Pictures: "digits" (scikit-learn's handwritten digits) or a folder that holds one folder of pictures per class.
  Text: "python-docs" (the language reference that comes with Python), a file, a quoted glob, or a folder of .txt; it
  is cut into blocks of tokens. The tokenizer is --tokenizer, the checkpoint's, or trained on the text.
- Labelled text: "vader" (23,700 texts with ratings of sentiment, fetched by pip), a table (.csv, .tsv, .jsonl,
  .parquet) with a column of text and one of labels, or a folder with one folder of .txt per class. The best of all
  epochs is kept, and compared with a bag of words.
- Tagged words: a table of lists (tokens and tags), or lines with a word and its tag. Questions: a table of question,
  context and answers, or SQuAD's JSON. Any table may be a data set of the Hub: datasets:OWNER/NAME[:CONFIG].
- A part of the data is held out, drawn by the seed, and never trained on.
- The folder's own classes do the work. Its presets.json, if it has one, says what suits a named data set or a task;
  options and --set win over it.
- The same command continues an interrupted run from its last checkpoint. What it leaves in --output:
  a loadable model, trainer_state.json, training.json (how) and eval_results.json (how good), the last to be written.
"""

import argparse
import contextlib
import dataclasses
import os
from pathlib import Path

from pinfold.cli.parser import number
from pinfold.common.errors import UserError
from pinfold.train.data.labelled import KINDS
from pinfold.train.options import Options
from pinfold.train.run import DEFAULTS, TASKS, run
from pinfold.train.trainer import PRECISIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    add = parser.add_argument
    add("folder", type=Path, help="model folder: configuration_*.py and modeling_*.py")
    add("--data", required=True, help="'digits', 'python-docs', 'vader', files, or a folder (of class folders)")
    add("--output", required=True, type=Path, help="directory for the trained checkpoint")
    add("--task", choices=tuple(TASKS), help="default: the one that the folder has a class for")
    add("--from", dest="start", metavar="CHECKPOINT", type=Path, help="fine-tune these weights")
    add(
        "--set",
        dest="fields",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a field of the configuration or the processor",
    )
    add("--epochs", type=number(int, 1), help="default 10; language models 4; labelled text 5")
    add("--batch-size", type=number(int, 1), help=f"default {DEFAULTS['batch_size']}")
    add(
        "--learning-rate",
        type=number(float, 1e-9, 1e3),
        help=f"peak learning rate, default {DEFAULTS['learning_rate']}",
    )
    add("--weight-decay", type=number(float, 0, 1), help=f"default {DEFAULTS['weight_decay']}")
    add("--warmup", type=number(float, 0, 1), help=f"fraction of the steps, default {DEFAULTS['warmup']}")
    add("--tokenizer", type=Path, metavar="DIR", help="text: a saved tokenizer; default: trained on the text")
    add(
        "--vocab-size",
        type=number(int, 1),
        help="text: size of a new tokenizer; default 2000 for causal-lm, else 8000",
    )
    add("--block-size", type=number(int, 2), help="text: tokens in an example, default 128")
    add(
        "--max-length",
        type=number(int, 2),
        help="labelled text: most tokens of an example; default 128, for questions 256",
    )
    add(
        "--text-column",
        metavar="NAME",
        help="labelled text: column with the text (default: one called text, review, ...)",
    )
    add(
        "--label-column",
        metavar="NAME",
        help="labelled text: column with the label (default: one called label, sentiment, ...)",
    )
    add(
        "--problem",
        choices=KINDS,
        help="labelled text: kind of label (default: multi-label if labels are lists, else one label)",
    )
    add("--class-weights", choices=("balanced",), help="labelled text: rare classes weigh as much as frequent ones")
    add(
        "--eval-fraction",
        type=number(float, 0.01, 0.9),
        help="fraction held out; default 0.2 of each class, 0.1 of text",
    )
    add("--patience", type=number(int, 1), help="stop after this many epochs without a lower held-out loss")
    add(
        "--packing",
        choices=("yes", "no"),
        help="text: yes: blocks run across documents (default); no: each document by itself, padded",
    )
    add("--accumulate", type=number(int, 1), default=1, help="batches per optimizer step, default 1")
    add("--gradient-checkpointing", action="store_true", help="less memory for activations, a quarter more time")
    add("--compile", action="store_true", help="compile the model with torch.compile")
    add(
        "--lora", metavar="RANK", type=number(int, 1, 4096), help="with --from: train low-rank adapters and merge them"
    )
    add("--fsdp", action="store_true", help="shard weights, gradients and optimizer states over the processes")
    add(
        "--seed",
        type=number(int, 0, 2**32 - 1),
        default=0,
        help="seed of the split, the weights and the batches; default 0",
    )
    add("--precision", choices=PRECISIONS, default="auto", help="default auto: bf16 where a GPU has it, else float32")
    add("--overwrite", action="store_true", help="replace an earlier training in --output")


def main(args: argparse.Namespace) -> int:
    """Train, evaluate and save; a refused training leaves no directory behind."""
    fresh = not args.output.exists()
    try:
        run(Options(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Options)}))
    except UserError as error:
        if int(os.environ.get("RANK", 0)):  # of several processes, the first one prints it
            raise SystemExit(2) from error
        if fresh:
            with contextlib.suppress(OSError):
                args.output.rmdir()  # if it is empty
        raise
    return 0
