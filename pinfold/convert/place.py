"""Which file a definition goes into, in which order, and with which imports."""

import ast
import re
from dataclasses import dataclass, field, replace

from pinfold.convert import build, names, source
from pinfold.convert.source import Import, Item

LOOPS = (ast.For, ast.While, ast.With)  # for what they do, not for the name that they set


def write_files(conversion: "build.Conversion") -> None:
    """Sort definitions into files, each with what it needs, and write their texts."""
    module = conversion.module
    wanted: dict[str, list[str]] = {}
    for name, item in module.items.items():
        if item.kind == "class":
            wanted.setdefault(build.kind_of(name), []).append(name)
    rest = [n for n, i in module.items.items() if i.kind != "class"]
    queue = [n for found in wanted.values() for n in found]
    # classes that come along decide files too: a configuration that the modular file does not write
    reached, files_of = set(), {}
    while queue:
        name = queue.pop()
        if name in reached:
            continue
        reached.add(name)
        made = conversion.definitions[name]
        files_of[name] = build.kind_of(name) if made.kind == "class" else None
        for used in sorted(made.uses):
            found = build.resolve(conversion, used, made.context)
            if isinstance(found, build.Definition) and found.name not in reached:
                queue.append(found.name)
    beside = {i.module.rpartition(".")[2] for i in module.imports.values() if build.own_module(conversion, i.module)}
    brought = {k for k in files_of.values() if k and f"{k}_{conversion.name}" not in beside}
    kinds = dict.fromkeys([*wanted, *sorted(brought)])  # a file that the modular one itself takes from stays
    if not kinds:
        kinds = {"modeling": None}
    roots = {}
    for kind in kinds:
        roots[kind] = [n for n in module.items if n in files_of and files_of[n] == kind]
        roots[kind] += sorted(n for n in files_of if files_of[n] == kind and n not in roots[kind])
    closures = {kind: closure(conversion, kind, found) for kind, found in roots.items()}
    placed = {n for c in closures.values() for d in c.order for n in d.names or (d.name,)}
    exported = {*(module.exported or ()), "__getattr__"}
    loose = [n for n in rest if n not in placed and n in exported]
    for name in loose:
        words = [
            w
            for w in names.WORD.findall(module.items[name].text)
            if build.kind_of(w) in closures and build.kind_of(w) != "modeling"
        ]
        kind = build.kind_of(words[0]) if name == "__getattr__" and words else "modeling"
        roots[kind if kind in closures else next(iter(closures))].append(name)
    loops = {id(i): i for n, i in module.items.items() if isinstance(i.node, LOOPS) and n not in placed}
    for item in sorted([*module.others, *loops.values()], key=lambda i: i.line):
        if not is_idle(item.node):
            made = statement(conversion, item)
            named = [
                build.kind_of(n)
                for n in sorted(made.uses)
                if n in conversion.definitions and build.kind_of(n) in closures
            ]
            kind = "modeling" if "modeling" in named or not named else named[0]
            roots[kind if kind in closures else next(iter(closures))].append(made.name)
    closures = {kind: closure(conversion, kind, found) for kind, found in roots.items()}
    for kind, found in closures.items():
        conversion.files[f"{kind}_{conversion.name}.py"] = emit(conversion, kind, found, set(closures))


def is_idle(node: ast.stmt) -> bool:
    """A text that stands alone, and what runs only where the file is a program."""
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
    )


def statement(conversion: "build.Conversion", item: Item) -> "build.Definition":
    """A statement that binds no name, such as ALL_ATTENTION_FUNCTIONS["mine"] = attention: it stands at the end."""
    text = item.text
    for mentioned in build.global_names(text):
        text = build.renamed_reference(conversion, mentioned, text)
    made = build.Definition(f"line {item.line}", text, "other", (2, item.line), None, (), build.global_names(text))
    conversion.definitions[made.name] = made
    return made


@dataclass
class Closure:
    order: list["build.Definition"] = field(default_factory=list)
    imports: dict[str, Import] = field(default_factory=dict)
    siblings: dict[str, set[str]] = field(default_factory=dict)


