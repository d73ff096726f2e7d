"""What is taken of a script or a notebook: definitions, imports and values that are written out.

Its other statements do their own work (they train, they read files and the environment), and nobody wrote them to be
published.
"""

import ast

from pinfold.common.errors import UserError
from pinfold.flatten import names
from pinfold.flatten.sources import Source


def check_strict(source: Source, node: ast.stmt) -> None:
    """
    Raises:
        UserError: a statement of a script or notebook that is more than a definition, an import or a written value.
    """
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return
    asks = {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in ast.walk(node)}
    of_the_machine = bool(asks & {"argv", "environ", "getenv"})
    written = isinstance(node, (ast.Assign, ast.AnnAssign)) and (
        names.is_constant(node.value) or _is_logger(node.value)
    )
    if written and not of_the_machine:
        return
    if isinstance(node, (ast.If, ast.Try)) and not of_the_machine and _may_be_asked(node):
        for inner in _statements(node):
            check_strict(source, inner)
        return
    if isinstance(node, ast.Pass):
        return
    what = ", ".join(sorted(names.bound(node))) or ast.unparse(node).splitlines()[0][:60]
    raise UserError(
        f"{source.where}:{node.lineno}: the model's code uses {what}, which is computed there; write it as a literal "
        "value, or make it a field of the configuration"
    )


def _may_be_asked(node: ast.If | ast.Try) -> bool:
    """Whether a condition is one on packages and releases, or only imports depend on it."""
    if isinstance(node, ast.Try) or all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in _statements(node)):
        return True
    calls = [part for part in ast.walk(node.test) if isinstance(part, ast.Call)]
    names_of_calls = [getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls]
    return all(
        name.startswith("is_") or name in ("parse", "version", "Version", "find_spec") for name in names_of_calls
    )


def _is_logger(value: ast.expr | None) -> bool:
    """``logging.get_logger(__name__)``, of Python's logging or transformers'."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("getLogger", "get_logger")
        and all(names.is_constant(argument) for argument in value.args)
        and not value.keywords
    )


def _statements(node: ast.If | ast.Try) -> list[ast.stmt]:
    handlers = [inner for handler in getattr(node, "handlers", ()) for inner in handler.body]
    return [*node.body, *node.orelse, *handlers, *getattr(node, "finalbody", ())]


def is_written_out(node: ast.stmt) -> bool:
    """Whether a script's statement is a definition, or sets an item or attribute to a written value."""
    return isinstance(node, names.DEFINITIONS) or (isinstance(node, ast.Assign) and names.is_constant(node.value))
