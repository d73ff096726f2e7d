"""What a folder's own code does about saving: P57 beside own_methods.py, and P37 and P11c of loops.

A save_pretrained that cannot be called with a directory alone, or that writes no config.json; weights that are left
out of the file; and one module, or one tensor, that a loop puts into each layer.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    defaults,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.audit.rules.made_weights import made_by
from pinfold.audit.rules.members import mains
from pinfold.audit.rules.own_methods import writes_weights
from pinfold.audit.rules.saving import holds_weights
from pinfold.common.trees import every, walk

SETTINGS = ("config.json", "CONFIG_NAME", "save_pretrained", "to_json_file", "to_json_string")
TENSORS = ("weight", "bias")
LEFT_OUT = "_keys_to_ignore_on_save"
PART, RENAMED = "P57.state_dict_part", "P57.state_dict_renamed"
OTHERWISE = "P57.writes_elsewhere"  # what is saved cannot be loaded again, or is another model: in every release


def saves_otherwise(code: ReachableCode) -> Iterator[Finding]:
    """P57: a save_pretrained with further arguments or without settings, and weights that are not saved."""
    for cls in mains(code):
        own = code.folder.method(cls, "save_pretrained")
        loads = code.folder.method(cls, "from_pretrained")
        if own and not loads and not any(isinstance(statement, ast.Raise) for statement in own[1].body):
            yield from _own_method(code, cls, own)
        if (keys := _left_out(code, cls)) and (affected := harmed(OTHERWISE, code.lowest_version)):
            yield code.finding(
                "P57",
                f"{cls}.{LEFT_OUT} leaves {keys[0]} out of what is saved, and nothing else makes it again.",
                cls,
                fix=f"Take it out of {LEFT_OUT}.",
                releases=affected,
                case=OTHERWISE,
            )


def states_of_its_own(code: ReachableCode) -> Iterator[Finding]:
    """P57: a state_dict that leaves weights out, or gives them other names."""
    for cls in mains(code):
        own = code.folder.method(cls, "state_dict")
        if own is None or code.folder.method(cls, "from_pretrained") or code.folder.method(cls, "save_pretrained"):
            continue
        case, what = next(_changes(code, own[1]), ("", ""))
        if case and (affected := harmed(case, code.lowest_version)):
            does = "leaves weights out" if case == PART else "gives weights other names"
            yield code.finding(
                "P57",
                f"{cls}.state_dict {does}, {what}: save_pretrained writes what it returns, and from_pretrained goes "
                "by it.",
                own[0],
                own[1],
                fix="Give the method another name, and leave state_dict as it is.",
                releases=affected,
                case=case,
            )


def _changes(code: ReachableCode, function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """The case of what a function does with the keys of a state, and the code of it."""
    renamed = {
        call
        for node in every(function, ast.Assign)
        for target, value in assignments(node)
        if isinstance(target, ast.Subscript) and isinstance(value, ast.Call) and call_name(value) == "pop"
        for call in [value]
    }
    for node in walk(function):
        shown = ast.unparse(node)[:60] if isinstance(node, (ast.DictComp, ast.Call, ast.Delete)) else ""
        if isinstance(node, ast.DictComp):
            names = {each.id for part in node.generators for each in every(part.target, ast.Name)}
            if isinstance(node.key, (ast.JoinedStr, ast.BinOp, ast.Call)) and _mentions_one(node.key, names):
                yield RENAMED, shown
            elif any(_of_weights(code, test) for part in node.generators for test in part.ifs):
                yield PART, shown
        elif isinstance(node, ast.Call) and node in renamed:
            yield RENAMED, shown
        elif _drops(node) and _of_weights(code, node):
            yield PART, shown


def _drops(node: ast.AST) -> bool:
    return isinstance(node, ast.Delete) or (isinstance(node, ast.Call) and call_name(node) == "pop")


def _mentions_one(node: ast.AST, names: set[str]) -> bool:
    return any(each.id in names for each in every(node, ast.Name))


def _of_weights(code: ReachableCode, node: ast.AST) -> bool:
    """Whether a condition or a key has the name of a part of the folder's that holds weights, which nothing ties."""
    tied = {
        string(part) or ""
        for cls in code.models
        for table in [code.folder.attribute(cls, "_tied_weights_keys")]
        for part in (walk(table) if table is not None else ())
    }
    parts = {name for names in code.parameters.values() for name in names} | {
        target.attr
        for cls in code.torch_modules
        for each in every(code.folder.classes[cls][1], *ASSIGNMENTS)
        for target, value in assignments(each)
        if is_self_attribute(target) and code.builds_module(value)
    }
    texts = {text for each in every(node, ast.Constant) if (text := string(each))}
    return any(
        set(text.split(".")) & parts and not any(text in key or key in text for key in tied if key) for text in texts
    )


def _own_method(code: ReachableCode, cls: str, own: tuple[str, ast.FunctionDef]) -> Iterator[Finding]:
    usual = defaults(own[1])
    further = [each.arg for each in parameters(own[1])[2:] if each.arg not in usual]
    words, fix = "", ""
    if further:
        words = f"cannot be called with a directory alone: it asks for {further[0]}"
        fix = f"Give {further[0]} a default."
    elif (
        writes_weights(code, cls, own[1])
        and not _mentions(own[1], SETTINGS)
        and not _goes_elsewhere(code, own[1])
        and not own[1].decorator_list
    ):
        words = "writes no config.json, without which from_pretrained cannot load it"
        fix = "Call self.config.save_pretrained(save_directory) as well."
    if words and (affected := harmed(OTHERWISE, code.lowest_version)):
        words = f"{cls}.save_pretrained {words}."
        yield code.finding("P57", words, own[0], own[1], fix=fix, releases=affected, case=OTHERWISE)


