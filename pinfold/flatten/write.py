"""The text of the flat files: the statements as they are written, with imports that transformers' loader follows."""

import ast
import bisect
import itertools
import re
from dataclasses import dataclass, field

from pinfold.flatten import names
from pinfold.flatten.collect import Collection, inner_imports
from pinfold.flatten.meanings import Chain, External, Import, OwnModule, Place
from pinfold.flatten.sources import MAIN, Source

LOADED = "IS_LOADED"
_CELL = re.compile(r"#\s*(%%|In\[|!|-\*-)|#!")
_LICENSE = re.compile(r"copyright|licen[sc]ed under|SPDX-License", re.IGNORECASE)


@dataclass
class Part:
    """A file to be written: some statements of one module.

    Args:
        stem: the file's name without its ending. positions: of the module's statements, in order.
    """

    stem: str
    source: Source
    positions: list[int]


@dataclass
class _Imports:
    """What a file imports."""

    future: bool = False
    outside: set[tuple[External, str]] = field(default_factory=set)  # a name of others, and what it is called here
    ours: dict[str, dict[str, str]] = field(default_factory=dict)  # file -> local name -> name there
    same: dict[str, str] = field(default_factory=dict)  # further names of what the file itself defines

    def add(self, file: str, local: str, name: str) -> None:
        self.ours.setdefault(file, {})[local] = name


