"""P53: a model that goes on from a state of its own, of which beam search knows nothing.

In beams generate copies the best texts over the others, and their caches with them: past_key_values up to 5.12, some
more names (``state``, ``mems``) from 5.13 on, where one that it cannot reorder raises a ValueError. A state under
another name, or in an older release, stays with the text that was there before: other text is written.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.reachable import ReachableCode, call_name, calls, parameters, string
from pinfold.audit.rules.generation import CACHES, generates, generates_itself, says_no_cache
from pinfold.common.trees import every, walk

HANDS_ON, PREPARES = "_update_model_kwargs_for_generation", "prepare_inputs_for_generation"
SETTINGS = ("generation_config.json", "config.json")  # generate reads the first of them that is there


def own_state(code: ReachableCode) -> Iterator[Finding]:
    """P53: what one step hands on to the next, in place of the text that it has read."""
    stored = next((name for name in SETTINGS if name in code.configs), "")
    off = code.configs.get(stored, {}).get("use_cache") is False
    for cls in code.models:
        hands_on, prepares = code.folder.method(cls, HANDS_ON), code.folder.method(cls, PREPARES)
        forward = code.folder.method(cls, "forward")
        if code.folder.is_stock(cls) or not (hands_on and prepares and forward):
            continue
        if off or not generates(code, cls) or generates_itself(code, cls) or code.folder.method(cls, "_beam_search"):
            continue
        takes = {argument.arg for argument in parameters(forward[1])}
        states = [name for name in _handed_on(hands_on[1]) if name in takes and name not in CACHES]
        if takes & set(CACHES) or not states or not _cuts_the_text(prepares[1], states[0]):
            continue
        fix = f"Hand {states[0]} on only where it is not None. " if _always(hands_on[1], states[0]) else ""
        if not says_no_cache(code):
            fix += "Set use_cache=False in the configuration class. "
        if stored:
            fix += f'Write "use_cache": false into {stored}. '
        yield code.finding(
            "P53",
            f"{cls} goes on from {states[0]}, which beam search does not reorder: with num_beams it writes other "
            "text, or raises a ValueError.",
            hands_on[0],
            hands_on[1],
            fix=fix.strip(),
            severity=WARNING,
        )


def _handed_on(function: ast.FunctionDef) -> list[str]:
    """Names that it puts into the arguments of the next step: a["x"] = y, a.update(x=y), a.update({"x": y})."""
    names = [string(target.slice) for target in _targets(function)]
    for call in calls(function):
        if call_name(call) == "update":
            names += [keyword.arg for keyword in call.keywords]
            names += [string(key) for part in call.args if isinstance(part, ast.Dict) for key in part.keys]
    return [name for name in names if name]


def _targets(function: ast.AST) -> list[ast.Subscript]:
    return [
        target for node in every(function, ast.Assign) for target in node.targets if isinstance(target, ast.Subscript)
    ]


def _always(function: ast.FunctionDef, name: str) -> bool:
    """Whether it is put there on no condition."""
    conditions = [node for node in walk(function) if isinstance(node, (ast.If, ast.IfExp))]
    inside = {string(target.slice) for condition in conditions for target in _targets(condition)}
    return name not in inside


def _cuts_the_text(function: ast.FunctionDef, state: str) -> bool:
    """Whether the tokens that were read before are left out, where there is a state: ids[:, -1:] and the like."""
    named = any(
        (isinstance(node, ast.Name) and node.id == state) or string(node) == state
        for node in walk(function)
        if isinstance(node, (ast.Name, ast.Constant))
    )
    cut = any(
        isinstance(part, ast.Slice) or (isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub))
        for node in every(function, ast.Subscript)
        if isinstance(node.slice, ast.Tuple)
        for part in node.slice.elts[1:2]
    )
    return named and cut
