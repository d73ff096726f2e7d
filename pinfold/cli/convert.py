"""Turn modular_x.py into configuration_x.py and modeling_x.py, which need nothing of the original (`python main.py`).

Without a file, every modular_*.py below this folder is converted; if one cannot be converted, nothing is written.

Example: pinfold convert my_model/modular_my.py --verify
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from pinfold.common.errors import UserError, printable
from pinfold.convert import files

FEW = 4  # files that are converted without a progress bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, help="modular_x.py; default: every one below this folder")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if files differ from what would be generated"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="run small models of the generated classes in a sandbox; exit 1 if a check fails",
    )
    parser.add_argument(
        "--inline-config", action=argparse.BooleanOptionalAction,
        help="put the configuration class into modeling_x.py; later runs keep the choice",
    )  # fmt: skip
    parser.add_argument("--explain", action="store_true", help="show what each definition was made from")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that were not made from a modular file"
    )
    parser.add_argument(
        "--eject",
        nargs=2,
        metavar=("NAME", "OUT"),
        help="write a built-in model as a self-contained folder, to change it",
    )
    parser.add_argument("--prefix", help="with --eject: prefix of the new class names (default My)")
    parser.add_argument(
        "--with", dest="extras", default="", metavar="KIND,...",
        help="with --eject: tokenizer, processor, image_processor, feature_extractor",
    )  # fmt: skip
    parser.add_argument("--describe", metavar="NAME", help="show what a built-in model is made of")


def main(args: argparse.Namespace) -> int:
    if args.eject:
        return eject(args.eject[0], Path(args.eject[1]), args.prefix, args.extras)
    for option, value in (("--prefix", args.prefix), ("--with", args.extras)):
        if value:
            raise UserError(f"{option} needs --eject NAME OUT; add it, or drop {option}")
    if args.describe:
        from pinfold.convert.describe import describe

        print(printable("\n".join(describe(args.describe))))
        return 0
    paths = files.find_modular(args.files)
    if not paths:
        raise UserError(f"there is no modular_*.py below {Path.cwd()}; write one, or give its path")
    from pinfold.convert.batch import convert_all  # it reads transformers' tables, which takes seconds

    bar = {"total": len(paths), "unit": "file", "disable": None if len(paths) > FEW else True}  # None: on a terminal
    results = list(tqdm(convert_all(paths, args.inline_config, args.explain), **bar))
    refuse([r.why for r in results if r.why], len(results))
    if not args.check:
        for result in results:
            files.check_free(result.texts, result.path.parent, args.overwrite)
    faults = 0
    for result in results:
        for note in result.notes:
            print(printable(f"{result.path}: {note}"), file=sys.stderr)
        if args.explain:
            print(printable("\n".join(result.explained)))
        old = files.left_over(result.texts, result.path)
        if args.check:
            differences = files.drift(result.texts, result.path.parent, old)
            faults += bool(differences)
            print(printable("\n".join(differences)) or f"{result.path}: up to date")
            continue
        written = files.write(result.texts, result.path.parent, args.overwrite, old)
        print(f"{result.path} -> {', '.join(p.name for p in written)}", flush=True)
        if args.verify:
            faults += verify(result.path.parent)
    return 1 if faults else 0


def refuse(failed: list[str], count: int) -> None:
    """
    Raises:
        UserError: any could not be converted; all of them are printed, each in a line.
    """
    if not failed:
        return
    for why in failed[:-1]:
        print(f"pinfold convert: {printable(why)}", file=sys.stderr)
    more = f"; {len(failed)} of {count} files cannot be converted, and nothing was written" if count > 1 else ""
    raise UserError(f"{failed[-1]}{more}")


def verify(folder: Path) -> bool:
    """Print what a verification of the folder says; whether any check failed."""
    from pinfold.convert import verify

    verification = verify.verify(folder)
    print("\n".join(verify.table(verification)))
    return bool(verification.failed)


def eject(name: str, out: Path, prefix: str | None, extras: str) -> int:
    from pinfold.convert.eject import eject

    kinds = tuple(kind.strip().replace("-", "_") for kind in extras.split(",") if kind.strip())
    conversion = eject(name, out, prefix, kinds)
    written = ", ".join(sorted(p.name for p in out.iterdir() if p.name != "__init__.py"))
    modular = f"modular_{conversion.name}.py"
    lines = [f"{out}: {written}", *(f"note: {note}" for note in conversion.notes)]
    lines.append(f"change {modular}, then run: pinfold convert {out}/{modular}")
    print(printable("\n".join(lines)))
    return 0
