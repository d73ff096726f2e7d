"""The source of modules, found by their names and read; nothing is imported."""

import ast
import importlib.util
import json
import re
import symtable
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.common.errors import UserError

MAIN = "__main__"
LARGEST = 5_000_000  # bytes of a script or a notebook
# What IPython adds to Python: lines that begin with % or !, also behind "name =", and names with ? at either end.
_MAGIC = re.compile(r"^(\s*)(?:[\w, .]+=\s*)?(?:[%!].*|\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*$")
_RUN_HERE = {"time", "timeit", "capture", "prun"}  # magics whose cell runs in the notebook like any other


@dataclass
class Source:
    """One module as it is written.

    Args:
        name: dotted; "__main__" for a script or a notebook.
        package: the dotted name that relative imports begin at.
        where: how messages call the place.
        strict: a script or a notebook, whose other statements do their own work and are not published.
    """

    name: str
    package: str
    text: str
    tree: ast.Module
    where: str
    strict: bool = False
    bindings: dict[str, list[int]] | None = None  # name -> the statements that bind it, once they were looked for

    @property
    def last_name(self) -> str:
        """The last part of the name; of a script its file's."""
        return Path(self.where).stem if self.name == MAIN else self.name.rsplit(".", 1)[-1]

    @property
    def title(self) -> str:
        """What published files call it: no path of this machine."""
        return self.name if self.name != MAIN else Path(self.where).name

    def absolute(self, node: ast.ImportFrom) -> str:
        """The dotted name of the module that ``from ... import`` names."""
        if not node.level:
            return node.module or ""
        parts = self.package.split(".") if self.package else []
        above = parts[: len(parts) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])


@dataclass
class Sources:
    """The modules that belong to the user: one package, or what lies beside a script.

    Args:
        tops: first part of a dotted name -> its directory or file. main: a script or notebook.
    """

    tops: dict[str, Path] = field(default_factory=dict)
    main: Source | None = None
    beside: Path | None = None
    lost: list[str] = field(default_factory=list)  # cells of a notebook that are not Python
    _read: dict[str, Source | None] = field(default_factory=dict)

    def get(self, name: str) -> Source | None:
        """The module of this name, if it is one of the user's own."""
        if name == MAIN:
            return self.main
        if name not in self._read:
            path = self._path(name)
            self._read[name] = None if path is None else _read(name, path)
        return self._read[name]

    def is_own(self, name: str) -> bool:
        """Whether a dotted name belongs to the user, be there such a module or not."""
        return self._top(name.split(".")[0]) is not None

    def _top(self, top: str) -> Path | None:
        if top in self.tops:
            return self.tops[top]
        if self.beside is None or not top.isidentifier():
            return None
        return _module_at(self.beside, top)

    def _path(self, name: str) -> Path | None:
        top, *rest = name.split(".")
        place = self._top(top)
        for part in rest:
            if place is None or place.is_file() or not part.isidentifier():
                return None
            place = _module_at(place, part)
        if place is None or place.is_file():
            return place
        return place / "__init__.py"


def _module_at(directory: Path, name: str) -> Path | None:
    """The directory of a package, or the file of a module."""
    package, file = directory / name, directory / f"{name}.py"
    if (package / "__init__.py").is_file():
        return package
    if file.is_file():
        return file
    holds_code = package.is_dir() and (any(package.glob("*.py")) or any(package.glob("*/*.py")))
    return package if holds_code else None


def of_package(dotted: str) -> Sources:
    """The package of a dotted name, as it lies in the current directory, in src/ or on Python's path.

    Raises:
        UserError: there is none.
    """
    top = dotted.split(".")[0]
    if not all(part.isidentifier() for part in dotted.split(".")):
        raise UserError(f"{dotted!r} is not the name of a module; write my.package.module:Class, or script.py:Class")
    here = Path.cwd()
    for directory in (here, here / "src", *map(Path, filter(None, sys.path))):
        if (place := _module_at(directory, top)) is not None:
            return Sources({top: place})
    try:  # an editable installation, which is not a directory of the path; a name without dots imports nothing
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    locations = list(spec.submodule_search_locations or []) if spec else []
    if locations:
        return Sources({top: Path(locations[0])})
    if spec and spec.origin and spec.origin.endswith(".py"):
        return Sources({top: Path(spec.origin)})
    raise UserError(
        f"{dotted}: no package {top} in {here}, in its src directory or among what is installed; "
        "go to the directory that holds it, or install it"
    )


