"""P32: tuples that a folder makes of the cache itself, with to_legacy_cache(), and reads before anything is in them.

An empty cache of 4.48 to 4.53 becomes a tuple without layers, and one of 4.54 to 4.57 layers without tensors.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ASSIGNMENTS, ReachableCode, assignments, call_name, calls
from pinfold.audit.rules.caches import get_the_cache, is_handed_a_cache, of_cache
from pinfold.audit.rules.handed import case_of_tuples, expected, where_true
from pinfold.common.trees import every, walk

CONVERTS, LENGTH = "to_legacy_cache", "get_seq_length"
CASES = {"P32.tuples_shape": "P32.legacy_shape", "P32.tuple_cache": "P32.legacy_shape_says_it_takes"}


def empty_tuples(code: ReachableCode) -> Iterator[Finding]:
    """P32: past_key_values.to_legacy_cache()[0][0].shape of a cache that nobody asked whether it has anything."""
    for cls in code.models:
        if code.folder.is_stock(cls) or not is_handed_a_cache(code, cls):
            continue
        case = CASES.get(case_of_tuples(code, cls) or "", "")
        if not case or not (affected := harmed(case, code.lowest_version)):
            continue
        for name, (owner, function) in get_the_cache(code, cls):
            if (node := _read(function)) is not None:
                yield code.finding(
                    "P32",
                    f"{owner}.{name} makes tuples of the cache and reads {ast.unparse(node)[:60]}: the cache that "
                    "generate passes at first has nothing in it.",
                    owner,
                    node,
                    fix="Ask past_key_values.get_seq_length() for what the cache holds, and give each layer the cache "
                    "itself.",
                    releases=affected,
                    case=case,
                )
                break


def _read(function: ast.FunctionDef) -> ast.AST | None:
    """past[0][0].shape, where past is what to_legacy_cache() gave, and no question comes before it."""
    held = of_cache(function)
    if any(call_name(call) in (LENGTH, "len", "any", "all") for call in calls(function)):
        return None
    made = {
        target.id
        for node in every(function, *ASSIGNMENTS)
        for target, value in assignments(node)
        if isinstance(target, ast.Name) and value is not None and any(_converts(c, held) for c in calls(value))
    }
    left_out = where_true(function, made) | expected(function) | _of_other_ways(function)
    for node in every(function, ast.Attribute):
        inner = node.value
        if isinstance(inner, ast.Subscript) and isinstance(inner.value, ast.Subscript) and node not in left_out:
            tuples = inner.value.value
            if (isinstance(tuples, ast.Name) and tuples.id in made) or (
                isinstance(tuples, ast.Call) and _converts(tuples, held)
            ):
                return node
    return None


def _converts(call: ast.Call, held: set[str]) -> bool:
    of = call.func.value if isinstance(call.func, ast.Attribute) else None
    return call_name(call) == CONVERTS and isinstance(of, ast.Name) and of.id in held


def _of_other_ways(function: ast.FunctionDef) -> set[ast.AST]:
    """Nodes behind a question for something else than whether there is a cache."""
    nodes: set[ast.AST] = set()
    for test in every(function, ast.If, ast.IfExp):
        asks = isinstance(test.test, ast.Compare) and isinstance(test.test.ops[0], (ast.Is, ast.IsNot))
        if not asks:
            for part in [*test.body, *test.orelse] if isinstance(test, ast.If) else [test.body, test.orelse]:
                nodes |= set(walk(part))
    return nodes
