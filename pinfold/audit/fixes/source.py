"""The text of one Python file, and changes to it at the places that its syntax tree gives; all other bytes stay."""

import ast
import functools
import re

from pinfold.audit.fixes.files import Fix, read
from pinfold.folder.model_folder import Module, located

LINE_END = re.compile(r"\r\n|\r|\n")
LONGEST = 119  # characters of a line that is made longer


class Source:
    """A file with its changes: (first character, last character, new text, code)."""

    def __init__(self, module: Module):
        self.module = module
        self.text = read(module.path)
        self.end = (LINE_END.search(self.text) or ["\n"])[0]
        self.starts = [0, *(match.end() for match in LINE_END.finditer(self.text))]
        self.edits: list[tuple[int, int, str, str]] = []
        self.reasons: list[str] = []

    def fix(self) -> Fix:
        """The fixed file; the same text where nothing is to be done, or where it would no longer be Python."""
        after, before = self.text, len(self.text)
        for first, last, new, _ in sorted(self.edits, reverse=True):
            if last > before:  # two fixes for one place: which of them is meant is not plain
                return Fix(self.module.path, self.text, self.text, [])
            after, before = after[:first] + new + after[last:], first
        try:
            ast.parse(after)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            after = self.text
        codes = sorted({code for *_, code in self.edits}) if after != self.text else []
        return Fix(self.module.path, self.text, after, codes)

    def say(self, node: ast.AST, words: str) -> None:
        """Why a fault at a node has no fix."""
        line = f"{self.module.file}:{located(node).lineno}: {words}"
        self.reasons += [line] * (line not in self.reasons)

    @functools.cached_property
    def parents(self) -> dict[int, ast.AST]:
        """What each node is directly in, by the node's id."""
        return {id(child): node for node in ast.walk(self.module.tree) for child in ast.iter_child_nodes(node)}

    def around(self, node: ast.AST, kind: type | tuple[type, ...]) -> ast.AST | None:
        """The nearest node of a kind that a node is in, itself included."""
        inner: ast.AST | None = node
        while inner is not None and not isinstance(inner, kind):
            inner = self.parents.get(id(inner))
        return inner

    def offset(self, line: int, column: int) -> int:
        """A place of the syntax tree, whose columns count bytes, as a place in the text."""
        start = self.starts[line - 1]
        return start + len(self.text[start : start + column].encode()[:column].decode(errors="ignore"))

    def first(self, node: ast.AST) -> int:
        """Where a node begins."""
        return self.offset(located(node).lineno, located(node).col_offset)

    def last(self, node: ast.AST) -> int:
        """Where a node ends."""
        return self.offset(located(node).end_lineno, located(node).end_col_offset)

    def of(self, node: ast.AST) -> str:
        """A node as it is written."""
        return self.text[self.first(node) : self.last(node)]

    def indent(self, node: ast.AST) -> str | None:
        """The white space in front of a node; None where it does not begin its line."""
        before = self.text[self.starts[located(node).lineno - 1] : self.first(node)]
        return before if not before.strip() else None

    def lines(self, node: ast.AST) -> tuple[int, int] | None:
        """Where the lines of a statement begin and end; None where something else is on them, but for a comment."""
        start, end = self.starts[located(node).lineno - 1], self.next_line(node)
        behind = self.text[self.last(node) : end].strip()
        if self.indent(node) is None or (behind and not behind.startswith("#")):
            return None
        return start, end

    def next_line(self, node: ast.AST) -> int:
        """Where the line below a node begins."""
        line = located(node).end_lineno
        return self.starts[line] if line < len(self.starts) else len(self.text)

    def insert(self, place: int, new: str, code: str) -> None:
        """Add text at a place."""
        self.edits.append((place, place, new, code))

    def replace(self, node: ast.AST, new: str, code: str) -> None:
        """Write something else in the place of a node."""
        self.edits.append((self.first(node), self.last(node), new, code))

    def after_line(self, node: ast.AST, new: str, code: str) -> None:
        """Add a line below a node."""
        if located(node).end_lineno < len(self.starts):
            self.insert(self.next_line(node), new + self.end, code)
        else:  # the last line of a file that ends without a line end
            self.insert(len(self.text), self.end + new, code)

    def before_line(self, node: ast.AST, new: str, code: str) -> None:
        """Add lines above a statement, and above its decorators."""
        top = min([located(node).lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        self.insert(self.starts[top - 1], new + self.end, code)

    def add_argument(self, before: int, text: str, code: str) -> None:
        """Add an argument in front of the one that begins at a place, on a line of its own where that one has it."""
        start = max(each for each in self.starts if each <= before)
        indent = self.text[start:before]
        gap = " " if indent.strip() else self.end + indent
        self.insert(before, f"{text},{gap}", code)

    def one_line(self, node: ast.AST) -> bool:
        """Whether a node is on one line."""
        return located(node).lineno == located(node).end_lineno
