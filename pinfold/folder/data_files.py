"""Files of data that a folder's classes name: the vocabulary of a tokenizer."""

import ast

from pinfold.folder.kinds import stock_kind
from pinfold.folder.model_folder import ModelFolder, Module, assigned


def vocabulary_files(folder: ModelFolder, cls: str) -> list[str]:
    """The files that a tokenizer class reads: the values of its ``vocab_files_names``, or of its base's.

    A base of transformers is asked itself; one that is not there names none.
    """
    for owner in folder.lineage(cls):
        module = folder.classes[owner][0]
        value = next(
            (
                value
                for statement in folder.classes[owner][1].body
                for targets, value in [assigned(statement)]
                if any(isinstance(target, ast.Name) and target.id == "vocab_files_names" for target in targets)
            ),
            None,
        )
        if value is not None:
            return _file_names(folder, module, value)
        for base, place in folder.bases(owner):
            if base not in folder.classes and stock_kind(base, place) == "tokenizer":
                return _of_stock(base)
    return []


def _file_names(folder: ModelFolder, module: Module, value: ast.expr, depth: int = 0) -> list[str]:
    """The names in {"vocab_file": "vocab.txt"}, or in a table of the module that is named instead."""
    if isinstance(value, ast.Dict):
        names = []
        for each in value.values:
            constant = _constant(module, each)
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                names.append(constant.value)
        return [name for name in names if is_plain_name(name)]
    if isinstance(value, ast.Name) and depth < 5:
        if value.id in module.imports:
            place, original = module.imports[value.id]
            sibling = folder.modules.get(place.removeprefix(".")) if place.startswith(".") else None
            return _file_names(folder, sibling, ast.Name(original), depth + 1) if sibling else []
        named = _constant(module, value)
        return _file_names(folder, module, named, depth + 1) if named is not value else []
    return []


def _constant(module: Module, value: ast.expr) -> ast.expr:
    """What a name of the module's top stands for; anything else stands for itself."""
    if not isinstance(value, ast.Name):
        return value
    for statement in module.tree.body:
        targets, constant = assigned(statement)
        if constant is not None and any(isinstance(t, ast.Name) and t.id == value.id for t in targets):
            return constant
    return value


def _of_stock(base: str) -> list[str]:
    import transformers

    try:
        names = getattr(transformers, base).vocab_files_names
    except (AttributeError, ImportError):  # not there, or in need of a package that is not
        return []
    return [name for name in names.values() if isinstance(name, str) and is_plain_name(name)]


def is_plain_name(name: str) -> bool:
    """Whether it names a file directly in the folder, and none that is hidden."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\\" not in name
