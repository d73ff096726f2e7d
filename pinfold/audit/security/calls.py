"""What a call does and what it gives back, judged by the function and by its arguments."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re
from collections.abc import Callable

from pinfold.audit.finding import WARNING
from pinfold.audit.security.computing import COMPUTED, any_element, elements_of, function_result
from pinfold.audit.security.lookups import call_getter, name_rule
from pinfold.audit.security.rules.arguments import argument_rule
from pinfold.audit.security.rules.keeps import report_kept
from pinfold.audit.security.rules.library import library_rule, report_address, report_repository
from pinfold.audit.security.rules.loaded import loaded_rule
from pinfold.audit.security.rules.methods import report_foreign_call
from pinfold.audit.security.rules.paths import PLACEHOLDER, path_at, path_of_parts
from pinfold.audit.security.rules.process import process_rule
from pinfold.audit.security.state import FUNCTIONS, NOTHING_TO_SAY, Scope, State
from pinfold.audit.security.tables.functions import (
    BY_NAME_ONLY,
    CALLERS,
    CALLING_METHODS,
    CALLING_METHODS_OF,
    DECODERS,
    DEFINES,
    OPENERS,
    READERS,
    RUNNERS,
    RUNS_FIRST,
    STARTS_LOADING,
    WRITERS,
    Caller,
)
from pinfold.audit.security.tables.library import overrides
from pinfold.audit.security.tables.names import LONGEST_PATH, WATCHED_MODULES, canonical, judge
from pinfold.audit.security.values import (
    Bound,
    Call,
    Const,
    Decoded,
    Getter,
    Given,
    Instance,
    Many,
    Own,
    Ref,
    Unknown,
    Value,
    Values,
    all_given,
    bound,
    count_values,
    dict_of,
    either,
    imported_paths,
    known_strings,
    printable_excerpt,
    sequence_of,
    union,
)

# Functions that give back what they were given, or its elements.
PASSES_ON = frozenset(
    "functools.partial functools.partialmethod functools.cache functools.lru_cache "
    "builtins.staticmethod builtins.classmethod builtins.property copy.copy copy.deepcopy builtins.iter "
    "builtins.list builtins.tuple builtins.set builtins.frozenset builtins.reversed builtins.sorted "
    "types.MethodType typing.cast builtins.str os.fspath os.path.abspath os.path.expanduser os.path.realpath "
    "os.path.normpath os.path.join pathlib.Path builtins.bytes joblib.delayed joblib.parallel.delayed "
    "sklearn.utils.parallel.delayed dask.delayed".split()
)
TEMPORARY = frozenset(
    f"tempfile.{name}"
    for name in "TemporaryDirectory NamedTemporaryFile TemporaryFile SpooledTemporaryFile mkdtemp mktemp gettempdir "
    "mkstemp".split()
)
PIPE = re.compile(r"^(?:torch\.)?multiprocessing\.(?:.*\.)?Pipe$")  # gives both of its ends
GIVES_ELEMENT = frozenset(("builtins.next", "builtins.min", "builtins.max"))
ENDS_PROGRAM = frozenset(("builtins.input", "builtins.exit", "builtins.quit", "sys.exit"))
RUNS = re.compile(r"^(?:threading|(?:torch\.)?multiprocessing)\.(?:\w+\.)?(?:Thread|Timer|\w*Process)$")  # by start()
CONSTRUCTORS = (".__init__", ".__new__")
MADE_BY_NEW = frozenset(("numpy.memmap",))  # classes whose __new__ gets what a subclass's __init__ is given
RUN_RESULTS = {  # what a base class does with what a method gives back
    "text": ("S01", "text that it runs as a program"),
    "command": ("S02", "the program that it starts"),
    "import": ("S04", "the name that it imports"),
    "native": ("S05", "the native code that it loads"),
    "pickle": ("S06", "what it unpickles"),
}
RUN_BY_A_CALL = ("__new__", "__init__", "__post_init__")  # methods that a call of a class runs


def call_function(state: State, function: Value, call: Call, scope: Scope) -> Values:
    """Report what calling ``function`` does, and return what it can give back.

    Of all reports of one line and code the first is kept, so what says most comes first: that the call runs on import
    and that it runs encoded text, what it does to a function that it is given, and then the rules of its name (the two
    do not overlap). What it gives back is worked out last, and only where no rule knows.
    """
    if isinstance(function, (Own, Instance)):
        return _call_own(state, function, call)
    if isinstance(function, Getter):
        return call_getter(state, function, call)
    if isinstance(function, Bound):
        inner = Call(call.node, [*function.arguments, *call.arguments], {**dict(function.keywords), **call.keywords})
        inner.open_ended = call.open_ended
        return either(*(call_function(state, each, inner, scope) for each in function.functions))
    if not isinstance(function, Ref):
        return ()
    path = function.path
    if path.endswith(CONSTRUCTORS):
        _call_constructor(state, path, call, scope)
    if state.importing():
        _report_at_import(state, path, call)
    if call.decoded() and RUNNERS.match(path):
        state.report("S10", call.node, f"{path}(...) runs what was hidden in encoded text.")
    call_argument(state, path, call, scope)
    library_rule(state, path, call, scope)
    report_address(state, path, call)
    report_repository(state, path, call)
    report_foreign_call(state, path, call)
    report_kept(state, path, call)
    for rule in (process_rule, loaded_rule, name_rule, argument_rule):
        values = rule(state, path, call, scope)
        if values is not NOTHING_TO_SAY:
            return values
    return _given_back(state, path, call)


def _call_own(state: State, function: Own | Instance, call: Call) -> Values:
    """A function or class of the folder: its parameters become what this call gives, and it counts as called."""
    node = function.node
    if isinstance(function, Instance):
        return union(*(_call_own(state, method, call) for method in _methods(state, node, ("__call__",))))
    if isinstance(node, ast.ClassDef):
        for method in _methods(state, node, RUN_BY_A_CALL):
            _call_own(state, method, call)
        has_constructor = bool(_methods(state, node, ("__init__", "__new__")))
        for base in state.foreign_bases(node):
            if isinstance(base, Ref):
                state.report_name(base.path, call.node, True)
                if not has_constructor or base.path in MADE_BY_NEW:
                    call_base(state, base.path, call, state.scopes[node])
                else:
                    library_rule(state, base.path, call, state.scopes[node])
                report_overrides(state, node, base.path, call.node)
        return (Instance(node),)
    if not isinstance(node, FUNCTIONS):  # a module
        return ()
    if state.function is not None:
        state.calls.setdefault(state.function, {})[node] = None
    elif state.importing():
        line = getattr(call.node, "lineno", 0)
        state.called_at_import.setdefault((state.file, line), {})[node] = None
    if node in state.scopes:
        _bind_parameters(state, node.args, state.scopes[node], call)
    return state.returns.get(node, ())


def call_started(state: State, owners: Values, call: Call) -> None:
    """``start()`` of a thread or a process of the folder's own class: it calls ``run``."""
    for owner in owners:
        if isinstance(owner, Instance) and any(map(RUNS.match, imported_paths(state.foreign_bases(owner.node)))):
            for method in _methods(state, owner.node, ("run",)):
                _call_own(state, method, Call(call.node))


