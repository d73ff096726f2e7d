"""What the settings of a folder decide: a branch that config.json rules out is not run by a load."""

import ast
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from pinfold.audit.reachable import (
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    combined,
    defaults,
    is_combined,
    is_config,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.audit.rules.config import ALWAYS_SET, ROPE, SET_BEFORE_5
from pinfold.common.trees import walk

UNKNOWN = object()
TABLE = object()  # one that is not empty, or a list: there, but the code may change what is in it
# Fields that the constructor of transformers' own base sets, before or after the folder's own does.
OF_THE_BASE = frozenset(ALWAYS_SET) | SET_BEFORE_5
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, table: value in table,
    ast.NotIn: lambda value, table: value not in table,
}


def settings(code: ReachableCode) -> dict[str, Any]:
    """Field -> value, as the configuration has it after a load: of config.json, else the constructor's default.

    Only fields that the configuration's class takes and keeps as they are, and that no code sets later. Empty without
    a config.json, as a load then has no settings to go by.
    """
    stored = code.configs.get("config.json")
    registered = code.auto_map.get("AutoConfig", "").split(".")[-1]
    if not stored or registered not in code.folder.classes:
        return {}
    init = code.folder.method(registered, "__init__")
    values = {name: default.value for name, default in (defaults(init[1]) if init else {}).items() if _plain(default)}
    kept = _Kept.read(code, registered)
    fields = {name: value for name, value in (values | stored).items() if kept.unchanged(name)}
    tables = {name: TABLE for name, value in fields.items() if isinstance(value, (dict, list))}
    return {name: value for name, value in (fields | tables).items() if value is not TABLE or fields[name]}


def _plain(default: ast.expr) -> TypeGuard[ast.Constant]:
    return isinstance(default, ast.Constant)


@dataclass
class _Kept:
    """What the classes of a configuration do with their fields.

    Args:
        assigned: parameters that become the attribute of the same name. changed: fields that are not what was given.
        passed: parameters that are handed to the constructor of the base by their name. rest: whether **kwargs is
            handed to it as it came. named: every parameter. plain: whether the base is PretrainedConfig; another one
            may set what it likes. known: False where the names of fields are computed.
    """

    assigned: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    rest: bool = True
    plain: bool = True
    known: bool = True

    def unchanged(self, name: str) -> bool:
        """Whether an object has, after a load, what config.json says of a field."""
        if not self.known or name in self.changed:
            return False
        if name in self.named:
            return (self.plain and name in self.passed) or (name in self.assigned and name not in OF_THE_BASE)
        return self.plain and self.rest and name not in self.assigned

    @classmethod
    def read(cls, code: ReachableCode, registered: str) -> "_Kept":
        kept = cls(changed={*ROPE, "torch_dtype", "dtype", "_attn_implementation", "attn_implementation"})
        owners = code.folder.lineage(registered)
        bases = {base for owner in owners for base, _ in code.folder.bases(owner)} - set(owners)
        kept.plain = not bases - {"PretrainedConfig", "PreTrainedConfig"}
        for owner in owners:
            kept._of_class(code.folder.classes[owner][1])
        for function in while_building(code):
            for node in walk(function):
                kept._from_outside(node)
        return kept

    def _of_class(self, node: ast.ClassDef) -> None:
        for part in walk(node):
            # A name in a text is one of attribute_map, kwargs.pop("name") or setattr(self, "name", ...).
            if text := string(part):
                self.changed.add(text)
            if isinstance(part, ast.Call) and call_name(part) in ("setattr", "__setattr__", "vars", "update"):
                self.known = False
            if isinstance(part, ast.Attribute) and part.attr == "__dict__":
                self.known = False
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                self._of_constructor(statement)
            elif isinstance(statement, ast.FunctionDef):
                self.changed |= {statement.name} | {t.attr for t in _targets(statement) if is_self_attribute(t)}
            else:
                self.changed |= {target.id for target in _targets(statement) if isinstance(target, ast.Name)}

    def _of_constructor(self, init: ast.FunctionDef) -> None:
        named = {argument.arg for argument in parameters(init)}
        bound = {target.id for target in _targets(init) if isinstance(target, ast.Name)}
        same = {
            target.attr for target, value in _pairs(init) if is_self_attribute(target) and _names(value, target.attr)
        }
        other = [
            target.attr
            for target, value in _pairs(init)
            if is_self_attribute(target) and not _names(value, target.attr)
        ]
        self.named |= named
        self.assigned |= same & named
        self.changed |= {*other, *bound, *(same - named)}
        rest = init.args.kwarg.arg if init.args.kwarg else ""
        handed = [call for call in calls(init) if call_name(call) == "__init__"]
        for keyword in (keyword for call in handed for keyword in call.keywords):
            if keyword.arg and _names(keyword.value, keyword.arg):
                self.passed.add(keyword.arg)
            elif keyword.arg:
                self.changed.add(keyword.arg)
        whole = any(
            keyword.arg is None and _names(keyword.value, rest) for call in handed for keyword in call.keywords
        )
        self.rest = self.rest and whole and rest not in bound

    def _from_outside(self, node: ast.AST) -> None:
        """config.use_cache = False in a model, and setattr(config, "use_cache", False)."""
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and not is_self_attribute(node):
            self.changed.add(node.attr)
        if isinstance(node, ast.Call) and call_name(node) == "setattr":
            self.changed.add(string(argument(node, 1, "name")) or "")


def while_building(code: ReachableCode) -> Iterator[ast.FunctionDef]:
    """Functions that run while a model is built, going by the names that constructors call."""
    by_name: dict[str, list[ast.FunctionDef]] = {}
    for module in code.modules:
        for node in walk(module.tree):
            if isinstance(node, ast.FunctionDef):
                by_name.setdefault(node.name, []).append(node)
    pending, seen = ["__init__", "from_pretrained", "_from_config"], set()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            yield from by_name.get(name, ())
            pending += [call_name(call) for function in by_name.get(name, ()) for call in calls(function)]


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Every (target, value) below a node; the value of x += 1 is none of the names that are there."""
    for part in walk(node):
        yield from assignments(part)
        if isinstance(part, ast.AugAssign):
            yield part.target, None


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """Names and attributes that something below a node sets or deletes, also those of loops."""
    for part in walk(node):
        if isinstance(part, (ast.Name, ast.Attribute)) and not isinstance(part.ctx, ast.Load):
            yield part


def _names(value: ast.expr | None, name: str) -> bool:
    return isinstance(value, ast.Name) and value.id == name


def decide(test: ast.expr, values: dict[str, Any]) -> bool | None:
    """Whether a condition on the configuration holds; None where the settings alone do not say.

    >>> decide(ast.parse("config.rope == 'ntk' and not config.flash", mode="eval").body, {"rope": "linear"})
    False
    """
    if is_combined(test):
        return combined(test, lambda part: decide(part, values))
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        left, right = _value(test.left, values), _value(test.comparators[0], values)
        if UNKNOWN in (left, right) or type(test.ops[0]) not in COMPARISONS:
            return None
        if TABLE in (left, right) and not isinstance(test.ops[0], (ast.Is, ast.IsNot)):
            return None
        try:
            return bool(COMPARISONS[type(test.ops[0])](left, right))
        except TypeError:  # None < 1: raises at run time too, and is another fault
            return None
    value = _value(test, values)
    return None if value is UNKNOWN else bool(value)


def _value(node: ast.expr, values: dict[str, Any]) -> Any:
    if isinstance(node, ast.Attribute) and is_config(node.value):
        return values.get(node.attr, UNKNOWN)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
