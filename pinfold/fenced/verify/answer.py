"""What a job of verification answers: what it complains of, what it looked at and what it left out, as plain data.

It never says that something is right: the folder's code runs in the same process. pinfold/verify/judge.py decides.
"""

from collections.abc import Callable

from ..values import describe


class Answer:
    """The results of the checks so far.

    Args:
        version: of transformers, in which they were made.
    """

    def __init__(self, version: str):
        self.version = version
        self.failures: list[dict] = []
        self.notes: list[str] = []
        self.looked: set[str] = set()
        self.skipped: dict[str, str] = {}

    def check(self, check: str, lines: list[str], part: str | None = None) -> None:
        """Count a check as looked at. ``lines`` are its failures; ``part`` is its name where not the check's."""
        self.looked.add(part or check)
        self.failures += [{"check": check, "part": part or check, "line": line} for line in lines]

    def fail(self, what: str, error: str) -> None:
        """D01: an exception where nothing should raise one."""
        self.check("D01", [f"{what}: loading in transformers {self.version} failed: {error}"])

    def skip(self, part: str, why: str) -> None:
        """Say why a check was not made. The first reason counts."""
        self.skipped.setdefault(part, why)

    def leave_out(self, part: str, why: str) -> None:
        """Take back that a check was looked at, unless it failed."""
        self.looked.discard(part)
        self.skip(part, why)

    def as_dict(self, **more) -> dict:
        """The answer, with ``more`` that the job has to say."""
        return {
            **more,
            "failures": self.failures,
            "looked": sorted(self.looked),
            "skipped": self.skipped,
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
        return answer.as_dict()
