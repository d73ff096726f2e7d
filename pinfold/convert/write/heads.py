"""Heads that transformers shares between architectures, made for a body that no Auto class knows.

`class LlamaForSequenceClassification(GenericForSequenceClassification, LlamaPreTrainedModel): pass` gets its body from
`AutoModel.from_config(config)`, whose table knows the built-in configurations alone. The generated class runs the
same lines, which are read from the installed transformers, with the folder's own body in that place.
"""

import ast
import functools
import textwrap

from pinfold.convert.read import modules, sources
from pinfold.convert.write import parts
from pinfold.convert.write.facts import Facts

MODULE = "transformers.modeling_layers"
GENERIC = "Generic"
ASKS = "AutoModel.from_config(config)"


@functools.lru_cache(maxsize=1)
def generic_inits() -> dict[str, str]:
    """Generic class -> the body of its __init__."""
    path = modules.find(MODULE)
    if path is None:  # transformers before 4.52
        return {}
    file = sources.load(path, "transformers")
    bodies = {}
    for name, item in file.items.items():
        if item.kind != "class" or not name.startswith(f"{GENERIC}For"):
            continue
        tree = ast.parse(item.text)
        init = next((n for n in tree.body[0].body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is not None and ASKS in ast.unparse(init):
            lines = item.text.split("\n")[init.body[0].lineno - 1 : init.end_lineno]
            code = [line for line in lines if not line.lstrip().startswith("#")]
            bodies[name] = textwrap.dedent("\n".join(code)).strip()
    return bodies


def own_bodies(text: str, known: Facts) -> tuple[str, list[str]]:
    """The text with every generic head on a body of this file, and notes on heads for which there is none."""
    tree = ast.parse(text)
    edits = []
    notes = []
    rows = text.split("\n")
    here = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    for node in here.values():
        generic = next((ast.unparse(b) for b in node.bases if ast.unparse(b) in generic_inits()), None)
        if generic is None:
            continue
        body = body_of(node, generic, here, known)
        if body is None:
            notes.append(
                f"{node.name} gets its body from AutoModel, which does not know this configuration: add the class of "
                "the model without a head to the modular file"
            )
            continue
        lines = generic_inits()[generic].replace(ASKS, f"{body}._from_config(config)")
        lines = lines.replace("super().__init__(config)", f"super({generic}, self).__init__(config)", 1)
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is None:
            text_of_init = f"def __init__(self, config):\n{textwrap.indent(lines, '    ')}"
            edits.append(place(node, textwrap.indent(text_of_init, "    "), rows))
            continue
        call = next((n for n in init.body if ast.unparse(n) == "super().__init__(config)"), None)
        if call is not None:
            edits.append((call.lineno - 1, call.end_lineno, textwrap.indent(lines, " " * call.col_offset)))
    if not edits:
        return text, notes
    for start, end, new in sorted(edits, reverse=True):
        rows[start:end] = new.split("\n")
    if "nn" not in {a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}:
        first = next(n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)))
        rows.insert(first.lineno - 1, "from torch import nn")
    return "\n".join(rows), notes


def place(node: ast.ClassDef, method: str, rows: list[str]) -> tuple[int, int, str]:
    """Lines to replace, and by what, so that a class has a method in front of its others, or instead of `pass`."""
    last = node.body[-1]
    if isinstance(last, ast.Pass) or (isinstance(last, ast.Expr) and getattr(last.value, "value", None) is ...):
        head = rows[last.lineno - 1].encode()[: last.col_offset].decode().rstrip()  # class X(Y): pass
        return last.lineno - 1, last.end_lineno, f"{head}\n{method}" if head else method
    fields = [n for n in node.body if not isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if fields:
        return fields[-1].end_lineno, fields[-1].end_lineno, f"\n{method}"
    first = node.body[0]
    at = min([first.lineno, *(d.lineno for d in first.decorator_list)]) - 1
    return at, at, f"{method}\n"


def body_of(node: ast.ClassDef, generic: str, here: dict, known: Facts) -> str | None:
    """The class that AutoModel would give upstream, under its new name, if this file has it."""
    end = generic.removeprefix(GENERIC)
    if node.name.endswith(end):
        guess = node.name[: -len(end)] + "Model"
        if guess in here:
            return guess
    parents = {ast.unparse(b) for b in node.bases if ast.unparse(b).endswith("PreTrainedModel")}
    by_old = {old: new for new, old in known.classes.items() if new in here}
    for old in known.types.values():
        body = by_old.get(parts.auto_tables().get("AutoModel", {}).get(old, ""))
        if body and parents & {ast.unparse(b) for b in here[body].bases}:
            return body
    models = [n for n in here if n.endswith("Model") and parents & {ast.unparse(b) for b in here[n].bases}]
    return models[0] if len(models) == 1 else None
