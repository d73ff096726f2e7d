"""What the modules of one of transformers' own files return, which parts they build, and what they hand to those.

scripts/stock.py puts it together for all releases. What is returned is read from the body of forward: the types that
are written beside it are wrong in many files.
"""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pinfold.audit.reachable import chain
from pinfold.audit.rules.reader import Reader
from pinfold.audit.rules.values import (
    EITHER,
    MODULE,
    MODULES,
    SELF,
    Around,
    Record,
    Value,
    in_words,
    joined,
)

NOT_SO = ("training", "gradient_checkpointing", "model_parallel", "is_parallelizable")
CONDITIONAL = "?"  # in front of a call that not every forward comes to
# What hands on the arguments and the result of forward as they are.
SEEN_THROUGH = ("deprecate_kwarg", "auto_docstring", "torch_compilable_check", "deprecated")


@dataclass
class Flow:
    """What is known of one class.

    Args:
        returns: as values.in_words has it. parts: attribute -> class of the file, with "*" for a list of them.
        hands: attribute -> how it is called.
    """

    returns: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    hands: dict[str, str] = field(default_factory=dict)


class File:
    """One file of models."""

    def __init__(self, statements: Iterable[ast.stmt]):
        self.classes: dict[str, ast.ClassDef] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        self.first_of: dict[str, str] = {}  # table of classes -> the first of them
        for node in statements:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, ast.FunctionDef):
                self.functions[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and node.value.values:
                first = node.value.values[0]
                if isinstance(node.targets[0], ast.Name) and isinstance(first, ast.Name):
                    self.first_of[node.targets[0].id] = first.id
        self._parts: dict[str, dict[str, Value]] = {}
        self._forward: dict[str, tuple[Value, Record]] = {}

    def flows(self) -> dict[str, Flow]:
        """Class -> what is known of it; those without a forward are left out."""
        return {name: self._flow(name) for name in self.classes if self.method(name, "forward") is not None}

    def lineage(self, name: str, seen: tuple[str, ...] = ()) -> list[str]:
        """A class and its bases in this file, nearest first."""
        if name not in self.classes or name in seen:
            return []
        bases = [base.id for base in self.classes[name].bases if isinstance(base, ast.Name)]
        return [name, *(each for base in bases for each in self.lineage(base, (*seen, name)))]

    def method(self, cls: str, name: str, behind: bool = False) -> tuple[str, ast.FunctionDef] | None:
        """The class that has a method, and the method. behind: of the bases alone."""
        for owner in self.lineage(cls)[behind:]:
            for node in self.classes[owner].body:
                if isinstance(node, ast.FunctionDef) and node.name == name:
                    return owner, node
        return None

    def parts(self, cls: str) -> dict[str, Value]:
        """Attribute -> the modules that the constructors put there."""
        if cls not in self._parts:
            self._parts[cls] = {}
            parts: dict[str, list[Value]] = {}
            for owner in reversed(self.lineage(cls)):
                own: dict[str, list[Value]] = {}
                for node in self.classes[owner].body:
                    if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                        reader = Reader(OfClass(self, cls, owner))
                        reader.run(node)
                        for stored in reader.record.stored:
                            if stored.owner == SELF:
                                own.setdefault(stored.name, []).append(stored.value)
                parts |= own
            self._parts[cls] = {name: _one(values) for name, values in parts.items()}
        return self._parts[cls]

    def forward(self, cls: str) -> tuple[Value, Record]:
        """What forward returns, and what it does."""
        if cls not in self._forward:
            self._forward[cls] = Value(), Record()  # a class that calls itself
            definition = self.method(cls, "forward")
            if definition is not None:
                reader = Reader(OfClass(self, cls, definition[0]))
                result = reader.run(definition[1])
                plain = all(_word(each) in SEEN_THROUGH for each in definition[1].decorator_list)
                self._forward[cls] = (result if plain else Value()), reader.record
        return self._forward[cls]

    def _flow(self, cls: str) -> Flow:
        result, record = self.forward(cls)
        flow = Flow(in_words(result))
        for name, value in self.parts(cls).items():
            if value.of[:1] == ("stock",):
                flow.parts[name] = value.of[2] + "*" * (value.kind == MODULES)
        calls: dict[str, list[str]] = {}
        for node, callee, path in record.calls:
            if callee.via and callee.via[0] == SELF:
                text = CONDITIONAL * bool(path) + _handed(node, record)
                calls.setdefault(callee.via[1], []).append(text)
        flow.hands = {name: " | ".join(dict.fromkeys(texts)) for name, texts in calls.items()}
        return flow


class OfClass(Around):
    """The names in a method of a class of the file."""

    def __init__(self, file: File, cls: str, owner: str):
        self.file = file
        self.cls = cls
        self.owner = owner

    def built(self, names: list[str]) -> tuple[str, ...]:
        name = self.file.first_of.get(names[-1], names[-1])
        return ("stock", "", name) if len(names) == 1 and name in self.file.classes else ()

    def member(self, of: tuple[str, ...], name: str) -> Value:
        cls = self.cls if of == SELF else of[-1] if of[:1] == ("stock",) else ""
        return self.file.parts(cls).get(name, Value()) if cls else Value()

    def called(self, of: tuple[str, ...]) -> Value:
        return self.file.forward(of[2])[0] if of[:1] == ("stock",) else super().called(of)

    def above(self) -> tuple[str, ...]:
        definition = self.file.method(self.owner, "forward", behind=True)
        return ("stock", "", definition[0]) if definition else ()

    def method(self, name: str) -> ast.FunctionDef | None:
        definition = self.file.method(self.cls, name)
        return definition[1] if definition else None

    def function(self, name: str) -> ast.FunctionDef | None:
        return self.file.functions.get(name)

    def conditions(self, function: ast.FunctionDef) -> Callable[[ast.expr], bool | None]:
        return _holds


def _one(values: list[Value]) -> Value:
    """What an attribute is that is set in several places: None first, a module later."""
    modules = [value for value in values if value.kind in (MODULE, MODULES)]
    kinds = {value.kind for value in modules}
    if len(kinds) == 2 and all(value.of or value.kind == MODULES for value in modules):  # an empty list, and its items
        classes = [Value(MODULES, of=value.of) for value in modules if value.of]
        return joined(classes) if classes else Value()
    if len(kinds) == 1 and len(modules) == len([value for value in values if value.kind]):
        known = [value for value in modules if value.of]
        return joined(known) if known else Value(modules[0].kind, of=EITHER)
    return Value()


def _holds(test: ast.expr) -> bool | None:
    """Whether a condition of transformers' own code holds in an ordinary call."""
    if isinstance(test, ast.BoolOp):
        parts = [_holds(part) for part in test.values]
        ends = isinstance(test.op, ast.Or)
        return ends if ends in parts else None if None in parts else not ends
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _holds(test.operand)
        return None if inner is None else not inner
    names = chain(test) if isinstance(test, (ast.Attribute, ast.Name)) else []
    if names[:1] == ["self"] and names[-1] in NOT_SO:
        return False
    return True if names == ["return_dict"] else None


def _word(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _handed(call: ast.Call, record: Record) -> str:
    """A call of a part: arguments by place, names, "**", and behind ">" what is done with the result."""
    names = sorted(k.arg for k in call.keywords if k.arg)
    rest = any(k.arg is None for k in call.keywords)
    count = "*" if any(isinstance(each, ast.Starred) for each in call.args) else str(len(call.args))
    ways = {use.way: use.count for use in reversed(record.uses) if use.value.source is call}
    result = ""
    if "unpack" in ways:
        result = f">{ways['unpack']}"
    elif "item" in ways or "slice" in ways:
        result = ">i"
    elif {"computed", "attribute", "handed"} & set(ways):
        result = ">t"
    return " ".join([count, *names, *["**"] * rest, *[result] * bool(result)])
