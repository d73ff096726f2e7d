"""One model in several transformers versions: a row each, with every check, a hash of every output and the seconds."""

import concurrent.futures
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata

from packaging.version import Version

from pinfold.common.errors import UserError
from pinfold.common.memory import free_memory
from pinfold.fence.overlays import MINIMUM_MATRIX, NEWEST, check_version, find_overlay, is_made
from pinfold.fence.process import GIB, end_all
from pinfold.folder.releases import every_minor, release_ranges
from pinfold.verify.verify import Unverified

CHECKS = {
    "D01": "loads",
    "D02": "keys",
    "D03": "outputs",
    "D04": "buffers",
    "D05": "tensors",
    "D06": "saves",
    "D07": "two copies",
}


@dataclass(frozen=True)
class Row:
    """What one version gave.

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


def choose(versions: list[str], floor: str = "4.48") -> tuple[list[str], list[str]]:
    """The versions to run, in order, without repetition, and those that lie below the floor that a folder declares.

    Args:
        versions: releases, "newest", "minimum" (compat's minimum matrix) or "all" (every minor's newest patch).

    Raises:
        UserError: one of them is not a release, or has no overlay.
    """
    wanted: list[str] = []
    for version in versions:
        wanted += {"minimum": MINIMUM_MATRIX, "all": every_minor()}.get(version, (version,))
    own = metadata.version("transformers")
    named = list(dict.fromkeys(own if version == NEWEST else version for version in wanted))
    for version in named:
        if version != own:
            check_version(version)
    lowest = Version(floor)
    chosen = sorted((v for v in named if Version(v) >= lowest), key=Version)
    for version in chosen:
        find_overlay(version)
    if not chosen:
        raise UserError(f"the folder needs transformers {floor} or later; none of {', '.join(named)} is")
    return chosen, sorted(set(named) - set(chosen), key=Version)


def at_hand(floor: str, show: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """The minimum matrix, as far as its overlays were made; says what is missing."""
    own = metadata.version("transformers")
    wanted = [own if version == NEWEST else version for version in MINIMUM_MATRIX]
    missing = [v for v in wanted if Version(v) >= Version(floor) and not is_made(v)]
    if missing:
        words = " ".join(missing)
        show(f"  not run in transformers {', '.join(missing)}: no overlay; make it with: pinfold compat make {words}")
    return choose([v for v in wanted if v not in missing], floor)


def run_matrix(
    versions: list[str], loading: Callable[..., dict], weights: int, threads: int, show: Callable[[Row], None]
) -> list[Row]:
    """Call ``loading(overlay=DIR or None)`` once a version, side by side as far as cores and memory allow.

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
        found = Row(version, hashes, failure, round(time.monotonic() - started, 1), checks)
        show(found)
        return found

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        rows = [pool.submit(row, version) for version in versions]
        try:
            return [future.result() for future in rows]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def agree(rows: list[Row]) -> bool:
    """Whether every version passed every check and all gave the same numbers."""
    return all(not row.failure for row in rows) and len({tuple(sorted(row.hashes.items())) for row in rows}) == 1


def summary(rows: list[Row]) -> str:
    """One sentence: what works, from where to where, and what fails first."""
    good = [row.version for row in rows if not row.failure]
    bad = [row for row in rows if row.failure]
    if not bad:
        numbers = "the same numbers in all" if agree(rows) else "but the numbers differ (D03)"
        return f"passes in transformers {', '.join(good)}; {numbers}"
    parts = [f"passes in {', '.join(good)}" if good else "passes in no version"]
    parts += [f"fails in {', '.join(same)}: {failure}" for failure, same in _by_failure(bad).items()]
    return "; ".join(parts)


def brief(rows: list[Row]) -> list[str]:
    """The table with one line for all versions that gave the same."""
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


def _by_failure(rows: list[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.failure, []).append(row.version)
    return found


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
    return check if check == "ok" else "left out" if check.startswith("skipped") else "FAILS"


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


def environment() -> dict[str, str]:
    """What the numbers were made with."""
    return {
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": "cpu",
    }
