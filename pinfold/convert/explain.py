"""`--explain`: what each class, function and constant of the generated files was made from, and how."""

import re

from pinfold.convert.merge.members import Body, Member, raises_attribute_error, split_class
from pinfold.convert.read import modules
from pinfold.convert.read.model import Definition, kind_of
from pinfold.convert.read.workspace import Conversion

HEAD = ("name", "file", "made from", "how")


def table(conversion: Conversion) -> list[str]:
    """One line a definition, in columns: its name, its file, what it was made from, and what was done."""
    seen = set()
    rows = [HEAD]
    for definition in conversion.definitions.values():
        if id(definition) not in seen:
            seen.add(id(definition))
            origin = modules.shown_symbol(definition.origin) if definition.origin else conversion.path.name
            rows.append((definition.name, file_of(conversion, definition), origin, how(conversion, definition)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows]
    return [*(line.rstrip() for line in lines), *(f"note: {note}" for note in conversion.notes)]


def file_of(conversion: Conversion, definition: Definition) -> str:
    """The kinds of files that hold a definition: a function that two of them need is in both."""
    if definition.kind == "class":
        kind = kind_of(definition.name)
        return "modeling" if conversion.inline and kind == "configuration" else kind
    files = (name for name, text in conversion.files.items() if f"\n{definition.text}" in f"\n{text}")
    return ", ".join(sorted(name.removesuffix(f"_{conversion.name}.py") for name in files))


def how(conversion: Conversion, definition: Definition) -> str:
    """What was done with what a definition was made from."""
    if not definition.origin:
        return "as it is written"
    old = definition.origin.rpartition(".")[2]
    if definition.order[0] or definition.context is None:
        return "taken along" + (f", was {old}" if old != definition.name else "")
    child = split_class(conversion.module.items[definition.name].text)
    parent = split_class(definition.context.renamed.items[definition.context.rename(old)].text)
    whole = split_class(definition.text)
    done: dict[str, list[str]] = {}
    for member in child.members:
        if member.kind not in ("pass", "docstring"):
            done.setdefault(change(member, parent, whole), []).append(member.key)
    return "; ".join(f"{what}: {', '.join(keys)}" for what, keys in done.items()) or f"{old} under another name"


def change(member: Member, parent: Body, whole: Body) -> str:
    theirs = parent.find(member.key)
    if raises_attribute_error(member.node) and (theirs is not None or member.kind != "method"):
        return "removed"
    if theirs is None:
        return "added"
    if "super()" not in member.text:
        return "replaced"
    merged = whole.find(member.key)
    if merged is not None and re.search(r"\._inherited\d*_", merged.text):
        return "replaced, calling the parent's that is kept as _inherited_..."
    return "joined with the parent's"
