"""P51: caches of the folder that derive from transformers' own, as they were up to 4.53.

Until then DynamicCache kept its tensors in the lists key_cache and value_cache, and Cache was built without arguments.
Later ones keep layers, and Cache asks for them (the laboratory's P51 cases).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, assignments, call_name, is_none, is_self_attribute
from pinfold.audit.rules.certain import GENERATE, CertainCalls
from pinfold.common.trees import every
from pinfold.folder.releases import release_ranges

LISTS = ("key_cache", "value_cache")
# Names that caches of some releases have as properties without a setter.
PROPERTIES = ("seen_tokens", "max_cache_len", "max_batch_size", "is_compileable", "is_initialized", "is_sliding")
IN_GENERATE = "P51.generate"  # only a step of generate builds it
PLACE = "transformers"
SUPER = "super().__init__"


def own_caches(code: ReachableCode, certain: CertainCalls) -> Iterator[Finding]:
    """P51: the constructor of Cache without its layers, and lists that are not there."""
    for cls in code.classes:
        base = stock_base(code, cls)
        if base not in ("Cache", "DynamicCache"):
            continue
        built = [certain.stage[call] for call in certain.stage if call_name(call) == cls]
        faults = [_without_layers(code, cls) if base == "Cache" else _lists(code, cls), _by_place(code, cls, base)]
        for case, node, words, fix in (fault for fault in (*faults, *_properties(code, cls)) if fault is not None):
            if not (affected := harmed(case, code.lowest_version)):
                continue
            yield code.finding(
                "P51",
                f"{cls} {words} in transformers {release_ranges(affected)}.",
                cls,
                node,
                fix=fix,
                releases=affected,
                severity=ERROR if built else WARNING,
                case=IN_GENERATE if set(built) == {GENERATE} else case,
            )


def stock_base(code: ReachableCode, cls: str) -> str:
    """The cache of transformers that a class derives from; "" for another class."""
    for owner in code.folder.lineage(cls):
        for base, place in code.folder.bases(owner):
            if place.split(".")[0] == PLACE and base.endswith("Cache"):
                return base
    return ""


def _without_layers(code: ReachableCode, cls: str) -> tuple[str, ast.AST, str, str] | None:
    """super().__init__() in a class that derives from Cache itself, and a class without a constructor."""
    init = code.folder.method(cls, "__init__")
    calls = [call for call in every(init[1], ast.Call) if call_name(call) == "__init__"] if init else []
    if init and (not calls or any(call.args or call.keywords for call in calls)):
        return None
    return (
        "P51.without_layers",
        calls[0] if calls else code.folder.classes[cls][1],
        "builds a Cache without layers, which raises a ValueError or a TypeError",
        f"Derive {cls} from DynamicCache, whose constructor needs nothing.",
    )


def _lists(code: ReachableCode, cls: str) -> tuple[str, ast.AST, str, str] | None:
    """key_cache and value_cache of self, in a class that derives from DynamicCache."""
    own = {node for owner in code.folder.lineage(cls) for node in every(code.folder.classes[owner][1], ast.Attribute)}
    uses = sorted(
        (node for node in own if is_self_attribute(node) and node.attr in LISTS), key=lambda node: node.lineno
    )
    if not uses or any(code.folder.method(cls, name) for name in LISTS) or _asks(code, cls):
        return None
    stores = [node for node in uses if isinstance(node.ctx, ast.Store)]
    first = (stores or uses)[0]
    fix = "Keep the tensors under a name of its own, and write update and get_seq_length with it."
    if stores:
        return (
            "P51.sets_lists",
            first,
            f"sets {first.attr}, which DynamicCache has as a property without a setter",
            fix,
        )
    return "P51.reads_lists", first, f"reads {first.attr}, which DynamicCache does not have", fix


def _properties(code: ReachableCode, cls: str) -> Iterator[tuple[str, ast.AST, str, str]]:
    """self.max_cache_len = 64 in the constructor, where the name is a property of transformers' cache."""
    init = code.folder.method(cls, "__init__")
    for statement in init[1].body if init else ():
        for target, _ in assignments(statement):
            if not is_self_attribute(target) or target.attr not in PROPERTIES:
                continue
            if not code.folder.method(cls, target.attr) and code.folder.attribute(cls, target.attr) is None:
                yield (
                    f"P51.sets_{target.attr}",
                    statement,
                    f"sets {target.attr}, which a cache has as a property without a setter",
                    f"Keep it under a name of its own, such as own_{target.attr}.",
                )


def _by_place(code: ReachableCode, cls: str, base: str) -> tuple[str, ast.AST, str, str] | None:
    """super().__init__(config): up to 4.53 the one argument of DynamicCache was a number that nothing read."""
    init = code.folder.method(cls, "__init__") if base == "DynamicCache" else None
    for statement in init[1].body if init else ():
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not (isinstance(call, ast.Call) and call.args and ast.unparse(call.func) == SUPER):
            continue
        if not isinstance(call.args[0], ast.Starred) and not is_none(call.args[0]):
            return (
                "P51.argument_by_place",
                call,
                "hands DynamicCache an argument without a name, which it takes for states",
                "Call super().__init__() alone.",
            )
    return None


def _asks(code: ReachableCode, cls: str) -> bool:
    """Whether it asks if the lists are there."""
    for owner in code.folder.lineage(cls):
        for call in every(code.folder.classes[owner][1], ast.Call):
            if call_name(call) in ("hasattr", "getattr"):
                return True
    return False
