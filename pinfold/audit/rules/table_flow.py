"""Where the order of a table's keys leads: names, attributes and lists that have it, and what depends on it (P69)."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from pinfold.audit.reachable import (
    ReachableCode,
    argument,
    assignments,
    call_name,
    chain,
    defined_functions,
    parameters,
)
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module

VIEWS = ("items", "keys", "values")
SAME_ORDER = {  # calls whose result has the order of what they are handed, and whether it is looked up by name
    **dict.fromkeys(("dict", "OrderedDict", "ModuleDict", "ParameterDict", "deepcopy", "copy"), True),
    **dict.fromkeys(("list", "tuple", "iter", "enumerate", "reversed", "zip", "filter", "map"), False),
}
JOINS = ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack")
BY_PLACE = (
    *("ModuleList", "Sequential", "ParameterList", "tensor", "as_tensor", "Tensor", "array"),
    *("split", "split_with_sizes", "next", "accumulate", "cumsum"),
)
SUMS = ("sum", "mean", "amax", "amin", "prod", "max", "min")
GROWS = ("append", "extend", "insert")
LISTS = ("ModuleList", "Sequential", "ParameterList")
OF_ANY = ("shape", "size", "dtype", "device", "new_", "dim")  # what is the same for each of a list, as a rule
ROUNDS = 4  # until what methods return and attributes hold has reached their readers


class Order(NamedTuple):
    """That something has the order of a setting's keys; by_name: it is a table, which is looked up by them."""

    setting: str
    by_name: bool


class TableFlow:
    """Follows settings through a folder's modules.

    Args:
        settings: names of the fields of a configuration that hold tables.
    """

    def __init__(self, code: ReachableCode, settings: set[str]):
        self.code, self.settings = code, settings
        self.held: dict[tuple[str, str], Order] = {}  # class, attribute
        self.returned: dict[int, Order] = {}  # a function
        self.taken: dict[int, dict[str, Order]] = {}  # a function -> its arguments
        self.made: dict[str, dict[str, list[str]]] = {}  # class -> attribute -> what makes it
        self.found: dict[str, tuple[Module, ast.expr | ast.stmt, str]] = {}

    def uses(self) -> dict[str, tuple[Module, ast.expr | ast.stmt, str]]:
        """Setting -> the first place where its order counts, and what does it."""
        configs = set(self.code.config_classes)
        functions = [(m, "", f) for m in self.code.modules for f in defined_functions(m).values()]
        for cls in self.code.classes:
            module, node = self.code.folder.classes[cls]
            if cls not in configs:
                functions += [(module, cls, part) for part in node.body if isinstance(part, ast.FunctionDef)]
        for _ in range(ROUNDS):
            before = (dict(self.held), dict(self.returned), str(self.taken))
            for module, cls, function in functions:
                _Function(self, module, cls, function).follow(function.body)
            if before == (self.held, self.returned, str(self.taken)):
                break
        return self.found

    def attribute(self, cls: str, name: str) -> Order | None:
        """The order that self.name has in a class."""
        lineage = self.code.folder.lineage(cls) if cls else []
        return next((self.held[owner, name] for owner in lineage if (owner, name) in self.held), None)

    def home(self, cls: str, path: list[str]) -> str:
        """The class that has the last of self.mixer.parts: of what self.mixer is built; "" where it is not known."""
        for name in path[1:-1]:
            lineage = self.code.folder.lineage(cls) if cls else []
            made = [each for owner in lineage for each in self._made(owner).get(name, ())]
            cls = next((each for each in made if each in self.code.folder.classes), "")
        return cls if path[:1] == ["self"] else ""

    def _made(self, owner: str) -> dict[str, list[str]]:
        """Attribute -> what is called to make it, of one class."""
        if owner not in self.made:
            table = self.made[owner] = {}
            for node in every(self.code.folder.classes[owner][1], ast.Assign, ast.AnnAssign):
                for target, value in assignments(node):
                    path = chain(target)
                    if isinstance(value, ast.Call) and len(path) == 2 and path[0] == "self":
                        table.setdefault(path[1], []).append(call_name(value))
        return self.made[owner]

    def function(self, module: Module, cls: str, call: ast.Call) -> tuple[ast.FunctionDef, bool] | None:
        """The folder's own function that a call runs, and whether it takes self."""
        path = chain(call.func)
        if path[:1] == ["self"] and len(path) == 2 and cls:
            method = self.code.folder.method(cls, path[1])
            return (method[1], True) if method else None
        if len(path) != 1:
            return None
        if path[0] in self.code.folder.classes:
            method = self.code.folder.method(path[0], "__init__")
            return (method[1], True) if method else None
        for each in (module, *self.code.modules):
            if path[0] in defined_functions(each):
                return defined_functions(each)[path[0]], False
        return None


