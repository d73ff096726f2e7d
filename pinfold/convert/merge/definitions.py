"""The modular file's own definitions, merged with their parents where they have one."""

import ast
import itertools
import re
from dataclasses import replace

from pinfold.common.errors import UserError
from pinfold.convert.merge import keep
from pinfold.convert.merge.arguments import refuse_bare_init, refuse_old_arguments
from pinfold.convert.merge.classes import merge_class
from pinfold.convert.merge.members import split_class
from pinfold.convert.read import names
from pinfold.convert.read.model import Definition, Vendored, global_names, kind_of
from pinfold.convert.read.sources import Item
from pinfold.convert.read.vendor import renamed_reference, vendor
from pinfold.convert.read.workspace import Conversion

Base = tuple[str, str, int]  # module, class there, and which of the bases it is


def own_definitions(conversion: Conversion, bases: dict[str, Base | None]) -> None:
    """The modular file's own items, merged with their parents where they have one."""
    seen: set[int] = set()
    for number, (name, item) in enumerate(conversion.module.items.items()):
        if id(item) in seen:
            continue
        seen.add(id(item))
        text = item.text
        context = None
        origin = ""
        if item.kind == "class" and bases[name] is not None:
            context, text, origin = merged_class(conversion, item, bases[name])
        for mentioned in global_names(text):
            text = renamed_reference(conversion, mentioned, text)
        comments = leading_comments(item.text) if item.kind == "class" else ""
        if comments and not text.startswith(comments):
            text = f"{comments}\n{text}"
        definition = Definition(name, text, item.kind, (0, number), context, item.names, global_names(text), origin)
        for each in item.names:
            conversion.definitions[each] = definition


def leading_comments(text: str) -> str:
    return "\n".join(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))


def merged_class(conversion: Conversion, item: Item, base: Base) -> tuple[Vendored, str, str]:
    """A class of the modular file without its parent.

    Returns:
        The parent's file, the text of the class, and what it was made from.
    """
    module, old, number = base
    where = f"{conversion.path}:{item.line}"
    vendored = vendor(conversion, module)
    inherited = vendored.renamed.items[vendored.rename(old)].text
    inherited = own_prefix(conversion, vendored, item.name, old, inherited)
    child = split_class(item.text)
    parent = split_class(inherited)
    if not conversion.module.package:
        if kind_of(old) == "configuration":
            refuse_bare_init(child, parent, where, old)
        refuse_old_arguments(conversion, item.node, ast.parse(inherited).body[-1])
    merged = merge_class(child, parent)
    body = keep.subclass(conversion, vendored, child, parent, merged, f"{module}.{old}") or merged
    if len(item.node.bases) > 1:
        body = replace(body, bases=joined_bases(item.node, number, body.bases, bool(conversion.module.package)))
    text = body.text()
    if parent.name != item.name:
        text = re.sub(rf"\b{re.escape(parent.name)}\b", item.name, text)
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise UserError(
            f"{where}: {item.name} merged with {old} is not Python ({error.msg}); write its methods out"
        ) from None
    return vendored, text, f"{module}.{old}"


def joined_bases(node: ast.ClassDef, number: int, inherited: str, of_transformers: bool) -> str:
    """The bases of a class that has several: the parent's in the place of the parent.

    Args:
        number: which of the bases the parent is.
        inherited: the parent's bases, as they are written.
        of_transformers: in transformers' own modular files a base such as MyPreTrainedModel replaces the parent's.
    """
    listed = [base for base in map(ast.unparse, node.bases) if base != "nn.Module"]
    replacing = split_arguments(inherited)
    own = next((base for n, base in enumerate(listed) if n != number and is_pretrained(base)), None)
    if own and of_transformers:
        replacing = [own if is_pretrained(base) else base for base in replacing]
    listed[number : number + 1] = replacing
    listed = list(dict.fromkeys(listed))
    return ", ".join(base for base in listed if base != "nn.Module" or len(listed) == 1)


def is_pretrained(base: str) -> bool:
    return base.endswith("PreTrainedModel") and base != "PreTrainedModel"


def split_arguments(text: str) -> list[str]:
    """The arguments of a call, of which the text is what the parentheses hold."""
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
    prefix = name[: -len(rest)]

    def renamed(match: re.Match) -> str:
        word = match[0]
        other = prefix + word[len(common) :]
        return other if word.startswith(common) and other in conversion.module.items else word

    return names.WORD.sub(renamed, text)
