"""What a configuration's constructor does when it is called without arguments (P15).

transformers builds one so to find the differences that config.json has to hold: when a model is saved, and when a
configuration is printed (to_diff_dict in configuration_utils.py, measured in 4.48 to 5.19). From 5.20 on it compares
fields, and builds none.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    combined,
    defaults,
    is_combined,
    is_none,
    own_nodes,
    parameters,
    string,
)
from pinfold.common.trees import below, walk

# Builtin functions that change no table that they are given, and keep none.
READERS = ("isinstance", "len", "bool", "dict", "list", "tuple", "set", "sorted", "str", "repr", "type")
# Names of classes for which isinstance(None, ...) is False. A name that is not listed may stand for NoneType.
CLASSES = (  # noqa: SIM905
    "dict list tuple set frozenset str bytes int float bool complex Mapping MutableMapping Sequence Path"
).split()
NONE, EMPTY = "None", "an empty table"


def raises_without_arguments(code: ReachableCode) -> Iterator[Finding]:
    """P15: entries of a table that is empty then, and members of what is None then."""
    affected = harmed("P15.raises_without_arguments", code.lowest_version)
    for cls in code.config_classes if affected else ():
        init = code.folder.method(cls, "__init__")
        if init is None or init[0] != cls:
            continue
        body = _Constructor(_defaults(init[1]))
        body.walk(init[1].body)
        for node, name, kind in body.faults[:1]:
            module = code.folder.classes[cls][0]
            yield code.finding(
                "P15",
                f"{cls}() fails: {name} is {kind} there, and {module.text(node, 60)} raises.",
                cls,
                node,
                fix="transformers builds one without arguments, to save a model and to print: give it defaults that "
                "work.",
                releases=affected,
                case="P15.raises_without_arguments",
            )


def _defaults(init: ast.FunctionDef) -> dict[str, str]:
    """Parameter -> what it is without arguments, of those that are None or an empty table."""
    values = {name: _kind(default, {}) for name, default in defaults(init).items()}
    return {name: kind for name, kind in values.items() if kind}


def _kind(value: ast.expr, names: dict[str, str]) -> str:
    if is_none(value):
        return NONE
    if (isinstance(value, ast.Dict) and not value.keys) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "dict" and not value.args
        and not value.keywords
    ):  # fmt: skip
        return EMPTY
    if isinstance(value, ast.Name):
        return names.get(value.id, "")
    if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):  # both kinds are false: the last one is taken
        kinds = [_kind(part, names) for part in value.values]
        return kinds[-1] if all(kinds) else ""
    if isinstance(value, ast.IfExp) and (holds := _holds(value.test, names)) is not None:
        return _kind(value.body if holds else value.orelse, names)
    return ""


def _holds(test: ast.expr, names: dict[str, str]) -> bool | None:
    """Whether a condition on such names holds; None where it is on something else."""
    if isinstance(test, ast.Name):
        return False if test.id in names else None
    if is_combined(test):
        return combined(test, lambda part: _holds(part, names))
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and is_none(test.comparators[0]):
        kind = names.get(test.left.id, "") if isinstance(test.left, ast.Name) else ""
        if kind and isinstance(test.ops[0], (ast.Is, ast.Eq, ast.IsNot, ast.NotEq)):
            return (kind == NONE) == isinstance(test.ops[0], (ast.Is, ast.Eq))
    if isinstance(test, ast.Call) and chain(test.func) == ["isinstance"] and len(test.args) == 2:
        named, classes = test.args
        written = classes.elts if isinstance(classes, ast.Tuple) else [classes]
        if isinstance(named, ast.Name) and names.get(named.id) == NONE and all(map(_is_class, written)):
            return False
    return None


def _is_class(node: ast.expr) -> bool:
    """Whether it is a class by its name, and not that of None: type(None), NoneType and names of tables are not."""
    last = (chain(node) or [""])[-1] if isinstance(node, (ast.Name, ast.Attribute)) else ""
    return last in CLASSES or last.endswith("Config")


@dataclass
class _Constructor:
    """Follows the names that are None or empty through the statements; what may change them is forgotten."""

    names: dict[str, str]
    faults: list[tuple[ast.expr, str, str]] = field(default_factory=list)

    def walk(self, statements: list[ast.stmt]) -> bool:
        """Whether what comes after them is reached for sure."""
        for statement in statements:
            holds = _holds(statement.test, self.names) if isinstance(statement, ast.If) else None
            if isinstance(statement, ast.If) and holds is not None:
                if not self.walk(statement.body if holds else statement.orelse):
                    return False
                continue
            if isinstance(statement, (ast.Return, ast.Raise)):
                return False
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                self.assign(statement)
                continue
            if isinstance(statement, (ast.If, ast.Expr)):
                self.expressions(statement.test if isinstance(statement, ast.If) else statement.value)
            self.forget(statement)
            if any(isinstance(node, (ast.Return, ast.Raise)) for node in own_nodes(ast.Module([statement], []))):
                return False
        return True

    def assign(self, statement: ast.Assign | ast.AnnAssign) -> None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if statement.value is None:
            return
        self.expressions(statement.value)
        kind = _kind(statement.value, self.names)
        known = set(self.names)
        self.forget(statement.value)
        shared = kind == EMPTY and known != set(self.names)  # two names of one table, which either may fill
        for target in targets:
            if isinstance(target, ast.Name):
                self.names.pop(target.id, None)
                self.names |= {target.id: kind} if kind and not shared and len(targets) == 1 else {}
            else:
                self.forget(target)

    def forget(self, node: ast.AST) -> None:
        """What a node assigns or changes: names it binds, and tables of which it calls a method or sets an entry.

        A table that is handed to a call, or gets another name, may be filled there.
        """
        only_read = set(_only_read(node))
        for inner in walk(node):
            if isinstance(inner, ast.Name) and inner not in only_read and self.names.get(inner.id) == EMPTY:
                self.names.pop(inner.id)
            if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
                self.names.pop(inner.id, None)
            elif isinstance(inner, (ast.Subscript, ast.Attribute)) and isinstance(inner.value, ast.Name):
                changes = isinstance(inner, ast.Attribute) or not isinstance(inner.ctx, ast.Load)
                if changes and self.names.get(inner.value.id) == EMPTY:
                    self.names.pop(inner.value.id)

    def expressions(self, node: ast.expr) -> None:
        """Note what raises in an expression, but for what a condition in it keeps from being run."""
        if isinstance(node, ast.IfExp):
            holds = _holds(node.test, self.names)
            for part in ([node.body] if holds else [node.orelse]) if holds is not None else []:
                self.expressions(part)
            return
        if isinstance(node, (ast.BoolOp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            first = node.values[0] if isinstance(node, ast.BoolOp) else None
            if first is not None:
                self.expressions(first)
            return
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.value, ast.Name):
            kind = self.names.get(node.value.id, "")
            entry = isinstance(node, ast.Subscript)
            if (kind == NONE and not _of_every_object(node)) or (kind == EMPTY and entry):
                self.faults.append((node, node.value.id, kind))
        for child in below(node):
            if isinstance(child, ast.expr):
                self.expressions(child)
            elif isinstance(child, ast.keyword):
                if child.arg is None and isinstance(child.value, ast.Name) and self.names.get(child.value.id) == NONE:
                    self.faults.append((node, child.value.id, NONE))
                self.expressions(child.value)


def _only_read(node: ast.AST) -> Iterator[ast.AST]:
    """Names below a node whose value goes nowhere: conditions, entries that are read, copies."""
    for inner in walk(node):
        if isinstance(inner, (ast.Subscript, ast.Attribute)):
            yield inner.value
        elif isinstance(inner, ast.Compare):
            yield from (inner.left, *inner.comparators)
        elif isinstance(inner, ast.UnaryOp):
            yield inner.operand
        elif isinstance(inner, ast.BoolOp):  # of `table or {}` an empty table is not the value
            yield from inner.values[:-1] if isinstance(inner.op, ast.Or) else ()
        elif isinstance(inner, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            yield inner.test
        elif isinstance(inner, ast.keyword) and inner.arg is None:
            yield inner.value
        elif isinstance(inner, ast.Dict):
            yield from (value for key, value in zip(inner.keys, inner.values, strict=True) if key is None)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id in READERS:
            yield from inner.args


def _of_every_object(node: ast.Subscript | ast.Attribute) -> bool:
    return isinstance(node, ast.Attribute) and hasattr(None, node.attr)


def passed_twice(code: ReachableCode) -> Iterator[Finding]:
    """P15: super().__init__(is_decoder=True, **kwargs), where config.json has is_decoder too: no load gets past it."""
    for cls in code.folder.lineage(code.auto_map.get("AutoConfig", "").split(".")[-1]):
        body = code.folder.classes[cls][1].body
        init = next((s for s in body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
        if init is None or init.args.kwarg is None:
            continue
        kwargs = init.args.kwarg.arg
        for keyword in beside_kwargs(init, kwargs):
            if keyword.arg in code.configs.get("config.json", {}):
                yield code.finding(
                    "P15",
                    f"{cls}.__init__ passes {keyword.arg} on beside **{kwargs}, which has it too, as config.json "
                    "does: a load raises a TypeError.",
                    cls,
                    keyword,
                    fix=f"Take {keyword.arg} as an argument of __init__, with this value as its default, and pass it.",
                )


def beside_kwargs(init: ast.FunctionDef, kwargs: str) -> Iterator[ast.keyword]:
    """What goes to a base class by name together with **kwargs, and cannot be known not to be in it."""
    taken = {each.arg for each in parameters(init)}
    for node in own_nodes(init):
        if any(chain(target)[:1] == [kwargs] for target, _ in assignments(node)):
            return  # what is in it then, nobody can say
        if isinstance(node, ast.Call) and chain(node.func) == [kwargs, "pop"] and node.args:
            if (name := string(node.args[0])) is None:
                return
            taken.add(name)
    for call in calls(init):
        spread = any(k.arg is None and chain(k.value) == [kwargs] for k in call.keywords)
        if spread and call_name(call) == "__init__":
            yield from (k for k in call.keywords if k.arg and k.arg not in taken)


def made_by_decorator(code: ReachableCode) -> Iterator[Finding]:
    """P15: configurations whose constructor a decorator writes."""
    for cls in code.config_classes:
        body = code.folder.classes[cls][1].body
        if not any(isinstance(part, ast.FunctionDef) and part.name == "__init__" for part in body):
            yield from _made_by_decorator(code, cls)


def _made_by_decorator(code: ReachableCode, cls: str) -> Iterator[Finding]:
    """P15: a constructor that @dataclass writes, which takes the class's own fields alone.

    From 5.4 on transformers' own base class is made of fields, and its subclasses take **kwargs.
    """
    module, node = code.folder.classes[cls]
    own = next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__post_init__"), None)
    post = own is not None and own.args.kwarg is None  # transformers 5 hands it the rest of config.json
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        path = chain(call.func if call else decorator)
        place, name = module.imports.get(path[0], ("", "")) if path else ("", "")
        place, name = (path[0], path[-1]) if len(path) > 1 else (place.split(".")[0], name)
        if (place, name) == ("dataclasses", "dataclass"):
            init = next((k.value for k in call.keywords if k.arg == "init"), None) if call else None
            if isinstance(init, ast.Constant) and init.value is False:
                continue
            case = "P15.dataclass_post_init" if post else "P15.dataclass"
            words = "writes a constructor that takes no **kwargs"
        elif name == "strict" and place == "huggingface_hub":
            case, words = "P15.strict", "asks for a dataclass, which it becomes in newer releases alone"
        else:
            continue
        if affected := harmed(case, code.lowest_version):
            yield code.finding(
                "P15",
                f"{cls}: @{name} {words}.",
                cls,
                decorator,
                fix="Write def __init__(self, ..., **kwargs) instead, which ends with super().__init__(**kwargs).",
                releases=affected,
                case=case,
            )
            return
