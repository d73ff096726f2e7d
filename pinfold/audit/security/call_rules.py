"""What a call does by its arguments: imports by text, loads of pickles, writes of files, the environment, settings."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.functions import DELETES, OPENERS, PATH_METHODS, PATH_ONLY, WRITERS
from pinfold.audit.security.lookups import is_dotted_name, look_up, report_variable
from pinfold.audit.security.names import METHODS, WATCHED_MODULES, canonical, judge
from pinfold.audit.security.state import NOTHING_TO_SAY, Rule, Scope, State
from pinfold.audit.security.values import (
    Call,
    Const,
    Given,
    Own,
    Ref,
    Value,
    Values,
    all_given,
    imported_paths,
    known_strings,
    printable_excerpt,
)

ENVIRONMENT = re.compile(r"^os\.environb?\.(\w+)$")
READS_VARIABLE = frozenset("get __getitem__ __contains__".split())
CHANGES_VARIABLES = frozenset("setdefault update pop popitem clear __setitem__ __delitem__".split())
CHANGES_LIST = frozenset(
    "append insert extend remove clear pop update setdefault __setitem__ __delitem__ sort".split()
)
SAFE_YAML = frozenset("SafeLoader CSafeLoader BaseLoader CBaseLoader".split())
SAVERS = ("save", "write", "export", "dump", "to_")  # how the names of functions begin whose job is to write
BY_NAME_ONLY = 99  # the position of an argument that is only passed by its name


# Imports


def _import_by_text(state: State, path: str, call: Call, scope: Scope) -> Values:
    names = known_strings(call.argument(0, "name"))
    for name in names:
        severe = (
            not _is_module(name) or canonical(name) in WATCHED_MODULES or judge(canonical(f"{name}.x")) is not None
        )
        words = f'imports "{printable_excerpt(name)}" by a text instead of an import statement'
        state.report("S04", call.node, f"{path}(...) {words}.", ERROR if severe else WARNING)
    if not names:
        state.report("S04", call.node, f"{path}(...) imports a module by a name that is computed at run time.")
    names = [name for name in names if _is_module(name)]
    modules: list[Value] = [Ref(canonical(name)) for name in names]
    if path.endswith("__import__"):  # it gives the package, not the module
        modules += [Ref(canonical(name.split(".")[0])) for name in names]
    for name in names:
        modules += [Own(module.tree) for module in state.modules if module.name == name.lstrip(".")][:1]
    return tuple(dict.fromkeys(modules)) or (Ref("imported()"),)


def _is_module(name: str) -> bool:
    return is_dotted_name(name.lstrip("."))


# Loads


def _torch_load(state: State, path: str, call: Call, scope: Scope) -> Values:
    if not call.is_always(3, "weights_only", True):
        words = "without weights_only=True unpickles, which runs what it names"
        state.report("S06", call.node, f"{path}(...) {words}.")
    return ()


def _numpy_load(state: State, path: str, call: Call, scope: Scope) -> Values:
    if call.has(2, "allow_pickle") and not call.is_always(2, "allow_pickle", False):
        state.report("S06", call.node, f"{path}(..., allow_pickle=True) unpickles, which runs what it names.")
    return ()


def _yaml_load(state: State, path: str, call: Call, scope: Scope) -> Values:
    loaders = {loader.split(".")[-1] for loader in imported_paths(call.argument(1, "Loader"))}
    if not loaders or loaders - SAFE_YAML:
        words = "without SafeLoader builds any Python object that it names"
        state.report("S06", call.node, f"yaml.load(...) {words}.")
    return ()


def _pipeline(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    if not call.has(BY_NAME_ONLY, "trust_remote_code"):
        return NOTHING_TO_SAY
    report_from_pretrained(state, path, call)
    return ()


def report_from_pretrained(state: State, path: str, call: Call) -> None:
    """Report code and weights of another repository."""
    name = printable_excerpt(path)
    if "trust_remote_code" in call.keywords and not call.is_always(BY_NAME_ONLY, "trust_remote_code", False):
        state.report("S04", call.node, f"{name}(..., trust_remote_code=...) runs code of another repository.")
    elif path.startswith(("transformers.", "diffusers.")) and known_strings(call.argument(0, "name")):
        repository = printable_excerpt(known_strings(call.argument(0, "name"))[0])
        words = f'{name}("{repository}") downloads what no pin of this repository covers.'
        state.report("S03", call.node, words, WARNING)


# Files


def _file_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Files that are opened, written, moved or deleted."""
    if path in OPENERS:
        if opens_for_writing(call, OPENERS[path]):
            owner = (Ref("pathlib.Path()"),) if path.startswith("pathlib") else call.argument(0, "file")
            report_write(state, path, [owner], call)
        return (Ref(f"{path}()"),)
    if path == "logging.basicConfig" and "filename" in call.keywords:
        report_write(state, path, [call.keywords["filename"]], call)
    elif path in WRITERS:
        if path != "os.open" or not _opens_for_reading(call):
            places = [call.argument(position, name) for position, name in WRITERS[path]]
            report_write(state, path, places, call, deletes=path in DELETES)
    else:
        _report_file_method(state, path, call)
    return NOTHING_TO_SAY


