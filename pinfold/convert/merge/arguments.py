"""Arguments of a subclass's methods that the parent's callers would never fill."""

import ast

from pinfold.common.errors import UserError
from pinfold.convert.merge.functions import FUNCTIONS, parameters
from pinfold.convert.merge.members import Body
from pinfold.convert.merge.supers import super_call
from pinfold.convert.read.workspace import Conversion

CACHES = ("cache", "past_key_values", "past_key_value", "layer_past")  # what releases of transformers call it


def refuse_bare_init(child: Body, parent: Body, where: str, old: str) -> None:
    """A dataclass's fields are set by the __init__ that is made from them; one that is written leaves them unset.

    Raises:
        UserError: the parent is such a class, and the child has an __init__.
    """
    fields = [m for m in parent.members if isinstance(m.node, ast.AnnAssign)]
    if child.find("__init__") and fields and not parent.find("__init__"):
        raise UserError(
            f"{where}: {child.name} has an __init__, but {old} is a dataclass, whose fields it would leave unset; "
            "declare each field with its default (`window: int = 64`), and put code into __post_init__(self, **kwargs)"
        )


def refuse_old_arguments(conversion: Conversion, node: ast.ClassDef, parent: ast.ClassDef) -> None:
    """Arguments that the parent's callers pass under another name: the override would never see them.

    Raises:
        UserError: a method takes, or passes to its parent's, an argument by a name that is not the parent's.
    """
    theirs = {m.name: m for m in parent.body if isinstance(m, FUNCTIONS)}
    for method in node.body:
        if not isinstance(method, FUNCTIONS) or method.name not in theirs:
            continue
        known = parameters(theirs[method.name])
        renamed = {old: new for old, new in renamings(theirs[method.name]).items() if new in known}
        cache = next((c for c in CACHES if c in known), None)
        renamed |= {c: cache for c in CACHES if cache and c not in known}
        mentioned = {n.value for n in ast.walk(method) if isinstance(n, ast.Constant)}
        for name in parameters(method):
            new = renamed.get(name)
            if new and new not in parameters(method) and new not in mentioned:
                raise UserError(
                    f"{conversion.path}:{method.lineno}: {node.name}.{method.name} takes {name}, which its callers "
                    f"pass as {new} in this transformers; call it {new}"
                )
        for call in (n for n in ast.walk(method) if isinstance(n, ast.Call)):
            if super_call(call) is None or call.func.attr != method.name:
                continue
            word = next((k.arg for k in call.keywords if k.arg in renamed), None)
            if word:
                raise UserError(
                    f"{conversion.path}:{call.lineno}: {node.name}.{method.name} passes {word} to its parent's, which "
                    f"calls it {renamed[word]} in this transformers; write {renamed[word]}="
                )


def renamings(node: ast.FunctionDef) -> dict[str, str]:
    """Old names of arguments and their new ones, as @deprecate_kwarg gives them."""
    new_names = {}
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "deprecate_kwarg" and mark.args:
            new = next((k.value for k in mark.keywords if k.arg == "new_name"), None)
            if isinstance(mark.args[0], ast.Constant) and isinstance(new, ast.Constant):
                new_names[mark.args[0].value] = new.value
    return new_names
