"""Say what a model is made of, what each part costs, and what one step through it shows.

How it works:
- The model is run in a sandbox on inputs by formula: once forward, once with a look at the numbers, one step.
- For each module: output, parameters, FLOPs, and memory for weights, for what backward needs and for the optimizer.
- Then totals, shared and unused weights, gradients, activations and dead units.
- A model that is too large for memory, or --meta, is analysed from shapes only, without numbers.

Example: pinfold summarize bert_model --auto AutoModelForMaskedLM --batch 8 --length 128 --picture bert.png
"""

import argparse
import contextlib
import functools
import json
import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, printable
from pinfold.common.files import check_output
from pinfold.fence import process as fence
from pinfold.remote.destination import EMBEDDED
from pinfold.summarize.picture import check_picture, draw_picture
from pinfold.summarize.rows import Row, tree
from pinfold.summarize.run import Options, summarize
from pinfold.summarize.source import hub_source, local_source
from pinfold.summarize.text import memory, summary_lines

OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD without momentum", "none": "no optimizer"}


def fields_of(assignments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE, VALUE being JSON or a bare word; whether a field exists, only its class can say."""
    fields: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"--set {assignment}: KEY=VALUE is expected, such as num_hidden_layers=2")
        try:
            fields[key] = json.loads(text)
        except ValueError:
            fields[key] = text
    return fields


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number with a lower limit."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
        return int(text)

    return convert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    add = parser.add_argument
    add("target", metavar="PATH|OWNER/NAME[@REVISION]", help="a model folder, a checkpoint, or a repository on a Hub")
    add(
        "--auto",
        metavar="CLASS",
        help="head to run, such as AutoModelForMaskedLM; default: that of architectures, else the first",
    )
    add("--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="fields of the configuration")
    add("--config", type=Path, metavar="FILE", help="a config.json to use, with random weights")
    add("--batch", type=at_least(1), metavar="ROWS", help="default: 2, or 1 for a model that refuses two")
    add("--length", type=at_least(1), metavar="TOKENS", help="tokens in a row; default: 128, or the model's maximum")
    add("--image-size", type=at_least(1), metavar="PIXELS", help="default: the model's own, or 224")
    add("--depth", type=at_least(0), metavar="LEVELS", help="depth of the table; default: what fits on a screen")
    add("--dtype", choices=["float32", "bfloat16", "float16", "float64"], help="default: the configuration's own")
    add(
        "--optimizer",
        choices=list(OPTIMIZERS),
        default="adamw",
        help="optimizer in the memory estimate (default: adamw)",
    )
    add("--meta", action="store_true", help="from shapes only: parameters, FLOPs and memory, without loading weights")
    add("--json", type=Path, metavar="FILE", help="also write everything as JSON, in full depth")
    add("--picture", type=Path, metavar="FILE.png", help="also draw parameters and FLOPs of the parts")
    add("--run", action="store_true", help="for a repository: run its code, sandboxed, after its audit is shown")
    add("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Summarize a model, and print the summary."""
    say = functools.partial(print, flush=True)
    fields = fields_of(args.set)
    check_outputs(args)
    path = Path(args.target)
    if path.is_file():
        raise UserError(f"{path} is a file; give its folder, {path.parent}")
    options = Options(args.auto, args.batch, args.length, args.image_size, args.dtype, args.optimizer, args.meta)
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, contextlib.ExitStack() as stack:
        work = Path(temporary)
        if path.is_dir():
            source = local_source(path, args.config)
        elif not re.fullmatch(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", args.target, re.ASCII):
            raise UserError(f"{path}: no such folder; give a directory, or a repository as owner/name[@revision]")
        elif not args.run:
            raise UserError(
                f"{path}: no such folder; to run a repository's code, sandboxed, after its audit: add --run"
            )
        else:
            source, without_weights = hub_source(args.target, args.endpoint, args.config, args.meta, stack, work, say)
            options = replace(options, meta=args.meta or without_weights)
        if fields and source.weights:
            source.weights = None
            source.notes.append("with --set, the checkpoint's weights are not read")
        say(f"running it, {fence.available().describe()}")
        summary = summarize(source, options, fields, work)
    try:
        text = list(summary_lines(summary, source.name, args.depth, OPTIMIZERS[args.optimizer]))
        root = tree(summary["modules"])
        data = {"target": source.name, **summary, "memory": memory(summary, root)}
        if args.picture:
            # the name only: a picture is shown to others, whom the paths of this machine do not concern
            draw(summary, root, path.resolve().name if path.is_dir() else source.name, args.picture)
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ):  # the code can write its own answer
        raise UserError(f"{source.name}: its code replaced the result of the summary; do not trust it") from None
    say("\n".join(printable(line) for line in text))
    if args.json:
        args.json.write_text(json.dumps(_strict(data), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse files that cannot be written, before the model is run."""
    for option, file in (("--json", args.json), ("--picture", args.picture)):
        if file:
            check_output(option, file)
    if args.picture:
        check_picture(args.picture)


def draw(summary: dict[str, Any], root: Row, name: str, file: Path) -> None:
    """Draw the picture, with the shape of the first input under it."""
    shape = "x".join(map(str, next(iter(summary["inputs"].values()))[1]))
    draw_picture(root, f"{summary['class']} of {name}", f"FLOPs for {shape}", file)


def _strict(value: Any) -> Any:
    """What every reader of JSON takes: NaN and infinities, which it does not know, as words."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
