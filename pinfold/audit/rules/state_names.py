"""P48: code of the folder that changes names while torch loads a state, and that from_pretrained does not call.

torch's load_state_dict calls _load_from_state_dict of every module, and the hooks that are registered for it. From
4.51 on from_pretrained assigns tensors itself and calls none of them; load_state_dict of the model itself it calls in
4.50 alone (the laboratory's P48 cases). What a method only drops from a state is dropped without it too.
"""

import ast
import re
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    chain,
    defined_functions,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.audit.rules.weights import safetensors
from pinfold.common.errors import UserError
from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import Module

LOADS = "_load_from_state_dict"
HOOKS = {"_register_load_state_dict_pre_hook": "P48.hook", "register_load_state_dict_pre_hook": "P48.public_hook"}
COPIES = ("dict", "OrderedDict")
SAVES = ("state_dict", "_save_to_state_dict")
SAVE_HOOKS = ("_register_state_dict_hook", "register_state_dict_post_hook")
# Functions that only look at what they are handed.
READERS = frozenset("len list set tuple sorted any all isinstance print str repr iter bool type id super".split())  # noqa: SIM905
LOGS = ("logger", "logging", "warnings", "log")
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def changed_names(code: ReachableCode) -> Iterator[Finding]:
    """P48: methods and hooks that put something into a state that is loaded."""
    stored = _stored(code)
    for cls in code.torch_modules:
        module, _ = code.folder.classes[cls]
        for case, place, functions, words in _changes(code, module, cls):
            where, fix = "", "Rename the tensors in the file, once, to the names that the model has itself."
            if _saves_so(code, cls):
                fix += " Take out what loads and saves other names."
                case = "P48.method_and_save" if case != "P48.load_state_dict" else case
            elif stored is None:
                where = "where the file has the names that it changes"
            elif functions and not _named(code, module, functions, stored):
                continue
            if affected := harmed(case, code.lowest_version):
                yield code.finding(
                    "P48",
                    f"{cls}: {words} changes what a state holds, and from_pretrained does not call it.",
                    cls,
                    place,
                    fix=fix,
                    releases=affected,
                    case=case,
                    where=where,
                )


def _changes(code: ReachableCode, module: Module, cls: str) -> Iterator[tuple[str, ast.AST, list[Function], str]]:
    """Case, place, the functions and what they are called, of each method or hook of a class that changes a state."""
    for part in code.folder.classes[cls][1].body:
        if not isinstance(part, ast.FunctionDef):
            continue
        if part.name == LOADS and _puts(part):
            yield "P48.method", part, [part], LOADS
        elif part.name == "load_state_dict" and cls in code.models and _puts(part):
            yield "P48.load_state_dict", part, [part], part.name
        for call in calls(part):
            if case := HOOKS.get(call_name(call), ""):
                hook = _function(code, module, cls, argument(call, 0, "hook"))
                if hook is None or _puts(hook):
                    yield case, call, [] if hook is None else [hook], f"what {call_name(call)} registers"


def _function(code: ReachableCode, module: Module, cls: str, value: ast.expr | None) -> Function | None:
    """The function of a hook: a method, one at the top of the file, a lambda, or what a partial calls."""
    if isinstance(value, ast.Call) and call_name(value) == "partial":
        value = argument(value, 0, "func")
    if isinstance(value, ast.Lambda):
        return value
    path = chain(value)
    if len(path) == 1:
        return defined_functions(module).get(path[0])
    owner = cls if path[:1] == ["self"] else path[0] if path else ""
    method = code.folder.method(owner, path[-1]) if len(path) == 2 and owner in code.folder.classes else None
    return method[1] if method else None


def _puts(function: Function) -> bool:
    """Whether a function sets entries of the state that it gets, or hands on another table."""
    names = _states(function)
    for node in walk(function):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in names:
                return True
        elif isinstance(node, ast.Call):
            if _handed_on(node, names):
                return True
        elif any(
            isinstance(target, ast.Name) and target.id in names and isinstance(value, ast.DictComp)
            for target, value in assignments(node)
        ):
            return True
    return False


def _states(function: Function) -> set[str]:
    """Names of the state in a function: its first argument, or the one behind the module, and copies of it."""
    arguments = [each.arg for each in (*function.args.posonlyargs, *function.args.args) if each.arg != "self"]
    names = set(arguments[:2]) - {"prefix", "strict", "module"}
    for node in walk(function):
        for target, value in assignments(node):
            copied = value
            if isinstance(value, ast.Call) and call_name(value) == "copy" and isinstance(value.func, ast.Attribute):
                copied = value.func.value
            elif isinstance(value, ast.Call) and call_name(value) in COPIES and value.args:
                copied = value.args[0]
            if isinstance(target, ast.Name) and isinstance(copied, ast.Name) and copied.id in names:
                names.add(target.id)
    return names


def _handed_on(call: ast.Call, names: set[str]) -> bool:
    """Whether a call fills a table of these names, or hands one, or a new one, to code that may."""
    owner, name = chain(call.func)[:-1], call_name(call)
    if owner and owner[-1] in names:
        return name in ("update", "setdefault")
    above = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(above, ast.Call) and call_name(above) == "super":
        first = argument(call, 0, "state_dict")
        same = isinstance(first, ast.Name) and first.id in names
        return first is not None and not same and not isinstance(first, ast.Starred)
    if name in READERS or name in COPIES or (owner[:1] and owner[0] in LOGS):
        return False
    return any(isinstance(each, ast.Name) and each.id in names for each in call.args)


def _saves_so(code: ReachableCode, cls: str) -> bool:
    """Whether the class writes other names than it has, so that every file that it saves has them."""
    for owner in code.folder.lineage(cls):
        node = code.folder.classes[owner][1]
        if any(call_name(call) in SAVE_HOOKS for call in calls(node)):
            return True
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and part.name in SAVES and parameters(part) and _writes(part):
                return True
    return False


def _writes(function: ast.FunctionDef) -> bool:
    """Whether a method that saves sets entries of a table, or makes another one."""
    stores = any(isinstance(node.ctx, ast.Store) for node in every(function, ast.Subscript))
    return stores or bool(every(function, ast.DictComp))


def _stored(code: ReachableCode) -> set[str] | None:
    """The words of the names in the file, or None without a file that can be read."""
    try:
        headers = safetensors(code.directory)
    except UserError:  # said where weights are judged
        return None
    names = [tensor.name for header in headers.values() for tensor in header.tensors]
    return {word for name in names for word in name.split(".")} if names else None


def _named(code: ReachableCode, module: Module, functions: list[Function], stored: set[str]) -> bool:
    """Whether the file has a name that the functions write and that nothing in the model has."""
    texts = [text for function in functions for text in _texts(module, function)]
    words = {word for text in texts for word in re.split(r"[.\s]+", text) if word}
    attributes = {
        target.attr
        for each in code.modules
        for node in every(each.tree, ast.Assign, ast.AnnAssign)
        for target, _ in assignments(node)
        if is_self_attribute(target)
    }
    return bool((words & stored) - attributes - {"weight", "bias"})


def _texts(module: Module, function: Function) -> Iterator[str]:
    """Strings of a function, and of the constants of the file that it names."""
    used = {node.id for node in every(function, ast.Name)}
    tables = [
        value
        for statement in module.tree.body
        for target, value in assignments(statement)
        if isinstance(target, ast.Name) and target.id in used and value is not None
    ]
    for node in (function, *tables):
        yield from (text for each in walk(node) if (text := string(each)))
