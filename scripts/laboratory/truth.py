"""Measure what whole folders of research code do in transformers releases, which forecasts are held against.

    python scripts/laboratory/truth.py tests/research/* --json tests/research/truth.json
    python benchmarks/forecast.py tests/research/* --truth tests/research/truth.json

How it works:
- about.json of a folder says how it is used: the Auto class, the inputs of forward, the output that counts, whether it
  generates, and the release that it was written for.
- Its weights are made in that release: those that its own code begins with, each changed a little by formula.
- Each release loads it in a process of its own (truth_inside.py): load, numbers, greedy text, save and load again.
- Numbers are compared with what the model computed when its weights were made, as a load in the release that it was
  written for can be wrong too; text with what that release writes. Numbers may differ by a part of 2e-5: parts of
  transformers' own, such as attention, add up in another order in other releases.
"""

import argparse
import concurrent.futures
import json
import shutil
import tempfile
from pathlib import Path

from in_release import run_inside
from safetensors.torch import load_file

RELEASES = ["4.48.3", "4.50.3", "4.52.4", "4.54.1", "4.56.2", "4.57.6", "5.0.0", "5.4.0", "5.12.1", "5.24.0"]
INSIDE = Path(__file__).with_name("truth_inside.py")
TOLERANCE = 2e-5  # of the largest number; see above


def main() -> None:
    """Measure the folders, print a table for each, and add them to the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--releases", nargs="+", default=RELEASES)
    parser.add_argument("--json", type=Path, help="folder -> release -> stage -> what was seen; others in it stay")
    parser.add_argument("--jobs", type=int, default=1, help="releases at the same time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="truth-") as temporary:
        work = Path(temporary)
        folders = copies([f for f in options.folders if (f / "about.json").exists()], work / "folders")
        make_weights(folders, work)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            seen = dict(
                zip(options.releases, pool.map(lambda r: in_release(r, folders, work), options.releases), strict=True)
            )
        table = {folder.name: compare(folder, seen, work) for folder in folders}
    for name, row in table.items():
        print(f"\n{name}")
        for release, stages in row.items():
            print(f"  {release:7}", "; ".join(f"{stage} {result}" for stage, result in stages.items()))
    if options.json:
        before = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
        merged = before | table
        text = json.dumps({name: merged[name] for name in sorted(merged)}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


def copies(folders: list[Path], target: Path) -> list[Path]:
    """The folders, where weights can be put beside them."""
    return [Path(shutil.copytree(folder, target / folder.resolve().name)) for folder in folders]


def about(folder: Path) -> dict:
    """How a folder is used."""
    return json.loads((folder / "about.json").read_text(encoding="utf-8"))


def make_weights(folders: list[Path], work: Path) -> None:
    """Write model.safetensors into each, in the release that it was written for."""
    by_release: dict[str, list[Path]] = {}
    for folder in folders:
        by_release.setdefault(about(folder)["written_for"], []).append(folder)
    for release, some in by_release.items():
        for name, result in in_release(release, some, work, "make").items():
            if result["weights"].startswith("error"):
                raise SystemExit(f"{name}: its weights cannot be made in {release}: {result['weights']}")


def in_release(release: str, folders: list[Path], work: Path, action: str = "look") -> dict[str, dict[str, str]]:
    """What a release does with the folders: name -> stage -> result. Tensors are left in the work directory."""
    output = work / f"{release}-{action}.json"
    orders = {"action": action, "output": str(output), "tensors": str(work), "folders": [str(f) for f in folders]}
    return run_inside(INSIDE, release, orders, work / f"home-{release}")


def compare(folder: Path, seen: dict[str, dict], work: Path) -> dict[str, dict[str, str]]:
    """Release -> stage -> "ok", "wrong: ..." or "error: ..."."""
    own = about(folder)["written_for"]
    tensors = {release: read(work / f"{release}-{folder.name}.safetensors") for release in seen}
    if "numbers" not in tensors.get(own, {}):
        raise SystemExit(f"{folder.name} gives no numbers in {own}, for which it was written")
    made = read(work / f"made-{folder.name}.safetensors")
    table = {}
    for release, results in seen.items():
        row = dict(results[folder.name])
        for stage, reference in (("numbers", made or tensors[own]), ("save", tensors[release])):
            if row.get(stage) == "ran":
                row[stage] = difference(tensors[release][stage], reference.get("numbers"))
        if "generate" in row and not row["generate"].startswith("error"):
            same = row["generate"] == seen[own][folder.name].get("generate")
            row["generate"] = "ok" if same else "wrong: another text"
        table[release] = row
    return table


def read(path: Path) -> dict:
    """Tensors of a file, where it is there."""
    return load_file(path) if path.exists() else {}


def difference(ours, reference) -> str:
    """How an output compares with another one."""
    if reference is None:
        return "nothing to compare with"
    if ours.shape != reference.shape:
        return f"wrong: shape {tuple(ours.shape)}"
    if not bool(ours.isfinite().all()):
        return "wrong: not finite"
    part = ((ours - reference).abs().max() / reference.abs().max().clamp(min=1e-6)).item()
    return "ok" if part <= TOLERANCE else f"wrong: differs by {part:.1e} of the largest number"


if __name__ == "__main__":
    main()
