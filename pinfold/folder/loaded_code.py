"""Which code loading a repository runs: what its settings name, and what that imports from beside it.

Whoever reads "no code" trusts it, so whatever cannot be read counts as code.
"""

import ast
import io
import json
import posixpath
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pinfold.folder.filenames import GENERATE

MAX_JSON = 2**20  # bytes of one file of settings
MAX_SETTINGS = 8 * 2**20  # and of all of them
MAX_MODULE = 2**19  # bytes of one Python file
MAX_SOURCE = 2**20  # and of all of them: parsing a megabyte can take seconds, in which nothing else runs
MAX_CODE_FILES = 200
MAX_NAME = 300  # characters of a made-up name
_SETTINGS = re.compile(r"(?i).*config.*|modules\.json|model_index\.json")
_FILENAME = "code-of-a-repository"
# As transformers looks for what to download beside a module, in strings and comments too; but in linear time.
_COPIED = (
    re.compile(r"^[^\S\n]*import\s+\.(\S+)\s*$", re.M),
    re.compile(r"^[^\S\n]*from\s+\.(\S+)\s+import", re.M),
)
warnings.filterwarnings("ignore", module=_FILENAME)  # about a stranger's escapes


class Unreadable(ValueError):
    """The reason why a file cannot be looked into."""


@dataclass(frozen=True)
class LoadedCode:
    """What runs, as far as it can be known."""

    files: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()  # named by the settings, and not there
    foreign: tuple[str, ...] = ()  # repositories that code is taken from
    unread: tuple[tuple[str, str], ...] = ()  # (file, why it could not be looked into)
    cut: bool = False  # more files than are followed

    @property
    def any(self) -> bool:
        return bool(self.files or self.missing or self.foreign)


class Files(Protocol):
    """The files of a repository, at one commit."""

    unread: dict[str, str]  # path -> why it could not be looked into

    @property
    def paths(self) -> list[str]:
        """All of them, as the repository lists them."""

    def __contains__(self, path: str) -> bool: ...

    def size(self, path: str) -> int:
        """The bytes of a file, wherever it is kept."""

    def read(self, path: str, limit: int, room: int) -> bytes:
        """The whole content, wherever it is kept.

        Raises:
            Unreadable: it is longer than ``limit``, or than the ``room`` that is left; or it is not there.
        """


def read_settings(files: Files, path: str, room: int = MAX_JSON) -> Any:
    """The content of a JSON file; None, and a note, when it cannot be read."""
    try:
        return json.loads(files.read(path, MAX_JSON, room))
    except Unreadable as error:
        files.unread[path] = str(error)
    except (ValueError, RecursionError):
        files.unread[path] = "not valid JSON"
    return None


class FilesOnDisk:
    """The files below a directory, as `find_loaded_code` reads them; links and caches are left out."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.unread: dict[str, str] = {}
        self._sizes = {
            path.relative_to(directory).as_posix(): path.stat().st_size
            for path in sorted(directory.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts and _stays_inside(path, directory)
        }

    @property
    def paths(self) -> list[str]:
        """All of them, relative."""
        return list(self._sizes)

    def __contains__(self, path: str) -> bool:
        return path in self._sizes

    def size(self, path: str) -> int:
        """Bytes of a file; 0 for one that is not there."""
        return self._sizes.get(path, 0)

    def read(self, path: str, limit: int, room: int) -> bytes:
        """The content.

        Raises:
            Unreadable: it is longer than either of the two, or cannot be read.
        """
        if self.size(path) > min(limit, room):
            raise Unreadable(f"more than {min(limit, room)} bytes")
        try:
            return (self.directory / path).read_bytes()
        except OSError as error:
            raise Unreadable(str(error.strerror)) from error


def _stays_inside(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())


def find_loaded_code(
    files: Files, references: Iterable[str] = (), largest: int = MAX_MODULE, room: int = MAX_SOURCE
) -> LoadedCode:
    """Look through all settings of a commit, and through the modules that they name.

    Args:
        references: further entries, "module.Class", of a folder that has no settings yet.
        largest: bytes of one Python file that is looked into. room: of all of them.
    """
    pending: list[str] = []
    foreign: list[str] = []
    for reference in dict.fromkeys([*_references_of_settings(files), *references]):
        elsewhere, _, local = reference.rpartition("--")
        if elsewhere:
            foreign.append(elsewhere[:MAX_NAME])
        else:
            pending.append(posixpath.normpath(local.partition(".")[0] + ".py"))
    if GENERATE in files:
        pending.append(GENERATE)
    reached, missing, cut = _follow_imports(list(dict.fromkeys(pending)), files, largest, room)
    return LoadedCode(
        tuple(reached),
        tuple(each[:MAX_NAME] for each in missing),
        tuple(dict.fromkeys(foreign)),
        tuple(files.unread.items()),
        cut,
    )


def auto_map_texts(value: Any) -> list[str]:
    """The texts in a value of auto_map: "module.Class", or a list of them, or one for each backend."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in auto_map_texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in auto_map_texts(each)]
    return [value] if isinstance(value, str) else []


