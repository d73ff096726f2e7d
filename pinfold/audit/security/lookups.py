"""Names that are looked up by a text: getattr and its like, namespaces, ``sys.modules``, the environment."""

import ast
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.computing import subscript_result
from pinfold.audit.security.state import FUNCTIONS, NAMESPACE, NOTHING_TO_SAY, Rule, Scope, State
from pinfold.audit.security.tables.library import STANDARD
from pinfold.audit.security.tables.methods import METHODS
from pinfold.audit.security.tables.names import (
    INTROSPECTION,
    LONGEST_PATH,
    WATCHED_MODULES,
    canonical,
)
from pinfold.audit.security.tables.secrets import SECRET_VARIABLES
from pinfold.audit.security.values import (
    Call,
    Const,
    Getter,
    Given,
    Instance,
    Many,
    Own,
    Picked,
    Ref,
    Settings,
    Table,
    Unknown,
    Value,
    Values,
    imported_paths,
    known_for_sure,
    known_strings,
    printable_excerpt,
    sequence_of,
    union,
    with_unknown,
)
from pinfold.common.trees import walk

DICTIONARY = re.compile(
    r"^(.+?)(?:\.__dict__|\(\))\.(get|pop|__getitem__|setdefault|update|__setitem__|__ior__|__delitem__|clear|popitem|items|values|copy)$"
)
ENTRY_WRITES = frozenset("setdefault update __setitem__ __ior__ __delitem__ clear popitem".split())  # noqa: SIM905
WHOLE_DICTIONARY = frozenset(("items", "values", "copy"))
UNKNOWN_VARIABLE = "an environment variable whose name is computed at run time"
SOME_MODULE = "sys.modules[]"  # one of the modules that are loaded
LONGEST_ATTRGETTER = 20  # names of a dotted name


# owner[index]


def look_up(state: State, owners: Values, index: Values, node: ast.AST, scope: Scope) -> Values:
    """``owner[index]``: entries of namespaces, of the environment, of sequences and dicts."""
    groups = [subscript_result(owners, index)]
    for owner in owners:
        if isinstance(owner, Given):
            groups.append((owner,))
        elif isinstance(owner, Ref):
            groups += _entry_of_import(state, owner.path, index, node, scope)
    return union(*groups)


def _entry_of_import(state: State, path: str, index: Values, node: ast.AST, scope: Scope) -> list[Values]:
    names = known_strings(index)
    if path in ("os.environ", "os.environb"):
        return [report_variable(state, index, node)]
    if (path.endswith(".__dict__") and "()" not in path) or path == "builtins":
        if not known_for_sure(index):
            state.report("S15", node, f"looks up a name in {path} that is computed at run time.")
        return [state.attribute((Ref(path.removesuffix(".__dict__")),), name, node) for name in names]
    if path.endswith(".__globals__"):  # of a function of a library: the modules that its file imports
        return [(Ref(canonical(name)),) for name in names if name in STANDARD]
    if path in ("builtins.globals()", "builtins.locals()"):
        return _entry_of_namespace(state, path, index, node, scope)
    if path == "sys.modules":
        return _loaded_module(state, index, node, scope)
    return [(Ref(f"{path}[]"),)] if ("()" in path or path.endswith("]")) and len(path) < LONGEST_PATH else []


def _entry_of_namespace(state: State, path: str, index: Values, node: ast.AST, scope: Scope) -> list[Values]:
    namespace = scope.top() if path == "builtins.globals()" else scope
    names = known_strings(index)
    groups: list[Values] = []
    if not known_for_sure(index) and path == "builtins.globals()":
        groups += _any_global(state, node, scope)
    for name in names:
        if name in ("__builtins__", "__loader__", "__spec__"):
            state.report("S15", node, f'["{name}"] reaches into Python, where any name can be found.')
        values = (Ref("builtins"),) if name == "__builtins__" else state.look_for(name, namespace)
        state.report_names(values, node)
        groups.append(values)
    return groups


def _any_global(state: State, node: ast.AST, scope: Scope) -> list[Values]:
    """A name of this file that is not known: of what it can be, only modules matter here.

    The functions that matter are reported where they are imported or handed on.
    """
    state.report("S15", node, "looks up a name of this file that is computed at run time.", WARNING)
    modules = _watched_modules(scope)
    if modules:
        state.report("S15", node, "can reach every module that this file imports, by a computed name.", WARNING)
    return modules


def _watched_modules(scope: Scope) -> list[Values]:
    """What the names of this file can be that hold a module which is not handed on."""
    return [values for values in scope.top().names.values() if not WATCHED_MODULES.isdisjoint(imported_paths(values))]


