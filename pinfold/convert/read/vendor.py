"""A model's file under its new names."""

import re
from dataclasses import replace
from pathlib import Path

from pinfold.convert.read import lookup, modules, names, sources
from pinfold.convert.read.model import Vendored
from pinfold.convert.read.prefixes import cased_prefix
from pinfold.convert.read.sources import Import, Source
from pinfold.convert.read.workspace import Conversion

KERNELS = "@use_kernel_func_from_hub"  # its arguments are names of a Hub's kernels, whatever they begin with


def vendor(conversion: Conversion, module: str, by: names.Renaming | None = None) -> Vendored:
    """A model's file with its names changed, once for each file; `by` is the renaming of another that imports it."""
    if module in conversion.vendored:
        return conversion.vendored[module]
    file = lookup.original(module, conversion)
    renaming = renaming_of(conversion, module, file, by)
    if renaming is None:
        conversion.vendored[module] = Vendored(module, file, file, None)
        return conversion.vendored[module]
    inner, inner_lines = sources.imports_beside(file)
    imports = file.imports | inner
    fixed = fixed_lines(file)
    vendored = first_renaming(conversion, module, file, renaming, fixed, inner_lines)
    register_partial(conversion, vendored)
    package = modules.package_of(module)
    vendored.others = clashes(conversion, package, vendored.renamed) | foreign(conversion, file, imports, renaming)
    if vendored.others:
        lines = enumerate(vendored.renamed.text.split("\n"), 1)
        text = "\n".join(line if n in fixed else with_words(line, vendored.others) for n, line in lines)
        vendored.renamed = sources.parse(text, file.path, file.package)
    vendored.renamed.imports = renamed_imports(conversion, vendored, imports, package)
    return vendored


def register_partial(conversion: Conversion, vendored: Vendored) -> None:
    """Have a file found by others before it is complete.

    Its names depend on those of the files that it imports, and one of these may import it in turn: that one gets what
    is here, instead of starting on this file again.
    """
    conversion.vendored[vendored.module] = vendored


def renaming_of(conversion: Conversion, module: str, file: Source, by: names.Renaming | None) -> names.Renaming | None:
    """What a file's names become; None where its architecture has no prefix, or is the one that is converted."""
    package = modules.package_of(module)
    old = cased_prefix(conversion, module, file.classes())
    new = conversion.prefixes.get(module) or conversion.prefixes.get(package)
    if new is None and by is not None and old is not None:  # what DPR takes from BERT, and BERT from its own files
        new = by.new_cased + (old if by.old_lower != package else "")
    new = new or conversion.prefixes[""]
    if old is None or source_model(conversion) == package:
        return None
    low = conversion.name if new == conversion.prefixes[""] else names.lower(new)
    return names.Renaming(package, old, low, new)


def fixed_lines(file: Source) -> set[int]:
    """Lines whose names stay: imports, and names of a Hub's kernels."""
    kernels = {n for n, line in enumerate(file.text.splitlines(), 1) if line.startswith(KERNELS)}
    return kernels | file.import_lines


def first_renaming(
    conversion: Conversion, module: str, file: Source, renaming: names.Renaming, fixed: set[int], dropped: set[int]
) -> Vendored:
    """The file under its new names, before those are settled that depend on other files.

    Args:
        fixed: lines that stay as they are.
        dropped: lines that become empty.
    """
    package = modules.package_of(module)
    outside = frozenset(alias for alias, each in file.imports.items() if not of_model(each, package))
    by_name = {each.name for each in conversion.module.imports.values() if each.module == module}
    kernels = re.compile(rf"^{KERNELS}", re.MULTILINE)
    functions = {name: item for name, item in file.items.items() if item.kind == "function"}
    keep = frozenset(name for name, item in functions.items() if name in by_name or kernels.search(item.text))
    old_lines = file.text.splitlines()
    new_lines = renaming.text(file.text, outside | keep).splitlines()
    lines = [old if n in fixed else new for n, (old, new) in enumerate(zip(old_lines, new_lines, strict=True), 1)]
    text = "\n".join("" if n in dropped else line for n, line in enumerate(lines, 1))
    return Vendored(module, file, sources.parse(text, file.path, file.package), renaming, keep=keep)


