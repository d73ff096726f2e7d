"""A model folder as its source text describes it: classes, Auto classes, and the files they need.

Nothing here imports or executes the folder; everything is read from the syntax tree.
"""

import ast
import bisect
import codecs
import collections
import functools
import hashlib
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from pinfold.common.errors import UserError
from pinfold.common.trees import below, depth, every, parse, root, walk
from pinfold.folder.declared import declared_entries, declared_pipelines
from pinfold.folder.kinds import DEFAULT_AUTO, KINDS, head, stock_kind
from pinfold.folder.loaded_code import decode_python, leads_out
from pinfold.folder.sentence import own_classes

# transformers' loader finds a module's siblings with such a pattern, in docstrings as well. Its own begins with \s*,
# which takes quadratic time on a file of empty lines; the beginning of a line is enough.
RELATIVE_IMPORT = re.compile(r"^[^\S\n]*(?:from\s+\.(\w+)\s+import|import\s+\.(\w+)[^\S\n]*$)", re.MULTILINE)
DIGEST_LINE = re.compile(r"^CODE_DIGEST\s*(?::\s*str\s*)?=.*$", re.MULTILINE)
# Bounds for files of strangers: the largest modeling file of transformers has 300 KB and 40 levels of nesting.
LARGEST, ALL_FILES, DEEPEST, MOST_CLASSES = 1_000_000, 10_000_000, 200, 2000
PYTHON = "a model folder holds Python source in UTF-8"


class Located(Protocol):
    """A node that has a place in its file, as parsing sets it; modules, operators and contexts have none."""

    lineno: int
    col_offset: int
    end_lineno: int
    end_col_offset: int


def located(node: ast.AST) -> Located:
    """A node whose place is asked for. Callers come with statements, expressions and arguments only."""
    return cast(Located, node)


@dataclass
class Module:
    """One Python file of the folder."""

    name: str
    path: Path
    source: str
    tree: ast.Module

    @property
    def file(self) -> str:
        """The file's name, as messages quote it."""
        return self.path.name

    def siblings(self) -> list[str]:
        """Modules of the folder that this one imports, in order, without repetition."""
        return list(self._siblings)

    @functools.cached_property
    def _siblings(self) -> list[str]:
        names = [name for pair in RELATIVE_IMPORT.findall(self.source) for name in pair if name]
        for node in every(self.tree, ast.ImportFrom):
            if node.level == 1 and node.module:
                names.append(node.module.split(".")[0])
        return list(dict.fromkeys(names))

    def text(self, node: ast.AST, limit: int = 120) -> str:
        """A node as it is written, on one line. Needs no recursion, so deep nesting is safe."""
        place = located(node)
        lines = self.lines[place.lineno - 1 : place.end_lineno]
        if lines:  # columns count bytes of UTF-8
            lines[-1] = lines[-1].encode()[: place.end_col_offset].decode(errors="replace")
            lines[0] = lines[0].encode()[place.col_offset :].decode(errors="replace")
        words = " ".join(" ".join(lines).split())
        return words if len(words) <= limit else words[: limit - 3] + "..."

    def line(self, position: int) -> int:
        """The number of the line that a place in the source is on."""
        return bisect.bisect_left(self._ends, position) + 1

    @functools.cached_property
    def _ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.source)]

    @functools.cached_property
    def lines(self) -> list[str]:
        """The source, line by line, as Python counts them."""
        return self.source.split("\n")

    @functools.cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """What an imported name refers to: local name -> (module with leading dots, name there)."""
        imports: dict[str, tuple[str, str]] = {}
        for node in every(self.tree, ast.ImportFrom, ast.Import):
            if isinstance(node, ast.ImportFrom):
                place = "." * node.level + (node.module or "")
                imports |= {alias.asname or alias.name: (place, alias.name) for alias in node.names}
            else:
                for alias in node.names:
                    top = alias.name.split(".")[0]
                    imports[alias.asname or top] = (alias.name, alias.name) if alias.asname else ("", top)
        return imports


