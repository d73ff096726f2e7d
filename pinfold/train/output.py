"""The directory that a training writes: begun once, continued from its last checkpoint, and complete at the end."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError


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


def is_full(output: Path, error: Exception, model: Any) -> bool:
    """Whether a write failed for want of space: it is said so, or weights and AdamW's moments have no room."""
    needed = 3 * sum(tensor.nbytes for tensor in model.state_dict().values())
    full = isinstance(error, (OSError, RuntimeError)) and shutil.disk_usage(output).free < needed
    return full or "No space left" in str(error)


def remove_checkpoints(output: Path) -> None:
    for path in checkpoints(output):
        shutil.rmtree(path)


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
