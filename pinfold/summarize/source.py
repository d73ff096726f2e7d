"""Where the model of a summary comes from: a model folder, a checkpoint, or a repository at a commit."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pinfold.audit.examine import examine
from pinfold.audit.finding import errors
from pinfold.common.errors import UserError, printable
from pinfold.common.memory import free_memory
from pinfold.fence import process as fence
from pinfold.folder.contents import check_files, code_elsewhere
from pinfold.folder.model_folder import ModelFolder, read_folder, read_modules
from pinfold.remote.client import Remote, patience
from pinfold.remote.revision import open_revision
from pinfold.remote.snapshot import outline, real_files
from pinfold.staging.checkpoint import find_weights

STORED = 20_000_000  # bytes of a config.json that is still read


@dataclass
class Source:
    """Where a model comes from.

    Args:
        code: its folder, None for one of transformers' own.
        stored: its config.json, None for the defaults.
        weights: the checkpoint's directory, None where weights are drawn.
    """

    name: str
    code: ModelFolder | None
    stored: dict[str, Any] | None
    weights: Path | None
    notes: list[str]

    def models(self) -> dict[str, str]:
        """Auto class -> "module.Class"."""
        if self.code is None:
            return {}
        stored = (self.stored or {}).get("auto_map")
        auto_map = self.code.auto_map()
        for auto, value in stored.items() if isinstance(stored, dict) else ():
            reference = str(value).rpartition("--")[2].rpartition("/")[2]  # a checkout's own has the folder before it
            module, _, name = reference.partition(".")
            if name in self.code.classes and module in self.code.modules:
                auto_map[auto] = reference
        return {auto: reference for auto, reference in auto_map.items() if auto.startswith("AutoModel")}

    def chosen(self, wanted: str | None) -> tuple[str, str]:
        """The Auto class and its auto_map entry: the wanted one, that of architectures with a head, or the first.

        Raises:
            UserError: the folder does not have it.
        """
        models = self.models()
        if not models:
            raise UserError(f"{self.name}: no model class is registered; call X.register_for_auto_class there")
        if wanted:
            if wanted not in models:
                raise UserError(
                    f"--auto {wanted}: {self.name} does not have it; use one of {', '.join(sorted(models))}"
                )
            return wanted, models[wanted]
        named = (self.stored or {}).get("architectures")
        for auto, reference in sorted(models.items(), reverse=True):  # a head comes after the plain AutoModel
            if isinstance(named, list) and reference.split(".")[1] in named:
                return auto, reference
        return min(models.items())


def local_source(directory: Path, config: Path | None) -> Source:
    """A model folder, or a checkpoint with or without code.

    Raises:
        UserError: it does not hold a model.
    """
    check_files(directory)
    folder = read_modules(directory)
    stored = read_config(config or directory / "config.json", needed=config is not None)
    has_code = any(folder.kind(name) == "model" for name in folder.classes)
    if has_code or (stored is not None and not stored.get("auto_map")):
        return _source(str(directory), directory, folder if has_code else None, stored, config)
    if elsewhere := sorted(code_elsewhere(directory)):
        raise UserError(f"{directory}: its code is in {elsewhere[0]}; run: pinfold summarize {elsewhere[0]} --run")
    nested = (stored or {}).get("auto_map")
    values = nested.values() if isinstance(nested, dict) else ()
    if below := [value for value in values if isinstance(value, str) and "/" in value]:
        code = directory / below[0].rpartition("/")[0]
        raise UserError(f"{directory}: its code is in {code}; give that: {code} --config {directory / 'config.json'}")
    raise UserError(
        f"{directory}: no file here defines a PreTrainedModel, and no config.json names one of transformers' own; "
        "give a folder with configuration_*.py and modeling_*.py, or what save_pretrained wrote"
    )


def _source(
    name: str, directory: Path, folder: ModelFolder | None, stored: dict[str, Any] | None, config: Path | None
) -> Source:
    notes = []
    weights = None
    if any(directory.glob("*.safetensors")):
        find_weights(directory)  # an index that names files which are not there is said here
        weights = directory
    elif any(directory.glob("*.bin")):
        notes.append("its weights are a pickle, which is not read")
    return Source(name, folder, stored, None if config else weights, notes)


def read_config(path: Path, needed: bool) -> dict[str, Any] | None:
    """Read a config.json; None where it is missing and not needed.

    Raises:
        UserError: it is missing, damaged, or not a configuration.
    """
    if not path.is_file():
        if needed:
            raise UserError(f"--config {path}: no such file; give a config.json")
        return None
    try:
        if path.stat().st_size > STORED:
            raise ValueError("larger than a configuration can be")
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a configuration ({error}); save it again with save_pretrained") from None
    return stored


def hub_source(
    target: str, endpoint: str | None, config: Path | None, meta: bool, stack: contextlib.ExitStack, work: Path,
    say: Callable[[str], None],
) -> tuple[Source, bool]:  # fmt: skip
    """A repository at a commit, downloaded after its audit was shown; and whether it is too large for its weights.

    Args:
        config: a config.json instead of the repository's.
        meta: leave the weights there in any case.

    Raises:
        UserError: it cannot be read, or holds code that this machine cannot run in a sandbox.
    """
    stack.enter_context(patience(progress=False))
    remote, sha = stack.enter_context(open_revision(target, endpoint))
    say(f"reading {remote.repo} at {sha} on {remote.destination.endpoint}")
    seen = outline(remote, sha, work / "outline")
    report = examine(seen.directory, f"{remote.repo}@{sha}", seen.sizes)
    for line in report.lines():
        say(printable(line).replace("\n", " "))
    dangerous = (finding.code for finding in errors(report.findings) if finding.code.startswith("S"))
    fence.permit(target, next(dangerous, None))
    large = 2 * sum(n for name, n in seen.sizes.items() if name.endswith(".safetensors")) > free_memory()
    files = seen.directory
    if not (meta or large):
        files = real_files(remote.snapshot(sha, work / "hub-home"), work / "files" / remote.repo.split("/")[1])
    folder = read_modules(files)
    others = sorted(code_elsewhere(files))
    if not folder.modules and len(others) == 1:
        other = Remote(replace(remote.destination, repo=others[0]), "main")
        head = other.head()
        if head is None:
            raise UserError(f"{target} uses code of {others[0]}, which is not on {remote.destination.endpoint}")
        folder = read_folder(outline(other, head, work / "code").directory)
    stored = read_config(config or files / "config.json", needed=True)
    has_code = any(folder.kind(each) == "model" for each in folder.classes)
    name = f"{remote.repo}@{sha}"
    return _source(name, files, folder if has_code else None, stored, config), large
