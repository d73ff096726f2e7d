"""From a drawing to a folder that has been loaded: written, converted, audited, verified, and only then put in place.

How it works:
- Everything happens in a directory of its own; the folder gets its name when all has passed. A run that is ended
  leaves nothing under that name.
- Verification is that of ``pinfold push``: the folder's own source, a load through the Auto classes in a clean
  process, forward, loss and gradient, save and load again. The outputs have to equal those of the model folder that
  was drawn on, bit for bit.
- A folder of an earlier export is replaced where nothing in it was changed since.
"""

import contextlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinfold import __version__
from pinfold.audit.finding import errors
from pinfold.audit.run import audit
from pinfold.builder.cost.totals import costs
from pinfold.builder.drawing.state import Drawing, read_config
from pinfold.builder.export.modular import modular_text
from pinfold.builder.export.run import Say, built, refuse, step
from pinfold.builder.models import folder_of
from pinfold.common.errors import UserError
from pinfold.common.files import cached_sha256, write_json
from pinfold.common.memory import free_memory
from pinfold.convert import files
from pinfold.convert.convert import new_workspace
from pinfold.convert.write.finish import formatted
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage, write_manifest
from pinfold.verify import verify

REPORT = "builder_report.json"
LENGTH = 16  # tokens of the row that the drawing is checked with; verification has inputs of its own


def export(drawing: Drawing, output: Path, say: Say) -> dict[str, Any]:
    """Write OUTPUT/<model_type>, and say each step.

    Returns:
        "folder", the path; "report", what was run.

    Raises:
        UserError: the drawing has a problem, a check failed, or the folder is there and is not an export, or was
            changed since. Nothing is there then that was not there before.
    """
    refuse(drawing, 1, min(LENGTH, drawing.config["max_position_embeddings"]))
    target = output / drawing.model_type
    check_replaceable(target)
    output.mkdir(parents=True, exist_ok=True)
    check_room(costs(drawing.architecture, drawing.config, drawing.main, 1, 1).parameters, output)
    with tempfile.TemporaryDirectory(prefix=".builder-", dir=output.resolve()) as temporary:
        work = Path(temporary)
        folder = work / drawing.model_type
        folder.mkdir()
        report = new_report(drawing.state())
        with timed(say, report, "write", f"modular_{drawing.model_type}.py and card.md") as done:
            write_sources(drawing, folder)
            done("written")
        with timed(say, report, "convert", "configuration and modeling code") as done:
            names = convert(folder / f"modular_{drawing.model_type}.py")
            done(f"converted: {', '.join(names)}")
        with timed(say, report, "weights", "new weights from seed 0") as done:
            answer = draw_weights(drawing, folder, work)
            report["parameters"] = answer["parameters"]
            done(f"{answer['parameters']:,} parameters drawn from seed 0")
        prove(folder, work, say, report, origin_of(drawing, folder))
        finish(folder, target, work, report, answer)
    return {"folder": str(target), "report": report}


def check_room(parameters: int, output: Path) -> None:
    """
    Raises:
        UserError: memory or disk do not hold the weights as often as they are needed at once.
    """
    size = 4 * parameters
    for what, free, times in (("memory", free_memory(), 3), ("disk", shutil.disk_usage(output).free, 3)):
        if times * size > free:
            raise UserError(
                f"{parameters:,} parameters take {size / 1e9:.1f} GB, {times} times while they are proven, and "
                f"{free / 1e9:.1f} GB of {what} are free; draw a smaller model, or use a larger machine"
            )


def new_report(state: dict[str, Any]) -> dict[str, Any]:
    return {"drawing": state, "checks": {}, "seconds": {}}


def finish(folder: Path, target: Path, work: Path, report: dict[str, Any], answer: dict[str, Any]) -> None:
    """Write the report of what was run, and give the folder its name."""
    report["versions"] = {key: answer[key] for key in ("transformers", "torch")}
    report["versions"] |= {"pinfold": __version__, "python": platform.python_version()}
    report["files"] = {name: cached_sha256(path) for name, path in files_of(folder).items()}
    write_json(folder / REPORT, report)
    put_in_place(folder, target, work)


@contextlib.contextmanager
def timed(say: Say, report: dict[str, Any], identity: str, what: str) -> Iterator[Any]:
    """A step: said when it begins, when it has ended, and when it failed."""
    started = time.monotonic()
    outcome: list[str] = []
    step(say, identity, what)
    try:
        yield outcome.append
    except BaseException:
        step(say, identity, what, "failed", seconds=round(time.monotonic() - started, 1))
        raise
    seconds = round(time.monotonic() - started, 1)
    report["seconds"][identity] = seconds
    step(say, identity, " ".join(outcome), "done", seconds=seconds)


def write_sources(drawing: Drawing, folder: Path) -> None:
    """The modular file and card.md."""
    path = folder / f"modular_{drawing.model_type}.py"
    path.write_text(formatted(path.name, modular_text(drawing), path), encoding="utf-8")
    (folder / "card.md").write_text(card_text(drawing), encoding="utf-8")


def convert(modular: Path) -> list[str]:
    """Names of the files that the modular file becomes."""
    texts = new_workspace().convert(modular, False).texts
    return [path.name for path in files.write(texts, modular.parent)]


