"""Read the sources of installed libraries without importing them: which names a module holds, and what they stand for.

Used by scripts/library_names.py.
"""

import ast
import importlib.util
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Tests and programs beside a library; nobody's model code imports them.
LEFT_OUT = re.compile(r"(^|/)(tests?|testing/_internal|idlelib|lib2to3|turtledemo|site-packages|dist-packages)/")


@dataclass
class Source:
    """One file of a library.

    Args:
        name: dotted. package: it is an __init__.py.
        held: name at its top -> the dotted name that it stands for; its own definitions stand for themselves.
        stars: modules of which it imports everything.
        functions: name in the module ("f", "Class.f") -> its node.
        classes: name -> its base classes, as dotted names.
        members: class -> name in it -> the dotted name that it stands for ("loads = pickle.loads").
        instances: name of an object that is made at its top -> what makes it ("api = HfApi()").
    """

    name: str
    package: bool
    held: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    public: set[str] = field(default_factory=set)
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    classes: dict[str, list[str]] = field(default_factory=dict)
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)

    def absolute(self, level: int, module: str) -> str:
        """The module that a relative import means."""
        if not level:
            return module
        parts = self.name.split(".")
        above = parts[: len(parts) - level + self.package]
        return ".".join([*above, *([module] if module else [])])


def roots(libraries: list[str]) -> Iterator[tuple[str, str, Path]]:
    """(library, version, directory or file) of each one that is installed; "python" is the standard library."""
    for library in libraries:
        if library == "python":
            yield library, sysconfig.get_python_version(), Path(sysconfig.get_paths()["stdlib"])
            continue
        spec = importlib.util.find_spec(library)
        if spec is None or not spec.origin:
            continue
        distributions = metadata.packages_distributions().get(library, [library])
        yield library, metadata.version(distributions[0]), Path(spec.origin).parent


def read(library: str, root: Path) -> Iterator[Source]:
    """Every module of a library."""
    prefix = "" if library == "python" else f"{library}/"
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        if LEFT_OUT.search(relative) or "-" in relative:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        name = (prefix + relative).removesuffix(".py").replace("/", ".")
        package = name.endswith("__init__")
        source = Source(name.removesuffix(".__init__"), package)
        _read_body(tree.body, source)
        yield source


def _read_body(body: list[ast.stmt], source: Source) -> None:
    """What the statements at the top of a module bind, in conditions and guards as well."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                source.held[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            _read_import(node, source)
        elif isinstance(node, FUNCTIONS):
            _define(source, node.name, node)
        elif isinstance(node, ast.ClassDef):
            _read_class(node, source, node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            _read_assignment(node, source)
        for part in ("body", "orelse", "finalbody"):
            if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
                _read_body(getattr(node, part, []), source)
        for handler in getattr(node, "handlers", []):
            _read_body(handler.body, source)


def _read_import(node: ast.ImportFrom, source: Source) -> None:
    module = source.absolute(node.level, node.module or "")
    for alias in node.names:
        if alias.name == "*":
            source.stars.append(module)
        else:
            source.held.setdefault(alias.asname or alias.name, f"{module}.{alias.name}")


def _define(source: Source, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    source.functions[name] = node
    if "." not in name:
        source.held[name] = f"{source.name}.{name}"


def _read_class(node: ast.ClassDef, source: Source, name: str) -> None:
    source.held[name.split(".")[0]] = f"{source.name}.{name.split('.')[0]}"
    bases = (dotted(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases)
    source.classes[name] = [base for base in bases if base]
    for inner in node.body:
        if isinstance(inner, FUNCTIONS):
            source.functions[f"{name}.{inner.name}"] = inner
        elif isinstance(inner, ast.ClassDef):
            _read_class(inner, source, f"{name}.{inner.name}")
        elif isinstance(inner, ast.Assign) and (value := dotted(_unwrapped(inner.value))):
            names = [target.id for target in inner.targets if isinstance(target, ast.Name)]
            source.members.setdefault(name, {}).update(dict.fromkeys(names, value))


def _unwrapped(node: ast.expr) -> ast.expr:
    """``staticmethod(f)`` as f."""
    if isinstance(node, ast.Call) and dotted(node.func) in ("staticmethod", "classmethod") and len(node.args) == 1:
        return node.args[0]
    return node


def _read_assignment(node: ast.Assign | ast.AnnAssign, source: Source) -> None:
    """``name = module.thing``, the parts of lazy packages, and ``__all__``."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        if not isinstance(target, ast.Name):
            continue
        if target.id == "__all__":
            source.public |= {c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant)} - {None}
        elif isinstance(node.value, ast.Dict) and source.package:
            _read_lazy_parts(node.value, source)
        elif value := dotted(node.value):
            source.held.setdefault(target.id, f"={value}")
        elif isinstance(node.value, ast.Call) and (maker := dotted(node.value.func)):
            source.held.setdefault(target.id, f"{source.name}.{target.id}")
            source.instances.setdefault(target.id, maker)


