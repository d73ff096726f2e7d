"""Calls of what is chosen at run time, in code that hands on what acts, or beside it.

A table of functions, a loop over pairs of a function and its arguments, getattr with a name out of the settings: where
the function that acts is named is reported by its name; where it is called is here.
"""

import ast

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.state import Scope, State
from pinfold.audit.security.tables.functions import DELETES
from pinfold.audit.security.tables.names import SENSITIVE, acts
from pinfold.audit.security.values import Instance, Own, Ref, Values, printable_excerpt
from pinfold.common.trees import every

MOST = 5  # of one file
ACTS = tuple(f"S{number:02d}" for number in range(1, 9))
PICKED = frozenset(Ref(f"{name}()") for name in ("functools.reduce", "builtins.next", "builtins.getattr"))


def note_chosen(state: State, node: ast.Call, functions: Values, owners: Values, scope: Scope) -> None:
    """Keep a call of which no reading knows what it calls, or which of the functions in a table."""
    if len(functions) > 1 and _is_from_table(node.func):
        state.chosen[node] = state.file, state.function, functions
    elif not PICKED.issuperset(functions) or not _is_chosen(state, node.func, owners, scope):
        state.chosen.pop(node, None)
    else:
        state.chosen[node] = state.file, state.function, ()


def _is_from_table(func: ast.expr) -> bool:
    """``TABLE[name](...)`` and ``TABLE.get(name)(...)``."""
    if isinstance(func, ast.Call) and isinstance(func.func, ast.Attribute):
        return func.func.attr in ("get", "pop", "__getitem__")
    return isinstance(func, ast.Subscript)


def _is_chosen(state: State, func: ast.expr, owners: Values, scope: Scope) -> bool:
    if isinstance(func, ast.Subscript):  # self.layers[0](x) is a part of a model
        return not _is_own_attribute(func.value)
    if isinstance(func, ast.Attribute):
        return any(
            isinstance(part, ast.FunctionDef) and part.name == "__getattr__"
            for owner in owners
            if isinstance(owner, Instance)
            for part in getattr(owner.node, "body", ())
        )
    if isinstance(func, ast.Name):
        return state.function is not None and not _is_part_of_model(func.id, state.function)
    return isinstance(func, ast.Call)


def _is_own_attribute(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _is_part_of_model(name: str, function: ast.AST) -> bool:
    """Whether a name holds, in a function, what a loop over parts of self gives it, or an attribute of self."""
    loops = [(loop.target, loop.iter) for loop in every(function, ast.For)]
    loops += [(part.target, part.iter) for part in every(function, ast.comprehension)]
    loops += [(target, node.value) for node in every(function, ast.Assign) for target in node.targets]
    for target, source in loops:
        if any(part.id == name for part in every(target, ast.Name)):
            return any(map(_is_own_attribute, every(source, ast.Attribute)))
    return False


def report_chosen(state: State) -> None:
    """S01 to S08 where something is called that the code chooses: in a file that hands on what acts, or beside it."""
    count: dict[str, int] = {}
    for node, (file, function, functions) in state.chosen.items():
        if functions:
            first = _first_of(state, file, functions)
        else:
            first = state.handed_on.get(file) or _beside(state, file, function)
        line = node.lineno
        if first is None or first[0] == line or count.get(file, 0) == MOST:
            continue
        code, key = first[1], (file, line, first[1])
        if key in state.reports:
            continue
        count[file] = count.get(file, 0) + 1
        words = f"calls what the code chooses at run time; see line {first[0]}, where {code} says what it can be."
        name = printable_excerpt(ast.unparse(node.func), 60)
        state.reports[key] = Finding(code, f"{file}:{line}: {name}(...) {words}", file, line, severity=WARNING)
        state.reported_in[key] = function


def _first_of(state: State, file: str, functions: Values) -> tuple[int, str] | None:
    """The first error of the functions in a table: where one of the folder acts, or where one that acts is named."""
    own = [v.node for v in functions if isinstance(v, Own)]
    inside = [_beside(state, file, node) for node in own if node in state.faults]
    if any(inside):
        return min(filter(None, inside))
    paths = [v.path for v in functions if isinstance(v, Ref)]
    return (
        state.handed_on.get(file)
        if any(path in SENSITIVE or path in DELETES or acts(path) for path in paths)
        else None
    )


def _beside(state: State, file: str, function: ast.AST | None) -> tuple[int, str] | None:
    """The first error of the same function: its line and code."""
    if function is None:
        return None
    keys = [key for key, where in state.reported_in.items() if where is function and key[0] == file and key[2] in ACTS]
    return min(((line, code) for _, line, code in keys if _is_error(state, (file, line, code))), default=None)


def _is_error(state: State, key: tuple[str, int, str]) -> bool:
    return key in state.reports and state.reports[key].severity == ERROR
