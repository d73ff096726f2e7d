"""@auto_docstring where it would print an error whenever the published file is imported.

transformers' decorator writes a docstring and prints "[ERROR] `x` is part of ...'s signature, but not documented" for
each argument or field that neither the docstring nor its own lists describe (transformers/utils/auto_docstring.py).
That speaks to authors of transformers; whoever loads a model can do nothing about it. Such a function or class goes
without the decorator, and a forward without a docstring gets one.
"""

import ast
import functools
import importlib.util
import re
from pathlib import Path

from pinfold.convert.edits import base_names, decorator_name, replaced, without_lines
from pinfold.convert.lowest import docstrings

DECORATOR = "auto_docstring"
LISTS = ("ModelArgs", "ImageProcessorArgs", "VideoProcessorArgs", "ProcessorArgs")
NEVER_ASKED = {"self", "kwargs", "args", "deprecated_arguments"}


def without_complaints(text: str) -> str:
    """A generated file's text, without the decorators that would print."""
    tree = ast.parse(text)
    spans: list[tuple[int, int | None]] = []
    more: list[tuple[int, list[str]]] = []
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        if (decorator := _decorator(owner)) and _of_class(owner):
            spans.append((decorator.lineno, decorator.end_lineno))
        for method in (node for node in owner.body if isinstance(node, ast.FunctionDef)):
            if (decorator := _decorator(method)) and _undocumented(_arguments(method), _said(method), owner.name):
                if method.name == "forward" and docstrings.lacks(method):
                    more.append((docstrings.before(text, method), docstrings.described(method, owner.name)))
                spans.append((decorator.lineno, decorator.end_lineno))
    if not spans:
        return text
    lines = text.split("\n")
    for number, added in sorted(more, reverse=True):
        lines[number:number] = added
    moved = [
        (first + sum(len(added) for number, added in more if number < first), last and last + _added(more, first))
        for first, last in spans
    ]
    return _without_import(without_lines("\n".join(lines), moved))


def _added(more: list[tuple[int, list[str]]], line: int) -> int:
    return sum(len(added) for number, added in more if number < line)


def _decorator(node: ast.ClassDef | ast.FunctionDef) -> ast.expr | None:
    return next((each for each in node.decorator_list if decorator_name(each) == DECORATOR), None)


def _of_class(node: ast.ClassDef) -> list[str]:
    """What the decorator of a class would complain about."""
    if any(base.endswith("Config") for base in base_names(node)):
        fields = [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
        init = _init(node)
        return _undocumented(fields if init is None else _arguments(init), _said(node), node.name, ("ConfigArgs",))
    init = _init(node)
    return _undocumented(_arguments(init), _said(init), node.name) if init else []


def _init(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)


def _arguments(node: ast.FunctionDef) -> list[str]:
    return [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def _said(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Its docstring, and what is said to the decorator."""
    decorator = _decorator(node)
    words = [keyword.value for keyword in decorator.keywords] if isinstance(decorator, ast.Call) else []
    texts = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    return "\n".join([ast.get_docstring(node) or "", *texts])


def _undocumented(names: list[str], said: str, owner: str, lists: tuple[str, ...] = LISTS) -> list[str]:
    known = _known(lists, owner)
    return [
        name
        for name in names
        if name not in NEVER_ASKED
        and not name.startswith("_")
        and name not in known
        and not re.search(rf"^\s*`*{re.escape(name)}`*\s*\(", said, re.MULTILINE)
    ]


def _known(lists: tuple[str, ...], owner: str) -> set[str]:
    described = _lists()
    ending = max((name for name in described if name.startswith("For") and owner.endswith(name)), key=len, default="")
    return set().union(*(described.get(name, set()) for name in (*lists, ending)))


@functools.cache
def _lists() -> dict[str, set[str]]:
    """Class of the installed transformers' lists -> the names that it describes; those for one head by its ending."""
    spec = importlib.util.find_spec("transformers")
    path = Path(spec.origin).parent / "utils" / "auto_docstring.py" if spec and spec.origin else None
    if path is None or not path.is_file():
        return {}
    classes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
    return {
        node.name: {t.id for s in node.body if isinstance(s, ast.Assign) for t in s.targets if isinstance(t, ast.Name)}
        for node in classes
    }


def _without_import(text: str) -> str:
    """Without the import of the decorator where nothing uses it any more."""
    tree = ast.parse(text)
    if any(isinstance(node, ast.Name) and node.id == DECORATOR for node in ast.walk(tree)):
        return text
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == DECORATOR for alias in node.names):
            rest = [alias for alias in node.names if alias.name != DECORATOR]
            new = ast.unparse(ast.ImportFrom(node.module, rest, node.level)) if rest else ""
            return replaced(text, [(node, new)])
    return text
