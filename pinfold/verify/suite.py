"""`pinfold check --suite`: the checks that transformers runs on its own model classes, for any folder.

How it works:
- Every class is built with a tiny configuration and random weights, so neither weights nor a GPU are needed.
- Its code runs in the sandbox, one process for each class, in one transformers release or in several.
- A check says that it passed, why it failed, or why it does not apply; one that compared nothing has failed.
"""

import collections
import json
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, plain_line, untrusted
from pinfold.fence import process as fence
from pinfold.fence.overlays import find_overlay
from pinfold.fenced.suite.table import CHECKS, FAILED, NOT_APPLICABLE, PASSED, name_of
from pinfold.fenced.suite.upstream import TABLE
from pinfold.folder.model_folder import ModelFolder

SECONDS = 900  # for one class
MARKS = {PASSED: "ok", FAILED: "FAILS", NOT_APPLICABLE: "-"}


@dataclass(frozen=True)
class Result:
    """One check of one class."""

    version: str
    auto: str
    cls: str
    device: str
    check: str
    state: str
    text: str
    seconds: float

    @property
    def column(self) -> tuple[str, str, str, str]:
        return self.version, self.auto, self.cls, self.device


def run(
    folder: ModelFolder,
    versions: list[str],
    show: Callable[[str], None] = lambda line: None,
    only: list[str] | None = None,
) -> list[Result]:
    """Run every check on every model class that a folder registers.

    Args:
        folder: with or without a config.json, from which the tiny configuration is made where it is there.
        versions: transformers releases, as ``matrix.choose`` gives them.
        only: names of checks.

    Raises:
        UserError: the folder registers no model class, its suite.json states no configuration, or a class's process
            gave no answer.
    """
    places = {auto: place for auto, place in folder.auto_map().items() if auto.startswith("AutoModel")}
    if not places:
        raise UserError(f"{folder.path} registers no model class; call Class.register_for_auto_class in its code")
    _check_stated(folder.path / "suite.json")
    all_results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        for version in versions:
            for auto, place in places.items():
                started = time.monotonic()
                results = _one(folder.path.resolve(), places, auto, version, Path(temporary), only)
                all_results += results
                bad = sum(result.state == FAILED for result in results)
                said = f"{bad} of {len(results)} checks fail" if bad else f"{len(results)} checks, none fails"
                name = place.split(".")[-1]
                show(f"  transformers {version:<8} {name}: {said}  [{time.monotonic() - started:.0f} s]")
    return all_results


def _check_stated(path: Path) -> None:
    """
    Raises:
        UserError: the file is there, and states no configuration.
    """
    try:
        stated = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"config": {}}
    except ValueError as error:
        raise UserError(f'{path}: not JSON ({error}); write {{"config": {{...}}}}') from None
    if not isinstance(stated, dict) or not isinstance(stated.get("config"), dict):
        raise UserError(f'{path}: it has no "config"; write {{"config": {{...}}}} with fields of a tiny one')


def _one(folder: Path, places: dict, auto: str, version: str, work: Path, only: list[str] | None) -> list[Result]:
    """Every check of one class in one release, in the sandbox."""
    request = {
        "module": "suite.table", "folder": str(folder), "places": places, "auto": auto, "threads": 1, "only": only,
        "stored": str(folder) if (folder / "config.json").exists() else None,
    }  # fmt: skip
    answer = fence.run_sandboxed(
        request,
        work,
        visible=[folder],
        overlay=find_overlay(version),
        seconds=SECONDS,
        name=f"the suite of {places[auto]}",
    )
    return _read(answer, version, auto, places[auto].split(".")[-1], only)


