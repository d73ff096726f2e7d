"""P09: names of transformers, its modules and members, that some supported release lacks."""

import ast
import functools
import re
from collections.abc import Iterable, Iterator

from pinfold.audit.finding import Finding
from pinfold.folder.model_folder import ModelFolder, Module
from pinfold.folder.releases import (
    FLOOR,
    MEMBER,
    RELEASES,
    REPLACEMENTS,
    _flat,
    _from,
    _names,
    describe,
    exists,
    suggest,
)

MISSING_IMPORT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


MISSING_ATTRIBUTE = {"AttributeError", "Exception", "BaseException"}


CACHE = re.compile(r"past|cache", re.IGNORECASE)


def symbols(folder: ModelFolder, files: Iterable[Module], floor: str = FLOOR) -> Iterator[Finding]:
    """P09: names of transformers that are missing in a release from the floor on, unless the code allows for that.

    It does so with try/except, with hasattr, or by asking for the version. What an ``except`` holds is judged by the
    releases in which its ``try`` fails. Members of PreTrainedModel and of caches are judged where the receiver is
    plain: ``self`` in a model class, a variable that is named after a cache.
    """
    known = _Known(folder)
    for module in files:
        seen: set[tuple[str, str]] = set()
        for line, place, name, missing in sorted(_Uses(folder, module, known, frozenset(_from(floor))).found()):
            if (place, name) in seen:
                continue
            seen.add((place, name))
            symbol = f"{place.removeprefix(MEMBER)}.{name}" if place.startswith(MEMBER) else name
            if f"{place}.{name}" in _flat("modules") and (place == "transformers" or name not in REPLACEMENTS):
                symbol = f"{place}.{name}"
            other = suggest(place, name, floor)
            advice = f"Use {other}." if other else "Guard the import with try/except ImportError."
            if not other and place.startswith(MEMBER):
                advice = "Use code of your own."
            words = f"{module.file}:{line}: {symbol} does not exist in transformers {describe(missing)}. {advice}"
            yield Finding("P09", words, module.file, line, releases=missing)


class _Known:
    """Names that the folder gives to its own classes and objects, whatever transformers calls so."""

    def __init__(self, folder: ModelFolder):
        self.names: set[str] = set()
        for module in folder.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self.names.add(node.name)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    self.names.add(node.attr)
                elif isinstance(node, ast.Call) and node.args:  # register_buffer("x", ...), setattr(self, "x", ...)
                    words = [
                        a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)
                    ]
                    self.names.update(words)
                elif isinstance(node, ast.ClassDef):
                    for item in node.body:
                        for target in getattr(item, "targets", [getattr(item, "target", None)]):
                            self.names |= {target.id} if isinstance(target, ast.Name) else set()


