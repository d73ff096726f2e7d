"""Which functions of a library hand an argument to something that runs it, opens it or writes there, read from source.

A small analysis of flows over syntax trees: inside a function, which names hold an argument (or what was taken out of
it); between functions, to a fixed point. Used by scripts/library_names.py.
"""

import ast
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from argument_sinks import (
    DELETE,
    ITEM,
    METHODS_PASS,
    OPENERS,
    PART,
    PASSES,
    PATH_DELETES,
    PATH_WRITES,
    READ,
    SINKS,
    UNPICKLERS,
    WHOLE,
    WRITE,
)
from library_sources import Names, Source, dotted

Taint = dict[str, int]  # parameter -> how


@dataclass
class Event:
    """A call that gets some of the arguments of the function it is in."""

    callee: str
    positional: list[Taint]
    keywords: dict[str, Taint]
    constants: dict[str, object]


@dataclass
class Function:
    """What one function does with its arguments."""

    name: str
    parameters: list[str]
    node: ast.FunctionDef | ast.AsyncFunctionDef
    source: Source
    owner: str = ""  # its class
    bound: bool = False  # the first parameter is not given by the caller
    rest: str = ""  # the parameter that takes all further positional arguments
    events: list[Event] = field(default_factory=list)
    stores: dict[str, Taint] = field(default_factory=dict)  # self.x = parameter
    returned: Taint = field(default_factory=dict)
    reaches: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))  # parameter -> what -> how


def positions(function: Function) -> Iterator[str]:
    """The parameters that positional arguments go to, one after the other."""
    for name in function.parameters[1:] if function.bound else function.parameters:
        if name == function.rest:
            yield from itertools.repeat(name)
        yield name