def _read(answer: dict, version: str, auto: str, name: str, only: list[str] | None = None) -> list[Result]:
    """The results in an answer, which the folder's code may have written.

    Raises:
        UserError: they do not have that form, or nothing is said of a check that was asked for.
    """
    results = list(_results(answer, version, auto, name))
    asked = [name_of(check) for check in CHECKS] if only is None else only
    for device in dict.fromkeys(["cpu", *(plain_line(device, 40) for device in answer["results"])]):
        states = {each.check: each.state for each in results if each.device == device}
        lacking = [check for check in asked if check not in states]
        if lacking and states.get("can be run") != FAILED:
            raise UserError(
                f"the suite of {name} has failed: on {device} nothing is said of {len(lacking)} of its checks "
                f"({lacking[0]!r} is the first); the folder's code tampered with its result"
            )
    return results


def _results(answer: dict, version: str, auto: str, name: str) -> Iterator[Result]:
    """
    Raises:
        UserError: an answer of another form.
    """
    known = {name_of(check) for check in CHECKS} | {"can be run"}
    with untrusted(f"the result of the suite of {name}"):
        for device, results in answer["results"].items():
            for each in results:
                check, state = str(each["check"]), str(each["state"])
                if check not in known or state not in MARKS:
                    raise ValueError(check)
                text, device = plain_line(each["text"]), plain_line(device, 40)
                yield Result(version, auto, name, device, check, state, text, float(each["seconds"]))


def lines(results: list[Result]) -> Iterator[str]:
    """The table, check by class, its counts, every failure and every reason."""
    columns = list(dict.fromkeys(result.column for result in results))
    yield ""
    for number, (version, auto, name, device) in enumerate(columns, 1):
        place = "" if device == "cpu" else f" on {device}"
        yield f"{number:>3} {name} ({auto}), transformers {version}{place}"
    if not any(device != "cpu" for *_, device in columns):
        yield "    GPU checks: not run, as the sandbox has no GPU"
    yield ""
    cells = {(result.column, result.check): result.state for result in results}
    checks = list(dict.fromkeys(result.check for result in results))
    width = max(len(word) for word in (*checks, "not applicable"))
    yield f"{'':<{width}} " + "".join(f"{number:>6}" for number in range(1, len(columns) + 1))
    for check in checks:
        row = (MARKS.get(cells.get((column, check), ""), "") for column in columns)
        yield f"{check:<{width}} " + "".join(f"{mark:>6}" for mark in row)
    for state, word in ((PASSED, "passed"), (FAILED, "failed"), (NOT_APPLICABLE, "not applicable")):
        counts = [sum(s == state for (c, _), s in cells.items() if c == column) for column in columns]
        yield f"{word:<{width}} " + "".join(f"{count:>6}" for count in counts)
    numbers = {column: number for number, column in enumerate(columns, 1)}
    for state, title in ((FAILED, "Failed:"), (NOT_APPLICABLE, "Not applicable:")):
        grouped: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
        for result in results:
            if result.state == state:
                grouped[result.check, result.text].append(numbers[result.column])
        if grouped:
            yield f"\n{title}"
        causes: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
        for (check, text), where in grouped.items():  # one cause, such as no known labels, stops several checks
            causes[", ".join(map(str, where)), text].append(check)
        for (where, text), stopped in causes.items():
            yield f"  {', '.join(stopped)} ({where}): {text}"


def summary(results: list[Result]) -> str:
    """One line of counts."""
    counts = collections.Counter(result.state for result in results)
    return f"{counts[PASSED]} passed, {counts[FAILED]} failed, {counts[NOT_APPLICABLE]} not applicable"


def listing() -> Iterator[str]:
    """Every check with when it fails, and transformers' own tests that have no counterpart."""
    names = [name_of(check) for check in CHECKS]
    width = max(map(len, names))
    for name, check in zip(names, CHECKS, strict=True):
        yield f"{name:<{width}}  {' '.join((check.__doc__ or '').split())}"
    yield "\ntransformers' own common tests that have no counterpart here:"
    for test, said in TABLE.items():
        if said not in {*names, "can be run"}:
            yield from textwrap.wrap(f"{test}: {said}", 117, initial_indent="  ", subsequent_indent="    ")
    covered = sum(said in {*names, "can be run"} for said in TABLE.values())
    yield f"\n{covered} of its {len(TABLE)} tests have one"
