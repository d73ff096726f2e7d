"""Follow names from a class to every statement that it needs, through the user's own modules."""

import ast
import builtins
import collections
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.common.errors import UserError
from pinfold.flatten import names
from pinfold.flatten.sources import MAIN, Source, Sources

Import = ast.Import | ast.ImportFrom


@dataclass(frozen=True)
class Place:
    """A name that a module of the user defines."""

    module: str
    name: str


@dataclass(frozen=True)
class OwnModule:
    """A name that stands for a module of the user."""

    module: str


@dataclass(frozen=True)
class External:
    """A name of a package of others: the module and the statement that import it, and which of its names it is.

    Args:
        alias: its position in the statement; None where that is ``import *``, and ``name`` says it.
    """

    module: str
    statement: int
    alias: int | None
    name: str = ""


Meaning = Place | OwnModule | External | None


@dataclass
class Collection:
    """The statements that have to be published.

    Args:
        taken: module -> positions of its statements. left_out: lines that say what may matter and is not taken.
    """

    sources: Sources
    taken: dict[str, set[int]] = field(default_factory=lambda: collections.defaultdict(set))
    left_out: list[str] = field(default_factory=list)
    _reads: dict[tuple[str, int], set[Place]] = field(default_factory=dict)
    _pending: list[Place] = field(default_factory=list)

    def source(self, module: str) -> Source:
        """The source of a module that is known to be the user's."""
        source = self.sources.get(module)
        assert source is not None, module
        return source

    def require(self, place: Place) -> None:
        """Take what a name needs, and what that needs.

        Raises:
            UserError: something of it cannot be published; one line.
        """
        self._pending.append(place)
        while self._pending:
            needed = self._pending.pop()
            for position in self.defining(needed):
                self._take(needed.module, position)

    def require_side_effects(self, start: set[str]) -> None:
        """Take the statements that change what was taken: filled tables, and what a decorator registers in them.

        Args:
            start: modules that are imported first; those that they import run as well.
        """
        again = True
        while again:
            again = False
            for module in self._imported(start):
                for position, node in enumerate(self.source(module).tree.body):
                    if position in self.taken[module] or isinstance(node, Import) or names.is_main_guard(node):
                        continue
                    if self._acts_on_taken(module, node):
                        if self.source(module).strict:
                            self._leave_out(module, node)
                            continue
                        self._take(module, position)
                        while self._pending:
                            self.require(self._pending.pop())
                        again = True

    def meaning(self, module: str, name: str, seen: frozenset = frozenset()) -> Meaning:
        """What a name of a module stands for; followed through imports to where it is defined."""
        source = self.sources.get(module)
        if source is None or (module, name) in seen:
            return None
        seen |= {(module, name)}
        if positions := _bindings(source).get(name):
            node = source.tree.body[positions[-1]]
            return self._imported_meaning(source, positions[-1], node, name, seen) or Place(module, name)
        for position in reversed(range(len(source.tree.body))):
            node = source.tree.body[position]
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                target = source.absolute(node)
                if not self.sources.is_own(target):
                    if not hasattr(builtins, name):
                        return External(module, position, None, name)
                elif not name.startswith("_") and (there := self.meaning(target, name, seen)):
                    return there
        submodule = f"{module}.{name}"
        return OwnModule(submodule) if module != MAIN and self.sources.get(submodule) else None

    def _imported_meaning(
        self, source: Source, position: int, node: ast.stmt, name: str, seen: frozenset = frozenset()
    ) -> Meaning:
        """What an import at the top of a module binds a name to; None where the statement is no import."""
        if not isinstance(node, Import):
            return None
        for index, alias in enumerate(node.names):
            if (alias.asname or alias.name.split(".")[0 if isinstance(node, ast.Import) else -1]) == name:
                return self.of_alias(source, node, alias, seen) or External(source.name, position, index)
        return None

    def of_alias(self, source: Source, node: Import, alias: ast.alias, seen: frozenset = frozenset()) -> Meaning:
        """What one name of an import stands for; None where it is imported from a package of others.

        Raises:
            UserError: a module of the user does not have it.
        """
        if isinstance(node, ast.Import):
            module = alias.name if alias.asname else alias.name.split(".")[0]
            return OwnModule(module) if self.sources.get(module) else None
        target = source.absolute(node)
        if not self.sources.is_own(target) and not node.level:
            return None
        there = self.meaning(target, alias.name, seen)
        if there is None and self.sources.get(f"{target}.{alias.name}"):
            return OwnModule(f"{target}.{alias.name}")
        if there is None:
            what = f"has no {alias.name}" if self.sources.get(target) else "is not there as Python source"
            raise UserError(f"{source.where}:{node.lineno}: {ast.unparse(node)}: {target} {what}")
        return there

    def defining(self, place: Place) -> list[int]:
        """The statements that give a name its value, the last that does so surely and those after it."""
        source = self.source(place.module)
        positions: list[int] = []
        for position in reversed(_bindings(source).get(place.name, [])):
            node = source.tree.body[position]
            positions.append(position)
            if names.binds_surely(node) and place.name not in names.used(node):
                break
        return positions

    def _take(self, module: str, position: int) -> None:
        """One statement, and what its names stand for."""
        if position in self.taken[module]:
            return
        source = self.source(module)
        node = source.tree.body[position]
        if source.strict:
            _check_strict(source, node)
        self.taken[module].add(position)
        wanted: set[Place] = set()
        for name in names.used(node):
            wanted |= self._of_name(source, node, name)
        for name in names.quoted(node):
            if isinstance(there := self.meaning(module, name), Place) and self._may_take(there):
                wanted.add(there)
        for inner in inner_imports(node):
            for alias in inner.names:
                if isinstance(there := self.of_alias(source, inner, alias), Place):
                    wanted.add(there)
        wanted |= {chain.place for chain in self.chains(source, node) if isinstance(chain.place, Place)}
        bare = _without_decorators(node)
        self._reads[module, position] = {
            p for n in names.used(bare) if isinstance(p := self.meaning(module, n), Place)
        }
        chains = self.chains(source, bare)
        self._reads[module, position] |= {chain.place for chain in chains if isinstance(chain.place, Place)}
        self._pending += wanted

    def _of_name(self, source: Source, node: ast.stmt, name: str) -> set[Place]:
        there = self.meaning(source.name, name)
        if isinstance(there, Place):
            return {there}
        unknown = there is None and not hasattr(builtins, name) and not name.startswith("__")
        if unknown and source.strict:
            raise UserError(
                f"{source.where}: {_title(node)} uses {name}, which is not defined there; define or import it at the "
                "top level"
            )
        return set()

    def _may_take(self, place: Place) -> bool:
        """Whether a name that only an annotation mentions can be taken without an error."""
        source = self.source(place.module)
        try:
            for position in self.defining(place) if source.strict else ():
                _check_strict(source, source.tree.body[position])
        except UserError:
            return False
        return True

    def chains(self, source: Source, node: ast.AST) -> list["Chain"]:
        """Every ``module.Name`` of the user's modules in a statement.

        Raises:
            UserError: a module is used otherwise than for its names.
        """
        modules = {
            name: there.module
            for name in (names.used(node) if isinstance(node, ast.stmt) else ())
            if isinstance(there := self.meaning(source.name, name), OwnModule)
        }
        for inner in inner_imports(node):
            for alias in inner.names:
                if isinstance(there := self.of_alias(source, inner, alias), OwnModule):
                    modules[alias.asname or alias.name.split(".")[0]] = there.module
        return list(self._chains(source, node, modules)) if modules else []

    def _chains(self, source: Source, node: ast.AST, modules: dict[str, str]) -> Iterator["Chain"]:
        if isinstance(node, ast.Attribute) and (chain := self._chain(node, modules)):
            yield chain
            return
        if isinstance(node, ast.Name) and node.id in modules and isinstance(node.ctx, ast.Load):
            raise UserError(
                f"{source.where}:{node.lineno}: uses the module {modules[node.id]} itself; write "
                f"from {modules[node.id]} import ... with the names that are needed"
            )
        for child in ast.iter_child_nodes(node):
            yield from self._chains(source, child, modules)

    def _chain(self, node: ast.Attribute, modules: dict[str, str]) -> "Chain | None":
        """The shortest part of a.b.C that names a definition."""
        parts: list[ast.Attribute] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id not in modules:
            return None
        module = modules[inner.id]
        for part in parts:
            there = self.meaning(module, part.attr)
            if isinstance(there, (Place, External)):
                return Chain(there, inner.id, part)
            if not isinstance(there, OwnModule):
                return None
            module = there.module
        return None

    def _acts_on_taken(self, module: str, node: ast.stmt) -> bool:
        for name in names.changed(node):
            there = self.meaning(module, name)
            if isinstance(there, Place) and self._is_taken(there) and not _registers(node):
                return True
        return any(
            self._is_read(state, {decorator})
            for name in names.decorators(node)
            if isinstance(decorator := self.meaning(module, name), Place)
            for state in self._written_by(decorator)
        )

    def _is_taken(self, place: Place) -> bool:
        return any(position in self.taken[place.module] for position in self.defining(place))

    def _written_by(self, place: Place, seen: frozenset[Place] = frozenset()) -> set[Place]:
        """What calling a function of the user's changes: itself where it is an object, else tables of its module."""
        if place in seen:
            return set()
        written: set[Place] = set()
        for position in self.defining(place):
            node = self.source(place.module).tree.body[position]
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                written.add(place)
                continue
            meanings = {name: self.meaning(place.module, name) for name in names.used(node)}
            tables = names.changed_inside(node)
            written |= {there for name, there in meanings.items() if name in tables and isinstance(there, Place)}
            for there in meanings.values():
                if isinstance(there, Place) and self._is_function(there):
                    written |= self._written_by(there, seen | {place})
        return written

    def _is_function(self, place: Place) -> bool:
        body = self.source(place.module).tree.body
        return any(isinstance(body[p], (ast.FunctionDef, ast.AsyncFunctionDef)) for p in self.defining(place))

    def _is_read(self, table: Place, writers: set[Place]) -> bool:
        """Whether something that was taken uses a table, those apart that only fill it."""
        own = {(place.module, position) for place in (table, *writers) for position in self.defining(place)}
        return any(table in reads for key, reads in self._reads.items() if key not in own)

    def _imported(self, start: set[str]) -> list[str]:
        """The user's modules that run when these are imported, packages above them included."""
        reached: dict[str, None] = {}
        queue = sorted(start)
        while queue:
            module = queue.pop(0)
            source = self.sources.get(module)
            if source is None or module in reached:
                continue
            reached[module] = None
            queue += [module.rpartition(".")[0]] if "." in module else []
            for node in _top_imports(source.tree):
                if isinstance(node, ast.Import):
                    queue += [alias.name for alias in node.names]
                else:
                    target = source.absolute(node)
                    queue += [target, *(f"{target}.{alias.name}" for alias in node.names)]
        return list(reached)

    def _leave_out(self, module: str, node: ast.stmt) -> None:
        source = self.source(module)
        line = f"{source.where}:{node.lineno}: {ast.unparse(node).splitlines()[0][:80]}"
        if line not in self.left_out:
            self.left_out.append(line)


