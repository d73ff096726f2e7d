"""Train or fine-tune the image classifier of a model folder, on one machine.

    pinfold train resnet_model --data digits --output runs/resnet-digits
    pinfold train resnet_model --data photos --from runs/resnet50d --output runs/photos --epochs 3

- --data is "digits" (scikit-learn's handwritten digits) or a folder that holds one folder of pictures
  per class. A part of each class is held out, drawn by the seed, and never trained on.
- The folder's own classes do the work: configuration, AutoModelForImageClassification, AutoImageProcessor.
  Its presets.json, if it has one, says what suits a named data set; options and --set win over it.
- The same command continues an interrupted run from its last checkpoint. What it leaves in --output:
  a loadable model, trainer_state.json, training.json (how) and eval_results.json (how good), the last to be written.
"""

import argparse
import copy
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinfold.assemble import CLASSIFIER, assemble, classes, one_line, set_fields
from pinfold.errors import UserError, missing_extra
from pinfold.pictures import Data, held_out, load_data, opened

DEFAULTS = {"epochs": 10, "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.1}
SAVE_STEPS = 500  # or every epoch where that is shorter: what an interruption costs at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    add = parser.add_argument
    add("folder", type=Path, help="model folder: configuration_*.py and modeling_*.py")
    add("--data", required=True, help="'digits', or a folder of class folders of pictures")
    add("--output", required=True, type=Path, help="directory for the trained checkpoint")
    add("--from", dest="start", metavar="CHECKPOINT", type=Path, help="fine-tune these weights")
    add("--set", dest="fields", metavar="KEY=VALUE", action="append", default=[], help="configuration or processor")
    add("--epochs", type=number(int, 1), help=f"default {DEFAULTS['epochs']}")
    add("--batch-size", type=number(int, 1), help=f"default {DEFAULTS['batch_size']}")
    add("--learning-rate", type=number(float, 1e-9, 1e3), help=f"at its peak, default {DEFAULTS['learning_rate']}")
    add("--weight-decay", type=number(float, 0, 1), help=f"default {DEFAULTS['weight_decay']}")
    add("--warmup", type=number(float, 0, 1), help=f"part of the steps, default {DEFAULTS['warmup']}")
    add("--eval-fraction", type=number(float, 0.01, 0.9), default=0.2, help="held-out part of each class, default 0.2")
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
    """Train, evaluate, save, and print what came of it."""
    try:
        import accelerate  # noqa: F401 (Trainer needs it, and says so less plainly)
        import sklearn  # noqa: F401
        import torch
        import transformers
        from PIL import Image  # noqa: F401
    except ImportError as error:
        raise missing_extra("train", "train,vision", error) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of loading; the training's own stays

    found = classes(args.folder)
    data = load_data(args.data)
    split = held_out(data.labels, args.eval_fraction, args.seed)
    preset = read_preset(args.folder, data.name)
    fields = set_fields(args.fields, found)
    if args.start is None:  # a checkpoint brings its own
        fields = {part: preset[part] | given for part, given in fields.items()}
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    settings = {
        "folder": args.folder.resolve().name,
        "from": str(args.start) if args.start else None,
        "fields": fields,
        "data": {"name": data.name, "description": data.description, "n": len(data.images), "classes": data.names},
        "split": {"name": "held-out", "fraction": args.eval_fraction, "stratified": True, "seed": args.seed},
        "seed": args.seed,
        "bf16": has_bf16 if args.bf16 == "auto" else args.bf16 == "yes",
        **(DEFAULTS | preset["train"] | {k: getattr(args, k) for k in DEFAULTS if getattr(args, k) is not None}),
    }
    checkpoint = prepare_output(args.output, settings, args.overwrite)

    transformers.set_seed(args.seed)
    model, processor = assemble(found, data.names, fields, args.start)
    config = copy.deepcopy(model.config)  # as it is saved: Trainer writes options of its own into the model's
    trainer = make_trainer(model, processor, data, split, settings, args.output)
    if checkpoint is None:
        begin(args.output, settings)
    print(f"{found[CLASSIFIER].__name__}: {model.num_parameters() / 1e6:.1f} M parameters, {len(data.names)} classes")
    print(f"{data.description}: {len(split[0])} pictures to train on, {len(split[1])} held out")
    if checkpoint:
        print(f"continuing from {checkpoint}")
    sys.stdout.flush()  # before the progress bar, which goes to stderr
    bar = progress_bar(trainer)
    try:
        run = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        measured = trainer.evaluate()
    except KeyboardInterrupt:
        print("\nthe same command continues from the last checkpoint", file=sys.stderr)
        raise
    finally:
        bar.close()

    model.config = config
    save(args.output, model, processor)
    trainer.save_state()
    training = {
        "settings": settings,
        "train_loss": run.training_loss,
        "seconds": None if checkpoint else round(run.metrics["train_runtime"], 3),  # unknown after an interruption
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "versions": {"python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, transformers)},
        "arguments": {k: v for k, v in trainer.args.to_dict().items() if v is not None and not k.startswith("hub_")},
    }
    write_json(args.output / "training.json", training)
    accuracy = measured["eval_accuracy"]
    results = {
        "task": "image-classification",
        "dataset": settings["data"],
        "split": settings["split"],
        "metrics": {"accuracy": accuracy, "loss": measured["eval_loss"]},
        "n": len(split[1]),
    }
    write_json(args.output / "eval_results.json", results)
    remove_checkpoints(args.output)  # optimiser states: of no use any more, and larger than the model
    print(f"held-out accuracy {accuracy:.2%} ({round(accuracy * len(split[1]))} of {len(split[1])} pictures)")
    print(f"wrote {args.output}; to publish: pinfold push {args.folder} --checkpoint {args.output} --repo YOU/NAME")
    return 0


def read_preset(folder: Path, name: str) -> dict[str, dict]:
    """What the folder's presets.json says about a data set: fields of config and image processor, options of train."""
    path = folder / "presets.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get(name, {}) if path.is_file() else {}
        preset = {part: dict(found.get(part, {})) for part in ("config", "image_processor", "train")}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: {error}; it maps a data set to config, image_processor and train") from None
    if unknown := preset["train"].keys() - DEFAULTS.keys():
        raise UserError(f"{path}: unknown train options {', '.join(unknown)}; known are {', '.join(DEFAULTS)}")
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
    except (ValueError, KeyError):
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


def make_trainer(
    model: Any, processor: Any, data: Data, split: tuple[list, list], settings: dict, output: Path
) -> Any:
    """Configure transformers' Trainer, after one batch has shown that pictures, processor and model fit together."""
    import torch
    from transformers import Trainer, TrainingArguments

    def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        pictures = [opened(item["image"]) for item in items]
        try:
            batch = processor(images=pictures, return_tensors="pt")
        except (ValueError, TypeError) as error:
            names = [str(item["image"]) for item in items if isinstance(item["image"], Path)]
            raise UserError(
                f"{', '.join(names[:3]) or 'a picture'}: {one_line(error)}; convert or remove it"
            ) from None
        return {"pixel_values": batch["pixel_values"], "labels": torch.tensor([item["label"] for item in items])}

    train, held = ([{"image": data.images[i], "label": data.labels[i]} for i in ids] for ids in split)
    try:
        with torch.no_grad():
            model.eval()(**collate(train[:2]))
    except (RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"model and image processor do not fit ({one_line(error)}); change one of them by --set"
        ) from None
    needed = 7 * sum(tensor.nbytes for tensor in model.state_dict().values())  # two checkpoints with AdamW, one model
    if (free := shutil.disk_usage(output).free) < needed:
        raise UserError(f"{output}: {free / 1e9:.1f} GB free, training needs {needed / 1e9:.1f} GB; free some space")

    accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    batch_size = settings["batch_size"]
    train = train[len(train) % batch_size == 1 :]  # batch norm refuses a batch of one: the first picture is left out
    batches = -(-len(train) // batch_size)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(output),
            num_train_epochs=settings["epochs"],
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            dataloader_pin_memory=accelerator,
            learning_rate=settings["learning_rate"],
            lr_scheduler_type="cosine",
            warmup_steps=int(settings["warmup"] * batches * settings["epochs"]),
            weight_decay=settings["weight_decay"],
            seed=settings["seed"],
            bf16=settings["bf16"],
            use_cpu=not accelerator,
            eval_strategy="epoch",
            logging_strategy="epoch",
            save_strategy="steps",
            save_steps=min(batches, SAVE_STEPS),
            save_total_limit=1,
            disable_tqdm=False,
            remove_unused_columns=False,
            report_to="none",
        ),
        train_dataset=train,
        eval_dataset=held,
        data_collator=collate,
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
    )
    return trainer


def progress_bar(trainer: Any) -> Any:
    """Put losses and accuracy at the end of Trainer's progress bar, where it would print dictionaries between."""
    from transformers.trainer_callback import ProgressCallback

    class Bar(ProgressCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
            names = {"loss": "loss", "eval_accuracy": "held-out accuracy"}
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


def save(output: Path, model: Any, processor: Any) -> None:
    """Save model, image processor and their code; config.json last, as it makes the directory a checkpoint."""
    staged = output / "saving"
    model.save_pretrained(staged)
    processor.save_pretrained(staged)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, output / path.name)
    staged.rmdir()


def write_json(path: Path, content: dict) -> None:
    """Write a file that is there completely or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    os.replace(partial, path)
