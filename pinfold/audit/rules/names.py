"""P09: names of transformers, its modules and members, that some supported release lacks."""

import ast
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeGuard

from pinfold.audit.finding import Finding
from pinfold.audit.reachable import is_self_attribute, is_try, string
from pinfold.common.trees import below, every, walk
from pinfold.folder.model_folder import ModelFolder, Module
from pinfold.folder.releases import (
    MEMBER,
    OLDEST,
    RELEASES,
    REPLACEMENTS,
    exists,
    release_ranges,
    releases_from,
    releases_of_modules,
    releases_of_names,
    suggest,
)

MISSING_IMPORT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
MISSING_ATTRIBUTE = {"AttributeError", "Exception", "BaseException"}
LEAVES = (ast.Name, ast.Constant, ast.alias)  # take nothing, and have no parts
CACHE = re.compile(r"past|cache", re.IGNORECASE)


def symbols(
    folder: ModelFolder,
    files: Iterable[Module],
    lowest: str = OLDEST,
    stops: Callable[[Module, str], str] = lambda module, name: "",
) -> Iterator[Finding]:
    """P09: names of transformers that some release from the lowest one on lacks, unless the code allows for that.

    It does so with try/except, with hasattr, or by asking for the version. What an ``except`` holds is judged by the
    releases in which its ``try`` fails. Members of PreTrainedModel and of caches are judged where the receiver is
    plain: ``self`` in a model class, a variable that is named after a cache.

    Args:
        stops: what fails for certain where a file's member is missing, a case; "" where a load decides.
    """
    known = _Known(folder)
    for module in files:
        seen: set[tuple[str, str]] = set()
        for line, place, name, missing in sorted(
            _Uses(folder, module, known, frozenset(releases_from(lowest))).missing()
        ):
            if (place, name) in seen:
                continue
            seen.add((place, name))
            symbol = f"{place.removeprefix(MEMBER)}.{name}" if place.startswith(MEMBER) else name
            if f"{place}.{name}" in releases_of_modules() and (place == "transformers" or name not in REPLACEMENTS):
                symbol = f"{place}.{name}"
            other = suggest(place, name, lowest)
            advice = f"Use {other}." if other else "Guard the import with try/except ImportError."
            if not other and place.startswith(MEMBER):
                advice = "Use code of your own."
            words = (
                f"{module.file}:{line}: {symbol} does not exist in transformers {release_ranges(missing)}. {advice}"
            )
            case = stops(module, name) if place.startswith(MEMBER) else ""
            yield Finding("P09", words, module.file, line, releases=missing, case=case)


class _Known:
    """Names that the folder gives to its own classes and objects, whatever transformers calls so."""

    def __init__(self, folder: ModelFolder):
        self.names: set[str] = set()
        for module in folder.modules.values():
            functions = every(module.tree, ast.FunctionDef, ast.AsyncFunctionDef)
            self.names.update(function.name for function in functions)
            attributes = every(module.tree, ast.Attribute)
            self.names.update(each.attr for each in attributes if isinstance(each.ctx, ast.Store))
            for call in every(module.tree, ast.Call):  # register_buffer("x", ...), setattr(self, "x", ...)
                self.names.update(word for argument in call.args[:2] if (word := string(argument)) is not None)
            for cls in every(module.tree, ast.ClassDef):
                targets = (t for s in cls.body for t in getattr(s, "targets", [getattr(s, "target", None)]))
                self.names.update(target.id for target in targets if isinstance(target, ast.Name))


@dataclass(frozen=True)
class _Scope:
    """Where a node is.

    Args:
        imports: the releases in which an import there is run and not guarded. attributes: the same for an attribute.
        cls: the model class around it.
    """

    imports: frozenset[str]
    attributes: frozenset[str]
    cls: str = ""

    def within(self, releases: frozenset[str]) -> "_Scope":
        """Code that runs in these releases only."""
        return replace(self, imports=self.imports & releases, attributes=self.attributes & releases)

    def guarded(self, imports: bool, attributes: bool) -> "_Scope":
        """Code around which the errors of an import, or of an attribute, are caught."""
        nothing: frozenset[str] = frozenset()
        return replace(
            self,
            imports=nothing if imports else self.imports,
            attributes=nothing if attributes else self.attributes,
        )


