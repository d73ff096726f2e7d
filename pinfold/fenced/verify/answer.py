"""What verification answers: failures in order, and a result for each check, as plain data."""

from collections.abc import Callable

from ..values import describe

CHECKS = ("D01", "D02", "D03", "D04", "D05", "D06", "D07", "D08", "loss", "bf16", "fp16")


class Answer:
    """The results of the checks so far.

    Args:
        version: of transformers, in which they were made.
    """

    def __init__(self, version: str):
        self.version = version
        self.failures: list[dict] = []
        self.notes: list[str] = []
        self.done: set[str] = set()
        self.skipped: dict[str, str] = {}

    def check(self, check: str, lines: list[str], part: str | None = None) -> None:
        """Count a check as done; ``lines`` are its failures. ``part`` is the result's name where not the check's."""
        self.done.add(part or check)
        self.failures += [{"check": check, "part": part or check, "line": line} for line in lines]

    def fail(self, what: str, error: str) -> None:
        """D01: an exception where nothing should raise one."""
        self.check("D01", [f"{what}: loading in transformers {self.version} failed: {error}"])

    def skip(self, part: str, why: str) -> None:
        """Say why a check was not made. The first reason counts."""
        self.skipped.setdefault(part, why)

    def leave_out(self, part: str, why: str) -> None:
        """Take back that a check was done, unless it failed."""
        self.done.discard(part)
        self.skip(part, why)

    def results(self) -> dict[str, str]:
        """Check -> "ok", the line of its first failure, or why it was left out."""
        first_lines: dict[str, str] = {}
        for failure in self.failures:
            first_lines.setdefault(failure["part"], failure["line"])
        skipped = {part: f"skipped: {self.skipped.get(part, 'nothing to check')}" for part in CHECKS}
        return skipped | dict.fromkeys(self.done, "ok") | first_lines

    def as_dict(self, **more) -> dict:
        """The answer, with ``more`` that the job has to say."""
        # what a check of loading says (D...) explains the others, so it comes first
        self.failures.sort(key=lambda failure: not failure["check"].startswith("D"))
        return {
            **more,
            "failures": self.failures,
            "checks": self.results(),
            "notes": self.notes,
            "transformers": self.version,
        }


def answered(name: str, job: Callable[[dict, Answer], dict], request: dict) -> dict:
    """Do a job; an exception of it is a failure in the answer."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    answer = Answer(transformers.__version__)
    try:
        return job(request, answer)
    except Exception as error:
        answer.fail(name, describe(error))
        return answer.as_dict(hashes={})
