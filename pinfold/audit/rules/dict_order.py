"""P69: code that goes by the order of a table in the configuration, which config.json does not keep.

transformers writes config.json with sorted keys, in every release. A table with the keys "user", "item" is read back
as "item", "user": what a model puts one after the other by it, such as columns that torch.cat joins, comes back in
another order, under the same names and with the same shapes. Where tables lead is followed in table_flow.py.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    defaults,
    parameters,
    string,
)
from pinfold.audit.rules.table_flow import TableFlow
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module

CASE = "P69.table_order"
VIEWS = ("items", "keys", "values")


def read_in_order(code: ReachableCode) -> Iterator[Finding]:
    """P69: an error where a table is known that is not sorted, a warning where none is known."""
    affected = harmed(CASE, code.lowest_version)
    tables = {name: keys for name, keys in _settings(code).items() if _can_differ(code, name)}
    followed = {name for name, keys in tables.items() if not keys or any(each != sorted(each) for each in keys)}
    if not followed or not affected:
        return
    for name, (module, node, how) in sorted(TableFlow(code, followed).uses().items()):
        mixed = next((each for each in tables[name] if each != sorted(each)), [])
        example = f"{', '.join(mixed[:4])} come back as {', '.join(sorted(mixed)[:4])}: " if mixed else ""
        yield Finding(
            "P69",
            f"{module.file}:{node.lineno}: {how} goes by the order of the keys of config.{name}, and config.json has "
            f"them sorted: {example}a loaded model computes with another order than the trained one"
            f"{'' if mixed else ' where they were not sorted before'}.",
            module.file,
            node.lineno,
            fix=f"Let the configuration hold a list of pairs, which keeps its order, or go by sorted(config.{name}) "
            "before the model is trained.",
            severity=ERROR if mixed else WARNING,
            releases=affected,
            case=CASE if mixed else "",
        )


def _can_differ(code: ReachableCode, name: str) -> bool:
    """Whether config.json leaves it open: it has no such setting, or a table of two keys or more."""
    stored = code.configs.get("config.json", {}).get(name)
    return stored is None or (isinstance(stored, dict) and len(stored) > 1)


def _settings(code: ReachableCode) -> dict[str, list[list[str]]]:
    """Setting that holds a table -> the keys of each table that the folder has for it, in their order."""
    settings: dict[str, list[list[str]]] = {}
    for cls in code.config_classes:
        init = code.folder.method(cls, "__init__")
        if code.folder.is_stock(cls) or init is None or init[0] not in code.folder.classes:
            continue
        module = code.folder.classes[init[0]][0]
        taken = {each.arg: each.annotation for each in parameters(init[1])}
        taken |= dict.fromkeys(_of_keywords(init[1]))
        read_as_tables = _read_as_tables(code)
        for name, annotation in taken.items():
            tables = _of_argument(module, init[1], name) + list(_handed_over(code, cls, name))
            says_table = annotation is not None and "dict" in ast.unparse(annotation).lower()
            if tables or says_table or name in read_as_tables:
                settings.setdefault(name, []).extend(tables)
    return settings


def _of_keywords(init: ast.FunctionDef) -> dict[str, ast.expr]:
    """Setting -> its default, of those that a constructor takes out of its keywords: kwargs.pop("sizes", {...})."""
    keywords = init.args.kwarg.arg if init.args.kwarg else ""
    return {
        name: call.args[1]
        for call in calls(init)
        if call_name(call) in ("pop", "get") and len(call.args) == 2 and isinstance(call.func, ast.Attribute)
        if isinstance(call.func.value, ast.Name) and call.func.value.id == keywords and (name := string(call.args[0]))
    }


def _read_as_tables(code: ReachableCode) -> set[str]:
    """Names of attributes of which .items() and the like is called."""
    return {
        call.func.value.attr
        for module in code.modules
        for call in calls(module.tree)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in VIEWS
        and isinstance(call.func.value, ast.Attribute)
    }


def _of_argument(module: Module, init: ast.FunctionDef, name: str) -> list[list[str]]:
    """The tables of a constructor that is handed none: a default, `x or {...}`, `x = {...}` after a test."""
    values = [defaults(init).get(name), _of_keywords(init).get(name)]
    for node in every(init, ast.Assign, ast.AnnAssign, ast.NamedExpr):
        for target, value in assignments(node):
            words = {each.id for each in every(value, ast.Name)} if value is not None else set()
            to_itself = isinstance(target, ast.Name) and target.id == name
            to_field = isinstance(target, ast.Attribute) and target.attr == name and name in words
            if to_itself or to_field:
                values.append(value)
    return [keys for value in values if value is not None for keys in _tables(module, value)]


def _handed_over(code: ReachableCode, cls: str, name: str) -> Iterator[list[str]]:
    """The tables that calls of the class in the folder's files hand it."""
    for module in code.folder.modules.values():
        for call in calls(module.tree):
            value = argument(call, 10**6, name) if call_name(call) == cls else None
            if value is not None:
                yield from _tables(module, value)


def _tables(module: Module, value: ast.expr) -> Iterator[list[str]]:
    """The keys of the table that an expression is, or of those that it may be."""
    if isinstance(value, ast.Dict):
        keys = [string(key) for key in value.keys]
        if len(keys) > 1 and None not in keys:
            yield [key for key in keys if key is not None]
    elif isinstance(value, ast.Call) and call_name(value) in ("dict", "OrderedDict", "deepcopy", "copy"):
        keys = [keyword.arg for keyword in value.keywords]
        if len(keys) > 1 and not value.args and None not in keys:
            yield [key for key in keys if key is not None]
        for part in value.args[:1]:
            yield from _tables(module, part)
    elif isinstance(value, ast.BoolOp):
        for part in value.values:
            yield from _tables(module, part)
    elif isinstance(value, ast.IfExp):
        yield from _tables(module, value.body)
        yield from _tables(module, value.orelse)
    elif isinstance(value, ast.Name):
        for statement in module.tree.body:  # a constant of the same file
            for target, constant in assignments(statement):
                if (
                    isinstance(target, ast.Name)
                    and target.id == value.id
                    and isinstance(constant, (ast.Dict, ast.Call))
                ):
                    yield from _tables(module, constant)
