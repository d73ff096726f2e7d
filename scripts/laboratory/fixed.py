"""Measure what the automatic fixes make of the laboratory's faulty folders: in no release may one be worse.

    python scripts/laboratory/fixed.py [--case NAME ...] [--release 4.48.3 ...] [--jobs 2]

Needs the overlays of the releases: pinfold compat make all.

How it works:
- The faulty folder of each case is fixed as `pinfold check --fix --yes` fixes it, in a copy. Cases without a fix are
  left out.
- The fixed folder is loaded in every release with the weights of the faulty one, and held against the right folder,
  whose numbers are the same in all releases and are measured in the newest alone.
- What the faulty folder does is in pinfold/audit/ranges.json; those that have no part in it are loaded too. A fixed
  one is worse where a stage fails that did not.
"""

import argparse
import concurrent.futures
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import run
from cases import CASES, OF_FIXES

from pinfold.audit import ranges
from pinfold.audit.fixes import files, fix
from pinfold.audit.second_audit import not_worse
from pinfold.folder.model_folder import read_modules
from pinfold.folder.releases import every_minor, release_ranges

EVERY = {**CASES, **OF_FIXES}
FIXED = "fixed"
ASKED_ALONE = ("load", "direct", "settings")  # stages that are there whatever another one gives


@dataclass(frozen=True)
class Result:
    """What one fixed folder gives.

    Args:
        codes: of the fixes. right, worse: releases in which every stage is that of the right folder, and those in
            which one fails that did not; with the reason of the first.
        harmed: releases in which the faulty folder does harm.
    """

    name: str
    codes: tuple[str, ...]
    right: tuple[str, ...]
    worse: dict[str, str]
    harmed: tuple[str, ...]

    def __str__(self) -> str:
        cured = [release for release in self.harmed if release in self.right]
        words = f"{len(cured)} of {len(self.harmed)} releases cured" if self.harmed else "it does no harm"
        bad = f"; WORSE in {release_ranges(self.worse)}: {next(iter(self.worse.values()))}" if self.worse else ""
        left = [release for release in self.harmed if release not in cured]
        return (
            f"{self.name:34} {', '.join(self.codes):12} {words}{f'; left: {release_ranges(left)}' * bool(left)}{bad}"
        )


def main() -> int:
    """Fix and load; 1 where a fixed folder is worse somewhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=EVERY, help="only these")
    parser.add_argument("--release", nargs="+", help="only these releases")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="releases at the same time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="laboratory-") as temporary:
        work = Path(temporary)
        results = list(measure(options.case or list(EVERY), options.release or every_minor(), work, options.jobs))
    print("\n".join(map(str, results)))
    harmed = sum(bool(result.harmed) for result in results)
    whole = sum(bool(result.harmed) and set(result.harmed) <= set(result.right) for result in results)
    cells = [(result, release) for result in results for release in result.harmed]
    cured = sum(release in result.right for result, release in cells)
    worse = [result for result in results if result.worse]
    print(f"{len(results)} folders with a fix, {len(worse)} worse in some release")
    print(f"{whole} of {harmed} that fail are right in every release; {cured} of {len(cells)} failing loads are right")
    return int(bool(worse))


def measure(names: list[str], releases: list[str], work: Path, jobs: int) -> Iterator[Result]:
    """What the fixed folders of these cases give; those without a fix are left out."""
    codes = {name: done for name in names if (done := write_fixed(name, work))}
    fixed = {f"{name} {FIXED}": run.folders(name, work)[run.FAULTY].with_name(stem(name)) for name in codes}
    faulty = {f"{name} {run.FAULTY}": run.folders(name, work)[run.FAULTY] for name in codes if name in OF_FIXES}
    right = {f"{name} {run.RIGHT}": run.folders(name, work)[run.RIGHT] for name in codes}
    expected = run.in_release(every_minor()[-1], right, work) if right else {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        inside = pool.map(functools.partial(run.in_release, folders={**fixed, **faulty}, work=work), releases)
        given = dict(zip(releases, inside, strict=True))
    for name in codes:
        failing = {r: dict(_failing(name, expected, given[r][f"{name} {FIXED}"])) for r in releases}
        if name in OF_FIXES:
            before = {r: set(dict(_failing(name, expected, given[r][f"{name} {run.FAULTY}"]))) for r in releases}
        else:
            before = {release: _failing_before(name, release) for release in releases}
        worse = {release: words for release in releases if (words := _worse(failing[release], before[release]))}
        good = tuple(release for release in releases if not failing[release])
        yield Result(name, codes[name], good, worse, tuple(release for release in releases if before[release]))


def stem(name: str) -> str:
    """The name of the fixed folder of a case."""
    return run.folders(name, Path())[run.FAULTY].name.removesuffix(run.FAULTY) + FIXED


def write_fixed(name: str, work: Path) -> tuple[str, ...]:
    """The folders of a case and a fixed copy of the faulty one; the codes of the fixes."""
    run.write_folders(name, EVERY[name], work)
    faulty = run.folders(name, work)[run.FAULTY]
    copy = faulty.with_name(stem(name))
    shutil.copytree(faulty, copy)
    changes, _ = not_worse(copy, fix.propose(copy, read_modules(copy, unreadable={})).changes)
    files.apply(changes)
    return tuple(sorted({code for each in changes for code in each.codes}))


def _failing(name: str, expected: dict[str, dict[str, str]], gives: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The stages at which a folder is not as the right one is, and what it gives there."""
    right, other = f"{name} {run.RIGHT}", f"{name} {run.FAULTY}"
    for stage in run.STAGES:
        if words := run.outcome(stage, name, {right: expected[right], other: gives}):
            yield stage, f"{stage}: {words}"


def _failing_before(name: str, release: str) -> set[str]:
    """The stages at which the faulty folder fails in a release."""
    stages = ranges.read_table()["cases"][name]
    return {stage for stage, spans in stages.items() if run.within(release, spans)}


def _worse(failing: dict[str, str], before: set[str]) -> str:
    """The stages that fail now and did not fail before; where it did not load, those alone that need no load."""
    new = [words for stage, words in failing.items() if stage not in before]
    return next((w for w in new if "load" not in before or w.split(":")[0] in ASKED_ALONE), "")


if __name__ == "__main__":
    sys.exit(main())
