"""P31: settings of rotary positions, which transformers 5 fills, and checks while a configuration is made.

transformers 5 sets rope_scaling to {"rope_type": "default", "rope_theta": ...} where super().__init__ finds that the
constructor has set it to None (convert_rope_params_to_dict in modeling_rope_utils.py, 5.0.0 to 5.24.0). What is set
afterwards, or comes in **kwargs, stays as it is.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    FUNCTIONS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    chain,
    defaults,
    is_none,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.common.trees import below, every, walk
from pinfold.folder.model_folder import Module, located
from pinfold.folder.releases import release_ranges

NAMES = ("rope_scaling", "rope_parameters")
FILLED = ("rope_type", "rope_theta")  # the keys of what is filled in
# Kinds of scaling that transformers 5.4 and later check at the end of super().__init__ -> the sizes that they read.
# What is set before it is given the keys that it lacks first; what comes as an argument of it is not (modeling_rope_
# utils.py, 5.4.0 to 5.24.0).
CHECKED = {
    "linear": (),
    "yarn": ("max_position_embeddings",),
    "llama3": ("max_position_embeddings",),
    "longrope": ("hidden_size", "num_attention_heads"),
}
OF_LENGTH = "original_max_position_embeddings"  # a key that all of them need but the first
SET, NONE = "set", "none"


def rope_settings(code: ReachableCode) -> Iterator[Finding]:
    """Code that takes None for "no scaling"; a key under its older name; sizes that are set too late."""
    stored = next((value for name in NAMES if isinstance(value := _config(code).get(name), dict) and value), {})
    if not stored and any(_leaves_none(code, cls) for cls in code.config_classes):
        yield from _filled(code)
    elif "rope_type" in stored and "type" not in stored:
        yield from _older_key(code)
    if stored.get("rope_type", stored.get("type")) in CHECKED:
        yield from _set_late(code, stored)
    if stored:
        yield from _lost(code)


def _lost(code: ReachableCode) -> Iterator[Finding]:
    """Settings that the argument overwrites behind super().__init__(**kwargs).

    transformers 5 writes them as rope_parameters into config.json, and hands these to super().__init__ when that is
    loaded again; the argument is None then.
    """
    case, cls = "P31.lost_when_saved", code.auto_map.get("AutoConfig", "").split(".")[-1]
    init = code.folder.method(cls, "__init__") if cls in code.config_classes else None
    affected = harmed(case, code.lowest_version)
    if init is None or not affected or "rope_parameters" in {each.arg for each in parameters(init[1])}:
        return
    line = _super_line(init[1])
    sets = [
        target
        for node in init[1].body
        for target, value in assignments(node)
        if is_self_attribute(target) and target.attr == "rope_scaling" and isinstance(value, ast.Name)
        if value.id == "rope_scaling" and is_none(defaults(init[1]).get("rope_scaling"))
    ]
    read = any(n.attr in NAMES for _, f in _functions(code) for n in every(f, ast.Attribute))
    if line and read and sets and all(located(target).lineno > line for target in sets):
        yield code.finding(
            "P31",
            f"{init[0]}.__init__ sets rope_scaling behind super().__init__(...): transformers "
            f"{release_ranges(affected)} saves it as rope_parameters, which None overwrites when that is loaded.",
            init[0],
            sets[0],
            fix="Set it before super().__init__(**kwargs).",
            releases=affected,
            case=case,
        )


def _config(code: ReachableCode) -> dict:
    return code.configs.get("config.json", {})


def _filled(code: ReachableCode) -> Iterator[Finding]:
    """A decision by None or by truth, and a key in the branch of settings that those of transformers 5 do not have."""
    affected = harmed("P31.none_before_super", code.lowest_version)
    for module, function in _functions(code) if affected else ():
        for node, branch in _decisions(function):
            keys = [key for key, _ in _keys_read(branch, function) if key not in FILLED]
            if keys:
                yield Finding(
                    "P31",
                    f"{module.file}:{node.lineno}: rope_scaling is never None in transformers 5, and where none was "
                    f'set it has no "{keys[0]}", which is read here.',
                    module.file,
                    node.lineno,
                    fix=f'Ask for that key: "{keys[0]}" in (config.rope_scaling or {{}}).',
                    releases=affected,
                    case="P31.none_before_super",
                )
            elif _chooses(node, branch, function):
                yield Finding(
                    "P31",
                    f"{module.file}:{node.lineno}: rope_scaling is never None in transformers 5: this goes the way of "
                    "settings that are there.",
                    module.file,
                    node.lineno,
                    fix='Ask for what was set: "factor" in (config.rope_scaling or {}).',
                    releases=affected,
                    case="P31.none_decides",
                )


def _chooses(node: ast.If | ast.IfExp, branch: list, function: ast.AST) -> bool:
    """Whether a branch computes something else without a look at the settings, which would say that none are there."""
    nodes = [part for each in branch for part in walk(each)]
    if any(_is_settings(part, function) for part in nodes if isinstance(part, (ast.Attribute, ast.Call, ast.Name))):
        return False
    if any(isinstance(part, ast.Raise) for part in nodes) or _looks_inside(node.test):
        return False
    return isinstance(node, ast.IfExp) or any(isinstance(part, ast.Assign) for part in nodes)


def _decisions(function: ast.AST) -> Iterator[tuple[ast.If | ast.IfExp, list]]:
    """Conditions on settings that are there, with what runs where they are."""
    caught = {id(n) for t in every(function, ast.Try) if t.handlers for n in walk(t)}
    for node in walk(function):
        if id(node) in caught:
            continue
        if isinstance(node, (ast.If, ast.IfExp)) and (holds := _asks_for_settings(node.test, function)):
            branch = node.body if holds == SET else node.orelse
            yield node, branch if isinstance(branch, list) else [branch]
        for part in (getattr(node, "body", None), getattr(node, "orelse", None)):
            body = part if isinstance(part, list) else []
            for number, each in enumerate(body):
                if (
                    isinstance(each, ast.If)
                    and _asks_for_settings(each.test, function) == NONE
                    and isinstance(each.body[-1], (ast.Return, ast.Raise))
                ):
                    yield each, body[number + 1 :]  # what comes behind a branch that leaves


def _functions(code: ReachableCode) -> Iterator[tuple[Module, ast.AST]]:
    """Functions of the code but those of configuration classes, which run before super().__init__ has."""
    for module in code.modules:
        pending: list[ast.AST] = list(module.tree.body)
        while pending:
            node = pending.pop()
            if isinstance(node, ast.ClassDef) and node.name not in code.config_classes:
                pending += node.body
            elif isinstance(node, FUNCTIONS):
                yield module, node


def _is_settings(node: ast.AST, function: ast.AST) -> bool:
    """config.rope_scaling, or a name of the function that holds it."""
    if isinstance(node, ast.Attribute):
        return node.attr in NAMES
    if isinstance(node, ast.Call) and call_name(node) == "getattr":
        return string(argument(node, 1, "name")) in NAMES
    return isinstance(node, ast.Name) and any(
        isinstance(target, ast.Name) and target.id == node.id and not isinstance(value, ast.Name)
        and value is not None and _is_settings(value, function)
        for each in every(function, *ASSIGNMENTS)
        for target, value in assignments(each)
    )  # fmt: skip


def _asks_for_settings(test: ast.expr, function: ast.AST) -> str:
    """SET where the test holds for settings that are there, NONE where it holds for none, "" for another test.

    One that asks for a key as well knows what it reads.
    """
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return {SET: NONE, NONE: SET}.get(_asks_for_settings(test.operand, function), "")
    if isinstance(test, ast.BoolOp):  # `a and config.rope_scaling`: where it holds, there are settings
        if any(map(_looks_inside, test.values)):
            return ""
        wanted = SET if isinstance(test.op, ast.And) else NONE
        return wanted if wanted in [_asks_for_settings(part, function) for part in test.values] else ""
    compares = isinstance(test, ast.Compare) and len(test.ops) == 1 and is_none(test.comparators[0])
    if compares and isinstance(test, ast.Compare) and _is_settings(test.left, function):
        return NONE if isinstance(test.ops[0], (ast.Is, ast.Eq)) else SET
    return SET if _is_settings(test, function) else ""


def _looks_inside(test: ast.expr) -> bool:
    """Whether a test looks into a table: for a key, or at what it has under one."""
    return any(
        (isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)))
        or (isinstance(node, ast.Call) and call_name(node) == "get")
        for node in walk(test)
    )


def _keys_read(nodes: list, function: ast.AST) -> Iterator[tuple[str, ast.Subscript]]:
    """Keys that are read from the settings without a default, and without a question or a try around it."""
    pending: list[ast.AST] = list(nodes)
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.Try) and node.handlers:
            continue
        if isinstance(node, (ast.If, ast.IfExp)) and _looks_inside(node.test):
            continue
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key = string(node.slice)
            if key and _is_settings(node.value, function):
                yield key, node
        pending += below(node)


def _older_key(code: ReachableCode) -> Iterator[Finding]:
    """rope_scaling["type"] where config.json says "rope_type"."""
    for module, function in _functions(code):
        for key, node in _keys_read([function], function):
            if key == "type":
                yield Finding(
                    "P31",
                    f'{module.file}:{node.lineno}: rope_scaling["type"] is read, and config.json has "rope_type".',
                    module.file,
                    node.lineno,
                    fix='Take both: config.rope_scaling.get("rope_type", config.rope_scaling.get("type")).',
                    case="P31.rope_type_of_written",
                )


def _set_late(code: ReachableCode, stored: dict) -> Iterator[Finding]:
    """Settings that are not there before super().__init__, and so lack what it checks, or sizes that it reads."""
    kind = str(stored.get("rope_type", stored.get("type")))
    for cls in code.config_classes:
        init = code.folder.method(cls, "__init__")
        if init is None or init[0] != cls or _is_set_before_super(code, cls, NAMES):
            continue
        line = _super_line(init[1])
        if not line or _sets(init[1], NAMES) or not _passes(init[1], NAMES):
            continue
        late = [n for n in CHECKED[kind] if _sets(init[1], (n,)) and not _is_set_before_super(code, cls, (n,))]
        words, case = _lacks(code, init[1], kind, stored, late)
        affected = harmed(case, code.lowest_version) if case else ()
        if affected:
            sizes = " and ".join(CHECKED[kind] or ("the sizes",))
            yield code.finding(
                "P31",
                f"{cls}.__init__: {words}, which transformers {release_ranges(affected)} reads in super().__init__ to "
                f"check rope_scaling of the kind {kind}.",
                cls,
                init[1],
                fix=f"Take rope_scaling=None as an argument. Behind {sizes}, and before super().__init__(...) in line "
                f"{line}, write if rope_scaling: self.rope_scaling = rope_scaling, and then "
                "super().__init__(rope_scaling=rope_scaling, **kwargs).",
                releases=affected,
                case=case,
            )


def _lacks(code: ReachableCode, init: ast.FunctionDef, kind: str, stored: dict, late: list[str]) -> tuple[str, str]:
    """What a check of these settings misses, in words, and the laboratory's case; "" and "" where it has all."""
    theta = "rope_theta" in stored
    if late:
        case = "P31.late_hidden_size_longrope" if kind == "longrope" else f"P31.before_sizes_{kind}"
        return f"{late[0]} is set too late", case
    if kind != "linear" and OF_LENGTH not in stored:
        return f"the settings have no {OF_LENGTH}", "P31.before_sizes_yarn_alone"
    if theta:
        return "", ""
    if kind == "llama3" and not ("rope_theta" in _config(code) and _passes(init, ("rope_theta",))):
        return "the settings have no rope_theta", "P15.rope_scaling_llama3"
    case = "P31.before_sizes_longrope" if kind == "longrope" else "P31.before_sizes_linear"
    return "the settings have no rope_theta", case