class Writer:
    """Writes all parts; they know of each other through it.

    Args:
        collection: the statements that were taken, and what their names stand for.
        entry: the file that transformers loads first; it imports every other, since older releases look no further.
    """

    def __init__(self, collection: Collection, parts: list[Part], entry: str):
        self.collection, self.parts, self.entry = collection, parts, entry
        self._locals: dict[str, dict[str, Place | External]] = {}  # file -> name of module.Name there -> what it is
        self._file = {(part.source.name, p): part.stem for part in parts for p in part.positions}

    def text(self, part: Part) -> str:
        """The whole file, without its first line of provenance."""
        imports = _Imports(future=_has_future(part.source))
        bodies = [self._body(part, position, imports) for position in part.positions]
        blocks = []
        if notice := _notice(part.source):
            blocks.append(notice)
        if (docstring := _docstring(part.source)) and not part.source.strict:
            blocks.append(docstring)
        if imports.future:
            blocks.append("from __future__ import annotations")
        if outside := self._outside(part.source, imports):
            blocks.append(outside)
        if ours := self._ours(part, imports):
            blocks.append(ours)
        if part.stem != self.entry and not _first_name(part):
            bodies.append(f"{LOADED} = True  # a name that {self.entry}.py can import")
        aliases = "\n".join(f"{local} = {name}" for local, name in sorted(imports.same.items()))
        return "\n\n".join([*blocks, _joined(bodies), *([aliases] if aliases else [])]).strip() + "\n"

    def file_of(self, place: Place) -> str:
        """The file that a definition is written to."""
        positions = self.collection.defining(place)
        return next(stem for p in positions if (stem := self._file.get((place.module, p))))

    def _body(self, part: Part, position: int, imports: _Imports) -> str:
        node = part.source.tree.body[position]
        edits: list[tuple[ast.AST, str]] = []
        for inner in inner_imports(node):
            edits += self._inner(part, node, inner)
        for name in sorted(names.used(node) | names.quoted(node) | names.of_class_bodies(node)):
            self._import_name(part, name, imports)
        for chain in self.collection.chains(part.source, node):
            local = self._local(part, chain)
            edits.append((chain.node, local))
            if isinstance(chain.place, External):
                imports.outside.add((chain.place, local))
            elif chain.by is None:
                self._import(part, chain.place, local, imports)
        return Text(part.source).statement(position, edits)

    def _inner(self, part: Part, node: ast.stmt, inner: Import) -> list[tuple[ast.AST, str]]:
        """An import within a statement, written anew where it is of the user's own modules."""
        lines, changed = [], False
        for alias in inner.names:
            there = self.collection.of_alias(part.source, inner, alias)
            local = alias.asname or alias.name.split(".")[0]
            if isinstance(there, OwnModule):
                changed = True
                for chain in self.collection.chains(part.source, node):
                    if chain.by is inner and chain.start == local and isinstance(chain.place, Place):
                        lines.append(self._statement(part, chain.place, self._local(part, chain)))
            elif isinstance(there, Place):
                changed = True
                lines.append(self._statement(part, there, local))
            elif isinstance(there, External):  # what a module of the user passes on
                changed = True
                lines.append(self._of_others(there, local))
            elif isinstance(inner, ast.Import):
                lines.append(f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else ""))
            else:
                lines.append(ast.unparse(ast.ImportFrom(inner.module, [alias], inner.level)))
        return [(inner, "; ".join(dict.fromkeys(filter(None, lines))) or "pass")] if changed else []

    def _local(self, part: Part, chain: Chain) -> str:
        """A name for module.Name that means nothing else in the file."""
        known = self._locals.setdefault(part.stem, {})
        if (name := next((n for n, place in known.items() if place == chain.place), None)) is not None:
            return name
        taken = _identifiers(part.source) | set(known)
        module = chain.place.module
        stem = "script" if module == MAIN else module.rpartition(".")[2]
        local = chain.name if chain.name not in taken else f"{stem}_{chain.name}"
        while local in taken:
            local += "_"
        known[local] = chain.place
        return local

    def _statement(self, part: Part, place: Place, local: str) -> str:
        file = self.file_of(place)
        if file == part.stem:
            return "" if local == place.name else f"{local} = {place.name}"
        return f"from .{file} import {_as(place.name, local)}"

    def _import_name(self, part: Part, name: str, imports: _Imports) -> None:
        there = self.collection.meaning(part.source.name, name)
        if isinstance(there, External):
            imports.outside.add((there, name))
        elif isinstance(there, Place) and any(
            (there.module, position) in self._file for position in self.collection.defining(there)
        ):
            self._import(part, there, name, imports)

    def _import(self, part: Part, place: Place, local: str, imports: _Imports) -> None:
        file = self.file_of(place)
        if file != part.stem:
            imports.add(file, local, place.name)
        elif local != place.name:
            imports.same[local] = place.name

    def _outside(self, source: Source, imports: _Imports) -> str:
        """Imports from packages of others: the module's own in their order, then those that others pass on."""
        used = sorted(imports.outside, key=lambda pair: (pair[0].module != source.name, str(pair[0])))
        used.sort(key=lambda pair: (pair[0].module != source.name, pair[0].module, pair[0].statement))
        lines = []
        for (_, position), group in itertools.groupby(used, key=lambda pair: (pair[0].module, pair[0].statement)):
            lines += self._of_statement(list(group), position)
        return "\n".join(dict.fromkeys(lines))

    def _of_statement(self, group: list[tuple[External, str]], position: int) -> list[str]:
        """The names of one statement, in one line where it can be one."""
        node = self.collection.source(group[0][0].module).tree.body[position]
        if not isinstance(node, ast.ImportFrom):
            return [self._of_others(external, local) for external, local in group]
        pairs = sorted({_as(_own_name(node, external), local) for external, local in group})
        return [] if node.module == "__future__" else [_wrapped(f"from {node.module} import {', '.join(pairs)}")]

    def _of_others(self, external: External, local: str) -> str:
        """The import of a name from a package of others."""
        node = self.collection.source(external.module).tree.body[external.statement]
        if isinstance(node, ast.ImportFrom):
            return f"from {node.module} import {_as(_own_name(node, external), local)}"
        assert isinstance(node, ast.Import) and external.alias is not None
        alias = node.names[external.alias]
        plain = alias.asname is None and local == alias.name.split(".")[0]
        return f"import {alias.name}" if plain else f"import {_as(alias.name, local)}"

    def _ours(self, part: Part, imports: _Imports) -> str:
        lines = [
            _wrapped(f"from .{file} import {', '.join(_as(n, local) for local, n in sorted(pairs.items()))}")
            for file, pairs in sorted(imports.ours.items())
        ]
        if part.stem == self.entry:
            others = [p for p in self.parts if p.stem not in (part.stem, *imports.ours)]
            for other in others:
                if name := _first_name(other) or LOADED:
                    lines.append(
                        f"from .{other.stem} import {name}  # noqa: F401 - the loader copies what is named here"
                    )
        return "\n".join(lines)


