"""One file instead of two: modeling_x.py with the configuration's class in it, in front of the model's."""

import ast
import re
from pathlib import Path

from pinfold.common.errors import UserError


def inlined(files: dict[str, str], name: str, path: Path) -> dict[str, str]:
    """The files of a conversion without configuration_<name>.py.

    Raises:
        UserError: there is no modeling file, or both have something else under one name.
    """
    first = f"configuration_{name}.py"
    second = f"modeling_{name}.py"
    if first not in files:
        return files
    if second not in files:
        raise UserError(
            f"{path}:1: --inline-config: the file has no model to put the configuration into; leave it out"
        )
    configuration = file_parts(files[first])
    model = file_parts(files[second], f".configuration_{name}")
    in_model = {n: ast.unparse(node) for node in model[3] for n in bound(node)}
    body = []
    for node, text in zip(configuration[3], configuration[2], strict=True):
        same = [n for n in bound(node) if n in in_model]
        if same and ast.unparse(node) != in_model[same[0]]:
            raise UserError(
                f"{path}:1: --inline-config: the configuration and the model each have a {same[0]}; rename one"
            )
        if not same:
            body.append(text)
    text = "\n".join([model[0], *dict.fromkeys([*configuration[1], *model[1]])])
    text += "\n\n\n" + "\n\n\n".join([*body, *model[2]]) + "\n"
    others = {k: v for k, v in files.items() if k not in (first, second)}
    for key, other in others.items():
        others[key] = re.sub(rf"from \.configuration_{re.escape(name)} import", f"from .modeling_{name} import", other)
    return {second: text, **others}


def file_parts(text: str, but: str = "") -> tuple[str, list[str], list[str], list[ast.stmt]]:
    """A file's leading comments, imports (with guarded ones), other statements, and the trees of these.

    Args:
        but: a relative import that is left out.
    """
    tree = ast.parse(text)
    lines = text.split("\n")
    imports = []
    bodies = []
    nodes = []
    above = 0
    head = []
    for node in tree.body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        between = [x for x in lines[above : first - 1] if x.startswith("#")]
        if not above:
            head, between = between, []
        above = node.end_lineno
        written = "\n".join([*between, *lines[first - 1 : node.end_lineno]])
        guarded = isinstance(node, (ast.If, ast.Try)) and any(
            isinstance(n, (ast.Import, ast.ImportFrom)) for n in node.body
        )
        if isinstance(node, ast.ImportFrom) and but and "." * node.level + (node.module or "") == but:
            continue
        late = guarded and bodies  # what is at the end of a file, such as names of published weights
        if (isinstance(node, (ast.Import, ast.ImportFrom)) or guarded) and not late:
            imports.append(written)
        else:
            bodies.append(written)
            nodes.append(node)
    return "\n".join(head), imports, bodies, nodes


def bound(node: ast.stmt) -> list[str]:
    """Names that a top-level statement defines."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    targets = getattr(node, "targets", []) or [getattr(node, "target", None)]
    return [t.id for t in targets if isinstance(t, ast.Name)]
