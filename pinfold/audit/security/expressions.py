"""What each kind of expression can be: the half of the reading that looks at values."""

import ast
from dataclasses import dataclass, field

from pinfold.audit.finding import WARNING
from pinfold.audit.security import values
from pinfold.audit.security.calls import Call, apply, look_up, unknown_method
from pinfold.audit.security.names import SECRET_PLACES
from pinfold.audit.security.values import Const, Decoded, Given, Many, Own, Picked, Ref, Table, shown, union
from pinfold.folder.model_folder import Module

BLOB = 1500
TESTS = frozenset(("builtins.isinstance", "builtins.issubclass"))
LOOKS = frozenset(
    f"builtins.{name}"
    for name in "getattr hasattr setattr delattr isinstance issubclass vars dir type id bool".split()  # noqa: SIM905
)


@dataclass
class Scope:
    """The names of a module, class or function."""

    kind: str
    node: ast.AST
    module: Module
    parent: "Scope | None" = None
    names: dict[str, tuple] = field(default_factory=dict)
    elsewhere: dict[str, "Scope"] = field(default_factory=dict)  # global and nonlocal names
    stars: list[str] = field(default_factory=list)

    def top(self) -> "Scope":
        scope = self
        while scope.parent:
            scope = scope.parent
        return scope


