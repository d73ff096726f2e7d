"""P80: weights that a constructor computes, and that are left out of what is saved.

Releases that build a model on the meta device do not run what a constructor computes, and have nothing for them: they
stay on that device where they are not even missed, or hold what was in the memory.
"""

import ast
import re
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    is_self_attribute,
    string,
)
from pinfold.audit.rules.members import mains
from pinfold.common.trees import every, walk
from pinfold.folder.releases import release_ranges

LEFT_OUT, NOT_MISSED = "_keys_to_ignore_on_save", "_keys_to_ignore_on_load_missing"
EMPTY = ("empty", "empty_like", "rand", "randn", "rand_like", "randn_like", "Tensor", "FloatTensor", "normal")


def made_weights(code: ReachableCode) -> Iterator[Finding]:
    """P80: tables of positions and the like, that only the constructor makes."""
    for cls in mains(code):
        seen = set()
        for key in listed(code, cls, LEFT_OUT):
            kind = made_by(code, cls, key)
            if not kind or kind in seen:
                continue
            seen.add(kind)
            missed = not any(_matches(pattern, key) for pattern in listed(code, cls, NOT_MISSED))
            case = "P80.not_saved" if missed else "P80.not_missed"
            if affected := harmed(case, code.lowest_version):
                yield code.finding(
                    "P80",
                    f"{kind} computes its weight in the constructor, and {cls}.{LEFT_OUT} leaves {key} out of the "
                    f"file: transformers {release_ranges(affected)} builds without that, and has no numbers for it.",
                    kind,
                    fix=f"Take it out of {LEFT_OUT}; or compute it in forward.",
                    releases=affected,
                    case=case,
                )


def listed(code: ReachableCode, cls: str, name: str) -> list[str]:
    """The strings of a list that a class declares."""
    value = code.folder.attribute(cls, name)
    elements = value.elts if isinstance(value, (ast.List, ast.Tuple, ast.Set)) else ()
    return [text for element in elements if (text := string(element))]


def made_by(code: ReachableCode, cls: str, key: str) -> str:
    """The class of the folder whose constructor computes a weight, where nothing else writes it; else ""."""
    *path, name = key.replace("\\", "").split(".")
    kinds = {
        call_name(value)
        for owner in code.torch_modules
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for target, value in assignments(node)
        if is_self_attribute(target) and [target.attr] == path[-1:] and isinstance(value, ast.Call)
    }
    kind = next(iter(kinds)) if len(kinds) == 1 else ""
    if kind not in code.folder.classes or not _computes(code, kind, name):
        return ""
    return kind if _left_alone(code, cls, kind) else ""


def _matches(pattern: str, key: str) -> bool:
    try:
        return bool(re.search(pattern, key))
    except re.error:
        return False


def _computes(code: ReachableCode, kind: str, name: str) -> bool:
    """Whether its constructor, or a method that it calls, fills a weight with numbers that are the same each time."""
    init = code.folder.method(kind, "__init__")
    if init is None:
        return False
    called = {call_name(call) for call in calls(init[1]) if is_self_attribute(call.func)}
    own = [method[1] for each in called if (method := code.folder.method(kind, each))]
    return any(_fills(node, name, set(), called) for node in walk(init[1])) or any(
        _fills(node, name, {argument.arg for argument in function.args.args}, called)
        for function in own
        for node in walk(function)
    )


def _fills(node: ast.AST, name: str, arguments: set[str], methods: set[str]) -> bool:
    """Whether a statement or a call writes numbers into self.name, or into an argument that may be it."""

    def is_it(value: ast.AST) -> bool:
        parts = chain(value)
        return parts[:2] == ["self", name] or bool(parts and parts[0] in arguments - {"self"})

    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "copy_":
        return is_it(node.func.value)
    for target, value in assignments(node):
        if isinstance(target, ast.Subscript) and is_it(target.value):
            return True
        if chain(target) == ["self", name, "data"]:
            return True
        if chain(target) == ["self", name] and isinstance(value, ast.Call) and call_name(value) == "Parameter":
            inner = value.args[0] if value.args else None
            return isinstance(inner, ast.Call) and call_name(inner) not in EMPTY
    return False


def _left_alone(code: ReachableCode, cls: str, kind: str) -> bool:
    """Whether _init_weights does not write into this class of module: it is not asked for, or passed over."""
    own = code.folder.method(cls, "_init_weights")
    if own is None:
        return True
    bases = {base for owner in code.folder.lineage(kind) for base, _ in code.folder.bases(owner)} | {kind}
    for test in every(own[1], ast.If):
        asked = {each for call in calls(test.test) for part in walk(call) for each in chain(part)[-1:]}
        if kind in asked:
            return all(isinstance(statement, (ast.Pass, ast.Return)) for statement in test.body)
        if asked & bases - {"Module"}:
            return False
    return True
