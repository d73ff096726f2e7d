"""What a name in a generated file stands for: one of its definitions, or an import."""

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
    """What a name stands for: the modular file's own first, then what it imports, then what its context has."""
    if name in conversion.definitions:
        made = conversion.definitions[name]
        if made.order[0] == 1 and context is not None and made.context is not context:
            return from_vendored(conversion, context, name, renamed=True) or made  # where this one has another
        return made
    module = conversion.module
    if name in module.imports:
        symbol = lookup.reference(conversion, name)
        if symbol is None:
            found = module.imports[name]
            if lookup.own_module(conversion, found.module):
                return from_itself(conversion, found) or found
            theirs = from_vendored(conversion, context, name, renamed=True) if context else None
            return found if theirs is None or modules.has(found.module, found.name) else theirs
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
            found = from_vendored(conversion, conversion.vendored[symbol[0]], symbol[1])
            if found is not None:
                return found
    if context is None:
        return None
    return from_vendored(conversion, context, name, renamed=True)


def from_itself(conversion: Conversion, found: Import) -> Definition | Import | None:
    """What a modular file takes from a file that is made from it: what that has of the parent's."""
    kind = modules.purpose(found.module)
    if not any(i.kind == "class" and kind_of(n) == kind.rstrip("_") for n, i in conversion.module.items.items()):
        return None
    for vendored in list(conversion.vendored.values()):
        if modules.purpose(vendored.module) == kind and found.name in vendored.renamed.items:
            return from_vendored(conversion, vendored, found.name, renamed=True)
    return None


def of_another_file(made: Definition, vendored: Vendored) -> bool:
    """Whether a helper comes from a file for another purpose: of image processors, that for torch or that for PIL."""
    if made.kind == "class" or made.context is None or made.context is vendored:
        return False
    return modules.purpose(made.context.module) != modules.purpose(vendored.module)


def from_vendored(
    conversion: Conversion, vendored: Vendored, name: str, renamed: bool = False
) -> Definition | Import | None:
    new = name if renamed else vendored.rename(name)
    item = vendored.renamed.items.get(new)
    if new in conversion.definitions:
        there = conversion.definitions[new]
        if item is not None and there.order[0] == 1 and there.context is not vendored and there.text != item.text:
            if of_another_file(there, vendored):  # both, each in its file
                return conversion.twins.setdefault(
                    (vendored.module, new), taken_along(conversion, vendored, new, item)
                )
            if two_sources(conversion, there, vendored, item):
                return beside(conversion, vendored, new, item)
            note = f"{new} is {there.origin}; {vendored.module} has another one: import the one that you mean"
            if note not in conversion.notes:
                conversion.notes.append(note)
        return there
    if item is not None:
        made = taken_along(conversion, vendored, new, item)
        for each in item.names:
            conversion.definitions.setdefault(each, made)
        return made
    found = vendored.renamed.imports.get(new)
    if found is None:  # import collections.abc
        return next((i for k, i in vendored.renamed.imports.items() if k.startswith(f"{new}.")), None)
    if modules.is_model_module(found.module) and found.name is not None:
        if lookup.own_module(conversion, found.module):
            return found
        theirs = not os.path.isabs(found.module) and modules.package_of(found.module) != modules.package_of(
            vendored.module
        )
        if theirs and is_configuration(vendored.original) and found.name in modules.public_classes():
            # the configuration of a part that an Auto class makes, by transformers' own code: timm's, for PE Video
            return replace(found, module=modules.TRANSFORMERS)
        module, name = lookup.defined(conversion, found.module, found.name)
        other = vendor(conversion, module, vendored.renaming)
        return from_vendored(conversion, other, name) or found
    return found


def beside(conversion: Conversion, vendored: Vendored, new: str, item: Item) -> Definition:
    """A function or constant whose name another architecture's has already, under a name of its own."""
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


def placed_text(made: Definition) -> str:
    """A definition's text, in which names that stand beside another architecture's are the right ones."""
    text = made.text
    for name, other in (made.context.beside if made.context else {}).items():
        if name in made.uses:
            text = re.sub(rf"(?<![.\w]){re.escape(name)}\b", other, text)
    return text


def taken_along(conversion: Conversion, vendored: Vendored, name: str, item: Item) -> Definition:
    place = list(conversion.vendored).index(vendored.module)
    return Definition(
        name, item.text, item.kind, (1, place, item.line), vendored, item.names, global_names(item.text),
        f"{vendored.module}.{vendored.was(item)}",
    )  # fmt: skip


def two_sources(conversion: Conversion, there: Definition, vendored: Vendored, item: Item) -> bool:
    """Whether two architectures each bring something else under one name; a function or constant can be had twice.

    Raises:
        UserError: it is a class, and nobody says which one the other classes are to use.
    """
    if conversion.module.package or there.context is None:
        return False
    if modules.package_of(there.context.module) == modules.package_of(vendored.module):
        return False  # of one architecture: the conversion's notes say so
    if meaning(there.text) == meaning(item.text):
        return False
    if item.kind != "class" and len(item.names) < 2:
        return True
    theirs, old = there.origin.rpartition("."), vendored.was(item)
    users = [d for d in conversion.definitions.values() if d.context is vendored and there.name in d.uses]
    by = next((d for d in users if d.order[0] == 0), None)
    at = conversion.module.items[by.name].line if by else 1
    second = modules.shown(vendored.module)
    raise UserError(
        f"{conversion.path}:{at}: {modules.shown(theirs[0])} and {second} both bring a {there.name}, and they differ; "
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
