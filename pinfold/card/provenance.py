"""Where a checkpoint's weights come from, for the card: how they were trained, or what they were converted from.

Read from files that lie beside the weights: trainer_state.json of transformers' Trainer, training.json of
`pinfold train`, conversion.json of a folder's convert script. Nothing else is said.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinfold.common.files import cached_sha256
from pinfold.common.values import as_dict, as_list

STATE, TRAINING, CONVERSION = "trainer_state.json", "training.json", "conversion.json"
MOST_TEXT = 300
# Arguments that name places of a machine, or accounts, or say nothing of the result.
PRIVATE = re.compile(
    r"dir$|path|token|hub_|run_name|report_to|logging|deepspeed|^ddp|checkpoint$|^local_rank$|trackio|url"
    r"|^log_|tqdm|^project$|key|secret|passw|user|mail|host"
)


@dataclass(frozen=True)
class Training:
    """How weights were made, as far as it is known; texts may hold anything.

    Args:
        data: what was learnt from. rows: (what, value) in the order of the table. changed: arguments that differ from
            their defaults. arguments: all of them. loss: the sentence of the curve's ends, where there is no picture.
    """

    data: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)
    changed: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """What weights were converted from.

    Args:
        source: a repository, a file or a folder. revision: its commit. difference: the largest one between the
            outputs of both, in dtype, on a probe of that shape. software: what the reference ran in.
    """

    source: str
    revision: str = ""
    licence: str = ""
    difference: float | None = None
    dtype: str = ""
    probe: str = ""
    software: str = ""

    @property
    def repo(self) -> str:
        """The source as the Hub names it; "" where it is not a repository."""
        return self.source if re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", self.source, re.ASCII) else ""


def read_training(checkpoint: Path, drawn: bool = False) -> Training | None:
    """What is known of the training that left this checkpoint; None where nothing is.

    Args:
        drawn: a picture shows the losses already.
    """
    state = _read_object(checkpoint / STATE)
    report = _read_object(checkpoint / TRAINING)
    settings = as_dict(report.get("settings"))
    log = [] if drawn else _log(state)
    rows = [(name, text) for name, text in _rows(state, log, report, settings) if text]
    data = as_dict(settings.get("data"))
    what = ": ".join(_text(data.get(key)) for key in ("name", "description") if data.get(key))
    if not rows and not what:
        return None
    return Training(what, rows, _public(report.get("changed")), _public(report.get("arguments")))


def read_conversion(checkpoint: Path) -> Conversion | None:
    """What the weights of this checkpoint were converted from; None where nothing says so, or they are others now."""
    report = _read_object(checkpoint / CONVERSION)
    source = _text(report.get("source"))
    if not source or report.get("weights") != hashes_of_weights(checkpoint):
        return None
    differences = (report.get(key) for key in ("max_abs_logit_difference", "max_abs_difference"))
    difference = next(filter(_number, differences), None)
    probe, versions = report.get("probe"), as_dict(report.get("versions"))
    return Conversion(
        source, _text(report.get("revision")), _text(report.get("license")), difference, _text(report.get("dtype")),
        " x ".join(map(str, probe)) if isinstance(probe, list) and all(type(n) is int for n in probe) else "",
        ", ".join(f"{_text(name)} {_text(version)}" for name, version in versions.items()),
    )  # fmt: skip


def hashes_of_weights(directory: Path) -> dict[str, str]:
    """sha256 of each safetensors file, by name."""
    return {path.name: cached_sha256(path) for path in sorted(directory.glob("*.safetensors"))}


def _rows(state: dict, log: list[dict], report: dict, settings: dict) -> Iterator[tuple[str, str]]:
    steps, epochs = state.get("global_step"), state.get("epoch")
    if type(steps) is int and steps > 0:
        yield "steps", f"{steps:,}" + (f" ({epochs:.4g} epochs)" if _number(epochs) else "")
    if type(size := settings.get("batch_size") or state.get("train_batch_size")) is int:
        yield "rows in a batch", f"{size:,}"
    losses = [row["loss"] for row in log if _number(row.get("loss"))]
    if losses:
        yield "training loss, first and last logged", f"{losses[0]:.3f}, {losses[-1]:.3f}"
    held: dict = {}
    for row in log:  # the last step's second one is of the best weights, which are loaded in the end
        if _number(row.get("eval_loss")):
            held.setdefault(row.get("step"), row["eval_loss"])
    if held:
        yield "held-out loss, lowest and last", f"{min(held.values()):.3f}, {[*held.values()][-1]:.3f}"
    split = as_dict(settings.get("split"))
    if _number(split.get("fraction")):
        yield "held out", f"{split['fraction']:.0%} of the data" + (", by class" if split.get("stratified") else "")
    yield "hardware", _text(report.get("hardware"))
    runtime = report.get("seconds") or next((r["train_runtime"] for r in _log(state)[::-1] if "train_runtime" in r), 0)
    if _number(runtime) and runtime > 0:
        yield "wall time", duration(runtime)
    versions = as_dict(report.get("versions"))
    yield "software", ", ".join(f"{_text(name)} {_text(version)}" for name, version in versions.items())


def _log(state: dict) -> list[dict]:
    return [row for row in as_list(state.get("log_history")) if isinstance(row, dict)]


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(65.8), duration(4000), duration(200000)
    ('66 s', '1 h 7 min', '55 h 33 min')
    """
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _public(arguments: Any) -> dict[str, Any]:
    """Arguments whose values mean something to every reader."""
    public = {}
    for name, value in as_dict(arguments).items():
        if (
            PRIVATE.search(str(name))
            or not isinstance(value, str | bool | int | float)
            or not str(name).isidentifier()
        ):
            continue
        if isinstance(value, str) and (not value or len(value) > 60 or re.search(r"[/\\\n]|hf_\w{16}", value)):
            continue
        public[str(name)] = value
    return public


def _read_object(path: Path) -> dict:
    try:
        return as_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return {}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15  # also False for NaN


def _text(value: Any) -> str:
    return " ".join(value.split())[:MOST_TEXT] if isinstance(value, str) else ""
