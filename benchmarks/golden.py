"""The converter against transformers' own: every modular file of the installed wheel, and what was generated from it.

Of each modular file: (a) it converts, while the files that were generated from it are out of reach; (b) what was made
imports as a flat package, and needs no model of transformers; (c) every concrete class equals the shipped one: names
and shapes of its weights and the tree of modules with the defaults of its configuration, and with a tiny one outputs,
loss and gradients, bit by bit, each side in a process of its own (golden_sides.py); (d) the texts are equal, in
whatever order, comments aside. The tables are runs/golden.md and runs/golden.json:
"""

import argparse
import ast
import concurrent.futures
import contextlib
import difflib
import gc
import importlib
import json
import multiprocessing
import os
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import transformers

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
import golden_sides  # noqa: E402

from pinfold.common.errors import UserError  # noqa: E402
from pinfold.convert import convert as converter  # noqa: E402
from pinfold.convert.read import modules  # noqa: E402
from pinfold.convert.read.workspace import Conversion  # noqa: E402
from pinfold.convert.write.finish import finish  # noqa: E402
from pinfold.fenced import generated as inside  # noqa: E402
from pinfold.fenced.values import describe_with_place  # noqa: E402

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


def convert(path: Path) -> Conversion:
    with out_of_reach(path):
        return converter.convert(path, f"transformers.models.{path.parent.name}")


HIDDEN: set[tuple[str, str]] = set()


@contextlib.contextmanager
def out_of_reach(path: Path):
    """While a file is converted, what was generated from it is neither found nor opened."""
    before, hidden = modules.find, generated_from(path).values()

    def find(module: str) -> Path | None:
        there = before(module)
        if there in hidden:
            raise PermissionError(f"{module} is generated from {path.name}")
        return there

    HIDDEN.update((p.parent.name, p.stem) for p in hidden)
    modules.find = find
    try:
        yield
    finally:
        modules.find = before
        HIDDEN.clear()


def watch(event: str, args: tuple) -> None:
    if event == "open" and HIDDEN and isinstance(args[0], str):
        path = Path(args[0])
        folder = path.parent.parent if path.parent.name == "__pycache__" else path.parent
        if (folder.name, path.name.split(".")[0]) in HIDDEN and folder.parent == MODELS:
            raise PermissionError(f"{path.name} is generated from what is being converted")


sys.addaudithook(watch)
modules.public_classes()  # where public names lie: of all files, once, before any is hidden


def compare(path: Path) -> tuple[float, dict[str, str]]:
    """Seconds of the conversion, and for each shipped file "" or what differs."""
    started = time.perf_counter()
    conversion = convert(path)
    return time.perf_counter() - started, compare_texts(path, conversion)


def compare_texts(path: Path, conversion: Conversion) -> dict[str, str]:
    found = {}
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
    return found


def lay_out(path: Path, conversion: Conversion, folder: Path) -> tuple[list[str], bool]:
    """Write the folder as a user gets it, with the handwritten files beside the modular one that it refers to.

    Returns:
        The made modules, and whether a handwritten file needs another model.
    """
    made, generated = finish(conversion), generated_from(path)
    # what someone wrote for this model by hand stands for what would come along, as it does in transformers
    made = {n: t for n, t in made.items() if n in generated or not (path.parent / n).exists()}
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    queue, foreign = list(made), False
    while queue:
        for sibling in re.findall(
            r"^\s*from \.(\w+) import", (folder / queue.pop()).read_text(encoding="utf-8"), re.MULTILINE
        ):
            theirs, name = path.parent / f"{sibling}.py", f"{sibling}.py"
            if (folder / name).exists() or not theirs.exists():
                continue
            text = theirs.read_text(encoding="utf-8")
            text = re.sub(r"from \.\.\.(?=[\w ])", "from transformers.", text).replace(
                "transformers. import", "transformers import"
            )
            text = re.sub(r"from \.\.(?=\w)", "from transformers.models.", text)
            foreign |= bool(re.search(r"from transformers\.models\.(?!auto)", text))
            (folder / name).write_text(text, encoding="utf-8")
            queue.append(name)
    return [n.removesuffix(".py") for n in made], foreign