def _call_constructor(state: State, path: str, call: Call, scope: Scope) -> None:
    """``super().__init__(...)``, which is a call of each base, and ``Base.__init__(self, ...)``."""
    owner, _, name = path.rpartition(".")
    if owner != "builtins.super()":
        if "()" not in owner:
            inner = Call(call.node, call.arguments[1:], call.keywords, call.open_ended)
            call_base(state, owner, inner, scope)
        return
    if name == "__new__":
        call = Call(call.node, call.arguments[1:], call.keywords, call.open_ended)
    for base in state.foreign_bases(cls) if (cls := _class_around(scope)) is not None else ():
        if isinstance(base, Ref):
            call_base(state, base.path, call, scope)


def _class_around(scope: Scope) -> ast.AST | None:
    outer: Scope | None = scope
    while outer is not None and outer.kind != "class":
        outer = outer.parent
    return outer.node if outer is not None else None


def call_base(state: State, path: str, call: Call, scope: Scope) -> None:
    """A call of a library's class by way of a class of the folder that derives from it."""
    if "()" in path:
        return
    library_rule(state, path, call, scope)
    if path in OPENERS or path in WRITERS:
        argument_rule(state, path, call, scope)


def report_overrides(state: State, node: ast.AST, base: str, where: ast.AST) -> None:
    """Methods of a class of the folder whose result the library's base class runs."""
    for what, name in overrides(base):
        for method in _methods(state, node, (name,)):
            code, words = RUN_RESULTS[what]
            sentence = f"{name} gives {printable_excerpt(base)} {words}."
            state.report(code, where, sentence)
            if isinstance(where, ast.ClassDef):
                state.report(code, method.node, sentence)


