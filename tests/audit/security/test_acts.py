"""Folders that act are named, at the line that acts; folders that only compute are not.

Also a measure: `python tests/audit/security/test_acts.py [DIRECTORY]` prints both tables, for the folders of a
directory that were put aside as well. tests/corpus/acts/put_aside.json holds what was promised about those.
"""

import collections
import json
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from corpus.acts import folders  # noqa: E402
from helpers.observer import OBVIOUS, Observer, shows  # noqa: E402

from pinfold.audit.examine import examine  # noqa: E402
from pinfold.audit.finding import ERROR, Finding  # noqa: E402
from pinfold.common.errors import UserError  # noqa: E402

ASIDE = json.loads((folders.HERE / "put_aside.json").read_text())


def security(folder: dict, place: Path) -> list[Finding]:
    """The security findings of `pinfold check` in a folder; a folder that is refused has one."""
    try:
        report = examine(folders.write(folder, place), place.name)
    except UserError as error:
        return [Finding("refused", str(error))]
    return [finding for finding in report.findings if finding.code.startswith("S")]


def named(folder: dict, findings: list[Finding]) -> bool:
    """Whether a finding has the place of the act."""
    places = {(file, line) for file, line in folder["expect"]["places"]}
    return any((finding.file, finding.line) in places for finding in findings)


def acting(directory: Path | None = None) -> dict[str, dict]:
    """family/letter -> folder."""
    every = folders.families(directory or folders.HERE)
    return {f"{family}/{letter}": folder for family, four in every.items() for letter, folder in sorted(four.items())}


def missed(every: dict[str, dict], scratch: Path) -> dict[str, list[Finding]]:
    """Acting folders without a finding at their act -> the findings they have."""
    answers = {name: security(folder, scratch / name.replace("/", "_")) for name, folder in every.items()}
    return {name: found for name, found in answers.items() if not named(every[name], found)}


def false_errors(scratch: Path) -> dict[str, list[Finding]]:
    """Harmless folders with an error -> their errors."""
    answers = {name: security(folder, scratch / name) for name, folder in folders.harmless_folders().items()}
    errors = {name: [f for f in found if f.severity == ERROR] for name, found in answers.items()}
    return {name: found for name, found in errors.items() if found}


def table(every: dict[str, dict], misses: dict[str, list[Finding]]) -> str:
    """Each miss in a line, and a count for each family that has one."""
    totals = collections.Counter(name.split("/")[0] for name in every)
    counts = collections.Counter(name.split("/")[0] for name in misses)
    lines = [f"{len(every) - len(misses)} of {len(every)} acting folders have a finding at the act"]
    for family, count in counts.items():
        lines.append(f"{family}: {totals[family] - count} of {totals[family]}")
        for name in (name for name in misses if name.split("/")[0] == family):
            expect = every[name]["expect"]
            shown = "; ".join(f"{f.code} {f.file}:{f.line} {f.severity}" for f in misses[name]) or "nothing"
            lines.append(f"  {name} {expect['what']} at {expect['file']}:{expect['line']}; reported: {shown}")
    return "\n".join(lines)


def test_every_act_is_named_at_its_line(tmp_path):
    every = acting()
    misses = missed(every, tmp_path)
    assert not misses, "\n" + table(every, misses)


def test_harmless_folders_have_at_most_two_errors(tmp_path):
    errors = false_errors(tmp_path)
    assert len(errors) <= 2, "\n".join(f"{name}: {list(map(str, found))}" for name, found in errors.items())


def test_folders_that_were_put_aside_come_back_as_they_were():
    for name, folder in acting().items():
        if name in ASIDE:
            assert folders.digest(folder) == ASIDE[name]["sha256"], name
            assert folder["expect"] == ASIDE[name]["expect"], name


def test_families_have_four_folders():
    every = {*acting(), *ASIDE}
    families = {name.split("/")[0] for name in every}
    assert len(families) >= 40 and every == {f"{family}/{letter}" for family in families for letter in "abcd"}
    assert len(folders.harmless_folders()) >= 100


@pytest.mark.sweep
def test_every_folder_does_what_is_said_of_it(tmp_path):
    observer = Observer(tmp_path)
    wrong = {}
    try:
        plain = [observer.see(folders.write(folders.harmless(), tmp_path / f"plain{n}"), patches=True) for n in "12"]
        usual = plain[0][0] | plain[1][0]
        for name, folder in acting().items():
            place = folders.write(folder, tmp_path / "folders" / name.replace("/", "_"))
            patches = folder["expect"]["what"] == "patches"
            seen, error = observer.see(place, folder["loads"], patches=patches)
            if error or not shows(folder["expect"], seen - usual, place):
                wrong[name] = error or sorted(seen - usual)
        for name, folder in folders.harmless_folders().items():
            place = folders.write(folder, tmp_path / "folders" / name)
            seen, error = observer.see(place, folder["loads"], patches=True)
            acts = {each for each in seen - usual if each.startswith(OBVIOUS)}
            if error or acts:
                wrong[name] = error or sorted(acts)
    finally:
        observer.close()
    assert not wrong, wrong


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as scratch:
        groups = {"in the repository": acting()}
        if len(sys.argv) > 1:
            groups["put aside"] = acting(Path(sys.argv[1]))
            changed = [n for n, f in groups["put aside"].items() if folders.digest(f) != ASIDE[n]["sha256"]]
            print("changed since they were put aside:", changed or "none")
        for title, every in groups.items():
            print(f"== {title}\n{table(every, missed(every, Path(scratch) / title))}\n")
        errors = false_errors(Path(scratch) / "harmless")
        print(f"== harmless\n{len(errors)} of {len(folders.harmless_folders())} have an error")
        for name, found in errors.items():
            print(f"  {name}: {'; '.join(f'{f.code} {f.file}:{f.line}' for f in found)}")


if __name__ == "__main__":
    main()
