"""A folder's modules, and those of transformers that they derive from, hold and are called by, release by release.

What transformers' own modules return, which parts they build and how they call those is in stock.json.gz.
"""

import ast
import functools
from collections.abc import Callable, Iterator

from pinfold.audit import stock
from pinfold.audit.reachable import ReachableCode, chain, defined_functions
from pinfold.audit.rules.certain import CertainCalls
from pinfold.audit.rules.generation import WRITES_TEXT, writes_text
from pinfold.audit.rules.members import Asks, once, taken_from_config
from pinfold.audit.rules.names import asks_for_version, module_aliases, version_names
from pinfold.audit.rules.reader import Reader
from pinfold.audit.rules.values import (
    EITHER,
    MODULE,
    MODULES,
    MOST_STEPS,
    SELF,
    Around,
    Record,
    Value,
    from_words,
    joined,
)
from pinfold.common.trees import every, walk
from pinfold.folder.kinds import head
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import RELEASES

OWN, STOCK = "own", "stock"
STEPS = 100_000  # statements that are read in one folder, in all releases together
# Decorators that change nothing of what is returned.
PLAIN = frozenset(("no_grad", "inference_mode", "staticmethod", "deprecate_kwarg", "auto_docstring"))


def stock_bases(code: ReachableCode, cls: str) -> Iterator[tuple[str, str]]:
    """(module, class) of transformers that a class derives from, in the order in which Python asks them.

    Each class of the folder is followed once: there can be more ways through them than time.
    """
    seen = {cls}
    pending = list(reversed(code.folder.bases(cls)))
    own = set(code.folder.own_bases(cls))
    while pending:
        base, place = pending.pop()
        if place.split(".")[0] == "transformers":
            yield place, base
        elif base in own and base in code.folder.classes and base not in seen:
            seen.add(base)
            own |= set(code.folder.own_bases(base))
            pending += reversed(code.folder.bases(base))


def writes_or_derives(code: ReachableCode, cls: str) -> bool:
    """Whether a class writes text, or a class of transformers that it derives from does, such as LlamaForCausalLM."""
    return writes_text(code, cls) or any(head(base) in WRITES_TEXT for _, base in stock_bases(code, cls))


