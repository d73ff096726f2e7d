"""The conversion of one modular file: what it takes from where, under which names, and in which file that goes."""

import ast
import builtins
import os
import re
import symtable
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert import keep as keeping
from pinfold.convert import names, nearby, place, refuse, source
from pinfold.convert.merge import merge
from pinfold.convert.source import Import, Item, Source

# what a class's name ends with decides its file; longer ends first
KINDS = (
    ("ImageProcessorKwargs", "image_processing"),
    ("ImageProcessorPil", "image_processing_pil"),
    ("ImageProcessorFast", "image_processing_fast"),
    ("VideoProcessorInitKwargs", "video_processing"),
    ("VideosKwargs", "processing"),
    ("VideoProcessor", "video_processing"),
    ("ImageProcessor", "image_processing"),
    ("FeatureExtractor", "feature_extraction"),
    ("ProcessorKwargs", "processing"),
    ("ImagesKwargs", "processing"),
    ("TextKwargs", "processing"),
    ("Processor", "processing"),
    ("TokenizerFast", "tokenization_fast"),
    ("Tokenizer", "tokenization"),
    ("Config", "configuration"),
)
KERNELS = "@use_kernel_func_from_hub"  # its arguments are names of a Hub's kernels, whatever they begin with


def kind_of(name: str) -> str:
    return next((kind for end, kind in KINDS if name.endswith(end)), "modeling")


def global_names(text: str) -> frozenset[str]:
    """Names that a text takes from its module; locals are not among them."""
    found = set()

    def visit(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            if symbol.is_global() or (table.get_type() == "module" and symbol.is_referenced()):
                found.add(symbol.get_name())
        for child in table.get_children():
            visit(child)

    visit(symtable.symtable(text, "text", "exec"))
    tree = ast.parse(text)
    for part in ast.walk(tree):
        if isinstance(part, (ast.arg, ast.AnnAssign)) and part.annotation is not None:
            found |= source.quoted(part.annotation)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and part.returns is not None:
            found |= source.quoted(part.returns)
    return frozenset(found)


@dataclass
class Vendored:
    """One architecture's file under its new names."""

    module: str
    original: Source
    renamed: Source
    renaming: names.Renaming | None
    beside: dict[str, str] = field(default_factory=dict)  # names that another architecture's definition has already
    kept: frozenset[str] = frozenset()  # functions that the modular file takes by name, or a Hub's kernels replace
    others: dict[str, str] = field(default_factory=dict)  # words of the renamed text that another rule renames

    def rename(self, name: str) -> str:
        if (
            self.renaming is None
            or name in self.kept
            or (name in self.original.imports and not source.is_model_module(self.original.imports[name].module))
        ):
            return name
        new = self.renaming.word(name)
        return self.others.get(new, new)

    def was(self, item: Item) -> str:
        """The name that a renamed item has upstream."""
        return next(name for name, old in self.original.items.items() if old.line == item.line)


@dataclass
class Definition:
    """Something that one of the generated files holds."""

    name: str
    text: str
    kind: str
    order: tuple
    context: Vendored | None
    names: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    origin: str = ""  # what it was made from: "transformers.models.llama.modeling_llama.LlamaMLP"


@dataclass
class Conversion:
    path: Path
    name: str
    module: Source
    vendored: dict[str, Vendored] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    twins: dict[tuple[str, str], Definition] = field(default_factory=dict)  # of a name that two files have
    files: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)  # of module -> new cased prefix
    notes: list[str] = field(default_factory=list)  # what a user should know about the result
    inline: bool = False  # the configuration goes into the modeling file
    keep: bool = False  # subclasses stay subclasses of what they were made from, where that means the same


def reference(conversion: Conversion, name: str) -> tuple[str, str] | None:
    """The model file and the symbol that an imported name stands for, or None."""
    found = conversion.module.imports.get(name)
    if found is None or found.name is None:
        return None
    if found.module == source.TRANSFORMERS and not found.name.startswith("Auto"):
        module = source.public_classes().get(found.name)
        return (module, found.name) if module else None
    if source.is_model_module(found.module) and found.module != own_module(conversion, found.module):
        return spelled(conversion, *defined(found.module, found.name))
    return None


