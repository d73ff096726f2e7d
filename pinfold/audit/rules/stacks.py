"""P58: a stack of layers of transformers' own T5, built as a decoder, that makes itself no cache for both sides.

T5Stack.forward (models/t5/modeling_t5.py) makes the cache itself. Up to 4.53 that is always one for an encoder and a
decoder; from 4.54 on it is one only where its configuration says is_encoder_decoder, which T5's own model set to False
for its decoder before. The ranges are measured (ranges.json).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    chain,
)
from pinfold.audit.rules.members import built
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import release_ranges

BOTH = "EncoderDecoderCache"  # code that names it hands over a cache of its own
CASE = "P58.T5Stack"


def _hands_over(module: Module, by_default: bool) -> bool:
    """Whether a file calls something with what an encoder gives, and with a cache that is not one for both.

    Args:
        by_default: a cache is used where nothing is said.
    """
    handed = [keyword for call in calls(module.tree) for keyword in call.keywords]
    crosses = any(keyword.arg == "encoder_hidden_states" for keyword in handed)
    caches = by_default or any(k.arg == "use_cache" and _is_true(k.value) for k in handed)
    names = {n.id for n in every(module.tree, ast.Name)} | {n.attr for n in every(module.tree, ast.Attribute)}
    return crosses and caches and BOTH not in names


def decoders(code: ReachableCode) -> Iterator[Finding]:
    """P58: a stack built with is_decoder=True and is_encoder_decoder=False, and called with what an encoder gives."""
    by_default = code.configs.get("config.json", {}).get("use_cache") is not False
    certain = set(built(code))
    concerned = {module.name for module in code.modules if _hands_over(module, by_default)}
    for cls in code.torch_modules:
        module, node = code.folder.classes[cls]
        if module.name not in concerned:
            continue
        for function in every(node, ast.FunctionDef):
            said = _said(function)
            for call in calls(function):
                stock = _stock_stack(code, cls, call_name(call))
                given = said.get(".".join(chain(argument(call, 0, "config"))), {})
                if not stock or given.get("is_encoder_decoder") is not False or given.get("is_decoder") is not True:
                    continue
                affected = harmed(CASE, code.lowest_version)
                if affected and given.get("use_cache") is not False:
                    yield code.finding(
                        "P58",
                        f"{cls} builds {stock} as a decoder, of a configuration with is_encoder_decoder=False: "
                        f"forward of transformers {release_ranges(affected)} then makes it a cache without a place "
                        "for what the encoder gives.",
                        cls,
                        call,
                        fix="Set is_encoder_decoder = True in that configuration.",
                        releases=affected,
                        severity=ERROR if cls in certain else WARNING,
                        case=CASE,
                    )


def _said(function: ast.FunctionDef) -> dict[str, dict[str, object]]:
    """Configuration -> field -> the constant that a function sets it to, or makes it with: inner.is_decoder = True."""
    said: dict[str, dict[str, object]] = {}
    for node in every(function, *ASSIGNMENTS):
        for target, value in assignments(node):
            path = chain(target)
            for keyword in value.keywords if isinstance(value, ast.Call) else ():
                if keyword.arg and isinstance(keyword.value, ast.Constant):
                    said.setdefault(".".join(path), {})[keyword.arg] = keyword.value.value
            if isinstance(target, ast.Attribute) and len(path) > 1:
                fields = said.setdefault(".".join(path[:-1]), {})
                fields[path[-1]] = value.value if isinstance(value, ast.Constant) else None
    return said


def _is_true(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _stock_stack(code: ReachableCode, cls: str, name: str) -> str:
    """The stack of transformers that a call builds, by itself or as the base of a class of the folder; "" if none."""
    if name in code.folder.classes:
        bases = [base for owner in code.folder.lineage(name) for base in code.folder.bases(owner)]
    else:
        place, original = code.folder.classes[cls][0].imports.get(name, ("", ""))
        bases = [(original, place)]
    return next((b for b, place in bases if b.endswith("Stack") and place.split(".")[0] == "transformers"), "")