def leftovers(text: str) -> list[str]:
    """Imports of one architecture's modules; those of Auto classes are public."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module or ''}"]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found += [
            n
            for n in names
            if n.startswith("..")
            or (n.startswith("transformers.models.") and not n.startswith("transformers.models.auto"))
        ]
    return found


def gather(target, seconds: float, *args) -> dict:
    """What a process of its own sends, until it is done, dies or is late."""
    here, there = multiprocessing.Pipe(duplex=False)
    gc.freeze()  # what is here already is not looked through, nor copied, in the new process
    process = multiprocessing.get_context("fork").Process(target=target, args=(*args, there))
    process.start()
    there.close()
    found, end = {}, time.monotonic() + seconds
    while True:
        try:
            if not here.poll(max(end - time.monotonic(), 0)):
                found["died"] = f"took longer than {seconds:.0f} s"
                break
            message = here.recv()
        except (EOFError, OSError):
            process.join(5)
            found["died"] = f"the process ended with {process.exitcode}"
            break
        if message is None:
            break
        found[message[0]] = message[1]
    process.kill()
    process.join()
    return found


def first_difference(ours: list[str], theirs: list[str]) -> str:
    lost, more = [x for x in theirs if x not in set(ours)], [x for x in ours if x not in set(theirs)]
    if not lost and not more:
        return "another order" if ours != theirs else ""
    return f"lacks {len(lost)} {lost[:1]}, has {len(more)} more {more[:1]}"


def class_differs(ours: dict, theirs: dict) -> tuple[str, str]:
    """(what differs, what could not be compared), each "" where nothing."""
    skipped = []
    if "default" in theirs:
        if "default" not in ours:
            return f"default: {ours.get('default_error')}", ""
        for kind in ("state", "tree"):
            why = first_difference(ours["default"][kind], theirs["default"][kind])
            if why:
                return f"default {kind}: {why}", ""
    else:
        skipped.append(f"default: {theirs.get('default_error')}")
    if "outputs" not in theirs:
        return "", "; ".join([*skipped, f"tiny: {theirs.get('error')}"])
    if "outputs" not in ours:
        return f"tiny: {ours.get('error')}", ""
    for kind in ("state", "tree", "inputs"):
        if ours[kind] != theirs[kind]:
            return f"tiny {kind}: {first_difference(ours[kind], theirs[kind])}", ""
    for kind in ("outputs", "inside", "loss", "gradients"):
        a, b = ours.get(kind), theirs.get(kind)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                names = sorted(n for n in {*a, *b} if a.get(n) != b.get(n))
                return f"{kind} differ: {len(names)} of {len(b)}, such as {names[0]}", ""
            return f"{kind} differs: {a} and {b}", ""
    return "", "; ".join(skipped)


def behaviour(ours: dict, theirs: dict) -> dict:
    """Of the two sides' messages: what differs of each class, what was not compared, what only starts otherwise."""
    found: dict = {"classes": {}, "skipped": {}, "inside": {}, "initial": [], "needs_auto": []}
    settings = theirs.get("settings", {})
    for name, value in settings.items():
        mine = ours.get("settings", {}).get(name, "not made")
        if mine != value:
            at = next((i for i, (a, b) in enumerate(zip(mine, value, strict=False)) if a != b), 0)
            found["classes"][name] = (
                f"settings: {mine[max(at - 30, 0) : at + 30]!r}, {value[max(at - 30, 0) : at + 30]!r}"
            )
    classes = {n: v for n, v in theirs.items() if isinstance(v, dict) and n != "settings"}
    for name, other in classes.items():
        mine = ours.get(name)
        if mine is None:
            found["classes"][name] = ours.get("died") or "not made"
            continue
        found["classes"][name], why = class_differs(mine, other)
        whole = next((n for n, v in classes.items() if name in v.get("inside", ())), None)
        if why.startswith("tiny") and whole:
            found["inside"][name] = whole  # compared there
        elif why:
            found["skipped"][name] = why
        if other.get("initial") != mine.get("initial"):
            found["initial"].append(name)
        if mine.get("needs_auto"):
            found["needs_auto"].append(name)
    return found