def with_words(text: str, words: dict[str, str]) -> str:
    return names.WORD.sub(lambda match: words.get(match[0], match[0]), text)


def renamed_imports(
    conversion: Conversion, vendored: Vendored, imports: dict[str, Import], package: str
) -> dict[str, Import]:
    """A file's imports by the names that its renamed text has for them."""
    renaming = vendored.renaming
    renamed = {}
    for alias, each in imports.items():
        if of_model(each, package):
            alias = renaming.word(alias)
            alias = vendored.others.get(alias, alias)
        renamed[alias] = own_guard(each, package, conversion, renaming)
    return renamed


def clashes(conversion: Conversion, package: str, renamed: Source) -> dict[str, str]:
    """Names that another modeling file of the architecture gives to something else: BLIP has two text embeddings."""
    if modules.OTHER_KINDS.match(Path(renamed.path).stem):
        return {}
    taken = {}
    for other in conversion.vendored.values():
        if modules.package_of(other.module) != package or other.renamed is renamed:
            continue
        if modules.OTHER_KINDS.match(other.module.rpartition(".")[2]):
            continue
        for name, item in renamed.items.items():
            theirs = other.renamed.items.get(name)
            if theirs is not None and item.kind in ("class", "function") and theirs.text != item.text:
                taken[name] = f"{name}2"
    return taken


def is_configuration(file: Source) -> bool:
    return Path(file.path).stem.startswith("configuration_")


def foreign(
    conversion: Conversion, file: Source, imports: dict[str, Import], renaming: names.Renaming
) -> dict[str, str]:
    """New names of what a model's file takes from another architecture's."""
    renamed: dict[str, str] = {}
    if is_configuration(file):
        return renamed
    for alias, each in imports.items():
        if not each.name or not modules.is_model_module(each.module):
            continue
        if modules.package_of(each.module) == renaming.old_lower:
            continue
        module, name = lookup.defined(conversion, each.module, each.name)
        if modules.find(module) is not None and name in lookup.original(module, conversion).items:
            renamed[renaming.word(alias)] = vendor(conversion, module, renaming).rename(name)
    return renamed


def of_model(imported: Import, package: str) -> bool:
    """Whether an import is one architecture's; under `if TYPE_CHECKING:` too, where it is the file's own."""
    return modules.is_model_module(imported.module) or f"transformers.models.{package}." in imported.guard


def own_guard(imported: Import, package: str, conversion: Conversion, renaming: names.Renaming) -> Import:
    """`if TYPE_CHECKING: from .modeling_llama import LlamaOutput`, for the generated file."""
    if f"transformers.models.{package}." not in imported.guard:
        return imported
    rows = re.sub(rf"transformers\.models\.{package}\.(\w+)_{package}\b", r".\1_@", imported.guard)
    return replace(imported, guard=renaming.text(rows).replace("_@", f"_{conversion.name}"))


def source_model(conversion: Conversion) -> str | None:
    """The architecture that a modular file of transformers' own belongs to."""
    parts = conversion.module.package.split(".")
    return parts[2] if len(parts) == 3 else None


def renamed_reference(conversion: Conversion, mentioned: str, text: str) -> str:
    """A model's class that the modular file uses without deriving from it comes along under its new name."""
    if mentioned in conversion.module.items:
        return text
    symbol = lookup.reference(conversion, mentioned)
    if symbol is None:
        return text
    vendored = vendor(conversion, symbol[0])
    new = vendored.rename(symbol[1])
    return text if new == mentioned else re.sub(rf"\b{re.escape(mentioned)}\b", new, text)
