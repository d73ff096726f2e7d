"""Where code expects that a line fails: behind ``try``, ``suppress``, or a question for the version."""

import ast

from pinfold.audit.reachable import chain, is_try
from pinfold.audit.rules.names import asks_for_version, version_names
from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import Module

CATCH_ALL = ("Exception", "BaseException")


def guarded(module: Module, kind: type[ast.AST], error: str, questions: tuple[str, ...] = ()) -> set[ast.AST]:
    """The nodes of a kind whose error is caught, and those behind a question for the version.

    Args:
        kind: of the nodes that are looked for, ast.Call for example.
        error: the name of the exception that they would raise.
        questions: functions whose answer a condition may ask for instead of the version.
    """
    names = version_names(module)
    caught: list[ast.AST] = []
    for node in every(module.tree, ast.Try, ast.With):
        if (is_try(node) and any(h.type is None or _names_error(h.type, error) for h in node.handlers)) or (
            isinstance(node, ast.With) and any(_suppresses(item.context_expr, error) for item in node.items)
        ):
            caught += node.body
    for choice in every(module.tree, ast.If, ast.IfExp):
        if asks_for_version(choice, names) or _asks(choice.test, questions):
            caught.append(choice)
    return {part for statement in caught for part in every(statement, kind)}


def _asks(test: ast.expr, questions: tuple[str, ...]) -> bool:
    return any(chain(part)[-1:] == [question] for part in walk(test) for question in questions)


def _names_error(types: ast.expr, error: str) -> bool:
    return any(chain(part)[-1:] == [name] for part in walk(types) for name in (error, *CATCH_ALL))


def _suppresses(manager: ast.expr, error: str) -> bool:
    if not isinstance(manager, ast.Call) or chain(manager.func)[-1:] != ["suppress"]:
        return False
    return any(_names_error(argument, error) for argument in manager.args)
