"""Changes of the whole process that every other model uses too, and code that something unknown is given."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.state import LONGEST_ANNOTATION, NOTHING_TO_SAY, Scope, State
from pinfold.audit.security.tables.functions import BY_NAME_ONLY
from pinfold.audit.security.values import (
    Call,
    Const,
    Ref,
    Table,
    Values,
    has_unknown,
    imported_paths,
    known_strings,
    printable_excerpt,
)
from pinfold.folder.releases import model_types

# Namespaces of operators that are torch's own.
TORCH_OPERATORS = re.compile(r"^(?:aten|prims?|quantized|torchvision|_\w+|profiler|c10d\w*|higher_order)(?:::|$)")
OPERATORS = frozenset(
    "torch.library.Library torch.library.impl torch.library.register_kernel torch.library.register_fake "
    "torch.library.register_autograd torch.library.define torch.library.impl_abstract torch.library.custom_op "
    "torch.library.register_torch_dispatch torch.library.register_vmap torch.library.register_autocast "
    "torch.library.fallthrough_kernel".split()
)
REGISTRIES = re.compile(
    r"(?:ALL_ATTENTION_FUNCTIONS|ALL_MASK_ATTENTION_FUNCTIONS|AttentionInterface|AttentionMaskInterface|ACT2FN|ACT2CLS"
    r"|ROPE_INIT_FUNCTIONS|LOSS_MAPPING|ALL_PARALLEL_STYLES|\w*_MAPPING)\b"
)
# What transformers itself puts into such a table: another function under one of these names is used by other models.
STOCK = frozenset(
    "sdpa eager flash_attention_2 flash_attention_3 flash_attention_4 flex_attention paged_attention sdpa_paged "
    "eager_paged paged|sdpa paged|eager paged|flash_attention_2 gelu relu silu swish gelu_new gelu_fast quick_gelu "
    "gelu_pytorch_tanh tanh sigmoid mish linear laplace relu2 relu6 leaky_relu gelu_10 gelu_python ForCausalLM "
    "ForMaskedLM ForSequenceClassification ForTokenClassification ForQuestionAnswering".split()
)
# Setters of what every model of the process uses.
SETTERS = frozenset(
    "torch.set_default_dtype torch.set_default_device torch.set_default_tensor_type torch.set_flush_denormal "
    "torch.use_deterministic_algorithms torch.set_printoptions torch.set_grad_enabled() "
    "torch.autograd.set_detect_anomaly torch.serialization.add_safe_globals "
    "torch.serialization.clear_safe_globals torch.serialization.register_package "
    "torch.utils.rename_privateuse1_backend torch.utils.generate_methods_for_privateuse1_backend "
    "torch._register_device_module torch.overrides.TorchFunctionMode torch.cuda.memory.change_current_allocator "
    "sys.setrecursionlimit resource.setrlimit socket.setdefaulttimeout locale.setlocale numpy.seterrcall "
    "numpy.set_printoptions logging.setLoggerClass logging.setLogRecordFactory logging.disable "
    "warnings.showwarning builtins.__build_class__ linecache.updatecache".split()
)
CHANGES = frozenset("append insert extend update clear pop remove setdefault".split())
HOOK_METHODS = frozenset(("register", "register_attention_function", "setdefault", "update", "__setitem__", "pop"))
LITERALS = (  # the parts of a text that only computes; ** and << could compute for a very long time
    *(ast.Expression, ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp, ast.Load),
    *(ast.Add, ast.Sub, ast.Div, ast.FloorDiv, ast.UAdd, ast.USub),
)
CODE = frozenset(("builtins.compile()", "types.CodeType()", "marshal.loads()", "marshal.load()"))


def process_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Calls that change what other code of this process does."""
    if path in OPERATORS:
        _operator(state, path, call)
    elif path in SETTERS:
        words = "changes a setting of the whole process"
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    else:
        owner, _, method = path.rpartition(".")
        if method in HOOK_METHODS and REGISTRIES.search(owner.replace("()", "")):
            report_registered(state, owner, _keys(call), call.node)
        if method in ("impl", "define", "fallback") and owner == "torch.library.Library()":
            _operator(state, path, call)
            state.report("S11", call.node, f"{path}(...) changes an operator for the whole process.", WARNING)
        if method == "register" and path.startswith("transformers.") and ".Auto" in path:
            _registered_type(state, path, call)
        if method in CHANGES and "()" not in path and owner.count("."):
            _changed_list(state, owner, path, call)
    return NOTHING_TO_SAY


