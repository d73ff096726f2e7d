"""The directory that a training writes: begun once, continued from its last checkpoint, and complete at the end."""

import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.common.files import cached_sha256, write_atomically
from pinfold.train.tasks.task import Task


def prepare_output(output: Path, settings: dict[str, Any], overwrite: bool) -> Path | None:
    """Make the output directory and return the checkpoint to continue from, if an interrupted run left one.

    Raises:
        UserError: finished already, or of other settings, or in use for something else, or not writable.
    """
    record = output / "training.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not record.is_file():
            raise UserError(f"{output} contains other files; choose a new or empty directory")
        if record.is_file() and not overwrite:
            if (output / "eval_results.json").is_file():
                raise UserError(
                    f"{output} already holds a finished training; choose another --output, or add --overwrite"
                )
            before = json.loads(record.read_text(encoding="utf-8"))["settings"]
            if changed := [key for key in settings if before.get(key) != settings[key]]:
                listed = ", ".join(f"{key} was {before.get(key)!r} and is {settings[key]!r}" for key in changed)
                raise UserError(
                    f"{output} holds an unfinished training with other settings ({listed}); use those or --overwrite"
                )
            return latest_checkpoint(output)
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}; choose a directory that you may write") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{record}: damaged; start again with --overwrite") from None
    return None


def begin(output: Path, settings: dict[str, Any]) -> None:
    """Clear what an earlier training left and record this one; called when all checks have passed."""
    (output / "eval_results.json").unlink(missing_ok=True)
    remove_checkpoints(output)
    write_json(output / "training.json", {"settings": settings})


def checkpoints(output: Path) -> list[Path]:
    """Trainer's checkpoints, the newest first."""
    paths = [path for path in output.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(paths, key=lambda path: -int(path.name.removeprefix("checkpoint-")))


def latest_checkpoint(output: Path) -> Path | None:
    """The newest complete checkpoint. Trainer writes trainer_state.json last: without it, one was interrupted."""
    for path in checkpoints(output):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        except (OSError, ValueError):
            continue
    return None


def is_full(output: Path, error: Exception, model: Any) -> bool:
    """Whether a write failed for want of space: the error says so, or weights and AdamW's moments have no room."""
    needed = 3 * sum(tensor.nbytes for tensor in model.state_dict().values())
    full = isinstance(error, (OSError, RuntimeError)) and shutil.disk_usage(output).free < needed
    return full or "No space left" in str(error)  # torch and safetensors pass on the system's text, not its number


def remove_checkpoints(output: Path) -> None:
    for path in checkpoints(output):
        shutil.rmtree(path)


def save_model(output: Path, model: Any, task: Task) -> None:
    """Save model, processor or tokenizer, and code; config.json last, as it makes the directory a checkpoint."""
    staged = output / "saving"
    model.save_pretrained(staged)
    task.save(staged)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, output / path.name)
    staged.rmdir()


def write_training(output: Path, settings: dict[str, Any], arguments: Any, trained: Any, resumed: bool) -> None:
    """Write training.json: how the model was trained, on what, and how long it took.

    Args:
        arguments: Trainer's TrainingArguments.
        trained: Trainer's TrainOutput.
    """
    import torch
    import transformers

    versions = {"python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, transformers)}
    training = {
        "settings": settings,
        "train_loss": trained.training_loss,
        "seconds": None if resumed else round(trained.metrics["train_runtime"], 3),  # unknown after an interruption
        "processes": arguments.world_size,
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "versions": versions,
        "arguments": set_arguments(arguments),
        "changed": changed_arguments(arguments),
    }
    write_json(output / "training.json", training)


def set_arguments(arguments: Any) -> dict[str, Any]:
    """The values of TrainingArguments, without those of a push by transformers."""
    return {
        name: value for name, value in arguments.to_dict().items() if value is not None and not name.startswith("hub_")
    }


def changed_arguments(arguments: Any) -> dict[str, Any]:
    """Those that differ from transformers' defaults."""
    defaults = type(arguments)(output_dir=arguments.output_dir, use_cpu=arguments.use_cpu).to_dict()
    return {name: value for name, value in set_arguments(arguments).items() if value != defaults.get(name)}


def write_results(output: Path, task: Task, measured: dict[str, float]) -> str:
    """Write eval_results.json, and return a line that says how good the model is."""
    metrics, count, summary = task.results(measured)
    results = {
        "task": task.name,
        "dataset": task.data,
        "split": task.split,
        "metrics": metrics,
        "n": count,
        "unit": task.unit,
        "weights": {path.name: cached_sha256(path) for path in sorted(output.glob("*.safetensors"))},
    }
    write_json(output / "eval_results.json", results)
    return summary


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of which a reader sees all or nothing."""
    write_atomically(path, (json.dumps(content, indent=2, default=str) + "\n").encode())
