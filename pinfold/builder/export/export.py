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
from pinfold.common.files import cached_sha256, remove_tree, write_json
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
    with tempfile.TemporaryDirectory(prefix=".builder-", dir=output) as temporary:
        work = Path(temporary)
        folder = work / drawing.model_type
        folder.mkdir()
        report: dict[str, Any] = {"drawing": drawing.state(), "checks": [], "seconds": {}}
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
        prove(drawing, folder, work, say, report)
        report["versions"] = {key: answer[key] for key in ("transformers", "torch")}
        report["versions"] |= {"pinfold": __version__, "python": platform.python_version()}
        report["files"] = {path.name: cached_sha256(path) for path in sorted(folder.iterdir())}
        write_json(folder / REPORT, report)
        put_in_place(folder, target, work)
    return {"folder": str(target), "report": report}


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
    answer = built(folder, place, drawing, work, saved, None)
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


def prove(drawing: Drawing, folder: Path, work: Path, say: Say, report: dict[str, Any]) -> None:
    """The audit, and the verification of a push.

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
    module, _, name = drawing.of.classes[drawing.main].partition(".")
    own = folder_of(drawing.of.folder)
    origin = {"path": str(own.parent), "module": f"{own.name}.{module}", "cls": name, "prefix": base_prefix(folder)}
    with timed(say, report, "forward", "forward, loss and gradient of the folder's own source") as done:
        expected = verify.reference(staged, folder, work, origin=origin)
        if not expected.origin.startswith("the outputs equal"):
            raise UserError(f"the numbers cannot be compared with {own.name}: {expected.origin}")
        done(f"outputs equal {own.name}'s, bit for bit")
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
        names = {path.name for path in target.iterdir() if path.name != "__pycache__"} - {REPORT}
        changed = [name for name in recorded if name in names and cached_sha256(target / name) != recorded[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{target} is there and was not exported from this page; {cure}") from None
    if other := sorted([*changed, *(names ^ set(recorded))]):
        raise UserError(f"{target}/{other[0]} was changed since that folder was exported; {cure}")


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
        for file in sorted(folder.iterdir()):
            if file.is_file():
                kind = zipfile.ZIP_STORED if file.suffix == ".safetensors" else zipfile.ZIP_DEFLATED
                archive.write(file, f"{folder.name}/{file.name}", kind)
    return path.stat().st_size


def remove_left_over(output: Path) -> None:
    """Work of an export whose server was killed."""
    for path in output.glob(".builder-*"):
        remove_tree(path)
        shutil.rmtree(path, ignore_errors=True)
