"""P67: what a configuration holds and JSON cannot: a set, a type of torch, an array, a function, an object.

from_pretrained writes the configuration into a line of its log, whether anyone reads that or not, and so does saving
into config.json (configuration_utils.py, 4.48 to 5.24). Only torch_dtype and dtype are written as words.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ReachableCode,
    assignments,
    call_name,
    chain,
    is_config,
    is_self_attribute,
    string,
)
from pinfold.audit.rules.decided import decide, settings
from pinfold.audit.rules.members import mains
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module

WRITES = ("to_dict", "to_diff_dict", "to_json_string", "__repr__", "__getstate__")
AS_WORDS = ("torch_dtype", "dtype")
NUMBERS = ("pi", "inf", "nan", "e", "__version__")  # of torch and numpy: floats, and a text
# numpy.sqrt and the like give a float64, which is a float; these give arrays, or numbers that are none of Python's
ARRAYS = {"arange", "linspace", "logspace", "zeros", "ones", "full", "eye", "empty", "stack", "outer", "tril", "triu"}
OF_PACKAGE = {
    "torch": ARRAYS | {"tensor", "as_tensor", "from_numpy", "cat", "rand", "randn", "device", "get_default_dtype"},
    "numpy": ARRAYS | {"array", "asarray", "concatenate", "int64", "int32", "int16", "int8", "float32", "float16"},
}
OBJECTS = {"SimpleNamespace", "Path", "PurePath", "deque", "partial", "device", "bytes", "range", "frozenset", "set"}
VIEWS = ("keys", "values", "items")
CONVERTS = ("float", "half", "bfloat16", "double", "long", "int", "to", "view", "reshape", "cpu", "clone", "astype")


def unwritable(code: ReachableCode) -> Iterator[Finding]:
    """P67: in the constructor of a configuration that a load builds, and in that of its model."""
    values = settings(code)
    config = code.auto_map.get("AutoConfig", "").split(".")[-1]
    if config not in code.config_classes or code.folder.is_stock(config):
        return
    if any(code.folder.method(config, name) for name in WRITES):
        return
    init = code.folder.method(config, "__init__")
    if init is not None:
        yield from _of_constructor(code, init, values, "P67.configuration", is_self_attribute)
    for cls in mains(code):
        own = code.folder.method(cls, "__init__")
        if own is not None:
            yield from _of_constructor(code, own, values, "P67.in_model", lambda node: is_config(_value(node)))


def _value(node: ast.AST) -> ast.AST | None:
    return node.value if isinstance(node, ast.Attribute) else None


def _of_constructor(code: ReachableCode, own: tuple[str, ast.FunctionDef], values, case: str, is_field):
    module = code.folder.classes[own[0]][0]
    fields: dict[str, tuple[ast.AST, str]] = {}
    for statement in _that_run(own[1].body, values):
        for target, value in assignments(statement):
            if isinstance(target, ast.Attribute) and is_field(target):
                fields.pop(target.attr, None)  # the last one counts
                words = "" if value is None or target.attr in AS_WORDS else _refused(code, module, value)
                if words and code.folder.method(own[0], target.attr) is None:
                    fields[target.attr] = statement, words
        touched = [part for node in every(statement, ast.Delete) for part in node.targets]
        touched += [part for node in every(statement, ast.Call) for part in node.args[1:]]
        for part in touched:  # del self.names, delattr(self, "names"), setattr(self, "names", ...)
            fields.pop(getattr(part, "attr", "") or string(part) or "", None)
    for name, (node, words) in fields.items():
        yield code.finding(
            "P67",
            f"the configuration gets {words} as {name}, which JSON cannot hold: it is neither printed nor saved.",
            own[0],
            node,
            fix=f"Keep in {name} what JSON has, such as a text or a list, and make the rest of it where it is used.",
            releases=harmed(case, code.lowest_version),
            case=case,
        )


def _that_run(statements: list[ast.stmt], values: dict) -> Iterator[ast.stmt]:
    """Statements that run for certain."""
    for statement in statements:
        if isinstance(statement, ast.If):
            holds = decide(statement.test, values)
            yield from _that_run([] if holds is None else statement.body if holds else statement.orelse, values)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Delete, ast.Expr)):
            yield statement
        elif isinstance(statement, ast.With):
            yield from _that_run(statement.body, values)
        if isinstance(statement, (ast.Return, ast.Raise)):
            return


def _refused(code: ReachableCode, module: Module, value: ast.expr) -> str:
    """What an expression is that JSON cannot hold, in words; "" where it can, or where that is not known."""
    if isinstance(value, (ast.Set, ast.SetComp)):
        return "a set"
    if isinstance(value, ast.Lambda):
        return "a function"
    if isinstance(value, ast.Constant):
        return "bytes" if isinstance(value.value, bytes) else ""
    if isinstance(value, (ast.List, ast.Tuple)):
        return next((words for each in value.elts if (words := _refused(code, module, each))), "")
    if isinstance(value, ast.ListComp):
        return _refused(code, module, value.elt) or _of_part(code, value.elt)
    if isinstance(value, ast.Dict):
        return _in_table(code, module, value)
    if isinstance(value, ast.Call):
        return _of_call(code, module, value)
    if isinstance(value, ast.Attribute):
        return _of_attribute(code, module, value)
    return ""


def _of_part(code: ReachableCode, value: ast.expr) -> str:
    """A configuration in a list, which is not looked into."""
    if not (isinstance(value, ast.Call) and call_name(value) in code.config_classes):
        return ""
    return f"a list of {call_name(value)}"


def _in_table(code: ReachableCode, module: Module, value: ast.Dict) -> str:
    for key, each in zip(value.keys, value.values, strict=True):
        if isinstance(key, ast.Tuple):
            return "a table whose keys are tuples"
        if string(key) not in AS_WORDS and (words := _refused(code, module, each)):
            return words
    return ""


def _of_call(code: ReachableCode, module: Module, call: ast.Call) -> str:
    name, path = call_name(call), chain(call.func)
    if name in CONVERTS and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        return _of_call(code, module, call.func.value)  # torch.arange(4).float()
    package = _package(module, path)
    if package in OF_PACKAGE:
        return f"what {'.'.join(path)} gives" if name in OF_PACKAGE[package] else ""
    if len(path) == 1 and name in OBJECTS and name not in code.folder.classes:
        return f"a {name}" if name != "bytes" else "bytes"
    if (
        name in VIEWS
        and isinstance(call.func, ast.Attribute)
        and not call.args
        and isinstance(call.func.value, ast.Dict)
    ):
        return f"the {name} of a table"
    if len(path) == 1 and name in code.folder.classes and _is_plain(code, name):
        return f"an object of {name}"
    return ""


def _of_attribute(code: ReachableCode, module: Module, value: ast.Attribute) -> str:
    """torch.float32, torch.tanh, nn.GELU; Pool.MEAN of an Enum whose members are neither texts nor numbers."""
    path = chain(value)
    if len(path) < 2:
        return ""
    if _package(module, path) in ("torch", "numpy"):
        return "" if path[-1] in NUMBERS or path[-2] in ("version", "backends", "cuda") else ".".join(path)
    if len(path) == 2 and path[0] in code.folder.classes:
        bases = [base for base, _ in code.folder.bases(path[0])]
        return ".".join(path) if bases == ["Enum"] else ""
    return ""


def _is_plain(code: ReachableCode, cls: str) -> bool:
    """Whether a class of the folder derives from nothing that JSON or transformers knows."""
    bases = {base for owner in code.folder.lineage(cls) for base, _ in code.folder.bases(owner)}
    known = {"object", "Generic", "ABC"} | set(code.folder.classes)
    return bases <= known and code.folder.kind(cls) not in ("config", "model")


def _package(module: Module, path: list[str]) -> str:
    """torch or numpy, where a chain of names begins with one of them; "" for anything else."""
    if len(path) < 2:
        return ""
    place, name = module.imports.get(path[0], ("", ""))
    return (place or name).split(".")[0]
