"""Imports of helpers that older releases lack give way to stand-ins."""

import ast
import re
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert.edits import replaced, segment
from pinfold.convert.lowest.version import DECLARED
from pinfold.convert.read import modules, sources
from pinfold.convert.read.model import global_names
from pinfold.convert.read.sources import Source
from pinfold.convert.read.workspace import Conversion
from pinfold.folder import releases

STAND_INS = Path(__file__).with_name("stand_ins")
IN_ORDER = ("rotary.py", "caches.py", "forward.py")  # what a file uses stands in it, or in one before it


def stand_ins() -> Source:
    """All stand-ins as one file: what they take from each other is not imported."""
    whole = Source(STAND_INS, "", "")
    for part in (sources.load(STAND_INS / name, "") for name in IN_ORDER):
        whole.items |= part.items
        whole.imports |= part.imports
    whole.imports = {name: each for name, each in whole.imports.items() if name not in whole.items}
    return whole


def with_stand_ins(text: str, conversion: Conversion, floor: str) -> str:
    """Drop imports that nothing needs any more, and put stand-ins in the place of those that come too late."""
    parts = stand_ins()
    tree = ast.parse(text)
    used = set(global_names(text))
    for node in tree.body:  # an import does not count as a use of its name
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            used -= {a.asname or a.name.split(".")[0] for a in node.names}
    body = "\n".join("" if isinstance(n, (ast.Import, ast.ImportFrom)) else segment(text, n) for n in tree.body)
    used = set(global_names(body)) | decorated(tree)
    edits = []
    replaced_names = {n for n in used if n in parts.items and n not in top_level(tree)}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        names = []
        for alias in node.names:
            name = alias.asname or alias.name
            if name not in used or name in parts.items:
                continue
            ours = not node.level and node.module.split(".")[0] == modules.TRANSFORMERS
            late = releases.absent(node.module, alias.name, floor) if ours else ()
            if late:
                raise UserError(
                    f"{conversion.path}: {DECLARED} is {floor}, but {name} of {node.module} is not in transformers "
                    f"{releases.release_ranges(late)} and has no stand-in; declare a later one, or write {name} out"
                )
            names.append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
        level = "." * node.level
        edits.append((node, f"from {level}{node.module} import {', '.join(names)}" if names else "pass"))
    text = replaced(text, edits)
    text = re.sub(r"^pass\n", "", text, flags=re.MULTILINE)
    check_calls(text, parts, replaced_names, conversion)
    return put_in(text, parts, replaced_names)


def decorated(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        for each in getattr(node, "decorator_list", []):
            names |= {n.id for n in ast.walk(each) if isinstance(n, ast.Name)}
    return names


def top_level(tree: ast.Module) -> set[str]:
    """What a file defines itself; a base that was lowered already brings its stand-ins along."""
    names = {n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    assigned = (t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets)
    return names | {t.id for t in assigned if isinstance(t, ast.Name)}


def check_calls(text: str, parts: Source, replaced_names: set[str], conversion: Conversion) -> None:
    """A stand-in does what models of this family ask of the helper; what asks for more is refused.

    Raises:
        UserError: an argument that the stand-in does not take.
    """
    overlays = re.search(r"\b(?:or_mask_function|and_mask_function|block_sequence_ids)\b", text)
    if overlays and "create_causal_mask" in replaced_names:
        raise UserError(
            f"{conversion.path}: {DECLARED} cannot be lowered here: masks with {overlays[0]} have no stand-in for "
            f"older releases; leave {DECLARED} out"
        )
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in replaced_names):
            continue
        stand_in = parts.items[node.func.id].node
        if not isinstance(stand_in, ast.FunctionDef):
            continue
        known = {a.arg for a in stand_in.args.args + stand_in.args.kwonlyargs}
        more = sorted(k.arg for k in node.keywords if k.arg and k.arg not in known)
        if more:
            raise UserError(
                f"{conversion.path}: {DECLARED} cannot be lowered here: {node.func.id}({more[0]}=...) has no stand-in "
                f"for older releases; leave {DECLARED} out"
            )


def put_in(text: str, parts: Source, replaced_names: set[str]) -> str:
    """The file with stand-ins, what they use, and what that imports, in front of its first definition."""
    needed = set()
    queue = sorted(replaced_names)
    imported = set()
    tree = ast.parse(text)
    already = top_level(tree)
    while queue:
        name = queue.pop()
        if name in needed or name in already:
            continue
        needed.add(name)
        item = parts.items[name]
        for each in item.names or (name,):
            needed.add(each)
        for other in sorted(global_names(item.text) | decorated(ast.parse(item.text))):
            if other in parts.items and other not in needed:
                queue.append(other)
            elif other in parts.imports:
                imported.add(other)
    if not needed:
        return text
    lines = text.split("\n")
    imported_already = {
        a.asname or a.name for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names
    }
    first = next(n for n in tree.body if not isinstance(n, (ast.Import, ast.ImportFrom)) and not is_text(n))
    line = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    while line > 1 and lines[line - 2].startswith("#"):
        line -= 1
    seen = set()
    bodies = []
    for name, item in parts.items.items():
        if name in needed and id(item) not in seen:
            seen.add(id(item))
            bodies.append(re.sub(r"^# --- .*\n+", "", item.text, flags=re.MULTILINE).replace("  # noqa: B905", ""))
    new = sorted(parts.imports[i].line() for i in imported if i not in imported_already)
    added = "\n".join(new) + "\n\n\n" + "\n\n\n".join(bodies) + "\n\n\n"
    return "\n".join([*lines[: line - 1], added, *lines[line - 1 :]])


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
