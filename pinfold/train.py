"""Train or fine-tune the model of a folder, on one machine: a classifier of images or texts, or a language model.

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
- A part of the data is held out, drawn by the seed, and never trained on.
- The folder's own classes do the work. Its presets.json, if it has one, says what suits a named data set or a task;
  options and --set win over it.
- The same command continues an interrupted run from its last checkpoint. What it leaves in --output:
  a loadable model, trainer_state.json, training.json (how) and eval_results.json (how good), the last to be written.
"""

import argparse
import contextlib
import copy
import dataclasses
import importlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinfold.assemble import classes, one_line, parameters, set_fields
from pinfold.errors import UserError, missing_extra
from pinfold.labelled import KINDS
from pinfold.publish.stage import sha256

PLACES = {
    "image-classification": ("train_pictures", "Pictures"),
    "causal-lm": ("train_text", "Text"),
    "text-classification": ("train_labels", "LabelledText"),
}
DEFAULTS = {"batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.1}  # a task has more
SAVE_STEPS = 500  # or every epoch where that is shorter: what an interruption costs at most
LOGGED = 50  # points of the loss curve


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
    add("--accumulate", type=number(int, 1), default=1, help="batches of a step, default 1")
    add("--seed", type=number(int, 0, 2**32 - 1), default=0, help="draws split, weights and batches; default 0")
    add("--bf16", choices=("auto", "yes", "no"), default="auto", help="auto: where a GPU has it")
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
    except UserError:
        if fresh:
            with contextlib.suppress(OSError):
                args.output.rmdir()  # if it is empty
        raise


def run(args: argparse.Namespace) -> int:
    try:
        import accelerate  # noqa: F401 (Trainer needs it, and says so less plainly)
        import torch
        import transformers
    except ImportError as error:
        raise missing_extra("train", "train,vision", error) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of loading; the training's own stays

    found = classes(args.folder)
    work = chosen(args, found)
    defaults = DEFAULTS | work.defaults
    known = {"config": parameters(found[work.auto].config_class)}
    known |= {part: parameters(found.get(auto)) for part, auto in work.parts.items()}
    preset = read_preset(args.folder, (work.data["name"], work.task), (*known, "train"), defaults)
    fields = set_fields(args.fields, known)
    if args.start is None:  # a checkpoint brings its own
        fields = {part: preset[part] | given for part, given in fields.items()}
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    settings = {
        "folder": args.folder.resolve().name,
        "task": work.task,
        "from": str(args.start) if args.start else None,
        "fields": fields,
        "data": work.data,
        "split": work.split,
        "seed": args.seed,
        "bf16": has_bf16 if args.bf16 == "auto" else args.bf16 == "yes",
        "accumulate": args.accumulate,
        "patience": args.patience,
        **(defaults | preset["train"] | {k: getattr(args, k) for k in defaults if getattr(args, k) is not None}),
    }
    checkpoint = prepare_output(args.output, settings, args.overwrite)

    transformers.set_seed(args.seed)
    model = work.make(found, settings)
    config = copy.deepcopy(model.config)  # as it is saved: Trainer writes options of its own into the model's
    trainer = make_trainer(model, work, settings, args.output)
    if checkpoint is None:
        begin(args.output, settings)
    print(f"{type(model).__name__}: {model.num_parameters() / 1e6:.1f} M parameters, {work.described()}")
    if checkpoint:
        print(f"continuing from {checkpoint}")
    sys.stdout.flush()  # before the progress bar, which goes to stderr
    bar = progress_bar(trainer)
    try:
        trained = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        measured = trainer.evaluate()
    except KeyboardInterrupt:
        print("\nthe same command continues from the last checkpoint", file=sys.stderr)
        raise
    finally:
        bar.close()

    model.config = config
    save(args.output, model, work)
    trainer.save_state()
    training = {
        "settings": settings,
        "train_loss": trained.training_loss,
        "seconds": None if checkpoint else round(trained.metrics["train_runtime"], 3),  # unknown after an interruption
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "versions": {"python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, transformers)},
        "arguments": {k: v for k, v in trainer.args.to_dict().items() if v is not None and not k.startswith("hub_")},
    }
    write_json(args.output / "training.json", training)
    metrics, count, told = work.results(measured)
    results = {"task": work.task, "dataset": work.data, "split": work.split, "metrics": metrics, "n": count}
    results["weights"] = {path.name: sha256(path) for path in sorted(args.output.glob("*.safetensors"))}
    write_json(args.output / "eval_results.json", results)
    remove_checkpoints(args.output)  # optimiser states: of no use any more, and larger than the model
    print(told)
    print(f"wrote {args.output}; to publish: pinfold push {args.folder} --checkpoint {args.output} --repo YOU/NAME")
    return 0


def chosen(args: argparse.Namespace, found: dict[str, type]) -> Any:
    """The task, with its data read: the one that was asked for, or else the first that the folder has a class for.

    Raises:
        UserError: the folder has no class for it, an option of another task, or data that cannot be read.
    """
    tasks = {name: getattr(importlib.import_module(f"pinfold.{place[0]}"), place[1]) for name, place in PLACES.items()}
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


def prepare_output(output: Path, settings: dict, overwrite: bool) -> Path | None:
    """Make the output directory and return the checkpoint to continue from, if an interrupted run left one.

    Raises:
        UserError: finished already, or of other settings, or in use for something else, or not writable.
    """
    record = output / "training.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not record.is_file():
            raise UserError(f"{output}: holds files of something else; choose a directory that is new or empty")
        if record.is_file() and not overwrite:
            if (output / "eval_results.json").is_file():
                raise UserError(
                    f"{output}: a finished training; choose another --output, or start again by --overwrite"
                )
            before = json.loads(record.read_text(encoding="utf-8"))["settings"]
            if changed := [key for key in settings if before.get(key) != settings[key]]:
                told = ", ".join(f"{key} was {before.get(key)!r} and is {settings[key]!r}" for key in changed)
                raise UserError(
                    f"{output}: an unfinished training of other settings ({told}); use those or --overwrite"
                )
            return latest_checkpoint(output)
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}; choose a directory that you may write") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{record}: damaged; start again by --overwrite") from None
    return None


