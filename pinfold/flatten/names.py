"""Which names of its module a statement uses, binds and changes, by Python's own rules of scope."""

import ast
import symtable
import warnings
from collections.abc import Iterable, Iterator

from pinfold.folder.model_folder import root

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def used(node: ast.stmt) -> set[str]:
    """Names that are looked up in the module when the statement, or a function in it, runs."""
    return set(_globals(_table(node), top=True)) - {"super"}


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


def bound(node: ast.stmt) -> set[str]:
    """Names of the module that the statement gives a value."""
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return set()
    return {symbol.get_name() for symbol in _table(node).get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def binds_surely(node: ast.stmt) -> bool:
    """Whether what was bound to its names before is gone after it."""
    return isinstance(node, (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def changed(node: ast.stmt) -> set[str]:
    """Names of the module whose value is changed in place: an item or an attribute is set, or a method is called."""
    return _changed(_outside_of_definitions(node))


def changed_inside(node: ast.stmt) -> set[str]:
    """The same of everything that a function does when it is called."""
    return _changed(ast.walk(node))


def _changed(parts: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for part in parts:
        targets: list[ast.expr] = []
        if isinstance(part, ast.Assign):
            targets = part.targets
        elif isinstance(part, (ast.AugAssign, ast.AnnAssign)):
            targets = [part.target]
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            targets = [part.value.func] if isinstance(part.value.func, ast.Attribute) else []
        names |= {root(target) for target in targets if isinstance(target, (ast.Subscript, ast.Attribute))}
    return names - {""}


def is_main_guard(node: ast.stmt) -> bool:
    """``if __name__ == "__main__":``"""
    return isinstance(node, ast.If) and any(
        isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test)
    )


def is_constant(value: ast.expr | None) -> bool:
    """Whether a value is written out: literals, names, and containers, attributes, items and operators of them."""
    allowed = (
        *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.expr_context, ast.operator),
        *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.unaryop, ast.Starred),
    )
    return value is not None and all(isinstance(part, allowed) for part in ast.walk(value))


def decorators(node: ast.stmt) -> set[str]:
    """The names that a definition's decorators begin with."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return set()
    return {root(decorator) for decorator in node.decorator_list} - {""}


def _table(node: ast.stmt) -> symtable.SymbolTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes are the author's matter
        return symtable.symtable(ast.unparse(node), "<statement>", "exec")


def _globals(table: symtable.SymbolTable, top: bool = False) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() if top else symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for part in ast.walk(node):
        if isinstance(part, (ast.arg, ast.AnnAssign)) and part.annotation:
            yield part.annotation
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and part.returns:
            yield part.returns


def _outside_of_definitions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _outside_of_definitions(child)
