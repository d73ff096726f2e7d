"""A Python file taken apart without being run: top-level items with their text, imports, and what each item uses."""

import ast
import os
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert.read import modules, names


@dataclass
class Import:
    """One imported name, absolute: `from module import name as alias`, or `import module as alias` without a name."""

    module: str
    name: str | None
    alias: str
    guard: str = ""  # the line above it, such as "if is_torch_available():"
    otherwise: str = ""  # the text of the guard's other branches
    at: int = 0  # its line

    def line(self) -> str:
        if self.name is None:
            return f"import {self.module}" + ("" if self.alias == self.module.split(".")[0] else f" as {self.alias}")
        return f"from {self.module} import {self.name}" + ("" if self.alias == self.name else f" as {self.alias}")


@dataclass
class Item:
    """A top-level class, function, assignment or other statement, with the comments in front of it."""

    name: str
    node: ast.stmt
    text: str
    kind: str  # class, function, value, other
    names: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    line: int = 0


@dataclass
class Source:
    path: Path
    text: str
    package: str  # dotted name of the package that relative imports start from
    items: dict[str, Item] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    others: list[Item] = field(default_factory=list)  # statements that bind nothing
    header: str = ""
    import_lines: set[int] = field(default_factory=set)
    exported: list[str] | None = None  # __all__
    stars: list[tuple[str, int]] = field(default_factory=list)

    def classes(self) -> list[str]:
        return [name for name, item in self.items.items() if item.kind == "class"]


def used_names(node: ast.AST) -> frozenset[str]:
    """Names that a statement reads, with those in annotations that are strings."""
    used = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            used.add(part.id)
        elif isinstance(part, ast.arg) and part.annotation is not None:
            used |= quoted_names(part.annotation)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and part.returns is not None:
            used |= quoted_names(part.returns)
        elif isinstance(part, ast.AnnAssign):
            used |= quoted_names(part.annotation)
    return frozenset(used)


def quoted_names(annotation: ast.expr) -> set[str]:
    words = set()
    for part in ast.walk(annotation):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            words |= set(names.WORD.findall(part.value))
    return words


def absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    if not package:  # a file beside this one
        return "." * node.level + (node.module or "")
    parts = package.split(".") if package else []
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *(node.module or "").split(".")] if node.module else parts)


