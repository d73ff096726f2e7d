"""What only a model of transformers' own sets up in its parts: the choice of attention that they look up.

scripts/stock.py puts it together for all releases.
"""

import ast
import re

from pinfold.common.trees import every, walk

TABLE_OF_KINDS, CHOICE = "ALL_ATTENTION_FUNCTIONS", "_attn_implementation"
FILE = re.compile(r"^transformers/models/.*/modeling_(?!tf_|flax_)\w+\.py$")


def looking_up(texts: dict[str, str]) -> dict[str, set[str]]:
    """Module -> classes that are no models, and that look attention up by the choice alone, or build one that does."""
    found = {}
    for file, text in texts.items():
        if FILE.match(file) and f"{TABLE_OF_KINDS}[" in text and (names := _in_file(ast.parse(text))):
            found[file.removesuffix(".py").replace("/", ".")] = names
    return found


def _in_file(tree: ast.Module) -> set[str]:
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    lineages = {name: _lineage(classes, name, ()) for name in classes}
    models = {name for name, lineage in lineages.items() if any("PreTrainedModel" in each for each in lineage)}
    found = {name for name, node in classes.items() if any(_looks_up(each) for each in every(node, ast.Subscript))}
    while True:
        parts = found - models
        further = {
            name
            for name in set(classes) - found
            if set(lineages[name][1:]) & found
            or any(isinstance(c.func, ast.Name) and c.func.id in parts for c in every(classes[name], ast.Call))
        }
        if not further:
            return found - models
        found |= further


def _lineage(classes: dict[str, ast.ClassDef], name: str, seen: tuple[str, ...]) -> list[str]:
    if name not in classes or name in seen:
        return [name]
    bases = [ast.unparse(base) for base in classes[name].bases]
    return [name, *(each for base in bases for each in _lineage(classes, base, (*seen, name)))]


def _looks_up(node: ast.Subscript) -> bool:
    """ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]"""
    named = isinstance(node.value, ast.Name) and node.value.id == TABLE_OF_KINDS
    return named and any(isinstance(part, ast.Attribute) and part.attr == CHOICE for part in walk(node.slice))
