"""The converter against transformers' own: every modular file of the installed wheel, and what was generated from it.

Of each modular file: (a) it converts; (b) what was made imports as a flat package, and needs no model of transformers;
(c) every concrete class equals the shipped one: weights' names and shapes and the tree of modules with the defaults of
its configuration, and with a tiny one the initial weights, outputs, loss and gradients, bit by bit; (d) the texts are
equal, in whatever order, comments aside. (c) runs each side in a process of its own. The tables are runs/golden.md and
runs/golden.json: python benchmarks/golden.py [--sample 40] [--only NAME] [--text]
"""

import argparse
import ast
import concurrent.futures
import difflib
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from pinfold.convert import build, finish, inside, tiny
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


def convert(path: Path) -> build.Conversion:
    return build.convert(path, f"transformers.models.{path.parent.name}")


def compare(path: Path) -> tuple[float, dict[str, str]]:
    """Seconds of the conversion, and for each shipped file "" or what differs."""
    started = time.perf_counter()
    conversion = convert(path)
    return time.perf_counter() - started, compare_texts(path, conversion)


def compare_texts(path: Path, conversion: build.Conversion) -> dict[str, str]:
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


def lay_out(path: Path, conversion: build.Conversion, folder: Path) -> tuple[list[str], bool]:
    """Write the folder as a user gets it, with the handwritten files beside the modular one that it refers to.

    Returns:
        The made modules, and whether a handwritten file needs another model.
    """
    made = finish.finish(conversion)
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    queue, foreign = list(made), False
    while queue:
        for found in re.findall(
            r"^\s*from \.(\w+) import", (folder / queue.pop()).read_text(encoding="utf-8"), re.MULTILINE
        ):
            theirs, name = path.parent / f"{found}.py", f"{found}.py"
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