def _loaded_module(state: State, index: Values, node: ast.AST, scope: Scope) -> list[Values]:
    names = known_strings(index)
    if "builtins.__name__" in imported_paths(index) or (_is_own_name(node) and not names):
        return [(Own(scope.top().node),)]
    modules: list[Values] = [(Ref(canonical(name)),) for name in names if is_dotted_name(name)]
    if not known_for_sure(index):
        state.report("S15", node, "takes a module out of sys.modules by a name that is computed at run time.")
        modules.append((Ref(SOME_MODULE),))
    return modules


def _is_own_name(node: ast.AST) -> bool:
    """Whether the index is ``__name__`` or ``x.__module__``."""
    key = node.slice if isinstance(node, ast.Subscript) else None
    if isinstance(key, ast.Name):
        return key.id in ("__name__", "__module__")
    return isinstance(key, ast.Attribute) and key.attr in ("__name__", "__module__")


def is_dotted_name(text: str) -> bool:
    """Whether a text can be the name of a module."""
    return all(part.isidentifier() for part in text.split("."))


def report_variable(state: State, key: Values, node: ast.AST) -> Values:
    """Report which variable of the environment is read, and give a text that names it, as a shell would write it."""
    names = known_strings(key)
    secret = not known_for_sure(key) or any(SECRET_VARIABLES.search(name) for name in names)
    variable = f"the environment variable {printable_excerpt(names[0])}" if names else UNKNOWN_VARIABLE
    words = "; secrets are kept in such variables" if secret else ""
    state.report("S08", node, f"reads {variable}{words}.", ERROR if secret else WARNING)
    return (*(Const(f"${name}") for name in names if name.isidentifier()), Unknown())


# Calls


