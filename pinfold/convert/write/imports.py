"""Imports inside of functions, as the loader of remote code needs them."""

import ast
import sys

from pinfold.convert.edits import replaced, segment
from pinfold.convert.read import modules, sources

# packages that are there wherever transformers and torch are
ALWAYS = {"torch", "transformers", "numpy", "packaging", "huggingface_hub", "safetensors", "tqdm", "regex", "yaml"}
OPTIONAL = "# an optional package: the loader wants what is imported outside of try"


def optional_imports(text: str) -> str:
    """An import of an optional package inside of a function or a condition goes into a try that raises it again.

    The loader refuses a folder if any package that it imports outside of try is missing, also where the code asks
    first whether it is there: wav2vec2 would need deepspeed, which is used with deepspeed only.
    """
    tree = ast.parse(text)
    edits = []

    def visit(node: ast.AST, inside: bool) -> None:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.Try):
                continue
            if isinstance(part, (ast.Import, ast.ImportFrom)) and inside and needs_try(part):
                pad = " " * part.col_offset
                body = segment(text, part)
                body = "\n".join("    " + line if n else line for n, line in enumerate(body.split("\n")))
                edits.append((part, f"try:  {OPTIONAL}\n{pad}    {body}\n{pad}except ImportError:\n{pad}    raise"))
            visit(part, inside or not isinstance(part, ast.Module))

    visit(tree, False)
    return replaced(text, edits) if edits else text


def needs_try(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom):
        roots = [] if node.level else [(node.module or "").split(".")[0]]
    else:
        roots = [a.name.split(".")[0] for a in node.names]
    return any(r not in ALWAYS and r not in sys.stdlib_module_names for r in roots)


def absolute_imports(text: str) -> str:
    """A relative import in a function or a condition, of what lies above one architecture's folder, is absolute.

    What is for type checkers only and names an architecture of transformers goes, and what names another file of the
    folder: the loader reads the text, fetches that file, and before 5.23 not the files which that one needs.
    """
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse:
            imports = [part for part in node.body if isinstance(part, ast.ImportFrom)]
            theirs = [part for part in imports if part.level == 1 or modules.is_model_module(part.module or "")]
            for part in [node] if len(theirs) == len(node.body) else theirs:
                lines[part.lineno - 1 : part.end_lineno] = [""] * (part.end_lineno - part.lineno + 1)
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            where = "." * node.level + (node.module or "")
            module = sources.absolute(node, "transformers.models.any")
            if module.startswith("transformers.models.auto"):
                module = sources.auto_module(module, node.names[0].name)
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = line.replace(f"from {where} import", f"from {module} import", 1)
    return _without_unused_flag("\n".join(lines))


def _without_unused_flag(text: str) -> str:
    """TYPE_CHECKING is imported only where something still asks for it."""
    tree = ast.parse(text)
    used = any(isinstance(node, ast.Name) and node.id == "TYPE_CHECKING" for node in ast.walk(tree))
    edits = []
    for node in () if used else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "typing":
            rest = [alias for alias in node.names if alias.name != "TYPE_CHECKING"]
            if len(rest) < len(node.names):
                edits.append((node, ast.unparse(ast.ImportFrom("typing", rest, 0)) if rest else ""))
    return replaced(text, edits) if edits else text
