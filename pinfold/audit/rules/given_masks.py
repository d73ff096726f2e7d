"""Whether a folder's own uses of generate hand it a mask: in its code, and in the examples of its card.

generate looks only at what it is given: words alone are refused nowhere (P47).
"""

import ast
import re
from collections.abc import Iterator

from pinfold.audit.reachable import ReachableCode, call_name, chain, string
from pinfold.common.errors import UserError
from pinfold.common.trees import every
from pinfold.folder.model_folder import read_text

MASK = "attention_mask"
LARGEST = 1_000_000
EXAMPLE = re.compile(r"^```[ \t]*(?:python|py)?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"^(?:>>>|\.\.\.) ?", re.MULTILINE)


def goes_without_mask(code: ReachableCode) -> bool:
    """Whether what the folder itself shows of generate uses no mask, or expects that there may be none."""
    calls = [*_own_calls(code), *_examples(code)]
    if calls:
        return not any(_may_give_mask(call) for call in calls)
    return any(_asks_for_mask(node) for node in _updates(code))


def _own_calls(code: ReachableCode) -> Iterator[ast.Call]:
    """self.generate(...) and model.generate(...) in the code; a generate of its own that goes on is not a use."""
    for module in code.modules:
        inside = {
            call
            for function in every(module.tree, ast.FunctionDef)
            if function.name == "generate"
            for call in every(function, ast.Call)
        }
        for call in every(module.tree, ast.Call):
            if call not in inside and chain(call.func)[-1:] == ["generate"] and len(chain(call.func)) > 1:
                yield call


def _examples(code: ReachableCode) -> Iterator[ast.Call]:
    """model.generate(...) in the card's examples."""
    card = code.directory / "README.md"
    if not card.exists():
        return
    try:
        text = read_text(card, code.directory, LARGEST, "")
    except UserError:
        return
    for example in EXAMPLE.findall(text):
        try:
            tree = ast.parse(PROMPT.sub("", example))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        yield from (call for call in ast.walk(tree) if isinstance(call, ast.Call) and call_name(call) == "generate")


def _may_give_mask(call: ast.Call) -> bool:
    """generate(**inputs), generate(ids, attention_mask=mask); one that is given nothing says nothing."""
    starred = any(isinstance(value, ast.Starred) for value in call.args)
    return starred or any(k.arg in (None, MASK) for k in call.keywords) or not (call.args or call.keywords)


def _updates(code: ReachableCode) -> Iterator[ast.AST]:
    """The nodes of what the models do themselves between two steps of generate."""
    for cls in code.models:
        if own := code.folder.method(cls, "_update_model_kwargs_for_generation"):
            yield from every(own[1], ast.Compare)


def _asks_for_mask(node: ast.AST) -> bool:
    """ "attention_mask" in model_kwargs"""
    return isinstance(node, ast.Compare) and string(node.left) == MASK and isinstance(node.ops[0], (ast.In, ast.NotIn))
