"""Attributes of a copied architecture keep their names, and model types get their new ones."""

import ast
import functools
import re
from collections.abc import Callable

from pinfold.convert.edits import last_name
from pinfold.convert.write.facts import Facts


def keep_attributes(text: str, known: Facts) -> str:
    """`self.my_bert` is `self.bert` again where MyBert is a copy of Bert; model types keep their new name.

    The attributes' names are the weights' names: renamed, no published checkpoint of the original would load. A
    different prefix (`My` for `Bert`) is not a copy, and follows the modular file's names.
    """
    for new, old in known.lows.items():
        text = one_attribute(text, new, old, known)
    return text


def one_attribute(text: str, new: str, old: str, known: Facts) -> str:
    pattern = re.compile(rf"(?<![a-zA-Z0-9]){re.escape(new)}(?![a-z0-9])")
    if not pattern.search(text):
        return text

    def is_ours(model_type: str) -> bool:
        return model_type in known.of_type or pattern.sub(old, model_type) not in model_types()

    types = type_positions(ast.parse(text), is_ours)
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if re.match(rf"\s*from \.\w+_{re.escape(known.name)} import", line):
            continue

        def back(match: re.Match, number: int = number, line: str = line) -> str:
            place = number, len(line[: match.start()].encode())
            return match[0] if any(first <= place < last for first, last in types) else old

        lines[number - 1] = pattern.sub(back, line)
    return "\n".join(lines)


@functools.lru_cache(maxsize=1)
def model_types() -> frozenset[str]:
    """The types of models that transformers has."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return frozenset(CONFIG_MAPPING_NAMES)


def type_positions(tree: ast.AST, is_ours: Callable[[str], bool]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where string constants are a model type, not an attribute of the same name: begin and end as (line, column).

    A type of another architecture whose name begins with this one's (vibevoice_asr, for vibevoice) is not among them.

    Args:
        is_ours: whether a type is of this folder.
    """
    positions = []
    for node in ast.walk(tree):
        assigned = assigned_type(node)
        for place in [assigned] if assigned is not None else mentioned_types(node):
            for part in ast.walk(place):
                if not isinstance(part, ast.Constant) or not isinstance(part.value, str):
                    continue
                if assigned is not None or is_ours(part.value):
                    positions.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return positions


def assigned_type(node: ast.AST) -> ast.expr | None:
    """The value of `model_type = "llama"`, which is this folder's type in any case."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return node.value if any(last_name(t) == "model_type" for t in targets) else None


def mentioned_types(node: ast.AST) -> list[ast.AST]:
    """The parts of an expression in which a string may be a model type, of this folder or another."""
    match node:
        case ast.Compare() if "model_type" in ast.unparse(node):
            return [node]
        case ast.Subscript() if "MAPPING" in ast.unparse(node.value):
            return [node.slice]
        case ast.keyword(arg="model_type"):
            return [node.value]
        case ast.Dict():
            return [v for k, v in zip(node.keys, node.values, strict=True) if is_text(k, "model_type")]
        case ast.Call(args=[first, *rest]):
            called = ast.unparse(node.func)
            if called.endswith("for_model") or called == "AutoConfig.register":
                return [first]
            return rest[:1] if is_text(first, "model_type") else []  # getattr(config, "model_type", ...)-like
    return []


def is_text(node: ast.AST | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text
