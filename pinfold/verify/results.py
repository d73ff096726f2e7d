"""What a verification gives: the numbers of a reference, or why it failed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.fence.handed import Raw
from pinfold.fenced.verify.reference import SkippedHead


class Unverified(UserError):
    """At least one check failed.

    Args:
        failures: each with "check" (D01 to D08, P18), "part" (its key in ``checks``) and "line", in order.
        checks: check -> "ok", the line of its first failure, or "skipped: why".
        hashes: Auto class -> sha256 of its outputs, as far as there were any.
        notes, close: as judge.py's Verdict has them. ready: a probe that forward takes,
            where it refused the usual ones.
    """

    def __init__(
        self,
        message: str,
        failures: list[dict],
        checks: dict[str, str],
        hashes: dict | None = None,
        notes: list[str] | None = None,
        close: list[str] | None = None,
        ready: dict | None = None,
    ):
        super().__init__(message)
        self.failures, self.checks, self.hashes = failures, checks, hashes or {}
        self.notes, self.close, self.ready = notes or [], close or [], ready or {}


@dataclass
class Reference:
    """The numbers that every later load has to give.

    Args:
        outputs: "Auto class/probe/name" -> tensor. buffers: "Auto class/name" -> tensor that no file holds. Both in
            this process's memory alone: where the sandbox cannot hide the disk, a load could read a file of them.
        request: what is the same for every load. losses: by Auto class. tokens: of the tokenizer's samples.
        custom_tokens: what custom_generate writes.
    """

    outputs: Mapping[str, Raw]
    hashes: dict[str, str]
    parameters: int
    checkpoint: Path
    request: dict = field(default_factory=dict)
    buffers: Mapping[str, Raw] = field(default_factory=dict)
    losses: dict[str, dict] = field(default_factory=dict)
    tokens: dict | None = None
    custom_tokens: list | None = None
    notes: list[str] = field(default_factory=list)
    skipped: list[SkippedHead] = field(default_factory=list)  # model classes that were not verified
    vocabulary: int = 0  # of a tokenizer alone
    measured: dict = field(default_factory=dict)  # as the folder's process says it: see fenced/cost/measured.py
    not_run: list[str] = field(default_factory=list)  # inputs of forward that no probe has
    origin: str = ""  # how the package that the folder was written from compares
    measuring: bool = False  # judge with reasons, see verify/tolerance.py
    ready: dict = field(default_factory=dict)  # a probe with what the usual ones lack
    chosen: str = ""  # the probe, where it is neither of the usual ones nor probe.json

    def remarks(self) -> list[str]:
        """What a reader of the measured rows has to know of the inputs."""
        lines = [
            f"{name} goes into no probe, so what reads it did not run; probe.json can give it" for name in self.not_run
        ]
        return [*self.notes, *lines, *([f"the inputs were {self.chosen}"] if self.chosen else [])]
