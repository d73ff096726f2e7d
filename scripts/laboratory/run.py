"""Measure in which transformers releases each fault of the audit's rules does harm, and write it to ranges.json.

    python scripts/laboratory/run.py [--check] [--case NAME ...] [--jobs 2]

Needs the overlays of every minor release: pinfold compat make all.

How it works:
- cases/ has a folder that is right and the same with one fault. Both get the same weights, made by formula.
- Both are loaded in the newest patch of each minor release, each in a process of its own (inside.py). What the faulty
  one does otherwise than the right one of the same release counts: it raises, its numbers or its text differ.
- A folder that is right has to be so in every release, or the run ends with an error: it is the cure that a rule
  names.
- pinfold/audit/ranges.json keeps, for each case and stage, the releases that fail. With --check it is compared
  instead.
"""

import argparse
import concurrent.futures
import json
import os
import sys
import tempfile
from pathlib import Path

from cases import CASES, REMOVED, Case
from in_release import run_inside
from sources import CACHED, SETTINGS

from pinfold.folder.releases import every_minor, release_ranges

HERE = Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "pinfold" / "audit" / "ranges.json"
RIGHT, FAULTY = "right", "faulty"
SECONDS = 120.0  # for one folder
# What is asked of a folder, and what a user calls it.
STAGES = {
    "load": "AutoModelForCausalLM.from_pretrained raises",
    "forward": "it loads, and forward raises",
    "numbers": "it loads, and its outputs are wrong",
    "direct": "the class's own from_pretrained raises, or its outputs are wrong",
    "settings": "the configuration cannot be printed",
    "generate": "generate raises",
    "text": "generate writes another text",
    "save": "it cannot be saved, or is another model when it is loaded again",
    "tokens": "generate raises with what the folder's tokenizer gives",
    "pipeline": "pipeline() raises or writes another text",
}

# Two that are asked for together: one that raises, one that gives something else.
OF_ONE = {"forward": "numbers", "numbers": "numbers", "generate": "generate", "text": "generate"}
RAISES = ("forward", "generate")


def main() -> int:
    """Run the cases; 1 where something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with the table instead of writing it; also with --case or --release",
    )
    parser.add_argument("--case", nargs="+", choices=CASES, help="only these; the others stay as the table has them")
    parser.add_argument("--release", nargs="+", help="only these releases; nothing is written")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="releases at the same time")
    options = parser.parse_args()
    names = options.case or list(CASES)
    releases = options.release or every_minor()
    with tempfile.TemporaryDirectory(prefix="laboratory-") as temporary:
        results = measure({name: CASES[name] for name in names}, releases, Path(temporary), options.jobs)
    wrong = [line for name in names for line in not_right(name, results)]
    print("\n".join(wrong))
    table = {name: ranges(name, results) for name in names}
    for name, stages in table.items():
        print(f"{name:34} {stages or 'does no harm'}")
        for line in reasons(name, results):
            print(f"    {line}")
    if options.check:
        other = [line for name in names for line in differences(name, table[name], releases)]
        print("\n".join(other) or f"as {TABLE.name} says")
        return int(bool(other or wrong))
    if not (options.release or wrong):
        before = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
        if before.get("releases") == releases:  # the others stay as they were measured
            table = {name: table.get(name, before["cases"].get(name)) for name in CASES}
        if None in table.values() or set(table) != set(CASES):
            raise SystemExit("not written: some cases were not measured in these releases; run it without --case")
        TABLE.write_text(json.dumps({"releases": releases, "cases": table}, indent=1) + "\n", encoding="utf-8")
    return int(bool(wrong))


def differences(name: str, measured: dict[str, str], releases: list[str]) -> list[str]:
    """Stages of a case that fail in other ones of these releases than the table says."""
    written = json.loads(TABLE.read_text(encoding="utf-8"))["cases"].get(name, {})
    lines = []
    for stage in STAGES:
        said = {r for r in releases if within(r, written.get(stage, ""))}
        now = {r for r in releases if within(r, measured.get(stage, ""))}
        if said != now:
            lines.append(
                f"{name}, {stage}: fails in {release_ranges(now) or 'none'}, not {release_ranges(said) or 'none'}"
            )
    return lines


def within(release: str, spans: str) -> bool:
    """Whether a release is in ranges of minor releases, such as "4.48-4.57, 5.3"."""
    minor = tuple(map(int, release.split(".")[:2]))
    for part in filter(None, spans.split(", ")):
        first, _, last = part.partition("-")
        if tuple(map(int, first.split("."))) <= minor <= tuple(map(int, (last or first).split("."))):
            return True
    return False


def measure(cases: dict[str, Case], releases: list[str], work: Path, jobs: int) -> dict[str, dict]:
    """Release -> folder's name -> stage -> result."""
    folders = {name: path for case in cases for name, path in write_folders(case, cases[case], work).items()}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(in_release, release, folders, work): release for release in releases}
        results = {}
        for done in concurrent.futures.as_completed(waiting):
            results[waiting[done]] = done.result()
            print(f"{waiting[done]}: {len(folders)} folders", file=sys.stderr, flush=True)
    return {release: results[release] for release in releases}