def spelled(conversion: Conversion, module: str, name: str) -> tuple[str, str]:
    """transformers' own modular files write a name in any case (PaligemmaModel), as their converter ignores it."""
    path = source.find(module) if conversion.module.package else None
    file = source.load(path, module.rpartition(".")[0]) if path else None
    if file is None or name in file.items or name in file.imports:
        return module, name
    same = [n for n in file.classes() if n.lower() == name.lower()]
    return module, same[0] if len(same) == 1 else name


def defined(module: str, name: str) -> tuple[str, str]:
    """Where a name lies that a model's file only imports: LlamaConfig, taken from modeling_llama."""
    if not os.path.isabs(module) and module.count(".") == 2:  # from ..clip import CLIPTextModelWithProjection
        module = source.public_classes().get(name, module)
    module = nearby.generated(module, name) if os.path.isabs(module) else module
    path = source.find(module)
    file = source.load(path, module.rpartition(".")[0]) if path else None
    found = file.imports.get(name) if file is not None and name not in file.items else None
    if found is None or found.name is None or not source.is_model_module(found.module):
        return module, name
    return defined(found.module, found.name)


def own_module(conversion: Conversion, module: str) -> str | None:
    """`module` itself where it lies beside the modular file: it is not taken apart, as it stays there."""
    package = conversion.module.package
    return module if package and module.rpartition(".")[0] == package else None


def base_of(conversion: Conversion, node: ast.ClassDef) -> tuple[str, str, int] | None:
    """(module, class, number of the base) of the one base that is a model's class.

    Raises:
        UserError: two of them.
    """
    found = []
    for number, base in enumerate(node.bases):
        if isinstance(base, ast.Name):
            symbol = reference(conversion, base.id)
            if symbol is not None:
                file = original(symbol[0], conversion, node.lineno)
                if symbol[1] in file.items:
                    found.append((*symbol, number))
                elif symbol[1] not in file.imports:
                    raise UserError(
                        f"{conversion.path}:{node.lineno}: {source.shown(symbol[0])} has no {symbol[1]}; it has "
                        f"{', '.join(file.classes()[:8])}"
                    )
    if len(found) > 1:
        raise UserError(
            f"{conversion.path}:{node.lineno}: {node.name} has two bases of models, {found[0][1]} and {found[1][1]}; "
            "inherit from one, and write out what the other gives"
        )
    return found[0] if found else None


def original(module: str, conversion: Conversion, line: int = 0) -> Source:
    path = source.find(module)
    if path is None:
        raise UserError(
            f"{conversion.path}:{line}: there is no module {module}; python main.py --describe lists the bases"
        )
    return source.load(path, module.rpartition(".")[0])


def vendor(conversion: Conversion, module: str, by: names.Renaming | None = None) -> Vendored:
    """A model's file with its names changed, once for each file; `by` is the renaming of another that imports it."""
    if module in conversion.vendored:
        return conversion.vendored[module]
    file = original(module, conversion)
    package = source.package_of(module)
    old = cased_prefix(module, file.classes())
    new = conversion.prefixes.get(module) or conversion.prefixes.get(package)
    if new is None and by is not None and old is not None:  # what DPR takes from BERT, and BERT from its own files
        new = by.new_cased + (old if by.old_lower != package else "")
    new = new or conversion.prefixes[""]
    renaming = None
    if old is not None and source_model(conversion) != package:
        low = conversion.name if new == conversion.prefixes[""] else names.lower(new)
        renaming = names.Renaming(package, old, low, new)
    renamed, kept, others = file, frozenset(), {}
    if renaming is not None:
        within, gone = source.inner_imports(file)
        imports = file.imports | within
        outside = frozenset(a for a, i in file.imports.items() if not of_model(i, package))
        taken_by_name = {i.name for i in conversion.module.imports.values() if i.module == module}
        kernels = re.compile(rf"^{KERNELS}", re.MULTILINE)
        kept = frozenset(
            n for n, i in file.items.items()
            if i.kind == "function" and (n in taken_by_name or kernels.search(i.text))
        )  # fmt: skip
        rows = zip(file.text.splitlines(), renaming.text(file.text, outside | kept).splitlines(), strict=True)
        stays = {n for n, line in enumerate(file.text.splitlines(), 1) if line.startswith(KERNELS)}
        stays |= file.import_lines
        text = "\n".join("" if n in gone else o if n in stays else r for n, (o, r) in enumerate(rows, 1))
        renamed = source.parse(text, file.path, file.package)
        # for what imports this one in turn
        conversion.vendored[module] = Vendored(module, file, renamed, renaming, kept=kept)
        others = clashes(conversion, package, renamed) | foreign(conversion, file, imports, renaming)
        if others:
            rows = enumerate(text.split("\n"), 1)
            text = "\n".join(
                row if n in stays else names.WORD.sub(lambda m: others.get(m[0], m[0]), row) for n, row in rows
            )
            renamed = source.parse(text, file.path, file.package)
        renamed.imports = {
            (others.get(w := renaming.word(a), w) if of_model(i, package) else a): own_guard(
                i, package, conversion, renaming
            )
            for a, i in imports.items()
        }
    conversion.vendored[module] = Vendored(module, file, renamed, renaming, kept=kept, others=others)
    return conversion.vendored[module]