def judge(path: Path, seconds: float, text_only: bool) -> dict:
    """One modular file: "" or a reason for each of a, b, c, d, and how long it took."""
    started, name = time.perf_counter(), path.stem.removeprefix("modular_")
    row = {"name": name, "a": "", "b": "", "c": "not tried", "d": "", "texts": {}, "classes": {}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "made"
        folder.mkdir()
        try:
            conversion = convert(path)
            row["texts"] = compare_texts(path, conversion)
            row["d"] = "; ".join(f"{n}: {why}" for n, why in row["texts"].items() if why)
            stems, foreign = lay_out(path, conversion, folder)
            row["convert_s"] = time.perf_counter() - started
        except Exception as error:
            reason = str(error) if isinstance(error, UserError) else describe_with_place(error)
            none = "not converted"
            return row | {"a": reason, "b": none, "c": none, "d": row["d"] if row["texts"] else none}
        bad = {s: left for s in stems if (left := leftovers((folder / f"{s}.py").read_text(encoding="utf-8")))}
        plans, theirs = Path(place) / "plans.pt", {}
        if not text_only:
            package = f"transformers.models.{path.parent.name}"
            theirs = gather(golden_sides.shipped_side, 20 * seconds, package, stems, plans, seconds)
        ours = gather(
            golden_sides.our_side, 40 * seconds, folder, stems, plans if plans.exists() else None, seconds, name
        )
    absent = {k for k in theirs if k.startswith("import ")}
    failed = {k: v for k, v in ours.items() if k.startswith("import ") and k not in absent}
    if bad:
        row["b"] = "; ".join(f"{s} imports {x[0]}" for s, x in bad.items())
    elif failed:
        row["b"] = "; ".join(f"{k}: {v}" for k, v in failed.items())
    elif ours.get("loaded") and not foreign:
        row["b"] = f"loads {', '.join(ours['loaded'][:3])}"
    elif "died" in ours and "loaded" not in ours:
        row["b"] = ours["died"]
    if not text_only:
        row |= behaviour(ours, theirs)
        row["c"] = "; ".join(f"{n}: {why}" for n, why in row["classes"].items() if why) or (
            f"the shipped one: {theirs['died']}" if "died" in theirs else "; ".join(failed.values())
        )
    row["seconds"] = time.perf_counter() - started
    return row


GOALS = {"a": 320, "b": 315, "c": 300, "d": 200}
WHAT = {
    "a": "convert",
    "b": "import as a flat package without a model of transformers",
    "c": "behave equal",
    "d": "texts equal",
}


def summary(rows: list[dict], tried: str) -> list[str]:
    lines = [f"transformers {transformers.__version__}, {len(rows)} modular files"]
    for key in tried:
        good = sum(not r[key] for r in rows)
        lines.append(
            f"({key}) {WHAT[key]}: {good} of {len(rows)}" + (f", goal {GOALS[key]}" if len(rows) > 300 else "")
        )
    texts = [why for r in rows for why in r["texts"].values()]
    lines.append(f"{sum(not t for t in texts)} of {len(texts)} generated files have equal texts")
    if "c" in tried:
        classes = [why for r in rows for why in r["classes"].values()]
        part = [r for r in rows if r.get("skipped")]
        lines += [
            f"{sum(not c for c in classes)} of {len(classes)} classes behave equal; "
            f"{sum(len(r.get('inside', ())) for r in rows)} of them were run only inside of another, and "
            f"{sum(len(r['skipped']) for r in part)} (in {len(part)} files) compared in part: the shipped ones fail",
            f"{sum(not r['classes'] for r in rows if not r['c'])} files that behave equal define no model",
            f"{sum(bool(r.get('initial')) for r in rows)} files have a class whose initial weights differ, and "
            f"{sum(bool(r.get('needs_auto')) for r in rows)} one that wants parts registered with Auto classes",
        ]
    taken = [r["convert_s"] for r in rows if "convert_s" in r]
    if taken:
        lines.append(f"median {statistics.median(taken):.2f} s a conversion, formatted and written")
    return lines


def report(rows: list[dict], tried: str, folder: Path) -> list[str]:
    """Write both tables; the lines of the summary."""
    rows = sorted(rows, key=lambda r: r["name"])
    lines = summary(rows, tried)
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "golden.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    text = [*(f"{line}  " for line in lines), ""]
    for key in tried:
        text += table(f"({key}) fails", ("file", "why"), [(r["name"], r[key]) for r in rows if r[key]])
    for key, title in (
        ("skipped", "Compared in part: the shipped class fails too"),
        ("inside", "Run only inside of another"),
    ):
        found = [(r["name"], n, why) for r in rows for n, why in r.get(key, {}).items()]
        text += table(title, ("file", "class", "why" if key == "skipped" else "inside of"), found)
    for key, title in (("initial", "Initial weights differ"), ("needs_auto", "Parts to be registered")):
        text += table(title, ("file", "classes"), [(r["name"], ", ".join(r[key])) for r in rows if r.get(key)])
    (folder / "golden.md").write_text("\n".join(text), encoding="utf-8")
    return lines


def table(title: str, heads: tuple, rows: list[tuple]) -> list[str]:
    def line(cells: tuple) -> str:
        return "| " + " | ".join(c[:400].replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return [f"## {title}", "", line(heads), line(tuple("---" for _ in heads)), *map(line, rows), ""] if rows else []


def chosen(count: int | None, seed: int) -> list[Path]:
    paths = sorted(MODELS.glob("*/modular_*.py"))
    return sorted(random.Random(seed).sample(paths, min(count, len(paths)))) if count else paths


# What nearly every model imports, and none of which is a model's.
SHARED = (  # noqa: SIM905
    "torch._dynamo scipy.optimize torchvision.transforms.v2 transformers.generation.utils transformers.vision_utils "
    "transformers.integrations.hub_kernels transformers.loss.loss_utils transformers.masking_utils "
    "transformers.modeling_layers transformers.modeling_rope_utils transformers.processing_utils "
    "transformers.image_processing_backends transformers.video_processing_utils"
).split()


def preload() -> None:
    """Import once what every process that is forked from this one would import again."""
    inside.load_auto_tables()
    for name in SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--sample", type=int, help="that many of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", action="store_true", help="(a), (b) and (d) only")
    parser.add_argument("--seconds", type=float, default=10, help="of the processor, for a class")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs"))
    args = parser.parse_args()
    paths = chosen(args.sample, args.seed)
    if args.only:
        paths = [p for p in chosen(None, 0) if p.stem.removeprefix("modular_") in args.only]
    rows, started = [], time.monotonic()
    preload()
    with concurrent.futures.ProcessPoolExecutor(args.jobs, multiprocessing.get_context("fork")) as pool:
        waiting = [pool.submit(judge, p, args.seconds, args.text) for p in paths]
        for number, done in enumerate(concurrent.futures.as_completed(waiting), 1):
            rows.append(done.result())
            if number % 10 == 0 or number == len(paths):
                print(f"  {number} of {len(paths)}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
                report(rows, "abd" if args.text else "abcd", args.out)
    lines = report(rows, "abd" if args.text else "abcd", args.out)
    print("\n".join([*lines, f"the others: {args.out / 'golden.md'}"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