class Text:
    """The text of a module's statements, by the places that its syntax tree gives."""

    def __init__(self, source: Source):
        self.source = source
        self.lines = source.text.split("\n")
        self.starts = [0, *itertools.accumulate(len(line) + 1 for line in self.lines)]

    def offset(self, line: int, column: int) -> int:
        """A place of the syntax tree, whose columns count bytes, in the text."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode(errors="ignore"))

    def statement(self, position: int, edits: list[tuple[ast.AST, str]]) -> str:
        """A statement with the comments above it and on its last line, some of its nodes replaced."""
        node = self.source.tree.body[position]
        first, last = self._bounds(node)
        text = self.source.text[first:last]
        places = [(self._place(part), new) for part, new in edits]
        for (begin, end), new in sorted(places, reverse=True):
            text = text[: begin - first] + new + text[end - first :]
        return text.rstrip()

    def _place(self, node: ast.AST) -> tuple[int, int]:
        begin = self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        return begin, self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _bounds(self, node: ast.stmt) -> tuple[int, int]:
        begin, end = self._place(node)
        for decorator in getattr(node, "decorator_list", ()):
            begin = min(begin, self.starts[decorator.lineno - 1])
        line = bisect.bisect_right(self.starts, begin) - 1
        if self.source.text[self.starts[line] : begin].strip() == "":
            while line and self.lines[line - 1].startswith("#") and not _CELL.match(self.lines[line - 1]):
                line -= 1
            if not _LICENSE.search("\n".join(self.lines[line : line + 3])) or line > 3:
                begin = self.starts[line]
        rest = self.lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode(errors="ignore")  # type: ignore[operator, index]
        return begin, end + len(rest) if rest.strip().startswith("#") else end


def _joined(bodies: list[str]) -> str:
    """Statements one below the other: definitions two lines apart, constants together."""
    text, previous = "", ""
    for body in filter(None, bodies):
        if text:
            apart = any(re.match(r"(#.*\n)*(@|class |def |async def )", each) for each in (body, previous))
            text += "\n\n\n" if apart else "\n"
        text += body
        previous = body
    return "\n" + text


def _as(name: str, local: str) -> str:
    return name if name == local else f"{name} as {local}"


def _wrapped(line: str) -> str:
    """An import of many names on several lines."""
    if len(line) <= 110 or " import " not in line:
        return line
    head, _, tail = line.partition(" import ")
    return f"{head} import (\n" + "".join(f"    {name},\n" for name in tail.split(", ")) + ")"


def _identifiers(source: Source) -> set[str]:
    """Every name that is written in a module, but for those behind a dot."""
    found: set[str] = set()
    for part in ast.walk(source.tree):
        for attribute in ("id", "arg", "name", "asname", "rest"):
            if isinstance(value := getattr(part, attribute, None), str):
                found.add(value.split(".")[0])
        if isinstance(part, (ast.Global, ast.Nonlocal)):
            found |= set(part.names)
    return found


def _own_name(node: ast.ImportFrom, external: External) -> str:
    return external.name if external.alias is None else node.names[external.alias].name


def _first_name(part: Part) -> str:
    """A name that the file has in any case."""
    for position in part.positions:
        node = part.source.tree.body[position]
        if isinstance(node, names.DEFINITIONS):
            return node.name
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
    return ""


def _names(node: ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names]


def _has_future(source: Source) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and "annotations" in _names(node)
        for node in source.tree.body
    )


def _notice(source: Source) -> str:
    """The comment about copyright and licence that a file begins with."""
    block: list[str] = []
    for line in source.text.split("\n"):
        if not line.startswith("#"):
            break
        block.append(line)
    text = "\n".join(line for line in block if not _CELL.match(line))
    return text if _LICENSE.search(text) else ""


def _docstring(source: Source) -> str:
    if ast.get_docstring(source.tree) is None:
        return ""
    node = source.tree.body[0]
    return ast.get_source_segment(source.text, node) or ""