class _Function:
    """One function, read from its first statement to its last."""

    def __init__(self, flow: TableFlow, module: Module, cls: str, function: ast.FunctionDef):
        self.flow, self.module, self.cls, self.definition = flow, module, cls, function
        self.names: dict[str, Order] = dict(flow.taken.get(id(function), {}))
        self.harmless: set[int] = set()

    # what has an order

    def order(self, node: ast.AST | None) -> Order | None:
        """The order in which an expression gives its parts, where it is that of a setting."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            path = chain(node)
            if home := self.flow.home(self.cls, path):
                return self.flow.attribute(home, node.attr)
            of_self = path[:1] == ["self"] and len(path) == 2
            return Order(node.attr, True) if node.attr in self.flow.settings and not of_self else None
        if isinstance(node, ast.Call):
            return self._of_call(node)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
            parts = [self.order(each.iter) for each in node.generators]
            return self._first(parts, isinstance(node, ast.DictComp)) if _uses_targets(node) else None
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._first([self.order(e.value) for e in node.elts if isinstance(e, ast.Starred)], False)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.BitOr)):
            return self.order(node.left) or self.order(node.right)
        if isinstance(node, ast.BoolOp):
            return next((order for part in node.values if (order := self.order(part))), None)
        if isinstance(node, ast.IfExp):
            return self.order(node.body) or self.order(node.orelse)
        return None

    def _of_call(self, call: ast.Call) -> Order | None:
        name = call_name(call)
        if isinstance(call.func, ast.Attribute) and name in VIEWS and not call.args:
            return self._first([self.order(call.func.value)], False)
        if isinstance(call.func, ast.Attribute) and name == "copy" and not call.args:
            return self.order(call.func.value)
        if name in SAME_ORDER:
            return self._first([self.order(part) for part in call.args], SAME_ORDER[name])
        if own := self.flow.function(self.module, self.cls, call):
            return self.flow.returned.get(id(own[0]))
        return None

    @staticmethod
    def _first(orders: list[Order | None], by_name: bool) -> Order | None:
        order = next((each for each in orders if each), None)
        return Order(order.setting, by_name) if order else None

    # statements

    def follow(self, body: list[ast.stmt], loop: ast.For | None = None) -> None:
        """Read statements; loop: the innermost one around them that goes by a setting."""
        for statement in body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                continue
            if isinstance(statement, ast.For):
                self._expressions(statement.iter)
                order = self.order(statement.iter)
                used = order is not None and _reads(statement.body, _targets(statement.target))
                self.follow(statement.body, statement if used else loop)
                self.follow(statement.orelse, loop)
                continue
            for part in ast.iter_child_nodes(statement):
                if isinstance(part, ast.expr):
                    self._expressions(part)
            self._assigned(statement)
            if isinstance(statement, ast.Return) and (order := self.order(statement.value)):
                self.flow.returned[id(self.definition)] = order
                if self.definition.name == "forward" and self.cls and not order.by_name:
                    self._use(order, statement, "what forward returns")
            if loop is not None:
                self._in_loop(statement, loop)
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(statement, name, None)
                if isinstance(inner, list):
                    self.follow(inner, loop)
            for handler in getattr(statement, "handlers", ()):
                self.follow(handler.body, loop)

    def _assigned(self, statement: ast.stmt) -> None:
        for target, value in assignments(statement):
            order = self.order(value)
            self._hold(target, order)

    def _hold(self, target: ast.expr, order: Order | None) -> None:
        if isinstance(target, ast.Name):
            if order:
                self.names[target.id] = order
            else:
                self.names.pop(target.id, None)
        elif isinstance(target, ast.Attribute) and order and (home := self.flow.home(self.cls, chain(target))):
            self.flow.held[home, target.attr] = order

    def _in_loop(self, statement: ast.stmt, loop: ast.For) -> None:
        """What a statement does that runs once for each key, in their order."""
        order = self.order(loop.iter)
        if order is None:
            return
        counted = _counted(loop)
        plain = isinstance(statement, (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign))
        if plain and any(each.id in counted for each in every(statement, ast.Name)) and not _prints(statement):
            self._use(order, statement, "a number that is counted over it")
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value
            if isinstance(call.func, ast.Attribute) and call.func.attr in GROWS:
                self._grows(call.func.value, order, statement)
            elif isinstance(call.func, ast.Attribute) and call.func.attr in (
                "add_module",
                "update",
                "register_module",
            ):
                self._hold(call.func.value, Order(order.setting, True))
        for target, value in assignments(statement):
            if isinstance(target, ast.Subscript):
                self._hold(target.value, Order(order.setting, True))
            elif isinstance(target, ast.Name) and value is not None:
                self._again(target.id, value, order, statement)
        if isinstance(statement, ast.AugAssign):
            self._added(statement, loop, order)

    def _grows(self, target: ast.expr, order: Order, statement: ast.stmt) -> None:
        """A list that gets one more for each key."""
        path = chain(target)
        made = [
            value
            for node in (every(self.flow.code.folder.classes[self.cls][1], ast.Assign) if self.cls else ())
            for place, value in assignments(node)
            if len(path) == 2 and chain(place) == path
        ]
        if any(isinstance(value, ast.Call) and call_name(value) in LISTS for value in made):
            self._use(order, statement, "a list of modules")
        self._hold(target, Order(order.setting, False))

    def _again(self, name: str, value: ast.expr, order: Order, statement: ast.stmt) -> None:
        """x = part(x), x = torch.cat([x, ...]), x = x + [...]."""
        if not isinstance(value, (ast.Call, ast.BinOp)) or not _reads([value], {name}):
            return
        if isinstance(value, ast.BinOp):
            if isinstance(value.right, (ast.List, ast.Tuple)) or isinstance(value.left, (ast.List, ast.Tuple)):
                self.names[name] = Order(order.setting, False)
            return
        func = value.func
        of_part = isinstance(func, ast.Subscript) or (
            isinstance(func, ast.Name) and func.id in self._targets_of(order)
        )
        if call_name(value) in JOINS or of_part:
            self._use(order, statement, f"{name} = {ast.unparse(value)[:50]}")

    def _targets_of(self, order: Order) -> set[str]:
        loops = [node for node in every(self.definition, ast.For) if self.order(node.iter) == order]
        return {name for node in loops for name in _targets(node.target)}

    def _added(self, statement: ast.AugAssign, loop: ast.For, order: Order) -> None:
        """columns += [...]; or a number that grows from key to key, and is read between."""
        if isinstance(statement.value, (ast.List, ast.Tuple, ast.ListComp)):
            self._grows(statement.target, order, statement)
        elif isinstance(statement.target, ast.Name):
            name = statement.target.id
            reads = [n for n in every(loop, ast.Name) if n.id == name and isinstance(n.ctx, ast.Load)]
            if reads:
                self._use(order, statement, f"{name}, which grows from key to key,")

    # expressions

    def _expressions(self, node: ast.AST) -> None:
        for call in every(node, ast.Call):
            self._sums(call)
        for part in every(node, ast.ListComp, ast.GeneratorExp, ast.DictComp):
            if isinstance(part, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
                self._counts(part)
        for call in every(node, ast.Call):
            if id(call) not in self.harmless:
                self._call(call)
        asked = {id(each.value) for each in every(node, ast.Attribute) if each.attr.startswith(OF_ANY)}
        for item in every(node, ast.Subscript):
            order = None if id(item) in asked else self.order(item.value)
            if order and not order.by_name and isinstance(item.ctx, ast.Load):
                self._use(order, item, f"{ast.unparse(item)[:50]}")

    def _sums(self, call: ast.Call) -> None:
        """torch.stack(columns).sum(0): the order is gone."""
        if call_name(call) not in SUMS:
            return
        method = isinstance(call.func, ast.Attribute) and chain(call.func.value) != ["torch"]
        inner = call.func.value if method and isinstance(call.func, ast.Attribute) else next(iter(call.args), None)
        if isinstance(inner, ast.Call) and call_name(inner) in JOINS:
            over, along = argument(call, 0 if method else 1, "dim"), argument(inner, 1, "dim")
            along_text = ast.unparse(along) if along is not None else "0"
            if over is None or (call_name(inner) == "stack" and ast.unparse(over) == along_text):
                self.harmless.add(id(inner))

    def _counts(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        """{name: i for i, name in enumerate(config.x)}."""
        for part in node.generators:
            order = self.order(part.iter)
            counted = _counted(part)
            if order and counted and _uses_targets(node, counted) and _uses_targets(node, without=counted):
                self._use(order, node, "a number that is counted over it")

    def _call(self, call: ast.Call) -> None:
        name = call_name(call)
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        orders = [self.order(v.value if isinstance(v, ast.Starred) else v) for v in values]
        order = next((each for each in orders if each), None)
        if order is None:
            return
        if name in JOINS or name in BY_PLACE:
            self._use(order, call, f"{ast.unparse(call.func)}(...)")
        elif name == "zip" and None in orders:
            self._use(order, call, ast.unparse(call)[:60])
        elif own := self.flow.function(self.module, self.cls, call):
            function, bound = own
            names = [each.arg for each in parameters(function)][1 if bound else 0 :]
            into = self.flow.taken.setdefault(id(function), {})
            for position, value in enumerate(call.args):
                if (each := self.order(value)) and position < len(names):
                    into[names[position]] = each
            for keyword in call.keywords:
                if keyword.arg and (each := self.order(keyword.value)):
                    into[keyword.arg] = each

    def _use(self, order: Order, node: ast.expr | ast.stmt, how: str) -> None:
        if self.definition.name not in ("__repr__", "__str__", "extra_repr"):
            self.flow.found.setdefault(order.setting, (self.module, node, how))


def _targets(target: ast.expr) -> set[str]:
    return {node.id for node in every(target, ast.Name)}


def _counted(loop: ast.For | ast.comprehension) -> set[str]:
    """The name of the number in `for i, name in enumerate(...)`."""
    counts = isinstance(loop.iter, ast.Call) and call_name(loop.iter) == "enumerate"
    first = loop.target.elts[0] if isinstance(loop.target, ast.Tuple) else None
    return {first.id} if counts and isinstance(first, ast.Name) else set()


def _reads(body: list, names: set[str]) -> bool:
    return any(node.id in names and isinstance(node.ctx, ast.Load) for part in body for node in every(part, ast.Name))


def _results(node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Iterator[ast.expr]:
    yield from (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)


def _uses_targets(
    node: ast.ListComp | ast.GeneratorExp | ast.DictComp,
    names: set[str] | None = None,
    without: frozenset | set = frozenset(),
) -> bool:
    """Whether what a comprehension makes reads the names of its loops."""
    own = {name for part in node.generators for name in _targets(part.target)} if names is None else names
    return _reads(list(_results(node)), own - set(without))


def _prints(statement: ast.stmt) -> bool:
    names = ("print", "info", "debug", "warning")
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and call_name(statement.value) in names
    )