def of_file(path: Path) -> Sources:
    """A script or a notebook, and the modules beside it.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; name a script, a notebook or a module: my.package.module:Class")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: larger than {LARGEST // 10**6} MB; move the model's classes to a file of their own")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".ipynb":
            cells = _cells(json.loads(text))
            return of_cells(cells, path.resolve().parent, str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); save it again in UTF-8") from None
    return of_text(text, str(path), path.resolve().parent)


def of_text(text: str, where: str, beside: Path, package: str = "") -> Sources:
    """A script's text.

    Args:
        package: what its relative imports begin at, where it was run as a module of a package.
    """
    main = Source(MAIN, package, text, _parse(text, where), where, strict=True)
    tops = of_package(package).tops if package else {}
    return Sources(tops, main, beside)


def of_cells(cells: list[str], beside: Path, where: str = "the notebook") -> Sources:
    """The cells of a notebook, in the order in which they ran or stand."""
    text, lost = joined(cells)
    sources = of_text(text, where, beside)
    sources.lost = lost
    return sources


def joined(cells: list[str]) -> tuple[str, list[str]]:
    """The cells that are Python as one text, without IPython's own lines; and those that are not."""
    texts: list[str] = []
    lost: list[str] = []
    for cell in cells:
        if (body := _without_cell_magic(cell)) is None:
            continue
        body = body.replace("\r\n", "\n").replace("\r", "\n")
        plain = _without_magics(body)
        if plain is None:
            lost.append(body)
        else:
            texts.append(plain)
    return "\n\n".join(texts) + "\n", lost


def _without_magics(cell: str) -> str | None:
    """The cell as Python: lines of IPython's go, where Python stops at them; None where it is not Python even so."""
    lines = cell.split("\n")
    for _ in range(len(lines) + 1):
        error = _syntax_error("\n".join(lines))
        if error is None:
            return "\n".join(lines)
        number = (error.lineno or 0) - 1
        candidates = [n for n in (number, number - 1, number + 1) if 0 <= n < len(lines) and _MAGIC.match(lines[n])]
        if not candidates:
            return None
        at = candidates[0]
        while lines[at].endswith("\\") and at + 1 < len(lines):  # a command over several lines
            lines[at], at = "", at + 1
        indented = _MAGIC.match(lines[at])
        lines[at] = f"{indented[1]}pass" if indented and indented[1] else ""
    return None


def _without_cell_magic(cell: str) -> str | None:
    """What a cell that begins with %% runs in the notebook; None where it goes elsewhere, as to a shell or a file."""
    if match := re.match(r"%%(\w+)[^\n]*\n", cell):
        return cell[match.end() :] if match[1] in _RUN_HERE else None
    if not cell.startswith("get_ipython().run_cell_magic("):
        return cell
    try:
        magic, _, body = (ast.literal_eval(argument) for argument in ast.parse(cell.strip()).body[0].value.args)  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, AttributeError):
        return None
    return body if magic in _RUN_HERE else None


def _syntax_error(text: str) -> SyntaxError | None:
    """Why a text is not Python, by its grammar and by its rules of scope."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
            symtable.symtable(text, "<cell>", "exec")
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error))
    return None


def _cells(notebook: dict) -> list[str]:
    sources = (cell.get("source", "") for cell in notebook["cells"] if cell.get("cell_type") == "code")
    return [source if isinstance(source, str) else "".join(source) for source in sources]


def _read(name: str, path: Path) -> Source | None:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    if not path.exists():  # a directory of modules without __init__.py
        return Source(name, name, "", ast.Module([], []), str(path.parent)) if path.parent.is_dir() else None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; save it in UTF-8") from None
    return Source(name, package, text, _parse(text, str(path)), str(path))


def _parse(text: str, where: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            symtable.symtable(text, where, "exec")
            return tree
    except SyntaxError as error:
        raise UserError(f"{where}:{error.lineno}: {error.msg}; this file is not valid Python") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: {error or 'nested too deeply'}; it cannot be read") from None
