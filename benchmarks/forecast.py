"""What check forecasts, held against what loads did: folder by folder and release by release.

The truth is a JSON file: folder -> release -> what was seen of load, numbers, generate and save. What begins with
"error" or "wrong" is a fault; a stage that is not there was not reached. benchmarks/real_folders.json is such a table
of strangers' folders, of which the project holds the names and the results, and not the code.

    python benchmarks/forecast.py FOLDERS... --truth truth.json
"""

import argparse
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from pinfold.audit.examine import Report, examine
from pinfold.audit.ranges import EFFECTS

RANGE = r"\d+\.\d+(?:-\d+\.\d+)?"
AFFECTED = re.compile(rf"(?:^by its code, |, )in ({RANGE}(?:, {RANGE})*) it ")
FIRST = ("load", "forward", "numbers")  # what is a fault before anything is generated or saved
GENERATE = ("load", "forward", "generate", "text", "tokens")
SAVE = ("load", "forward", "save")


@dataclass(frozen=True)
class Saying:
    """One part of a forecast: what a fault does, whether only a load decides that, and the fault."""

    stage: str
    may: bool
    fault: str


def read_forecast(text: str, releases: list[str]) -> dict[str, list[Saying]]:
    """Release -> what a forecast says of it."""
    said: dict[str, list[Saying]] = {release: [] for release in releases}
    pieces = AFFECTED.split(text)
    for affected, causes in zip(pieces[1::2], pieces[2::2], strict=True):
        sayings = [saying for cause in causes.split("; ") for saying in _read_cause(cause)]
        for release in (r for r in releases if any(_within(r, part) for part in affected.split(", "))):
            said[release] += sayings
    return said


def _read_cause(cause: str) -> list[Saying]:
    for stage, words in EFFECTS.items():
        for may, effect in enumerate(words):
            if cause.startswith(f"{effect}: "):
                return [Saying(stage, bool(may), cause.removeprefix(f"{effect}: "))]
    return []


def _within(release: str, part: str) -> bool:
    first, _, last = part.partition("-")
    minor = Version(release).release[:2]
    return Version(first).release[:2] <= minor <= Version(last or first).release[:2]


def is_fault(result: str) -> bool:
    """Whether what was seen of a stage is a fault."""
    return result.startswith(("error", "wrong"))


class Score:
    """How often a question was answered rightly, and in which cells not."""

    def __init__(self) -> None:
        self.counts: Counter = Counter()
        self.wrong: list[str] = []

    def add(self, cell: str, said: list[Saying], result: str) -> None:
        """Count one cell: what the forecast says of it, and what was seen."""
        truth, forecast = is_fault(result), any(not saying.may for saying in said)
        self.counts[(truth, forecast)] += 1
        if truth and not forecast:
            hedged = "; only hedged" if said else ""
            self.wrong.append(f"missed  {cell}: {result}{hedged}")
        elif forecast and not truth:
            self.wrong.append(f"false   {cell}: {'; '.join(s.fault for s in said if not s.may)}")

    def __str__(self) -> str:
        hit, missed, false = self.counts[(True, True)], self.counts[(True, False)], self.counts[(False, True)]
        precision = f"{hit / (hit + false):.3f}" if hit + false else "none said"
        recall = f"{hit / (hit + missed):.3f}" if hit + missed else "none to find"
        cells = sum(self.counts.values())
        return f"precision {precision}, recall {recall} ({hit} right, {false} false, {missed} missed of {cells} cells)"


def compare(reports: dict[str, Report], truth: dict[str, dict]) -> dict[str, Score]:
    """Question -> its score over all folders and releases."""
    scores = {"fails or wrong numbers": Score(), "generate": Score(), "save": Score()}
    hedged, cells, lines = 0, 0, []
    for name, report in reports.items():
        said = read_forecast(report.forecast, list(truth[name]))
        marks = []
        for release, seen in truth[name].items():
            cell, sayings = f"{name} {release}", said[release]
            first = seen["load"] if is_fault(seen["load"]) else seen.get("numbers", "")
            scores["fails or wrong numbers"].add(cell, [s for s in sayings if s.stage in FIRST], first)
            cells += 1
            hedged += bool(sayings) and all(saying.may for saying in sayings)
            if not is_fault(first):  # else its text is wrong as well
                for question, stages in (("generate", GENERATE), ("save", SAVE)):
                    if question in seen:
                        scores[question].add(cell, [s for s in sayings if s.stage in stages], seen[question])
            marks.append(_mark(seen, sayings))
        lines.append(f"{name:24}" + " ".join(f"{mark:7}" for mark in marks))
    print("folder".ljust(24) + " ".join(f"{release:7}" for release in next(iter(truth.values()))))
    print("\n".join(lines))
    print(
        "seen/said: L load fails, F forward fails, N wrong numbers, G generate fails, S save fails, . fine, ? hedged"
    )
    print(f"hedges: {hedged} of {cells} cells ({hedged / max(cells, 1):.1%})")
    return scores


def _mark(seen: dict[str, str], sayings: list[Saying]) -> str:
    letters = {"load": "L", "forward": "F", "numbers": "N", "generate": "G", "text": "G", "tokens": "G", "save": "S"}
    numbers = seen.get("numbers", "")
    truth = "L" * is_fault(seen["load"]) + "F" * numbers.startswith("error") + "N" * numbers.startswith("wrong")
    if "L" not in truth and "F" not in truth:
        truth += "G" * is_fault(seen.get("generate", "")) + "S" * is_fault(seen.get("save", ""))
    stages = {letters.get(saying.stage, "") for saying in sayings if not saying.may}
    words = "".join(letter for letter in "LFNGS" if letter in stages) or "?" * any(saying.may for saying in sayings)
    return f"{truth or '.'}/{words or '.'}"


def main() -> None:
    """Print the table, the figures, and each cell in which the forecast was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--truth", type=Path, required=True, help="folder -> release -> stage -> what was seen")
    options = parser.parse_args()
    truth = json.loads(options.truth.read_text(encoding="utf-8"))
    reports = {f.name: examine(f, f.name) for f in options.folders if f.name in truth}
    for question, score in compare(reports, truth).items():
        print(f"{question}: {score}")
        print("\n".join(f"  {line}" for line in score.wrong))


if __name__ == "__main__":
    main()
