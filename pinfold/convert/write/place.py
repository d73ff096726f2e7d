"""Which file a definition goes into, in which order, and with which imports."""

import ast
import re
from dataclasses import dataclass, field, replace

from pinfold.convert.read import lookup, names, sources
from pinfold.convert.read.model import Definition, global_names, kind_of
from pinfold.convert.read.resolve import placed_text, resolve
from pinfold.convert.read.sources import Import, Item
from pinfold.convert.read.vendor import renamed_reference
from pinfold.convert.read.workspace import Conversion

LOOPS = (ast.For, ast.While, ast.With)  # for what they do, not for the name that they set


def write_files(conversion: Conversion) -> None:
    """Sort definitions into files, each with what it needs, and write their texts.

    The order matters: which files there are is known only when everything that the classes reach is, and what belongs
    to no class is put into one of these files, behind what they hold already.
    """
    reached = reached_kinds(conversion)
    roots = roots_by_file(conversion, reached)
    contents = {kind: closure(conversion, kind, listed) for kind, listed in roots.items()}
    placed = {name for content in contents.values() for d in content.order for name in d.names or (d.name,)}
    add_exported(conversion, roots, placed)
    add_statements(conversion, roots, placed)
    contents = {kind: closure(conversion, kind, listed) for kind, listed in roots.items()}
    for kind, content in contents.items():
        conversion.files[f"{kind}_{conversion.name}.py"] = emit(conversion, content, set(contents))


def reached_kinds(conversion: Conversion) -> dict[str, str | None]:
    """Every definition that the modular file's classes use, and the file of those that are classes themselves.

    Classes that come along decide files too: a configuration that the modular file does not write.
    """
    by_kind: dict[str, list[str]] = {}
    for name in conversion.module.classes():
        by_kind.setdefault(kind_of(name), []).append(name)
    queue = [name for listed in by_kind.values() for name in listed]
    kinds: dict[str, str | None] = {}
    while queue:
        name = queue.pop()
        if name in kinds:
            continue
        definition = conversion.definitions[name]
        kinds[name] = kind_of(name) if definition.kind == "class" else None
        for used in sorted(definition.uses):
            other = resolve(conversion, used, definition.context)
            if isinstance(other, Definition) and other.name not in kinds:
                queue.append(other.name)
    return kinds


def roots_by_file(conversion: Conversion, reached: dict[str, str | None]) -> dict[str, list[str]]:
    """The classes that each file is made for: the modular file's own in its order, then those that come along."""
    module = conversion.module
    # a file beside the modular one, from which that itself takes something, stays as it is
    stays = {i.module.rpartition(".")[2] for i in module.imports.values() if lookup.own_module(conversion, i.module)}
    brought = {kind for kind in reached.values() if kind and f"{kind}_{conversion.name}" not in stays}
    kinds = dict.fromkeys([*(kind_of(name) for name in module.classes()), *sorted(brought)]) or {"modeling": None}
    roots = {}
    for kind in kinds:
        own = [name for name in module.items if reached.get(name) == kind]
        roots[kind] = own + sorted(name for name in reached if reached[name] == kind and name not in own)
    return roots


def add_exported(conversion: Conversion, roots: dict[str, list[str]], placed: set[str]) -> None:
    """Functions and constants that no class uses and that `__all__` names, and a module's `__getattr__`."""
    module = conversion.module
    exported = {*(module.exported or ()), "__getattr__"}
    for name, item in module.items.items():
        if item.kind == "class" or name in placed or name not in exported:
            continue
        kinds = [kind_of(word) for word in names.WORD.findall(item.text)] if name == "__getattr__" else []
        # a __getattr__ goes to the classes that it names
        kind = next((k for k in kinds if k in roots and k != "modeling"), "modeling")
        roots[kind if kind in roots else next(iter(roots))].append(name)


def add_statements(conversion: Conversion, roots: dict[str, list[str]], placed: set[str]) -> None:
    """Statements that act: into the file of what they use, the model's first."""
    module = conversion.module
    loops = {id(i): i for n, i in module.items.items() if isinstance(i.node, LOOPS) and n not in placed}
    for item in sorted([*module.others, *loops.values()], key=lambda i: i.line):
        if is_idle(item.node):
            continue
        definition = statement(conversion, item)
        kinds = [kind_of(used) for used in sorted(definition.uses) if used in conversion.definitions]
        kinds = [kind for kind in kinds if kind in roots]
        kind = "modeling" if "modeling" in kinds or not kinds else kinds[0]
        roots[kind if kind in roots else next(iter(roots))].append(definition.name)


def is_idle(node: ast.stmt) -> bool:
    """A text that is not a docstring, and what runs only where the file is a program."""
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
    )


def statement(conversion: Conversion, item: Item) -> Definition:
    """A statement that binds no name, such as ALL_ATTENTION_FUNCTIONS["mine"] = attention: it goes to the end."""
    text = item.text
    for mentioned in global_names(text):
        text = renamed_reference(conversion, mentioned, text)
    definition = Definition(f"line {item.line}", text, "other", (2, item.line), None, (), global_names(text))
    conversion.definitions[definition.name] = definition
    return definition


@dataclass
class Content:
    """What one generated file holds: definitions in their order, imports, and classes of the files beside it."""

    order: list[Definition] = field(default_factory=list)
    imports: dict[str, Import] = field(default_factory=dict)
    siblings: dict[str, set[str]] = field(default_factory=dict)


