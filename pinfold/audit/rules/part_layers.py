"""P15: a decoder's own configuration without num_hidden_layers, for which generate makes a cache.

From 4.56 on generate builds DynamicCache(config=...) of what get_text_config(decoder=True) gives: the one part that
has one of three names, or else the whole.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ASSIGNMENTS, ReachableCode, assignments, call_name, is_self_attribute, parameters
from pinfold.audit.rules.generation import sets_up_cache
from pinfold.common.trees import every

DECODERS = ("decoder", "generator", "text_config")
LAYERS, CASE = "num_hidden_layers", "P15.part_without_layers"


def parts_without_layers(code: ReachableCode) -> Iterator[Finding]:
    """P15: num_hidden_layers that generate reads of a part, and that no class of it names."""
    main = code.auto_map.get("AutoConfig", "").split(".")[-1]
    inits = [
        part
        for owner in (code.folder.lineage(main) if main in code.config_classes else ())
        for part in code.folder.classes[owner][1].body
        if isinstance(part, ast.FunctionDef) and part.name == "__init__"
    ]
    affected = harmed(CASE, code.lowest_version)
    if not inits or not affected or not sets_up_cache(code):
        return
    pairs = [pair for init in inits for node in every(init, *ASSIGNMENTS) for pair in assignments(node)]
    decoders = {target.attr for target, _ in pairs if is_self_attribute(target) and target.attr in DECODERS}
    if len(decoders) != 1:  # transformers takes the whole, or raises for more than one
        return
    name = decoders.pop()
    values = [value for target, value in pairs if getattr(target, "attr", "") == name and value is not None]
    part = _part(code, {each.arg for init in inits for each in parameters(init)}, pairs, values)
    stored = code.configs.get("config.json", {}).get(name)
    if part is None or code.folder.is_stock(part) or (isinstance(stored, dict) and LAYERS in stored):
        return
    if not any(_names(code.folder.classes[owner][1], LAYERS) for owner in code.folder.lineage(part)):
        yield code.finding(
            "P15",
            f"{part}.__init__: {LAYERS} is read by generate, as {name} is the decoder's configuration, but never set.",
            part,
            fix=f"Set it, or name the field that holds it in the body of {part}: "
            f'attribute_map = {{"{LAYERS}": "..."}}.',
            releases=affected,
            case=CASE,
        )


def _part(
    code: ReachableCode, arguments: set[str], pairs: list[tuple[ast.expr, ast.expr | None]], values: list[ast.expr]
) -> str | None:
    """The one class of the folder that these values are objects of, also where an argument is made one before."""
    names = {node.id for value in values for node in every(value, ast.Name)} & arguments
    values = values + [v for t, v in pairs if isinstance(t, ast.Name) and t.id in names and v is not None]
    built = {call_name(call) for value in values for call in every(value, ast.Call)} & set(code.config_classes)
    return built.pop() if len(built) == 1 else None


def _names(node: ast.AST, name: str) -> bool:
    """Whether a class has a name anywhere: as an attribute, an argument, a key, or a name in its body."""
    words = [each.attr for each in every(node, ast.Attribute)] + [each.id for each in every(node, ast.Name)]
    words += [each.arg for each in every(node, ast.arg)]
    return name in words or any(each.value == name for each in every(node, ast.Constant))