@dataclass(frozen=True)
class Chain:
    """``module.Name`` in a statement: what it stands for, the name it begins with, and its place in the text."""

    place: Place | External
    start: str
    node: ast.Attribute

    @property
    def name(self) -> str:
        """The name without its module."""
        return self.node.attr


def inner_imports(node: ast.AST) -> list[Import]:
    """Imports inside of a statement: those of functions, conditions and guards."""
    return [part for part in ast.walk(node) if isinstance(part, (ast.Import, ast.ImportFrom)) and part is not node]


def _bindings(source: Source) -> dict[str, list[int]]:
    """Name -> the statements that bind it, in order."""
    if source.bindings is None:
        source.bindings = collections.defaultdict(list)
        for position, node in enumerate(source.tree.body):
            if not names.is_main_guard(node) and not (isinstance(node, ast.ImportFrom) and node.names[0].name == "*"):
                for name in names.bound(node):
                    source.bindings[name].append(position)
    return source.bindings


def _top_imports(tree: ast.AST) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
            continue
        runs_later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.expr))
        if not runs_later and not (isinstance(node, ast.stmt) and names.is_main_guard(node)):
            yield from _top_imports(node)


def _without_decorators(node: ast.stmt) -> ast.stmt:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.decorator_list:
        fields = dict(ast.iter_fields(node)) | {"decorator_list": []}
        return ast.copy_location(type(node)(**fields), node)
    return node


