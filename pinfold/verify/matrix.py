"""One model in several transformers releases: a row each, with every check, a hash of every output and the seconds."""

import concurrent.futures
import functools
import json
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from pinfold.common.errors import UserError, printable
from pinfold.common.memory import free_memory
from pinfold.fence.overlays import MINIMUM_MATRIX, NEWEST, check_version, find_overlay, is_made
from pinfold.fence.process import GIB, end_all
from pinfold.folder.releases import every_minor, release_ranges
from pinfold.staging.stage import Staged
from pinfold.verify import verify
from pinfold.verify.verify import Unverified

TABLES = Path("runs/compat")

CHECKS = {
    "D01": "loads",
    "D02": "keys",
    "D03": "outputs",
    "D04": "buffers",
    "D05": "tensors",
    "D06": "saves",
    "D07": "two copies",
    "D08": "generates",
}


@dataclass(frozen=True)
class Row:
    """What one release gave.

    Args:
        hashes: Auto class -> sha256 of all outputs on the probe.
        checks: check -> "ok", or why it failed or was left out.
        failure: one line, empty when every check passed.
        notes: what a reader has to know beside it. close: Auto classes that agree within a tolerance, as a note says.
    """

    version: str
    hashes: dict[str, str]
    failure: str
    seconds: float
    checks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    close: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Target:
    """Something that can be loaded, and how.

    Args:
        name: as tables print it: a directory, or owner/name@sha.
        loading: verify's function for it, with everything but the release filled in.
    """

    name: str
    staged: Staged
    loading: Callable[..., dict]


def choose(versions: list[str], lowest_version: str = "4.48") -> tuple[list[str], list[str]]:
    """The releases to run, in order, without repetition, and those below the lowest that a folder declares.

    Args:
        versions: releases, "newest", "minimum" (compat's minimum matrix) or "all" (every minor's newest patch).

    Raises:
        UserError: one of them is not a release, or has no overlay.
    """
    own = metadata.version("transformers")
    named = list(dict.fromkeys(own if version == NEWEST else version for version in expand(versions)))
    for version in named:
        if version != own:
            check_version(version)
    chosen = sorted((v for v in named if Version(v) >= Version(lowest_version)), key=Version)
    for version in chosen:
        find_overlay(version)
    if not chosen:
        listed = ", ".join(named)
        raise UserError(
            f"the folder needs transformers {lowest_version} or later, and {listed} was chosen; add a later release"
        )
    return chosen, sorted(set(named) - set(chosen), key=Version)


def expand(versions: list[str]) -> list[str]:
    """Releases, with those that "minimum" (compat's minimum matrix) and "all" (every minor's newest patch) name."""
    lists = {"minimum": [*MINIMUM_MATRIX], "all": every_minor()}
    return [release for version in versions for release in lists.get(version, [version])]


