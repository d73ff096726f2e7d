"""Which names of its module a statement uses, binds and changes, by Python's own rules of scope."""

import ast
import functools
import symtable
import warnings
from collections.abc import Iterable, Iterator

from pinfold.common.trees import root

_COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@functools.cache
def used(node: ast.stmt) -> frozenset[str]:
    """Names that are looked up in the module when the statement, or a function in it, runs."""
    return frozenset(_globals(_table(node), top=True)) - {"super"}


@functools.cache
def used_at_once(node: ast.stmt) -> frozenset[str]:
    """Those that are looked up while the statement itself runs: not in the bodies of its functions."""
    return frozenset(_globals(_table(node), top=True, later=False)) - {"super"}


@functools.cache
def of_class_bodies(node: ast.stmt) -> frozenset[str]:
    """Names that the body of a class both sets and reads: looked up in the module as long as they are not set."""
    return frozenset(_in_class_bodies(_table(node)))


@functools.cache
def quoted(node: ast.AST) -> set[str]:
    """Names in annotations that are written as text; nothing looks them up when the code runs."""
    texts = [part.value for place in _annotations(node) for part in ast.walk(place) if isinstance(part, ast.Constant)]
    names: set[str] = set()
    for text in texts:
        if isinstance(text, str):
            try:
                parsed = ast.parse(text.strip(), mode="eval")
            except (SyntaxError, ValueError):
                continue
            names |= {part.id for part in ast.walk(parsed) if isinstance(part, ast.Name)}
    return names


@functools.cache
def bound(node: ast.stmt) -> set[str]:
    """Names of the module that the statement gives a value."""
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return set()
    return {symbol.get_name() for symbol in _table(node).get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def binds_surely(node: ast.stmt) -> bool:
    """Whether what was bound to its names before is gone after it."""
    return isinstance(node, (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def changed(node: ast.stmt) -> list[ast.expr]:
    """What is changed in place: items and attributes that are set or deleted, and objects whose method is called."""
    return _changed(_outside_of_definitions(node))


def changed_inside(node: ast.stmt) -> set[str]:
    """The names at the beginning of what a function changes when it is called."""
    declared = {name for part in ast.walk(node) if isinstance(part, ast.Global) for name in part.names}
    return {root(target) for target in _changed(ast.walk(node))} - {""} | declared


def calls(node: ast.stmt) -> list[ast.Call]:
    """The calls that run with the statement, outside of definitions."""
    return [part for part in _outside_of_definitions(node) if isinstance(part, ast.Call)]


def _changed(parts: Iterable[ast.AST]) -> list[ast.expr]:
    found: list[ast.expr] = []
    for part in parts:
        targets: list[ast.expr] = []
        if isinstance(part, ast.Assign):
            targets = part.targets
        elif isinstance(part, (ast.AugAssign, ast.AnnAssign)):
            targets = [part.target]
        elif isinstance(part, ast.Delete):
            targets = part.targets
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            targets = [part.value.func] if isinstance(part.value.func, ast.Attribute) else []
        targets = [each for t in targets for each in (t.elts if isinstance(t, (ast.Tuple, ast.List)) else [t])]
        found += [target for target in targets if isinstance(target, (ast.Subscript, ast.Attribute))]
    return found


def is_main_guard(node: ast.stmt) -> bool:
    """``if __name__ == "__main__":``"""
    test = node.test if isinstance(node, ast.If) else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = {ast.unparse(test.left), ast.unparse(test.comparators[0])}
    return sides == {"__name__", "'__main__'"}


def is_constant(value: ast.expr | None) -> bool:
    """Whether a value is written out: literals, names, and containers, attributes, items and operators of them."""
    return value is not None and all(is_constant_part(part) for part in ast.walk(value))


def is_constant_part(part: ast.AST) -> bool:
    """Whether a part of an expression is one of those that a written value consists of."""
    return isinstance(
        part,
        (
            *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.expr_context, ast.operator),
            *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.unaryop, ast.Starred),
        ),
    )


def decorators(node: ast.stmt) -> list[ast.expr]:
    """The decorators of a definition, and of those in a condition or guard."""
    parts = [node, *(part for part in _outside_of_definitions(node, themselves=True))]
    return [each for part in parts for each in getattr(part, "decorator_list", ())]


def _table(node: ast.stmt) -> symtable.SymbolTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes are the author's matter
        return symtable.symtable(ast.unparse(node), "<statement>", "exec")


def _globals(table: symtable.SymbolTable, top: bool = False, later: bool = True) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() if top else symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        if later or child.get_type() != "function" or child.get_name() in _COMPREHENSIONS:
            yield from _globals(child, later=later)


def _in_class_bodies(table: symtable.SymbolTable) -> Iterator[str]:
    if table.get_type() == "class":
        yield from (s.get_name() for s in table.get_symbols() if s.is_local() and s.is_referenced())
    for child in table.get_children():
        yield from _in_class_bodies(child)


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for part in ast.walk(node):
        if isinstance(part, (ast.arg, ast.AnnAssign)) and part.annotation:
            yield part.annotation
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and part.returns:
            yield part.returns


def of_one_scope(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement that run in the same scope: definitions themselves, but not their insides."""
    yield node
    if not isinstance(node, (*DEFINITIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        for child in ast.iter_child_nodes(node):
            yield from of_one_scope(child)


def _outside_of_definitions(node: ast.AST, themselves: bool = False) -> Iterator[ast.AST]:
    yield node
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _outside_of_definitions(child, themselves)
        elif themselves:
            yield child
