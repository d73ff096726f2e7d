"""What a call does with the things that it is handed: keeps them, or only looks at them."""

import ast
from collections.abc import Callable

from pinfold.audit.finding import WARNING
from pinfold.audit.security.state import State
from pinfold.audit.security.values import Instance, Many, Ref, Values, imported_paths, known_for_sure, known_strings

# Functions that look at what they are given and keep nothing of it; those of TESTS look into a tuple as well.
TESTS = frozenset(("builtins.isinstance", "builtins.issubclass"))
LOOKS = (
    TESTS
    | frozenset(("functools.partial", "functools.wraps", "functools.update_wrapper"))
    | frozenset(
        f"builtins.{name}"
        for name in "getattr hasattr setattr delattr vars dir type id bool".split()  # noqa: SIM905
    )
)


def use_of_arguments(state: State, node: ast.Call, functions: Values, evaluate: Callable[[ast.expr], Values]) -> str:
    """How the arguments of a call are evaluated: as "value", "base" or "look" (Expressions.evaluate).

    Args:
        evaluate: what an argument is, where it is only looked at.
    """
    looks = LOOKS.intersection(imported_paths(functions))
    if looks:
        return "base" if looks.isdisjoint(TESTS) else "look"
    if imported_paths(functions) == ["functools.reduce"] and _walks_own_object(state, node, evaluate):
        return "base"
    return "value"


def _walks_own_object(state: State, node: ast.Call, evaluate: Callable[[ast.expr], Values]) -> bool:
    """functools.reduce(getattr, names, self): parts of an object of the folder, one after the other."""
    if len(node.args) != 3 or node.keywords:
        return False
    function, names, start = map(evaluate, node.args)
    if function != (Ref("builtins.getattr"),) or not start or not all(isinstance(v, Instance) for v in start):
        return False
    rows = [v.items for v in names if isinstance(v, Many)]
    if len(rows) == len(names) == 1 and all(map(known_for_sure, rows[0])):
        for row in rows[0]:
            start = state.attribute(start, known_strings(row)[0], node, False)
    else:
        words = "follows names that are computed at run time, beginning at an object of the folder."
        state.report("S15", node, f"functools.reduce(getattr, ...) {words}", WARNING)
    return True