class _Uses:
    """Everything that one file takes from transformers, with the releases that lack it."""

    def __init__(self, folder: ModelFolder, module: Module, known: _Known, releases: frozenset[str]):
        self.folder = folder
        self.module = module
        self.known = known
        self.releases = releases
        self.aliases = module_aliases(module)
        self.conditions = version_names(module)
        self.models: dict[ast.AST, str] = {
            node: name for name, (_, node) in folder.classes.items() if folder.kind(name) == "model"
        }

    def missing(self) -> Iterator[tuple[int, str, str, tuple[str, ...]]]:
        """(line, module or "member Class", name, releases without it)."""
        pending: list[tuple[ast.AST, _Scope]] = [(self.module.tree, _Scope(self.releases, self.releases))]
        while pending:
            node, scope = pending.pop()
            loaded = isinstance(node, ast.Attribute)
            unguarded = scope.attributes if loaded else scope.imports
            if loaded or isinstance(node, (ast.Import, ast.ImportFrom)):
                for place, name in self.taken(node, scope.cls):
                    having = _releases_with(place, name, loaded)
                    if lacking := tuple(r for r in RELEASES if r in unguarded and r not in having):
                        yield getattr(node, "lineno", 0), place, name, lacking
            pending += self.parts(node, scope)

    def parts(self, node: ast.AST, scope: _Scope) -> list[tuple[ast.AST, _Scope]]:
        """The parts of a node that run in some release, each with its scope."""
        if isinstance(node, (ast.If, ast.IfExp)) and _is_type_checking(node.test):
            return [(child, scope) for child in (node.orelse if isinstance(node, ast.If) else [node.orelse])]
        if isinstance(node, (ast.If, ast.IfExp, ast.BoolOp)) and asks_for_version(node, self.conditions):
            return []  # the file looks first, on both sides
        if is_try(node):
            return self.parts_of_try(node, scope)
        if isinstance(node, ast.With) and (caught := _suppressed(node)):
            scope = scope.guarded(bool(caught & MISSING_IMPORT), bool(caught & MISSING_ATTRIBUTE))
        elif isinstance(node, ast.ClassDef):
            scope = replace(scope, cls=self.models.get(node, ""))
        elif isinstance(node, ast.FunctionDef) and scope.cls and (called := self.called_in(node, scope.cls)):
            scope = scope.within(frozenset(called))
        return [(child, scope) for child in below(node) if not isinstance(child, LEAVES)]

    def called_in(self, method: ast.FunctionDef, cls: str) -> set[str]:
        """The releases whose base class has a method of this name, and so calls it; none where the folder calls it.

        Up to 4.51 PreTrainedModel has what generate calls; later it is GenerationMixin, which an Auto class adds.
        """
        having = set(releases_of_names("members", "PreTrainedModel").get(method.name, ()))
        if self.owner(cls, method.name) == "GenerationMixin":
            having |= set(releases_of_names("members", "GenerationMixin").get(method.name, ()))
        return having if having and having < self.releases and method.name not in self.own_calls else set()

    @functools.cached_property
    def own_calls(self) -> set[str]:
        """Members of self that the file names."""
        return {node.attr for node in walk(self.module.tree) if is_self_attribute(node)}

    def parts_of_try(self, node: ast.Try, scope: _Scope) -> list[tuple[ast.AST, _Scope]]:
        """A handler of a failing import runs where the import fails, and the ``else`` everywhere else."""
        failing = self.failing(node.body)
        catches_import = _catches(node.handlers, MISSING_IMPORT)
        body = scope.guarded(catches_import, _catches(node.handlers, MISSING_ATTRIBUTE))
        parts: list[tuple[ast.AST, _Scope]] = [(child, body) for child in node.body]
        for handler in node.handlers:
            answers_import = failing and _catches([handler], MISSING_IMPORT)
            in_handler = scope.within(failing if answers_import else self.releases)
            parts += [(child, in_handler) for child in handler.body]
        succeeded = scope.within(self.releases - failing if not body.imports else self.releases)
        parts += [(child, succeeded) for child in node.orelse]
        return [*parts, *((child, scope) for child in node.finalbody)]

    def failing(self, body: list[ast.stmt]) -> frozenset[str]:
        """Releases in which an import at the top of a ``try`` fails."""
        failing: set[str] = set()
        for statement in body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                for place, name in self.taken(statement, ""):
                    failing |= self.releases.difference(_releases_with(place, name))
        return frozenset(failing)

    def taken(self, node: ast.AST, cls: str) -> Iterator[tuple[str, str]]:
        """(module or "member Class", name) that a node takes from transformers."""
        if isinstance(node, ast.Import):
            yield from (_as_name(alias.name) for alias in node.names if _ours(alias.name) and "." in alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            named = [alias.name for alias in node.names if alias.name != "*"]
            if node.module not in releases_of_modules() or not named:
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
            if (
                module in releases_of_modules()
                and f"{module}.{name}" not in releases_of_modules()
                and name not in self.probed
            ):
                yield module, name
        elif not owner or name in self.known.names or name in self.probed or name.startswith("__"):
            return
        elif owner == "self":
            if cls and (owner := self.owner(cls, name)):
                yield f"{MEMBER}{owner}", name
        elif (owner == "DynamicCache" or CACHE.search(owner.rsplit(".", 1)[-1])) and not name.startswith("_"):
            yield f"{MEMBER}DynamicCache", name

    def owner(self, cls: str, name: str) -> str:
        """The class of transformers from which a model has a member; "" where that is not known.

        An Auto class adds GenerationMixin to remote code that has a generate or prepare_inputs_for_generation of its
        own (add_generation_mixin_to_remote_model in models/auto/auto_factory.py, 4.48 to 5.24). A model of
        transformers' own may have set what PreTrainedModel has later: lm_head, embed_tokens.
        """
        bases = {base for owner in self.folder.lineage(cls) for base, _ in self.folder.bases(owner)}
        own, stock = ("generate", "prepare_inputs_for_generation"), self.folder.is_stock(cls)
        generates = stock or "GenerationMixin" in bases or any(self.folder.method(cls, each) for each in own)
        if generates and name in releases_of_names("members", "GenerationMixin"):
            return "GenerationMixin"
        later = RELEASES[-1] in releases_of_names("members", "PreTrainedModel").get(name, RELEASES)
        return "" if stock and later else "PreTrainedModel"

    @functools.cached_property
    def probed(self) -> set[str]:
        """Names that the file asks for with hasattr or getattr: it knows that they may be missing."""
        return {
            node.args[1].value
            for node in every(self.module.tree, ast.Call)
            if isinstance(node.func, ast.Name)
            and node.func.id in ("hasattr", "getattr")
            and len(node.args) >= 2
            and isinstance(node.args[1], ast.Constant)
            and isinstance(node.args[1].value, str)
        }


def _releases_with(place: str, name: str, loaded: bool = False) -> Iterable[str]:
    """Releases that have it; all of them for what the table leaves out, and for what needs no finding.

    Args:
        loaded: the module was imported, which is judged where that is written.
    """
    if place.startswith(MEMBER):
        return releases_of_names("members", place.removeprefix(MEMBER)).get(name, RELEASES)
    if place not in releases_of_modules():
        return RELEASES
    without = (release for release in RELEASES if loaded and release not in releases_of_modules()[place])
    return {*exists(place, name), *without}


def _as_name(module: str) -> tuple[str, str]:
    """A module as a name of the nearest package that the table knows, which is how it knows what exists."""
    package, _, last = module.rpartition(".")
    while package not in releases_of_modules() and "." in package:
        package, _, last = package.rpartition(".")
    return package, last


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _ours(module: str | None) -> TypeGuard[str]:
    """Whether it is transformers, or a module of it."""
    return (module or "").split(".")[0] == "transformers"


def module_aliases(module: Module) -> dict[str, str]:
    """Names for modules of transformers in this file: name -> module."""
    aliases: dict[str, str] = {}
    for node in walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in (a for a in node.names if _ours(a.name)):
                aliases[alias.asname or "transformers"] = alias.name if alias.asname else "transformers"
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in releases_of_modules():
                    aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def _is_type_checking(test: ast.expr) -> bool:
    return _dotted(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def version_names(module: Module) -> set[str]:
    """Names at the top of a file that hold what was asked of the version."""
    return {
        target.id
        for node in module.tree.body
        if isinstance(node, ast.Assign) and asks_for_version(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def asks_for_version(node: ast.AST, asked: set[str]) -> bool:
    """Whether a condition asks for the version, or for whether something is there."""
    node = getattr(node, "test", node)
    for part in walk(node):
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