def in_release(release: str, folders: dict[str, Path], work: Path) -> dict[str, dict[str, str]]:
    """What one release does with all folders."""
    output = work / f"{release}.json"
    orders = {"folders": {n: str(p) for n, p in folders.items()}, "output": str(output), "seconds": SECONDS}
    return run_inside(HERE / "inside.py", release, orders, work / f"home-{release}")


def write_folders(name: str, case: Case, work: Path) -> dict[str, Path]:
    """The right folder and the faulty one, with the same weights."""
    paths = folders(name, work)
    write_sources(name, case, paths)
    if case.loads == "model":
        write_weights(name, case, paths)
    return {f"{name} {kind}": path for kind, path in paths.items()}


def folders(name: str, work: Path) -> dict[str, Path]:
    """Where the two folders of a case are."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in name).lower()
    return {kind: work / f"{stem}_{kind}" for kind in (RIGHT, FAULTY)}


def write_sources(name: str, case: Case, paths: dict[str, Path]) -> None:
    """Everything but the weights."""
    right = edited(name, case.base, case.right)
    for kind, sources in ((RIGHT, right), (FAULTY, edited(name, right, case.fault))):
        path = paths[kind]
        further = case.faulty_settings if kind == FAULTY else {}
        settings = {**SETTINGS, "use_cache": case.base is CACHED, **case.settings, **further}
        settings = {key: value for key, value in settings.items() if value is not REMOVED}
        files = {
            **sources,
            **case.files,
            **(case.faulty_files if kind == FAULTY else {}),
            "config.json": json.dumps(settings, indent=1).replace("{folder}", str(path)),
            "laboratory.json": json.dumps({"loads": case.loads, "pipeline": case.pipeline}),
        }
        for file, text in ((file, text) for file, text in files.items() if text is not None):
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text, encoding="utf-8")


def edited(name: str, sources: dict[str, str], edits: tuple[tuple[str, str, str], ...]) -> dict[str, str]:
    """Sources with their exchanges."""
    sources = dict(sources)
    for file, old, new in edits:
        if sources[file].count(old) != 1:
            raise SystemExit(
                f"{name}: {old!r} is {sources[file].count(old)} times in {file}, and has to be there once"
            )
        sources[file] = sources[file].replace(old, new)
    return sources


def write_weights(name: str, case: Case, paths: dict[str, Path]) -> None:
    """Tensors by formula, of the right folder's shapes, under the names that each of the two has."""
    import importlib

    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    package = paths[RIGHT].name
    sys.path.insert(0, str(paths[RIGHT].parent))
    sys.dont_write_bytecode = True
    try:
        modeling = importlib.import_module(f"{package}.modeling_lab")
        configuration = importlib.import_module(f"{package}.configuration_lab")
    finally:
        sys.path.pop(0)
    settings = json.loads((paths[RIGHT] / "config.json").read_text(encoding="utf-8"))
    auto_map = {**SETTINGS["auto_map"], **case.settings.get("auto_map", {})}
    config_class = getattr(configuration, auto_map["AutoConfig"].split(".")[-1])
    model = modeling.LabForCausalLM(config_class.from_dict(settings))
    tied = set(model.all_tied_weights_keys)
    tensors = {}
    for number, (key, tensor) in enumerate(sorted(model.state_dict().items())):
        if key not in tied:
            wave = torch.sin(torch.arange(tensor.numel(), dtype=torch.float64) * (0.7 + 0.1 * number))
            tensors[key] = (wave * 0.5).to(tensor.dtype).reshape(tensor.shape)
    for new, old in case.copies.items():
        tensors[new] = tensors[old].clone()
    save_file(tensors, paths[RIGHT] / "model.safetensors", metadata={"format": "pt"})
    renamed = {case.keys.get(key, key): tensor for key, tensor in tensors.items()}
    renamed = {key: case.tensors.get(key, lambda same: same)(tensor) for key, tensor in renamed.items() if key}
    save_file(renamed, paths[FAULTY] / "model.safetensors", metadata={"format": "pt"})
    if (place := settings.get("place")) and case.settings.get("inside"):
        from transformers import BertConfig, BertModel

        for path in paths.values():
            BertModel(BertConfig(**case.settings["inside"])).save_pretrained(
                place.replace(str(paths[RIGHT]), str(path))
            )