def _report_file_method(state: State, path: str, call: Call) -> None:
    method = path.rsplit(".", 1)[-1]
    if path.startswith("pathlib.Path().") and (method in PATH_METHODS or method in PATH_ONLY):
        deletes = method in ("unlink", "rmdir", "rename", "replace")
        report_write(state, f"Path.{method}", [()], call, deletes)
    elif method in PATH_METHODS and "()" in path:
        report_write(state, f".{method}", [()], call, deletes=method in ("unlink", "rmdir"))
    elif "()" in path and method in METHODS and not path.startswith(("platform.", "pathlib.")):
        code, words = METHODS[method]
        state.report(code, call.node, f".{method}(...) {words}.")


def opens_for_writing(call: Call, position: int) -> bool:
    """Whether a file is opened for writing, or in a mode that is not known."""
    if not call.has(position, "mode"):
        return False
    modes = call.argument(position, "mode")
    known = [v.value for v in modes if isinstance(v, Const) and isinstance(v.value, str)]
    if len(known) < len(modes) or not known:
        return True
    return any(set(mode) & set("wax+") for mode in known)


def _opens_for_reading(call: Call) -> bool:
    flags = call.argument(1, "flags")
    return bool(flags) and all(isinstance(v, Ref) and v.path == "os.O_RDONLY" for v in flags)


def report_write(state: State, name: str, places: list[Values], call: Call, deletes: bool = False) -> None:
    """Report a write unless it goes below the directory that save_pretrained was given."""
    inside = all(map(all_given, places))
    values = [value for place in places for value in place]
    temporary = any(isinstance(v, Given) and v.temporary for v in values)
    if inside and not deletes and not temporary:
        return
    words = "deletes or moves files" if deletes else "writes files"
    if not inside:
        where = "outside the directory that saving was given"
    elif temporary:
        where = "below a temporary directory"
    else:
        where = "in the directory that it was given"
    constant = any(isinstance(v, Const) for v in values)
    expected = inside or (_writes_to_parameter(state.function, call) and not constant)
    state.report("S07", call.node, f"{name}(...) {words} {where}.", WARNING if expected else ERROR)


def _writes_to_parameter(function: ast.AST | None, call: Call) -> bool:
    """Whether a function whose name says that it writes takes the path from one of its parameters."""
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    first = call.node.args[0] if isinstance(call.node, ast.Call) and call.node.args else None
    parameters = {argument.arg for argument in function.args.args}
    return function.name.lstrip("_").startswith(SAVERS) and isinstance(first, ast.Name) and first.id in parameters


# The environment, and what Python looks at


def _getenv(state: State, path: str, call: Call, scope: Scope) -> Values:
    report_variable(state, call.argument(0, "key"), call.node)
    return call.argument(1, "default")


def _environment_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Methods of os.environ."""
    match = ENVIRONMENT.match(path)
    if not match:
        return NOTHING_TO_SAY
    if match[1] in READS_VARIABLE:
        return _getenv(state, path, call, scope)
    if match[1] in CHANGES_VARIABLES:
        state.report("S09", call.node, f"{path}(...) changes the environment of this process.")
    else:
        state.report("S08", call.node, f"{path}() reads the whole environment, tokens and keys included.")
    return ()


def _settings_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Methods of sys.path and sys.modules."""
    owner, _, method = path.rpartition(".")
    if owner in ("sys.path", "sys.modules") and method in CHANGES_LIST:
        what = "where Python finds modules" if owner == "sys.path" else "which modules are loaded"
        state.report("S11", call.node, f"{path}(...) changes {what}.")
        return ()
    if owner == "sys.modules" and method in ("get", "__getitem__"):
        return look_up(state, (Ref("sys.modules"),), call.argument(0, "key"), call.node, scope)
    return NOTHING_TO_SAY


def _load_extension(state: State, path: str, call: Call, scope: Scope) -> None:
    state.report("S05", call.node, "load_extension runs native code that no audit of Python reads.")
    return NOTHING_TO_SAY


HANDLERS: dict[str, Rule] = {
    "builtins.__import__": _import_by_text,
    "importlib.import_module": _import_by_text,
    "importlib.__import__": _import_by_text,
    "torch.load": _torch_load,
    "torch.serialization.load": _torch_load,
    "numpy.load": _numpy_load,
    "numpy.lib.format.read_array": _numpy_load,
    "numpy.lib.npyio.load": _numpy_load,
    "yaml.load": _yaml_load,
    "transformers.pipeline": _pipeline,
    "os.getenv": _getenv,
    "os.getenvb": _getenv,
    "sqlite3.connect().load_extension": _load_extension,
}


def argument_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Calls that are harmless or not by their arguments.

    A handler of the whole name comes first, since it knows the arguments; the rules after it go by a part of the name.
    No two of those have a say about the same name, so their order is free.
    """
    if path in HANDLERS:
        return HANDLERS[path](state, path, call, scope)
    if path.endswith(".from_pretrained"):
        report_from_pretrained(state, path, call)
        return NOTHING_TO_SAY
    for rule in (_file_rule, _environment_rule, _settings_rule):
        values = rule(state, path, call, scope)
        if values is not NOTHING_TO_SAY:
            return values
    return NOTHING_TO_SAY