def _passes(init: ast.FunctionDef, names: tuple[str, ...]) -> bool:
    """Whether super().__init__ gets a field as an argument, or in the **kwargs of a constructor that names none."""
    keywords = {k.arg for call in calls(init) if call_name(call) == "__init__" for k in call.keywords}
    named = {each.arg for each in parameters(init)}
    return bool(keywords & set(names)) or (None in keywords and not named & set(names))


def _is_set_before_super(code: ReachableCode, cls: str, names: tuple[str, ...]) -> bool:
    """Whether the class's own constructor sets one of the fields before it calls super().__init__."""
    init = code.folder.method(cls, "__init__")
    if init is None or init[0] != cls:
        return False
    line = _super_line(init[1])
    return any(where < line for where in _sets(init[1], names))


def _leaves_none(code: ReachableCode, cls: str) -> bool:
    """Whether super().__init__ may find None: the argument as it came, and nothing is set again behind it."""
    init = code.folder.method(cls, "__init__")
    if init is None or init[0] != cls or not _is_set_before_super(code, cls, NAMES):
        return False
    line, given = _super_line(init[1]), defaults(init[1])
    if any(where > line for where in _sets(init[1], NAMES)):
        return False
    asked = {  # if rope_scaling: self.rope_scaling = rope_scaling
        id(inner)
        for node in walk(init[1])
        if isinstance(node, ast.If) and any(isinstance(n, ast.Name) and n.id in NAMES for n in walk(node.test))
        for part in node.body
        for inner in walk(part)
    }
    bound = {
        target.id
        for node in every(init[1], *ASSIGNMENTS)
        for target, _ in assignments(node)
        if isinstance(target, ast.Name)
    }
    return any(
        is_self_attribute(target)
        and target.attr in NAMES
        and id(target) not in asked
        and isinstance(value, ast.Name)
        and is_none(given.get(value.id))
        and value.id not in bound
        for node in every(init[1], *ASSIGNMENTS)
        for target, value in assignments(node)
    )


def _super_line(init: ast.FunctionDef) -> int:
    """The line of super().__init__(...); 0 without one."""
    return next((call.lineno for call in calls(init) if chain(call.func)[-1:] == ["__init__"] or _of_super(call)), 0)


def _of_super(call: ast.Call) -> bool:
    func = call.func
    return isinstance(func, ast.Attribute) and func.attr == "__init__" and isinstance(func.value, ast.Call)


def _sets(init: ast.FunctionDef, names: tuple[str, ...]) -> list[int]:
    """The lines in which self.NAME is set."""
    return [
        located(target).lineno
        for node in every(init, *ASSIGNMENTS)
        for target, _ in assignments(node)
        if is_self_attribute(target) and target.attr in names
    ]
