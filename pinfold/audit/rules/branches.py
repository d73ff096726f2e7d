"""On which condition a line of a function runs, when it is called with what it needs and nothing more."""

import ast
import itertools

from pinfold.audit.reachable import assignments, defaults
from pinfold.common.trees import below, walk
from pinfold.folder.model_folder import Module, located

OPPOSITE: dict[type[ast.cmpop], str] = {
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
}


def condition(module: Module, function: ast.FunctionDef, node: ast.AST) -> str:
    """The innermost condition of a function that decides whether a node in it runs; "" where it always does.

    A branch that the function's own defaults choose runs in a plain call: ``x if x is not None else config.x``.
    """
    words = ""
    path = _path(function, node)
    for outer, inner in itertools.pairwise(path):
        if not isinstance(outer, (ast.If, ast.IfExp)) or inner is outer.test:
            continue
        body = outer.body if isinstance(outer.body, list) else [outer.body]
        holds = any(inner is part for part in body)
        if _by_default(outer.test, function) is not holds:
            words = module.text(outer.test, 60) if holds else _negated(module, outer.test)
    return words


def _path(root: ast.AST, node: ast.AST) -> list[ast.AST]:
    """From a node down to one in it, both included; empty where it is elsewhere."""
    if root is node:
        return [root]
    for child in below(root):
        if rest := _path(child, node):
            return [root, *rest]
    return []


def _negated(module: Module, test: ast.expr) -> str:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return module.text(test.operand, 60)
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in OPPOSITE:
        return f"{module.text(test.left, 40)} {OPPOSITE[type(test.ops[0])]} {module.text(test.comparators[0], 40)}"
    return f"not ({module.text(test, 60)})"


def _by_default(test: ast.expr, function: ast.FunctionDef) -> bool | None:
    """What a condition on an argument comes to where it is left to its default; None where that is not known."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _by_default(test.operand, function)
        return None if inner is None else not inner
    asked = test.left if isinstance(test, ast.Compare) and len(test.ops) == 1 else test
    if not isinstance(asked, ast.Name) or _set_above(asked, function):
        return None
    default = defaults(function).get(asked.id)
    if not isinstance(default, ast.Constant):
        return None
    if not isinstance(test, ast.Compare):
        return bool(default.value)
    right = test.comparators[0]
    if (
        not isinstance(right, ast.Constant)
        or right.value is not None
        or not isinstance(test.ops[0], (ast.Is, ast.IsNot))
    ):
        return None
    return (default.value is None) == isinstance(test.ops[0], ast.Is)


def _set_above(name: ast.Name, function: ast.FunctionDef) -> bool:
    line = located(name).lineno
    return any(
        isinstance(target, ast.Name) and target.id == name.id and located(node).lineno < line
        for node in walk(function)
        for target, _ in assignments(node)
    )
