"""What a call does by its arguments: imports by text, loads of pickles, writes of files, the environment, settings."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.lookups import is_dotted_name, look_up, report_variable
from pinfold.audit.security.rules.files import file_rule
from pinfold.audit.security.rules.library import REPOSITORY
from pinfold.audit.security.state import NOTHING_TO_SAY, Rule, Scope, State
from pinfold.audit.security.tables.functions import BY_NAME_ONLY
from pinfold.audit.security.tables.names import WATCHED_MODULES, canonical, judge
from pinfold.audit.security.values import (
    Call,
    Const,
    Own,
    Ref,
    Value,
    Values,
    imported_paths,
    known_for_sure,
    known_strings,
    printable_excerpt,
    union,
)

BACKEND = re.compile(r"^matplotlib\.(?:use|pyplot\.switch_backend|rcParams\.)")
ENVIRONMENT = re.compile(r"^os\.environb?\.(\w+)$")
VARIABLE = re.compile(r"[$%]\{?(\w+)")
READS_VARIABLE = frozenset("get __getitem__ __contains__".split())
CHANGES_VARIABLES = frozenset("setdefault update pop popitem clear __setitem__ __delitem__".split())
CHANGES_LIST = frozenset(
    "append insert extend remove clear pop update setdefault __setitem__ __delitem__ sort".split()
)
# How many threads, how much is printed, how memory is taken: set where the user has not.
QUIET_VARIABLES = frozenset(
    "TOKENIZERS_PARALLELISM OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS NUMEXPR_NUM_THREADS "
    "VECLIB_MAXIMUM_THREADS CUDA_LAUNCH_BLOCKING PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF "
    "PYTORCH_ENABLE_MPS_FALLBACK TF_CPP_MIN_LOG_LEVEL TORCH_CPP_LOG_LEVEL CUBLAS_WORKSPACE_CONFIG NCCL_DEBUG "
    "KMP_DUPLICATE_LIB_OK XLA_PYTHON_CLIENT_PREALLOCATE CUDA_DEVICE_ORDER TRANSFORMERS_VERBOSITY "
    "TF_ENABLE_ONEDNN_OPTS TF_FORCE_GPU_ALLOW_GROWTH TORCH_SHOW_CPP_STACKTRACES".split()
)
HUB_LOADERS = ("transformers.", "diffusers.", "peft.", "sentence_transformers.")
SAFE_YAML = frozenset("SafeLoader CSafeLoader BaseLoader CBaseLoader".split())


# Imports


def _import_by_text(state: State, path: str, call: Call, scope: Scope) -> Values:
    names = known_strings(call.argument(0, "name"))
    for name in names:
        severe = (
            not _is_module(name) or canonical(name) in WATCHED_MODULES or judge(canonical(f"{name}.x")) is not None
        )
        words = f'imports "{printable_excerpt(name)}" by a text instead of an import statement'
        state.report("S04", call.node, f"{path}(...) {words}.", ERROR if severe else WARNING)
    if not known_for_sure(call.argument(0, "name")):
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


def _unpickles_by_choice(state: State, path: str, call: Call) -> None:
    """Functions of other libraries that hand weights_only on to torch.load."""
    if "weights_only" in call.keywords and not call.is_always(BY_NAME_ONLY, "weights_only", True):
        words = "with another weights_only than True unpickles, which runs what it names"
        state.report("S06", call.node, f"{printable_excerpt(path)}(...) {words}.")


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
        return
    first = known_strings(call.argument(0, "name")) if path.startswith(("transformers.", "diffusers.")) else []
    others = [text for values in (*call.arguments, *call.keywords.values()) for text in known_strings(values)]
    for repository in [*first, *filter(REPOSITORY.match, others)][:1]:
        words = f'{name}("{printable_excerpt(repository)}") downloads what no pin of this repository covers.'
        state.report("S03", call.node, words, WARNING)
        return
    if (
        path.startswith(HUB_LOADERS)
        and "revision" not in call.keywords
        and not call.open_ended  # **kwargs, in which a revision can be
        and call.has(0, "pretrained_model_name_or_path")
    ):
        words = f"{name}(...) downloads from a repository that no revision pins."
        state.report("S03", call.node, words, WARNING)


# The environment, and what Python looks at


def _getenv(state: State, path: str, call: Call, scope: Scope) -> Values:
    return union(report_variable(state, call.argument(0, "key"), call.node), call.argument(1, "default"))


def _environment_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Methods of os.environ."""
    match = ENVIRONMENT.match(path)
    if not match:
        return NOTHING_TO_SAY
    if match[1] in READS_VARIABLE:
        return _getenv(state, path, call, scope)
    if match[1] in CHANGES_VARIABLES:
        names = set(known_strings(call.argument(0, "key")))
        value = call.argument(1, "value")
        quiet = match[1] == "setdefault" and bool(names) and names <= QUIET_VARIABLES
        quiet = quiet and known_for_sure(value) and all(isinstance(v, Const) for v in value)
        severity = WARNING if quiet else ERROR
        state.report("S09", call.node, f"{path}(...) changes the environment of this process.", severity, True)
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


def _expanded(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Variables of the environment that are put into a text."""
    for text in known_strings(call.argument(0, "s" if path.endswith("subst_vars") else "path")):
        for name in VARIABLE.findall(text):
            report_variable(state, (Const(name),), call.node)
    return NOTHING_TO_SAY


def _query(state: State, path: str, call: Call) -> None:
    state.report("S01", call.node, f"{printable_excerpt(path)}(...) evaluates the text that it is given.")


def _imports_backend(state: State, path: str, call: Call) -> None:
    """What draws is a module that pandas and matplotlib import by its name."""
    texts = [text for values in (*call.arguments, *call.keywords.values()) for text in known_strings(values)]
    if BACKEND.match(path) and any(text.startswith("module://") for text in texts):
        imported = next(text for text in texts if text.startswith("module://"))
    elif path.startswith("pandas.") and any(text.endswith("plotting.backend") for text in texts):
        imported = next((text for text in texts if not text.endswith("plotting.backend")), "...")
    else:
        return
    if imported != "matplotlib":
        words = f'makes another library import "{printable_excerpt(imported)}"'
        state.report("S04", call.node, f"{printable_excerpt(path)}(...) {words}.")


def _signature(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    if call.has(BY_NAME_ONLY, "eval_str") and not call.is_always(BY_NAME_ONLY, "eval_str", False):
        words = "evaluates annotations that are texts"
        state.report("S01", call.node, f"{path}(..., eval_str=True) {words}.", WARNING)
    return NOTHING_TO_SAY


HANDLERS: dict[str, Rule] = {
    "inspect.signature": _signature,
    "inspect.Signature.from_callable": _signature,
    "os.path.expandvars": _expanded,
    "distutils.util.subst_vars": _expanded,
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
    _unpickles_by_choice(state, path, call)
    _imports_backend(state, path, call)
    if path.startswith("pandas.") and path.endswith((").query", ").eval")):
        _query(state, path, call)
    if path.endswith(".from_pretrained"):
        report_from_pretrained(state, path, call)
        return NOTHING_TO_SAY
    for rule in (file_rule, _environment_rule, _settings_rule):
        values = rule(state, path, call, scope)
        if values is not NOTHING_TO_SAY:
            return values
    return NOTHING_TO_SAY
