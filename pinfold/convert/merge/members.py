"""A class in parts: its docstring, values and methods, each with the comments above it."""

import ast
from dataclasses import dataclass


@dataclass
class Member:
    """A statement of a class body, with the comments above it."""

    key: str
    kind: str  # docstring, value, method, other
    text: str
    node: ast.stmt
    spaced: bool = False  # an empty line above it


@dataclass
class Body:
    """A class in parts; texts keep their indentation."""

    name: str
    decorators: list[str]
    bases: str  # what the parentheses hold
    members: list[Member]

    def find(self, key: str) -> Member | None:
        return next((m for m in self.members if m.key == key), None)

    def text(self) -> str:
        parts = [*self.decorators, f"class {self.name}{f'({self.bases})' if self.bases else ''}:"]
        shown = [m for m in self.members if m.kind != "pass"]
        for number, member in enumerate(shown):
            if number and (
                member.spaced or member.kind == "method" or shown[number - 1].kind in ("method", "docstring")
            ):
                parts.append("")
            parts.append(member.text)
        if not shown:
            parts.append("    pass")
        return "\n".join(parts)


def split_class(text: str) -> Body:
    """Take a class's text apart, which is unindented and nothing else."""
    node = ast.parse(text).body[0]
    lines = text.split("\n")
    decorators: list[str] = []
    start = 1
    for part in node.decorator_list:
        decorators.append("\n".join(lines[start - 1 : part.end_lineno]))
        start = part.end_lineno + 1
    decorators += lines[start - 1 : node.lineno - 1]  # comments
    first = node.body[0]
    top = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    bases = ", ".join(
        [ast.get_source_segment(text, b) for b in node.bases]
        + [f"{k.arg}={ast.get_source_segment(text, k.value)}" for k in node.keywords]
    )
    # comments between the head and the first statement belong to that statement
    end_of_head = top - 1
    while end_of_head > node.lineno and (
        not lines[end_of_head - 1].strip() or lines[end_of_head - 1].strip()[:1] == "#"
    ):
        end_of_head -= 1
    return Body(node.name, decorators, bases, split_members(node.body, lines, end_of_head))


def split_members(body: list[ast.stmt], lines: list[str], above: int) -> list[Member]:
    """Statements with the lines between them; `above` is the number of the last line in front of the first."""
    members = []
    for number, node in enumerate(body):
        text = lines[above : node.end_lineno]
        spaced = bool(text) and not text[0].strip()
        while text and not text[0].strip():
            text = text[1:]
        above = node.end_lineno
        key, kind = classify(node, number)
        members.append(Member(key, kind, "\n".join(text), node, spaced))
    return members


def classify(node: ast.stmt, number: int) -> tuple[str, str]:
    """Key and kind of a statement: what a subclass replaces it by, and how."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        # a property and its setter share a name
        marks = [
            d.attr for d in node.decorator_list if isinstance(d, ast.Attribute) and d.attr in ("setter", "deleter")
        ]
        return node.name + "".join(f".{m}" for m in marks), "method"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        if node.value.value is ...:
            return "pass", "pass"
        if number == 0 and isinstance(node.value.value, str):
            return "__doc__", "docstring"
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, "value"
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, "value"
    if isinstance(node, ast.Pass):
        return "pass", "pass"
    if isinstance(node, ast.ClassDef):
        return node.name, "method"
    return ast.unparse(node), "other"


def raises_attribute_error(node: ast.AST) -> bool:
    """`attr = AttributeError()`, or a method whose body only raises it: what the subclass removes."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        value = node.value
        if isinstance(value, ast.Call):
            value = value.func
        return isinstance(value, ast.Name) and value.id == "AttributeError"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        if len(body) == 1 and isinstance(body[0], ast.Raise) and body[0].exc is not None:
            raised = body[0].exc.func if isinstance(body[0].exc, ast.Call) else body[0].exc
            removed = ("AttributeError", "NotImplementedError")  # either says that the class has no such method
            return isinstance(raised, ast.Name) and raised.id in removed
    return False
