"""`--describe llama`: what a base is made of, for those who choose one. Its source is read, never run."""

import ast
import textwrap
from collections import Counter

from pinfold.convert import eject
from pinfold.convert.read import sources
from pinfold.convert.read.model import kind_of

WIDTH = 100
# what a subclass overrides by name alone says nothing about the base
DULL = {"__doc__", "model_type", "pass"}


def describe(name: str) -> list[str]:
    """Lines about a built-in model: parameters with defaults, classes with methods, what subclasses change."""
    base = eject.find_base(name)
    lines = [f"{base.model_type}: transformers.models.{base.package}, modeling_{base.stem}.py", ""]
    for stem in base.configurations:
        module = base.module("configuration", stem)
        file = sources.load_module(module)
        for cls in file.classes():
            if kind_of(cls) == "configuration":
                lines += [f"{cls}: parameters and defaults", *parameters(file.items[cls].node), ""]
    module = base.module("modeling")
    file = sources.load_module(module)
    changed, classes = overridden(base.package)
    for cls in file.classes():
        node = file.items[cls].node
        parents = ", ".join(ast.unparse(b) for b in node.bases)
        used = f"   (subclassed {classes[cls]} times)" if classes[cls] else ""
        lines.append(short(f"{cls}({parents}){used}", 0))
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                count = changed[cls, part.name]
                note = f"   [overridden {count} times]" if count else ""
                lines.append(short(f"{part.name}({signature(part)}){note}", 4))
    lines += ["", "what subclasses usually change, over transformers' own modular files:"]
    common = sorted(changed.items(), key=lambda x: (-x[1], x[0]))[:12]
    lines += [f"  {count:>3}  {cls}.{member}" for (cls, member), count in common] or ["  nothing: no subclass"]
    return lines


def short(text: str, indent: int) -> str:
    """One entry in as many lines as it needs."""
    pad = " " * indent
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=pad,
        subsequent_indent=pad + " " * 8,
        break_long_words=False,
        break_on_hyphens=False,
    )


def parameters(node: ast.ClassDef) -> list[str]:
    """Annotated fields (transformers 5) or the arguments of __init__, with their defaults."""
    listed = []
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.value is not None:
            listed.append(f"{part.target.id}={ast.unparse(part.value)}")
        elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
            listed += [x for x in arguments(part) if x != "self" and not x.startswith("*")]
    return [short(", ".join(listed) or "none that it declares itself", 4)]


def arguments(node: ast.FunctionDef) -> list[str]:
    """Names with defaults, without annotations, which are long."""
    a = node.args
    plain = a.posonlyargs + a.args
    defaults = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    listed = [x.arg + (f"={ast.unparse(d)}" if d else "") for x, d in zip(plain, defaults, strict=True)]
    listed += [f"*{a.vararg.arg}"] if a.vararg else ["*"] if a.kwonlyargs else []
    listed += [x.arg + (f"={ast.unparse(d)}" if d else "") for x, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return listed + ([f"**{a.kwarg.arg}"] if a.kwarg else [])


def signature(node: ast.FunctionDef) -> str:
    return ", ".join(x for x in arguments(node) if x != "self")


def overridden(package: str) -> tuple[Counter, Counter]:
    """How often modular files override each member of this package's classes, and subclass each class."""
    changed = Counter()
    classes = Counter()
    for path in sorted(eject.models_folder().glob("*/modular_*.py")):
        text = path.read_text(encoding="utf-8")
        if f".{package}." not in text:
            continue
        taken: dict[str, str] = {}
        tree = ast.parse(text)
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and f".{package}." in f".{node.module or ''}.":
                taken |= {a.asname or a.name: a.name for a in node.names}
        for node in tree.body:
            if not isinstance(node, ast.ClassDef):
                continue
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in taken:
                    classes[taken[base.id]] += 1
                    for member in members(node):
                        changed[taken[base.id], member] += 1
    return changed, classes


def members(node: ast.ClassDef) -> set[str]:
    names = set()
    for part in node.body:
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(part.name)
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            names.add(part.target.id)
        elif isinstance(part, ast.Assign):
            names |= {t.id for t in part.targets if isinstance(t, ast.Name)}
    return names - DULL
