"""Say what a model is made of, what each part costs, and what one step through it shows.

How it works:
- The model is run in a fenced process on inputs by formula: once forward, once with a look at the numbers, one step.
- For each module: output, parameters, FLOPs, and memory for weights, for what backward needs and for the optimizer.
- Then totals, shared and unused weights, gradients, activations and dead units.
- What does not fit into memory, or --meta, is told without numbers, from shapes alone.

Example: pinfold summarize bert_model --auto AutoModelForMaskedLM --batch 8 --length 128 --picture bert.png
"""

import argparse
import contextlib
import functools
import json
import math
import os
import re
import tempfile
from pathlib import Path

from pinfold.common.errors import UserError, printable
from pinfold.common.memory import free_memory
from pinfold.fence import process as fence
from pinfold.remote.destination import EMBEDDED
from pinfold.summarize import picture as summary_picture
from pinfold.summarize import text as summary_text
from pinfold.summarize.rows import tree
from pinfold.summarize.source import Source, hub, local
from pinfold.verify.verify import own_probe

SECONDS = 1800
OPTIMIZERS = {"adamw": "AdamW", "sgd": "SGD without momentum", "none": "no optimizer"}


def summarize(source: Source, args: argparse.Namespace, fields: dict, work: Path, *, meta=False, overlay=None) -> dict:
    """Run the model behind the fence, and return what was seen.

    Args:
        fields: of the configuration, instead of its own.
        meta: without numbers. overlay: a directory with another transformers.

    Raises:
        UserError: it cannot be built or run; the last line of its exception says why.
    """
    auto, place = source.chosen(args.auto) if source.code else (args.auto, None)
    limit = free_memory()
    request = {
        "module": "cost.summary", "code": str(source.code.path.resolve()) if source.code else None, "place": place,
        "auto": auto, "stored": source.stored, "fields": fields,
        "weights": str(source.weights.resolve()) if source.weights else None,
        "probe": own_probe(source.code.path) if source.code else {}, "batch": args.batch, "length": args.length,
        "image_size": args.image_size, "dtype": args.dtype, "optimizer": args.optimizer, "meta": args.meta or meta,
        "memory": limit, "threads": max(1, (os.cpu_count() or 2) // 2),
    }  # fmt: skip
    visible = [p.resolve() for p in (source.code.path if source.code else None, source.weights) if p]
    limits = {"memory": limit, "seconds": SECONDS, "name": "the summary"}
    found = fence.run(request, work, visible=visible, overlay=overlay, **limits)
    if found["failures"]:
        raise UserError(f"{source.name}: {printable(found['failures'][0]['line'])}")
    found["notes"] = [*source.notes, *found["notes"]]
    return found


def fields_of(assignments: list[str]) -> dict:
    """KEY=VALUE, VALUE being JSON or a bare word; whether there is such a field, its class will say."""
    fields = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"--set {assignment}: KEY=VALUE is expected, such as num_hidden_layers=2")
        try:
            fields[key] = json.loads(text)
        except ValueError:
            fields[key] = text
    return fields


def at_least(least: int):
    """A number for argparse, with a smallest one."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
        return int(text)

    return read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold summarize``."""
    add = parser.add_argument
    add("target", metavar="PATH|OWNER/NAME[@REVISION]", help="a model folder, a checkpoint, or a repository on a Hub")
    add("--auto", metavar="CLASS", help="such as AutoModelForMaskedLM; default: that of architectures, else the first")
    add("--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="fields of the configuration")
    add("--config", type=Path, metavar="FILE", help="a config.json; weights are drawn then")
    add("--batch", type=at_least(1), metavar="ROWS", help="default: 2, or 1 where two are refused")
    add("--length", type=at_least(1), metavar="TOKENS", help="of a row; default: 128, or as many as the model takes")
    add("--image-size", type=at_least(1), metavar="PIXELS", help="default: the model's own, or 224")
    add("--depth", type=at_least(0), metavar="LEVELS", help="how deep the table goes; default: what fits on a screen")
    add("--dtype", choices=["float32", "bfloat16", "float16", "float64"], help="default: the configuration's own")
    add("--optimizer", choices=list(OPTIMIZERS), default="adamw", help="whose memory is counted; default: adamw")
    add("--meta", action="store_true", help="no numbers, and no memory: parameters, FLOPs and memory only")
    add("--json", type=Path, metavar="FILE", help="also write everything as JSON, in full depth")
    add("--picture", type=Path, metavar="FILE.png", help="also draw parameters and FLOPs of the parts")
    add("--run", action="store_true", help="for a repository: run its code, fenced, after its audit is shown")
    add("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Summarize, and say it."""
    say, fields, path = functools.partial(print, flush=True), fields_of(args.set), Path(args.target)
    for option, file in (("--json", args.json), ("--picture", args.picture)):
        if file and (not file.parent.is_dir() or file.is_dir()):
            raise UserError(f"{option} {file}: there is no directory {file.parent}; make it, or name another file")
    if args.picture:
        summary_picture.check(args.picture)
    if path.is_file():
        raise UserError(f"{path} is a file; give its folder, {path.parent}")
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, contextlib.ExitStack() as stack:
        work, left = Path(temporary), False
        if path.is_dir():
            source = local(path, args.config)
        elif not re.fullmatch(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", args.target, re.ASCII):
            raise UserError(f"{path}: no such folder; give a directory, or a repository as owner/name[@revision]")
        elif not args.run:
            raise UserError(f"{path}: no such folder; to run a repository's code, fenced, after its audit: add --run")
        else:
            source, left = hub(args.target, args, stack, work, say)
        if fields and source.weights:
            source.weights = None
            source.notes.append("with --set, the checkpoint's weights are not read")
        say(f"running it, {fence.available().describe()}")
        found = summarize(source, args, fields, work, meta=left)
    try:
        text = list(summary_text.lines(found, source.name, args.depth, OPTIMIZERS[args.optimizer]))
        root = tree(found["modules"])
        data = {"target": source.name, **found, "memory": summary_text.memory(found, root)}
        if args.picture:
            name = path.resolve().name if path.is_dir() else source.name  # no path of this machine in a picture
            shape = "x".join(map(str, next(iter(found["inputs"].values()))[1]))
            summary_picture.draw(root, f"{found['class']} of {name}", f"FLOPs for {shape}", args.picture)
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ):  # the code can write an answer of its own
        raise UserError(f"{source.name}: its code answered in the summary's place") from None
    say("\n".join(printable(line) for line in text))
    if args.json:
        args.json.write_text(json.dumps(_strict(data), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def _strict(value):
    """What every reader of JSON takes: NaN and infinities, which it does not know, as words."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
