"""P72: weights that the model changes once it is used, or put to evaluation: what is saved then is another model.

forward that scales a weight in place the first time, and a train() that adds a part of the model to a weight. A load
begins anew, and does it again with what was saved. What only training does is another thing: that is what it is for.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    chain,
    combined,
    is_combined,
    is_self_attribute,
    parameters,
)
from pinfold.audit.rules.decided import settings
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.common.trees import below, every

CHANGES = ("mul_", "div_", "add_", "sub_", "neg_", "multiply_", "divide_", "subtract_")  # twice is not once
BACK = {"mul_": "div_", "div_": "mul_", "add_": "sub_", "sub_": "add_"}
OPERATORS: dict[type, str] = {ast.Mult: "mul_", ast.Div: "div_", ast.Add: "add_", ast.Sub: "sub_"}
WEIGHTS = ("weight", "bias")
OF_ALL = ("parameters", "named_parameters")
ENTRIES = (("forward", "P72.in_place"), ("train", "P72.merged_by_train"))
DEEP = 3  # methods of self that are followed
SAVES = ("state_dict", "save_pretrained")  # a method that has to do with these may put the weights back
TRAINING = "training"


def changed_weights(code: ReachableCode) -> Iterator[Finding]:
    """P72, once for each class."""
    methods = {part.name for cls in code.torch_modules for part in _methods(code, cls)}
    if any(word in name for name in methods for word in SAVES) or any("state_dict_" in w for w in code.mentioned):
        return
    without = NotBuilt(code)
    for cls in code.torch_modules:
        if code.folder.is_stock(cls) or cls in without.classes or not code.folder.is_concrete(cls):
            continue
        for entry, case in ENTRIES:
            method = code.folder.method(cls, entry)
            affected = harmed(case, code.lowest_version)
            node = _Use(code, cls, without.nodes).first(method[1]) if method and affected else None
            if method and node is not None:
                yield code.finding(
                    "P72",
                    f"{cls}: {ast.unparse(node)[:60]} changes a weight once the model is "
                    f"{'used' if entry == 'forward' else 'put to evaluation'}: what is saved then is changed once "
                    "more when it is loaded.",
                    method[0],
                    node,
                    fix="Leave the weights as they are, and compute with what they become.",
                    releases=affected,
                    case=case,
                )
                break


def _methods(code: ReachableCode, cls: str) -> list[ast.FunctionDef]:
    return [part for part in code.folder.classes[cls][1].body if isinstance(part, ast.FunctionDef)]


@dataclass
class _Use:
    """What an evaluated model runs of a method, and of the methods of self that it calls.

    Args:
        without: nodes that the settings rule out. names: that hold a weight in the function at hand.
    """

    code: ReachableCode
    cls: str
    without: set[int]
    names: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)

    def first(self, function: ast.FunctionDef, depth: int = 0) -> ast.AST | None:
        """The first node that changes a weight for good."""
        outer, self.names = self.names, self._bound(function)
        mode = parameters(function)[1].arg if function.name == "train" and len(parameters(function)) > 1 else ""
        nodes = [node for node in _run(function.body, mode) if id(node) not in self.without]
        changes = [(node, operation, place) for node in nodes for operation, place in self._change(node)]
        done = {(operation, place) for _, operation, place in changes}
        lasting = [node for node, operation, place in changes if (BACK.get(operation, ""), place) not in done]
        if lasting and (self._by_nothing(function) or self._has_saved_mark(function)):
            lasting = []
        for node in nodes if depth < DEEP and not lasting else ():
            name = call_name(node) if isinstance(node, ast.Call) and is_self_attribute(node.func) else ""
            inner = self.code.folder.method(self.cls, name) if name and name not in self.seen else None
            if inner:
                self.seen.add(name)
                if (place := self.first(inner[1], depth + 1)) is not None:
                    lasting = [place]
                    break
        self.names = outer
        return lasting[0] if lasting else None

    def _bound(self, function: ast.FunctionDef) -> set[str]:
        """Names that a loop or an assignment gives a weight, or each of several."""
        bound: set[str] = set()
        for loop in every(function, ast.For):
            iterated = loop.iter
            target = loop.target.elts[-1] if isinstance(loop.target, ast.Tuple) else loop.target
            each = iterated.elts if isinstance(iterated, (ast.Tuple, ast.List)) else []
            weights = bool(each) and all(self._is_weight(one) for one in each)
            if weights or (isinstance(iterated, ast.Call) and call_name(iterated) in OF_ALL):
                bound |= {target.id} if isinstance(target, ast.Name) else set()
        for node in every(function, *ASSIGNMENTS):
            for goal, value in assignments(node):
                if isinstance(goal, ast.Name) and value is not None and self._is_weight(value):
                    bound.add(goal.id)
        return bound

    def _is_weight(self, node: ast.AST) -> bool:
        """self.head.weight, also its .data; a parameter that a class of the folder makes; a name for one."""
        path = chain(node)
        path = path[:-1] if path[-1:] == ["data"] else path
        if len(path) == 1:
            return path[0] in self.names
        if len(path) < 2 or "grad" in path:
            return False
        own = {name for names in self.code.parameters.values() for name in names}
        return path[-1] in WEIGHTS or (path[-1] in own and (len(path) > 2 or self._has(path[-1])))

    def _has(self, name: str) -> bool:
        return any(name in self.code.parameters.get(owner, ()) for owner in self.code.folder.lineage(self.cls))

    def _change(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """(operation, what it changes), where a node changes a weight by what it was."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            if self._is_weight(node.func.value):
                yield node.func.attr, ".".join(chain(node.func.value)).removesuffix(".data")
        elif isinstance(node, ast.AugAssign) and self._is_weight(node.target):
            yield OPERATORS.get(type(node.op), "?"), ".".join(chain(node.target)).removesuffix(".data")
        for target, value in assignments(node):
            path = ".".join(chain(target)).removesuffix(".data")
            if value is None or isinstance(target, ast.Name) or not self._is_weight(target):
                continue
            for part in every(value, ast.BinOp):
                sides = [part.left, part.right] if type(part.op) in (ast.Mult, ast.Add) else [part.left]
                if any(".".join(chain(side)).removesuffix(".data") == path for side in sides):
                    yield OPERATORS.get(type(part.op), "?"), path

    def _by_nothing(self, function: ast.FunctionDef) -> bool:
        """Whether it scales by 2 ** (layer // config.every), and the model has no layer beyond the first ones."""
        values = settings(self.code)
        layers = {
            values.get(getattr(call.args[-1], "attr", ""))
            for module in self.code.modules
            for call in every(module.tree, ast.Call)
            if call_name(call) == "range" and call.args
        }
        numbers = [number for number in layers if isinstance(number, int)]
        for part in every(function, ast.BinOp):
            every_ = values.get(getattr(part.right, "attr", "")) if isinstance(part.op, ast.FloorDiv) else None
            if isinstance(every_, int) and numbers and max(numbers) <= every_:
                return True
        return False

    def _has_saved_mark(self, function: ast.FunctionDef) -> bool:
        """Whether a condition asks a buffer, which is saved with the weights and says that it was done."""
        buffers = {name for names in self.code.buffers.values() for name in names}
        return any(
            part.attr in buffers for node in every(function, ast.If) for part in every(node.test, ast.Attribute)
        )


def _run(body: list[ast.stmt], mode: str) -> Iterator[ast.AST]:
    """Nodes that run in evaluation.

    Args:
        mode: the argument of train that is False then.
    """
    pending: list[ast.AST] = list(reversed(body))
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.If, ast.IfExp)):
            holds = _holds(node.test, mode)
            branches = [node.body] * (holds is not False) + [node.orelse] * (holds is not True)
            parts = [part for branch in branches for part in (branch if isinstance(branch, list) else [branch])]
            pending += reversed(parts)
            continue
        if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        yield node
        pending += reversed(below(node))


def _holds(test: ast.expr, mode: str) -> bool | None:
    """Whether a condition holds in evaluation; None where it is about something else too."""
    if is_combined(test):
        return combined(test, lambda part: _holds(part, mode))
    if is_self_attribute(test) and test.attr == TRAINING:
        return False
    if isinstance(test, ast.Name) and mode and test.id == mode:
        return False
    return None