def _registered_type(state: State, path: str, call: Call) -> None:
    """A type of model that transformers has itself, registered with another class."""
    for name in known_strings(call.argument(0, "model_type")):
        if name in model_types():
            words = f'puts another class in the place of transformers\' own "{printable_excerpt(name)}"'
            state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.")
    stock = [v for v in call.argument(0, "config_class") if isinstance(v, Ref) and v.path.startswith("transformers.")]
    if stock and "exist_ok" in call.keywords:
        words = f"puts another class in the place of the one for {printable_excerpt(stock[0].path)}"
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.")


def _changed_list(state: State, owner: str, path: str, call: Call) -> None:
    """A list or a table of a library's module that is changed in place."""
    last = owner.rpartition(".")[2]
    if last == "__path__":
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) changes where Python finds that package.")
    elif _is_shared(state, owner) and not owner.startswith(("builtins.", "sys.", "os.")):
        words = "changes what others use"
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)


def _is_shared(state: State, path: str) -> bool:
    """Whether a name is a table that a library has for all: by its letters, as it is private, or imported alone.

    No function has a method that changes it, and so a name that this file imports by itself is an object.
    """
    last = path.rpartition(".")[2]
    if last.isupper() or (last[:1] == "_" and last[:2] != "__") or last == "handlers":
        return True
    return last.islower() and any(file == state.file and imported == path for file, _, _, imported in state.imported)


def _keys(call: Call) -> Values:
    """The keys under which a call puts something into a table, those of a dict and of keywords too."""
    values = call.argument(0, "key")
    tables = [v for v in values if isinstance(v, Table)]
    entries = [Const(key) for table in tables for key, _ in table.entries]
    named = [Const(key) for key in call.keywords] if not call.arguments else []
    return (*values, *entries, *named)


def report_merged(state: State, tables: Values, values: Values, node: ast.AST) -> None:
    """``TABLE |= values`` of a table that a library has."""
    for path in imported_paths(tables):
        if REGISTRIES.search(path):
            report_registered(state, path, _keys(Call(node, [values])), node)
        elif path.count(".") and "()" not in path and path.rpartition(".")[2].isupper():
            state.report("S11", node, f"changes {printable_excerpt(path)}, which others use.", WARNING)


def report_registered(state: State, table: str, keys: Values, node) -> None:
    """A function put into a table that models look their attention, activation or loss up in."""
    names = known_strings(keys)
    stock = [name for name in names if name in STOCK]
    what = f'"{printable_excerpt((stock or names)[0])}"' if names else "something"
    if stock:
        words = "and so replaces it for every model of the process"
        state.report("S11", node, f"puts {what} into {printable_excerpt(table)}, {words}.")
    else:
        state.report("S11", node, f"puts {what} into {printable_excerpt(table)}, which others use.", WARNING)


def _operator(state: State, path: str, call: Call) -> None:
    texts = [text for values in (*call.arguments, *call.keywords.values()) for text in known_strings(values)]
    torchs = [text for text in texts[:2] if TORCH_OPERATORS.match(text)]
    if torchs:
        words = f'replaces or adds to torch\'s own operators ("{printable_excerpt(torchs[0])}") for the whole process'
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.", ERROR)
    elif not texts and path.endswith("Library"):
        state.report("S11", call.node, f"{path}(...) changes operators whose name is computed.", WARNING)


def computes_only(state: State, node: ast.Call, scope: Scope) -> bool:
    """``eval("[(1, 3)] + [(2, 3)]")``: the text is written out, and holds neither a name nor a call."""
    if not isinstance(node.func, ast.Name) or len(node.args) != 1 or node.keywords:
        return False
    text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    if not isinstance(text, str) or len(text) > LONGEST_ANNOTATION:
        return False
    if state.look_for(node.func.id, scope) != (Ref("builtins.eval"),):
        return False
    try:
        return all(isinstance(part, LITERALS) for part in ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def report_code(state: State, functions: Values, call: Call) -> None:
    """Code that is handed to something which may make a function out of it, and commands for a shell."""
    unknown = not functions or has_unknown(functions)
    unknown = unknown or any(path.startswith("builtins.type()") for path in imported_paths(functions))
    first = imported_paths(call.argument(0, "code"))
    if unknown and not CODE.isdisjoint(first):
        words = "gets compiled code, which it may run, or make into a function."
        state.report("S15", call.node, f"a function that is not known {words}")
    if unknown and "shell" in call.keywords and call.is_always(BY_NAME_ONLY, "shell", True):
        state.report("S02", call.node, "a function that is not known gets shell=True, and so starts a shell.")