def _registers(node: ast.stmt) -> bool:
    """``X.register_for_auto_class(...)``: written anew."""
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr.startswith("register_")
    )


def _check_strict(source: Source, node: ast.stmt) -> None:
    """
    Raises:
        UserError: a statement of a script or notebook that is more than a definition, an import or a written value.
    """
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and (names.is_constant(node.value) or _is_logger(node.value)):
        return
    if isinstance(node, (ast.If, ast.Try)):
        for inner in _statements(node):
            _check_strict(source, inner)
        return
    if isinstance(node, ast.Pass):
        return
    what = ", ".join(sorted(names.bound(node))) or ast.unparse(node).splitlines()[0][:60]
    raise UserError(
        f"{source.where}:{node.lineno}: the model's code uses {what}, which is computed there; write it as a literal "
        "value, or make it a field of the configuration"
    )


def _is_logger(value: ast.expr | None) -> bool:
    """``logging.get_logger(__name__)``, of Python's logging or transformers'."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("getLogger", "get_logger")
        and all(names.is_constant(argument) for argument in value.args)
        and not value.keywords
    )


def _statements(node: ast.If | ast.Try) -> list[ast.stmt]:
    handlers = [inner for handler in getattr(node, "handlers", ()) for inner in handler.body]
    return [*node.body, *node.orelse, *handlers, *getattr(node, "finalbody", ())]


def _title(node: ast.stmt) -> str:
    return getattr(node, "name", "") or ast.unparse(node).splitlines()[0][:40]
