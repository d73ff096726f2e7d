"""The conversions of one command: what each modular file becomes, computed once and kept in memory.

A modular file may take from another one of this repository, and from any file of a model folder. What main.py
generates is read as it would be made now, from memory: the order of conversion and what lies on the disk make no
difference, and the generated folder imports nothing from the other one.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert.files import MARK
from pinfold.convert.read import modules, sources
from pinfold.convert.read.model import Definition, Vendored, kind_of
from pinfold.convert.read.sources import Import, Source


@dataclass
class Conversion:
    """One modular file on its way to the files of a folder; each step adds to it what the next ones need."""

    path: Path
    name: str
    module: Source
    workspace: "Workspace"
    vendored: dict[str, Vendored] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    twins: dict[tuple[str, str], Definition] = field(default_factory=dict)  # of a name that two files have
    files: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)  # of module -> new cased prefix
    notes: list[str] = field(default_factory=list)  # what a user should know about the result
    inline: bool = False  # the configuration goes into the modeling file
    keep: bool = False  # subclasses stay subclasses of what they were made from, where that means the same


@dataclass(frozen=True)
class Generated:
    """What a modular file becomes: the conversion, and the texts of the folder's files."""

    conversion: Conversion
    texts: dict[str, str]


@dataclass
class Workspace:
    """Sources as one command sees them; it lives no longer, as users edit the files.

    Args:
        generate: (modular file, whether the configuration is inlined, whether inheritance is kept, workspace) -> its
            files; convert.generate.
    """

    generate: "Callable[[Path, bool, bool, Workspace], Generated]"
    _generated: dict[tuple[Path, bool, bool], Generated] = field(default_factory=dict, init=False)
    # modular files whose conversion waits for that of the next
    _underway: list[Path] = field(default_factory=list, init=False)

    def convert(self, path: Path, inline: bool = False, keep: bool = False) -> Generated:
        """Convert a modular file, and in memory those that it takes from; nothing is written.

        Raises:
            UserError: one line with file, line and reason; a circle of modular files is named in full.
        """
        place = path.absolute()
        if place in self._underway:
            self._refuse_circle(place)
        key = (place, inline, keep)
        if key not in self._generated:
            self._underway.append(place)
            try:
                self._generated[key] = self.generate(path, inline, keep, self)
            finally:
                self._underway.pop()
        return self._generated[key]

    def _refuse_circle(self, place: Path) -> None:
        last = self._underway[-1]
        circle = [*self._underway[self._underway.index(place) :], place]
        line = next((i.at for i in self.load(last, "").imports.values() if takes_from(i, place)), 0)
        raise UserError(
            f"{modules.shown_path(last)}:{line}: modular files in a circle: "
            f"{' -> '.join(modules.shown_path(p) for p in circle)}; move what both need into one of them"
        )

    def load(self, path: Path, package: str) -> Source:
        """A file taken apart; one of this repository that main.py makes, as it would be made now.

        Raises:
            UserError: it cannot be read, or is not Python.
        """
        text = self.generated_text(path) if os.path.isabs(package) else None
        return sources.load(path, package) if text is None else sources.parse_cached(text, path, package)

    def load_module(self, module: str) -> Source:
        """The file of a dotted name that `modules.find` finds."""
        return self.load(modules.find(module), module.rpartition(".")[0])

    def generated_text(self, path: Path) -> str | None:
        """The text that main.py would write as this file now; None where it is not a file of that kind."""
        if path.name.startswith("modular_") or (path.exists() and MARK not in modules.read(path)[:2000]):
            return None
        for modular in sorted(path.parent.glob("modular_*.py")):
            if path.stem.endswith(f"_{modular.stem.removeprefix('modular_')}"):
                texts = self.convert(modular).texts
                if path.name in texts:
                    return texts[path.name]
        return None

    def generated_module(self, module: str, name: str) -> str:
        """Where something lies that a modular file of this repository makes: the generated module, else the module."""
        path = modules.find(module)
        if not path.name.startswith("modular_"):
            return module
        folder = module.rpartition(".")[0]
        texts = self.convert(path).texts
        for file in sorted(texts, key=lambda n: not n.startswith(kind_of(name) + "_")):
            if name in sources.parse_cached(texts[file], path.with_name(file), folder).items:
                return f"{folder}.{file.removesuffix('.py')}"
        return module

    def classes(self, module: str) -> list[str]:
        """Classes of every file of a folder that is called after the same architecture."""
        path = modules.find(module)
        package = modules.package_of(module)
        names = []
        for file in sorted(path.parent.glob(f"*_{package}.py")):
            text = self.generated_text(file) or modules.read(file)
            names += re.findall(r"^class (\w+)", text, re.MULTILINE)
        return names


def takes_from(imported: Import, path: Path) -> bool:
    """Whether an import takes from what this modular file makes, or from itself."""
    if not imported.module.startswith(f"{path.parent}."):
        return False
    return modules.package_of(imported.module) == modules.package_of(f"{path.parent}.{path.stem}")
