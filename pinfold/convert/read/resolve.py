"""What a name in a generated file means: one of its definitions, or an import."""

import ast
import os
import re
from dataclasses import replace

from pinfold.common.errors import UserError
from pinfold.convert.read import lookup, modules
from pinfold.convert.read.model import Definition, Vendored, global_names, kind_of
from pinfold.convert.read.sources import Import, Item
from pinfold.convert.read.vendor import is_configuration, vendor
from pinfold.convert.read.workspace import Conversion


def resolve(conversion: Conversion, name: str, context: Vendored | None) -> Definition | Import | None:
    """What a name means: the modular file's own first, then what it imports, then what its context has."""
    if name in conversion.definitions:
        definition = conversion.definitions[name]
        if definition.order[0] == 1 and context is not None and definition.context is not context:
            return from_vendored(conversion, context, name, renamed=True) or definition  # where this one has another
        return definition
    module = conversion.module
    if name in module.imports:
        symbol = lookup.reference(conversion, name)
        if symbol is None:
            other = module.imports[name]
            if lookup.own_module(conversion, other.module):
                return from_itself(conversion, other) or other
            in_context = from_vendored(conversion, context, name, renamed=True) if context else None
            return other if in_context is None or modules.has(other.module, other.name) else in_context
        return from_vendored(conversion, vendor(conversion, symbol[0]), symbol[1])
    dotted = next((i for k, i in module.imports.items() if k.startswith(f"{name}.")), None)  # import collections.abc
    if dotted is not None:
        return dotted
    for alias in module.imports:
        symbol = lookup.reference(conversion, alias)
        if (
            symbol is not None
            and symbol[0] in conversion.vendored
            and conversion.vendored[symbol[0]].rename(symbol[1]) == name
        ):
            other = from_vendored(conversion, conversion.vendored[symbol[0]], symbol[1])
            if other is not None:
                return other
    if context is None:
        return None
    return from_vendored(conversion, context, name, renamed=True)


def from_itself(conversion: Conversion, imported: Import) -> Definition | Import | None:
    """What a modular file takes from a file that is made from it: what that has of the parent's."""
    kind = modules.purpose(imported.module)
    if not any(i.kind == "class" and kind_of(n) == kind.rstrip("_") for n, i in conversion.module.items.items()):
        return None
    for vendored in list(conversion.vendored.values()):
        if modules.purpose(vendored.module) == kind and imported.name in vendored.renamed.items:
            return from_vendored(conversion, vendored, imported.name, renamed=True)
    return None


def of_another_file(definition: Definition, vendored: Vendored) -> bool:
    """Whether a helper comes from a file for another purpose: of image processors, that for torch or that for PIL."""
    if definition.kind == "class" or definition.context is None or definition.context is vendored:
        return False
    return modules.purpose(definition.context.module) != modules.purpose(vendored.module)


def from_vendored(
    conversion: Conversion, vendored: Vendored, name: str, renamed: bool = False
) -> Definition | Import | None:
    new = name if renamed else vendored.rename(name)
    item = vendored.renamed.items.get(new)
    if new in conversion.definitions:
        existing = conversion.definitions[new]
        if (
            item is not None
            and existing.order[0] == 1
            and existing.context is not vendored
            and existing.text != item.text
        ):
            if of_another_file(existing, vendored):  # both, each in its file
                return conversion.twins.setdefault(
                    (vendored.module, new), taken_along(conversion, vendored, new, item)
                )
            if two_sources(conversion, existing, vendored, item):
                return beside(conversion, vendored, new, item)
            first = modules.shown(existing.origin.rpartition(".")[0])
            note = (
                f"{new} is defined in both {first} and {modules.shown(vendored.module)} ({first} is used); import the "
                "one you want"
            )
            if note not in conversion.notes:
                conversion.notes.append(note)
        return existing
    if item is not None:
        definition = taken_along(conversion, vendored, new, item)
        for each in item.names:
            conversion.definitions.setdefault(each, definition)
        return definition
    imported = vendored.renamed.imports.get(new)
    if imported is None:  # import collections.abc
        return next((i for k, i in vendored.renamed.imports.items() if k.startswith(f"{new}.")), None)
    if modules.is_model_module(imported.module) and imported.name is not None:
        if lookup.own_module(conversion, imported.module):
            return imported
        foreign = not os.path.isabs(imported.module) and modules.package_of(imported.module) != modules.package_of(
            vendored.module
        )
        if foreign and is_configuration(vendored.original) and imported.name in modules.public_classes():
            # the configuration of a part that an Auto class makes, by transformers' own code: timm's, for PE Video
            return replace(imported, module=modules.TRANSFORMERS)
        module, name = lookup.defined(conversion, imported.module, imported.name)
        other = vendor(conversion, module, vendored.renaming)
        return from_vendored(conversion, other, name) or imported
    return imported


def beside(conversion: Conversion, vendored: Vendored, new: str, item: Item) -> Definition:
    """A function or constant whose name another architecture's has already, under another name."""
    other = f"{modules.package_of(vendored.module)}_{new}"
    other = other.upper() if new.isupper() else other
    if other not in conversion.definitions:
        text = re.sub(rf"\b{re.escape(new)}\b", other, item.text)
        place = list(conversion.vendored).index(vendored.module)
        conversion.definitions[other] = Definition(
            other, text, item.kind, (1, place, item.line), vendored, (other,), global_names(text),
            f"{vendored.module}.{vendored.was(item)}",
        )  # fmt: skip
        vendored.beside[new] = other
    return conversion.definitions[other]


def placed_text(definition: Definition) -> str:
    """A definition's text, in which names that two architectures have are the right ones."""
    text = definition.text
    for name, other in (definition.context.beside if definition.context else {}).items():
        if name in definition.uses:
            text = re.sub(rf"(?<![.\w]){re.escape(name)}\b", other, text)
    return text


def taken_along(conversion: Conversion, vendored: Vendored, name: str, item: Item) -> Definition:
    place = list(conversion.vendored).index(vendored.module)
    return Definition(
        name, item.text, item.kind, (1, place, item.line), vendored, item.names, global_names(item.text),
        f"{vendored.module}.{vendored.was(item)}",
    )  # fmt: skip


def two_sources(conversion: Conversion, existing: Definition, vendored: Vendored, item: Item) -> bool:
    """Whether two architectures each bring something else under one name; a function or constant can be had twice.

    Raises:
        UserError: it is a class, and the modular file does not say which one the others use.
    """
    if conversion.module.package or existing.context is None:
        return False
    if modules.package_of(existing.context.module) == modules.package_of(vendored.module):
        return False  # of one architecture: the conversion's notes say so
    if meaning(existing.text) == meaning(item.text):
        return False
    if item.kind != "class" and len(item.names) < 2:
        return True
    old = vendored.was(item)
    users = [d for d in conversion.definitions.values() if d.context is vendored and existing.name in d.uses]
    by = next((d for d in users if d.order[0] == 0), None)
    at = conversion.module.items[by.name].line if by else 1
    first = modules.shown(existing.origin.rpartition(".")[0])
    second = modules.shown(vendored.module)
    raise UserError(
        f"{conversion.path}:{at}: {first} and {second} both bring a {existing.name}, and they differ; "
        f"say which is meant: class {existing.name}({old}): pass, with from {second} import {old}"
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
