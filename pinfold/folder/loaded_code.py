"""Which code loading a repository runs: what its settings name, and what that imports from beside it.

The one answer for `check`, the audit and the Hub's pages. A reader trusts the words "no code", so what cannot be
read counts as code, and Python files that no load reaches are named as well.
"""

import ast
import io
import json
import os
import posixpath
import re
import tokenize
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pinfold.common.trees import every, parse
from pinfold.folder.filenames import GENERATE

MAX_JSON = 2**20  # bytes of one file of settings
LARGEST_SETTINGS = 10_000_000  # bytes of such a file on a reader's own disk
MAX_MODULE = 2**19  # bytes of one Python file
MAX_SOURCE = 2**20  # and of all of them: parsing a megabyte can take seconds, in which nothing else runs
MAX_CODE_FILES = 200
MAX_NAME = 300  # characters of a made-up name
_SETTINGS = re.compile(r"(?i)(?:.*/)?(?:[^/]*config[^/]*|modules\.json|model_index\.json)")
# Of those, what libraries look for by itself. Any other is read by the folder's own code alone, which a load names.
_LOADED = re.compile(
    r"(?i)(?:.*/)?(?:(?:(?:(?:video_|image_)?(?:pre)?processor|image_processor|feature_extractor|tokenizer|generation"
    r"|adapter|scheduler|router|sentence_\w+|open_clip|modular|quantize|quant)_)?config(?:\.[\d.]*\d)?\.json"
    r"|config_sentence_transformers\.json|modules\.json|(?:modular_)?model_index\.json)"
)
_FILENAME = "code-of-a-repository"
LINK_OUT = "links out of the folder"
LINK_AROUND = "a link to a folder that it lies in"
LINK_AGAIN = "a link to a folder, behind another one"
LINKS = "one of too many links to folders"
NO_JSON = "not valid JSON"
MOST_LINKS = 20  # to folders, that are followed: each can repeat all files
# As transformers looks for what to download beside a module, in strings and comments too; but in linear time.
_COPIED = (
    re.compile(r"^[^\S\n]*import\s+\.(\S+)\s*$", re.M),
    re.compile(r"^[^\S\n]*from\s+\.(\S+)\s+import", re.M),
)
warnings.filterwarnings("ignore", module=_FILENAME)  # about a stranger's escapes


def is_settings(path: str) -> bool:
    """Whether a JSON file has the name of one that libraries read as settings."""
    return _SETTINGS.fullmatch(path) is not None


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
    others: tuple[str, ...] = ()  # Python files that no load reaches
    base: str = ""  # the repository that an adapter is loaded on top of, with its code

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


def read_settings(files: Files, path: str, room: int = MAX_JSON, largest: int = MAX_JSON) -> Any:
    """The content of a JSON file; None, and a note, when it cannot be read."""
    try:
        return json.loads(files.read(path, largest, room))
    except Unreadable as error:
        files.unread[path] = str(error)
    except (ValueError, RecursionError):
        files.unread[path] = NO_JSON
    return None


class FilesOnDisk:
    """The files below a directory, as `find_loaded_code` reads them.

    A load follows links wherever they lead, and so code and settings behind a link out of the directory count as
    unread. A link to a folder inside is followed, though not one behind another: its files count at both places. Git's
    own directory is left out, and so are environments, which a checkout keeps beside its files (``apart``), until
    something in one is asked for by name.
    """

    def __init__(self, directory: Path, named: Iterable[str] = ()):
        self.directory = directory
        self.unread: dict[str, str] = {}
        self.apart: list[str] = []
        self._sizes: dict[str, int] = {}
        self._links = 0  # to folders that were followed
        self._holds: dict[Path, bool] = {}  # what a link leads to -> whether code or settings are there
        self._walk(directory)
        for path in named:
            self._bring_back(path)

    def _walk(self, top: Path, linked: bool = False) -> None:
        for place, folders, names in os.walk(top):
            inner = [Path(place, name) for name in sorted(folders)]
            links = [path for path in inner if path.is_symlink() and path.name != ".git"]
            folders[:] = [path.name for path in inner if path not in links and not self._leave_out(path)]
            for path in links:
                self._follow(path, linked)
            for path in (Path(place, name) for name in sorted(names)):
                relative = path.relative_to(self.directory).as_posix()
                if path.is_symlink() and leads_out(path, self.directory):
                    if path.suffix in (".py", ".json"):
                        self.unread[relative] = LINK_OUT
                elif path.suffix != ".pyc" and path.is_file():
                    self._sizes[relative] = path.stat().st_size

    def _leave_out(self, folder: Path) -> bool:
        relative = folder.relative_to(self.directory).as_posix()
        if folder.name == ".git":
            return True
        return self._is_apart(folder, relative)

    def _is_apart(self, folder: Path, relative: str) -> bool:
        if relative != posixpath.dirname(GENERATE) and _is_environment(folder):
            self.apart.append(relative)
            return True
        return False

    def _follow(self, link: Path, linked: bool) -> None:
        """Count the files behind a link to a folder, or say why not; without code and settings none of them matters.

        Args:
            linked: the link is itself behind one.
        """
        relative = link.relative_to(self.directory).as_posix()
        if leads_out(link, self.directory):
            self.unread[relative] = LINK_OUT
            return
        target = link.resolve()
        if target not in self._holds:
            self._holds[target] = _holds_code(target)
        if not self._holds[target] or self._is_apart(link, relative):
            return
        if link.parent.resolve().is_relative_to(target):
            self.unread[relative] = LINK_AROUND
        elif linked:
            self.unread[relative] = LINK_AGAIN
        elif self._links == MOST_LINKS:
            self.unread[relative] = LINKS
        else:
            self._links += 1
            self._walk(link, linked=True)

    def _bring_back(self, path: str) -> None:
        """Count the files of an environment after all, where a load reaches one of them."""
        for folder in [each for each in self.apart if path.startswith(f"{each}/")]:
            if (self.directory / path).is_file():
                self.apart.remove(folder)
                self._walk(self.directory / folder)
                self._bring_back(path)  # environments can be one in another

    @property
    def paths(self) -> list[str]:
        """All of them, relative."""
        return list(self._sizes)

    def __contains__(self, path: str) -> bool:
        if path not in self._sizes:
            self._bring_back(path)
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