def _mentions(function: ast.FunctionDef, words: tuple[str, ...]) -> bool:
    names = {getattr(node, "attr", "") or getattr(node, "id", "") or string(node) or "" for node in walk(function)}
    return any(word in name for name in names for word in words)


def _goes_elsewhere(code: ReachableCode, function: ast.FunctionDef) -> bool:
    """Whether it calls a method or a function of the folder, which may write the settings."""
    for call in calls(function):
        if is_self_attribute(call.func) and any(code.folder.method(cls, call_name(call)) for cls in code.models):
            return True
        if isinstance(call.func, ast.Name) and any(
            isinstance(node, ast.FunctionDef) and node.name == call.func.id
            for module in code.modules
            for node in module.tree.body
        ):
            return True
    return False


def _left_out(code: ReachableCode, cls: str) -> list[str]:
    """Weights of the class's own modules that it does not save, and that are tied to nothing."""
    value = code.folder.attribute(cls, LEFT_OUT)
    tied = {
        string(node) or ""
        for owner in code.models
        for table in [code.folder.attribute(owner, "_tied_weights_keys")]
        for node in (walk(table) if table is not None else ())
    }
    made = {
        target.attr
        for owner in code.folder.lineage(cls)
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for target, part in assignments(node)
        if is_self_attribute(target) and code.builds_module(part)
    }
    exposed = code.folder.method(cls, "get_output_embeddings")
    heads = {part for node in every(exposed[1], ast.Return) for part in chain(node.value)} if exposed else set()
    keys = [string(node) or "" for node in (value.elts if isinstance(value, (ast.List, ast.Tuple)) else ())]
    return [
        key
        for key in keys
        if key.split(".")[0] in made - heads
        and key.split(".")[-1] in TENSORS
        and key not in tied
        and not made_by(code, cls, key)
    ]


def shared_in_loops(code: ReachableCode) -> Iterator[Finding]:
    """P37 and P11c: for layer in self.layers[1:]: layer.mix = self.layers[0].mix, or the weight of it."""
    declared = {
        part
        for cls in code.models
        for table in [code.folder.attribute(cls, "_tied_weights_keys")]
        for node in (walk(table) if table is not None else ())
        for part in (string(node) or "").replace("\\", "").split(".")
    }
    for cls in code.torch_modules:
        for function in _while_built(code, cls):
            for loop in every(function, ast.For):
                yield from _of_loop(code, cls, loop, declared)
        ties = code.folder.method(cls, "tie_weights")
        for loop in every(ties[1], ast.For) if ties and ties[0] == cls else ():
            yield from _tied_in_loop(code, cls, loop, declared)


def _while_built(code: ReachableCode, cls: str) -> Iterator[ast.FunctionDef]:
    """The class's own constructor, and methods of it that plain statements there call."""
    body = {part.name: part for part in code.folder.classes[cls][1].body if isinstance(part, ast.FunctionDef)}
    init = body.get("__init__")
    if init is None:
        return
    yield init
    for statement in init.body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and is_self_attribute(call.func) and call.func.attr in body:
            yield body[call.func.attr]


def _of_loop(code: ReachableCode, cls: str, loop: ast.For, declared: set[str]) -> Iterator[Finding]:
    turn = loop.target.id if isinstance(loop.target, ast.Name) else ""
    for statement in loop.body:
        for target, value in assignments(statement):
            path, source = chain(target), chain(value)
            if len(path) < 2 or path[0] != turn or source[:1] != ["self"] or len(source) < 2 or path[-1] != source[-1]:
                continue
            if declared & set(path[1:]):
                continue
            name = ".".join(path[1:])
            if path[-1] in TENSORS and len(path) > 2:
                case = "P11c.in_loop"
                yield code.finding(
                    "P11c",
                    f"{cls}: a loop gives each {turn} the same {name}; it is another one in each after loading.",
                    cls,
                    statement,
                    fix="Make one for each place.",
                    releases=harmed(case, code.lowest_version),
                    case=case,
                )
            elif _is_module(code, path[-1]):
                yield code.finding(
                    "P37",
                    f"{cls}: a loop puts one {name} into each {turn}: save_pretrained refuses weights that are stored "
                    "under two names.",
                    cls,
                    statement,
                    fix="Make one for each place.",
                    case="P37.module_twice",
                )


def _tied_in_loop(code: ReachableCode, cls: str, loop: ast.For, declared: set[str]) -> Iterator[Finding]:
    """layer.weight = self.layers[0].weight in tie_weights, which runs again after the load: saving alone fails."""
    turn = loop.target.id if isinstance(loop.target, ast.Name) else ""
    for statement in loop.body:
        for target, value in assignments(statement):
            path, source = chain(target), chain(value)
            names = {*path[1:], *source[1:], *chain(loop.iter)} - {*TENSORS, "self"}
            if path[:1] != [turn] or source[:1] != ["self"] or path[-1] not in TENSORS or declared & names:
                continue
            yield code.finding(
                "P37",
                f"{cls}.tie_weights gives each {turn} the same {path[-1]}: save_pretrained refuses weights that are "
                "stored under two names.",
                cls,
                statement,
                fix="Make one for each place.",
                case="P37.tied_in_loop",
            )


def _is_module(code: ReachableCode, name: str) -> bool:
    """Whether some class of the folder has a module with weights under this name."""
    return any(
        is_self_attribute(target) and target.attr == name and code.builds_module(part) and holds_weights(code, part)
        for cls in code.torch_modules
        for node in every(code.folder.classes[cls][1], *ASSIGNMENTS)
        for target, part in assignments(node)
    )