def clashes(conversion: Conversion, package: str, renamed: Source) -> dict[str, str]:
    """Names that another modeling file of the architecture gives to something else: BLIP has two text embeddings."""
    found = {}
    for there in conversion.vendored.values():
        if (
            source.package_of(there.module) != package
            or there.renamed is renamed
            or source.KINDED.match(there.module.rpartition(".")[2])
        ):
            continue
        for name, item in renamed.items.items():
            other = there.renamed.items.get(name)
            if other is not None and item.kind in ("class", "function") and other.text != item.text:
                found[name] = f"{name}2"
    return {} if source.KINDED.match(Path(renamed.path).stem) else found


def is_configuration(file: Source) -> bool:
    return Path(file.path).stem.startswith("configuration_")


def foreign(
    conversion: Conversion, file: Source, imports: dict[str, Import], renaming: names.Renaming
) -> dict[str, str]:
    """New names of what a model's file takes from another architecture's."""
    found = {}
    if is_configuration(file):
        return found
    for alias, each in imports.items():
        if each.name and source.is_model_module(each.module) and source.package_of(each.module) != renaming.old_lower:
            module, name = defined(each.module, each.name)
            if source.find(module) is None or name not in original(module, conversion).items:
                continue
            found[renaming.word(alias)] = vendor(conversion, module, renaming).rename(name)
    return found


def of_model(found: Import, package: str) -> bool:
    """Whether an import is one architecture's; under `if TYPE_CHECKING:` too, where it is the file's own."""
    return source.is_model_module(found.module) or f"transformers.models.{package}." in found.guard


def own_guard(found: Import, package: str, conversion: Conversion, renaming: names.Renaming) -> Import:
    """`if TYPE_CHECKING: from .modeling_llama import LlamaOutput`, for the file that is made."""
    if f"transformers.models.{package}." not in found.guard:
        return found
    rows = re.sub(rf"transformers\.models\.{package}\.(\w+)_{package}\b", r".\1_@", found.guard)
    return replace(found, guard=renaming.text(rows).replace("_@", f"_{conversion.name}"))


def source_model(conversion: Conversion) -> str | None:
    parts = conversion.module.package.split(".")
    return parts[2] if len(parts) == 3 else None


def cased_prefix(module: str, classes: list[str]) -> str | None:
    """How an architecture's classes begin: as its name, in its file or in another, else as its configuration does."""
    package = source.package_of(module)
    every = all_classes(module)
    found = names.cased_prefix(package, classes) or names.cased_prefix(package, every)
    if found is None:  # HunYuanDenseV1Config of hunyuan_v1_dense, Speech2TextConfig of speech_to_text
        others = [c for c in classes if "Config" not in c]
        configs = {c.removesuffix("Config") for c in every if c.endswith("Config")} - {""}
        alike = {c: sum(x.startswith(c) for x in others) for c in sorted(configs)}
        found = max(alike, key=alike.get, default=None)
        if found is not None and 2 * alike[found] < len(others):
            found = None
    return found


def all_classes(module: str) -> list[str]:
    """Classes of every file of the architecture."""
    if os.path.isabs(module):
        return nearby.classes(module)
    path = source.find(module)
    found = []
    for file in sorted(path.parent.glob("*.py")):
        if not file.name.startswith(("modular_", "convert_", "__init__")):
            found += re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return found