def _methods(state: State, node: ast.AST, names: tuple[str, ...]) -> list[Own]:
    members = [member for name in names for member in state.class_member(node, name)]
    return [m for m in members if isinstance(m, Own) and not isinstance(m.node, ast.ClassDef)]


def _bind_parameters(state: State, parameters: ast.arguments, inner: Scope, call: Call) -> None:
    # From the second reading on, every argument that is known at all is known.
    unknown: Values = () if state.first_reading else (Unknown(),)
    ordered = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
    if inner.takes_self:
        ordered = ordered[1:]
    for name, values in (*zip(ordered, call.arguments, strict=False), *call.keywords.items()):
        if name in inner.names:
            state.bind_name(name, values or unknown, inner)
    if call.open_ended:
        for name in ordered[len(call.arguments) - 1 :]:
            state.bind_name(name, unknown, inner)


def _report_at_import(state: State, path: str, call: Call) -> None:
    method = path.split(".")[-1]
    parts = path.split("(")[0].split(".")
    packages = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    if method in STARTS_LOADING:
        state.report("S12", call.node, f"{path}(...) loads something when the file is imported.")
    elif path in ENDS_PROGRAM:
        state.report("S12", call.node, f"{path}() stops or blocks the program that imports the file.", WARNING)
    elif path in OPENERS:
        state.report("S12", call.node, f"{path}(...) opens a file when this one is imported.", WARNING)
    elif parts[0] in ("", "builtins") or "()" in path or judge(path):
        return  # a sibling, plain data, a method of something made here, or a name that is reported by itself
    elif packages.isdisjoint(DEFINES) and parts[0] not in WATCHED_MODULES:
        state.report("S12", call.node, f"{path}(...) is called when the file is imported.", WARNING)


def call_argument(state: State, path: str, call: Call, scope: Scope) -> None:
    """A function that is handed to what calls it does what it does when it is called here.

    Args:
        path: of the function that calls it; of a method of an object that is not known, ".name".
    """
    if caller := _caller(path):
        functions = call.argument(*caller.function)
        arguments = _arguments_of(caller, path, call)
    elif RUNS_FIRST.match(path):
        functions = call.argument(0, "function")
        rows = call.arguments[1:] if path in ("builtins.map", "builtins.filter") else []
        arguments = [any_element(row) for row in rows]
    else:
        return
    for function in functions:
        is_writer = isinstance(function, Ref) and (function.path in WRITERS or function.path in OPENERS)
        is_handed = caller is not None and isinstance(function, Ref) and function.path in READERS
        if is_writer or is_handed or isinstance(function, (Own, Instance, Bound)):
            call_function(state, function, Call(call.node, arguments), scope)


def _caller(path: str) -> Caller | None:
    """How what has this name calls a function that it is given."""
    if path in CALLERS:
        return CALLERS[path]
    method = path.rpartition(".")[2]
    if method in CALLING_METHODS and ("()" in path or path[:1] == "."):
        return CALLING_METHODS[method]
    owners, caller = CALLING_METHODS_OF.get(method, (None, None))
    return caller if owners is not None and owners.match(path) else None


def _arguments_of(caller: Caller, path: str, call: Call) -> list[Values]:
    """What the function is called with, as far as that is known."""
    if caller.rest_from is not None:
        return call.arguments[caller.rest_from :]
    if caller.rows_from is not None:
        elements = [any_element(row) for row in call.arguments[caller.rows_from :]]
        groups = [v.items for v in elements[0] if isinstance(v, Many)] if caller.spread and elements else []
        return elements if not caller.spread else list(groups[0]) if len(groups) == 1 else []
    groups = [v.items for v in call.argument(*caller.arguments) if isinstance(v, Many)] if caller.arguments else []
    # spawn and start_processes put the number of the process first
    first: list[Values] = [()] if path.startswith("torch.multiprocessing.s") else []
    return [*first, *groups[0]] if len(groups) == 1 else first


