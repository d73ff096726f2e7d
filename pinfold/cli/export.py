"""Make a graph of a model that runs without its code, and prove it.

How it works:
- The model is traced with sizes left open, by transformers' exporter or the runtime's own, each in its own process.
- The runtime then runs the graph at sizes that it was not made with: fewer rows and more, shorter and longer, padded
  on either side. Every output has to equal the model's, up to what rounding does to this model.
- A graph that is right at its own size only is not written; where no way gives another, the reasons are said.
- With --int8 there is a second graph of 8 bits, with what it loses against the first.
- Graph and model in PyTorch are timed in turn on this machine.

Example: pinfold export bert_model --checkpoint runs/minilm --to onnx --output runs/export/minilm
"""

import argparse
import functools
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, first_line
from pinfold.export.export import Export, Wanted, export
from pinfold.export.formats import FORMATS, Format, check_installed
from pinfold.export.loss import Loss
from pinfold.fence import process as fence
from pinfold.summarize.source import Source, local_source, read_config

MOST_TEXTS = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    add = parser.add_argument
    add("path", type=Path, metavar="PATH", help="a model folder, or a checkpoint with its code or of a stock model")
    add("--checkpoint", type=Path, metavar="DIR", help="config.json and weights, where PATH has none")
    add("--to", required=True, choices=list(FORMATS), help="format of the graph")
    add(
        "--auto",
        metavar="CLASS",
        help="head to export, such as AutoModelForMaskedLM; default: that of architectures, else the first",
    )
    add("--int8", action="store_true", help="onnx: also a graph of 8 bits, held against the float one")
    add("--accept", action="store_true", help="keep the int8 graph, whatever it loses")
    add("--texts", type=Path, metavar="FILE", help="one text a line: further inputs, for the proof and for --int8")
    add("--output", type=Path, metavar="DIR", help="default: runs/export/NAME; the graph goes into a folder there")


def main(args: argparse.Namespace) -> int:
    """Export one model, and print what was proven."""
    say = functools.partial(print, flush=True)
    form = FORMATS[args.to]
    if not args.path.is_dir():
        what = f"is a file; give its folder, {args.path.parent}" if args.path.is_file() else "no such folder"
        raise UserError(f"{args.path}: {what}{'' if args.path.is_file() else '; give a model folder or a checkpoint'}")
    source = source_of(args.path, args.checkpoint)
    if args.auto and source.code:
        source.chosen(args.auto)
    if args.int8 and not form.int8:
        raise UserError(f"--int8 is for --to onnx, not for {form.name}; leave it out")
    if args.accept and not args.int8:
        raise UserError("--accept is about what --int8 loses; add --int8, or leave it out")
    texts = read_texts(args.texts) if args.texts else ()
    if texts and source.weights is None:
        raise UserError("--texts needs a tokenizer, which lies beside the weights; give --checkpoint DIR as well")
    check_installed(form)
    output = args.output or Path("runs/export") / (args.checkpoint or args.path).resolve().name
    say(f"{source.name}: running it, {fence.available().describe()}")
    done = export(source, Wanted(form, args.auto, args.int8, args.accept, texts), output, say)
    for line in report_lines(done, form):
        say(line)
    return 0


def read_texts(file: Path) -> tuple[str, ...]:
    """The lines of a text file that hold something.

    Raises:
        UserError: the file is missing, not UTF-8 text, or empty.
    """
    try:
        lines = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--texts {file}: {first_line(error)}; give a UTF-8 file with one text a line") from None
    if not 1 <= len(lines) <= MOST_TEXTS:
        raise UserError(f"--texts {file}: {len(lines):,} texts; give 1 to {MOST_TEXTS:,}")
    return lines


def source_of(path: Path, checkpoint: Path | None) -> Source:
    """The model of a folder, with a checkpoint's configuration and weights where one is named.

    Raises:
        UserError: neither holds a model, or both hold weights.
    """
    if checkpoint is None:
        return local_source(path, None)
    if not checkpoint.is_dir():
        raise UserError(f"--checkpoint {checkpoint}: no such directory; give what save_pretrained wrote")
    source = local_source(path, None)
    if source.code is None:
        raise UserError(f"{path} has no code of its own; leave out --checkpoint, or give the model folder as PATH")
    stored = read_config(checkpoint / "config.json", needed=True)
    weights = local_weights(checkpoint)
    return Source(str(path), source.code, stored, weights, [])


def local_weights(checkpoint: Path) -> Path:
    """
    Raises:
        UserError: the directory holds no model.safetensors.
    """
    from pinfold.staging.checkpoint import find_weights

    find_weights(checkpoint)
    return checkpoint


def report_lines(done: Export, form: Format) -> list[str]:
    """What a user reads at the end."""
    report: dict[str, Any] = done.report
    proof, timed = report["proof"], report["time"]
    lines = [f"{report['class']} ({report['parameters']:,} parameters, {report['dtype']}) by {report['way']}:"]
    for name, file in report["files"].items():
        lines.append(f"  {done.directory / name}  {file['bytes']:,} bytes  sha256 {file['sha256'][:12]}…")
    lines.append(f"  inputs {', '.join(report['inputs'])}; outputs {', '.join(proof['differences'])}")
    for output, distance in proof["differences"].items():
        allowed = proof["bounds"][output]
        lines.append(f"  {output}: at most {distance:.1e} of its largest number away, {allowed:.0e} allowed")
    lines.append(f"  at {'; '.join(proof['trials'])}")
    if proof["padding_differs"]:
        lines.append(f"  other numbers at padding, which have no meaning: {', '.join(proof['padding_differs'])}")
    lines += [f"  the model itself refuses {line}" for line in report["refused"]]
    lines += [f"  {line}" for line in report["notes"]]
    if timed:
        lines.append(f"  {time_words(form.file, timed)}")
    if "int8" in report:
        lines.append(f"  {form.int8}: {Loss(**report['int8']['loss']).words()}")
        if report["int8"]["time"]:
            lines.append(f"  {time_words(form.int8, report['int8']['time'])}")
    if not form.published:
        lines.append("  reading a .pt2 can run code, so none is published")
    return lines


def time_words(file: str, timed: dict[str, Any]) -> str:
    """How a graph and PyTorch compare on this machine."""
    spread = f"{timed['least']:.2f} to {timed['most']:.2f} over {timed['pairs']} pairs"
    threads = f"{timed['threads']} thread{'s' * (timed['threads'] > 1)}"
    return (
        f"{file}: {timed['graph']:.3g} ms where PyTorch takes {timed['eager']:.3g} ms for {timed['size']}, "
        f"{timed['ratio']:.2f} times as fast ({spread}, {threads})"
    )
