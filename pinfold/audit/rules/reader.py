"""Reads one function: what it returns, and what it does with the results of the modules that it calls.

From its first line to its last, as far as its text says it, with the methods and functions that it calls.
scripts/stock.py reads transformers' own sources with it, and rules read a folder's.
"""

import ast
import functools
import re
from collections.abc import Callable
from dataclasses import replace

from pinfold.audit.reachable import call_name, chain, is_try, parameters
from pinfold.audit.rules.values import (
    A_TENSOR,
    MODULE,
    MODULES,
    OUTPUT,
    SELF,
    TENSOR,
    TUPLE,
    Around,
    Record,
    Stored,
    Use,
    Value,
    added,
    joined,
    number_of,
    of_several,
    sliced,
)
from pinfold.common.trees import every

# What only tensors have, and what gives a tensor back.
_OF_TENSORS = """
abs add bfloat16 clamp clone contiguous cos cpu cuda detach div exp expand expand_as flatten float half index_select
log log_softmax masked_fill matmul mean mul neg norm permute pow relu repeat repeat_interleave reshape sigmoid sin
softmax sqrt squeeze sub sum tanh to transpose tril triu type_as unflatten unsqueeze view
"""
OF_TENSORS = frozenset(_OF_TENSORS.split())
SHAPES = frozenset(("shape", "dtype", "device", "ndim", "size", "dim", "T", "mT"))
# Functions of torch that give several tensors, or none.
_NOT_TENSORS = """
split chunk unbind tensor_split topk sort meshgrid broadcast_tensors size is_tensor is_grad_enabled no_grad finfo
is_autocast_enabled device dtype Size Generator get_default_dtype jit compiler
"""
NOT_TENSORS = frozenset(_NOT_TENSORS.split())
NOT_LAYERS = ("LSTM", "GRU", "RNN", "MultiheadAttention", "ModuleDict", "Parameter", "ParameterList", "Buffer")
IS_OUTPUT = re.compile(r"^[A-Z]\w*Output(With\w+)?$")
NAMED_TENSORS = re.compile(r"^(hidden_states?|inputs_embeds|pixel_values|x|input|input_tensor)$")
ASKS_WHAT_IT_IS = ("isinstance", "is_tensor", "hasattr", "len", "type", "getattr", "callable")
RUNS_ANOTHER = ("apply_chunking_to_forward",)
RUNS = ("forward", "__call__")
DEEP = 4  # functions that are followed from one to the next
NESTED = 90  # statements and expressions in each other, on all the way
NAMES_A_STEP = 20  # that are compared behind two branches
TWICE = 3  # loops in each other that are read twice