@dataclass
class ModelFolder:
    """A folder of remote code.

    Args:
        declared: Auto class -> "module.Class", as the settings beside the code say it.
        pipelines: task -> "module.Class", of the pipelines that config.json brings along.
        sentence_classes: "module.Class" of the modules of sentence-transformers that the folder has itself.
    """

    path: Path
    modules: dict[str, Module]
    classes: dict[str, tuple[Module, ast.ClassDef]] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    pipelines: dict[str, str] = field(default_factory=dict)
    sentence_classes: list[str] = field(default_factory=list)

    def kind(self, name: str) -> str | None:
        """What transformers takes a class for: a key of KINDS, or None for an ordinary class."""
        for cls in self.lineage(name):
            for text, place in self.bases(cls):
                for kind, roots in KINDS.items():
                    if text in roots:
                        return kind
                if of_stock := stock_kind(text, place):
                    return of_stock
        return None

    def bases(self, name: str) -> list[tuple[str, str]]:
        """Base classes in order, under their own names, each with the module that it was imported from, or "".

        A class can be called as the one that it derives from: ``from transformers import BertModel as Stock``.
        """
        module, node = self.classes[name]
        bases = []
        for base in node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            if isinstance(base, ast.Attribute):
                bases.append((base.attr, "transformers" if root(base) == "transformers" else ""))
            elif isinstance(base, ast.Name):
                place, original = module.imports.get(base.id, ("", base.id))
                defined = base.id in self.classes and self.classes[base.id][0] is module and base.id != name
                if defined or place.startswith(".") or base.id not in module.imports:
                    own = base.id if base.id in self.classes else original
                    bases.append((own, "" if defined else place))  # an import of its name is the other branch of a try
                else:
                    bases.append((original, place))
        return bases

    def own_bases(self, name: str) -> list[str]:
        """Base classes that are in this folder."""
        return [base for base, place in self.bases(name) if not place or place.startswith(".")]

    def lineage(self, name: str) -> list[str]:
        """The class and its bases in this folder, nearest first."""
        lineage: dict[str, None] = {}
        queue = collections.deque([name])
        while queue:
            name = queue.popleft()
            if name in self.classes and name not in lineage:
                lineage[name] = None
                queue += self.own_bases(name)
        return list(lineage)

    def is_stock(self, name: str) -> bool:
        """Whether it derives from a model, configuration, ... of transformers' own, whose code is not seen here."""
        every = {root for roots in KINDS.values() for root in roots}
        return any(
            base not in every and stock_kind(base, place)
            for cls in self.lineage(name)
            for base, place in self.bases(cls)
        )

    def method(self, cls: str, name: str) -> tuple[str, ast.FunctionDef] | None:
        """The nearest definition of a method: the class of this folder that has it, and its node."""
        for owner in self.lineage(cls):
            for statement in self.classes[owner][1].body:
                if isinstance(statement, ast.FunctionDef) and statement.name == name:
                    return owner, statement
        return None

    def packages(self, modules: list[Module] | None = None) -> list[str]:
        """Top-level packages outside of the standard library that the files import, sorted."""
        packages = set()
        for module in self.modules.values() if modules is None else modules:
            for node in walk(module.tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                packages |= {name.split(".")[0] for name in names}
        return sorted(packages - sys.stdlib_module_names - set(self.modules))

    def attribute(self, cls: str, attribute: str) -> ast.expr | None:
        """The value assigned to a class attribute, here or in a base class of this folder."""
        for owner in self.lineage(cls):
            for statement in self.classes[owner][1].body:
                targets, value = assigned(statement)
                if any(isinstance(t, ast.Name) and t.id == attribute for t in targets):
                    return value
        return None

    def registrations(self) -> dict[str, str]:
        """Auto class -> "module.Class" for each ``X.register_for_auto_class(...)`` in the folder."""
        registered: dict[str, str] = {}
        for module in self.modules.values():
            for statement in module.tree.body:
                call = statement.value if isinstance(statement, ast.Expr) else None
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                    continue
                if call.func.attr != "register_for_auto_class" or not isinstance(call.func.value, ast.Name):
                    continue
                cls = call.func.value.id
                arguments = [*call.args, *(k.value for k in call.keywords)]
                if arguments and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
                    auto = arguments[0].value
                else:
                    auto = DEFAULT_AUTO.get(self.kind(cls) or "", "AutoModel")
                if cls in self.classes:
                    registered[auto] = f"{self.classes[cls][0].name}.{cls}"
        return registered

    def auto_map(self) -> dict[str, str]:
        """The complete auto_map: what the settings declare, then what is registered, then what class names say.

        A part of a model, which has a configuration of its own, is loaded with the whole and has no entry.
        """
        declared = {auto: place for auto, place in self.declared.items() if self._defines(place)}
        registered = self.registrations()
        main = self.main_config({**registered, **declared})
        offered = {auto: place for auto, place in registered.items() if not self.is_part(place.split(".")[1], main)}
        auto_map = {**offered, **declared}
        if main and not self._defines(self.declared.get("AutoConfig", "")):
            auto_map["AutoConfig"] = f"{self.classes[main][0].name}.{main}"
        if not any(auto.startswith("AutoModel") for auto in offered):
            models = [name for name in self.classes if self.kind(name) == "model" and self.is_concrete(name)]
            models = [name for name in models if not self.is_part(name, main)]
            if any(auto.startswith("AutoModel") for auto in declared):  # beside it, only what has its configuration
                models = [name for name in models if self._has_config(name, main)]
            bases = [name for name in models if head(name) is None]
            for name in models:
                if auto := head(name):
                    auto_map.setdefault(auto, f"{self.classes[name][0].name}.{name}")
            if bases:  # the one that heads are named after, else the last one written
                named = [n for n in bases if n.endswith("Model")]
                chosen = (named or bases)[-1]
                auto_map.setdefault("AutoModel", f"{self.classes[chosen][0].name}.{chosen}")
        if "AutoConfig" not in auto_map and (config := self.config_class(auto_map)):
            auto_map["AutoConfig"] = f"{self.classes[config][0].name}.{config}"
        for name in self.classes:
            kind = self.kind(name)
            if kind not in (None, "config", "model"):
                auto_map.setdefault(DEFAULT_AUTO[kind], f"{self.classes[name][0].name}.{name}")
        return dict(sorted(auto_map.items()))

    def _has_config(self, name: str, config: str | None) -> bool:
        declared = self.attribute(name, "config_class")
        return config is not None and config in (getattr(declared, "attr", ""), getattr(declared, "id", ""))

    def config_class(self, auto_map: dict[str, str]) -> str | None:
        """The configuration class that the models name, else the only one there is."""
        for value in auto_map.values():
            if named := self.own_config(value.split(".")[-1]):
                return named
        configs = [name for name in self.classes if self.kind(name) == "config"]
        return configs[-1] if len(configs) == 1 else None

    def _defines(self, place: str) -> bool:
        """Whether "module.Class" is in this folder; the file may import the class from a sibling."""
        module, _, name = place.partition(".")
        return module in self.modules and (name in self.classes or name in self.modules[module].imports)

    def own_config(self, cls: str) -> str | None:
        """The configuration class of this folder that a class names as its config_class."""
        named = self.attribute(cls, "config_class")
        return named.id if isinstance(named, ast.Name) and self.kind(named.id) == "config" else None

    def main_config(self, entries: dict[str, str]) -> str | None:
        """The configuration class of the whole: the entry for AutoConfig, unless that is a part's; then the models'.

        Args:
            entries: Auto class -> "module.Class", of what is declared and registered.
        """
        configs = [name for name in self.classes if self.kind(name) == "config"]
        if self._defines(self.declared.get("AutoConfig", "")):
            named = self.declared["AutoConfig"].split(".")[1]
            return named if named in self.classes else None
        of_parts = self.part_configs()
        registered = entries.get("AutoConfig", "").split(".")[-1]
        models = [
            self.own_config(place.split(".")[1]) for auto, place in entries.items() if auto.startswith("AutoModel")
        ]
        candidates = [registered, *models, *(configs if len(configs) - len(of_parts) == 1 else [])]
        return next((name for name in candidates if name in configs and name not in of_parts), None)

    def part_configs(self) -> set[str]:
        """Configuration classes that another one builds, or lists in ``sub_configs``."""
        configs = {name for name in self.classes if self.kind(name) == "config"}
        parts: set[str] = set()
        for name in configs:
            own = set(self.lineage(name))
            used = {node.id for node in every(self.classes[name][1], ast.Name)}
            parts |= (used & configs) - own
        return parts

    def is_part(self, cls: str, main: str | None) -> bool:
        """Whether a model class has a configuration of its own beside that of the whole."""
        config = self.own_config(cls) if self.kind(cls) == "model" else cls if self.kind(cls) == "config" else None
        if main is None or config is None:
            return False
        return config not in self.lineage(main) and main not in self.lineage(config)

    def is_concrete(self, cls: str) -> bool:
        """Whether the class itself can be called: it defines or inherits ``forward`` in this folder."""
        if self.method(cls, "forward"):
            return True
        bases = [pair for owner in self.lineage(cls) for pair in self.bases(owner)]
        return any(stock_kind(b, place) == "model" and not b.endswith("PreTrainedModel") for b, place in bases)

    def loaded_modules(self, auto_map: dict[str, str] | None = None) -> list[Module]:
        """The modules that a load of any entry runs, pipelines and modules of sentence-transformers included."""
        entries = (self.auto_map() if auto_map is None else auto_map).values()
        places = (*entries, *self.pipelines.values(), *self.sentence_classes)
        return self.closure([place.split(".")[0] for place in places])

    def closure(self, entries: list[str]) -> list[Module]:
        """The modules that the given ones reach through relative imports, themselves included, sorted."""
        reached: dict[str, Module] = {}
        queue = [name for name in entries if name in self.modules]
        while queue:
            name = queue.pop()
            if name not in reached:
                reached[name] = self.modules[name]
                queue += [s for s in self.modules[name].siblings() if s in self.modules]
        return [reached[name] for name in sorted(reached)]


def assigned(statement: ast.stmt) -> tuple[list[ast.expr], ast.expr | None]:
    """The targets of an assignment, with or without an annotation or an operator, and its value."""
    if isinstance(statement, ast.Assign):
        return statement.targets, statement.value
    if isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        return [statement.target], statement.value
    return [], None


def read_folder(path: str | Path) -> ModelFolder:
    """Read every Python file directly in a folder.

    Raises:
        UserError: no such folder, no modeling file in it, or a file that cannot be read.
    """
    folder = read_modules(path)
    if not any(folder.kind(name) == "model" for name in folder.classes):
        files = ", ".join(m.file for m in folder.modules.values()) or "no Python files"
        raise UserError(
            f"{path}: no file here defines a PreTrainedModel (found {files}); "
            "a model folder has configuration_*.py and modeling_*.py"
        )
    return folder


def read_modules(path: str | Path, unreadable: dict[str, str] | None = None) -> ModelFolder:
    """Read every Python file directly in a folder, whatever it defines; there may be none.

    Args:
        unreadable: takes the files that cannot be read, with the reason, where that is not a mistake of the caller.

    Raises:
        UserError: no such folder, or a file that is not Python, too large, too deep, or not in the folder.
    """
    path = Path(path)
    if not path.is_dir():
        wrong = f"a file; give its folder, {path.parent}," if path.is_file() else "no such folder; give a folder"
        raise UserError(f"{path}: {wrong} with configuration_*.py and modeling_*.py")
    folder, total = ModelFolder(path, {}, declared=declared_entries(path), pipelines=declared_pipelines(path)), 0
    folder.sentence_classes += own_classes(path)
    for file in sorted(path.glob("*.py")):
        content = read_bytes(file, path, LARGEST, PYTHON)
        total += len(content)
        if total > ALL_FILES:
            raise UserError(f"{path}: more than {ALL_FILES // 10**6} MB of Python files; keep only the model's")
        try:
            module = parse_module(file, content)
        except UserError as error:
            if unreadable is None:
                raise
            unreadable[file.name] = str(error)
            continue
        folder.modules[file.stem] = module
        for node in _definitions(module.tree):
            folder.classes.setdefault(node.name, (module, node))
    if len(folder.classes) > MOST_CLASSES:
        raise UserError(f"{path}: more than {MOST_CLASSES} classes; keep only the model's code in its folder")
    return folder


def read_text(file: Path, directory: Path, limit: int, cure: str) -> str:
    """A text file of a folder that may be a stranger's.

    Raises:
        UserError: it is a link out of the folder, not a regular file, larger than ``limit`` bytes, or not UTF-8.
    """
    try:
        return read_bytes(file, directory, limit, cure).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except ValueError as error:
        raise UserError(f"{file}: {error}; {cure}") from None


def read_bytes(file: Path, directory: Path, limit: int, cure: str) -> bytes:
    """A file of a folder that may be a stranger's.

    Raises:
        UserError: it is a link out of the folder, not a regular file, or larger than ``limit`` bytes.
    """
    if file.is_symlink() and leads_out(file, directory):
        raise outside(file)
    if not file.is_file():
        raise UserError(f"{file}: not a regular file; {cure}")
    size = file.stat().st_size
    if size > limit:
        raise UserError(f"{file}: {size / 1e6:.1f} MB, and {limit / 1e6:g} MB is the limit here; {cure}")
    return file.read_bytes()


def outside(path: Path) -> UserError:
    """What is said of a link to a file that does not belong to the folder."""
    return UserError(f"{path}: links out of the folder; put the file itself there")


def parse_module(file: Path, content: bytes) -> Module:
    """A Python file as Python reads it: in the encoding that it declares, which can make another text of it.

    Raises:
        UserError: it is not Python, or too deep for later steps to walk.
    """
    if content.startswith(codecs.BOM_UTF8):
        raise UserError(f"{file}: begins with a byte order mark, which the loader refuses; save it without one")
    try:
        source = decode_python(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes are the author's matter
            tree = parse(content, file.name, own=True)
    except SyntaxError as error:
        raise UserError(f"{file}:{error.lineno}: {error.msg}; this file is not valid Python") from None
    except (ValueError, RecursionError, MemoryError) as error:  # Unreadable is one
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise UserError(f"{file}: {reason}; {PYTHON}") from None
    _check_depth(file, tree)
    return Module(file.stem, file, source, tree)


def _check_depth(file: Path, tree: ast.Module) -> None:
    if depth(tree) <= DEEPEST:
        return
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in below(node)]
    line = next((n.lineno for n in level if hasattr(n, "lineno")), 1)
    raise UserError(f"{file}:{line}: nested more than {DEEPEST} levels deep; {PYTHON}")


def _definitions(tree: ast.Module) -> list[ast.ClassDef]:
    """Classes at the top of a module, those in its conditions and guards included."""
    classes: list[ast.ClassDef] = []
    queue = collections.deque(tree.body)
    while queue:
        node = queue.popleft()
        if isinstance(node, ast.ClassDef):
            classes.append(node)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            queue += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            queue += [child for handler in getattr(node, "handlers", ()) for child in handler.body]
    return classes


def code_digest(sources: dict[str, str]) -> str:
    """A digest of all code files, each read with a blank CODE_DIGEST.

    It is in the configuration file because transformers 5 shares a configuration module between two local
    folders whose configuration files are equal, and then runs the first folder's model code for the second.
    """
    digest = hashlib.sha256()
    for name in sorted(sources):
        blank = DIGEST_LINE.sub('CODE_DIGEST = ""', sources[name])
        digest.update(f"{name}\0{len(blank)}\0{blank}".encode())
    return f"sha256:{digest.hexdigest()}"
