"""What a modular file of a user's own cannot say: each is one line with file, line and reason.

transformers' own modular files are not judged: what they take is what transformers' converter takes.
"""

import ast
import builtins
import difflib
import importlib
import re

from pinfold.common.errors import UserError
from pinfold.convert.read import lookup, modules
from pinfold.convert.read.sources import Import, Item
from pinfold.convert.read.workspace import Conversion


def check(conversion: Conversion) -> None:
    """
    Raises:
        UserError: the file is empty, defines a class twice, or names something that does not exist.
    """
    module = conversion.module
    path = conversion.path
    if not module.classes():
        nested = [n for n in ast.walk(ast.parse(module.text)) if isinstance(n, ast.ClassDef)]
        if nested:
            first = min(nested, key=lambda n: n.lineno)
            raise UserError(
                f"{path}:{first.lineno}: class {first.name} is inside another statement, and the file has no class at "
                "its top level; move it there"
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
    for imported in module.imports.values():
        if imported.name is not None and not imported.guard:
            is_there(conversion, imported)
    through_modules(conversion)
    for name in module.classes():
        known_bases(conversion, module.items[name].node)


def is_there(conversion: Conversion, imported: Import) -> None:
    """
    Raises:
        UserError: a name that transformers, or a file of this repository, does not have.
    """
    if imported.module.split(".")[0] != modules.TRANSFORMERS and not modules.is_model_module(imported.module):
        return
    if imported.module == modules.TRANSFORMERS:
        listed = dir(importlib.import_module(modules.TRANSFORMERS))
        if imported.name in listed or modules.find(f"{imported.module}.{imported.name}"):
            return
    else:
        lookup.original(imported.module, conversion, imported.at)
        module, name = lookup.defined(conversion, imported.module, imported.name)
        path = modules.find(module)
        file = conversion.workspace.load_module(module)
        listed = [*file.items, *file.imports]
        if name in listed or file.stars or "__getattr__" in listed or modules.find(f"{module}.{name}"):
            return
        if path.name == "__init__.py":  # it fills itself when it is asked
            return
    near = difflib.get_close_matches(imported.name, listed, 3, 0.6)
    show = "see what a model offers: pinfold convert --describe NAME"
    cure = f"the nearest: {', '.join(near)}" if near else show
    raise UserError(
        f"{conversion.path}:{imported.at}: {modules.shown(imported.module)} has no {imported.name}; {cure}"
    )


def known_bases(conversion: Conversion, node: ast.ClassDef) -> None:
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


def above(conversion: Conversion, node: ast.ClassDef, item: Item, base: str) -> None:
    """
    Raises:
        UserError: a base that is defined only below, or is another word for a model's class.
    """
    where = f"{conversion.path}:{node.lineno}: {node.name} derives from {base}, which"
    if item.line >= node.lineno:
        raise UserError(f"{where} line {item.line} defines; a base must come before the classes that derive from it")
    if item.kind == "class" or not isinstance(item.node, (ast.Assign, ast.AnnAssign)):
        return
    value = item.node.value
    if isinstance(value, ast.Name) and lookup.reference(conversion, value.id) is not None:
        raise UserError(f"{where} line {item.line} assigns; derive from {value.id} itself")


def through_modules(conversion: Conversion) -> None:
    """`import transformers.models.llama.modeling_llama as llama`: what is taken has to be imported by its name.

    Raises:
        UserError: a model's module is imported, or something of transformers' models is written transformers.X.
    """
    module = conversion.module
    whole = {
        alias: imported for alias, imported in module.imports.items() if not imported.guard and is_whole(imported)
    }
    for node in ast.walk(ast.parse(module.text)):
        if not isinstance(node, ast.Attribute):
            continue
        written = ast.unparse(node)
        alias = next((a for a in whole if written.startswith(f"{a}.")), None)
        if alias is None:
            continue
        imported = whole[alias]
        path = ".".join(
            [imported.module, *([imported.name] if imported.name else []), written.removeprefix(f"{alias}.")]
        )
        place, _, name = path.rpartition(".")
        if place == modules.TRANSFORMERS:
            exists = not name.startswith("Auto") and name in modules.public_classes()
        else:
            exists = modules.is_model_module(place) and modules.find(place) is not None
        if exists:
            raise UserError(
                f"{conversion.path}:{node.lineno}: {written} is reached through a module, which would stay as it is; "
                f"write: from {place} import {name}"
            )


def is_whole(imported: Import) -> bool:
    """Whether an import is of a module of transformers, not of a name in it."""
    if imported.module.split(".")[0] != modules.TRANSFORMERS and not modules.is_model_module(imported.module):
        return False
    return imported.name is None or modules.find(f"{imported.module}.{imported.name}") is not None


def where_is(name: str) -> str | None:
    """The model file of transformers that defines a class."""
    if name in modules.public_classes():
        return modules.public_classes()[name]
    for path in sorted((modules.find(modules.TRANSFORMERS).parent / "models").glob("*/modeling_*.py")):
        if re.search(rf"^class {re.escape(name)}\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            return f"{modules.TRANSFORMERS}.models.{path.parent.name}.{path.stem}"
    return None
