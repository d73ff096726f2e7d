"""What is taken out of all that Python has loaded: a module that no import names, and what is then called on it."""

import re

from pinfold.audit.security.lookups import SOME_MODULE
from pinfold.audit.security.state import NOTHING_TO_SAY, Scope, State
from pinfold.audit.security.tables.methods import METHODS
from pinfold.audit.security.values import Call, Ref, Values, imported_paths, printable_excerpt, sequence_of

# Objects of which nobody knows which they are: path up to the object, and what is taken out of it.
TAKEN_OUT = re.compile(
    r"^(sys\.modules\[\]|gc\.get_(?:objects|referrers|referents)\(\)|inspect\.getmodule\(\)|__(?:loader|spec)__"
    r"|.*\.__(?:loader|spec)__)((?:[.\[(].*)?)$"
)
# What a module or a loader says of itself.
OF_MODULES = re.compile(r"^\.__(?:name|file|doc|package|path|version)__\b|^\.(?:name|parent|origin|has_location)\b")


def loaded_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Calls that read the table of loaded modules, and calls of what was taken out of it."""
    owner, _, method = path.rpartition(".")
    if owner == "sys.modules" and method in ("values", "items", "copy"):
        words = "reads the table of all modules that are loaded; which is used cannot be followed"
        state.report("S15", call.node, f"{path}() {words}.")
        module: Values = (Ref(SOME_MODULE),)
        if method == "copy":
            return (Ref("sys.modules"),)
        return sequence_of([sequence_of([(), module]) if method == "items" else module])
    if path == "builtins.dict" and "sys.modules" in imported_paths(call.argument(0, "iterable")):
        return (Ref("sys.modules"),)
    taken = TAKEN_OUT.match(path) if "modules[]" in path or "()" in path or "__" in path else None
    if taken and taken[2] and not OF_MODULES.match(taken[2]):
        words = "calls what was taken out of everything that is loaded; what it does is not known here"
        state.report("S15", call.node, f"{printable_excerpt(path)}(...) {words}.")
        if method in METHODS:
            code, does = METHODS[method]
            state.report(code, call.node, f".{method}(...) {does}.")
    return NOTHING_TO_SAY
