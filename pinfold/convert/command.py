"""`pinfold convert`, which is `python main.py`."""

import argparse
import sys
from pathlib import Path

from ..errors import UserError, printable
from . import build, finish

SKIPPED = {".git", ".venv", "venv", "node_modules", "runs", "__pycache__", "site-packages"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, help="modular_x.py; default: every one below this folder")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where files differ from what they would be"
    )
    parser.add_argument(
        "--verify", action="store_true", help="run the generated classes, small, in a fresh process; exit 1 on a fault"
    )
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


def main(args: argparse.Namespace) -> int:
    if args.eject:
        from . import eject

        print(printable("\n".join(eject.main(args.eject[0], Path(args.eject[1]), args.prefix, args.extras))))
        return 0
    if args.describe:
        from . import describe

        print(printable("\n".join(describe.describe(args.describe))))
        return 0
    files = find(args.files)
    if not files:
        raise UserError(f"there is no modular_*.py below {Path.cwd()}; write one, or give its path")
    drifted = 0
    for path in files:
        conversion = build.convert(path)
        texts = finish.finish(conversion)
        for note in conversion.notes:
            print(printable(f"{path}: {note}"), file=sys.stderr)
        if args.explain:
            print("\n".join(finish.explain(conversion)))
        if args.check:
            lines = finish.drift(texts, path.parent)
            drifted += bool(lines)
            print("\n".join(lines) or f"{path}: as it should be")
            continue
        written = finish.write(texts, path.parent, args.overwrite)
        print(f"{path} -> {', '.join(p.name for p in written)}", flush=True)
        if args.verify:
            from . import verify

            drifted += verify.main(path.parent)
    return 1 if drifted else 0
