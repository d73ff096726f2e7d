"""The converter against transformers' own: every modular file of the installed wheel, and what was generated from it.

Two files are equal when their imports and their definitions are, in whatever order, comments aside. The table of those
that differ is written to runs/golden.md: python benchmarks/golden.py [NAME ...]
"""

import argparse
import ast
import difflib
import re
import statistics
import sys
import time
from pathlib import Path

import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from pinfold.convert import build
from pinfold.errors import UserError

MODELS = Path(transformers.__file__).parent / "models"


def parts(text: str) -> tuple[list[str], list[str]]:
    """Imported names and definitions of a file, sorted."""
    imports, definitions = set(), []
    # inside of transformers imports start with three dots
    for node in ast.parse(re.sub(r"from \.\.\.(?=\w)", "from transformers.", text)).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports |= {f"{a.name} as {a.asname}" for a in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            definitions.append(f"__all__ = {sorted(ast.literal_eval(node.value))}")
        else:
            definitions.append(ast.unparse(node))
    return sorted(imports), sorted(definitions)


def generated_from(path: Path) -> dict[str, Path]:
    """The shipped files that say that they were generated from this one."""
    others = (p for p in path.parent.glob("*.py") if p != path)
    return {p.name: p for p in others if f"/{path.name}" in p.read_text(encoding="utf-8")[:1500]}


def compare(path: Path) -> tuple[float, dict[str, str]]:
    """Seconds of the conversion, and for each shipped file "" or what differs."""
    started = time.perf_counter()
    conversion = build.convert(path, f"transformers.models.{path.parent.name}")
    seconds, found = time.perf_counter() - started, {}
    for name, shipped in generated_from(path).items():
        if name not in conversion.files:
            found[name] = "not made"
            continue
        ours, theirs = parts(conversion.files[name]), parts(shipped.read_text(encoding="utf-8"))
        if ours == theirs:
            found[name] = ""
        elif ours[1] == theirs[1]:
            found[name] = "imports: " + ", ".join(sorted(set(ours[0]) ^ set(theirs[0])))
        else:
            lines = ("\n".join(x[1]).splitlines() for x in (theirs, ours))
            changed = [x for x in difflib.unified_diff(*lines, lineterm="", n=0) if x[:2] not in ("--", "++", "@@")]
            found[name] = f"{len(changed)} lines, such as {changed[0][:90]!r}"
    return seconds, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="default: all")
    names = parser.parse_args().names
    paths = [p for p in sorted(MODELS.glob("*/modular_*.py")) if not names or p.stem.removeprefix("modular_") in names]
    seconds, rows, failed = [], {}, {}
    for number, path in enumerate(paths):
        if number % 50 == 0:
            print(f"  {number} of {len(paths)}", file=sys.stderr, flush=True)
        try:
            taken, found = compare(path)
        except UserError as error:
            failed[path.name] = str(error)
            continue
        seconds.append(taken)
        rows |= found
    equal = sum(not why for why in rows.values())
    print(
        f"transformers {transformers.__version__}: {len(paths) - len(failed)} of {len(paths)} modular files converted,"
    )
    print(f"{equal} of {len(rows)} generated files equal, median {statistics.median(seconds):.2f} s a file")
    table = Path("runs/golden.md")
    table.parent.mkdir(exist_ok=True)
    lines = [
        f"| {name} | {why.replace('|', chr(92) + '|')} |" for name, why in sorted({**rows, **failed}.items()) if why
    ]
    table.write_text("\n".join(["| file | what differs |", "| --- | --- |", *lines, ""]), encoding="utf-8")
    print(f"the others: {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
