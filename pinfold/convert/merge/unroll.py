"""A method in which super().method(...) is replaced by the parent's body, where that keeps its meaning."""

import ast

from pinfold.convert.merge.functions import (
    arguments_of,
    assemble_function,
    find_header_end,
    function_parts,
    loaded_names,
    own_scope,
    parameters,
    split_function,
    stored_names,
    target_of,
)
from pinfold.convert.merge.members import Body, Member
from pinfold.convert.merge.paste import paste
from pinfold.convert.merge.signatures import with_parents_marks, with_parents_signature
from pinfold.convert.merge.supers import other_supers, statement_super


def unroll(own: Member, inherited: Member, parent: Body) -> tuple[str, list[Member]]:
    """A method with `super().same_method(...)` replaced by the parent's body.

    Returns:
        Its text, and the parent's members that it still calls.
    """
    node, lines = function_parts(own.text)
    theirs, their_lines = function_parts(inherited.text)
    # first the signature: whether the parent's parameters are known depends on it
    if node.args.kwarg and node.args.kwarg.arg == "super_kwargs":
        node, lines = with_parents_signature(node, lines, theirs, their_lines)
    else:
        node, lines = with_parents_marks(node, lines, theirs, their_lines)
    their_docstring, their_rows = split_function(theirs, their_lines)
    calls = [n for n in node.body if statement_super(n, node.name) is not None]
    unrolled = calls[0] if len(calls) == 1 and can_paste(calls[0], node, theirs, their_rows) else None
    # then the other calls, whose edits move the lines that follow
    text, called = other_supers(node, lines, parent, unrolled)
    node, lines = function_parts(text)
    docstring, rows = split_function(node, lines)
    if unrolled is not None:
        at = next(i for i, m in enumerate(rows) if statement_super(m.node, node.name) is not None)
        rows = paste(rows, at, their_rows, node, theirs)
    header = "\n".join(lines[1 : find_header_end(lines, node)])
    return assemble_function(header, docstring or their_docstring, rows), called


def can_paste(call: ast.stmt, node: ast.FunctionDef, parent: ast.FunctionDef, their_rows: list[Member]) -> bool:
    """Whether the parent's body means in the place of the call what it means in a method."""
    inside = [n for m in their_rows for n in own_scope(m.node)]
    if any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in inside) or type(node) is not type(parent):
        return False  # a generator, or one that waits and one that does not
    goes_on = node.body.index(call) < len(node.body) - 1 and isinstance(call, ast.Expr)
    returns = any(isinstance(n, ast.Return) for n in inside)
    if goes_on and returns and not only_replaces(node.body, call, their_rows):
        return False  # it would return before what follows
    return can_bind(call, node, parent)


def can_bind(statement: ast.stmt, node: ast.FunctionDef, parent: ast.FunctionDef) -> bool:
    """Whether the parent's parameters are known where its body is to be pasted.

    Not where `*args` or `**kwargs` carry one of them, nor where a local of the subclass, which it reads again, or one
    that it has for something else, would be the parent's as well.
    """
    call = statement_super(statement, node.name)
    own = parameters(node)
    theirs = arguments_of(parent)
    known = {*own, *theirs[: len(call.args)], *(k.arg for k in call.keywords)}
    starred = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
    if starred and not known.issuperset(theirs):
        return False
    read = loaded_names(parent.body)
    for their_rest, own_rest in ((parent.args.vararg, node.args.vararg), (parent.args.kwarg, node.args.kwarg)):
        if their_rest and own_rest and their_rest.arg != own_rest.arg and their_rest.arg in read:
            return False
    at = node.body.index(statement)
    locals_before = stored_names(node.body[:at]) - set(own)
    if locals_before & loaded_names(node.body[at + 1 :]) & stored_names(parent.body):
        return False
    return not locals_before & (read - stored_names(parent.body) - set(theirs))


def only_replaces(body: list[ast.stmt], call: ast.stmt, theirs: list[Member]) -> bool:
    """Whether all that follows super() are assignments that the parent has too, and it returns at its end alone.

    To Python these would be without effect, so what is meant is the parent's body with other lines.
    """
    returns = [n for m in theirs for n in own_scope(m.node) if isinstance(n, ast.Return)]
    known = {m.key for m in theirs if m.key}
    after = body[body.index(call) + 1 :]
    return returns == [theirs[-1].node] and all(target_of(n) in known for n in after)
