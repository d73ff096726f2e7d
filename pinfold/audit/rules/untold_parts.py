"""P84: a part of transformers' own that looks attention up by the choice in its settings, which nothing has made.

A model of transformers makes the choice in the configuration that it is given, and in no part of it. Up to 4.53 the
choice was eager where nobody had made one, from 5.1 on the part takes it so; between the two it finds None (measured).
"""

import ast
from collections.abc import Iterator

from pinfold.audit import stock
from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, argument, assignments, call_name, calls, chain, string
from pinfold.audit.rules.certain import FORWARD, CertainCalls
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import release_ranges

CASE = "P84.encoder"
CHOICES = {"_attn_implementation", "attn_implementation", "_attn_implementation_internal", "set_attn_implementation"}
DEEP = 3  # modules of the folder around the part


def untold(code: ReachableCode, certain: CertainCalls) -> Iterator[Finding]:
    """P84: parts that are built of a configuration which no model of transformers got."""
    affected = harmed(CASE, code.lowest_version)
    if not affected or _chooses(code):
        return
    without = NotBuilt(code)
    for cls in (name for name in code.torch_modules if name not in without.classes):
        module, node = code.folder.classes[cls]
        for init in (part for part in node.body if getattr(part, "name", "") == "__init__"):
            for statement in every(init, ast.Assign, ast.AnnAssign):
                for call in every(statement, ast.Call):
                    releases = [r for r in affected if r in _looks_up(module, call)]
                    given = argument(call, 0, "config")
                    if not releases or given is None or id(call) in without.nodes:
                        continue
                    if isinstance(init, ast.FunctionDef) and _is_untold(code, cls, init, given, DEEP):
                        yield _found(code, certain, cls, statement, call, tuple(releases))


def _found(
    code: ReachableCode,
    certain: CertainCalls,
    cls: str,
    statement: ast.Assign | ast.AnnAssign,
    call: ast.Call,
    releases: tuple[str, ...],
) -> Finding:
    """An error where every forward runs the part."""
    runs = any(
        stage == FORWARD and chain(each.func)[:1] == ["self"] and chain(each.func)[1:2] == [target.attr]
        for target, _ in assignments(statement)
        if isinstance(target, ast.Attribute)
        for each, stage in certain.stage.items()
        if each in set(calls(code.folder.classes[cls][1]))
    )
    name, given = call_name(call), argument(call, 0, "config")
    shown = ast.unparse(given) if given is not None else ""
    return code.finding(
        "P84",
        f"{cls} builds {name} of {shown[:60]}, of which nothing says what attention to use: forward raises "
        f"KeyError: None in transformers {release_ranges(releases)}.",
        cls,
        call,
        fix=f'Set {shown[:60]}._attn_implementation = "eager" before, or build the model around it instead.',
        releases=releases,
        severity=ERROR if runs else WARNING,
        case=CASE,
    )


def _looks_up(module: Module, call: ast.Call) -> frozenset[str]:
    """Releases in which what a call builds is such a part."""
    place, name = module.imports.get(call.func.id, ("", "")) if isinstance(call.func, ast.Name) else ("", "")
    return stock.looks_up_attention(place, name) if place.startswith("transformers.models.") else frozenset()


def _chooses(code: ReachableCode) -> bool:
    """Whether the code or the settings make the choice somewhere themselves."""
    if CHOICES & code.mentioned:
        return True
    for module in code.modules:
        if any(node.arg in CHOICES for node in every(module.tree, ast.keyword, ast.arg)):
            return True
        if any(string(node) in CHOICES for node in every(module.tree, ast.Constant)):
            return True
    return any(name in str(code.configs.get("config.json", {})) for name in CHOICES)


def _is_untold(code: ReachableCode, cls: str, init: ast.FunctionDef, given: ast.expr, depth: int) -> bool:
    """Whether what is handed to a part is a configuration of the part alone, and reaches no model on its way."""
    if isinstance(given, ast.Attribute):
        return (
            given.attr.endswith(("config", "cfg"))
            and chain(given) != ["self", "config"]
            and not _goes_to_a_model(code, init, given)
        )
    if isinstance(given, ast.Call):
        return call_name(given).endswith("Config")
    if not isinstance(given, ast.Name) or depth == 0:
        return False
    values = [v for node in every(init, ast.Assign, ast.AnnAssign) for t, v in assignments(node) if _is(t, given.id)]
    if values:
        return len(values) == 1 and values[0] is not None and _is_untold(code, cls, init, values[0], depth - 1)
    if code.folder.kind(cls) == "model" or _goes_to_a_model(code, init, given):
        return False
    names = [each.arg for each in init.args.args][1:]
    if given.id not in names:
        return False
    return _from_outside(code, cls, given.id, names.index(given.id), depth)


def _from_outside(code: ReachableCode, cls: str, name: str, place: int, depth: int) -> bool:
    """The same of what a module of the folder is built with, everywhere that it is built."""
    builds = []
    for owner in code.torch_modules:
        for function in code.folder.classes[owner][1].body:
            if isinstance(function, ast.FunctionDef):
                builds += [(owner, function, call) for call in calls(function) if call_name(call) == cls]
    values = [(owner, function, argument(call, place, name)) for owner, function, call in builds]
    return bool(values) and all(
        value is not None and function.name == "__init__" and _is_untold(code, owner, function, value, depth - 1)
        for owner, function, value in values
    )


def _goes_to_a_model(code: ReachableCode, init: ast.FunctionDef, given: ast.expr) -> bool:
    """Whether the same configuration is handed to something else that may be a model: it makes the choice there."""
    text = ast.unparse(given)
    for call in calls(init):
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        if not any(ast.unparse(value) == text for value in values):
            continue
        name = call_name(call)
        if name in code.folder.classes and code.folder.kind(name) == "model":
            return True
        if name in ("from_config", "_from_config", "from_pretrained") or name.endswith(("Model", "ForCausalLM")):
            return True
    return False


def _is(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name