def _holds_code(folder: Path) -> bool:
    """Whether code, settings, or a link that leads further is anywhere below a folder."""
    for place, folders, names in os.walk(folder):
        if any(name.endswith((".py", ".json")) for name in names) or any(Path(place, f).is_symlink() for f in folders):
            return True
    return False


def _is_environment(folder: Path) -> bool:
    """Whether a folder is a virtual environment that works here: a file of that name alone is made in no time."""
    programs = [folder / "bin" / "python", folder / "Scripts" / "python.exe"]
    packages = [*folder.glob("lib/python3*/site-packages"), folder / "Lib" / "site-packages"]
    return (
        (folder / "pyvenv.cfg").is_file()
        and any(path.is_file() and os.access(path, os.X_OK) for path in programs)
        and any(path.is_dir() for path in packages)
        and not any(path.suffix in (".py", ".json") for path in folder.iterdir())
    )


def leads_out(path: Path, directory: Path) -> bool:
    """Whether a path ends outside of the folder. The blobs of a Hub cache belong to its snapshots."""
    try:
        directory, path = directory.resolve(), path.resolve()
    except (OSError, RuntimeError):  # in a circle
        return True
    if path.is_relative_to(directory):
        return False
    snapshot = next((p for p in (directory, *directory.parents) if p.parent.name == "snapshots"), None)
    return snapshot is None or path.parent != snapshot.parent.parent / "blobs"


def find_loaded_code(
    files: Files,
    references: Iterable[str] = (),
    largest: int = MAX_MODULE,
    room: int = MAX_SOURCE,
    settings_size: int = MAX_JSON,
) -> LoadedCode:
    """Look through all settings of a commit, and through the modules that they name.

    Args:
        references: further entries, "module.Class", of a folder that has no settings yet.
        largest: bytes of one Python file that is looked into. room: of all of them.
        settings_size: bytes of one file of settings that is looked into; of all of them, eight times as many.
    """
    pending: list[str] = []
    foreign: list[str] = []
    settings = _Settings(files, settings_size)
    for place, reference in dict.fromkeys([*settings.references(), *(("", each) for each in references)]):
        elsewhere, _, local = reference.rpartition("--")
        if elsewhere:
            foreign.append(elsewhere[:MAX_NAME])
        else:
            pending += _places(place, local, files)
    if GENERATE in files:
        pending.append(GENERATE)
    reached, missing, cut = _follow_imports(list(dict.fromkeys(pending)), files, largest, room)
    loaded = set(reached)
    others = sorted(path for path in files.paths if path.endswith(".py") and path not in loaded)
    return LoadedCode(
        tuple(reached),
        tuple(each[:MAX_NAME] for each in missing),
        tuple(dict.fromkeys(foreign)),
        tuple(files.unread.items()),
        cut,
        tuple(others),
        settings.base[:MAX_NAME],
    )


def _places(folder: str, reference: str, files: Files) -> list[str]:
    """The files that "module.Class" can mean: at the top, and beside the settings in a folder that say it."""
    name = posixpath.normpath(reference.partition(".")[0] + ".py")
    beside = posixpath.normpath(posixpath.join(folder, name))
    return [path for path in dict.fromkeys([name, beside]) if path in files] or [name]


