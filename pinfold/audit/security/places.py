"""Every Python file of a directory as the security rules read it: what a load runs, and what no load reaches."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.reached import UNREACHED
from pinfold.audit.security.run import pickle_findings, security_findings, settings_findings
from pinfold.common.errors import UserError
from pinfold.folder.loaded_code import (
    LARGEST_SETTINGS,
    LINK_AGAIN,
    LINK_AROUND,
    LINK_OUT,
    LINKS,
    MAX_CODE_FILES,
    NO_JSON,
    FilesOnDisk,
    LoadedCode,
    is_settings,
    read_settings,
)
from pinfold.folder.model_folder import LARGEST, PYTHON, ModelFolder, Module, parse_module, read_bytes

MOST_OTHERS = 400  # files that no load reaches, and are read all the same
MOST_BYTES = 10_000_000
LARGEST_DATA = 200_000  # bytes of a JSON file that is read although its name is not one of settings
IN_PLACE = "Put the folder or the file itself in the link's place, or remove the link."
CURES = {
    **dict.fromkeys((LINK_OUT, LINK_AROUND, LINK_AGAIN, LINKS), IN_PLACE),
    NO_JSON: "Write it as plain JSON, without comments, or remove it.",
}
CURE = "Remove it, or make it shorter and simpler."
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
    """
    files = FilesOnDisk(directory, runs.files)
    broken: list[Finding] = []
    names = {module.name for module in loaded}
    deeper = [path for path in runs.files if path.removesuffix(".py") not in names]
    running = [*loaded, *_read(directory, folder, deeper, broken)]
    broken += _not_followed(runs, {finding.file for finding in broken})
    yield from security_findings(folder, running, configs)
    yield from settings_findings(_further_settings(files, configs), directory, top=False)
    yield from broken
    yield from pickle_findings(directory, files.paths)
    seen = {module.file for module in running} | {finding.file for finding in broken}
    rest = [path for path in files.paths if path.endswith(".py") and path not in seen]
    left_out: list[Finding] = []
    others = _read(directory, folder, _affordable(files, rest, left_out), left_out)
    acting = [f for f in security_findings(folder, others, {}, reached=False) if f.severity == ERROR]
    for finding in (*acting, *left_out):  # what was not followed may lead into any of these files
        yield dataclasses.replace(finding, sentence=_without_reach(finding)) if broken else lowered(finding)


def _not_followed(runs: LoadedCode, said: set[str]) -> Iterator[Finding]:
    """Where the search for code ended before its end: what lies behind that is not known."""
    for path, reason in runs.unread:
        if path not in said:
            words = f"{path}: cannot be read ({reason}); which code it holds or names is not known."
            yield Finding("S15", f"{words} {CURES.get(reason, CURE)}", path)
    if runs.cut:
        words = f"a load runs more than {MAX_CODE_FILES} Python files; which others it reaches is not known."
        yield Finding("S15", words)


def lowered(finding: Finding) -> Finding:
    """The same in a file that no load reaches: an error is a warning there, and a warning is nothing."""
    return dataclasses.replace(finding, sentence=f"{_without_reach(finding)} {NOT_REACHED}", severity=WARNING)


def _without_reach(finding: Finding) -> str:
    return finding.sentence.replace(f" ({UNREACHED})", "")


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
            module = parse_module(directory / path, read_bytes(directory / path, directory, LARGEST, PYTHON))
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
        limit = LARGEST_SETTINGS if is_settings(path) else LARGEST_DATA
        if path.endswith(".json") and path not in configs and files.size(path) <= limit:
            settings[path] = read_settings(files, path, limit, limit)
    return settings