def parse(text: str, path: Path, package: str) -> Source:
    """Take a file apart.

    Raises:
        UserError: not Python, with file and line.
    """
    try:
        with warnings.catch_warnings():  # "\\d" in a string that is not raw
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            if path.name.startswith("modular_"):  # what only the compiler sees: a parameter twice, return outside
                compile(text, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        before, zero, _ = text.partition("\0")  # whose line no Python reports
        line = getattr(error, "lineno", None) or (before.count("\n") + 1 if zero else 1)
        why = getattr(error, "msg", None) or str(error) or "it is nested too deep"
        raise UserError(f"{path}:{line}: {why}; fix it, nothing was written") from None
    source = Source(path, text, package)
    lines = text.split("\n")
    above = 0  # last line of the statement before
    for number, node in enumerate(tree.body):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        start = first
        while start - 1 > above and lines[start - 2].startswith("#"):
            start -= 1
        if number == 0:
            source.header, start = "\n".join(lines[: first - 1]).strip(), first
        above = node.end_lineno
        body = absolute_inside("\n".join(lines[start - 1 : node.end_lineno]), node, start, package)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and number == 0:
            continue  # the file's docstring
        if read_import(source, node, "", ""):
            check_relative(source, node)
            source.import_lines.update(range(node.lineno, node.end_lineno + 1))
            continue
        if isinstance(node, (ast.If, ast.Try)) and guarded_imports(source, node, lines):
            source.import_lines.update(range(node.lineno, node.end_lineno + 1))
            continue
        add_item(source, node, body, first)
    return source


def check_relative(source: Source, node: ast.stmt) -> None:
    """A folder of remote code is flat, and its loader sees `from .file import name` alone."""
    if source.package or not isinstance(node, ast.ImportFrom) or not node.level or neighbour(source, node):
        return
    if node.level > 1 or not node.module or "." in node.module:
        written = f"from {'.' * node.level}{node.module or ''} import {', '.join(a.name for a in node.names)}"
        raise UserError(
            f"{source.path}:{node.lineno}: {written} is not found in a folder loaded from a Hub; "
            "put the file beside this one, and write: from .file import name"
        )


def neighbour(source: Source, node: ast.ImportFrom) -> str | None:
    """The name of a file of this repository that a modular file takes from, as `find` reads it."""
    if source.package or not source.path.name.startswith("modular_"):
        return None
    path = modules.locate(source.path, node.level, node.module or "")
    return f"{path.parent}.{path.stem}" if path else None


def refuse_whole(source: Source, module: str, line: int) -> None:
    """`import other.modular_other` says nothing of what is taken.

    Raises:
        UserError: it is a file of this repository, which the generated folder could not import.
    """
    if neighbour(source, ast.ImportFrom(module, [], 0)):
        raise UserError(
            f"{source.path}:{line}: import {module} takes a file of this repository as a whole; "
            f"name what is taken: from {module} import Name"
        )


def read_import(source: Source, node: ast.stmt, guard: str, otherwise: str) -> bool:
    if isinstance(node, ast.ImportFrom):
        module = neighbour(source, node) or absolute(node, source.package)
        for alias in node.names:
            if alias.name == "*":
                source.stars.append((module, node.lineno))
                continue
            name = alias.asname or alias.name
            within = module == modules.TRANSFORMERS and source.package.startswith(f"{modules.TRANSFORMERS}.models.")
            place = modules.public_classes().get(alias.name, module) if within else module  # UDOP writes it so
            source.imports[name] = Import(place, alias.name, name, guard, otherwise, node.lineno)
        return True
    if isinstance(node, ast.Import):
        for alias in node.names:
            refuse_whole(source, alias.name, node.lineno)
            name = alias.asname or alias.name.split(".")[0]
            source.imports[name if alias.asname or "." not in alias.name else alias.name] = Import(
                alias.name, None, name, guard, otherwise, node.lineno
            )
        return True
    return False


def guarded_imports(source: Source, node: ast.stmt, lines: list[str]) -> bool:
    """`if is_x_available(): import x`, with an else, or try and except: kept as written, where it binds imports."""
    inside = [n for n in node.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    if not inside:
        return False
    binds = [n for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom))]
    block = "\n".join(lines[node.lineno - 1 : node.end_lineno])
    names = {a.asname or a.name.split(".")[0] for n in binds for a in n.names}
    for part in node.body + [s for h in getattr(node, "handlers", []) for s in h.body] + node.orelse:
        for target in getattr(part, "targets", []):
            names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            names.add(part.name)
    text = relative_to_absolute(block, node, source.package)
    for name in names:
        source.imports[name] = Import("", name, name, guard=text)
    return True


def relative_to_absolute(block: str, node: ast.stmt, package: str) -> str:
    """The text of a guard with its relative imports made absolute."""
    lines = block.split("\n")
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom) and part.level:
            at = part.lineno - node.lineno
            module = "." * part.level + (part.module or "")
            lines[at] = lines[at].replace(f"from {module} import", f"from {absolute(part, package)} import", 1)
    return "\n".join(lines)


def absolute_inside(text: str, node: ast.stmt, start: int, package: str) -> str:
    """A definition's text with what its functions import of transformers' generic modules under absolute names."""
    lines = text.split("\n")
    for part in ast.walk(node):
        if isinstance(part, ast.ImportFrom) and part.level and package:
            module = absolute(part, package)
            if not modules.is_model_module(module):
                relative = "." * part.level + (part.module or "")
                at = part.lineno - start
                lines[at] = lines[at].replace(f"from {relative} import", f"from {module} import", 1)
    return "\n".join(lines)


