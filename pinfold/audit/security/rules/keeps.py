"""Calls that leave something behind in the process: code that a library keeps, settings, contexts without an end."""

import functools
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.rules.process import REGISTRIES
from pinfold.audit.security.state import State
from pinfold.audit.security.tables.library import does
from pinfold.audit.security.values import Call, Instance, Own, Values, known_strings, printable_excerpt

# Names of functions that keep what they are given, and of those that change what all others use.
KEEPS = re.compile(r"\._?(?:un)?(?:register|add|install|override|subscribe|inject|set)(?:_\w+)?(?:\(\))?$")
SETS = re.compile(
    r"^[a-z_0-9.]+\.(?:set_(?!seed|num_|verbosity|float32|grad|rng|stream|device|autocast|warn|module|submodule"
    r"|adapter|peft|trainable|layer|attr|data|state|input|output|weight|bias|param|tensor|lora|requires|init)\w+"
    r"|inject_\w+)$"
)
# What a model folder is meant to register, and what is a rule's own matter.
EXPECTED = re.compile(
    r"docstring|\.Auto\w+\.register$|^torch\.library\.|^builtins\.|\.abc\.|\.register_for_auto_class|\.nn\."
)
KERNEL = re.compile(r"^[^/:\s]+/[^/:\s]+(?:@[^/:\s]+)?(?::[^/:\s]+)?$")  # as transformers names a repository of them
IMPLEMENTATIONS = frozenset(
    f"{start}{name}"
    for name in ("attn_implementation", "attn_implementation_internal", "experts_implementation")
    for start in ("", "_")
)
ENTERS = (").__enter__", ").__aenter__")
WORDS = {"program": ("S02", "starts a program"), "network": ("S03", "reaches the network")}
# Of huggingface_hub: what is changed there, and not only asked for.
CHANGES_HUB = re.compile(
    r"\.(?:create|upload|delete|update|add|move|duplicate|super_squash|preupload|push|run|scale|pause|resume|restart"
    r"|set|request|merge|comment|edit|rename|change|hide|accept|reject|grant|cancel|enable|disable|send)_\w+$"
)


def report_kept(state: State, path: str, call: Call) -> None:
    """What a call of a library's function leaves behind, and what it does whatever it is given."""
    last = path.rpartition(".")[2]
    if what := does(path):
        code, words = WORDS[what]
        severe = path.startswith("huggingface_hub.") and CHANGES_HUB.search(path)
        words = "changes something on the Hub, with the user's own token" if severe else words
        state.report(code, call.node, f"{printable_excerpt(path)}(...) {words}.", ERROR if severe else WARNING)
    if path.startswith("logging.") and path.endswith((").addFilter", ").addHandler")) and _hands_code(call, Instance):
        words = "has code of this folder read what others log"
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    keeps, sets = _by_name(path)
    if keeps and _hands_code(call):
        words = "keeps code of this folder, which runs for others too"
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    elif sets:
        words = "changes a setting of the whole process"
        state.report("S11", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    if path.endswith(ENTERS) and not getattr(state.function, "name", "").lstrip("_").startswith(("enter", "aenter")):
        words = "enters what lasts until something leaves it"
        state.report("S11", call.node, f"{printable_excerpt(path)}() {words}.", WARNING)
    for name in IMPLEMENTATIONS.intersection(call.keywords):
        report_kernels(state, name, call.keywords[name], call)
    if last == "push_to_hub" and getattr(state.function, "name", "") != last:
        state.report("S03", call.node, ".push_to_hub(...) uploads to the Hub, with the user's own token.")


@functools.lru_cache(maxsize=1 << 14)
def _by_name(path: str) -> tuple[bool, bool]:
    """Whether a function has the name of one that keeps what it is given, and of one that sets what others use."""
    if "()" in path.removesuffix("()") or EXPECTED.search(path):
        return False, False
    return bool(KEEPS.search(path)) and not REGISTRIES.search(path), bool(SETS.match(path))


def report_kernels(state: State, name: str, values: Values, call: Call) -> None:
    """An implementation that is the name of a repository: transformers runs the code that is there."""
    if name not in IMPLEMENTATIONS and name not in ("set_attn_implementation", "set_experts_implementation"):
        return
    for text in known_strings(values):
        if KERNEL.match(text):
            words = f'is "{printable_excerpt(text)}": code of that repository is downloaded and run'
            state.report("S05", call.node, f"{name} {words}.")


def _hands_code(call: Call, *kinds: type) -> bool:
    """Whether a function or a class of the folder is among the arguments, or a value of further kinds."""
    values = (value for group in (*call.arguments, *call.keywords.values()) for value in group)
    return any(isinstance(value, (Own, *kinds)) for value in values)