def name_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Calls that look a name up, or that give a namespace."""
    if path in HANDLERS:
        return HANDLERS[path](state, path, call, scope)
    if path.endswith((".__setattr__", ".__delattr__")):
        owner = path.rpartition(".")[0]
        unbound = len(call.arguments) > (1 if path.endswith("delattr__") else 2)
        arguments = call.arguments if unbound else [(Ref(owner),), *call.arguments]
        return _setattr(state, path, Call(call.node, arguments, {}, call.open_ended), scope)
    if path in ("builtins.dict.__setitem__", "builtins.dict.update", "builtins.dict.setdefault"):
        state.store_item(call.argument(0, "self"), call.argument(1, "key"), call.node)
    if path.endswith((".__getattribute__", ".__getattr__")) and "()" not in path:
        return _getattribute(state, path, call, scope)
    return _dictionary_method(state, path, call, scope)


def _getattr(state: State, path: str, call: Call, scope: Scope) -> Values:
    owners = call.argument(0, "object")
    names = known_strings(call.argument(1, "name"))
    values = [state.attribute(owners, name, call.node, True) for name in names]
    for name in names if not any(values) else ():
        if name in METHODS:
            code, words = METHODS[name]
            state.report(code, call.node, f'getattr(..., "{name}") {words}.')
    if not known_for_sure(call.argument(1, "name")):
        values += _unknown_attribute(state, owners, call, scope)
    default = call.argument(2, "default")
    # of an object that is not known, the attribute can be there and be anything
    unknown = not any(values) and not any(isinstance(v, Settings) for v in owners)
    return union(*values, with_unknown(default) if unknown else default)


def _unknown_attribute(state: State, owners: Values, call: Call, scope: Scope) -> list[Values]:
    paths = imported_paths(owners)
    for path in paths:
        if path in WATCHED_MODULES or path == "builtins":
            state.report("S15", call.node, f"takes something out of {path} by a name that is computed at run time.")
    if call.open_ended and not owners:
        state.report("S15", call.node, "getattr(*...) takes something out of an object that cannot be followed.")
    picked = [v.path for v in owners if isinstance(v, Picked)]
    if picked:
        words = f"follows one computed name after another, beginning at {printable_excerpt(picked[0])}"
        state.report("S15", call.node, f"{words}: any function can be reached that way.")
    groups: list[Values] = []
    if _has_own_module(owners) and _watched_modules(scope):
        groups += _any_global(state, call.node, scope)[:1]
    return [*groups, tuple(Picked(path) for path in paths if "()" not in path)]


def _has_own_module(owners: Values) -> bool:
    return any(isinstance(v, Own) and isinstance(v.node, ast.Module) for v in owners)


def _getattribute(state: State, path: str, call: Call, scope: Scope) -> Values:
    """``os.__getattribute__("system")``, and ``object.__getattribute__(os, "system")`` with the owner as argument."""
    owner = path.rsplit(".", 1)[0]
    unbound = owner in ("builtins.object", "builtins.type") and len(call.arguments) > 1
    arguments = call.arguments if unbound else [(Ref(owner),), *call.arguments]
    return _getattr(state, path, Call(call.node, arguments, {}, call.open_ended), scope)


def _setattr(state: State, path: str, call: Call, scope: Scope) -> Values:
    names: list[str | None] = [*known_strings(call.argument(1, "name"))]
    if not known_for_sure(call.argument(1, "name")):
        names.append(None)
    for name in names:
        state.store_attribute(call.argument(0, "obj"), name, call.argument(2, "value"), call.node)
    return ()


def _forward_reference(state: State, path: str, call: Call, scope: Scope) -> None:
    if isinstance(call.node, ast.Call) and call.node.args:
        state.annotation(call.node.args[0], scope)
    return NOTHING_TO_SAY


def _types_as_texts(state: State, path: str, call: Call, scope: Scope) -> None:
    """Types that are given as texts, anywhere in the arguments: they are evaluated as annotations are."""
    for argument in (*getattr(call.node, "args", ()), *getattr(call.node, "keywords", ())):
        for node in walk(argument):
            if isinstance(node, ast.Constant):
                state.annotation(node, scope)
    return NOTHING_TO_SAY


def _function_from_code(state: State, path: str, call: Call, scope: Scope) -> Values:
    state.report("S15", call.node, f"{path}(...) makes a function out of code that no file shows.")
    return (Ref("types.CodeType()" if "CodeType" in path else "types.FunctionType()"),)


def _made_function(state: State, path: str, call: Call, scope: Scope) -> Values:
    state.report("S01", call.node, "runs a function that was made out of code that no file shows.")
    return ()


def _setitem(state: State, path: str, call: Call, scope: Scope) -> Values:
    """``operator.setitem(table, key, value)``, and the calls that change a table in place."""
    state.store_item(call.argument(0, "a"), call.argument(1, "b"), call.node)
    return call.argument(0, "a")


def _getmro(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    return class_hierarchy(state, call.argument(0, "cls")) or NOTHING_TO_SAY


def _getmodule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """The module in which something of a library is defined."""
    values = state.attribute(call.argument(0, "object"), "__module__", call.node)
    return tuple(Ref(canonical(name)) for name in known_strings(values)) or NOTHING_TO_SAY


def class_hierarchy(state: State, classes: Values) -> Values:
    """What ``cls.mro()`` gives, as far as the classes are known: one list."""
    groups = [state.foreign_bases(v.node) for v in classes if isinstance(v, (Own, Instance))]
    every = tuple(v for v in union(*groups) if not isinstance(v, Many))
    foreign = tuple(v for v in classes if isinstance(v, Ref) and "()" not in v.path)
    return sequence_of([(*every, *foreign, Ref("builtins.type().mro()[]"))]) if every or foreign else ()


def _attrgetter(state: State, path: str, call: Call, scope: Scope) -> Values:
    _report_getter(state, path, call, call.arguments)
    texts = [known_strings(argument) for argument in call.arguments]
    known = all(texts) and not call.open_ended
    getters = (Getter(tuple(text for group in texts for text in group) if known else ()),)
    return getters if all(map(known_for_sure, call.arguments)) else (*getters, Getter(()))


def _methodcaller(state: State, path: str, call: Call, scope: Scope) -> Values:
    _report_getter(state, path, call, call.arguments[:1])  # the others are the method's arguments
    return ()


def _report_getter(state: State, path: str, call: Call, arguments: list[Values]) -> None:
    for argument in arguments:
        texts = known_strings(argument)
        if not known_for_sure(argument):
            state.report("S15", call.node, f"{path}(...) takes a name that is computed at run time.", WARNING)
        for part in ".".join(texts).split("."):
            if part in INTROSPECTION or part in METHODS:
                state.report("S15", call.node, f"{path}({part!r}) reaches what no name in this file shows.")


def _vars(state: State, path: str, call: Call, scope: Scope) -> Values:
    if not call.arguments:
        return _own_namespace(state, path, call, scope)
    owners = call.argument(0, "object")
    if _has_own_module(owners):
        return (Ref(NAMESPACE),)
    return tuple(
        Ref(f"{v.path}.__dict__") if isinstance(v, Ref) else v
        for v in owners
        if isinstance(v, (Ref, Own, Instance, Settings))
    )


def _own_namespace(state: State, path: str, call: Call, scope: Scope) -> Values:
    is_global = path == "builtins.globals" or scope.kind == "module"
    return (Ref("builtins.globals()" if is_global else "builtins.locals()"),)


def _type(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """``type(x)``, or a class made by ``type(name, bases, entries)``."""
    if len(call.arguments) == 3:
        entries = [entry for v in call.arguments[2] if isinstance(v, Table) for entry in v.entries]
        for values in [values for key, values in entries if key == "__annotations__"]:
            _report_annotations(state, values, call.node, scope)
    if len(call.arguments) != 1:
        return NOTHING_TO_SAY
    objects = call.argument(0, "object")
    classes: list[Value] = [Own(v.node) for v in objects if isinstance(v, Instance)]
    if any(isinstance(v, Own) and isinstance(v.node, FUNCTIONS) for v in objects):
        classes.append(Ref("types.FunctionType"))
    if "types.CodeType()" in imported_paths(objects) or "builtins.compile()" in imported_paths(objects):
        classes.append(Ref("types.CodeType"))
    return tuple(classes) or (Ref("builtins.type()"),)


def _report_annotations(state: State, annotations: Values, node: ast.AST, scope: Scope) -> None:
    """Annotations made as a dict: typing.get_type_hints evaluates their texts as it does written ones."""
    for table in [v for v in annotations if isinstance(v, Table)]:
        for text in [text for _, values in table.entries for text in known_strings(values)]:
            line = getattr(node, "lineno", 0)
            state.annotation(ast.Constant(text, lineno=line, col_offset=0), scope)


def _dictionary_method(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """``os.__dict__.get("system")``, ``globals().get("os")`` and the like."""
    match = DICTIONARY.match(path)
    if not match:
        return NOTHING_TO_SAY
    owner, method = match.groups()
    dictionary = owner + (".__dict__" if ".__dict__" in path else "()")
    if not dictionary.endswith(".__dict__") and dictionary not in ("builtins.globals()", "builtins.locals()"):
        return NOTHING_TO_SAY
    if method in WHOLE_DICTIONARY:
        if owner in WATCHED_MODULES:
            words = "is every name of that module; which is used cannot be followed"
            state.report("S15", call.node, f"{path}() {words}.")
        return ()
    key = call.argument(0, "key")
    if method in ENTRY_WRITES:
        state.store_item((Ref(dictionary),), key, call.node)
    return look_up(state, (Ref(dictionary),), key, call.node, scope)


HANDLERS: dict[str, Rule] = {
    "builtins.getattr": _getattr,
    "builtins.setattr": _setattr,
    "builtins.delattr": _setattr,
    "builtins.object.__setattr__": _setattr,
    "builtins.object.__delattr__": _setattr,
    "builtins.type.__setattr__": _setattr,
    "typing.ForwardRef": _forward_reference,
    "pydantic.create_model": _types_as_texts,
    "pydantic.main.create_model": _types_as_texts,
    "pydantic.TypeAdapter": _types_as_texts,
    "pydantic.type_adapter.TypeAdapter": _types_as_texts,
    "dataclasses.make_dataclass": _types_as_texts,
    "typing.NamedTuple": _types_as_texts,
    "typing.TypedDict": _types_as_texts,
    "types.FunctionType": _function_from_code,
    "types.LambdaType": _function_from_code,
    "types.CodeType": _function_from_code,
    "types.CodeType().replace": _function_from_code,
    "types.FunctionType()": _made_function,
    "operator.setitem": _setitem,
    "operator.delitem": _setitem,
    "operator.ior": _setitem,
    "inspect.getmodule": _getmodule,
    "inspect.getmro": _getmro,
    "builtins.type.mro": _getmro,
    "operator.attrgetter": _attrgetter,
    "operator.methodcaller": _methodcaller,
    "builtins.vars": _vars,
    "builtins.globals": _own_namespace,
    "builtins.locals": _own_namespace,
    "builtins.type": _type,
}


def call_getter(state: State, getter: Getter, call: Call) -> Values:
    """A call of what operator.attrgetter gave."""
    owners = call.argument(0, "obj")
    if not getter.names:
        for value in owners:
            if isinstance(value, (Ref, Picked)) and "()" not in value.path:
                words = (
                    f"takes something out of {printable_excerpt(value.path)} by a name that is computed at run time"
                )
                state.report("S15", call.node, f"operator.attrgetter {words}.")
        return tuple(Picked(path) for path in imported_paths(owners) if "()" not in path)
    groups: list[Values] = []
    for name in getter.names:
        values = owners
        for part in name.split(".")[:LONGEST_ATTRGETTER]:
            values = state.attribute(values, part, call.node, True)
        groups.append(values)
    return union(*groups)