def draw_weights(drawing: Drawing, folder: Path, work: Path) -> dict[str, Any]:
    """config.json and weights of the folder's own class; what the sandbox says of the model.

    Raises:
        UserError: the configuration that was saved is not what was drawn.
    """
    place = f"modeling_{drawing.model_type}.{drawing.class_of(drawing.main)}"
    saved = work / "saved"
    saved.mkdir()
    answer = built(folder, place, drawing.configuration(), work, saved)
    expected = costs(drawing.architecture, drawing.config, drawing.main, 1, LENGTH).parameters
    if answer["parameters"] != expected:
        raise UserError(f"the model has {answer['parameters']:,} parameters, and {expected:,} were drawn; report this")
    stored = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    write_json(saved / "config.json", {**stored, **drawing.config_json()})
    again, _ = read_config((saved / "config.json").read_text(encoding="utf-8"))
    if again != drawing:
        names = [name for name, value in drawing.state().items() if again.state()[name] != value]
        raise UserError(f"config.json holds another drawing than this one ({', '.join(names)} differ); report this")
    for path in saved.iterdir():
        path.rename(folder / path.name)
    return answer


def origin_of(drawing: Drawing, folder: Path) -> dict[str, Any]:
    """The class that the outputs are compared with: of the model folder that the drawing was made on."""
    module, _, name = drawing.of.classes[drawing.main].partition(".")
    own = folder_of(drawing.of.folder)
    return {"path": str(own.parent), "module": f"{own.name}.{module}", "cls": name, "prefix": base_prefix(folder)}


def prove(folder: Path, work: Path, say: Say, report: dict[str, Any], origin: dict[str, Any] | None = None) -> None:
    """The audit, and the verification of a push.

    Args:
        origin: the class that has to give the same outputs, if any.

    Raises:
        UserError: either found a fault.
    """
    staging = work / "staged"
    staging.mkdir()
    with timed(say, report, "audit", "the code and the files as they would be published") as done:
        staged = stage(read_folder(folder), folder, staging)
        write_manifest(staged)
        findings = audit(staging, read_folder(staging), original=folder)
        if bad := errors(findings):
            raise UserError(f"the audit found {len(bad)} error{'s' * (len(bad) > 1)}: {bad[0]}")
        report["warnings"] = [str(finding) for finding in findings]
        done(f"{len(findings)} warnings" if findings else "nothing found")
    with timed(say, report, "forward", "forward, loss and gradient of the folder's own source") as done:
        expected = verify.reference(staged, folder, work, origin=origin)
        if origin and not expected.origin.startswith("the outputs equal"):
            raise UserError(f"the numbers cannot be compared with {origin['module']}: {expected.origin}")
        done(expected.origin or "ran")
    with timed(say, report, "load", "AutoModel.from_pretrained in a clean process; saved, and loaded again") as done:
        answer = verify.staged_load(staged, expected, work)
        report["checks"] = answer["checks"]
        done("loaded, same numbers; saved and loaded again, same numbers")


def base_prefix(folder: Path) -> str:
    """What the folder's heads call their base model; the converter names it after the file."""
    (path,) = folder.glob("modeling_*.py")
    (prefix,) = re.findall(r'^    base_model_prefix = "(\w+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)[:1]
    return prefix


def card_text(drawing: Drawing) -> str:
    """card.md for the author to go on with. All in it is of the drawing's own words and numbers."""
    config = drawing.config
    kinds = ", ".join(dict.fromkeys(config.get("attention_type", ["grouped-query"])))
    return f"""---
license: apache-2.0
library_name: transformers
tags:
- {drawing.model_type}
---

## What it is

{drawing.of.title}: {config["num_hidden_layers"]} layers of width {config["hidden_size"]},
{config["num_attention_heads"]} heads, {kinds} attention. Drawn with pinfold's builder on top of {drawing.of.folder}.

## Training

The weights are new: drawn at random, and not trained. Say here what they were trained on, and how.

## Limits

Say here what the model cannot do, in which languages it works, and which biases its data have.
"""


def check_replaceable(target: Path) -> None:
    """
    Raises:
        UserError: something is there that is not an export of this page, or was changed since.
    """
    if not target.exists() and not target.is_symlink():
        return
    cure = "move it away, or give the model another model type"
    try:
        recorded = json.loads((target / REPORT).read_text(encoding="utf-8"))["files"]
        there = files_of(target)
        there.pop(REPORT)
        changed = [name for name, path in there.items() if name in recorded and cached_sha256(path) != recorded[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{target} is there and was not exported from this page; {cure}") from None
    if other := sorted([*changed, *(set(there) ^ set(recorded))]):
        raise UserError(f"{target}/{other[0]} was changed since that folder was exported; {cure}")


def files_of(folder: Path) -> dict[str, Path]:
    """Every file by its path in the folder, without what Python compiled."""
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def put_in_place(folder: Path, target: Path, work: Path) -> None:
    """Give the folder its name; an earlier export moves aside, and goes with the work."""
    check_replaceable(target)  # again: the export took a while
    if target.exists():
        os.rename(target, work / "before")
    try:
        os.rename(folder, target)
    except OSError:
        if (work / "before").exists():
            os.rename(work / "before", target)
        raise


def zipped(folder: Path, path: Path) -> int:
    """Write the folder as a zip file; its bytes. Weights do not get smaller, and are stored as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in files_of(folder).items():
            kind = zipfile.ZIP_STORED if file.suffix == ".safetensors" else zipfile.ZIP_DEFLATED
            archive.write(file, f"{folder.name}/{name}", kind)
    return path.stat().st_size
