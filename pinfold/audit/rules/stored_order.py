"""P66: names of tensors with a number and a word at the same place, which transformers 5.0 and 5.1 cannot sort.

dot_natural_key of core_model_loading.py makes numbers of whole parts of a name, and 5.2 sorts them before words; the
two releases before it compare a number with a word, and raise a TypeError while they load.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    chain,
    is_self_attribute,
)
from pinfold.audit.rules.decided import while_building
from pinfold.audit.rules.saving import holds_weights
from pinfold.common.safetensors import Header
from pinfold.common.trees import every
from pinfold.folder.releases import release_ranges

LISTS = ("ModuleList", "Sequential")
CASE = "P66.parametrized"
FILLS = ("append", "extend", "insert")
CURE = "Ask for another release: requirements.txt with transformers!=5.0.*,!=5.1.*."


def stored(headers: dict[Path, Header], lowest: tuple[int, int]) -> Iterator[Finding]:
    """P66 of the names in the files of a model."""
    of_model = {path: header for path, header in headers.items() if path.name.startswith("model")}
    names = [tensor.name for header in of_model.values() for tensor in header.tensors]
    file = next((path.name for path in of_model), "")
    kinds: dict[tuple[str, ...], dict[bool, str]] = {}
    affected = harmed(CASE, lowest)
    for name in sorted(names) if affected else ():
        parts = name.split(".")
        for place, part in enumerate(parts):
            seen = kinds.setdefault(tuple(parts[:place]), {})
            seen.setdefault(part.isdigit(), name)
            if len(seen) == 2:
                yield Finding(
                    "P66",
                    f"{file}: {seen[True]} and {seen[False]} have a number and a word at the same place, which "
                    f"transformers {release_ranges(affected)} cannot sort: it raises while it loads.",
                    file,
                    fix=CURE,
                    severity=WARNING,
                    releases=affected,
                    case=CASE,
                )
                return


def made(code: ReachableCode) -> Iterator[Finding]:
    """P66 of modules whose tensors get such names."""
    for case, cls, node, words in (*_lists(code), *_parametrizations(code)):
        if affected := harmed(case, code.lowest_version):
            yield code.finding(
                "P66",
                f"{words} get names with a number and a word at the same place, which transformers "
                f"{release_ranges(affected)} cannot sort: it raises while it loads.",
                cls,
                node,
                fix=CURE,
                severity=WARNING,
                releases=affected,
                case=case,
            )
            return


def _lists(code: ReachableCode) -> Iterator[tuple[str, str, ast.AST, str]]:
    """A list of modules that has a module under a name as well."""
    for cls in code.torch_modules:
        init = code.folder.method(cls, "__init__")
        bases = {base for owner in code.folder.lineage(cls) for base, _ in code.folder.bases(owner)}
        if init is None or not bases & set(LISTS):
            continue
        filled = any(
            (call_name(call) == "__init__" and bool(call.args))
            or (call_name(call) in FILLS and isinstance(call.func, ast.Attribute) and _is_self(call.func.value))
            for call in calls(init[1])
        )
        for node in every(init[1], *ASSIGNMENTS):
            for target, value in assignments(node):
                if filled and is_self_attribute(target) and code.builds_module(value) and holds_weights(code, value):
                    words = f"{cls} is a list of modules that has {target.attr} too: its tensors"
                    yield CASE, cls, node, words


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _parametrizations(code: ReachableCode) -> Iterator[tuple[str, str, ast.AST, str]]:
    """register_parametrization with a module that has parameters, where a model is built."""
    running = {id(function) for function in while_building(code)}
    for cls in code.classes:
        for function in every(code.folder.classes[cls][1], ast.FunctionDef):
            for call in calls(function) if id(function) in running else ():
                value = argument(call, 2, "parametrization")
                path = chain(value.func) if isinstance(value, ast.Call) else []
                owner = cls if path[:1] == ["cls"] else path[0] if path else ""
                if call_name(call) == "register_parametrization" and _has_parameters(code, owner):
                    words = f"the tensors of a module that {owner} changes"
                    yield CASE, cls, call, words


def _has_parameters(code: ReachableCode, cls: str) -> bool:
    lineage = code.folder.lineage(cls) if cls in code.folder.classes else []
    return any(code.parameters.get(owner) for owner in lineage)