def _given_back(state: State, path: str, call: Call) -> Values:
    """What a call gives back about which no rule has a say.

    A computed constant comes before "some decoded text", because more is known of it; a function that passes its
    argument on comes before "the result of path()", for the same reason.
    """
    decoder = bool(DECODERS.match(path))
    decoded = call.decoded()
    if path in COMPUTED and state.steps > 0:
        computed = function_result(path, call.arguments, call.keywords, decoded or decoder)
        if computed and state.afford(count_values(computed), call.node):
            return computed
    if decoder or (decoded and path.startswith(("builtins.", "codecs."))):
        return (Decoded(),)
    values = OF_ONE[path](state, call) if path in OF_ONE else NOTHING_TO_SAY
    if values is NOTHING_TO_SAY and path in PASSES_ON:
        values = _passed_on(path, call)
    if values is not NOTHING_TO_SAY:
        return values
    if path in TEMPORARY:
        place: Values = (Given(temporary=True),)
        return sequence_of([place, place]) if path == "tempfile.mkstemp" else place
    if path in GIVES_ELEMENT:
        return any_element(call.argument(0, "iterable"))
    if path == "builtins.filter":
        return call.argument(1, "iterable")
    if PIPE.match(path):
        end: Values = (Ref("multiprocessing.connection.Connection()"),)
        return sequence_of([end, end])
    if path == "builtins.dict" and call.keywords:
        return dict_of(list(call.keywords.items()))
    return (Ref(canonical(f"{path}()")),) if len(path) < LONGEST_PATH else ()


def _path_joined(state: State, call: Call) -> Values | None:
    parts = [text for part in call.arguments for text in known_strings(part)[:1]]
    whole = [(known_strings(part) or [PLACEHOLDER])[0] for part in call.arguments]
    state.report_secret_place("/".join(whole), call.node)
    starts = known_strings(call.argument(0, "a"))
    # below what a variable of the environment names, or the user's home
    if any(text.startswith(("$", "~")) for text in starts):
        return (*(Const("/".join([text, *parts[1:]])) for text in starts), Unknown())
    return NOTHING_TO_SAY


def _named_like(state: State, call: Call) -> Values:
    """The function that gets the name of another one, which is not called."""
    return call.argument(0, "wrapper")


def _partial(state: State, call: Call) -> Values | None:
    functions = call.argument(0, "func")
    if not call.is_always(BY_NAME_ONLY, "weights_only", True):  # torch.load, which is safe then
        state.report_handed_on(functions, call.node)
    keywords = {key: values for key, values in call.keywords.items() if key != "func"}
    return bound(functions, call.arguments[1:], keywords) if functions else NOTHING_TO_SAY


def _mapped(state: State, call: Call) -> Values | None:
    """What ``map(f, rows)`` gives, where f hands on what it gets."""
    rows = [any_element(row) for row in call.arguments[1:]]
    results = [
        _passed_on(function.path, Call(call.node, rows)) or ()
        for function in call.argument(0, "function")
        if isinstance(function, Ref) and function.path in PASSES_ON
    ]
    return sequence_of([union(*results)]) if any(results) else NOTHING_TO_SAY


def _home(state: State, call: Call) -> Values:
    return path_at(["~"])


def _property(state: State, call: Call) -> Values:
    """The functions of a property, and what they give back, which is what a look at it gives."""
    arguments = [*call.arguments, *call.keywords.values()]
    functions = [value for values in arguments for value in values if isinstance(value, Own)]
    return union(*(state.returns.get(function.node, ()) for function in functions), *arguments)


def _passed_on(path: str, call: Call) -> Values | None:
    first = call.argument(0, "func")
    if any(isinstance(v, Given) for v in first):
        return first if all_given(first) and _stays_below(call.arguments[1:]) else ()
    if path == "pathlib.Path":
        return path_of_parts(call.arguments)
    if not first:
        return NOTHING_TO_SAY
    elements = elements_of(first) if path == "typing.cast" else []
    return union(first, *elements, *call.arguments[1:2])


def _stays_below(parts: list[Values]) -> bool:
    """Whether further parts of a path stay below its directory, as far as they are known."""
    texts = [text for part in parts for text in known_strings(part)]
    return not any(text.startswith(("/", "\\", "~")) or ".." in text for text in texts)


# What calls of these functions give back, where it is more than "the result of path()".
OF_ONE: dict[str, Callable[[State, Call], Values | None]] = {
    "os.path.join": _path_joined,
    "builtins.property": _property,
    "builtins.map": _mapped,
    "functools.wraps()": _named_like,
    "functools.update_wrapper": _named_like,
    "functools.partial": _partial,
    "pathlib.Path.home": _home,
}
