"""The step before all others for a class in a package, a script or a notebook: its flat folder."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.common.files import read_json
from pinfold.flatten import Flat, Origin, flatten, flatten_live, holds_own_code, write_folder
from pinfold.folder.declared import declared_entries
from pinfold.push.options import PushOptions, check_options
from pinfold.push.progress import say_below, step


def flattened(options: PushOptions) -> tuple[PushOptions, Origin | None]:
    """The options with the folder that was written for --flatten as their path, and the package it is from.

    Raises:
        UserError: no such class, or code that cannot be published; the folder is as it was then.
    """
    if not options.flatten:
        return options, None
    check_options(options)  # a mistake there is said before anything is written
    if options.checkpoint is None:
        raise UserError("--flatten needs the weights: --checkpoint DIR, the one that save_pretrained wrote")
    read_json(options.checkpoint / "config.json", "pass the directory that save_pretrained wrote")
    flat = flatten(options.flatten, declared_entries(options.checkpoint))
    return replace(options, path=_written(flat, options.path, options.yes)), flat.origin


def folder_of(model: Any, folder: Path | None, others: list[Any], yes: bool) -> Path:
    """Where the code of a model in memory is, or is written to now.

    Args:
        folder: with code in it: that code. Else a flat folder is written there. others: tokenizer and processor.

    Raises:
        UserError: the class cannot be published from where it is.
    """
    if folder is not None and holds_own_code(folder):
        return folder
    flat = flatten_live(model, *others)
    if flat is not None:
        return _written(flat, folder, yes)
    return folder or directory_of(type(model))


def directory_of(cls: type) -> Path:
    """The directory of the file that defines a class; the current one for what was typed at a prompt."""
    try:
        return Path(inspect.getfile(cls)).parent
    except (TypeError, OSError):
        return Path.cwd()


def _written(flat: Flat, folder: Path | None, yes: bool) -> Path:
    folder = folder or Path(flat.name)
    with step("flatten") as done:
        changed = write_folder(flat, folder, yes)
        names = ", ".join(flat.files)
        done(f"{folder}: {names}" + ("" if changed else " (unchanged)"))
    for line in flat.left_out:
        say_below(f"left out: {line}")
    return folder
