"""Every Python file of a directory as the security rules read it: what a load runs, and what no load reaches."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.reached import UNREACHED
from pinfold.audit.security.run import pickle_findings, security_findings, settings_findings
from pinfold.common.errors import UserError
from pinfold.folder.loaded_code import MAX_JSON, FilesOnDisk, LoadedCode, is_settings, read_settings
from pinfold.folder.model_folder import LARGEST, ModelFolder, Module, parse_module

MOST_OTHERS = 400  # files that no load reaches, and are read all the same
MOST_BYTES = 10_000_000
LARGEST_DATA = 200_000  # bytes of a JSON file that is read although its name is not one of settings
NOT_REACHED = "No load reaches this file."


@dataclass
class PlacedModule(Module):
    """A Python file in a folder of the directory; its name has the folders in it: "sub.helper"."""

    place: str = ""

    @property
    def file(self) -> str:
        """The file's path, as messages quote it."""
        return f"{self.place}/{self.path.name}" if self.place else self.path.name


def acts(
    directory: Path, folder: ModelFolder, loaded: list[Module], runs: LoadedCode, configs: dict[str, dict]
) -> Iterator[Finding]:
    """Findings S01 to S15 of all code and settings of a directory.

    Args:
        folder: its Python files at the top, as far as they could be read.
        loaded: those that a load runs. runs: paths of all that it runs, those in folders too.
        configs: file name -> its parsed JSON.

    Raises:
        UserError: bandit is not installed.
    """
    files = FilesOnDisk(directory)
    broken: list[Finding] = []
    names = {module.name for module in loaded}
    deeper = [path for path in runs.files if path.removesuffix(".py") not in names]
    running = [*loaded, *_read(directory, folder, deeper, broken)]
    yield from security_findings(folder, running, configs)
    yield from settings_findings(_further_settings(files, configs), directory, top=False)
    yield from broken
    yield from pickle_findings(directory, files.paths)
    seen = {module.file for module in running} | {finding.file for finding in broken}
    rest = [path for path in files.paths if path.endswith(".py") and path not in seen]
    unread: list[Finding] = []
    others = _read(directory, folder, _affordable(files, rest, unread), unread)
    acting = [f for f in security_findings(folder, others, {}, reached=False) if f.severity == ERROR]
    for finding in (*acting, *unread):
        yield lowered(finding)


def lowered(finding: Finding) -> Finding:
    """The same in a file that no load reaches: an error is a warning there, and a warning is nothing."""
    sentence = f"{finding.sentence.replace(f' ({UNREACHED})', '')} {NOT_REACHED}"
    return dataclasses.replace(finding, sentence=sentence, severity=WARNING)


def _read(directory: Path, folder: ModelFolder, paths: Iterable[str], broken: list[Finding]) -> list[Module]:
    """The modules of these paths; one that cannot be read is a finding."""
    modules: list[Module] = []
    for path in paths:
        place, _, name = path.rpartition("/")
        stem = name.removesuffix(".py")
        if not place and stem in folder.modules:
            modules.append(folder.modules[stem])
            continue
        try:
            module = parse_module(directory / path, (directory / path).read_bytes()[: LARGEST + 1])
        except (UserError, OSError) as error:
            reason = str(error).removeprefix(str(directory / path)).strip(": ")
            words = f"{path}: cannot be read ({reason}); what it does is not known."
            broken.append(Finding("S15", words, path, severity=ERROR))
            continue
        dotted = ".".join([*place.split("/"), stem]) if place else stem
        modules.append(PlacedModule(dotted, module.path, module.source, module.tree, place))
    return modules


def _affordable(files: FilesOnDisk, paths: list[str], unread: list[Finding]) -> list[str]:
    """As many of the paths as are read; what is left out is said."""
    chosen: list[str] = []
    room = MOST_BYTES
    for path in sorted(paths, key=lambda each: (each.count("/"), each)):
        room -= files.size(path)
        if room < 0 or len(chosen) == MOST_OTHERS:
            words = f"{len(paths) - len(chosen)} more Python files from {path} on are not read."
            unread.append(Finding("S15", f"{path}: {words}", path, severity=WARNING))
            break
        chosen.append(path)
    return chosen


def _further_settings(files: FilesOnDisk, configs: dict[str, dict]) -> dict[str, object]:
    """What the other JSON files hold, at any depth, as far as they may be settings."""
    settings: dict[str, object] = {}
    for path in files.paths:
        limit = MAX_JSON if is_settings(path) else LARGEST_DATA
        if path.endswith(".json") and path not in configs and files.size(path) <= limit:
            settings[path] = read_settings(files, path)
    return settings
