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
import copy
import importlib
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra
from pinfold.common.files import cached_sha256
from pinfold.train.classes import classes, parameters, set_fields
from pinfold.train.data.labelled import KINDS
from pinfold.train.output import begin, is_full, prepare_output, remove_checkpoints, save, write_json
from pinfold.train.trainer import (
    PRECISIONS,
    Processes,
    adapted,
    check_model,
    chosen_precision,
    end_if_stopped,
    gathered,
    make_trainer,
    merged,
    progress_bar,
)

PLACES = {
    "image-classification": ("pictures", "Pictures"),
    "causal-lm": ("text", "Text"),
    "text-classification": ("labels", "LabelledText"),
    "masked-lm": ("text", "MaskedText"),
    "token-classification": ("tags", "TaggedWords"),
    "question-answering": ("answers", "Answers"),
}
EQUIPMENT = ("gradient_checkpointing", "compile", "lora", "fsdp")  # options of every task that change how it is done
DEFAULTS = {"batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.1}  # a task has more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    add = parser.add_argument
    add("folder", type=Path, help="model folder: configuration_*.py and modeling_*.py")
    add("--data", required=True, help="'digits', 'python-docs', 'vader', files, or a folder (of class folders)")
    add("--output", required=True, type=Path, help="directory for the trained checkpoint")
    add("--task", choices=tuple(PLACES), help="default: the one that the folder has a class for")
    add("--from", dest="start", metavar="CHECKPOINT", type=Path, help="fine-tune these weights")
    add("--set", dest="fields", metavar="KEY=VALUE", action="append", default=[], help="configuration or processor")
    add("--epochs", type=number(int, 1), help="default 10, of a language model 4, of labelled text 5")
    add("--batch-size", type=number(int, 1), help=f"default {DEFAULTS['batch_size']}")
    add("--learning-rate", type=number(float, 1e-9, 1e3), help=f"at its peak, default {DEFAULTS['learning_rate']}")
    add("--weight-decay", type=number(float, 0, 1), help=f"default {DEFAULTS['weight_decay']}")
    add("--warmup", type=number(float, 0, 1), help=f"part of the steps, default {DEFAULTS['warmup']}")
    add("--tokenizer", type=Path, metavar="DIR", help="text: a saved tokenizer; default: trained on the text")
    add("--vocab-size", type=number(int, 1), help="text: of the tokenizer that is trained, default 2000, 8000")
    add("--block-size", type=number(int, 2), help="text: tokens of an example, default 128")
    add("--max-length", type=number(int, 2), help="labelled text: tokens after which it is cut, default 128")
    add("--text-column", metavar="NAME", help="labelled text: default: the one that is called text, review, ...")
    add("--label-column", metavar="NAME", help="labelled text: default: the one that is called label, sentiment, ...")
    add("--problem", choices=KINDS, help="labelled text: default: one label, or several where they are lists")
    add("--class-weights", choices=("balanced",), help="labelled text: rare classes weigh as much as frequent ones")
    add("--eval-fraction", type=number(float, 0.01, 0.9), help="held-out part, default 0.2 of each class, 0.1 of text")
    add("--patience", type=number(int, 1), help="stop after so many epochs without a lower held-out loss")
    add("--packing", choices=("yes", "no"), help="text: blocks across documents (default), or each by itself, padded")
    add("--accumulate", type=number(int, 1), default=1, help="batches of a step, default 1")
    add("--gradient-checkpointing", action="store_true", help="less memory for activations, a quarter more time")
    add("--compile", action="store_true", help="by torch.compile")
    add(
        "--lora",
        metavar="RANK",
        type=number(int, 1, 4096),
        help="with --from: train low-rank adapters, and merge them",
    )
    add("--fsdp", action="store_true", help="several processes share weights, gradients and optimizer states")
    add("--seed", type=number(int, 0, 2**32 - 1), default=0, help="draws split, weights and batches; default 0")
    add("--precision", choices=PRECISIONS, default="auto", help="auto: bf16 where a GPU has it, else float32")
    add("--overwrite", action="store_true", help="start again where an earlier training wrote")


def number(kind: type, low: float, high: float = 10**9) -> Callable[[str], Any]:
    """An argparse type: a number within limits, both included."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} must be {kind.__name__} from {low} to {high}")
        return value

    return convert


def main(args: argparse.Namespace) -> int:
    """Train, evaluate, save, and print what came of it; what is refused leaves no directory behind."""
    fresh = not args.output.exists()
    try:
        return run(args)
    except UserError as error:
        if int(os.environ.get("RANK", 0)):  # of several processes, the first tells it
            raise SystemExit(2) from error
        if fresh:
            with contextlib.suppress(OSError):
                args.output.rmdir()  # if it is empty
        raise


def run(args: argparse.Namespace) -> int:
    try:
        import accelerate  # noqa: F401 (Trainer needs it, and says so less plainly)
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise missing_extra("train", "train,vision", error) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of loading; the training's own stays

    if args.lora and args.start is None:
        raise UserError(f"--lora={args.lora} adapts a trained model; add --from CHECKPOINT")
    processes = Processes()
    with processes.first_before_others():
        found = classes(args.folder)
        work = chosen(args, found)
    defaults = DEFAULTS | work.defaults
    known = {"config": parameters(found[work.auto].config_class)}
    known |= {part: parameters(found.get(auto)) for part, auto in work.parts.items()}
    preset = read_preset(args.folder, (work.data["name"], work.task), (*known, "train"), defaults)
    fields = set_fields(args.fields, known)
    if args.start is None:  # a checkpoint brings its own
        fields = {part: preset[part] | given for part, given in fields.items()}
    settings = {
        "folder": args.folder.resolve().name,
        "task": work.task,
        "from": str(args.start) if args.start else None,
        "fields": fields,
        "data": work.data,
        "split": work.split,
        "seed": args.seed,
        "precision": chosen_precision(args.precision),
        **{name: getattr(args, name) for name in ("accumulate", "patience", *EQUIPMENT)},
        **(defaults | preset["train"] | {k: getattr(args, k) for k in defaults if getattr(args, k) is not None}),
    }
    checkpoint = processes.once(lambda: prepare_output(args.output, settings, args.overwrite))

    transformers.set_seed(args.seed)
    model = work.make(found, settings)
    check_model(model, settings, processes.count)
    config = copy.deepcopy(model.config)  # as it is saved: Trainer writes options of its own into the model's
    kind, model = type(model), adapted(model, work, settings)  # FSDP makes a class of its own
    trainer = make_trainer(model, work, settings, args.output, processes.count)
    if checkpoint:
        end_if_stopped(trainer, checkpoint, settings)
    else:
        processes.once(lambda: begin(args.output, settings))
    if processes.first:
        print(f"{told_size(model, config)}, {work.described()}")
        if checkpoint:
            print(f"continuing from {checkpoint}")
    sys.stdout.flush()  # before the progress bar, which goes to stderr
    bar = progress_bar(trainer)
    try:
        trained = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        model = merged(trainer, model)
        measured = trainer.evaluate()
    except KeyboardInterrupt:
        print("\nthe same command continues from the last checkpoint", file=sys.stderr)
        raise
    except Exception as error:  # each library has its own for a write that fails
        if is_full(args.output, error, model):
            raise UserError(
                f"{args.output}: no space left for a checkpoint; free some, and the same command continues"
            ) from None
        raise
    finally:
        bar.close()
    model = gathered(trainer, model, kind(config) if settings["fsdp"] else None)
    model.config = config
    processes.once(lambda: finish(args, settings, trainer, model, work, (trained, measured), bool(checkpoint)))
    processes.end()
    return 0


def told_size(model: Any, config: Any) -> str:
    """The class of the model and its number of parameters."""
    base = model.get_base_model() if hasattr(model, "merge_and_unload") else model
    count = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    part = "" if trained == count else f" ({trained / 1e6:.2f} M of them trained)"
    return f"{type(base).__name__}: {count / 1e6:.1f} M parameters{part}"


def finish(args: Any, settings: dict, trainer: Any, model: Any, work: Any, found: tuple, resumed: bool) -> None:
    """Save the model, and say how it was trained and how good it is."""
    import torch
    import transformers

    trained, measured = found
    save(args.output, model, work)
    trainer.save_state()
    training = {
        "settings": settings,
        "train_loss": trained.training_loss,
        "seconds": None if resumed else round(trained.metrics["train_runtime"], 3),  # unknown after an interruption
        "processes": trainer.args.world_size,
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "versions": {"python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, transformers)},
        "arguments": {k: v for k, v in trainer.args.to_dict().items() if v is not None and not k.startswith("hub_")},
        "changed": changed(trainer.args),
    }
    write_json(args.output / "training.json", training)
    metrics, count, told = work.results(measured)
    results = {"task": work.task, "dataset": work.data, "split": work.split, "metrics": metrics, "n": count}
    results["unit"] = work.unit
    results["weights"] = {path.name: cached_sha256(path) for path in sorted(args.output.glob("*.safetensors"))}
    write_json(args.output / "eval_results.json", results)
    remove_checkpoints(args.output)  # optimiser states: of no use any more, and larger than the model
    print(told)
    print(f"wrote {args.output}; to publish: pinfold push {args.folder} --checkpoint {args.output} --repo YOU/NAME")


def changed(arguments: Any) -> dict:
    """Those of the trainer's arguments that differ from what they are where nobody sets them."""
    blank = type(arguments)(output_dir=arguments.output_dir, use_cpu=arguments.use_cpu).to_dict()
    return {
        name: value
        for name, value in arguments.to_dict().items()
        if value is not None and not name.startswith("hub_") and value != blank.get(name)
    }


def chosen(args: argparse.Namespace, found: dict[str, type]) -> Any:
    """The task, with its data read: the one that was asked for, or else the first that the folder has a class for.

    Raises:
        UserError: the folder has no class for it, an option of another task, or data that cannot be read.
    """
    tasks = {
        name: getattr(importlib.import_module(f"pinfold.train.tasks.{place[0]}"), place[1])
        for name, place in PLACES.items()
    }
    fitting = [name for name, task in tasks.items() if task.auto in found]
    task = tasks[args.task] if args.task else tasks[fitting[0]] if fitting else None
    if task is None or task.auto not in found:
        wanted = task.auto if task else " or ".join(each.auto for each in tasks.values())
        raise UserError(f"{args.folder}: no {wanted} here, only {', '.join(found)}; train another folder, or add one")
    for other in tasks.values():
        for option in sorted((other.defaults.keys() | other.options) - task.defaults.keys() - task.options):
            if getattr(args, option) is not None:
                given = f"--{option.replace('_', '-')}={getattr(args, option)}"
                raise UserError(f"{given} is for --task {other.task}, and this is {task.task}; leave it out")
    return task(args)


def read_preset(folder: Path, names: tuple[str, str], parts: tuple[str, ...], known: dict) -> dict[str, dict]:
    """What the folder's presets.json says about a data set, or else a task: fields and options."""
    path = folder / "presets.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        found = found.get(names[0], found.get(names[1], {}))
        preset = {part: dict(found.get(part, {})) for part in parts}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: {error}; it maps a data set to {', '.join(parts)}") from None
    if unknown := preset["train"].keys() - known.keys():
        raise UserError(f"{path}: unknown train options {', '.join(unknown)}; known are {', '.join(known)}")
    return preset
