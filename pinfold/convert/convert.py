"""The conversion of one modular file: the order of its steps."""

import builtins
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert.merge.definitions import own_definitions
from pinfold.convert.read import lookup, refuse
from pinfold.convert.read.model import kind_of
from pinfold.convert.read.prefixes import find_prefixes
from pinfold.convert.read.workspace import Conversion, Generated, Workspace
from pinfold.convert.write import place
from pinfold.convert.write.finish import finish


def new_workspace() -> Workspace:
    return Workspace(generate)


def generate(path: Path, inline: bool, keep: bool, workspace: Workspace) -> Generated:
    """Convert one modular file and finish its files: what a workspace keeps."""
    conversion = convert(path, inline=inline, keep=keep, workspace=workspace)
    return Generated(conversion, finish(conversion))


def convert(
    path: Path, package: str = "", inline: bool = False, keep: bool = False, workspace: Workspace | None = None
) -> Conversion:
    """Convert one modular file; nothing is written.

    Args:
        path: modular_x.py.
        package: dotted name of its package, where it is part of one; "" for a file that is not.
        inline: put the configuration into the modeling file.
        keep: leave classes that can be subclasses of what they were made from.
        workspace: what the command has converted so far; default: nothing.

    Returns:
        The conversion; `files` maps file names to their texts, not yet formatted.

    Raises:
        UserError: one line with file, line and reason.
    """
    name = path.stem.removeprefix("modular_")
    workspace = workspace or new_workspace()
    module = workspace.load(path, package)
    conversion = Conversion(path, name, module, workspace, inline=inline, keep=keep)
    for name_, item in module.items.items():
        if item.kind == "class" and hasattr(builtins, name_):
            raise UserError(f"{path}:{item.line}: class {name_} hides Python's own {name_}; give it another name")
    for star, line in module.stars:
        raise UserError(f"{path}:{line}: from {star} import * does not say what is taken; name the symbols")
    if not package:
        refuse.check(conversion)
    bases = {n: lookup.base_of(conversion, i.node) for n, i in module.items.items() if i.kind == "class"}
    find_prefixes(conversion, bases)
    own_definitions(conversion, bases)
    place.write_files(conversion)
    if not package:
        unused_parts(conversion, bases)
    return conversion


def unused_parts(conversion: Conversion, bases: dict) -> None:
    """Notes of classes that replace nothing: MyMlp(LlamaMLP), beside which MyMLP is made and used."""
    used = {name for definition in conversion.definitions.values() for name in definition.uses - set(definition.names)}
    for name, base in bases.items():
        if base is None or name in used or kind_of(name) != "modeling":
            continue
        vendored = conversion.vendored[base[0]]
        replaced = vendored.rename(base[1])
        definition = conversion.definitions.get(replaced)
        if (
            replaced != name
            and replaced in used
            and definition is not None
            and definition.order[0] == 1
            and definition.context is vendored
        ):
            line = conversion.module.items[name].line
            conversion.notes.append(
                f"line {line}: {name} is never used, because {base[1]} is still in its place; rename {name} to "
                f"{replaced} to replace it"
            )