def convert(path: Path, package: str = "", inline: bool = False, keep: bool = False) -> Conversion:
    """Convert one modular file; nothing is written.

    Args:
        path: modular_x.py.
        package: dotted name of its package, where it is part of one; "" for a file of its own.
        inline: put the configuration into the modeling file.
        keep: leave classes that can be subclasses of what they were made from.

    Returns:
        The conversion; `files` maps file names to their texts, not yet formatted.

    Raises:
        UserError: one line with file, line and reason.
    """
    name = path.stem.removeprefix("modular_")
    module = source.load(path, package)
    conversion = Conversion(path, name, module, inline=inline, keep=keep)
    for name_, item in module.items.items():
        if item.kind == "class" and hasattr(builtins, name_):
            raise UserError(f"{path}:{item.line}: class {name_} hides Python's own {name_}; give it another name")
    for star, line in module.stars:
        raise UserError(f"{path}:{line}: from {star} import * does not say what is taken; name the symbols")
    if not package:
        refuse.check(conversion)
    bases = {n: base_of(conversion, i.node) for n, i in module.items.items() if i.kind == "class"}
    find_prefixes(conversion, bases)
    own_definitions(conversion, bases)
    place.write_files(conversion)
    if not package:
        unused_parts(conversion, bases)
    return conversion


def unused_parts(conversion: Conversion, bases: dict) -> None:
    """Notes of classes that replace nothing: MyMlp(LlamaMLP), beside which MyMLP is made and used."""
    used = {name for made in conversion.definitions.values() for name in made.uses - set(made.names)}
    for name, base in bases.items():
        if base is None or name in used or kind_of(name) != "modeling":
            continue
        vendored = conversion.vendored[base[0]]
        theirs = vendored.rename(base[1])
        made = conversion.definitions.get(theirs)
        if theirs != name and theirs in used and made is not None and made.order[0] == 1 and made.context is vendored:
            line = conversion.module.items[name].line
            conversion.notes.append(
                f"line {line}: nothing uses {name}, and {base[1]} stays in its place; call it {theirs} to replace it"
            )


def find_prefixes(conversion: Conversion, bases: dict) -> None:
    pairs: dict[str, list] = {}
    for new, base in bases.items():
        if base is not None:
            pairs.setdefault(base[0], []).append((new, base[1]))
    of_package: dict[str, Counter] = {}
    default = names.cased_prefix(conversion.name, conversion.module.classes()) or ""
    for module, found in pairs.items():
        package = source.package_of(module)
        there = original(module, conversion).classes()
        old = cased_prefix(module, there)
        prefix = names.infer(old, found, default, bool(conversion.module.package)) if old else None
        if prefix and default and prefix != default:
            # MyText for Llama, where there are classes LlamaText...: what comes along would get names of those
            before = prefix.replace(default, old)
            prefix = default if before != prefix and any(c.startswith(before) for c in there) else prefix
        if prefix:
            refuse.two_prefixes(conversion, old, found)
            conversion.prefixes[module] = prefix
            of_package.setdefault(package, Counter())[prefix] += len(found)
    for package, counted in of_package.items():
        conversion.prefixes[package] = counted.most_common(1)[0][0]
    commonest = sum(of_package.values(), Counter()).most_common(1)
    conversion.prefixes[""] = default or (commonest[0][0] if commonest else names.camel(conversion.name))


def own_definitions(conversion: Conversion, bases: dict) -> None:
    """The modular file's own items, merged with their parents where they have one."""
    module, seen = conversion.module, set()
    for number, (name, item) in enumerate(module.items.items()):
        if id(item) in seen:
            continue
        seen.add(id(item))
        text, context, origin = item.text, None, ""
        if item.kind == "class" and bases[name] is not None:
            context, text, origin = merged_class(conversion, item, bases[name])
        for mentioned in global_names(text):
            text = renamed_reference(conversion, mentioned, text)
        comments = leading_comments(item.text) if item.kind == "class" else ""
        if comments and not text.startswith(comments):
            text = f"{comments}\n{text}"
        made = Definition(name, text, item.kind, (0, number), context, item.names, global_names(text), origin)
        for each in item.names:
            conversion.definitions[each] = made


def leading_comments(text: str) -> str:
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        found.append(line)
    return "\n".join(found)


