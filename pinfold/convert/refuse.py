"""What a modular file of a user's own cannot say: each is one line with file, line and reason.

transformers' own modular files are not judged: what they take is what transformers' converter takes.
"""

import ast
import builtins
import difflib
import importlib
import re
from collections import Counter

from pinfold.common.errors import UserError
from pinfold.convert import build, names, source
from pinfold.convert.merge import merge


def check(conversion: "build.Conversion") -> None:
    """
    Raises:
        UserError: the file is empty, defines a class twice, or speaks of something that is not there.
    """
    module, path = conversion.module, conversion.path
    if not module.classes():
        nested = [n for n in ast.walk(ast.parse(module.text)) if isinstance(n, ast.ClassDef)]
        if nested:
            first = min(nested, key=lambda n: n.lineno)
            raise UserError(
                f"{path}:{first.lineno}: class {first.name} stands inside another statement, and no class stands at "
                "the top of the file; move it there"
            )
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
    through_modules(conversion)
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
        if name in module.items and name not in module.imports:
            above(conversion, node, module.items[name], name)
        if name is None or name in module.items or name in module.imports or hasattr(builtins, name):
            continue
        place = where_is(name)
        cure = f"add: from {place} import {name}" if place else "import it, or define it above"
        raise UserError(
            f"{conversion.path}:{node.lineno}: {node.name} derives from {name}, which is neither imported nor defined "
            f"here; {cure}"
        )


def above(conversion: "build.Conversion", node: ast.ClassDef, item: "source.Item", base: str) -> None:
    """
    Raises:
        UserError: a base that is defined only below, or is another word for a model's class.
    """
    where = f"{conversion.path}:{node.lineno}: {node.name} derives from {base}, which"
    if item.line >= node.lineno:
        raise UserError(f"{where} line {item.line} defines; a base stands above what derives from it")
    if item.kind == "class" or not isinstance(item.node, (ast.Assign, ast.AnnAssign)):
        return
    value = item.node.value
    if isinstance(value, ast.Name) and build.reference(conversion, value.id) is not None:
        raise UserError(f"{where} line {item.line} assigns; derive from {value.id} itself")


def through_modules(conversion: "build.Conversion") -> None:
    """`import transformers.models.llama.modeling_llama as llama`: what is taken has to be imported by its name.

    Raises:
        UserError: a model's module is imported, or something of transformers' models is written transformers.X.
    """
    module = conversion.module
    whole = {alias: found for alias, found in module.imports.items() if not found.guard and is_whole(found)}
    for node in ast.walk(ast.parse(module.text)):
        if not isinstance(node, ast.Attribute):
            continue
        written = ast.unparse(node)
        alias = next((a for a in whole if written.startswith(f"{a}.")), None)
        if alias is None:
            continue
        found = whole[alias]
        path = ".".join([found.module, *([found.name] if found.name else []), written.removeprefix(f"{alias}.")])
        place, _, name = path.rpartition(".")
        if place == source.TRANSFORMERS:
            there = not name.startswith("Auto") and name in source.public_classes()
        else:
            there = source.is_model_module(place) and source.find(place) is not None
        if there:
            raise UserError(
                f"{conversion.path}:{node.lineno}: {written} is reached through a module, which would stay as it is; "
                f"write: from {place} import {name}"
            )


def is_whole(found: "source.Import") -> bool:
    """Whether an import is of a module of transformers, not of a name in it."""
    if found.module.split(".")[0] != source.TRANSFORMERS and not source.is_model_module(found.module):
        return False
    return found.name is None or source.find(f"{found.module}.{found.name}") is not None


CACHES = ("cache", "past_key_values", "past_key_value", "layer_past")  # what releases of transformers call it


def old_arguments(conversion: "build.Conversion", node: ast.ClassDef, parent: ast.ClassDef) -> None:
    """Arguments that the parent's callers pass under another name: the override would never see them.

    Raises:
        UserError: a method takes, or passes to its parent's, an argument by a name that is not the parent's.
    """
    theirs = {m.name: m for m in parent.body if isinstance(m, merge.FUNCTIONS)}
    for method in node.body:
        if not isinstance(method, merge.FUNCTIONS) or method.name not in theirs:
            continue
        known = merge.parameters(theirs[method.name])
        renamed = {old: new for old, new in renamings(theirs[method.name]).items() if new in known}
        cache = next((c for c in CACHES if c in known), None)
        renamed |= {c: cache for c in CACHES if cache and c not in known}
        said = {n.value for n in ast.walk(method) if isinstance(n, ast.Constant)}
        for name in merge.parameters(method):
            new = renamed.get(name)
            if new and new not in merge.parameters(method) and new not in said:
                raise UserError(
                    f"{conversion.path}:{method.lineno}: {node.name}.{method.name} takes {name}, which its callers "
                    f"pass as {new} in this transformers; call it {new}"
                )
        for call in (n for n in ast.walk(method) if isinstance(n, ast.Call)):
            if merge.super_call(call) is None or call.func.attr != method.name:
                continue
            word = next((k.arg for k in call.keywords if k.arg in renamed), None)
            if word:
                raise UserError(
                    f"{conversion.path}:{call.lineno}: {node.name}.{method.name} passes {word} to its parent's, which "
                    f"calls it {renamed[word]} in this transformers; write {renamed[word]}="
                )


def renamings(node: ast.FunctionDef) -> dict[str, str]:
    """Old names of arguments and their new ones, as @deprecate_kwarg says them."""
    found = {}
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "deprecate_kwarg" and mark.args:
            new = next((k.value for k in mark.keywords if k.arg == "new_name"), None)
            if isinstance(mark.args[0], ast.Constant) and isinstance(new, ast.Constant):
                found[mark.args[0].value] = new.value
    return found


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
