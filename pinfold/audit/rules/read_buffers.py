"""Whether a call of the model reads a buffer: one that nothing reads can hold anything (P12)."""

import ast

from pinfold.audit.reachable import ReachableCode, call_name, is_self_attribute, string
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.common.trees import every, walk

NOT_NUMBERS = ("shape", "dtype", "device", "ndim", "size", "dim", "numel", "is_meta")  # asked of it, and not read
ALL = {"buffers", "named_buffers", "_buffers", "state_dict", "get_buffer"}
CALLED = {"forward", "generate", "prepare_inputs_for_generation", "reset_parameters", "tie_weights"}  # by others
PLAIN = {"Module", "PreTrainedModel", "GenerationMixin", "ABC", "object"}  # bases that read none of its buffers


def may_be_read(code: ReachableCode, cls: str, name: str, without: NotBuilt) -> bool:
    """Whether some code that a call can come to reads a buffer by its name, by a text, or with all others."""
    if not name or not ALL.isdisjoint(code.mentioned):
        return True
    owners = code.folder.lineage(cls)
    below = [other for other in code.classes if cls in code.folder.lineage(other)]
    bases = {base for each in (*owners, *below) for base, _ in code.folder.bases(each)} - set(code.folder.classes)
    if bases - PLAIN:
        return True
    for module in code.modules:
        registers = {call.args[0] for call in every(module.tree, ast.Call) if _registers(call)}
        texts = (node for node in every(module.tree, ast.Constant) if string(node) == name)
        if any(node not in registers for node in texts):
            return True
        left_out = _not_run(code, module.tree, without)
        asked = {node.value for node in every(module.tree, ast.Attribute) if node.attr in NOT_NUMBERS}
        for node in every(module.tree, ast.Attribute):
            if node.attr == name and isinstance(node.ctx, ast.Load) and node not in asked | left_out:
                return True
    return False


def _registers(call: ast.Call) -> bool:
    return call_name(call) == "register_buffer" and bool(call.args)


def _not_run(code: ReachableCode, tree: ast.Module, without: NotBuilt) -> set[ast.AST]:
    """Nodes that a plain call does not come to: in training, in branches that are ruled out, in methods of users."""
    nodes = {node for node in walk(tree) if id(node) in without.nodes}
    for choice in every(tree, ast.If):
        if is_self_attribute(choice.test) and choice.test.attr == "training":
            nodes |= {part for statement in choice.body for part in walk(statement)}
    for cls in every(tree, ast.ClassDef):
        for method in (part for part in cls.body if isinstance(part, ast.FunctionDef)):
            called = method.name.startswith("_") or method.name in (code.mentioned | CALLED)
            nodes |= set() if called or method.decorator_list else set(walk(method))
    return nodes
