"""Parts of a composite model that an Auto class makes from their configuration, where they are of this folder.

AutoModel's table knows the built-in configurations alone. Registering there would make the loader take the folder for
built-in code, and would miss the second copy of a configuration's class, so the generated file looks by model type.
"""

import ast
import functools
import re

from pinfold.convert.edits import replaced, segment
from pinfold.convert.write.facts import Facts

OWN_PARTS = "_own_part"
FUNCTION = '''

def _own_part(auto, config, **kwargs):
    """A part of this model whose type is one of this file's own; any other comes from transformers."""
    name = _OWN_PARTS.get((auto.__name__, type(config).model_type))
    return auto.from_config(config, **kwargs) if name is None else globals()[name]._from_config(config, **kwargs)
'''
# with types of this folder whose model upstream is another architecture's: Gemma3n's vision tower is timm's
FUNCTION_FOR_BOTH = '''

def _own_part(auto, config, **kwargs):
    """A part of this model: of this file, or transformers' own model for a type of this folder, or any other."""
    key = (auto.__name__, type(config).model_type)
    if key in _OWN_PARTS:
        return globals()[_OWN_PARTS[key]]._from_config(config, **kwargs)
    if key in _THEIR_PARTS:
        values = {n: v for n, v in config.to_dict().items() if n != "model_type"}
        theirs = AutoConfig.for_model(_THEIR_PARTS[key], **values)
        theirs._attn_implementation = config._attn_implementation
        config = theirs
    return auto.from_config(config, **kwargs)
'''


@functools.lru_cache(maxsize=1)
def auto_tables() -> dict[str, dict[str, str]]:
    """Auto class -> model type -> class, as transformers lists them."""
    from transformers.models.auto import modeling_auto

    tables: dict[str, dict[str, str]] = {}
    for name, auto in vars(modeling_auto).items():
        mapping = getattr(auto, "_model_mapping", None)
        if isinstance(auto, type) and mapping is not None:
            listed = {k: v if isinstance(v, str) else v[0] for k, v in mapping._model_mapping.items() if v}
            tables[name] = listed
    return tables


def from_config_calls(tree: ast.AST) -> list[ast.Call]:
    calls = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("from_config", "_from_config")
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id.startswith("Auto")
        ):
            calls.append(node)
    return calls


def own_parts(text: str, known: Facts) -> str:
    """`AutoModel.from_config(config.text_config)` makes this file's class where the type is one of this file's."""
    if OWN_PARTS in text:
        return text
    tree = ast.parse(text)
    calls = from_config_calls(tree)
    here = {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    by_old = {old: new for new, old in known.classes.items() if new in here}
    ours: dict[tuple[str, str], str] = {}
    theirs: dict[tuple[str, str], str] = {}
    for auto in sorted({c.func.value.id for c in calls}):
        for new, old in sorted(known.types.items()):
            cls = auto_tables().get(auto, {}).get(old)
            if cls in by_old:
                ours[auto, new] = by_old[cls]
            elif cls is not None:
                theirs[auto, new] = old
    if not ours and not theirs:
        return text
    edits = []
    for call in calls:
        auto = call.func.value.id
        if any(a == auto for a, _ in [*ours, *theirs]):
            edits.append((call, f"{OWN_PARTS}({auto}, {text_between(text, call.func, call)}"))
    text = replaced(text, edits).rstrip() + "\n\n\n" + written("_OWN_PARTS", ours)
    if not theirs:
        return text + FUNCTION
    return with_auto_config(text + written("_THEIR_PARTS", theirs) + FUNCTION_FOR_BOTH)


def written(name: str, table: dict[tuple[str, str], str]) -> str:
    rows = "".join(f'    ("{auto}", "{kind}"): "{value}",\n' for (auto, kind), value in table.items())
    return f"{name} = {{\n{rows}}}\n"


def with_auto_config(text: str) -> str:
    """The text with AutoConfig imported."""
    if re.search(r"^from transformers.*\bAutoConfig\b", text, re.MULTILINE):
        return text
    first = next(n for n in ast.parse(text).body if isinstance(n, (ast.Import, ast.ImportFrom)))
    lines = text.split("\n")
    lines.insert(first.lineno - 1, "from transformers import AutoConfig")
    return "\n".join(lines)


def text_between(text: str, function: ast.AST, call: ast.Call) -> str:
    """What follows the parenthesis of a call, up to and with the closing one."""
    whole = segment(text, call)
    head = segment(text, function)
    return whole[len(head) :].lstrip()[1:]


def part_configurations(text: str, known: Facts) -> str:
    """Own types of sub-configurations go into AutoConfig's table, from which composites look them up.

    The root's is not among them: a root class that is registered at import is taken for built-in code when it is
    saved. Only where the file reads that table at all.
    """
    if not re.search(r"CONFIG_MAPPING|AutoConfig", text) or "AutoConfig.register(" in text:
        return text
    tree = ast.parse(text)
    used: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
                if any(isinstance(t, ast.Name) and t.id == "model_type" for t in targets):
                    continue
                used |= {n.value for n in ast.walk(part) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    here = {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    rows = [
        f'AutoConfig.register("{t}", {c}, exist_ok=True)'
        for t, c in sorted(known.of_type.items())
        if c in here and t in known.types and t in used
    ]
    if not rows:
        return text
    text = text.rstrip() + "\n\n\n# parts of this model, found by their type\n" + "\n".join(rows) + "\n"
    return with_auto_config(text)


def built_in_parts(text: str) -> list[str]:
    """Notes: where transformers' own code of another architecture runs inside of this one."""
    tree = ast.parse(text)
    calls = {f"{c.func.value.id}.from_config" for c in from_config_calls(tree)}
    own = [ast.unparse(n.args[0]) for n in ast.walk(tree) if own_call(n) and n.args]
    calls |= set(own)
    calls |= {n for n in ("load_backbone",) if re.search(rf"\b{n}\(", text)}
    if not calls:
        return []
    return [
        f"{', '.join(sorted(calls))} makes parts from their configuration: one of a built-in type runs transformers' "
        "own code at run time, which this folder does not hold"
    ]


def own_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == OWN_PARTS