def auto_map_texts(value: Any) -> list[str]:
    """The texts in a value of auto_map: "module.Class", or a list of them, or one for each backend."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in auto_map_texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in auto_map_texts(each)]
    return [value] if isinstance(value, str) else []


class _Settings:
    """What the JSON files of a repository name as code."""

    def __init__(self, files: Files, largest: int):
        self.files = files
        self.largest = largest
        self.base = ""  # of an adapter

    def references(self) -> Iterator[tuple[str, str]]:
        """(folder, reference to a class), of every JSON file at any depth: each library has its own settings."""
        files, room = self.files, 8 * self.largest
        names = sorted((path for path in files.paths if path.endswith(".json")), key=lambda path: path.count("/"))
        must = [path for path in names if is_settings(path)]
        must.sort(key=lambda path: (path.count("/"), path != "config.json", path))
        for path in [*must, *(path for path in names if not is_settings(path))]:
            size = files.size(path)
            is_config = is_settings(path)
            # A vocabulary or an index of weights: large, and no library looks for code in it.
            if not is_config and size > min(room, MAX_JSON):
                continue
            content = read_settings(files, path, room, self.largest)
            room -= min(size, room)
            if not is_config or (files.unread.get(path) == NO_JSON and not _LOADED.fullmatch(path)):
                files.unread.pop(path, None)  # whatever it is, no library reads settings out of it
            folder, _, name = path.rpartition("/")
            try:
                references = list(self._of_file(name, content, folder))
            except RecursionError:
                files.unread[path] = "nested too deep"
                continue
            yield from ((folder, reference) for reference in references)

    def _of_file(self, name: str, content: Any, folder: str) -> Iterator[str]:
        if name == "modules.json":
            yield from _sentence_modules(content)
        if name == "router_config.json" and isinstance(content, dict) and isinstance(content.get("types"), dict):
            yield from _sentence_modules([{"type": each} for each in content["types"].values()])
        if name == "model_index.json" and not folder:
            yield from _pipeline_parts(content, self.files)
        if name == "adapter_config.json" and isinstance(content, dict):
            base = content.get("base_model_name_or_path")
            self.base = self.base or (base if isinstance(base, str) else "")
        yield from _references(content)


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
    queue = deque(pending)
    while queue:
        path = queue.popleft()
        if path not in files:
            missing.append(path)
            continue
        if len(reached) == MAX_CODE_FILES:
            return reached, missing, True
        reached.append(path)
        try:
            content = files.read(path, largest, room)
            room -= len(content)
            source = decode_python(content)
        except Unreadable as error:
            files.unread[path] = str(error)
            continue
        # transformers' scanner reads every file as UTF-8, whatever Python makes of it
        imported = list(dict.fromkeys([*_copied_beside(path, source), *_copied_beside(path, _as_utf8(content))]))
        try:
            imported += _imported_files(path, parse(content, _FILENAME))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            files.unread[path] = "not Python that this server understands"
        more = [each for each in dict.fromkeys(imported) if each in files and each not in seen]
        seen.update(more)
        queue += more
    return reached, missing, False


def decode_python(content: bytes) -> str:
    """A module's text, as Python decodes it: in another encoding it may say another thing.

    Python's compiler ends a line at a carriage return too before it looks for the encoding; `tokenize` does not.

    Raises:
        Unreadable: Python cannot decode it either.
    """
    try:
        lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        encoding, _ = tokenize.detect_encoding(io.BytesIO(lines).readline)
        return lines.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise Unreadable(f"not text that Python can decode ({error})"[:MAX_NAME]) from error


def _as_utf8(content: bytes) -> str:
    return content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _copied_beside(path: str, source: str) -> list[str]:
    """Files that transformers downloads beside a module, whether a statement of it imports them or not."""
    names = [name for pattern in _COPIED for name in pattern.findall(source)]
    candidates = [f"{form}.py" for name in names for form in (name, name.replace(".", "/"))]
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), each)) for each in candidates]


def _imported_files(path: str, tree: ast.Module) -> list[str]:
    """Files that a module's relative imports may mean."""
    folder, candidates = posixpath.dirname(path), []
    for node in every(tree, ast.ImportFrom):
        if node.level:
            above, module = [".."] * (node.level - 1), (node.module or "").replace(".", "/")
            base = posixpath.normpath(posixpath.join(folder, *above, module))
            # Of `from .a import b`, b is a module when a is a folder.
            names = ["__init__", *(each.name for each in node.names)]
            candidates += [f"{base}.py", *(posixpath.normpath(posixpath.join(base, f"{each}.py")) for each in names)]
    return candidates
