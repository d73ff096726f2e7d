"""super() calls: which they are, and those whose method stays beside the one that calls it."""

import ast
import re

from pinfold.convert.edits import replaced
from pinfold.convert.merge.functions import FUNCTIONS, function_parts
from pinfold.convert.merge.members import Body, Member

BINDING = {"property", "staticmethod", "classmethod", "cached_property", "functools.cached_property"}
ROOTS = {"nn.Module", "PreTrainedModel", "PreTrainedConfig"}  # their __init__ is what super() comes to


def super_call(node: ast.AST) -> ast.Call | None:
    """The call in `super().m(...)`, or in `super(Class, self).m(...)`."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id == "super"
    ):
        return node
    return None


def is_super_attribute(node: ast.AST) -> bool:
    """`super().x`, called or not."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
    )


def statement_super(node: ast.stmt, method: str) -> ast.Call | None:
    if isinstance(node, (ast.Expr, ast.Return)) and node.value is not None:
        call = super_call(node.value)
        if call is not None and call.func.attr == method:
            return call
    return None


def other_supers(
    node: ast.FunctionDef, lines: list[str], parent: Body, unrolled: ast.stmt | None = None
) -> tuple[str, list[Member]]:
    """super() calls that could not be unrolled, and `Ancestor.m(self, ...)`, which means super().

    Where the parent itself has the method, it stays under a private name, and is called by that.

    Args:
        unrolled: the statement whose super() call the parent's body replaces.

    Returns:
        The method's text, and the parent's members that it calls.
    """
    inherited: list[Member] = []
    edits: list[tuple[ast.AST, str]] = []
    skipped = set() if unrolled is None else {id(n) for n in ast.walk(unrolled)}
    first = next((a.arg for a in node.args.posonlyargs + node.args.args), "self")
    for part in ast.walk(node):
        if id(part) in skipped:
            continue
        if is_super_attribute(part):
            theirs = parent.find(part.attr)
            if theirs is not None and theirs.kind in ("method", "value"):
                private = free_name(part.attr, parent)
                edits.append((part, f"{first}.{private}"))
                inherited.append(under_private_name(theirs, private, node))
        elif is_ancestor_call(part, node, parent, first):
            edits.append((part, f"super().{node.name}({', '.join(ancestor_arguments(part))})"))
    if not edits:
        return "\n".join(lines[1:]), inherited
    return replaced("\n".join(lines), edits).partition("\n")[2], inherited


def under_private_name(theirs: Member, private: str, node: ast.FunctionDef) -> Member:
    """The parent's method or value, as the merged class has it beside the method that calls it."""
    old = re.escape(theirs.key)
    change = (rf"\bdef {old}\b", f"def {private}")
    if theirs.kind == "value":
        change = (rf"^(\s*){old}\b", rf"\g<1>{private}")
    text = undecorated(theirs, node) if theirs.key == node.name else theirs.text
    return Member(private, theirs.kind, re.sub(*change, text, count=1, flags=re.MULTILINE), theirs.node, True)


def is_ancestor_call(part: ast.AST, node: ast.FunctionDef, parent: Body, first: str) -> bool:
    """`nn.Module.__init__(self)` and `GrandParent.forward(self, x)`, which skip the parent."""
    if not isinstance(part, ast.Call) or not isinstance(part.func, ast.Attribute) or part.func.attr != node.name:
        return False
    if not isinstance(part.func.value, (ast.Name, ast.Attribute)):
        return False
    owner = ast.unparse(part.func.value)
    bases = parent.bases.replace(" ", "").split(",")
    # a class method of the root itself (first is cls) is not one of this class
    return owner in bases or (owner in ROOTS and (node.name == "__init__" or first == "cls"))


def ancestor_arguments(call: ast.Call) -> list[str]:
    """The arguments of `Ancestor.m(self, ...)` behind `self`."""
    bound = call.args and ast.unparse(call.args[0]) in ("self", "cls")
    positional = [ast.unparse(a) for a in call.args[1 if bound else 0 :]]
    return positional + [
        f"{k.arg}={ast.unparse(k.value)}" if k.arg else f"**{ast.unparse(k.value)}" for k in call.keywords
    ]


def undecorated(theirs: Member, node: ast.FunctionDef) -> str:
    """The parent's method without the decorators that the method that calls it has as well: each acts once.

    Those that say how a method is bound stay.
    """
    if not isinstance(theirs.node, FUNCTIONS):
        return theirs.text
    tree, lines = function_parts(theirs.text)
    twice = {ast.unparse(d) for d in node.decorator_list} - BINDING
    spans = [range(d.lineno, d.end_lineno + 1) for d in tree.decorator_list if ast.unparse(d) in twice]
    return "\n".join(line for n, line in enumerate(lines[1:], 2) if not any(n in span for span in spans))


def free_name(attribute: str, parent: Body) -> str:
    """What the parent's own is called in the merged class; a parent that was merged itself may keep its parent's."""
    private = f"_inherited_{attribute.strip('_')}"
    number = 1
    while parent.find(private):
        number += 1
        private = f"_inherited{number}_{attribute.strip('_')}"
    return private