def closure(conversion: Conversion, kind: str, roots: list[str]) -> Content:
    """The roots of a file with all that they need.

    A definition comes behind what is read when it is defined, and before what is only used when it runs.
    """
    content = Content()
    placed: set[int] = set()
    underway: set[int] = set()

    def add(definition: Definition) -> None:
        if id(definition) in placed or id(definition) in underway:
            return
        underway.add(id(definition))
        needed = []
        for used in sorted(definition.uses):
            content.imports |= submodules(conversion, used, definition)
            other = resolve(conversion, used, definition.context)
            if other is None or other is definition:
                continue
            if isinstance(other, Import):
                content.imports[used] = other
            elif other.kind == "class" and elsewhere(other.name, kind):
                content.siblings.setdefault(kind_of(other.name), set()).add(other.name)
            else:
                needed.append(other)
        for other in sorted({id(x): x for x in needed}.values(), key=lambda d: d.order):
            # a class that is only used later would bring subclasses of what is being placed in front of it
            if other.kind != "class" or must_precede(definition, other):
                add(other)
        underway.discard(id(definition))
        if id(definition) not in placed:
            placed.add(id(definition))
            content.order.append(definition)
        for other in needed:
            add(other)

    for name in roots:
        add(conversion.definitions[name])
    return content


def submodules(conversion: Conversion, name: str, definition: Definition) -> dict[str, Import]:
    """`import collections.abc`, of which a text has the name `collections`."""
    files = [conversion.module, *([definition.context.renamed] if definition.context else [])]
    return {
        key: each
        for file in files
        for key, each in file.imports.items()
        if key.startswith(f"{name}.") and re.search(rf"\b{re.escape(key)}\b", definition.text)
    }


def elsewhere(name: str, kind: str) -> bool:
    """Whether a class has another file; the file for PIL must not need the one for torchvision."""
    return kind_of(name) != kind and not (kind == "image_processing_pil" and kind_of(name) == "image_processing")


def must_precede(definition: Definition, other: Definition) -> bool:
    """Whether the other is read when this one is defined: a base, a decorator, a default, a class attribute."""
    tree = ast.parse(definition.text).body
    node = next((n for n in tree if isinstance(n, (ast.ClassDef, ast.FunctionDef))), None)
    if node is None:
        return True
    early: list[ast.AST] = list(node.decorator_list)
    if isinstance(node, ast.ClassDef):
        early += node.bases
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                early += part.decorator_list + part.args.defaults + [d for d in part.args.kw_defaults if d]
                early += annotations(part)
            else:
                early.append(part)
    else:
        early += node.args.defaults + [d for d in node.args.kw_defaults if d]
        early += annotations(node)
    return any(isinstance(n, ast.Name) and n.id in other.names for e in early for n in ast.walk(e))


def annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    arguments = node.args
    listed = [
        *arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg,
    ]  # fmt: skip
    return [a.annotation for a in listed if a is not None and a.annotation] + [node.returns] * bool(node.returns)


def public(imported: Import, conversion: Conversion) -> Import:
    """Imports as a self-contained folder writes them; Auto classes come from transformers itself."""
    if imported.module.startswith("transformers.models.auto"):
        return replace(imported, module=sources.auto_module(imported.module, imported.name))
    if lookup.own_module(conversion, imported.module):
        return replace(imported, module="." + imported.module.rpartition(".")[2])
    return imported


def emit(conversion: Conversion, content: Content, kinds: set[str]) -> str:
    """The text of a file: the licence, imports, guarded imports, definitions, `__all__`."""
    module = conversion.module
    lines, guards = import_lines(conversion, content, kinds)
    if module.package:
        guards = [g.replace(f"from {module.package}.", "from .") for g in guards]
    parts = [licence(conversion), "\n".join(dict.fromkeys(lines)), *guards]
    parts += [placed_text(d) for d in content.order]
    if module.exported is not None:
        here = {n for d in content.order for n in d.names or (d.name,)}
        parts.append(f"__all__ = {[n for n in module.exported if n in here]!r}")
    return "\n\n\n".join(p for p in parts if p) + "\n"


def import_lines(conversion: Conversion, content: Content, kinds: set[str]) -> tuple[list[str], list[str]]:
    """A file's imports, and the texts of those that are guarded by a condition."""
    module = conversion.module
    lines: list[str] = []
    guards: list[str] = []
    files = [d.context.original if d.context else module for d in content.order]
    if any(f.imports["annotations"].module == "__future__" for f in files if "annotations" in f.imports):
        lines.append("from __future__ import annotations")
    for _, each in sorted(content.imports.items()):
        each = public(each, conversion)
        if not each.guard:
            lines.append(each.line())
            continue
        beside = re.findall(rf"from \.(\w+)_{conversion.name} import", each.guard)
        exists = module.package or kinds.issuperset(beside)  # a type's file may not be generated
        if each.guard not in guards and exists:
            guards.append(each.guard)
    for guard in guards:  # what the guard's condition itself needs
        for name in sorted(global_names(guard)):
            for file in [module, *(v.renamed for v in conversion.vendored.values())]:
                if name in file.imports and not file.imports[name].guard:
                    lines.append(public(file.imports[name], conversion).line())
                    break
    for sibling, classes in sorted(content.siblings.items()):
        lines.append(f"from .{sibling}_{conversion.name} import {', '.join(sorted(classes))}")
    return lines, guards


def licence(conversion: Conversion) -> str:
    return "\n".join(x for x in conversion.module.header.splitlines() if x.startswith("#"))
