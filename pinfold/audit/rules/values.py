"""What expressions of model code come to, as far as their text says: a tensor, a tuple of so many values, a module.

Here are the values, what is recorded of them, and what is asked about names; reader.py reads functions.
"""

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

TENSOR, TUPLE, OUTPUT, MODULE, MODULES = "tensor", "tuple", "output", "module", "modules"
SELF = ("self",)
EITHER = ("either",)  # one of several classes


MOST_STEPS = 5000  # statements that are read from one function on


@dataclass(frozen=True)
class Value:
    """What is known of a value.

    Args:
        kind: "" where nothing is.
        least, most: how many values a tuple has; most is None where there may be more.
        items: what the first of them are.
        of: what a module is, or each of several: ("own", class), ("stock", file, class), ("torch", class).
        via: whose part it is, as ``of`` has it, and under which name.
        source: the call of a module that it came from.
    """

    kind: str = ""
    least: int = 0
    most: int | None = None
    items: tuple["Value", ...] = ()
    of: tuple[str, ...] = ()
    via: tuple[tuple[str, ...], str] | None = field(default=None, compare=False)
    source: ast.Call | None = field(default=None, compare=False)


A_TENSOR = Value(TENSOR)


def in_words(value: Value) -> str:
    """What the table says of a value: "t", "o", "2", "1-3", "1-" for one or more; "" where it is not known."""
    if value.kind != TUPLE:
        return {TENSOR: "t", OUTPUT: "o"}.get(value.kind, "")
    return (
        str(value.least) if value.least == value.most else f"{value.least}-{'' if value.most is None else value.most}"
    )


def from_words(text: str) -> Value:
    """The value that the table writes so. The first of a tuple is what was computed."""
    if text in ("", "t", "o"):
        return Value({"t": TENSOR, "o": OUTPUT}.get(text, ""))
    least, dash, most = text.partition("-")
    return Value(TUPLE, int(least), int(most) if most else None if dash else int(least), (A_TENSOR,))


def joined(values: list[Value]) -> Value:
    """What one of several values is."""
    if not values or len({value.kind for value in values}) > 1:
        return Value()
    first = values[0]
    source = first.source if all(value.source is first.source for value in values) else None
    if first.kind == TUPLE:
        most = None if any(v.most is None for v in values) else max(v.most or 0 for v in values)
        items = tuple(joined(list(row)) for row in zip(*(value.items for value in values), strict=False))
        return Value(TUPLE, min(v.least for v in values), most, items, source=source)
    if any(value.of != first.of for value in values):
        return Value(first.kind, of=EITHER, via=first.via, source=source)
    return replace(first, source=source)


def of_several(items: list[Value]) -> Value:
    """A tuple of these."""
    return Value(TUPLE, len(items), len(items), tuple(items))


def added(left: Value, right: Value) -> Value:
    """left + right"""
    if TUPLE in (left.kind, right.kind):
        known = left.kind == right.kind and None not in (left.most, right.most)
        most = (left.most or 0) + (right.most or 0) if known else None
        items = left.items + right.items if left.least == left.most == len(left.items) else left.items
        return Value(TUPLE, left.least + right.least, most, items if left.kind == TUPLE else ())
    return A_TENSOR if TENSOR in (left.kind, right.kind) else Value()


def number_of(node: ast.expr) -> int | None:
    """A number in brackets."""
    try:
        number = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def sliced(base: Value, part: ast.Slice) -> Value:
    """value[first:last]"""
    if base.kind != TUPLE:
        return A_TENSOR if base.kind == TENSOR else Value()
    first = 0 if part.lower is None else number_of(part.lower)
    if first is None or first < 0 or part.upper is not None or part.step is not None:
        return Value(TUPLE)
    most = None if base.most is None else max(base.most - first, 0)
    return Value(TUPLE, max(base.least - first, 0), most, base.items[first:])


@dataclass(frozen=True)
class Use:
    """What is done with the result of a module.

    Args:
        way: "unpack", "star", "item", "slice", "joined" with a tuple, "computed" with, "attribute", "handed" on.
        count: values of an unpacking, or the place of an item.
        path: the conditions behind which it is.
    """

    value: Value
    node: ast.AST
    way: str
    count: int
    path: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """self.name = value, other.name = value, and an item of a list of modules: whose, name and value."""

    owner: tuple[str, ...]
    name: str
    value: Value
    node: ast.AST
    path: tuple[int, ...]


@dataclass
class Record:
    """What was seen while functions were read: uses of results, calls of modules, and what was stored.

    Args:
        steps: statements that are read still; a function that calls many others, which call many, has an end too.
    """

    uses: list[Use] = field(default_factory=list)
    calls: list[tuple[ast.Call, Value, tuple[int, ...]]] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    steps: int = MOST_STEPS


class Around:
    """What a reader asks about the names in a function; nothing is known here, and others know more."""

    def built(self, names: list[str]) -> tuple[str, ...]:
        """What a call of a class makes, as Value.of has it; () for anything else."""
        return ()

    def member(self, of: tuple[str, ...], name: str) -> Value:
        """A part of a module; SELF is the one whose method is read."""
        return Value()

    def called(self, of: tuple[str, ...]) -> Value:
        """What a module returns."""
        return A_TENSOR if of[:1] == ("torch",) else Value()

    def above(self) -> tuple[str, ...]:
        """The class whose forward super().forward(...) calls."""
        return ()

    def method(self, name: str) -> ast.FunctionDef | None:
        """A method of the module whose method is read."""
        return None

    def function(self, name: str) -> ast.FunctionDef | None:
        """A function of the file."""
        return None

    def conditions(self, function: ast.FunctionDef) -> Callable[[ast.expr], bool | None]:
        """Whether conditions in a function hold; None where that is not known."""
        return lambda test: None

    def is_settled(self, test: ast.expr) -> bool:
        """Whether a condition asks for the release: what is behind it is meant for some alone."""
        return False