def prepare() -> None:
    """In a process of its own: no network, no thread beside it, and not all of the memory."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def described(classes: dict, levels: dict, seconds: float, pipe, retry=None) -> None:
    """One message for each class: its skeleton with the defaults, and its tiny self."""
    for name, cls in classes.items():
        one = {}
        for again in (False, True):
            try:
                with inside.limit(seconds):
                    one["default"] = inside.default_skeleton(cls)
                one.pop("default_error", None)
                break
            except (Exception, inside.Late) as error:
                one["default_error"] = inside.short(error)
                if retry is None or again or "nrecognized" not in str(error):
                    break
                one["needs_auto"] = True
                retry()
        if retry:
            retry()
        wanted = levels.get(name, range(tiny.LEVELS))
        one |= inside.describe(cls, wanted, seconds) if wanted else {"error": "not tried"}
        pipe.send((name, one))


def shipped_side(path: Path, stems: list[str], seconds: float, pipe) -> None:
    prepare()
    modules = {}
    for stem in stems:
        try:
            modules[stem] = importlib.import_module(f"transformers.models.{path.parent.name}.{stem}")
        except ImportError as error:
            pipe.send(("import " + stem, inside.short(error)))
    described(inside.model_classes(modules), {}, seconds, pipe)
    pipe.send(None)


def our_side(folder: Path, stems: list[str], levels: dict, seconds: float, model: str, pipe) -> None:
    prepare()
    before, modules = inside.load_auto_tables(), {}
    for stem in stems:
        try:
            modules |= inside.import_folder(folder, f"golden_{model}", [stem])
        except Exception as error:
            pipe.send(("import " + stem, inside.short(error)))
    pipe.send(("loaded", inside.loaded_models(before)))
    described(inside.model_classes(modules), levels, seconds, pipe, lambda: register(modules))
    pipe.send(None)


def register(modules: dict) -> None:
    """Auto classes reach what was made where they reach what is shipped, as if it were that."""
    from transformers.models.auto import configuration_auto, modeling_auto

    defined = {
        n: v
        for m in modules.values()
        for n, v in vars(m).items()
        if isinstance(v, type) and v.__module__ == m.__name__
    }
    configs = {}
    for kind, name in configuration_auto.CONFIG_MAPPING_NAMES.items():
        if name in defined:
            configs[kind] = configuration_auto.CONFIG_MAPPING._extra_content[kind] = defined[name]
    for auto in vars(modeling_auto).values():
        mapping = getattr(auto, "_model_mapping", None)
        if isinstance(auto, type) and mapping is not None:
            for kind, listed in mapping._model_mapping.items():
                first = listed if isinstance(listed, str) else listed[0]
                if kind in configs and first in defined:
                    mapping._extra_content[configs[kind]] = defined[first]


def gather(target, seconds: float, *args) -> dict:
    """What a process of its own sends, until it is done, dies or is late."""
    here, there = multiprocessing.Pipe(duplex=False)
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
    for kind in ("weights", "outputs", "loss", "gradients"):
        a, b = ours.get(kind), theirs.get(kind)
        if a != b:
            if isinstance(a, dict) and isinstance(b, dict):
                names = sorted(n for n in {*a, *b} if a.get(n) != b.get(n))
                return f"{kind} differ: {len(names)} of {len(b)}, such as {names[0]}", ""
            return f"{kind} differs: {a} and {b}", ""
    return "", "; ".join(skipped)


def judge(path: Path, seconds: float, text_only: bool) -> dict:
    """One modular file: "" or a reason for each of a, b, c, d, and how long it took."""
    started, name = time.perf_counter(), path.stem.removeprefix("modular_")
    row = {"name": name, "a": "", "b": "", "c": "", "d": "", "texts": {}, "classes": {}}
    try:
        conversion = convert(path)
        row["convert_s"] = time.perf_counter() - started
        row["texts"] = compare_texts(path, conversion)
        row["d"] = "; ".join(f"{n}: {why}" for n, why in row["texts"].items() if why)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else inside.short(error)
        return row | {"a": reason, "b": "not converted", "c": "not converted", "d": "not converted"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            stems, foreign = lay_out(path, conversion, folder)
        except Exception as error:
            reason = str(error) if isinstance(error, UserError) else inside.short(error)
            return row | {"a": f"finish: {reason}", "b": "not written", "c": "not written"}
        bad = {s: left for s in stems if (left := leftovers((folder / f"{s}.py").read_text(encoding="utf-8")))}
        theirs = {} if text_only else gather(shipped_side, 40 * seconds, path, stems, seconds)
        levels = (
            {}
            if text_only
            else {n: [v["level"]] if "level" in v else [] for n, v in theirs.items() if isinstance(v, dict)}
        )
        ours = gather(import_only if text_only else our_side, 40 * seconds, folder, stems, levels, seconds, name)
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
    if text_only:
        row["c"] = "not tried"
    else:
        row["skipped"], row["needs_auto"] = {}, []
        for cls, other in theirs.items():
            if isinstance(other, dict):
                if cls not in ours:
                    row["classes"][cls] = ours.get("died") or "not made"
                    continue
                row["classes"][cls], why = class_differs(ours[cls], other)
                if why:
                    row["skipped"][cls] = why
                if ours[cls].get("needs_auto"):
                    row["needs_auto"].append(cls)
        row["c"] = "; ".join(f"{n}: {why}" for n, why in row["classes"].items() if why) or (
            f"the shipped one: {theirs['died']}" if "died" in theirs else row["b"] if not theirs else ""
        )
    row["seconds"] = time.perf_counter() - started
    return row


def import_only(folder: Path, stems: list[str], levels: dict, seconds: float, model: str, pipe) -> None:
    prepare()
    before = inside.load_auto_tables()
    for stem in stems:
        try:
            inside.import_folder(folder, f"golden_{model}", [stem])
        except Exception as error:
            pipe.send(("import " + stem, inside.short(error)))
    pipe.send(("loaded", inside.loaded_models(before)))
    pipe.send(None)


GOALS = {"a": 320, "b": 315, "c": 300, "d": 200}
WHAT = {
    "a": "convert",
    "b": "import as a flat package without a model of transformers",
    "c": "behave equal",
    "d": "texts equal",
}
MEMORY = 9 << 30


def report(rows: list[dict], tried: list[str], folder: Path) -> list[str]:
    """Write both tables; the lines of the summary."""
    rows = sorted(rows, key=lambda r: r["name"])
    lines = [f"transformers {transformers.__version__}, {len(rows)} modular files"]
    for key in tried:
        good = sum(not r[key] for r in rows)
        lines.append(
            f"({key}) {WHAT[key]}: {good} of {len(rows)}" + (f", goal {GOALS[key]}" if len(rows) > 300 else "")
        )
    texts = [why for r in rows for why in r["texts"].values()]
    classes = [why for r in rows for why in r["classes"].values()]
    skipped = sum(len(r.get("skipped", {})) for r in rows)
    lines.append(f"{sum(not t for t in texts)} of {len(texts)} generated files have equal texts")
    if classes:
        lines.append(
            f"{sum(not c for c in classes)} of {len(classes)} classes behave equal, {skipped} of them compared in part"
        )
    taken = [r["convert_s"] for r in rows if "convert_s" in r]
    if taken:
        lines.append(f"median {statistics.median(taken):.2f} s a conversion")
    folder.mkdir(exist_ok=True)
    (folder / "golden.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    table = [*(f"{line}  " for line in lines), ""]
    for key in tried:
        table += [f"## ({key}) fails", "", "| file | why |", "| --- | --- |"]
        table += [f"| {r['name']} | {r[key][:400].replace('|', chr(92) + '|')} |" for r in rows if r[key]]
        table.append("")
    table += [
        "## Compared in part",
        "",
        "| file | class | not compared, as the shipped class fails too |",
        "| --- | --- | --- |",
    ]
    table += [
        f"| {r['name']} | {n} | {why[:300].replace('|', chr(92) + '|')} |"
        for r in rows
        for n, why in r.get("skipped", {}).items()
    ]
    (folder / "golden.md").write_text("\n".join([*table, ""]), encoding="utf-8")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--sample", type=int, help="that many of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--text", action="store_true", help="(a), (b) and (d) only")
    parser.add_argument("--seconds", type=float, default=20, help="limit for a step of one class")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs"))
    args = parser.parse_args()
    paths = [
        p
        for p in sorted(MODELS.glob("*/modular_*.py"))
        if not args.only or p.stem.removeprefix("modular_") in args.only
    ]
    if args.sample:
        paths = sorted(random.Random(args.seed).sample(paths, min(args.sample, len(paths))))
    rows, started = [], time.monotonic()
    inside.load_auto_tables()  # once, for every process that is forked from this one
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