def _references_of_settings(files: Files) -> Iterator[str]:
    """References to classes, in every JSON file beside the config: each library has its own settings."""
    room = MAX_SETTINGS
    must = [path for path in files.paths if "/" not in path and path.endswith(".json") and _SETTINGS.fullmatch(path)]
    others = [path for path in files.paths if "/" not in path and path.endswith(".json") and path not in must]
    for path in [*sorted(must, key=lambda each: (each != "config.json", each)), *sorted(others)]:
        size = files.size(path)
        # A vocabulary or an index of weights: large, and no library looks for code in it.
        if path in others and size > min(room, MAX_JSON):
            continue
        content = read_settings(files, path, room)
        room -= min(size, room)
        if path in others:
            files.unread.pop(path, None)  # whatever it is, it does not hold settings
        if path == "modules.json":
            yield from _sentence_modules(content)
        if path == "model_index.json":
            yield from _pipeline_parts(content, files)
        try:
            yield from list(_references(content))
        except RecursionError:
            files.unread[path] = "nested too deep"


def _references(content: Any) -> Iterator[str]:
    """What auto_map and custom_pipelines say, wherever they are."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == "auto_map":
                yield from auto_map_texts(value)
            elif name == "custom_pipelines" and isinstance(value, dict):
                yield from (
                    each["impl"] for each in value.values() if isinstance(each, dict) and _has_str(each, "impl")
                )
            else:
                yield from _references(value)
    elif isinstance(content, list):
        for value in content:
            yield from _references(value)


def _has_str(part: dict[str, Any], name: str) -> bool:
    return isinstance(part.get(name), str)


def _sentence_modules(content: Any) -> Iterator[str]:
    """The classes of a sentence-transformers model: all but its own library's are looked for here first."""
    for each in content if isinstance(content, list) else ():
        if isinstance(each, dict) and _has_str(each, "type") and not each["type"].startswith("sentence_transformers."):
            yield each["type"]


def _pipeline_parts(content: Any, files: Files) -> Iterator[str]:
    """The parts of a diffusers pipeline: [library, class], or [module of the part's own folder, class]."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            module = value[0] if name == "_class_name" else f"{name}/{value[0]}"
            if f"{module}.py" in files:
                yield f"{module}.{value[1]}"


def _follow_imports(pending: list[str], files: Files, largest: int, room: int) -> tuple[list[str], list[str], bool]:
    """(files, missing files, whether there are more): a breadth-first walk through the imports."""
    reached: list[str] = []
    missing: list[str] = []
    seen = set(pending)
    while pending:
        path = pending.pop(0)
        if path not in files:
            missing.append(path)
            continue
        if len(reached) == MAX_CODE_FILES:
            return reached, missing, True
        reached.append(path)
        try:
            content = files.read(path, largest, room)
            room -= len(content)
            source = _decoded(content)
        except Unreadable as error:
            files.unread[path] = str(error)
            continue
        imported = _copied_beside(path, source)
        try:
            imported += _imported_files(path, ast.parse(source, _FILENAME))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            files.unread[path] = "not Python that this server understands"
        more = [each for each in dict.fromkeys(imported) if each in files and each not in seen]
        seen.update(more)
        pending += more
    return reached, missing, False


def _decoded(content: bytes) -> str:
    """A module's text, as Python decodes it: in another encoding it may say another thing."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        if encoding not in ("utf-8", "utf-8-sig", "ascii", "iso-8859-1"):
            raise Unreadable(f"written in {encoding[:40]}")
        text = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise Unreadable("not written in UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _copied_beside(path: str, source: str) -> list[str]:
    """Files that transformers downloads beside a module, whether a statement of it imports them or not."""
    names = [name for pattern in _COPIED for name in pattern.findall(source)]
    candidates = [f"{form}.py" for name in names for form in (name, name.replace(".", "/"))]
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), each)) for each in candidates]


def _imported_files(path: str, tree: ast.Module) -> list[str]:
    """Files that a module's relative imports may mean."""
    folder, candidates = posixpath.dirname(path), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            above, module = [".."] * (node.level - 1), (node.module or "").replace(".", "/")
            base = posixpath.normpath(posixpath.join(folder, *above, module))
            # Of `from .a import b`, b is a module when a is a folder.
            names = ["__init__", *(each.name for each in node.names)]
            candidates += [f"{base}.py", *(posixpath.normpath(posixpath.join(base, f"{each}.py")) for each in names)]
    return candidates
