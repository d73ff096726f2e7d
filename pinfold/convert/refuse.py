"""What a modular file of a user's own cannot say: each is one line with file, line and reason.

transformers' own modular files are not judged: what they take is what transformers' converter takes.
"""

import ast
import builtins
import difflib
import importlib
import re
from collections import Counter

from ..errors import UserError
from . import build, names, source


def check(conversion: "build.Conversion") -> None:
    """
    Raises:
        UserError: the file is empty, defines a class twice, or speaks of something that is not there.
    """
    module, path = conversion.module, conversion.path
    if not module.classes():
        raise UserError(f"{path}:1: it has no class; write one, as in: class MyModel(LlamaModel): pass")
    lines: dict[str, int] = {}
    for node in ast.parse(module.text).body:
        if isinstance(node, ast.ClassDef):
            if node.name in lines:
                raise UserError(
                    f"{path}:{node.lineno}: class {node.name} is in line {lines[node.name]} as well; give one of them "
                    "another name"
                )
            lines[node.name] = node.lineno
    for found in module.imports.values():
        if found.name is not None and not found.guard:
            is_there(conversion, found)
    for name in module.classes():
        known_bases(conversion, module.items[name].node)


def is_there(conversion: "build.Conversion", found: "source.Import") -> None:
    """
    Raises:
        UserError: a name that transformers, or a file of this repository, does not have.
    """
    if found.module.split(".")[0] != source.TRANSFORMERS and not source.is_model_module(found.module):
        return
    if found.module == source.TRANSFORMERS:
        listed = dir(importlib.import_module(source.TRANSFORMERS))
        if found.name in listed or source.find(f"{found.module}.{found.name}"):
            return
    else:
        build.original(found.module, conversion, found.at)
        module, name = build.defined(found.module, found.name)
        path = source.find(module)
        file = source.load(path, module.rpartition(".")[0])
        listed = [*file.items, *file.imports]
        if name in listed or file.stars or "__getattr__" in listed or source.find(f"{module}.{name}"):
            return
        if path.name == "__init__.py":  # it fills itself when it is asked
            return
    near = difflib.get_close_matches(found.name, listed, 3, 0.6)
    told = f"the nearest: {', '.join(near)}" if near else "python main.py --describe NAME shows what a model has"
    raise UserError(f"{conversion.path}:{found.at}: {source.shown(found.module)} has no {found.name}; {told}")


def known_bases(conversion: "build.Conversion", node: ast.ClassDef) -> None:
    """
    Raises:
        UserError: a base that is neither imported nor defined.
    """
    module = conversion.module
    for base in node.bases:
        name = next((n.id for n in ast.walk(base) if isinstance(n, ast.Name)), None)
        if name is None or name in module.items or name in module.imports or hasattr(builtins, name):
            continue
        place = where_is(name)
        cure = f"add: from {place} import {name}" if place else "import it, or define it above"
        raise UserError(
            f"{conversion.path}:{node.lineno}: {node.name} derives from {name}, which is neither imported nor defined "
            f"here; {cure}"
        )


def where_is(name: str) -> str | None:
    """The model file of transformers that defines a class."""
    if name in source.public_classes():
        return source.public_classes()[name]
    for path in sorted((source.find(source.TRANSFORMERS).parent / "models").glob("*/modeling_*.py")):
        if re.search(rf"^class {re.escape(name)}\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            return f"{source.TRANSFORMERS}.models.{path.parent.name}.{path.stem}"
    return None


def two_prefixes(conversion: "build.Conversion", old: str, pairs: list[tuple[str, str]]) -> None:
    """`FooMLP(LlamaMLP)` and `BarAttention(LlamaAttention)`: which of them the rest of Llama is called after.

    Raises:
        UserError: as many classes say the one as the other, and the file's own name says neither.
    """
    if conversion.module.package:
        return
    counted: Counter = Counter()
    first: dict[str, str] = {}
    for new, parent in pairs:
        prefix = names.infer(old, [(new, parent)])
        if prefix:
            counted[prefix] += 1
            first.setdefault(prefix, new)
    most = [p for p, n in counted.items() if n == max(counted.values())]
    own = names.plain(conversion.name)
    if len(most) < 2 or any(own.startswith(names.plain(p)) or names.plain(p).startswith(own) for p in most):
        return
    a, b = first[most[0]], first[most[1]]
    raise UserError(
        f"{conversion.path}:{conversion.module.items[b].line}: {a} and {b} give {old} two names, {most[0]} and "
        f"{most[1]}; begin both with one of them"
    )


def two_sources(
    conversion: "build.Conversion", there: "build.Definition", vendored: "build.Vendored", item: "source.Item"
) -> bool:
    """Whether two architectures each bring something else under one name; a function or constant can be had twice.

    Raises:
        UserError: it is a class, and nobody says which one the other classes are to use.
    """
    if conversion.module.package or there.context is None:
        return False
    if source.package_of(there.context.module) == source.package_of(vendored.module):
        return False  # of one architecture: the conversion's notes say so
    if meaning(there.text) == meaning(item.text):
        return False
    if item.kind != "class" and len(item.names) < 2:
        return True
    theirs, old = there.origin.rpartition("."), vendored.was(item)
    users = [d for d in conversion.definitions.values() if d.context is vendored and there.name in d.uses]
    by = next((d for d in users if d.order[0] == 0), None)
    at = conversion.module.items[by.name].line if by else 1
    second = source.shown(vendored.module)
    raise UserError(
        f"{conversion.path}:{at}: {source.shown(theirs[0])} and {second} both bring a {there.name}, and they differ; "
        f"say which is meant: class {there.name}({old}): pass, with from {second} import {old}"
    )


def meaning(text: str) -> str:
    """A definition without comments, docstrings, annotations and empty lines."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.unparse(tree)
