"""Whether a file can change its own ``__name__``, by which ``if __name__ == "__main__"`` decides."""

import ast

from pinfold.common.trees import walk

LOOKS = frozenset(("getattr", "hasattr"))
NAME = "__name__"


def binds_own_name(tree: ast.Module) -> bool:
    """Whether a statement of a file binds ``__name__``, or says it as a text by which it can be stored.

    In whatever way a name can be bound, and in whatever scope: most of the ways out of a scope need no name.
    """
    looked_at: set[ast.AST] = set()
    texts: list[ast.AST] = []
    for node in walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LOOKS:
            looked_at.update(node.args[1:2])
        elif isinstance(node, ast.Constant) and node.value in (NAME, NAME.encode()):
            texts.append(node)
        elif isinstance(node, ast.Name):
            if node.id == NAME and not isinstance(node.ctx, ast.Load):
                return True
        elif _names(node):
            return True
    return not looked_at.issuperset(texts)


def _names(node: ast.AST) -> bool:
    """Whether a node binds the name without an assignment: a function, an import, a handler, a pattern, a keyword."""
    if NAME in (getattr(node, "asname", None), getattr(node, "rest", None), getattr(node, "arg", None)):
        return True
    names = getattr(node, "names", ()) if isinstance(node, (ast.Global, ast.Nonlocal)) else ()
    return NAME in names or getattr(node, "name", None) == NAME
