"""Follow names from a class to every statement that it needs, through the user's own modules."""

import ast
import builtins
import collections
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.common.errors import UserError
from pinfold.flatten import names
from pinfold.flatten.meanings import Bound, Chain, External, Import, Meaning, OwnModule, Place
from pinfold.flatten.sources import MAIN, Source, Sources
from pinfold.flatten.strict import check_strict, is_written_out

_FILLS = {"update", "append", "add", "register", "setdefault", "extend", "insert", "pop", "__setitem__"}


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
    _outside: set[str] = field(default_factory=set)  # what is read of others, dotted
    _written: dict[Place, set[Place]] = field(default_factory=dict)
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
                    if not self._acts_on_taken(module, node):
                        continue
                    if self.source(module).strict and not is_written_out(self.source(module), node):
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
        positions = _bindings(source).get(name, [])
        last = positions[-1] if positions else -1
        for position in reversed(range(last + 1, len(source.tree.body))):
            node = source.tree.body[position]
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                target = source.absolute(node)
                if self.sources.is_own(target):
                    if self._exports(target, name) and (there := self.meaning(target, name, seen)):
                        return there
                elif not positions and not hasattr(builtins, name):
                    return External(module, position, None, name)
        if positions:
            node = source.tree.body[last]
            return self._imported_meaning(source, last, node, name, seen) or Place(module, name)
        submodule = f"{module}.{name}"
        return OwnModule(submodule) if module != MAIN and self.sources.get(submodule) else None

    def _exports(self, module: str, name: str) -> bool:
        """Whether ``from module import *`` binds a name."""
        source = self.sources.get(module)
        listed = [
            part.value
            for node in (source.tree.body if source else ())
            if isinstance(node, (ast.Assign, ast.AugAssign)) and "__all__" in names.bound(node) | names.used(node)
            for part in ast.walk(node)
            if isinstance(part, ast.Constant)
        ]
        return name in listed if listed else not name.startswith("_")

    def _imported_meaning(
        self, source: Source, position: int, node: ast.stmt, name: str, seen: frozenset = frozenset()
    ) -> Meaning:
        """What an import at the top of a module binds a name to; None for another statement."""
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
            if names.binds_surely(node) and place.name not in names.used_at_once(node):
                break
        return positions

    def _take(self, module: str, position: int) -> None:
        """One statement, and what its names stand for."""
        if position in self.taken[module]:
            return
        source = self.source(module)
        node = source.tree.body[position]
        if source.strict:
            check_strict(source, node)
        self.taken[module].add(position)
        wanted: set[Place] = set()
        for name in names.used(node):
            wanted |= self._of_name(source, node, name)
        for name in names.of_class_bodies(node) | (set() if source.strict else names.quoted(node)):
            if isinstance(there := self.meaning(module, name), Place) and self._may_take(there):
                wanted.add(there)
        for inner in inner_imports(node):
            for alias in inner.names:
                there = self.of_alias(source, inner, alias)
                if isinstance(there, Place):
                    wanted.add(there)
                if isinstance(there, OwnModule) and isinstance(node, (ast.If, ast.Try, ast.With)):
                    raise UserError(
                        f"{source.where}:{inner.lineno}: imports the module {there.module} under a condition; import "
                        "the names that are needed from it"
                    )
        wanted |= {chain.place for chain in self.chains(source, node) if isinstance(chain.place, Place)}
        bare = _without_decorators(node)
        meanings = [*(self.meaning(module, name) for name in names.used(bare))]
        meanings += [chain.place for chain in self.chains(source, bare)]
        self._reads[module, position] = {there for there in meanings if isinstance(there, Place)}
        self._outside |= {self._dotted(there) for there in meanings if isinstance(there, External)}
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
                check_strict(source, source.tree.body[position])
        except UserError:
            return False
        return True

    def chains(self, source: Source, node: ast.AST) -> list["Chain"]:
        """Every ``module.Name`` of the user's modules in a statement.

        Raises:
            UserError: a module is used otherwise than for its names.
        """
        modules = {
            name: Bound(there.module)
            for name in (names.used(node) if isinstance(node, ast.stmt) else ())
            if isinstance(there := self.meaning(source.name, name), OwnModule)
        }
        if not modules and not any(self._modules_of(source, inner) for inner in inner_imports(node)):
            return []
        return list(self._chains(source, node, modules))

    def _modules_of(self, source: Source, inner: Import) -> dict[str, "Bound"]:
        """Modules of the user that an import binds: name -> which."""
        meanings = {(a.asname or a.name.split(".")[0]): self.of_alias(source, inner, a) for a in inner.names}
        return {n: Bound(there.module, inner) for n, there in meanings.items() if isinstance(there, OwnModule)}

    def _chains(self, source: Source, node: ast.AST, modules: dict[str, "Bound"]) -> Iterator["Chain"]:
        if isinstance(node, ast.Attribute) and (chain := self._chain(source, node, modules)):
            yield chain
            return
        if isinstance(node, ast.Name) and node.id in modules and isinstance(node.ctx, ast.Load):
            module = modules[node.id].module
            raise UserError(
                f"{source.where}:{node.lineno}: uses the module {module} itself; write "
                f"from {module} import ... with the names that are needed, and use these"
            )
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            outer = [*getattr(node, "decorator_list", ()), node.args, getattr(node, "returns", None)]
            for part in filter(None, outer):
                yield from self._chains(source, part, modules)
            body = node.body if isinstance(node.body, list) else [node.body]
            inside = self._within(source, body, modules, {each.arg for each in _all_arguments(node.args)})
            for part in body:
                yield from self._chains(source, part, inside)
        elif isinstance(node, ast.ClassDef):
            inside = self._within(source, node.body, modules, set())
            for part in [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]:
                yield from self._chains(source, part, modules)
            for part in node.body:  # functions do not see what the body of their class sets
                function = isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
                yield from self._chains(source, part, modules if function else inside)
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            targets = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
            inside = {name: bound for name, bound in modules.items() if name not in targets}
            for part in ast.iter_child_nodes(node):
                yield from self._chains(source, part, inside)
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._chains(source, child, modules)

    def _within(
        self, source: Source, body: list, modules: dict[str, "Bound"], arguments: set[str]
    ) -> dict[str, "Bound"]:
        """The modules that names stand for inside of a function or class: what it binds itself is something else."""
        parts = [part for statement in body for part in names.of_one_scope(statement)]
        shared = {name for part in parts if isinstance(part, (ast.Global, ast.Nonlocal)) for name in part.names}
        stored = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        stored |= {part.name for part in parts if isinstance(part, names.DEFINITIONS)}
        inside = {name: bound for name, bound in modules.items() if name not in (stored | arguments) - shared}
        for part in parts:
            if isinstance(part, (ast.Import, ast.ImportFrom)):
                inside |= self._modules_of(source, part)
        return inside

    def _chain(self, source: Source, node: ast.Attribute, modules: dict[str, "Bound"]) -> "Chain | None":
        """The shortest part of a.b.C that names a definition."""
        parts: list[ast.Attribute] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id not in modules:
            return None
        module = modules[inner.id].module
        for part in parts:
            there = self.meaning(module, part.attr)
            if isinstance(there, (Place, External)):
                if not isinstance(part.ctx, ast.Load):
                    raise UserError(
                        f"{source.where}:{part.lineno}: sets {part.attr} of the module {module}, which other modules "
                        "of a flat folder would not see; keep the value in the configuration or in an object"
                    )
                return Chain(there, inner.id, part, modules[inner.id].by)
            if not isinstance(there, OwnModule):
                return None
            module = there.module
        return None

    def _resolved(self, module: str, expression: ast.expr) -> tuple[Meaning, bool]:
        """What an expression begins with, followed through modules; and whether attributes or items come after it."""
        steps: list[str] = []
        rest = False
        while isinstance(expression, (ast.Attribute, ast.Subscript, ast.Call)):
            if isinstance(expression, ast.Attribute):
                steps.insert(0, expression.attr)
            elif isinstance(expression, ast.Subscript):
                steps, rest = [], True
            expression = expression.func if isinstance(expression, ast.Call) else expression.value
        if not isinstance(expression, ast.Name):
            return None, False
        there = self.meaning(module, expression.id)
        while isinstance(there, OwnModule) and steps:
            there = self.meaning(there.module, steps.pop(0))
        return there, rest or bool(steps)

    def _dotted(self, external: External) -> str:
        """The full name of what is imported from a package of others."""
        node = self.source(external.module).tree.body[external.statement]
        if isinstance(node, ast.ImportFrom):
            return f"{node.module}.{external.name if external.alias is None else node.names[external.alias].name}"
        assert isinstance(node, ast.Import) and external.alias is not None
        return node.names[external.alias].name

    def _acts_on_taken(self, module: str, node: ast.stmt) -> bool:
        """Whether a statement that runs with its module changes what was taken."""
        if _registers(node):
            return False
        for target in names.changed(node):
            there, _ = self._resolved(module, target)
            if isinstance(there, Place) and self._is_taken(there):
                return True
            stores = not isinstance(target.ctx, ast.Load) or target.attr in _FILLS  # type: ignore[attr-defined]
            if isinstance(there, External) and stores and self._dotted(there) in self._outside:
                return True
        if any(self._call_acts(module, call) for call in names.calls(node)):
            return True
        return any(self._fills_what_is_read(module, decorator) for decorator in names.decorators(node))

    def _call_acts(self, module: str, call: ast.Call) -> bool:
        """Whether a call outside of definitions fills a table that is read, or changes one of its arguments."""
        if self._fills_what_is_read(module, call.func):
            return True
        there, _ = self._resolved(module, call.func)
        built_in = there is None and isinstance(call.func, ast.Name) and call.func.id in ("setattr", "delattr")
        if not built_in and not (isinstance(there, Place) and self._is_function(there)):
            return False
        meanings = [self._resolved(module, each)[0] for each in [*call.args, *(k.value for k in call.keywords)]]
        return any(isinstance(each, Place) and self._is_taken(each) for each in meanings)

    def _fills_what_is_read(self, module: str, function: ast.expr) -> bool:
        there, beyond = self._resolved(module, function)
        if not isinstance(there, Place):
            return False
        written = self._written_by(there) | ({there} if beyond else set())
        return any(self._is_read(table, {there}) for table in written)

    def _is_taken(self, place: Place) -> bool:
        return any(position in self.taken[place.module] for position in self.defining(place))

    def _written_by(self, place: Place) -> set[Place]:
        """What calling something of the user's changes: itself where it is an object, else tables of its module."""
        if place in self._written:
            return self._written[place]
        self._written[place] = written = set()
        for position in self.defining(place):
            node = self.source(place.module).tree.body[position]
            if not isinstance(node, names.DEFINITIONS):
                written.add(place)
                continue
            meanings = {name: self.meaning(place.module, name) for name in names.used(node)}
            tables = names.changed_inside(node)
            written |= {there for name, there in meanings.items() if name in tables and isinstance(there, Place)}
            for there in meanings.values():
                if isinstance(there, Place) and self._is_function(there):
                    written |= self._written_by(there)
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


def _all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    rest = [each for each in (arguments.vararg, arguments.kwarg) if each]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


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
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "register_for_auto_class"
    )


def _title(node: ast.stmt) -> str:
    return getattr(node, "name", "") or ast.unparse(node).splitlines()[0][:40]
