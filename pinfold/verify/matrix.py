"""One model in several transformers releases: a row each, with every check, a hash of every output and the seconds."""

import concurrent.futures
import functools
import json
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
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


class Unbuilt(UserError):
    """No release can build the model; in the words of the newest."""


@dataclass(frozen=True)
class Row:
    """What one release gave.

    Args:
        hashes: Auto class -> sha256 of all outputs on the probe.
        checks: check -> "ok", or why it failed or was left out.
        failure: one line, empty when every check passed.
    """

    version: str
    hashes: dict[str, str]
    failure: str
    seconds: float
    checks: dict[str, str] = field(default_factory=dict)


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
            hashes, checks, failure = answer["hashes"], answer.get("checks", {}), ""
        except Unverified as error:
            hashes, checks, failure = error.hashes, error.checks, str(error)
        except UserError as error:
            hashes, checks, failure = {}, {"D01": str(error)}, str(error)
        result = Row(version, hashes, failure, round(time.monotonic() - started, 1), checks)
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


def measure(
    target: Target, versions: list[str], work: Path, show: Callable[[Row], None] = lambda row: None
) -> list[Row]:
    """One row per release.

    The expected outputs are computed from the code and the tensors alone, with the newest of the releases that can;
    a row without failure has every tensor equal to the file and every output equal to those, bit for bit.

    Raises:
        UserError: the weights do not fit the code, or no release can build the model.
    """
    problem: UserError | None = None
    for version in sorted(versions, key=Version, reverse=True):
        try:
            expected = verify.reference(target.staged, target.staged.directory, work, overlay=find_overlay(version))
            break
        except UserError as error:
            problem = problem or error
    else:
        raise Unbuilt(str(problem)) from problem
    loading = functools.partial(target.loading, expected=expected, work=work)
    size = sum(path.stat().st_size for path in target.staged.weights)
    return run_matrix(versions, loading, size, expected.request["threads"], show)


def progress(row: Row) -> str:
    """The line that a release gets when it is done."""
    hashes = "  ".join(f"{auto} {value[:12]}" for auto, value in sorted(row.hashes.items()))
    return f"  transformers {row.version:<8} {printable(row.failure) or hashes}  [{row.seconds:.1f} s]"


def agree(rows: list[Row]) -> bool:
    """Whether every release passed every check and all gave the same numbers."""
    return all(not row.failure for row in rows) and len({tuple(sorted(row.hashes.items())) for row in rows}) == 1


def summary(rows: list[Row]) -> str:
    """One sentence: what works, from where to where, and what fails first."""
    good = [row.version for row in rows if not row.failure]
    bad = [row for row in rows if row.failure]
    if not bad:
        numbers = "the same numbers in all" if agree(rows) else "but the numbers differ (D03)"
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
    versions: dict[str, list[str]] = {}
    for row in rows:
        versions.setdefault(row.failure, []).append(row.version)
    return versions


def lines(rows: list[Row]) -> list[str]:
    """The table for a terminal or a file: GitHub's Markdown, aligned."""
    autos = sorted({auto for row in rows for auto in row.hashes})
    extra = sorted({name for row in rows for name in row.checks if name not in CHECKS})
    head = ["transformers", *(f"{code} {word}" for code, word in CHECKS.items()), *extra, *autos, "seconds"]
    body = [
        [
            row.version,
            *(_mark(row.checks.get(name)) for name in (*CHECKS, *extra)),
            *(row.hashes.get(auto, "-")[:12] for auto in autos),
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
    notes = [f"- {row.version}: {row.failure}" for row in rows if row.failure]
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
            *notes,
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