def merged_class(conversion: Conversion, item: Item, base: tuple[str, str, int]) -> tuple[Vendored, str, str]:
    module, old, number = base
    where = f"{conversion.path}:{item.line}"
    vendored = vendor(conversion, module)
    parent_name = vendored.rename(old)
    found = vendored.renamed.items[parent_name]
    text = own_prefix(conversion, vendored, item.name, old, found.text)
    parent_name = merge.split(text).name
    child, parent = merge.split(item.text), merge.split(text)
    if not conversion.module.package and kind_of(old) == "configuration":
        refuse_bare_init(child, parent, where, old)
    if not conversion.module.package:
        refuse.old_arguments(conversion, item.node, ast.parse(text).body[-1])
    merged = merge.merge(child, parent, where)
    body = keeping.subclass(conversion, vendored, child, parent, merged, where, f"{module}.{old}") or merged
    if len(item.node.bases) > 1:
        listed = [x for x in (ast.unparse(b) for b in item.node.bases) if x != "nn.Module"]
        taken = top_level_commas(body.bases)
        own = next((x for n, x in enumerate(listed) if n != number and is_pretrained(x)), None)
        if own and conversion.module.package:  # in transformers' own files it stands for the parent's
            taken = [own if is_pretrained(x) else x for x in taken]
        listed[number : number + 1] = taken
        listed = list(dict.fromkeys(listed))
        body = replace(body, bases=", ".join(x for x in listed if x != "nn.Module" or len(listed) == 1))
    text = body.text()
    if parent_name != item.name:
        text = re.sub(rf"\b{re.escape(parent_name)}\b", item.name, text)
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise UserError(
            f"{where}: {item.name} merged with {old} is not Python ({error.msg}); write its methods out"
        ) from None
    return vendored, text, f"{module}.{old}"


def is_pretrained(base: str) -> bool:
    return base.endswith("PreTrainedModel") and base != "PreTrainedModel"


def refuse_bare_init(child: merge.Body, parent: merge.Body, where: str, old: str) -> None:
    """A dataclass's fields are set by the __init__ that is made from them; one that is written leaves them unset.

    Raises:
        UserError: the parent is such a class, and the child has an __init__.
    """
    fields = [m for m in parent.members if isinstance(m.node, ast.AnnAssign)]
    if child.find("__init__") and fields and not parent.find("__init__"):
        raise UserError(
            f"{where}: {child.name} has an __init__, but {old} is a dataclass, whose fields it would leave unset; "
            "declare each field with its default (`window: int = 64`), and put code into __post_init__(self, **kwargs)"
        )


def top_level_commas(text: str) -> list[str]:
    call = ast.parse(f"f({text})", mode="eval").body
    return [ast.unparse(a) for a in call.args] + [f"{k.arg}={ast.unparse(k.value)}" for k in call.keywords]


def own_prefix(conversion: Conversion, vendored: Vendored, name: str, old: str, text: str) -> str:
    """A class with another prefix than most of its file's refers to the classes with its own, if there are any."""
    if vendored.renaming is None or not old.startswith(vendored.renaming.old_cased) or conversion.module.package:
        return text  # transformers' own files have one prefix for each file that they take from
    rest = old[len(vendored.renaming.old_cased) :]
    common = vendored.renaming.new_cased
    if not rest or not name.endswith(rest) or name == common + rest:
        return text
    mine = name[: -len(rest)]

    def new(match: re.Match) -> str:
        word = match[0]
        other = mine + word[len(common) :]
        return other if word.startswith(common) and other in conversion.module.items else word

    return names.WORD.sub(new, text)


def renamed_reference(conversion: Conversion, mentioned: str, text: str) -> str:
    """A model's class that the modular file uses without deriving from it comes along under its new name."""
    if mentioned in conversion.module.items:
        return text
    symbol = reference(conversion, mentioned)
    if symbol is None:
        return text
    vendored = vendor(conversion, symbol[0])
    new = vendored.rename(symbol[1])
    return text if new == mentioned else re.sub(rf"\b{re.escape(mentioned)}\b", new, text)