class Reader:
    """Reads one function; ``record`` is what was seen on the way."""

    def __init__(self, around: Around, record: Record | None = None, path: tuple[int, ...] = (), active: tuple = ()):
        self.nested = self.loops = 0
        self.around = around
        self.record = Record() if record is None else record
        self.path = path
        self.active = active
        self.quiet = 0
        self.results: list[Value] = []
        self.asked: frozenset[str] = frozenset()
        self.holds: Callable[[ast.expr], bool | None] = lambda test: None

    def run(self, function: ast.FunctionDef, arguments: dict[str, Value] | None = None) -> Value:
        """What the function returns."""
        self.active = (*self.active, function)
        self.asked = _asked(function)
        self.holds = self.around.conditions(function)
        values = {each.arg: _parameter(each) for each in parameters(function)} | (arguments or {})
        values["self"] = Value(MODULE, of=SELF)
        self.body(function.body, values)
        return joined(self.results) if self.record.steps > 0 else Value()

    # Statements: each says whether what follows it is not run.

    def body(self, statements: list[ast.stmt], values: dict[str, Value]) -> bool:
        self.nested += 1
        ended = False
        for each in statements if self.nested < NESTED else ():
            self.record.steps -= 1
            if self.record.steps < 0 or self.statement(each, values):
                ended = True
                break
        self.nested -= 1
        return ended

    def statement(self, node: ast.stmt, values: dict[str, Value]) -> bool:
        if isinstance(node, ast.If):
            return self.condition(node, values)
        if isinstance(node, (ast.For, ast.While)):
            self.loop(node, values)
        elif isinstance(node, ast.With):
            return self.body(node.body, values)
        elif is_try(node):
            self.guarded(node, values)
        elif isinstance(node, ast.Assign):
            value = self.value(node.value, values)
            for target in node.targets:
                self.bind(target, value, values)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.bind(node.target, self.value(node.value, values), values)
        elif isinstance(node, ast.AugAssign):
            result = self.combined(node, self.value(node.target, values), node.value, values)
            self.bind(node.target, result, values)
        elif isinstance(node, ast.Expr):
            self.value(node.value, values)
        elif isinstance(node, ast.Match):  # its cases say what things are
            values |= dict.fromkeys(_bound_in(node), Value())
        elif isinstance(node, ast.Return):
            self.results.append(Value() if node.value is None else self.value(node.value, values))
        return isinstance(node, (ast.Return, ast.Raise, ast.Continue, ast.Break))

    def condition(self, node: ast.If, values: dict[str, Value]) -> bool:
        holds = self.holds(node.test)
        if holds is not None:
            return self.body(node.body if holds else node.orelse, values)
        self.quiet += self.around.is_settled(node.test)
        before, sides = self.path, []
        self.record.steps -= len(values) // NAMES_A_STEP
        for branch in (node.body, node.orelse):
            self.path = (*before, next(self.record.numbers))
            copy = dict(values)
            sides.append((self.body(branch, copy), copy))
        self.quiet -= self.around.is_settled(node.test)
        goes_on = [copy for ended, copy in sides if not ended]
        _put(values, goes_on)
        leaves = every(node, ast.Return, ast.Continue, ast.Break) and not _asks_for_number(node.test)
        self.path = (*before, next(self.record.numbers)) if leaves else before
        return not goes_on

    def loop(self, node: ast.For | ast.While, values: dict[str, Value]) -> None:
        before = self.path
        if isinstance(node, ast.While):
            self.path = (*before, next(self.record.numbers))
        self.loops += 1
        for _ in range(2 if self.loops <= TWICE else 1):  # what one turn leaves, the next one begins with
            if isinstance(node, ast.For):
                self.bind(node.target, self.each(node.iter, values), values)
            self.body(node.body, values)
        self.loops -= 1
        self.path = before
        self.body(node.orelse, values)

    def guarded(self, node: ast.Try, values: dict[str, Value]) -> None:
        before = self.path
        self.quiet += 1  # an error there is expected
        self.path = (*before, next(self.record.numbers))
        copy = dict(values)
        self.body(node.body, copy)
        sides = [copy]
        for handler in node.handlers:
            sides.append(dict(values))
            self.body(handler.body, sides[-1])
        _put(values, sides)
        self.quiet -= 1
        self.path = before
        self.body([*node.orelse, *node.finalbody], values)

    def bind(self, target: ast.expr, value: Value, values: dict[str, Value]) -> None:
        if isinstance(target, ast.Name):
            values[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            starred = any(isinstance(each, ast.Starred) for each in target.elts)
            self.use(value, target, "star" if starred else "unpack", len(target.elts) - starred)
            items = () if starred or value.kind != TUPLE else value.items
            for place, each in enumerate(target.elts):
                each = each.value if isinstance(each, ast.Starred) else each
                self.bind(each, items[place] if place < len(items) else Value(), values)
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value, values)
            if owner.kind == MODULE:
                self.record.stored.append(Stored(owner.of, target.attr, value, target, self.path))
                if names := chain(target):
                    values[".".join(names)] = replace(value, via=(owner.of, target.attr))
        elif isinstance(target, ast.Subscript):
            owner = self.value(target.value, values)
            if owner.kind == MODULES and owner.via:
                self.record.stored.append(Stored(*owner.via, value, target, self.path))

    # Expressions

    def use(self, value: Value, node: ast.AST, way: str, count: int = 0) -> None:
        if value.source is not None and not self.quiet:
            self.record.uses.append(Use(value, node, way, count, self.path))

    def each(self, node: ast.expr, values: dict[str, Value]) -> Value:
        """What a loop over an expression gives in each turn."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id == "enumerate":
                return of_several([Value(), self.each(node.args[0], values)])
            if node.func.id == "zip":
                return of_several([self.each(argument, values) for argument in node.args])
            if node.func.id in ("reversed", "list", "tuple"):
                return self.each(node.args[0], values)
        value = self.value(node, values)
        return replace(value, kind=MODULE) if value.kind == MODULES else Value()

    def value(self, node: ast.AST, values: dict[str, Value]) -> Value:
        """What an expression comes to."""
        if isinstance(node, ast.Name):
            value = values.get(node.id, Value())
            return replace(value, source=None) if node.id in self.asked else value
        self.nested += 1
        value = self.of_parts(node, values) if self.nested < NESTED else Value()
        self.nested -= 1
        return value

    def of_parts(self, node: ast.AST, values: dict[str, Value]) -> Value:
        if isinstance(node, ast.Call):
            return self.call(node, values)
        if isinstance(node, ast.Attribute):
            return self.attribute(node, self.value(node.value, values), values)
        if isinstance(node, ast.Subscript):
            return self.item(node, values)
        if isinstance(node, ast.Tuple):
            if any(isinstance(each, ast.Starred) for each in node.elts):
                least = sum(not isinstance(each, ast.Starred) for each in node.elts)
                return Value(TUPLE, least)
            return of_several([self.value(each, values) for each in node.elts])
        if isinstance(node, (ast.List, ast.ListComp, ast.GeneratorExp)):
            return self.several(node, values)
        if isinstance(node, ast.BinOp):
            return self.combined(node, self.value(node.left, values), node.right, values)
        if isinstance(node, ast.IfExp):
            holds = self.holds(node.test)
            sides = [node.body, node.orelse] if holds is None else [node.body if holds else node.orelse]
            self.quiet += self.around.is_settled(node.test)
            before, results = self.path, []
            for side in sides:
                self.path = (*before, next(self.record.numbers)) if holds is None else before
                results.append(self.value(side, values))
            self.path = before
            self.quiet -= self.around.is_settled(node.test)
            return joined(results)
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value, values)
            self.bind(node.target, value, values)
            return value
        return self.value(node.operand, values) if isinstance(node, ast.UnaryOp) else Value()

    def attribute(self, node: ast.Attribute, base: Value, values: dict[str, Value]) -> Value:
        """base.name; the base is read once, as chains of calls are long."""
        if node.attr in SHAPES or node.attr in OF_TENSORS:
            self.use(base, node, "attribute")
        if base.kind != MODULE:
            return Value()
        name = ".".join(chain(node) or ["."])
        if name in values:
            return replace(values[name], source=None) if name in self.asked else values[name]
        return replace(self.around.member(base.of, node.attr), via=(base.of, node.attr))

    def item(self, node: ast.Subscript, values: dict[str, Value]) -> Value:
        base = self.value(node.value, values)
        place = number_of(node.slice)
        if chain(node.value) == ["ACT2FN"]:
            return Value(MODULE, of=("torch", "activation"))
        if base.kind == MODULES:
            return base if isinstance(node.slice, ast.Slice) else replace(base, kind=MODULE)
        if isinstance(node.slice, ast.Slice):
            self.use(base, node, "slice")
            return sliced(base, node.slice)
        if isinstance(node.slice, ast.Tuple):
            self.use(base, node, "attribute")  # as only tensors are indexed
            return A_TENSOR if base.kind == TENSOR else Value()
        if place is None:
            return Value()
        self.use(base, node, "item", place)
        if base.kind == TUPLE:
            return base.items[place] if 0 <= place < len(base.items) else Value()
        return A_TENSOR if base.kind == TENSOR else Value()

    def several(self, node: ast.List | ast.ListComp | ast.GeneratorExp, values: dict[str, Value]) -> Value:
        """A list of modules."""
        if isinstance(node, ast.List):
            parts = [self.value(each, values) for each in node.elts]
        else:
            inner = dict(values)
            for part in node.generators:
                self.bind(part.target, self.each(part.iter, inner), inner)
            parts = [self.value(node.elt, inner)]
        whole = joined(parts)
        return replace(whole, kind=MODULES, source=None) if whole.kind == MODULE else Value()

    def combined(
        self, node: ast.BinOp | ast.AugAssign, left: Value, other: ast.expr, values: dict[str, Value]
    ) -> Value:
        right = self.value(other, values)
        is_sum = isinstance(node.op, ast.Add)
        if left.kind == right.kind == MODULES:
            return joined([left, right])
        for one, another in ((left, right), (right, left)):
            if one.source is not None and another.source is None:
                self.use(one, node, "joined" if is_sum and another.kind == TUPLE else "computed")
        if is_sum:
            return added(left, right)
        return A_TENSOR if TENSOR in (left.kind, right.kind) else Value()

    # Calls

    def call(self, node: ast.Call, values: dict[str, Value]) -> Value:
        if isinstance(node.func, ast.Attribute):
            return self.call_of_attribute(node, node.func, values)
        callee = self.value(node.func, values)
        if callee.kind == MODULE:
            return self.call_of_module(node, callee, values)
        name = call_name(node)
        if name in RUNS_ANOTHER and node.args:
            inner = ast.copy_location(ast.Call(node.args[0], node.args[3:], []), node)
            return self.value(inner, values)
        function = self.around.function(name) if name else None
        if function is not None:
            return self.inner(function, node, values)
        return self.named(node, chain(node.func), values)

    def call_of_attribute(self, node: ast.Call, func: ast.Attribute, values: dict[str, Value]) -> Value:
        if isinstance(func.value, ast.Call) and call_name(func.value) == "super":
            if func.attr in RUNS and (above := self.around.above()):
                return self.call_of_module(node, Value(MODULE, of=above), values)
            self.arguments(node, values)
            return Value()
        base = self.value(func.value, values)
        if base.kind == MODULE and func.attr in RUNS and base.of != SELF:
            return self.call_of_module(node, base, values)
        if base.of == SELF and base.kind == MODULE and (method := self.around.method(func.attr)) is not None:
            return self.inner(method, node, values)
        if base.kind == MODULES and func.attr in ("append", "insert") and node.args:
            if base.via:
                self.record.stored.append(Stored(*base.via, self.value(node.args[-1], values), node, self.path))
            return Value()
        callee = self.attribute(func, base, values)
        if callee.kind == MODULE:
            return self.call_of_module(node, callee, values)
        if func.attr in OF_TENSORS and base.kind != MODULE:
            self.arguments(node, values)
            return A_TENSOR
        return self.named(node, chain(func), values)

    def call_of_module(self, node: ast.Call, callee: Value, values: dict[str, Value]) -> Value:
        handed, by_name = self.arguments(node, values)
        first = handed[0] if handed else by_name.get("hidden_states", Value())
        if callee.of[:1] in (("torch",), ("stock",)):
            self.use(first, node, "handed")
        self.record.calls.append((node, callee, self.path))
        return replace(self.around.called(callee.of), source=node)

    def named(self, node: ast.Call, names: list[str], values: dict[str, Value]) -> Value:
        """What a call of a class or a function gives, going by its name."""
        handed, _ = self.arguments(node, values)
        of = self.around.built(names) if names else ()
        if of:
            return Value(MODULE, of=of)
        last = names[-1] if names else ""
        if names[:1] == ["nn"] or names[:2] == ["torch", "nn"]:
            if last in ("ModuleList", "Sequential"):
                whole = handed[0] if handed and last == "ModuleList" else Value()
                return whole if whole.kind == MODULES else Value(MODULES if last == "ModuleList" else "")
            if last[:1].isupper():
                return Value() if last.startswith(NOT_LAYERS) else Value(MODULE, of=("torch", last))
        if names[:1] in (["torch"], ["F"], ["nn"]) and len(names) > 1:
            return Value() if NOT_TENSORS.intersection(names) else A_TENSOR
        if last == "getattr":
            return Value()
        return Value(OUTPUT) if IS_OUTPUT.match(last) else Value()

    def arguments(self, node: ast.Call, values: dict[str, Value]) -> tuple[list[Value], dict[str, Value]]:
        by_place = [self.value(each, values) for each in node.args if not isinstance(each, ast.Starred)]
        by_name = {k.arg: self.value(k.value, values) for k in node.keywords if k.arg}
        return by_place, by_name

    def inner(self, function: ast.FunctionDef, node: ast.Call, values: dict[str, Value]) -> Value:
        """A method or function that is read too."""
        by_place, by_name = self.arguments(node, values)
        if function in self.active or len(self.active) > DEEP:
            return Value()
        names = [each.arg for each in parameters(function) if each.arg != "self"]
        reader = Reader(self.around, self.record, self.path, self.active)
        reader.quiet, reader.nested, reader.loops = self.quiet, self.nested, self.loops
        plain = not any(isinstance(each, ast.Starred) for each in node.args)
        return reader.run(function, (dict(zip(names, by_place, strict=False)) if plain else {}) | by_name)


def _parameter(node: ast.arg) -> Value:
    """What an argument is, by its name and what is said of its type."""
    text = ast.unparse(node.annotation) if node.annotation else ""
    tensor = "Tensor" in text and not re.search(r"tuple|list|cache", text, re.IGNORECASE)
    return A_TENSOR if tensor or NAMED_TENSORS.match(node.arg) else Value()


@functools.lru_cache(maxsize=1024)
def _asked(function: ast.FunctionDef) -> frozenset[str]:
    """Names in a function that it asks what they are, "self.name" too."""
    calls = (call for call in every(function, ast.Call) if call_name(call) in ASKS_WHAT_IT_IS)
    return frozenset(".".join(chain(part)) for call in calls for part in call.args[:1] if chain(part))


def _bound_in(node: ast.Match) -> set[str]:
    """Names that a match statement binds, in its patterns and cases."""
    names = {part.id for part in every(node, ast.Name) if isinstance(part.ctx, ast.Store)}
    patterns = every(node, ast.MatchAs, ast.MatchStar, ast.MatchMapping)
    return names | {name for part in patterns if (name := getattr(part, "name", None) or getattr(part, "rest", None))}


def _put(values: dict[str, Value], sides: list[dict[str, Value]]) -> None:
    """What names are behind branches, of which one has run."""
    for name in set().union(*sides):
        each = [side.get(name, Value()) for side in sides]
        values[name] = each[0] if all(one is each[0] for one in each) else joined(each)


def _asks_for_number(test: ast.expr) -> bool:
    """self.layer_idx == 0: other layers of the same class go the other way."""
    return any("layer_idx" in chain(part.left) for part in every(test, ast.Compare))