def closure(conversion: "build.Conversion", kind: str, roots: list[str]) -> Closure:
    result, seen, stack = Closure(), set(), set()

    def add(made: "build.Definition") -> None:
        if id(made) in seen:
            return
        if id(made) in stack:
            return
        stack.add(id(made))
        needed = []
        for used in sorted(made.uses):
            result.imports |= submodules(conversion, used, made)
            found = build.resolve(conversion, used, made.context)
            if found is None or found is made:
                continue
            if isinstance(found, Import):
                result.imports[used] = found
            elif found.kind == "class" and elsewhere(found.name, kind):
                result.siblings.setdefault(build.kind_of(found.name), set()).add(found.name)
            else:
                needed.append(found)
        for found in sorted({id(x): x for x in needed}.values(), key=lambda d: d.order):
            # a class that is only used later would bring subclasses of what is being placed in front of it
            if found.kind != "class" or must_precede(made, found):
                add(found)
        stack.discard(id(made))
        if id(made) not in seen:
            seen.add(id(made))
            result.order.append(made)
        for found in needed:
            add(found)

    for name in roots:
        add(conversion.definitions[name])
    return result


def submodules(conversion: "build.Conversion", name: str, made: "build.Definition") -> dict[str, Import]:
    """`import collections.abc`, of which a text has the name `collections`."""
    files = [conversion.module, *([made.context.renamed] if made.context else [])]
    return {
        key: each
        for file in files
        for key, each in file.imports.items()
        if key.startswith(f"{name}.") and re.search(rf"\b{re.escape(key)}\b", made.text)
    }


def elsewhere(name: str, kind: str) -> bool:
    """Whether a class has a file of its own; the file for PIL must not need the one for torchvision."""
    return build.kind_of(name) != kind and not (
        kind == "image_processing_pil" and build.kind_of(name) == "image_processing"
    )


def must_precede(made: "build.Definition", other: "build.Definition") -> bool:
    """Whether the other is read when this one is defined: a base, a decorator, a default, a class attribute."""
    tree = ast.parse(made.text).body
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


def annotations(node: ast.FunctionDef) -> list[ast.AST]:
    given = node.args
    listed = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [a.annotation for a in listed if a is not None and a.annotation] + [node.returns] * bool(node.returns)


def public(found: Import, conversion: "build.Conversion") -> Import:
    """Imports as a folder of its own writes them; Auto classes come from transformers itself."""
    if found.module.startswith("transformers.models.auto"):
        return replace(found, module=source.auto_module(found.module, found.name))
    if build.own_module(conversion, found.module):
        return replace(found, module="." + found.module.rpartition(".")[2])
    return found


def emit(conversion: "build.Conversion", kind: str, found: Closure, kinds: set[str]) -> str:
    lines, guards = [], []
    files = [d.context.original if d.context else conversion.module for d in found.order]
    if any(f.imports["annotations"].module == "__future__" for f in files if "annotations" in f.imports):
        lines.append("from __future__ import annotations")
    for _, each in sorted(found.imports.items()):
        each = public(each, conversion)
        if each.guard:
            beside = re.findall(rf"from \.(\w+)_{conversion.name} import", each.guard)
            there = conversion.module.package or kinds.issuperset(beside)  # a type's file that is not made
            if each.guard not in guards and there:
                guards.append(each.guard)
            continue
        lines.append(each.line())
    for guard in guards:  # what the guard's condition itself needs
        for name in sorted(build.global_names(guard)):
            for file in [conversion.module, *(v.renamed for v in conversion.vendored.values())]:
                if name in file.imports and not file.imports[name].guard:
                    lines.append(public(file.imports[name], conversion).line())
                    break
    for sibling, wanted in sorted(found.siblings.items()):
        lines.append(f"from .{sibling}_{conversion.name} import {', '.join(sorted(wanted))}")
    if conversion.module.package:
        guards = [g.replace(f"from {conversion.module.package}.", "from .") for g in guards]
    parts = [header(conversion), "\n".join(dict.fromkeys(lines)), *guards]
    parts += [build.placed(d) for d in found.order]
    if conversion.module.exported is not None:
        here = {n for d in found.order for n in d.names or (d.name,)}
        listed = [n for n in conversion.module.exported if n in here]
        parts.append(f"__all__ = {listed!r}")
    return "\n\n\n".join(p for p in parts if p) + "\n"


def header(conversion: "build.Conversion") -> str:
    licence = "\n".join(x for x in conversion.module.header.splitlines() if x.startswith("#"))
    return licence