def outcome(stage: str, name: str, results: dict[str, dict[str, str]]) -> str:
    """What the faulty folder does otherwise at a stage; "" where nothing."""
    right, faulty = results[f"{name} {RIGHT}"], results[f"{name} {FAULTY}"]
    key = OF_ONE.get(stage, stage)
    ours, theirs = right.get(key), faulty.get(key)
    if ours == theirs or ours is None or theirs is None:  # None: it did not load, which another stage says
        return ""
    if key in OF_ONE.values() and theirs.startswith("error: ") != (stage in RAISES):
        return ""
    return theirs


def ranges(name: str, results: dict[str, dict]) -> dict[str, str]:
    """Stage -> the releases in which the faulty folder fails there."""
    table = {}
    for stage in STAGES:
        affected = [release for release, each in results.items() if outcome(stage, name, each)]
        if affected:
            table[stage] = release_ranges(affected)
    return table


def reasons(name: str, results: dict[str, dict]) -> list[str]:
    """Stage, releases and words, each kind of failure once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for stage in STAGES:
        for release, each in results.items():
            if words := outcome(stage, name, each):
                kind = words if words.startswith("error: ") else "differs"
                groups.setdefault((stage, kind), []).append(release)
    return [f"{stage} in {release_ranges(releases)}: {words}" for (stage, words), releases in groups.items()]


def not_right(name: str, results: dict[str, dict]) -> list[str]:
    """Where the folder that has to be right is not: it raises, or is another model after it was saved."""
    lines = []
    for release, each in results.items():
        right = each[f"{name} {RIGHT}"]
        lines += [f"{name}, right, {release}: {k}: {v}" for k, v in right.items() if v.startswith("error: ")]
        if right.get("numbers") != right.get("save") or right.get("numbers") != right.get("direct"):
            lines.append(f"{name}, right, {release}: other numbers when it is saved, or loaded without an Auto class")
    numbers = {each[f"{name} {RIGHT}"].get("numbers") for each in results.values()}
    texts = {each[f"{name} {RIGHT}"].get("generate") for each in results.values()}
    if len(numbers) > 1 or len(texts) > 1:
        lines.append(f"{name}, right: its numbers or its text differ between releases")
    return lines


if __name__ == "__main__":
    sys.exit(main())