def add_item(source: Source, node: ast.stmt, text: str, line: int) -> None:
    names: list[str] = []
    kind = "other"
    if isinstance(node, ast.ClassDef):
        kind = "class"
        names = [node.name]
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        kind = "function"
        names = [node.name]
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [
            n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        ]
        kind = "value" if names else "other"
        if names == ["__all__"]:
            try:
                source.exported = [str(x) for x in ast.literal_eval(node.value)]
            except (ValueError, TypeError):
                source.exported = None
            return
    elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
        for part in ast.walk(node):
            if isinstance(part, (ast.ClassDef, ast.FunctionDef)) and part in getattr(node, "body", []):
                names.append(part.name)
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                names.append(part.id)
        kind = "value" if names else "other"
    if kind in ("class", "function") and not laid_out(node):
        text = ast.unparse(node)
        node = ast.increment_lineno(ast.parse(text).body[0], line - 1)
    item = Item(names[0] if names else "", node, text, kind, tuple(names), used_names(node), line)
    for name in names:
        source.items[name] = item
    if not names:
        source.others.append(item)


def laid_out(node: ast.stmt, depth: int = 0) -> bool:
    """Whether classes and functions are indented by four spaces, and each statement begins on a new line.

    Only then can texts of two files be put into one class; others are written anew, without their comments.
    """
    above = node.lineno
    for part in node.body:
        first = min([part.lineno, *(d.lineno for d in getattr(part, "decorator_list", []))])
        dots = first == above and len(node.body) == 1 and is_dots(part)  # `class A(B): ...` and `def f(self): ...`
        if (first <= above or part.col_offset != depth + 4) and not dots:
            return False
        above = part.end_lineno
        if isinstance(part, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not laid_out(part, depth + 4):
            return False
    return True


def is_dots(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def imports_beside(file: Source) -> tuple[dict[str, Import], set[int]]:
    """What functions of an installed file import from beside it, and the lines that say so: one file will hold all."""
    imports: dict[str, Import] = {}
    lines: set[int] = set()
    if os.path.isabs(file.package) or modules.OTHER_KINDS.match(file.path.stem):
        return imports, lines
    tree = ast.parse(file.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node not in tree.body:
            module = absolute(node, file.package)
            if node.lineno not in file.import_lines and modules.is_model_module(module):
                imports |= {a.asname or a.name: Import(module, a.name, a.asname or a.name) for a in node.names}
                lines |= set(range(node.lineno, node.end_lineno + 1))
    return imports, lines


def auto_module(module: str, name: str) -> str:
    """Where a name of the Auto classes' modules is imported from: transformers itself, if it is public there."""
    file = modules.find(module)
    listed = load(file, module.rpartition(".")[0]).exported if file else None
    return module if listed is not None and name not in listed else modules.TRANSFORMERS


def load(path: Path, package: str) -> Source:
    """A file taken apart, as it is on the disk; Workspace.load has what main.py would make of it now.

    Raises:
        UserError: it cannot be read, or is not Python.
    """
    if package.startswith(modules.TRANSFORMERS):
        inside = path.name == "__init__.py" and package.count(".") > 1  # esm.openfold_utils: relative to itself
        return load_installed(path, f"{package}.{path.parent.name}" if inside else package)
    return parse_cached(modules.read(path), path, package)


def load_module(module: str) -> Source:
    """The file of an installed module, by its dotted name."""
    return load(modules.find(module), module.rpartition(".")[0])


@lru_cache(maxsize=512)
def load_installed(path: Path, package: str) -> Source:
    return parse(modules.read(path), path, package)


@lru_cache(maxsize=64)
def parse_cached(text: str, path: Path, package: str) -> Source:
    return parse(text, path, package)
