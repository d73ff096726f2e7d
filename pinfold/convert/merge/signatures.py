"""A method's signature and decorators, as far as they are the parent's."""

import ast
import re

from pinfold.convert.merge.functions import find_header_end, function_parts, with_defaults

Function = tuple[ast.FunctionDef, list[str]]  # a method's tree, and the lines that it was parsed from


def with_parents_marks(
    node: ast.FunctionDef, lines: list[str], theirs: ast.FunctionDef, their_lines: list[str]
) -> Function:
    """The parent's decorators and the type of its result, where the child has none.

    One that only renames an argument of callers, @deprecate_kwarg, is added to the parent's.
    """
    without = [d.lineno for d in node.decorator_list if isinstance(d, ast.Name) and d.id == "no_inherit_decorator"]
    if without:
        return function_parts("\n".join(line for n, line in enumerate(lines[1:], 2) if n not in without))
    changed = list(lines)
    if node.returns is None and theirs.returns is not None:
        end = find_header_end(lines, node) - 1
        result = " ".join(ast.get_source_segment("\n".join(their_lines), theirs.returns).split())
        changed[end] = re.sub(r":(\s*(#.*)?)$", lambda m: f" -> {result}:{m[1]}", changed[end])
    own = [ast.unparse(d) for d in node.decorator_list]
    if theirs.decorator_list and all(d.startswith("deprecate_kwarg(") for d in own):
        first = min(d.lineno for d in theirs.decorator_list) - 1
        marks = list(their_lines[: theirs.lineno - 1])
        for mark in reversed([d for d in theirs.decorator_list if ast.unparse(d) in own]):
            del marks[mark.lineno - 1 : mark.end_lineno]
        at = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        changed[at:at] = marks[first:]
    return function_parts("\n".join(changed[1:])) if changed != lines else (node, lines)


def with_parents_signature(
    node: ast.FunctionDef, lines: list[str], theirs: ast.FunctionDef, their_lines: list[str]
) -> Function:
    """`**super_kwargs` is replaced by the parent's parameters; decorators and result too, where the child has none."""
    marks = (lines[1 : node.lineno - 1] if node.decorator_list else []) or their_lines[1 : theirs.lineno - 1]
    inherited = {a.arg for a, _ in with_defaults(theirs)} - {"self"}
    own = [(a, default) for a, default in with_defaults(node) if a.arg != "self"]
    if any(a.arg in inherited or default is None for a, default in own):
        signature = merged_signature(node, theirs)
    else:
        signature = "\n".join(their_lines[theirs.lineno - 1 : find_header_end(their_lines, theirs)])
        signature = with_more_parameters(signature, theirs, [written(a, default) for a, default in own])
    body = "\n".join(lines[find_header_end(lines, node) :])
    text = "\n".join(x for x in ("\n".join(marks), signature, body) if x)
    return function_parts(text.replace("(**super_kwargs)", f"({', '.join(forwarded_arguments(theirs))})"))


def with_more_parameters(signature: str, theirs: ast.FunctionDef, more: list[str]) -> str:
    """The text of the parent's signature with further parameters, in front of its `**kwargs`."""
    if not more:
        return signature
    added = ", ".join(more)
    if theirs.args.kwarg:
        return re.sub(r",?\s*\*\*" + theirs.args.kwarg.arg, lambda m: f", {added}{m[0]}", signature)
    return re.sub(r",?\s*\)", f", {added})", signature, count=1)


def written(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")


def merged_signature(node: ast.FunctionDef, theirs: ast.FunctionDef) -> str:
    """The parent's parameters, those that the child has too as the child has them; then the child's others."""
    own = {a.arg: (a, default) for a, default in with_defaults(node)}
    merged = [own.pop(a.arg, (a, default)) for a, default in with_defaults(theirs)]
    merged += list(own.values())
    merged.sort(key=lambda pair: pair[1] is not None)  # those without a default first
    parameters = [written(a, default) for a, default in merged]
    if theirs.args.kwarg:
        parameters.append(f"**{ast.unparse(theirs.args.kwarg)}")
    result = node.returns or theirs.returns
    return f"    def {node.name}({', '.join(parameters)}){f' -> {ast.unparse(result)}' if result else ''}:"


def forwarded_arguments(node: ast.FunctionDef) -> list[str]:
    """The arguments of a call that passes all of a method's parameters on."""
    arguments = [a.arg for a in node.args.posonlyargs + node.args.args][1:]
    arguments += [f"{a.arg}={a.arg}" for a in node.args.kwonlyargs]
    if node.args.vararg:
        arguments.append(f"*{node.args.vararg.arg}")
    if node.args.kwarg:
        arguments.append(f"**{node.args.kwarg.arg}")
    return arguments
