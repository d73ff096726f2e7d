"""Whether generate hands a model a cache at all, and in which of its names and calls that cache goes on.

generate makes none where use_cache is False, and where _supports_default_dynamic_cache of the class says no: by
default, where it is stateful (up to 5.4), or has a name that transformers takes for a model with a cache of its own
(generation/utils.py, 4.54 to 5.24). What only some releases go by is measured (the laboratory's P32 cases).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    defaults,
    is_try,
    own_nodes,
    string,
)
from pinfold.audit.rules.generation import says_no_cache
from pinfold.common.trees import every, walk

USES = "use_cache"
# In the names of classes that transformers hands no cache; xLSTM's own is called cache_params.
SPECIAL = ("reformer", "xlnet", "mamba", "rwkv", "xlstm")


def keeps_none(code: ReachableCode) -> bool:
    """Whether settings say that no cache is kept: those of generate alone, where they have a file (measured)."""
    of_generate = code.configs.get("generation_config.json")
    if of_generate is not None:
        return of_generate.get(USES) is False
    if says_no_cache(code) or code.configs.get("config.json", {}).get(USES) is False:
        return True
    return _sets_in_models(code)


def _sets_in_models(code: ReachableCode) -> bool:
    return any(_sets_in_model(node) for cls in code.models for node in walk(code.folder.classes[cls][1]))


def case_of_tuples(code: ReachableCode, cls: str) -> str | None:
    """The laboratory's case of a model that takes its cache for tuples; None where it is handed none anywhere."""
    if keeps_none(code):
        stored = "generation_config.json" in code.configs or code.configs.get("config.json", {}).get(USES) is False
        if stored or "config.json" not in code.configs:
            return None
        return "P32.tuples_class_says_no" if says_no_cache(code) else None  # what a constructor sets is not known
    if _is_stateful(code, cls):
        return "P32.tuples_stateful"
    if makes_no_cache(code, cls):
        return None
    says = code.folder.attribute(cls, "_supports_cache_class")
    always = isinstance(says, ast.Constant) and says.value is True
    return "P32.tuple_cache" if always or _says_it_takes_one(code, cls) else "P32.tuples_shape"


def _is_stateful(code: ReachableCode, cls: str) -> bool:
    said = code.folder.attribute(cls, "_is_stateful")
    return isinstance(said, ast.Constant) and said.value is True


def _says_it_takes_one(code: ReachableCode, cls: str) -> bool:
    """Whether its own _supports_default_dynamic_cache returns True alone."""
    own = code.folder.method(cls, "_supports_default_dynamic_cache")
    returned = [node.value for node in own_nodes(own[1]) if isinstance(node, ast.Return)] if own else []
    return bool(returned) and all(isinstance(value, ast.Constant) and value.value is True for value in returned)


def _sets_in_model(node: ast.AST) -> bool:
    """self.generation_config.use_cache = False, and GenerationConfig(use_cache=False)."""
    if isinstance(node, ast.Call) and call_name(node) == "GenerationConfig":
        return any(keyword.arg == USES and _is_false(keyword.value) for keyword in node.keywords)
    return any(
        chain(target)[-2:] == ["generation_config", USES] and _is_false(value) for target, value in assignments(node)
    )


def makes_no_cache(code: ReachableCode, cls: str) -> bool:
    """Whether generate hands the class no cache to begin with: it makes one of its own, or none."""
    if not cls:
        return False
    if code.folder.method(cls, "_prepare_cache_for_generation") or _switches_off(code, cls):
        return True
    if code.folder.method(cls, "_supports_default_dynamic_cache"):
        return not _says_it_takes_one(code, cls)
    return _is_stateful(code, cls) or any(name in cls.lower() for name in SPECIAL)


def _switches_off(code: ReachableCode, cls: str) -> bool:
    """Whether a generate of its own asks transformers' for one without a cache."""
    own = code.folder.method(cls, "generate")
    if own is None:
        return False
    if _is_false(defaults(own[1]).get(USES)):
        return True
    for node in walk(own[1]):
        if isinstance(node, ast.keyword) and node.arg == USES and _is_false(node.value):
            return True
        if isinstance(node, ast.Call) and call_name(node) == "setdefault" and USES in map(string, node.args[:1]):
            return _is_false(node.args[-1])
        if isinstance(node, ast.Dict) and any(
            string(key) == USES and _is_false(value) for key, value in zip(node.keys, node.values, strict=True)
        ):
            return True
        for target, value in assignments(node):
            named = string(target.slice) if isinstance(target, ast.Subscript) else getattr(target, "attr", "")
            if named == USES and _is_false(value):
                return True
    return False