def begin(output: Path, settings: dict) -> None:
    """Clear what an earlier training left and record this one; called when nothing of it can be refused any more."""
    (output / "eval_results.json").unlink(missing_ok=True)
    remove_checkpoints(output)
    write_json(output / "training.json", {"settings": settings})


def checkpoints(output: Path) -> list[Path]:
    """Trainer's checkpoints, the newest first."""
    found = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: -int(path.name.removeprefix("checkpoint-")))


def latest_checkpoint(output: Path) -> Path | None:
    """The newest complete checkpoint. Trainer writes trainer_state.json last: without it, one was interrupted."""
    for path in checkpoints(output):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        except (OSError, ValueError):
            continue
    return None


def remove_checkpoints(output: Path) -> None:
    for path in checkpoints(output):
        shutil.rmtree(path)


def make_trainer(model: Any, work: Any, settings: dict, output: Path) -> Any:
    """Configure transformers' Trainer, after one batch has shown that data and model fit together."""
    import torch
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments

    train = work.train
    try:
        with torch.no_grad():
            model.eval()(**work.collate(train[:2]))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"model and {work.processor} do not fit ({one_line(error)}); change one of them by --set"
        ) from None
    needed = 7 * sum(tensor.nbytes for tensor in model.state_dict().values())  # two checkpoints with AdamW, one model
    if (free := shutil.disk_usage(output).free) < needed:
        raise UserError(f"{output}: {free / 1e9:.1f} GB free, training needs {needed / 1e9:.1f} GB; free some space")

    accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    batch_size = settings["batch_size"]
    train = train[
        len(train) % batch_size == 1 and len(train) > 1 :
    ]  # batch norm refuses a batch of one: the first picture is left out
    batches, accumulate = -(-len(train) // batch_size), settings["accumulate"]
    steps = -(-batches // accumulate)  # of an epoch
    best = work.keeps_best or settings["patience"] is not None
    options = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"} if best else {}
    if work.grouped:  # by length, so that a batch has little padding
        named = {field.name for field in dataclasses.fields(TrainingArguments)}
        new = {"train_sampling_strategy": "group_by_length"}
        options |= new if new.keys() <= named else {"group_by_length": True}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            **options,
            restore_callback_states_from_checkpoint=True,  # of early stopping
            output_dir=str(output),
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            dataloader_pin_memory=accelerator,
            learning_rate=settings["learning_rate"],
            lr_scheduler_type="cosine",
            gradient_accumulation_steps=accumulate,
            warmup_steps=int(settings["warmup"] * steps * settings["epochs"]),
            weight_decay=settings["weight_decay"],
            seed=settings["seed"],
            bf16=settings["bf16"],
            use_cpu=not accelerator,
            eval_strategy="epoch",
            logging_steps=max(1, steps * settings["epochs"] // LOGGED),
            logging_first_step=True,
            save_strategy="epoch" if best else "steps",
            save_steps=min(steps, SAVE_STEPS),
            save_total_limit=1,
            disable_tqdm=False,
            remove_unused_columns=False,
            prediction_loss_only=work.metrics is None,
            report_to="none",
        ),
        train_dataset=train,
        eval_dataset=work.held,
        data_collator=work.collate,
        compute_metrics=work.metrics,
        compute_loss_func=work.loss(),
        callbacks=[EarlyStoppingCallback(settings["patience"])] if settings["patience"] is not None else None,
    )
    return trainer


def progress_bar(trainer: Any) -> Any:
    """Put losses and accuracy at the end of Trainer's progress bar, where it would print dictionaries between."""
    from transformers.trainer_callback import ProgressCallback

    class Bar(ProgressCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
            names = {"loss": "loss", "eval_loss": "held-out loss", "eval_accuracy": "held-out accuracy"}
            self.shown = getattr(self, "shown", {}) | {names[k]: f"{v:.4f}" for k, v in logs.items() if k in names}
            if self.training_bar is not None:
                self.training_bar.set_postfix(self.shown)

        def close(self) -> None:
            for bar in (self.prediction_bar, self.training_bar):
                if bar is not None:
                    bar.close()

    bar = Bar()
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(bar)
    return bar


def save(output: Path, model: Any, work: Any) -> None:
    """Save model, processor or tokenizer, and code; config.json last, as it makes the directory a checkpoint."""
    staged = output / "saving"
    model.save_pretrained(staged)
    work.save(staged)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, output / path.name)
    staged.rmdir()


def write_json(path: Path, content: dict) -> None:
    """Write a file that is there completely or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    os.replace(partial, path)
