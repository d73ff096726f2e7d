"""What the text of a function says of it: its decorators, and whether it is a method of its class."""

import ast

from pinfold.audit.security.state import FunctionNode
from pinfold.common.trees import walk

DISPLAYS = (ast.Dict, ast.List, ast.Tuple, ast.Set)


def decorators(node: FunctionNode) -> set[str]:
    """The plain names among the decorators of a function."""
    each = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return {decorator.id for decorator in each if isinstance(decorator, ast.Name)}


def is_method(node: FunctionNode, cls: ast.ClassDef) -> bool:
    """Whether a function in a class's body gets the object: not a static one, and no lambda in a table."""
    if not isinstance(node, ast.Lambda):
        return "staticmethod" not in decorators(node)
    statements = [statement for statement in cls.body if statement.lineno <= node.lineno]
    values = [each.value for each in statements[-1:] if isinstance(each, (ast.Assign, ast.AnnAssign)) and each.value]
    if any(isinstance(value, ast.Call) and _name(value.func) == "staticmethod" for value in values):
        return False
    displays = (part for value in values for part in walk(value) if isinstance(part, DISPLAYS))
    return not any(inner is node for display in displays for inner in walk(display))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def defined_above(name: ast.Name, cls: ast.AST) -> bool:
    """Whether a class's body has a method of this name above, which then stands for the name in that body."""
    return any(
        isinstance(part, ast.FunctionDef) and part.name == name.id and part.lineno < name.lineno
        for part in (cls.body if isinstance(cls, ast.ClassDef) else ())
    )