def _read_lazy_parts(table: ast.Dict, source: Source) -> None:
    """``{"part": ["name", ...]}`` in a package that finds its names when they are asked for."""
    for key, names in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(names, (ast.List, ast.Tuple)):
            for name in names.elts:
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    source.held.setdefault(name.value, f"{source.name}.{key.value}.{name.value}")


def dotted(node: ast.AST | None) -> str:
    """``a.b.c`` as text; "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


class Names:
    """What every dotted name of the libraries stands for."""

    def __init__(self, sources: dict[str, Source]):
        self.sources = sources
        self.members = {f"{s.name}.{cls}": (s, held) for s in sources.values() for cls, held in s.members.items()}
        self._resolved: dict[str, str] = {}

    def resolve(self, path: str, depth: int = 0) -> str:
        """The defining name of a dotted path, as far as it is known."""
        if path in self._resolved or depth > 12:
            return self._resolved.get(path, path)
        self._resolved[path] = path  # a circle ends here
        parts = path.split(".")
        current = parts[0]
        for part in parts[1:]:
            current = self._step(current, part, depth)
        self._resolved[path] = current
        return current

    def _step(self, owner: str, name: str, depth: int) -> str:
        source = self.sources.get(owner)
        if source is None:
            return self._member(owner, name, depth)
        if name in source.held:
            value = source.held[name]
            if value == f"{owner}.{name}":
                return value
            return self.resolve(self.local(source, value[1:]) if value.startswith("=") else value, depth + 1)
        if f"{owner}.{name}" in self.sources:
            return f"{owner}.{name}"
        for star in source.stars:
            other = self.sources.get(star)
            if other is not None and (name in other.held or other.stars) and not name.startswith("__"):
                there = self._step(star, name, depth + 1) if depth < 12 else ""
                if (there and there != f"{star}.{name}") or name in other.held:
                    return there
        return f"{owner}.{name}"

    def _member(self, owner: str, name: str, depth: int) -> str:
        """A name in a class, which can stand for something else."""
        source, held = self.members.get(owner, (None, {}))
        if source is None or name not in held or held[name].split(".")[0] == name:
            return f"{owner}.{name}"
        return self.resolve(self.local(source, held[name]), depth + 1)

    def local(self, source: Source, path: str, depth: int = 0) -> str:
        """What a name means at the top of a module."""
        first, _, rest = path.partition(".")
        if first in source.held:
            value = source.held[first]
            if value.startswith("="):
                if value[1:].split(".")[0] == first or depth > 12:  # a circle ends here
                    return path
                value = self.local(source, value[1:], depth + 1)
            return f"{value}.{rest}" if rest else value
        for star in source.stars:
            other = self.sources.get(star)
            if other is not None and first in other.held:
                return f"{star}.{path}"
        return f"builtins.{path}" if first in BUILTINS else path


BUILTINS = frozenset(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
