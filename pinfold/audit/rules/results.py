"""P83: a forward that gives generate something else than a ModelOutput.

generate reads its logits by name, and its cache as from a dict: "past_key_values" in outputs up
to some release of 5, outputs.get(...) later (measured). A tuple has neither.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, assignments, call_name, calls, own_nodes
from pinfold.audit.rules.generation import generates, generates_itself, has_unknown_base, writes_text
from pinfold.audit.rules.members import mains
from pinfold.common.trees import every, walk

UNCHANGED = (  # decorators that give what forward gives
    *("no_grad", "inference_mode", "add_start_docstrings_to_model_forward", "replace_return_docstrings"),
    *("add_code_sample_docstrings", "auto_docstring", "add_start_docstrings", "add_end_docstrings"),
)
OWN_STEPS = ("_sample", "_greedy_search", "_update_model_kwargs_for_generation")
AS_A_TABLE = ("__contains__", "__iter__", "__getitem__", "__getattr__", "get")
NO_BASES = ("object", "ABC", "Generic", "Protocol")
WORDS = {
    "tuple": "a tuple, which has no logits",
    "dataclass": "{0}, which cannot be read like a dict, as a ModelOutput can",
    "namedtuple": "{0}, which has no get(...) as transformers' outputs have",
}


def results(code: ReachableCode) -> Iterator[Finding]:
    """P83: every way through forward gives generate something of another kind."""
    for cls in mains(code):
        definition = code.folder.method(cls, "forward")
        if definition is None or generates_itself(code, cls) or has_unknown_base(code, cls):
            continue
        if not (writes_text(code, cls) or generates(code, cls)):
            continue
        owner, forward = definition
        if owner not in code.folder.classes or not _is_plain(code, cls, forward):
            continue
        returned = list(_returned(forward))
        kinds = {kind for node in returned for kind in _kinds(code, forward, node.value)}
        if len(kinds) != 1 or ("", "") in kinds:
            continue
        kind, name = kinds.pop()
        if kind != "tuple" and any(code.folder.method(cls, each) for each in OWN_STEPS):
            continue
        if affected := harmed(f"P83.{kind}#generate", code.lowest_version):
            yield code.finding(
                "P83",
                f"{cls}.forward gives {WORDS[kind].format(name)}: generate raises.",
                owner,
                returned[-1],
                fix="Return CausalLMOutputWithPast(logits=..., past_key_values=...), or a dataclass that derives from "
                "transformers.utils.ModelOutput.",
                releases=affected,
                case=f"P83.{kind}#generate",
            )


def _is_plain(code: ReachableCode, cls: str, forward: ast.FunctionDef) -> bool:
    """Whether forward gives what its own return statements say, and transformers' own loop of generate asks for it."""
    names = {call_name(each) if isinstance(each, ast.Call) else _last(each) for each in forward.decorator_list}
    wrapped = any(code.folder.method(cls, name) for name in ("__call__", "_call_impl", "_sample", "_greedy_search"))
    return names <= set(UNCHANGED) and not wrapped


def _last(node: ast.expr) -> str:
    return getattr(node, "attr", "") or getattr(node, "id", "")


def _returned(forward: ast.FunctionDef) -> Iterator[ast.Return]:
    """Return statements, apart from those for a caller who wants a tuple: generate hands over return_dict=True."""
    for_tuples: set[ast.AST] = set()
    for node in every(forward, ast.If):
        branch: list[ast.stmt] = []
        if isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not):
            branch = node.body if _last(node.test.operand) == "return_dict" else []
        elif _last(node.test) == "return_dict":
            branch = node.orelse
        for_tuples |= {part for statement in branch for part in walk(statement)}
    for each in own_nodes(forward):
        if isinstance(each, ast.Return) and each not in for_tuples:
            yield each


def _kinds(code: ReachableCode, forward: ast.FunctionDef, value: ast.expr | None) -> Iterator[tuple[str, str]]:
    """(kind, class) of what may be returned; two empty words for what is not known."""
    if isinstance(value, ast.IfExp):
        if _last(value.test) != "return_dict":
            yield from _kinds(code, forward, value.orelse)
        yield from _kinds(code, forward, value.body)
    elif value is not None and _is_tuple(forward, value, 0):
        yield "tuple", ""
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        yield _kind_of_class(code, value.func.id)
    elif isinstance(value, ast.Name) and (given := _only_value(forward, value.id)) is not None:
        yield _kind_of_class(code, given.func.id) if isinstance(given.func, ast.Name) else ("", "")
    else:
        yield "", ""


def _only_value(forward: ast.FunctionDef, name: str) -> ast.Call | None:
    """The call whose result a local name holds, where nothing else is ever given to it."""
    given = [v for node in walk(forward) for t, v in assignments(node) if isinstance(t, ast.Name) and t.id == name]
    stores = [n for n in every(forward, ast.Name) if n.id == name and isinstance(n.ctx, ast.Store)]
    return given[0] if len(given) == len(stores) == 1 and isinstance(given[0], ast.Call) else None


def _is_tuple(forward: ast.FunctionDef, value: ast.expr, depth: int) -> bool:
    """(logits,), (loss,) + output, tuple(...), and a local name that always holds one of these."""
    if isinstance(value, ast.Tuple):
        return True
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return _is_tuple(forward, value.left, depth) or _is_tuple(forward, value.right, depth)
    if isinstance(value, ast.IfExp):
        return _is_tuple(forward, value.body, depth) and _is_tuple(forward, value.orelse, depth)
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "tuple"
    if isinstance(value, ast.Name) and depth < 3:
        given = [v for node in walk(forward) for t, v in assignments(node) if _last(t) == value.id]
        stores = [n for n in every(forward, ast.Name) if n.id == value.id and isinstance(n.ctx, ast.Store)]
        return bool(given) and len(given) == len(stores) and all(v and _is_tuple(forward, v, depth + 1) for v in given)
    return False


def _kind_of_class(code: ReachableCode, name: str) -> tuple[str, str]:
    """What a class of the folder is that derives from nothing that could make it an output."""
    if name not in code.folder.classes or any(code.folder.method(name, each) for each in AS_A_TABLE):
        return "", ""
    bases = {base for owner in code.folder.lineage(name) for base, _ in code.folder.bases(owner)}
    bases -= set(code.folder.classes)
    decorators = [each for owner in code.folder.lineage(name) for each in code.folder.classes[owner][1].decorator_list]
    plain = all("dataclass" in ast.unparse(each) for each in decorators)
    if bases == {"NamedTuple"} and not decorators:
        return "namedtuple", name
    if bases <= set(NO_BASES) and plain and (decorators or code.folder.method(name, "__init__")):
        metaclass = any(k for owner in code.folder.lineage(name) for k in code.folder.classes[owner][1].keywords)
        if not metaclass and not any(_adds(code, owner) for owner in code.folder.lineage(name)):
            return "dataclass", name
    return "", ""


def _adds(code: ReachableCode, name: str) -> bool:
    """Whether a method is put on the class from outside: Output.__contains__ = ..."""
    module = code.folder.classes[name][0]
    targets = (target for node in walk(module.tree) for target, _ in assignments(node))
    if any(isinstance(target, ast.Attribute) and _last(target.value) == name for target in targets):
        return True
    return any(
        call_name(call) == "setattr" and call.args and _last(call.args[0]) == name for call in calls(module.tree)
    )
