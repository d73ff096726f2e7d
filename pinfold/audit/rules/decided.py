"""What the settings of a folder decide: a branch that config.json rules out is not run by a load."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from pinfold.audit.reachable import ReachableCode, chain

UNKNOWN = object()
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, table: value in table,
    ast.NotIn: lambda value, table: value not in table,
}


def settings(code: ReachableCode) -> dict[str, Any]:
    """Field -> value, as the configuration has it after a load: of config.json, else the constructor's default.

    Empty without a config.json, as a load then has no settings to go by.
    """
    stored = code.configs.get("config.json")
    registered = code.auto_map.get("AutoConfig", "").split(".")[-1]
    if not stored or registered not in code.folder.classes:
        return {}
    values: dict[str, Any] = {}
    init = code.folder.method(registered, "__init__")
    if init:
        signature = init[1].args
        positional = [*signature.posonlyargs, *signature.args]
        pairs = list(zip(positional[len(positional) - len(signature.defaults) :], signature.defaults, strict=True))
        pairs += [(a, d) for a, d in zip(signature.kwonlyargs, signature.kw_defaults, strict=True) if d is not None]
        values = {a.arg: d.value for a, d in pairs if isinstance(d, ast.Constant)}
    return values | stored


def decide(test: ast.expr, values: dict[str, Any]) -> bool | None:
    """Whether a condition on the configuration holds; None where the settings alone do not say.

    >>> decide(ast.parse("config.rope == 'ntk' and not config.flash", mode="eval").body, {"rope": "linear"})
    False
    """
    if isinstance(test, ast.BoolOp):
        parts = [decide(part, values) for part in test.values]
        ends = isinstance(test.op, ast.Or)  # what one part alone decides
        return ends if ends in parts else None if None in parts else not ends
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = decide(test.operand, values)
        return None if inner is None else not inner
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        left, right = _value(test.left, values), _value(test.comparators[0], values)
        if UNKNOWN in (left, right) or type(test.ops[0]) not in COMPARISONS:
            return None
        try:
            return bool(COMPARISONS[type(test.ops[0])](left, right))
        except TypeError:  # None < 1: raises at run time too, and is another fault
            return None
    value = _value(test, values)
    return None if value is UNKNOWN else bool(value)


def _value(node: ast.expr, values: dict[str, Any]) -> Any:
    path = chain(node)
    if path[:2] == ["self", "config"]:
        path = path[1:]
    if path[:1] == ["config"] and len(path) == 2:
        return values.get(path[1], UNKNOWN)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