def at_hand(lowest_version: str, show: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """The minimum matrix, as far as its overlays were made; says what is missing."""
    own = metadata.version("transformers")
    matrix = [own if version == NEWEST else version for version in MINIMUM_MATRIX]
    missing = [v for v in matrix if Version(v) >= Version(lowest_version) and not is_made(v)]
    if missing:
        words = " ".join(missing)
        listed = ", ".join(missing)
        show(f"  not run in transformers {listed} (not installed); install with: pinfold compat make {words}")
    return choose([v for v in matrix if v not in missing], lowest_version)


def run_matrix(
    versions: list[str], loading: Callable[..., dict], weights: int, threads: int, show: Callable[[Row], None]
) -> list[Row]:
    """Call ``loading(overlay=DIR or None)`` once per release, side by side as far as cores and memory allow.

    Args:
        loading: verify.staged_load or verify.published_load with everything else filled in.
        weights: bytes of the weights. threads: what one process uses; the same for all, since it changes last bits.
        show: called with each row when it is there.
    """
    each = 2 * GIB + 4 * weights  # measured on small models; a large one is held about three times
    workers = max(1, min((os.cpu_count() or 1) // threads, free_memory() // each, len(versions)))

    def row(version: str) -> Row:
        started = time.monotonic()
        try:
            answer = loading(overlay=find_overlay(version))
        except UserError as error:
            result = _failed(version, error, started)
        else:
            seconds = round(time.monotonic() - started, 1)
            said = (answer.get("checks", {}), answer.get("notes", []), answer.get("close", []))
            result = Row(version, answer["hashes"], "", seconds, *said)
        show(result)
        return result

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        rows = [pool.submit(row, version) for version in versions]
        try:
            return [future.result() for future in rows]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def _failed(version: str, error: UserError, started: float) -> Row:
    """The row of a release in which something failed."""
    seconds = round(time.monotonic() - started, 1)
    if isinstance(error, Unverified):
        return Row(version, error.hashes, str(error), seconds, error.checks, error.notes, error.close)
    return Row(version, {}, str(error), seconds, {"D01": str(error)})


def failing(versions: list[str], error: UserError, show: Callable[[str], None]) -> list[Row]:
    """The rows of what no release can load."""
    rows = [_failed(version, error, time.monotonic()) for version in versions]
    for row in rows:
        show(progress(row))
    return rows


def measure(
    target: Target, versions: list[str], work: Path, show: Callable[[Row], None] = lambda row: None
) -> list[Row]:
    """One row per release, whatever happens in it.

    The expected outputs are computed from the code and the tensors alone, with the newest of the releases that can;
    a row without failure has every tensor equal to the file and every output equal to those: bit for bit, or within
    a tolerance that its notes name with its reason. A release that cannot build the model is a row that fails, and so
    are all where none can.

    Raises:
        UserError: what no release changes: no class is registered, or probe.json cannot be read.
    """
    verify.check_possible(target.staged)
    expected, refused = _newest_reference(target, versions, work)
    if expected is None:
        rows = [refused[version] for version in versions]
        for row in rows:
            show(row)
        return rows
    by_overlay = {find_overlay(version): row for version, row in refused.items()}
    expected.measuring = True

    def loading(overlay: Path | None) -> dict:
        answer = target.loading(overlay=overlay, expected=expected, work=work)
        if row := by_overlay.get(overlay):  # it loads, and yet is not to be built from its source
            raise Unverified(row.failure, [], answer.get("checks", {}) | row.checks, answer["hashes"])
        return answer | {"notes": [*expected.remarks(), *answer.get("notes", [])]}

    size = sum(path.stat().st_size for path in target.staged.weights)
    return run_matrix(versions, loading, size, expected.request["threads"], show)


def _newest_reference(
    target: Target, versions: list[str], work: Path
) -> tuple[verify.Reference | None, dict[str, Row]]:
    """The reference in the newest release that can build one, and the rows of the newer ones, which cannot.

    Where no release takes the usual inputs, those are tried that the newest release offered instead.
    """
    refused: dict[str, Row] = {}
    offers: dict[str, dict] = {}
    compute = functools.partial(verify.reference, target.staged, target.staged.directory, work, derive=True)
    newest_first = sorted(versions, key=Version, reverse=True)
    for version in newest_first:
        started = time.monotonic()
        try:
            return _with_pictures(compute, find_overlay(version)), refused
        except UserError as error:
            refused[version] = _failed(version, error, started)
            if isinstance(error, Unverified) and error.ready:
                offers[version] = error.ready
    for version, probe in offers.items():
        try:
            expected = compute(overlay=find_overlay(version), probe=probe)
        except UserError:
            continue
        return expected, {newer: row for newer, row in refused.items() if Version(newer) > Version(version)}
    return None, refused


def _with_pictures(compute: Callable[..., verify.Reference], overlay: Path | None) -> verify.Reference:
    """The reference; with what the folder's own processor makes, where no picture went in and that gives one."""
    expected = compute(overlay=overlay)
    if not expected.ready:
        return expected
    try:
        return compute(overlay=overlay, probe=expected.ready)
    except UserError:  # its remarks say that no picture went in
        return expected


def progress(row: Row) -> str:
    """The line that a release gets when it is done."""
    hashes = "  ".join(f"{auto} {value[:12]}" for auto, value in sorted(row.hashes.items()))
    return f"  transformers {row.version:<8} {printable(row.failure) or hashes}  [{row.seconds:.1f} s]"


def agree(rows: list[Row]) -> bool:
    """Whether every release passed every check and all gave the same numbers, or close ones for a reason."""
    exact = {(auto, value) for row in rows for auto, value in row.hashes.items() if auto not in row.close}
    same = len(exact) == len({auto for auto, _ in exact}) and len({frozenset(row.hashes) for row in rows}) == 1
    return all(not row.failure for row in rows) and same


def summary(rows: list[Row]) -> str:
    """One sentence: what works, from where to where, and what fails first."""
    good = [row.version for row in rows if not row.failure]
    bad = [row for row in rows if row.failure]
    if not bad:
        numbers = "the same numbers in all" if agree(rows) else "but the numbers differ (D03)"
        if agree(rows) and any(row.close for row in rows):
            numbers += ", in some within the tolerance that the notes name"
        return f"passes in transformers {', '.join(good)}; {numbers}"
    parts = [f"passes in {', '.join(good)}" if good else "passes in no release"]
    parts += [f"fails in {', '.join(same)}: {failure}" for failure, same in by_failure(bad).items()]
    return "; ".join(parts)


def brief(rows: list[Row]) -> list[str]:
    """The table with one line for all releases that gave the same."""
    autos = sorted({auto for row in rows for auto in row.hashes})
    groups: dict[tuple, list[str]] = {}
    for row in rows:
        passed = ", ".join(name for name, said in sorted(row.checks.items()) if said == "ok")
        key = (row.failure or passed, *(row.hashes.get(auto, "-")[:12] for auto in autos))
        groups.setdefault(key, []).append(row.version)
    body = []
    for (said, *hashes), versions in groups.items():
        where = versions[0] if len(versions) == 1 else f"{release_ranges(versions)} ({len(versions)} releases)"
        body.append([where, said, *(f"`{value}`" for value in hashes)])
    head = ["transformers", "checks passed", *autos]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body)]


def by_failure(rows: list[Row]) -> dict[str, list[str]]:
    """Failure -> the releases that have it, whose names it then need not repeat."""
    versions: dict[str, list[str]] = {}
    for row in rows:
        versions.setdefault(row.failure.replace(f" in transformers {row.version}", ""), []).append(row.version)
    return versions


def notes(rows: list[Row]) -> list[str]:
    """What a table has no room for: each remark, and why a check was left out, with the releases that it is of."""
    releases: dict[str, list[str]] = {}
    for row in rows:
        left = [
            f"{name} left out: {text.removeprefix('skipped: ')}"
            for name, text in row.checks.items()
            if row.hashes and text.startswith("skipped") and not text.endswith("nothing to check")
        ]
        for text in dict.fromkeys([*row.notes, *left]):
            releases.setdefault(text, []).append(row.version)
    return [
        f"note  {text}" if len(which) == len(rows) else f"note  {', '.join(which)}: {text}"
        for text, which in releases.items()
    ]


def lines(rows: list[Row]) -> list[str]:
    """The table for a terminal or a file: GitHub's Markdown, aligned."""
    autos = sorted({auto for row in rows for auto in row.hashes})
    extra = sorted({name for row in rows for name in row.checks if name not in CHECKS})
    head = ["transformers", *(f"{code} {word}" for code, word in CHECKS.items()), *extra, *autos, "seconds"]
    body = [
        [
            row.version,
            *(_mark(row.checks.get(name)) for name in (*CHECKS, *extra)),
            *("~" * (auto in row.close) + row.hashes.get(auto, "-")[:12] for auto in autos),
            f"{row.seconds:.1f}",
        ]
        for row in rows
    ]
    widths = [max(len(cells[i]) for cells in (head, *body)) for i in range(len(head))]
    rule = ["-" * width for width in widths]
    return [
        "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"
        for cells in (head, rule, *body)
    ]


def _mark(check: str | None) -> str:
    if check is None:
        return "-"
    if check == "ok":
        return check
    return "left out" if check.startswith("skipped") else "FAILS"


def markdown(name: str, rows: list[Row]) -> str:
    """The table with what it was measured on, and every failure and omission in words."""
    failures = [f"- {row.version}: {row.failure}" for row in rows if row.failure]
    remarks = [f"- {remark}" for remark in notes([replace(row, checks={}) for row in rows])]
    left = dict.fromkeys(
        f"- {c}: {text}" for row in rows for c, text in row.checks.items() if text.startswith("skipped")
    )
    facts = ", ".join(f"{key} {value}" for key, value in environment().items())
    return "\n".join(
        [
            f"# {name}",
            "",
            *brief(rows),
            "",
            *lines(rows),
            "",
            f"{summary(rows)}.",
            "",
            *failures,
            *remarks,
            *left,
            "",
            f"Measured with {facts}.",
            "",
        ]
    )


def as_json(name: str, rows: list[Row]) -> str:
    """The same for programs."""
    value = {"target": name, "environment": environment(), "agree": agree(rows), "rows": [asdict(row) for row in rows]}
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def write_tables(name: str, rows: list[Row], directory: Path = TABLES) -> Path:
    """Keep the table as Markdown, and as JSON beside it; returns the path of the Markdown."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.]+", "-", name.split("@")[0]).strip("-.") or "model"
    (directory / f"{stem}.json").write_text(as_json(name, rows), encoding="utf-8")
    path = directory / f"{stem}.md"
    path.write_text(markdown(name, rows), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """What the numbers were made with."""
    return {
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": "cpu",
    }
