"""Turn modular_x.py into configuration_x.py and modeling_x.py, which need nothing of the original (`python main.py`).

Without a file, every modular_*.py below this folder is converted; where one cannot be, nothing is written at all.

Example: pinfold convert my_model/modular_my.py --verify
"""

import argparse
import concurrent.futures
import functools
import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from pinfold.common.errors import UserError, printable
from pinfold.convert import files

ENOUGH = 4  # files for each further process: one costs as much to start as that many to convert
SKIPPED = {".git", ".venv", "venv", "node_modules", "runs", "__pycache__", "site-packages"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, help="modular_x.py; default: every one below this folder")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where files differ from what they would be"
    )
    parser.add_argument(
        "--verify", action="store_true", help="run the generated classes, small, in a fresh process; exit 1 on a fault"
    )
    parser.add_argument(
        "--inline-config", action=argparse.BooleanOptionalAction,
        help="put the configuration's class into modeling_x.py; later runs keep to what was chosen",
    )  # fmt: skip
    parser.add_argument("--explain", action="store_true", help="show what each definition was made from")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that were not made from a modular file"
    )
    parser.add_argument(
        "--eject", nargs=2, metavar=("NAME", "OUT"), help="write a built-in model as a folder of its own, to change it"
    )
    parser.add_argument("--prefix", help="with --eject: what its class names begin with (default My)")
    parser.add_argument(
        "--with", dest="extras", default="", metavar="KIND,...",
        help="with --eject: tokenizer, processor, image_processor, feature_extractor",
    )  # fmt: skip
    parser.add_argument("--describe", metavar="NAME", help="show what a built-in model is made of")


def find(paths: list[Path]) -> list[Path]:
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is no file; give modular_x.py, or nothing for every one below this folder")
        if not path.name.startswith("modular_") or path.suffix != ".py":
            raise UserError(
                f"{path} is not called modular_<name>.py, which gives modeling_<name>.py its name; rename it"
            )
    if paths:
        return paths
    return sorted(p for p in Path().rglob("modular_*.py") if not SKIPPED & set(p.parts))


@dataclass(frozen=True)
class Result:
    """What one modular file becomes, or why nothing."""

    path: Path
    texts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    why: str = ""


def convert(path: Path, inline: bool | None, explained: bool) -> Result:
    """Convert one file; nothing is written.

    Args:
        inline: whether the configuration goes into the modeling file; None: as in the files that are there.
    """
    from pinfold.convert import explain, nearby  # these read transformers' tables, which takes seconds

    try:
        made = nearby.converted(path, files.INLINE in files.recorded(path) if inline is None else inline)
        lines = explain.table(made.conversion) if explained else []
        return Result(path, made.texts, made.conversion.notes, lines)
    except UserError as error:
        return Result(path, why=str(error))


def convert_all(paths: list[Path], inline: bool | None, explained: bool) -> list[Result]:
    """Convert all, several at a time, with a progress bar on a terminal; in the order of `paths`."""
    from pinfold.convert import nearby

    nearby.forget()  # somebody's long process may have converted an older text of these files
    jobs = min(len(paths) // ENOUGH, os.cpu_count() or 1)
    work = functools.partial(convert, inline=inline, explained=explained)
    bar = functools.partial(tqdm, total=len(paths), unit="file", disable=None if len(paths) > ENOUGH else True)
    if jobs < 2:
        return [work(p) for p in bar(paths)]
    # Ctrl-C reaches every process of a terminal; the one that waits answers it
    with concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        try:
            return list(bar(pool.map(work, paths)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def refuse(bad: list[Result], count: int) -> None:
    """
    Raises:
        UserError: any could not be converted; all of them are told, each in a line.
    """
    if bad:
        for result in bad[:-1]:
            print(f"pinfold convert: {printable(result.why)}", file=sys.stderr)
        more = f"; {len(bad)} of {count} files cannot be converted, and nothing was written" if count > 1 else ""
        raise UserError(f"{bad[-1].why}{more}")


def main(args: argparse.Namespace) -> int:
    if args.eject:
        from pinfold.convert import eject

        print(printable("\n".join(eject.main(args.eject[0], Path(args.eject[1]), args.prefix, args.extras))))
        return 0
    if args.describe:
        from pinfold.convert import describe

        print(printable("\n".join(describe.describe(args.describe))))
        return 0
    paths = find(args.files)
    if not paths:
        raise UserError(f"there is no modular_*.py below {Path.cwd()}; write one, or give its path")
    results = convert_all(paths, args.inline_config, args.explain)
    refuse([r for r in results if r.why], len(results))
    if not args.check:
        for result in results:
            files.check_free(result.texts, result.path.parent, args.overwrite)
    found = 0
    for result in results:
        for note in result.notes:
            print(printable(f"{result.path}: {note}"), file=sys.stderr)
        if args.explain:
            print(printable("\n".join(result.explained)))
        old = files.left_over(result.texts, result.path)
        if args.check:
            lines = files.drift(result.texts, result.path.parent, old)
            found += bool(lines)
            print(printable("\n".join(lines)) or f"{result.path}: as it should be")
            continue
        written = files.write(result.texts, result.path.parent, args.overwrite, old)
        print(f"{result.path} -> {', '.join(p.name for p in written)}", flush=True)
        if args.verify:
            from pinfold.convert import verify

            found += verify.main(result.path.parent)
    return 1 if found else 0