class Flows:
    """The functions of all libraries, and what reaches what."""

    def __init__(self, names: Names):
        self.names = names
        self.sinks: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
        for name, entries in SINKS.items():
            for each in {name, names.resolve(name)}:
                self.sinks[each] += entries
        self.passes = PASSES | {names.resolve(name) for name in PASSES}
        self.openers = OPENERS | {names.resolve(name) for name in OPENERS}
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, list[str]] = {}
        for source in names.sources.values():
            for cls, bases in source.classes.items():
                resolved = [names.resolve(names.local(source, base)) for base in bases]
                self.classes[f"{source.name}.{cls}"] = resolved
            for name, node in source.functions.items():
                self._add(source, name, node)
        self.subclass_attributes: dict[str, dict[str, Taint]] = {}

    def _add(self, source: Source, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        path = f"{source.name}.{name}"
        arguments = node.args
        parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        static = "staticmethod" in {dotted(d) for d in node.decorator_list}
        owner = path.rpartition(".")[0] if "." in name else ""
        function = Function(path, parameters, node, source, owner, bool(owner) and not static)
        if arguments.vararg:
            function.parameters.append(arguments.vararg.arg)
            function.rest = arguments.vararg.arg
        function.parameters += [a.arg for a in arguments.kwonlyargs]
        self.functions[path] = function

    def run(self, rounds: int = 2) -> None:
        """Read every function, then follow calls until nothing new is learned."""
        for _ in range(rounds):
            before = sum(len(f.returned) for f in self.functions.values())
            for function in self.functions.values():
                Reader(self, function).read()
            if sum(len(f.returned) for f in self.functions.values()) == before:
                break
        self._fixed_point()

    def _fixed_point(self) -> None:
        changed = True
        while changed:
            changed = False
            for function in self.functions.values():
                for event in function.events:
                    for what, taint, how in self._consequences(event):
                        for parameter, own in taint.items():
                            if function.reaches[parameter].get(what, 0) < min(own, how):
                                function.reaches[parameter][what] = min(own, how)
                                changed = True
            changed |= self._attributes()

    def _attributes(self) -> bool:
        """What a method does with self.x, the method that keeps an argument there does with that argument.

        The constructor does; another method counts where something is run or an address opened.
        """
        changed = False
        for names in self._methods.values():
            uses = [
                (parameter[5:], effects)
                for name in names
                for parameter, effects in self.functions[name].reaches.items()
                if parameter.startswith("self.") and effects
            ]
            for name in names if uses else ():
                method = self.functions[name]
                everything = name.endswith(".__init__")
                for attribute, effects in uses:
                    for origin, own in self.stored(method).get(attribute, {}).items():
                        for what, how in effects.items():
                            if not everything and what in (WRITE, READ, DELETE):
                                continue
                            if method.reaches[origin].get(what, 0) < min(own, how):
                                method.reaches[origin][what] = min(own, how)
                                changed = True
        return changed

    def stored(self, method: Function, depth: int = 0) -> dict[str, Taint]:
        """Attribute -> the arguments that a method keeps there, by itself or by the base class's."""
        stores = {name: dict(taint) for name, taint in method.stores.items()}
        if not method.name.endswith(".__init__") or depth > 4:
            return stores
        for event in method.events:
            base = self.functions.get(event.callee) if event.callee.endswith(".__init__") else None
            if base is None or base is method:
                continue
            given = dict(zip(positions(base), event.positional, strict=False)) | event.keywords
            for name, taint in self.stored(base, depth + 1).items():
                for parameter, how in taint.items():
                    merge(stores.setdefault(name, {}), limited(given.get(parameter, {}), how))
        return stores

    def inherited(self, cls: str) -> dict[str, dict[str, int]]:
        """What a class does with the arguments of its base's constructor: parameter -> what -> how."""
        constructor = self.method(cls, "__init__")
        result: dict[str, dict[str, int]] = defaultdict(dict)
        if constructor is None or constructor.owner == cls:
            return result
        stores = self.stored(constructor)
        for name in self._methods.get(cls, ()):
            for parameter, effects in self.functions[name].reaches.items():
                for origin, own in stores.get(parameter[5:], {}).items() if parameter.startswith("self.") else ():
                    for what, how in effects.items():
                        result[origin][what] = max(result[origin].get(what, 0), min(own, how))
        return result

    def overrides(self, cls: str, depth: int = 0) -> dict[str, set[str]]:
        """Method of a class or of its bases -> what is done with what it gives back, and so with an override's."""
        result: dict[str, set[str]] = defaultdict(set)
        for name in self._methods.get(cls, ()):
            for parameter, effects in self.functions[name].reaches.items():
                if parameter.startswith("self.") and parameter.endswith("()"):
                    result[parameter[5:-2]] |= {what for what, how in effects.items() if how == WHOLE}
        for base in self.classes.get(cls, ()) if depth < 8 else ():
            for name, effects in self.overrides(base, depth + 1).items():
                result[name] |= effects
        return result

    @property
    def _methods(self) -> dict[str, list[str]]:
        if not hasattr(self, "_by_class"):
            by_class: dict[str, list[str]] = defaultdict(list)
            for name, function in self.functions.items():
                if function.owner:
                    by_class[function.owner].append(name)
            self._by_class = by_class
        return self._by_class

    def _consequences(self, event: Event):
        """(what, which of the caller's arguments, how) of one call."""
        for what, position, keyword in self.sinks.get(event.callee, ()):
            taint = event.keywords.get(keyword) or (
                event.positional[position] if position < len(event.positional) else {}
            )
            yield what, taint, WHOLE
        if event.callee in self.openers or event.callee == "path.open":
            yield from self._opened(event)
        callee = self.called(event.callee)
        if callee is None:
            return
        for name, taint in (*zip(positions(callee), event.positional, strict=False), *event.keywords.items()):
            for what, how in callee.reaches.get(name, {}).items():
                yield what, taint, how

    @staticmethod
    def _opened(event: Event):
        position = 0 if event.callee == "path.open" else 1
        mode = event.constants.get("mode", event.constants.get(str(position), "r"))
        place = event.positional[0] if event.positional else event.keywords.get("file", {})
        if not isinstance(mode, str) or set(mode) & set("wax+"):
            yield WRITE, place, WHOLE
        if not isinstance(mode, str) or not set(mode) & set("wax"):
            yield READ, place, WHOLE

    def called(self, path: str) -> Function | None:
        """The function that calling a dotted name runs."""
        if path in self.functions:
            return self.functions[path]
        if path in self.classes:
            return self.method(path, "__init__") or self.method(path, "__new__")
        return None

    def method(self, cls: str, name: str, depth: int = 0) -> Function | None:
        """A method of a class or of its bases."""
        if f"{cls}.{name}" in self.functions:
            return self.functions[f"{cls}.{name}"]
        for base in self.classes.get(cls, ()) if depth < 10 else ():
            if function := self.method(base, name, depth + 1):
                return function
        return None


class Reader:
    """Reads one function: which names hold its arguments, and which calls get them."""

    def __init__(self, flows: Flows, function: Function):
        self.flows = flows
        self.function = function
        self.names: dict[str, Taint] = {p: {p: WHOLE} for p in function.parameters}
        self.types: dict[str, str] = {}
        self.imported: dict[str, str] = {}
        self.own = function.parameters[0] if function.bound and function.parameters else ""
        self.names.pop(self.own, None)

    def read(self) -> None:
        function = self.function
        function.events, function.stores = [], {}
        nodes = list(ast.walk(function.node))
        for node in nodes:
            self._read_import(node)
        for _ in range(3):
            size = sum(map(len, self.names.values()))
            for node in nodes:
                self._bind(node)
            if sum(map(len, self.names.values())) == size:
                break
        for node in nodes:
            if isinstance(node, ast.Call):
                self._event(node)
            elif isinstance(node, ast.Return) and node.value is not None:
                for parameter, how in self.taint(node.value).items():
                    function.returned[parameter] = max(how, function.returned.get(parameter, 0))

    def _read_import(self, node: ast.AST) -> None:
        source = self.function.source
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self.imported[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            module = source.absolute(node.level, node.module or "")
            for alias in node.names:
                self.imported[alias.asname or alias.name] = f"{module}.{alias.name}"

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._store(target, self.taint(node.value))
                if isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
                    self.types[target.id] = self.resolve(node.value.func)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
            self._store(node.target, self.taint(node.value))
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            self._store(node.target, self.taint(node.iter))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._store(node.optional_vars, self.taint(node.context_expr))

    def _store(self, target: ast.expr, taint: Taint) -> None:
        if not taint:
            return
        if isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._store(inner, taint)
        elif isinstance(target, ast.Name):
            merge(self.names.setdefault(target.id, {}), taint)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == self.own:
            merge(self.function.stores.setdefault(target.attr, {}), taint)

    def taint(self, node: ast.AST | None) -> Taint:
        """Which arguments an expression holds."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, {})
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == self.own and self.own:
                return {f"self.{node.attr}": WHOLE, **self.function.stores.get(node.attr, {})}
            return as_part(self.taint(node.value))
        if isinstance(node, ast.Subscript):
            inside = self.taint(node.value)
            named = isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
            return limited(inside, ITEM) if named else inside
        if isinstance(node, (ast.Starred, ast.Await)):
            return self.taint(node.value)
        if isinstance(node, ast.NamedExpr):
            return self.taint(node.value)
        if isinstance(node, ast.IfExp):
            return joined(self.taint(node.body), self.taint(node.orelse))
        if isinstance(node, ast.BoolOp):
            return joined(*map(self.taint, node.values))
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        if isinstance(node, (ast.List, ast.Tuple)):
            first = self.taint(node.elts[0]) if node.elts else {}
            return joined(first, as_part(joined(*map(self.taint, node.elts[1:]))))
        if isinstance(node, ast.JoinedStr):
            return self._formatted(node)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.taint(node.elt)
        if isinstance(node, ast.Call):
            return self._result(node)
        return {}

    def _operation(self, node: ast.BinOp) -> Taint:
        left, right = self.taint(node.left), self.taint(node.right)
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            return as_part(right)
        if isinstance(node.op, ast.Div):  # of paths
            return joined(left, right)
        begins = isinstance(node.left, ast.Constant)
        return joined(left, as_part(right) if begins or left else right)

    def _formatted(self, node: ast.JoinedStr) -> Taint:
        values = [v.value if isinstance(v, ast.FormattedValue) else None for v in node.values]
        first = self.taint(values[0]) if values and values[0] is not None else {}
        return joined(first, as_part(joined(*(self.taint(v) for v in values[1:] if v is not None))))

    def _result(self, node: ast.Call) -> Taint:
        """What a call gives back of its arguments."""
        path = self.resolve(node.func)
        own = self._own_result(node)
        if own:
            return joined(own, self._passed(node, path))
        return self._passed(node, path)

    def _own_result(self, node: ast.Call) -> Taint:
        """What a method of the same object gives back, which a subclass can replace."""
        path = dotted(node.func)
        first, _, rest = path.partition(".")
        method = self.flows.method(self.function.owner, rest) if self.own and first == self.own and rest else None
        return {f"self.{rest}()": WHOLE} if method is not None else {}

    def _passed(self, node: ast.Call, path: str) -> Taint:
        if path in self.flows.passes:
            every = joined(*map(self.taint, node.args), *(self.taint(k.value) for k in node.keywords))
            return joined(self.taint(node.args[0]), as_part(every)) if node.args and "join" not in path else every
        callee = self.flows.called(path)
        if callee is not None and callee.returned:
            pairs = [*zip(positions(callee), node.args, strict=False), *((k.arg, k.value) for k in node.keywords)]
            return joined(*(limited(self.taint(v), callee.returned.get(n, 0)) for n, v in pairs))
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS_PASS:
            owner = self.taint(node.func.value)
            if node.func.attr in ("format", "join") and node.args:
                return joined(owner, as_part(joined(*map(self.taint, node.args))))
            return owner
        return {}

    def resolve(self, node: ast.AST) -> str:
        """The dotted name of what is called."""
        path = dotted(node)
        first, _, rest = path.partition(".")
        names = self.flows.names
        if not path and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
            return self._of_base(node) if dotted(node.value.func) == "super" else ""
        if not path or (first in self.names and first != self.own):
            return ""
        if first == self.own and self.own:
            if rest and "." not in rest:
                method = self.flows.method(self.function.owner, rest)
                held = f"{self.function.owner}.{rest}"
                return method.name if method else names.resolve(held) if names.resolve(held) != held else ""
            return "" if rest else self.function.owner
        if first in self.imported:
            return names.resolve(self.imported[first] + (f".{rest}" if rest else ""))
        if first in self.types and rest and "." not in rest:
            method = self.flows.method(self.types[first], rest)
            return method.name if method else ""
        return names.resolve(names.local(self.function.source, path))

    def _is_careful(self) -> bool:
        """Whether another load asks for weights only, or the caller does: the one that does not is for old torch."""
        nodes = ast.walk(self.function.node)
        return "weights_only" in self.function.parameters or any(
            _true(node, "weights_only") for node in nodes if isinstance(node, ast.Call)
        )

    def _of_base(self, node: ast.Attribute) -> str:
        """``super().name``"""
        for base in self.flows.classes.get(self.function.owner, ()):
            if method := self.flows.method(base, node.attr):
                return method.name
        return ""

    def _event(self, node: ast.Call) -> None:
        positional = [self.taint(a) for a in node.args if not isinstance(a, ast.Starred)]
        keywords = {k.arg: self.taint(k.value) for k in node.keywords if k.arg}
        path = self.resolve(node.func)
        if isinstance(node.func, ast.Attribute) and not path:
            owner = self.taint(node.func.value)
            method = node.func.attr
            if owner and method in PATH_WRITES | PATH_DELETES:
                self.function.events.append(
                    Event("os.remove" if method in PATH_DELETES else "shutil.copy", [owner, owner], {}, {})
                )
            elif owner and method == "open":
                self.function.events.append(Event("path.open", [owner], {}, _constants(node)))
            return
        if path and (any(positional) or any(keywords.values())):
            if path in UNPICKLERS:
                if _true(node, "weights_only"):
                    return
                if _false(node, "weights_only") or (_absent(node, "weights_only") and not self._is_careful()):
                    file = positional[0] if positional else keywords.get("f", {})
                    self.function.events.append(Event("pickle.load", [file], {}, {}))
            self.function.events.append(Event(path, positional, keywords, _constants(node)))
        if path == "functools.partial" and node.args and (target := self.resolve(node.args[0])):
            self.function.events.append(Event(target, positional[1:], keywords, {}))


def _true(node: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords)


def _false(node: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is False for k in node.keywords)


def _absent(node: ast.Call, name: str) -> bool:
    return all(k.arg not in (name, None) for k in node.keywords)


def _constants(node: ast.Call) -> dict[str, object]:
    """Arguments that are constants, by position and by name; others are there without a value."""
    values: dict[str, object] = {}
    for key, value in (*enumerate(node.args), *((k.arg, k.value) for k in node.keywords if k.arg)):
        values[str(key)] = value.value if isinstance(value, ast.Constant) else None
    return values


def merge(into: Taint, other: Taint) -> None:
    for key, how in other.items():
        into[key] = max(how, into.get(key, 0))


def joined(*taints: Taint) -> Taint:
    result: Taint = {}
    for taint in taints:
        merge(result, taint)
    return result


def as_part(taint: Taint) -> Taint:
    return dict.fromkeys(taint, PART)


def limited(taint: Taint, how: int) -> Taint:
    return {key: min(value, how) for key, value in taint.items()} if how else {}