class Flows:
    """What is known of a folder's modules in groups of releases in which transformers' own are alike."""

    def __init__(self, code: ReachableCode, certain: CertainCalls):
        self.code = code
        self.certain = certain
        self.steps = STEPS
        self._single: dict[str, bool] = {}
        self._asks: dict[ast.FunctionDef, Callable[[ast.expr], bool | None]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._versions: dict[str, set[str]] = {}

    def aliases(self, module: Module) -> dict[str, str]:
        """Names for modules of transformers in a file."""
        if module.name not in self._aliases:
            self._aliases[module.name] = module_aliases(module)
        return self._aliases[module.name]

    def versions(self, module: Module) -> set[str]:
        """Names in a file that hold what was asked of the version."""
        if module.name not in self._versions:
            self._versions[module.name] = version_names(module)
        return self._versions[module.name]

    @functools.cached_property
    def file_of_nodes(self) -> dict[ast.AST, Module]:
        """The file that a node is in."""
        return {node: module for module in self.code.modules for node in walk(module.tree)}

    @functools.cached_property
    def files(self) -> tuple[str, ...]:
        """Files of transformers from which the folder takes classes that the table knows."""
        taken = [place for module in self.code.modules for place in module.imports.values()]
        files = {stock.file_of(*place) for place in taken if place[0].split(".")[0] == "transformers"}
        return tuple(sorted((files | set(self.through_modules.values())) - {""}))

    @functools.cached_property
    def through_modules(self) -> dict[str, str]:
        """Names for modules of transformers in the folder, with a file from which a class is taken so."""
        files: dict[str, str] = {}
        for module in self.code.modules:
            aliases = self.aliases(module)
            for node in every(module.tree, ast.Attribute) if aliases else ():
                names = chain(node)
                if names[:1] and names[0] in aliases:
                    file = stock.file_of(".".join([aliases[names[0]], *names[1:-1]]), names[-1])
                    files |= {names[0]: file} if file else {}
        return files

    @functools.cached_property
    def concerned(self) -> list[str]:
        """Classes of the folder that name one of these, or a class that does: nothing changes for the others."""
        pending = {name for module in self.code.modules for name, place in module.imports.items() if _is_known(place)}
        pending |= set(self.through_modules)
        by_name: dict[str, list[str]] = {}
        for cls in self.code.classes if pending else ():
            for name in {part.id for part in every(self.code.folder.classes[cls][1], ast.Name)}:
                by_name.setdefault(name, []).append(cls)
        concerned: set[str] = set()
        while pending:
            further = set(by_name.get(pending.pop(), ())) - concerned
            concerned |= further
            pending |= further
        return [cls for cls in self.code.classes if cls in concerned and self.is_one(cls)]

    def is_one(self, cls: str) -> bool:
        """Whether a class has one definition: of several, each may be the one that a release gets."""
        if cls not in self._single:
            module, node = self.code.folder.classes[cls]
            self._single[cls] = is_one(module.tree, node)
        return self._single[cls]

    @functools.cached_property
    def alike(self) -> list[tuple["Modules", list[str]]]:
        """What is known in releases in which transformers' files are alike, with these; of those that it supports."""
        alike: dict[str, tuple[Modules, list[str]]] = {}
        for release in RELEASES if self.concerned else ():
            if tuple(map(int, release.split(".")[:2])) >= self.code.lowest_version:
                rows = repr([stock.flows(file, release) for file in self.files])
                alike.setdefault(rows, (Modules(self, release), []))[1].append(release)
        return list(alike.values())


class Modules:
    """The folder's modules as they are in one release."""

    def __init__(self, flows: Flows, release: str):
        self.flows = flows
        self.code = flows.code
        self.release = release
        self._read: dict[tuple[str, ast.FunctionDef], tuple[Value, Record]] = {}
        self._built: dict[str, Record] = {}
        self._building: set[str] = set()
        self._parts: dict[str, dict[str, Value]] = {}
        self._returned: dict[str, Value] = {}
        self._replaced: dict[tuple[str, ...], Value] | None = None

    def base(self, cls: str) -> tuple[str, str] | None:
        """(file, class) of transformers from which a class derives first, of those that the table knows."""
        files = ((stock.file_of(place, base), base) for place, base in stock_bases(self.code, cls))
        return next((each for each in files if each[0]), None)

    def read(self, cls: str, owner: str, function: ast.FunctionDef) -> tuple[Value, Record]:
        """What a method of a class returns, and what it does. owner: the class that has it."""
        if (cls, function) not in self._read:
            record = Record(steps=min(MOST_STEPS, max(0, self.flows.steps)))
            before = record.steps
            self._read[cls, function] = Reader(OfFolder(self, cls, owner), record).run(function), record
            self.flows.steps -= before - record.steps
        return self._read[cls, function]

    def built(self, cls: str) -> Record:
        """What the constructors of a class store."""
        if cls not in self._built:
            self._built[cls] = Record()  # a class that builds itself
            self._building.add(cls)
            for owner in reversed(self.code.folder.lineage(cls)):
                for node in self.code.folder.classes[owner][1].body:
                    if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                        self._built[cls].stored += self.read(cls, owner, node)[1].stored
            self._building.discard(cls)
        return self._built[cls]

    def parts(self, cls: str) -> dict[str, Value]:
        """Attribute -> the module that the constructors of the folder put there."""
        if cls in self._building:  # its constructor asks for itself; what it stores is not known yet
            return {}
        if cls not in self._parts:
            self._parts[cls] = {}
            values: dict[str, list[Value]] = {}
            for stored in self.built(cls).stored:
                if stored.owner == SELF:
                    values.setdefault(stored.name, []).append(stored.value)
            self._parts[cls] = {name: one_of(each) for name, each in values.items()}
        return self._parts[cls]

    @property
    def replaced(self) -> dict[tuple[str, ...], Value]:
        """What constructors of the folder put into other modules: for layer in self.layers: layer.self_attn = ..."""
        if self._replaced is None:
            self._replaced = {}
            replaced = {}
            for cls in self.flows.concerned:
                for stored in self.built(cls).stored:
                    if stored.owner != SELF and stored.value.of:
                        replaced[(*stored.owner, stored.name)] = stored.value
            self._replaced = replaced
        return self._replaced

    def reached(self, of: tuple[str, ...], seen: set[tuple[str, ...]]) -> None:
        """A module of transformers, and all that it builds."""
        if of not in seen:
            seen.add(of)
            for name, text in stock.flows(of[1], self.release)["parts"].items():
                if name.partition(".")[0] == of[2]:
                    self.reached((STOCK, of[1], text.removesuffix("*")), seen)

    def part(self, of: tuple[str, ...], name: str) -> Value:
        """A part of a module, the folder's or transformers'."""
        if (*of, name) in self.replaced:
            return self.replaced[(*of, name)]
        if of[:1] == (OWN,):
            parts = self.parts(of[1])
            if name in parts:
                return parts[name]
            base = self.base(of[1])
            return self.part((STOCK, *base), name) if base else Value()
        if of[:1] == (STOCK,):
            text = stock.flows(of[1], self.release)["parts"].get(f"{of[2]}.{name}", "")
            kind = MODULES if text.endswith("*") else MODULE
            return Value(kind, of=(STOCK, of[1], text.removesuffix("*"))) if text else Value()
        return Value()

    def returned(self, of: tuple[str, ...]) -> Value:
        """What a module returns."""
        if of[:1] == (STOCK,):
            return from_words(stock.flows(of[1], self.release)["returns"].get(of[2], ""))
        if of[:1] != (OWN,):
            return Around().called(of)
        cls = of[1]
        if cls not in self._returned:
            self._returned[cls] = Value()  # a class that calls itself
            definition = self.code.folder.method(cls, "forward")
            base = self.base(cls)
            if not self.flows.is_one(cls):
                return self._returned[cls]
            if definition is not None and not is_one(self.code.folder.classes[definition[0]][1], definition[1]):
                return self._returned[cls]
            if definition is not None and not definition[1].decorator_list:
                self._returned[cls] = self.read(cls, *definition)[0]
            elif definition is None and base:
                self._returned[cls] = self.returned((STOCK, *base))
        return self._returned[cls]


def _is_known(place: tuple[str, str]) -> bool:
    return place[0].split(".")[0] == "transformers" and bool(stock.file_of(*place))


def one_of(values: list[Value]) -> Value:
    """What an attribute is that is set in several places: None first, a module later; a list, and its items."""
    modules = [value for value in values if value.kind in (MODULE, MODULES)]
    if not modules or len(modules) < len([value for value in values if value.kind]):
        return Value()
    kind = MODULES if any(value.kind == MODULES for value in modules) else MODULE
    known = [Value(kind, of=value.of) for value in modules if value.of]
    if len({value.kind for value in modules}) == 2 and any(v.of for v in modules if v.kind == MODULES):
        return Value()
    return joined(known) if known else Value(kind, of=EITHER)


class OfFolder(Around):
    """The names in a method of a class of the folder."""

    def __init__(self, modules: Modules, cls: str, owner: str):
        self.modules = modules
        self.code = modules.code
        self.cls = cls
        self.owner = owner
        self.file: Module = self.code.folder.classes[owner][0]

    def built(self, names: list[str]) -> tuple[str, ...]:
        place, name = self.file.imports.get(names[0], ("", names[0]))
        if len(names) == 1 and name in self.code.folder.classes and (not place or place.startswith(".")):
            return (OWN, name)
        if len(names) > 1:
            aliases = self.modules.flows.aliases(self.file)
            place, name = ".".join([aliases.get(names[0], ""), *names[1:-1]]), names[-1]
        file = stock.file_of(place, name) if place.split(".")[0] == "transformers" else ""
        return (STOCK, file, name) if file else ()

    def member(self, of: tuple[str, ...], name: str) -> Value:
        return self.modules.part((OWN, self.cls) if of == SELF else of, name)

    def called(self, of: tuple[str, ...]) -> Value:
        return self.modules.returned(of)

    def above(self) -> tuple[str, ...]:
        """Going by the class that has the method: Python asks the bases of the object's class, mostly the same."""
        bases = [base for base in self.code.folder.own_bases(self.owner) if base in self.code.folder.classes]
        for base in bases:
            if self.code.folder.method(base, "forward"):
                return (OWN, base)
        base_of_stock = self.modules.base(self.owner)
        return (STOCK, *base_of_stock) if base_of_stock else ()

    def method(self, name: str) -> ast.FunctionDef | None:
        definition = self.code.folder.method(self.cls, name)
        if definition is None or not is_one(self.code.folder.classes[definition[0]][1], definition[1]):
            return None
        return definition[1]

    def function(self, name: str) -> ast.FunctionDef | None:
        place, original = self.file.imports.get(name, ("", name))
        file = self.code.folder.modules.get(place.lstrip("."), self.file) if place.startswith(".") else self.file
        function = None if place and not place.startswith(".") else defined_functions(file).get(original)
        return function if function is not None and is_one(file.tree, function) else None

    def conditions(self, function: ast.FunctionDef) -> Callable[[ast.expr], bool | None]:
        flows = self.modules.flows
        if function not in flows._asks:
            settings = flows.certain.settings
            asks = Asks(settings, taken_from_config(function, settings), once(function), None)
            flows._asks[function] = asks.holds
        return flows._asks[function]

    def is_settled(self, test: ast.expr) -> bool:
        return asks_for_version(test, self.modules.flows.versions(self.file))


def is_one(where: ast.Module | ast.ClassDef, definition: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether a name has one definition in a file or class, and no decorator makes another thing of it."""
    words = [chain(each.func if isinstance(each, ast.Call) else each)[-1:] for each in definition.decorator_list]
    plain = isinstance(definition, ast.ClassDef) or all(word and word[0] in PLAIN for word in words)
    return plain and sum(getattr(each, "name", "") == definition.name for each in _at_top(where.body)) == 1


def _at_top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body, those behind its conditions and guards too."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _at_top(getattr(statement, name, []))
        for handler in getattr(statement, "handlers", []):
            yield from _at_top(handler.body)


def is_certain(path: tuple[int, ...], of_call: tuple[int, ...]) -> bool:
    """Whether a place is reached whenever a call is: it is behind no condition that the call is not behind."""
    return path == of_call[: len(path)]