class _Uses:
    """Everything that one file takes from transformers, with the releases in which it is not there."""

    def __init__(self, folder: ModelFolder, module: Module, known: _Known, releases: frozenset[str]):
        self.folder, self.module, self.known, self.releases = folder, module, known, releases
        self.aliases = _aliases(module)
        self.asked = {
            target.id
            for node in module.tree.body
            if isinstance(node, ast.Assign) and _asks(node.value, set())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.models = {node: name for name, (_, node) in folder.classes.items() if folder.kind(name) == "model"}

    def found(self) -> Iterator[tuple[int, str, str, tuple[str, ...]]]:
        """(line, module or "member Class", name, releases without it).

        Args of the walk: a node, the releases in which it runs unguarded as an import and as an attribute, and the
        model class around it.
        """
        queue: list[tuple[ast.AST, frozenset, frozenset, str]] = [
            (child, self.releases, self.releases, "") for child in self.module.tree.body
        ]
        nothing: frozenset[str] = frozenset()
        while queue:
            node, imports, attributes, cls = queue.pop()
            if isinstance(node, (ast.If, ast.IfExp)) and _is_type_checking(node.test):
                orelse = node.orelse if isinstance(node.orelse, list) else [node.orelse]
                queue += [(child, imports, attributes, cls) for child in orelse]
                continue
            if isinstance(node, (ast.If, ast.IfExp, ast.BoolOp)) and _asks(node, self.asked):
                continue
            if isinstance(node, (ast.Try, getattr(ast, "TryStar", ast.Try))):
                failing = self.failing(node.body)
                inner = (nothing if _catches(node.handlers, MISSING_IMPORT) else imports,)
                inner += (nothing if _catches(node.handlers, MISSING_ATTRIBUTE) else attributes,)
                queue += [(child, *inner, cls) for child in node.body]
                for handler in node.handlers:
                    there = failing if failing and _catches([handler], MISSING_IMPORT) else self.releases
                    queue += [(child, imports & there, attributes & there, cls) for child in handler.body]
                rest = self.releases - failing if inner[0] == nothing else self.releases
                queue += [(child, imports & rest, attributes & rest, cls) for child in node.orelse]
                queue += [(child, imports, attributes, cls) for child in node.finalbody]
                continue
            if isinstance(node, ast.With) and (caught := _suppressed(node)):
                imports = nothing if caught & MISSING_IMPORT else imports
                attributes = nothing if caught & MISSING_ATTRIBUTE else attributes
            for place, name in self.taken(node, cls):
                loaded = isinstance(node, ast.Attribute)
                scope, there = attributes if loaded else imports, _there(place, name, loaded)
                if missing := tuple(r for r in RELEASES if r in scope and r not in there):
                    yield node.lineno, place, name, missing
            if isinstance(node, ast.ClassDef):
                cls = self.models.get(node, "")
            queue += [(child, imports, attributes, cls) for child in ast.iter_child_nodes(node)]

    def failing(self, body: list[ast.stmt]) -> frozenset[str]:
        """Releases in which an import at the top of a ``try`` fails."""
        found = {
            release
            for statement in body
            if isinstance(statement, (ast.Import, ast.ImportFrom))
            for place, name in self.taken(statement, "")
            for release in self.releases.difference(_there(place, name))
        }
        return frozenset(found)

    def taken(self, node: ast.AST, cls: str) -> Iterator[tuple[str, str]]:
        """(module or "member Class", name) that a node takes from transformers."""
        if isinstance(node, ast.Import):
            yield from (_as_name(alias.name) for alias in node.names if _ours(alias.name) and "." in alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            named = [alias.name for alias in node.names if alias.name != "*"]
            if node.module not in _flat("modules") or not named:
                yield from [_as_name(node.module)] if "." in node.module else []
            else:
                yield from ((node.module, name) for name in named)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield from self.attribute(node, cls)

    def attribute(self, node: ast.Attribute, cls: str) -> Iterator[tuple[str, str]]:
        """The same, for ``owner.name``: modules, ``self`` of a model, and caches."""
        owner, name = _dotted(node.value), node.attr
        if owner in self.aliases or owner.split(".")[0] in self.aliases:
            first, _, rest = owner.partition(".")
            module = self.aliases.get(owner) or ".".join([self.aliases[first], *([rest] if rest else [])])
            if module in _flat("modules") and f"{module}.{name}" not in _flat("modules") and name not in self.probed:
                yield module, name
        elif not owner or name in self.known.names or name in self.probed or name.startswith("__"):
            return
        elif owner == "self":
            generates = cls and any(base == "GenerationMixin" for base, _ in self.bases(cls))
            if cls and not (generates and name in _names("members", "GenerationMixin")):
                yield f"{MEMBER}PreTrainedModel", name
        elif (owner == "DynamicCache" or CACHE.search(owner.rsplit(".", 1)[-1])) and not name.startswith("_"):
            yield f"{MEMBER}DynamicCache", name

    def bases(self, cls: str) -> list[tuple[str, str]]:
        return [base for owner in self.folder.lineage(cls) for base in self.folder.bases(owner)]

    @functools.cached_property
    def probed(self) -> set[str]:
        """Names that the file asks for with hasattr or getattr: it knows that they may be missing."""
        return {
            node.args[1].value
            for node in ast.walk(self.module.tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("hasattr", "getattr")
            and len(node.args) >= 2
            and isinstance(node.args[1], ast.Constant)
            and isinstance(node.args[1].value, str)
        }


def _there(place: str, name: str, loaded: bool = False) -> Iterable[str]:
    """Releases that have it; all of them for what the table leaves out, and for what needs no word of its own.

    Args:
        loaded: the module was imported, which is judged where that is written.
    """
    if place.startswith(MEMBER):
        return _names("members", place.removeprefix(MEMBER)).get(name, RELEASES)
    if place not in _flat("modules"):
        return RELEASES
    without = (release for release in RELEASES if loaded and release not in _flat("modules")[place])
    return {*exists(place, name), *without}


def _as_name(module: str) -> tuple[str, str]:
    """A module as a name of the nearest package that the table knows, which is how it knows what exists."""
    package, _, last = module.rpartition(".")
    while package not in _flat("modules") and "." in package:
        package, _, last = package.rpartition(".")
    return package, last


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _ours(module: str | None) -> bool:
    return (module or "").split(".")[0] == "transformers"


def _aliases(module: Module) -> dict[str, str]:
    """What stands for a module of transformers in this file: name -> module."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in (a for a in node.names if _ours(a.name)):
                found[alias.asname or "transformers"] = alias.name if alias.asname else "transformers"
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in _flat("modules"):
                    found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _is_type_checking(test: ast.expr) -> bool:
    return _dotted(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _asks(node: ast.AST, asked: set[str]) -> bool:
    """Whether a condition asks for the version, or for whether something is there."""
    node = getattr(node, "test", node)
    for part in ast.walk(node):
        word = part.id if isinstance(part, ast.Name) else getattr(part, "attr", "")
        if word in asked or "version" in word.lower() or word in ("hasattr", "find_spec"):
            return True
    return False


def _catches(handlers: list[ast.ExceptHandler], errors: set[str]) -> bool:
    for handler in handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(t is None or _dotted(t).rsplit(".", 1)[-1] in errors for t in types):
            return True
    return False


def _suppressed(node: ast.With) -> set[str]:
    """Exceptions that ``with suppress(...)`` swallows."""
    calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
    named = [call for call in calls if _dotted(call.func).rsplit(".", 1)[-1] == "suppress"]
    return {_dotted(argument).rsplit(".", 1)[-1] for call in named for argument in call.args}
