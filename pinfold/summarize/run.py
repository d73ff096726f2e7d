"""Run the model of a source in the sandbox, and return what was measured there."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, printable
from pinfold.common.memory import free_memory
from pinfold.fence import process as fence
from pinfold.summarize.source import Source
from pinfold.verify.verify import own_probe

SECONDS = 1800


@dataclass(frozen=True)
class Options:
    """How a model is run; None: as it is by default.

    Args:
        auto: the Auto class of the head to run.
        batch, length, image_size: rows, tokens of a row and pixels of a side of the inputs.
        optimizer: whose state is counted: adamw, sgd or none.
        meta: from shapes alone, without numbers.
        seconds: after which it is ended.
    """

    auto: str | None = None
    batch: int | None = None
    length: int | None = None
    image_size: int | None = None
    dtype: str | None = None
    optimizer: str = "adamw"
    meta: bool = False
    seconds: float = SECONDS


def summarize(
    source: Source, options: Options, fields: dict[str, Any], work: Path, overlay: Path | None = None
) -> dict[str, Any]:
    """Run the model in the sandbox, and return what was measured.

    Args:
        fields: of the configuration, instead of the source's.
        work: a directory for the sandbox.
        overlay: a directory with another transformers.

    Raises:
        UserError: it cannot be built or run; the last line of its exception says why.
    """
    auto, reference = source.chosen(options.auto) if source.code else (options.auto, None)
    limit = free_memory()
    code = source.code.path.resolve() if source.code else None
    weights = source.weights.resolve() if source.weights else None
    request = {
        "module": "cost.summary", "code": str(code) if code else None, "place": reference, "auto": auto,
        "stored": source.stored, "fields": fields, "weights": str(weights) if weights else None,
        "probe": own_probe(source.code.path) if source.code else {}, "batch": options.batch,
        "length": options.length, "image_size": options.image_size, "dtype": options.dtype,
        "optimizer": options.optimizer, "meta": options.meta, "memory": limit,
        "threads": max(1, (os.cpu_count() or 2) // 2),
    }  # fmt: skip
    visible = [path for path in (code, weights) if path]
    summary = fence.run_sandboxed(
        request, work, visible=visible, overlay=overlay, memory=limit, seconds=options.seconds, name="the summary"
    )
    if summary["failures"]:
        raise UserError(f"{source.name}: {printable(summary['failures'][0]['line'])}")
    summary["notes"] = [*source.notes, *summary["notes"]]
    return summary
