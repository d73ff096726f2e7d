"""A method in parts, and what it reads, sets and takes."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace

from pinfold.convert.merge.members import Member, split_members

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def are_functions(*nodes: ast.AST) -> bool:
    return all(isinstance(n, FUNCTIONS) for n in nodes)


def function_parts(text: str) -> tuple[ast.FunctionDef, list[str]]:
    """A method's tree and lines, inside of a class without a name, so that no indentation changes."""
    whole = f"class _:\n{text}"
    return ast.parse(whole).body[0].body[0], whole.split("\n")


def header_end(node: ast.FunctionDef) -> int:
    """Last line of `def ...:`; a one-line body shares it."""
    ends = [node.lineno]
    for part in ast.walk(node.args):
        if hasattr(part, "end_lineno"):
            ends.append(part.end_lineno)
    if node.returns is not None:
        ends.append(node.returns.end_lineno)
    return max(ends)


def find_header_end(lines: list[str], node: ast.FunctionDef) -> int:
    """The line that ends the signature: the formatter closes it with `):` or `) -> x:` at the margin."""
    last = header_end(node)
    first = node.body[0]
    top = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    for number in range(last, top):
        line = lines[number - 1]
        if line.rstrip().endswith(":") or re.search(r":\s*#", line):  # the colon, with or without a comment behind it
            return number
    return last


def target_of(node: ast.stmt) -> str | None:
    """What a plain assignment sets: `self.x`, `x`."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    else:
        return None
    return ast.unparse(target) if isinstance(target, (ast.Attribute, ast.Name, ast.Tuple)) else None


def deleted_targets(node: ast.stmt) -> list[str]:
    return [ast.unparse(t) for t in node.targets] if isinstance(node, ast.Delete) else []


def own_scope(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a statement, without those of functions defined in it."""
    yield node
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            yield from own_scope(part)


def split_function(node: ast.FunctionDef, lines: list[str]) -> tuple[str, list[Member]]:
    """A method's docstring and its other statements; an assignment's key is what it sets."""
    start = find_header_end(lines, node)
    rows = split_members(node.body, lines, start)
    docstring = ""
    if rows and rows[0].kind == "docstring":
        docstring = rows[0].text
        rows = rows[1:]
    return docstring, [
        replace(m, key=target_of(m.node) or "", kind="row") for m in rows if not isinstance(m.node, ast.Pass)
    ]


def assemble_function(header: str, docstring: str, rows: list[Member]) -> str:
    parts = [header]
    if docstring:
        parts.append(docstring)
    for number, row in enumerate(rows):
        if row.spaced and (number or docstring):
            parts.append("")
        parts.append(row.text)
    if not docstring and not rows:
        parts.append("        pass")
    return "\n".join(parts)


def read_names(node: ast.AST) -> set[str]:
    """Names and attributes of `self` that a statement reads."""
    read = (n for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute)) and isinstance(n.ctx, ast.Load))
    return {ast.unparse(n) for n in read}


def parameters(node: ast.FunctionDef) -> list[str]:
    return [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]


def arguments_of(node: ast.FunctionDef) -> list[str]:
    """What a call passes: without `self` and `cls`."""
    bare = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    return parameters(node)[0 if bare else 1 :]


def names_in(body: list[ast.stmt], context: type) -> set[str]:
    return {
        n.id for s in body for n in own_scope(s) if isinstance(n, ast.Name) and isinstance(n.ctx, context)
    }  # fmt: skip


def stored_names(body: list[ast.stmt]) -> set[str]:
    return names_in(body, ast.Store)


def loaded_names(body: list[ast.stmt]) -> set[str]:
    return {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def with_defaults(node: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    listed = node.args.posonlyargs + node.args.args
    defaults = [None] * (len(listed) - len(node.args.defaults)) + node.args.defaults
    return [*zip(listed, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
