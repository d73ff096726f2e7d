"""One forward of a drawing, in the sandbox: shapes and milliseconds."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pinfold.builder.cost.totals import costs
from pinfold.builder.drawing.problems import problems
from pinfold.builder.drawing.schema import RUN_LENGTH, RUN_PARAMETERS
from pinfold.builder.drawing.state import Drawing
from pinfold.builder.models import folder_of
from pinfold.common.errors import UserError, printable
from pinfold.fence import process as fence

SECONDS = 120  # of a run
MEMORY = 8 * fence.GIB
REPEATS = 5
Say = Callable[[dict[str, Any]], None]


def step(say: Say, identity: str, text: str, state: str = "doing", **more: Any) -> None:
    """One line of a list of steps, for the page."""
    say({"event": "step", "id": identity, "say": text, "state": state, **more})


def refuse(drawing: Drawing, batch: int, length: int) -> None:
    """
    Raises:
        UserError: the first problem of the drawing.
    """
    if listed := problems(drawing, batch, length):
        raise UserError(listed[0].line())


def run(drawing: Drawing, batch: int, length: int, say: Say) -> dict[str, Any]:
    """Build the drawn model with weights from a seed, and run it on rows without padding.

    Raises:
        UserError: it cannot be built, is too large to be run from a page, or took too long.
    """
    refuse(drawing, batch, length)
    if length > RUN_LENGTH:
        raise UserError(f"{length} tokens are more than is run from this page; use {RUN_LENGTH} at most")
    seen = costs(drawing.architecture, drawing.config, drawing.main, batch, length)
    if seen.parameters > RUN_PARAMETERS:
        raise UserError(
            f"the model has {seen.parameters:,} parameters, and this page runs {RUN_PARAMETERS:,} at most; export it, "
            "and run it in Python"
        )
    step(say, "run", "built in a process of its own, then run")
    folder = folder_of(drawing.of.folder)
    rows = [row.name for row in seen.rows]
    wanted = {"batch": batch, "length": length, "repeats": REPEATS, "rows": rows}
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        answer = built(
            folder, drawing.of.classes[drawing.main], drawing.configuration(), Path(temporary), wanted=wanted
        )
    step(say, "run", f"ran {REPEATS} times", "done")
    return result_of(answer, batch, length)


def built(
    folder: Path,
    place: str,
    config: dict[str, Any],
    work: Path,
    save: Path | None = None,
    wanted: dict | None = None,
    describe: bool = False,
) -> dict[str, Any]:
    """Build a model in the sandbox; what that says of it.

    Args:
        place: its class, as "module.Class". config: the configuration's fields.
        save: where save_pretrained writes, made by the caller. wanted: sizes of a run.
        describe: only say which fields the configuration has.

    Raises:
        UserError: the last line of its exception.
    """
    request = {
        "module": "cost.drawn", "code": str(folder.resolve()), "place": place, "config": config, "seed": 0,
        "save": str(save.resolve()) if save else None, "run": wanted, "threads": threads(), "describe": describe,
    }  # fmt: skip
    answer = fence.run_sandboxed(
        request, work, visible=[folder.resolve()], writable=[save] if save else [], memory=MEMORY, seconds=SECONDS,
        name="the run",
    )  # fmt: skip
    if answer["failures"]:
        raise UserError(f"the model cannot be built or run: {printable(answer['failures'][0]['line'])}")
    return answer


def result_of(answer: dict[str, Any], batch: int, length: int | None) -> dict[str, Any]:
    """What a run has shown, for the page."""
    size = f"{batch} x {length} tokens" if length else f"{batch} row{'s' * (batch > 1)}"
    return {
        "event": "result",
        **{key: answer[key] for key in ("outputs", "finite", "sha256", "milliseconds", "repeats", "rows")},
        "versions": {key: answer[key] for key in ("transformers", "torch")},
        "note": f"{threads()} of {os.cpu_count()} cores, float32, {size} without padding",
    }


def threads() -> int:
    return max(1, (os.cpu_count() or 2) // 2)