def resolve(conversion: Conversion, name: str, context: Vendored | None) -> Definition | Import | None:
    """What a name stands for: the modular file's own first, then what it imports, then what its context has."""
    if name in conversion.definitions:
        made = conversion.definitions[name]
        if made.order[0] == 1 and context is not None and made.context is not context:
            return from_vendored(conversion, context, name, renamed=True) or made  # where this one has another
        return made
    module = conversion.module
    if name in module.imports:
        symbol = reference(conversion, name)
        if symbol is None:
            found = module.imports[name]
            if own_module(conversion, found.module):
                return from_itself(conversion, found) or found
            theirs = from_vendored(conversion, context, name, renamed=True) if context else None
            return found if theirs is None or source.has(found.module, found.name) else theirs
        return from_vendored(conversion, vendor(conversion, symbol[0]), symbol[1])
    dotted = next((i for k, i in module.imports.items() if k.startswith(f"{name}.")), None)  # import collections.abc
    if dotted is not None:
        return dotted
    for alias in module.imports:
        symbol = reference(conversion, alias)
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
    kind = source.purpose(found.module)
    if not any(i.kind == "class" and kind_of(n) == kind.rstrip("_") for n, i in conversion.module.items.items()):
        return None
    for vendored in list(conversion.vendored.values()):
        if source.purpose(vendored.module) == kind and found.name in vendored.renamed.items:
            return from_vendored(conversion, vendored, found.name, renamed=True)
    return None


def of_another_file(made: Definition, vendored: Vendored) -> bool:
    """Whether a helper comes from a file for another purpose: of image processors, that for torch or that for PIL."""
    if made.kind == "class" or made.context is None or made.context is vendored:
        return False
    return source.purpose(made.context.module) != source.purpose(vendored.module)


def from_vendored(
    conversion: Conversion, vendored: Vendored, name: str, renamed: bool = False
) -> Definition | Import | None:
    new = name if renamed else vendored.rename(name)
    item = vendored.renamed.items.get(new)
    if new in conversion.definitions:
        there = conversion.definitions[new]
        if item is not None and there.order[0] == 1 and there.context is not vendored and there.text != item.text:
            if of_another_file(there, vendored):  # both, each in its file
                return conversion.twins.setdefault((vendored.module, new), taken(conversion, vendored, new, item))
            if refuse.two_sources(conversion, there, vendored, item):
                return beside(conversion, vendored, new, item)
            note = f"{new} is {there.origin}; {vendored.module} has another one: import the one that you mean"
            if note not in conversion.notes:
                conversion.notes.append(note)
        return there
    if item is not None:
        made = taken(conversion, vendored, new, item)
        for each in item.names:
            conversion.definitions.setdefault(each, made)
        return made
    found = vendored.renamed.imports.get(new)
    if found is None:  # import collections.abc
        return next((i for k, i in vendored.renamed.imports.items() if k.startswith(f"{new}.")), None)
    if source.is_model_module(found.module) and found.name is not None:
        if own_module(conversion, found.module):
            return found
        theirs = not os.path.isabs(found.module) and source.package_of(found.module) != source.package_of(
            vendored.module
        )
        if theirs and is_configuration(vendored.original) and found.name in source.public_classes():
            # the configuration of a part that an Auto class makes, by transformers' own code: timm's, for PE Video
            return replace(found, module=source.TRANSFORMERS)
        module, name = defined(found.module, found.name)
        other = vendor(conversion, module, vendored.renaming)
        return from_vendored(conversion, other, name) or found
    return found


def beside(conversion: Conversion, vendored: Vendored, new: str, item: Item) -> Definition:
    """A function or constant whose name another architecture's has already, under a name of its own."""
    other = f"{source.package_of(vendored.module)}_{new}"
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


def placed(made: Definition) -> str:
    """A definition's text, in which names that stand beside another architecture's are the right ones."""
    text = made.text
    for name, other in (made.context.beside if made.context else {}).items():
        if name in made.uses:
            text = re.sub(rf"(?<![.\w]){re.escape(name)}\b", other, text)
    return text


def taken(conversion: Conversion, vendored: Vendored, name: str, item: Item) -> Definition:
    place = list(conversion.vendored).index(vendored.module)
    return Definition(
        name, item.text, item.kind, (1, place, item.line), vendored, item.names, global_names(item.text),
        f"{vendored.module}.{vendored.was(item)}",
    )  # fmt: skip