def _is_false(value: ast.AST | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def of_something_else(function: ast.AST, names: set[str]) -> set[ast.AST]:
    """Names behind past_key_values = something else in the same statements: what they hold was not handed over."""
    lost: set[ast.AST] = set()
    for node in walk(function):
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            for number, statement in enumerate(statements if isinstance(statements, list) else []):
                rebound = _rebound(statement, names)
                for later in statements[number + 1 :] if rebound and isinstance(statements, list) else ():
                    lost |= {each for each in every(later, ast.Name) if each.id in rebound}
    return lost


def _rebound(statement: ast.stmt, names: set[str]) -> set[str]:
    """Names that hold something else behind a statement, whichever way it goes."""
    if isinstance(statement, ast.If):
        ways = [statement.body, statement.orelse]
    elif is_try(statement) and statement.handlers:  # where reading the cache fails, it is given up
        ways = [handler.body for handler in statement.handlers]
    else:
        return {
            target.id
            for target, value in assignments(statement)
            if isinstance(target, ast.Name) and target.id in names and not _holds(value, names)
        }
    return set.intersection(*({n for each in way for n in _rebound(each, names)} for way in ways))


def expected(function: ast.AST) -> set[ast.AST]:
    """Nodes in a try whose error is caught."""
    return {part for node in walk(function) if is_try(node) for statement in node.body for part in walk(statement)}


def _holds(value: ast.expr | None, names: set[str]) -> bool:
    return value is None or any(isinstance(node, ast.Name) and node.id in names for node in walk(value))


def goes_on(function: ast.FunctionDef, names: set[str]) -> bool:
    """Whether what some arguments hold is a part of what a function returns, and not only asked about or read."""
    lost = of_something_else(function, names)
    read = {node.value for node in every(function, ast.Attribute, ast.Subscript)}
    asked = {part for node in every(function, ast.If, ast.IfExp) for part in walk(node.test)}
    return any(node.id in names and node not in lost | read | asked for node in every(function, ast.Name))


def attributes_of(code: ReachableCode, cls: str, part: str) -> set[str]:
    """Attributes of a class in whose making a class of the folder is built: self.h = nn.ModuleList([Part() ...])."""
    return {
        target.attr
        for owner in code.folder.lineage(cls)
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for target, value in assignments(node)
        if isinstance(target, ast.Attribute) and value is not None and any(call_name(c) == part for c in calls(value))
    }


def calls_of(code: ReachableCode, cls: str, attributes: set[str]) -> Iterator[tuple[ast.FunctionDef, ast.Call]]:
    """Calls self.attribute(...) in the methods of a class, with the method."""
    for owner in code.folder.lineage(cls):
        for function in code.folder.classes[owner][1].body:
            if isinstance(function, ast.FunctionDef):
                for call in calls(function):
                    path = chain(call.func) if isinstance(call.func, ast.Attribute) else []
                    if len(path) == 2 and path[0] == "self" and path[1] in attributes:
                        yield function, call


def hands_on(call: ast.Call, names: set[str], lost: set[ast.AST]) -> bool:
    """Whether a call may hand over what some names hold, by themselves or in a table."""
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    if any(isinstance(value, ast.Starred) for value in values) or any(k.arg is None for k in call.keywords):
        return True
    return any(
        isinstance(node, ast.Name) and node.id in names and node not in lost
        for value in values
        for node in walk(value)
    )


def replaces_empty(function: ast.FunctionDef, names: set[str]) -> bool:
    """Whether a function hands on something else in place of a cache that is false: past_key_values or None."""
    return any(_replaces(node, names) for node in walk(function))


def _replaces(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return _is_one(node.values[0], names) and not (isinstance(node.values[-1], ast.Compare))
    if isinstance(node, ast.IfExp):  # past_key_values if past_key_values else None
        return _is_one(node.test, names) and _is_one(node.body, names)
    if isinstance(node, ast.If) and _is_not(node.test, names):
        return any(
            isinstance(target, ast.Name) and target.id in names
            for statement in node.body
            for target, _ in assignments(statement)
        )
    return False


def where_true(function: ast.FunctionDef, names: set[str]) -> set[ast.AST]:
    """Nodes of a function that a cache which is false does not come to."""
    nodes: set[ast.AST] = set()
    for node in walk(function):
        if isinstance(node, (ast.If, ast.IfExp)):
            parts = [node.test, *(node.test.values if isinstance(node.test, ast.BoolOp) else ())]
            both = isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or)
            if not both and any(_is_one(part, names) for part in parts):
                nodes |= _below(node.body)
            elif _is_not(node.test, names):
                nodes |= _below(node.orelse)
        for field in ("body", "orelse"):
            statements = getattr(node, field, None)
            for number, statement in enumerate(statements if isinstance(statements, list) else ()):
                if _sets_another(statement, names):
                    nodes |= _below(statements[number + 1 :])  # type: ignore[index]
    return nodes


def _sets_another(statement: ast.stmt, names: set[str]) -> bool:
    """past_key_values = past_key_values or None, and the same as a question."""
    if isinstance(statement, ast.If):
        return _replaces(statement, names)
    return any(
        isinstance(target, ast.Name) and target.id in names and value is not None and _replaces(value, names)
        for target, value in assignments(statement)
    )


def _below(nodes: ast.AST | list[ast.stmt]) -> set[ast.AST]:
    return {part for node in (nodes if isinstance(nodes, list) else [nodes]) for part in walk(node)}


def _is_one(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _is_not(test: ast.expr, names: set[str]) -> bool:
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and _is_one(test.operand, names)
