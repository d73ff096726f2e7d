"""In which transformers releases a fault does what harm: ranges.json, which scripts/laboratory/run.py measured."""

import functools
import json
from pathlib import Path

from packaging.version import Version

from pinfold.folder.releases import every_minor

TABLE = Path(__file__).with_name("ranges.json")
# What was measured, the worst first -> what a forecast says of it, and what where only a load decides.
EFFECTS = {
    "load": ("fails", "can fail"),
    "forward": ("loads, and forward fails", "loads, and forward can fail"),
    "numbers": ("gives wrong numbers", "can give wrong numbers"),
    "generate": ("cannot generate", "may not generate"),
    "text": ("writes wrong text", "can write wrong text"),
    "save": ("cannot be saved", "may not be saved"),
    "settings": ("has settings that cannot be printed", "may have settings that cannot be printed"),
    "tokens": ("cannot generate from what its tokenizer gives", "may not generate from what its tokenizer gives"),
    "pipeline": ("runs in no pipeline", "may run in no pipeline"),
}


@functools.cache
def read_table() -> dict:
    """The table: the releases that were measured, and case -> stage -> ranges of minor releases."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


@functools.cache
def harm(case: str) -> dict[str, str]:
    """Release -> the worst that the fault of a case does there, a key of EFFECTS; only where it does something.

    A release after the last that was measured counts as that one. "P52.own_field#save" asks for one stage alone.

    Raises:
        KeyError: the laboratory has no such case.
    """
    name, _, alone = case.partition("#")
    stages = read_table()["cases"][name]
    last = read_table()["releases"][-1]
    worst: dict[str, str] = {}
    releases = every_minor()
    for stage in (each for each in EFFECTS if each in stages and alone in ("", each)):
        for release in releases:
            measured = min(release, last, key=Version)
            if release not in worst and any(_within(measured, part) for part in stages.get(stage, "").split(", ")):
                worst[release] = stage
    return worst


def harmed(case: str, lowest: tuple[int, int] = (0, 0)) -> tuple[str, ...]:
    """The releases from the lowest one on in which the fault of a case does something."""
    return tuple(release for release in harm(case) if Version(release).release[:2] >= lowest)


def _within(release: str, part: str) -> bool:
    first, _, last = part.partition("-")
    minor = Version(release).release[:2]
    return bool(part) and Version(first).release[:2] <= minor <= Version(last or first).release[:2]
