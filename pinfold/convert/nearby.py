"""Sources in this repository: another modular file, or a file of a model folder.

How it works
- `from other_model.modular_other import OtherModel`, `from ..other_model.modular_other import OtherModel` and, beside
  it, `from .modular_other import OtherModel` (or without the dot) name a modular file; the same with modeling_x.py,
  configuration_x.py or any other file names that file of a folder. Folders are looked for from the modular file's own
  upwards, to the root of the repository.
- What main.py generates is taken as it would be made now, from memory: the order of conversion and what lies on the
  disk make no difference.
- The generated folder imports nothing from the other one.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert import build, source

LIBRARIES = {"torch", "transformers", "numpy"}


@dataclass(frozen=True)
class Made:
    """What a modular file becomes."""

    conversion: "build.Conversion"
    texts: dict[str, str]


_made: dict[tuple, Made] = {}
_underway: list[Path] = []  # modular files whose conversion waits for that of the next


def locate(path: Path, level: int, module: str) -> Path | None:
    """The file of this repository that an import in `path` names, or None.

    A file beside the modular one that it imports with one dot stays an import, unless that is a modular file itself.
    """
    parts = module.split(".") if module else []
    if not parts or (not level and (parts[0] in LIBRARIES or parts[0] in sys.stdlib_module_names)):
        return None
    folder = path.absolute().parent
    if level:
        if level == 1 and len(parts) == 1 and not parts[0].startswith("modular_"):
            return None
        places = [folder.parents[level - 2]] if 1 < level < len(folder.parents) + 2 else [folder] if level == 1 else []
    else:
        places = upwards(folder)
    for place in places:
        found = place.joinpath(*parts).with_suffix(".py")
        if found.is_file() and place.joinpath(*parts).suffix == "":
            return found
    return None


def upwards(folder: Path) -> list[Path]:
    """The folder and those around it, as far as the repository or the current directory goes; at least one."""
    found = [folder, *folder.parents]
    for number, place in enumerate(found):
        if (place / ".git").exists() or (number and place == Path.cwd()):
            return found[: number + 1]
    return found[:2]


def forget() -> None:
    """Read every file again: somebody may have changed it since."""
    _made.clear()


def converted(path: Path, inline: bool = False, keep: bool = False) -> Made:
    """Convert a modular file, and in memory those that it takes from; nothing is written.

    Raises:
        UserError: one line with file, line and reason; a circle of modular files is named in full.
    """
    from pinfold.convert import finish

    place = path.absolute()
    if place in _underway:
        circle = [*_underway[_underway.index(place) :], place]
        told = next((i.at for i in source.load(_underway[-1], "").imports.values() if names(i, place)), 0)
        raise UserError(
            f"{shortest(_underway[-1])}:{told}: modular files in a circle: "
            f"{' -> '.join(shortest(p) for p in circle)}; move what both need into one of them"
        )
    if (place, inline, keep) not in _made:
        _underway.append(place)
        try:
            conversion = build.convert(path, inline=inline, keep=keep)
            _made[place, inline, keep] = Made(conversion, finish.finish(conversion))
        finally:
            _underway.pop()
    return _made[place, inline, keep]


def names(found: "source.Import", path: Path) -> bool:
    """Whether an import takes from what this modular file makes, or from itself."""
    if not found.module.startswith(f"{path.parent}."):
        return False
    return source.package_of(found.module) == source.package_of(f"{path.parent}.{path.stem}")


def shortest(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def made(path: Path) -> str | None:
    """The text that main.py would write as this file now; None where it is no file of that kind."""
    from pinfold.convert.finish import MARK

    if path.name.startswith("modular_") or (path.exists() and MARK not in source.read(path)[:2000]):
        return None
    for modular in sorted(path.parent.glob("modular_*.py")):
        if path.stem.endswith(f"_{modular.stem.removeprefix('modular_')}"):
            texts = converted(modular).texts
            if path.name in texts:
                return texts[path.name]
    return None


def generated(module: str, name: str) -> str:
    """The module in which something lies that a modular file of this repository makes; else the module itself."""
    path = source.find(module)
    if not path.name.startswith("modular_"):
        return module
    folder, texts = module.rpartition(".")[0], converted(path).texts
    for file in sorted(texts, key=lambda n: not n.startswith(build.kind_of(name) + "_")):
        if name in source.parse_once(texts[file], path.with_name(file), folder).items:
            return f"{folder}.{file.removesuffix('.py')}"
    return module


def classes(module: str) -> list[str]:
    """Classes of every file of a folder that is called after the same architecture."""
    path, package = source.find(module), source.package_of(module)
    found = []
    for file in sorted(path.parent.glob(f"*_{package}.py")):
        found += re.findall(r"^class (\w+)", made(file) or source.read(file), re.MULTILINE)
    return found


def in_order(paths: list[Path]) -> list[Path]:
    """Modular files such that each comes after those that it takes from; otherwise as they are."""
    result: list[Path] = []

    def add(path: Path, above: tuple[Path, ...]) -> None:
        if path in result or path in above:
            return
        try:
            found = source.load(path, "").imports.values()
        except UserError:
            found = []  # it is told when the file is converted
        for other in paths:
            if other != path and any(names(i, other.absolute()) for i in found):
                add(other, (*above, path))
        result.append(path)

    for path in paths:
        add(path, ())
    return result
