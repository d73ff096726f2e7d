"""Edits of a file's text at the positions of its syntax tree: the rest keeps its comments and its form."""

import ast
from types import SimpleNamespace


def replaced(text: str, edits: list[tuple[ast.AST, str]]) -> str:
    """Replace the source of nodes; the rest keeps its comments and its form."""
    raw = text.encode()
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line.encode()) + 1)
    spots = [
        (starts[n.lineno - 1] + n.col_offset, starts[n.end_lineno - 1] + n.end_col_offset, new) for n, new in edits
    ]
    for a, b, new in sorted(spots, reverse=True):
        raw = raw[:a] + new.encode() + raw[b:]
    return raw.decode()


def segment(text: str, node: ast.AST) -> str:
    return ast.get_source_segment(text, node) or ast.unparse(node)


def last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


def span_of(node: ast.AST, length: int | None = None) -> SimpleNamespace:
    """Where a node begins, for an edit of its first characters."""
    end = node.end_col_offset if length is None else node.col_offset + length
    last = node.end_lineno if length is None else node.lineno
    return SimpleNamespace(lineno=node.lineno, col_offset=node.col_offset, end_lineno=last, end_col_offset=end)


def functions_in(tree: ast.AST) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]


def classes_in(text: str) -> list[ast.ClassDef]:
    return [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]


def base_names(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(b) for b in node.bases]


def method_named(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name), None)


def assigned_names(node: ast.AST) -> set[str]:
    """Names that a class's body or a method sets."""
    names = set()
    for part in ast.walk(node):
        targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
        names |= {last_name(t) for t in targets if t is not None}
    return names


def with_lines(text: str, more: list[tuple[int, list[str]]]) -> str:
    """Put lines behind those with the given numbers."""
    lines = text.split("\n")
    for number, added in sorted(more, reverse=True):
        lines[number:number] = added
    return "\n".join(lines)


def without_lines(text: str, spans: list[tuple[int, int]]) -> str:
    gone = {n for first, last in spans for n in range(first, last + 1)}
    return "\n".join(line for n, line in enumerate(text.split("\n"), 1) if n not in gone)


def decorator_name(node: ast.expr) -> str:
    return last_name(node.func if isinstance(node, ast.Call) else node)


def assigned_in_body(node: ast.ClassDef) -> dict[str, str]:
    return {last_name(n.targets[0]): ast.unparse(n.value) for n in node.body if isinstance(n, ast.Assign)}


def with_lines_and_gone(text: str, more: list[tuple[int, list[str]]], gone: list[tuple[int, int]]) -> str:
    mark = "\0"  # lines that go keep their numbers until the new ones are in
    lines = text.split("\n")
    for first, last in gone:
        lines[first - 1 : last] = [mark] * (last - first + 1)
    return "\n".join(x for x in with_lines("\n".join(lines), more).split("\n") if x != mark)