class Expressions:
    """Evaluates expressions; what it reports and how it finds names is Reading's."""

    def evaluate(self, node: ast.expr, scope: Scope, use: str = "value") -> tuple:
        """What an expression can be.

        Args:
            use: "value" where the result goes somewhere that is not followed, "base" where it is looked at here,
                "look" where the elements of a tuple are as well, "call" where it is called.
        """
        handler = getattr(self, f"of_{type(node).__name__}", None)
        if handler is None:
            self.children(node, scope)
            return ()
        found = handler(node, scope, use) if handler.__code__.co_argcount == 4 else handler(node, scope)
        if use == "value" and isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            self.hand_on(found, node)
        for value in found:
            if isinstance(value, Const) and isinstance(value.value, (str, bytes)) and len(value.value) > 4:
                self.text(value.value, node)
        return found

    def text(self, value: str | bytes, node: ast.AST) -> None:
        text = value[:4096] if isinstance(value, str) else value[:4096].decode("latin-1")
        if SECRET_PLACES.search(text):
            self.report("S08", node, f'"{shown(text)}" is where passwords or keys lie.')

    def of_Constant(self, node: ast.Constant, scope: Scope) -> tuple:
        value = node.value
        if isinstance(value, (str, bytes)) and len(value) >= BLOB and _is_blob(value):
            self.report("S10", node, f"{len(value)} characters that no person can read.", WARNING)
        if isinstance(value, (str, bytes)) and len(value) > values.MOST_CHARACTERS:
            return ()
        return (Const(value),) if isinstance(value, (str, bytes, int, float, type(None))) else ()

    def of_Name(self, node: ast.Name, scope: Scope, use: str) -> tuple:
        found = self.look_for(node.id, scope)
        if node.id == "__builtins__" and not found:
            found = (Ref("builtins"),)
        if node.id in ("__builtins__", "__loader__", "__spec__"):
            self.report("S15", node, f"{node.id} reaches into Python, where any name can be found.")
        for value in found:
            if isinstance(value, Ref):
                self.mention(value.path, node, use == "call")
        return found

    def of_Attribute(self, node: ast.Attribute, scope: Scope, use: str) -> tuple:
        owners = self.evaluate(node.value, scope, "base")
        return self.attribute(owners, node.attr, node, use == "call")

    def of_Call(self, node: ast.Call, scope: Scope) -> tuple:
        owners: tuple = ()
        if isinstance(node.func, ast.Attribute):
            owners = self.evaluate(node.func.value, scope, "base")
            functions = self.attribute(owners, node.func.attr, node.func, True)
        else:
            functions = self.evaluate(node.func, scope, "call")
        looks = {v.path for v in functions if isinstance(v, Ref)} & LOOKS
        call = Call(node, [], {})
        for argument in node.args:
            use = "look" if looks & TESTS else "base" if looks else "value"
            if isinstance(argument, ast.Starred):
                found = self.evaluate(argument.value, scope)
                rows = [v for v in found if isinstance(v, Many)]
                call.arguments += rows[0].items if len(rows) == 1 else [union(*values.elements(found))]
                call.open_ended |= len(rows) != 1
            else:
                call.arguments.append(self.evaluate(argument, scope, use))
        for keyword in node.keywords:
            found = self.evaluate(keyword.value, scope)
            if keyword.arg:
                call.keywords[keyword.arg] = found
            else:
                call.open_ended = True
                for value in found:
                    if isinstance(value, Table):
                        call.keywords |= {k: v for k, v in value.entries if isinstance(k, str)}
                        call.open_ended = False
        results = [apply(self, function, call, scope) for function in functions]
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if self.steps > 0:
                results += [values.method(owner, name, call.arguments, call.keywords) for owner in owners]
                self.steps -= sum(map(values.size, results))
            if all(isinstance(v, Picked) for v in functions):
                unknown_method(self, owners, name, call)
            results += [(v,) for v in owners if isinstance(v, (Given, Decoded))]
        return union(*results)

    def of_Lambda(self, node: ast.Lambda, scope: Scope) -> tuple:
        self.define(node, scope)
        return (Own(node),)

    def of_NamedExpr(self, node: ast.NamedExpr, scope: Scope) -> tuple:
        found = self.evaluate(node.value, scope, "base")
        self.bind(node.target, found, scope)
        return found

    def of_IfExp(self, node: ast.IfExp, scope: Scope, use: str) -> tuple:
        self.evaluate(node.test, scope, "base")
        return union(self.evaluate(node.body, scope, use), self.evaluate(node.orelse, scope, use))

    def of_BoolOp(self, node: ast.BoolOp, scope: Scope, use: str) -> tuple:
        return union(*(self.evaluate(value, scope, use) for value in node.values))

    def of_Compare(self, node: ast.Compare, scope: Scope) -> tuple:
        for side in (node.left, *node.comparators):
            found = self.evaluate(side, scope, "base")
            if any(isinstance(v, Ref) and v.path == "os.environ" for v in found):
                self.report("S08", node, "asks which environment variables are set.", WARNING)
        return ()

    def of_UnaryOp(self, node: ast.UnaryOp, scope: Scope) -> tuple:
        found = self.evaluate(node.operand, scope, "base")
        numbers = [v.value for v in found if isinstance(v, Const) and type(v.value) in (int, float)]
        return tuple(Const(-n) for n in numbers) if isinstance(node.op, ast.USub) else ()

    def of_BinOp(self, node: ast.BinOp, scope: Scope) -> tuple:
        spine = [node]
        while isinstance(spine[-1].left, ast.BinOp):  # a + b + c + ... is deep on its left side only
            spine.append(spine[-1].left)
        found, joined = self.evaluate(spine[-1].left, scope), ""
        for part in reversed(spine):
            other = self.evaluate(part.right, scope)
            if isinstance(part.op, ast.Div) and any(isinstance(v, Given) for v in found):
                found = tuple(v for v in found if isinstance(v, Given)) if inside(other) else ()
            elif isinstance(part.op, ast.Div) and any(isinstance(v, Ref) and "pathlib" in v.path for v in found):
                found = (Ref("pathlib.Path()"),)
                joined += "/" + "".join(values.strings(other)[:1])
                self.text(joined, part)
            elif isinstance(part.op, ast.Add) and found and all(isinstance(v, Given) for v in found):
                found = found if inside(other, joined=True) else ()
            else:
                found = values.binary(type(part.op), found, other)
            for value in found:
                if isinstance(value, Const) and isinstance(value.value, str):
                    self.text(value.value, part)
        return found

    def of_JoinedStr(self, node: ast.JoinedStr, scope: Scope) -> tuple:
        parts: list[tuple] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                found = self.evaluate(part.value, scope, "base")
                if part.format_spec is not None:
                    self.evaluate(part.format_spec, scope)
                    found = ()
                parts.append(values.pure("builtins.str", [found], {}, False) or found)
            else:
                parts.append(self.evaluate(part, scope))
        if parts and parts[0] and all(isinstance(v, Given) for v in parts[0]):
            return parts[0] if all(inside(p, joined=True) for p in parts[1:]) else ()
        found = (Const(""),)
        for part in parts:
            found = values.binary(ast.Add, found, part)
        return found

    def of_List(self, node: ast.List, scope: Scope, use: str) -> tuple:
        use = use if use == "look" else "value"
        items = [self.evaluate(e.value if isinstance(e, ast.Starred) else e, scope, use) for e in node.elts]
        if any(isinstance(e, ast.Starred) for e in node.elts):
            spread: list[tuple] = []
            for element, item in zip(node.elts, items, strict=True):
                spread += values.elements(item) if isinstance(element, ast.Starred) else [item]
            items = spread
        return values.many(items)

    of_Tuple = of_Set = of_List

    def of_Dict(self, node: ast.Dict, scope: Scope) -> tuple:
        entries = []
        for key, value in zip(node.keys, node.values, strict=True):
            name = self.evaluate(key, scope) if key is not None else ()
            found = self.evaluate(value, scope)
            if key is None:
                entries += [pair for v in found if isinstance(v, Table) for pair in v.entries]
            entries += [(v.value, found) for v in name if isinstance(v, Const)]
        return values.table(entries)

    def of_Subscript(self, node: ast.Subscript, scope: Scope) -> tuple:
        owners = self.evaluate(node.value, scope, "base")
        if isinstance(node.slice, ast.Slice):
            bounds = [self.evaluate(b, scope) if b else (Const(None),) for b in _bounds(node.slice)]
            return values.subscript(owners, values.many([(Const("slice"),), values.many(bounds)]))
        return look_up(self, owners, self.evaluate(node.slice, scope, "base"), node, scope)

    def of_Starred(self, node: ast.Starred, scope: Scope) -> tuple:
        return self.evaluate(node.value, scope)

    def of_Await(self, node: ast.Await, scope: Scope, use: str) -> tuple:
        return self.evaluate(node.value, scope, use)

    def of_Yield(self, node: ast.Yield, scope: Scope) -> tuple:
        if node.value is not None and self.function is not None:
            self.returned(self.function, values.many([self.evaluate(node.value, scope)]))
        return ()

    def of_ListComp(self, node: ast.ListComp, scope: Scope) -> tuple:
        results: list[tuple] = []
        parts = [node.elt] if not isinstance(node, ast.DictComp) else [node.key, node.value]
        for position, generator in enumerate(node.generators):
            found = self.evaluate(generator.iter, scope)
            rows = values.elements(found)
            self.bind(generator.target, union(*rows), scope)
            for test in generator.ifs:
                self.evaluate(test, scope, "base")
            simple = isinstance(generator.target, (ast.Name, ast.Tuple)) and len(node.generators) == 1
            if simple and rows and all(rows) and not generator.ifs and position == 0 and len(parts) == 1:
                if not self.afford(len(rows), node):
                    break
                inner = Scope("function", node, scope.module, scope)
                for row in rows:
                    inner.names = {}
                    self.bind(generator.target, row, inner)
                    results.append(self.evaluate(node.elt, inner))
        if not results:
            for part in parts:
                self.evaluate(part, scope)
        return values.many(results) if results and all(results) else ()

    of_GeneratorExp = of_SetComp = of_DictComp = of_ListComp


def inside(found: tuple, joined: bool = False) -> bool:
    """Whether a further part of a path stays below its directory, as far as it is known."""
    for text in values.strings(found):
        if ".." in text or (text.startswith(("/", "\\", "~")) and not joined):
            return False
    return not any(isinstance(v, (Decoded,)) for v in found)


def _bounds(node: ast.Slice) -> tuple:
    return node.lower, node.upper, node.step


def _is_blob(value: str | bytes) -> bool:
    head = value[:4096] if isinstance(value, bytes) else value[:4096].encode("utf-8", "replace")
    if isinstance(value, bytes) and sum(b < 9 or b > 126 for b in head) > len(head) // 4:
        return True
    spaces = sum(head.count(c) for c in (b" ", b"\n", b",", b";", b"{"))
    return spaces < len(head) // 60 and len(set(head)) > 12
