"""What an expression can be, as far as its text shows: imported things, constants, and the folder's own parts.

An expression has a set of values (a tuple without repetitions), since different runs can give it different ones. The
empty set means that nothing is known. Everything is bounded: a result that would be large is unknown.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from pinfold.audit.security.tables.names import notable

MOST_CHARACTERS = 1 << 16
MOST_ITEMS = 2048
COMPUTED_PLACE = "\N{HORIZONTAL ELLIPSIS}"  # the beginning of a text that a caller chooses, who need not
MOST_VALUES = 16


@dataclass(frozen=True)
class Ref:
    """Something outside this folder under its dotted name; "x()" is what a call of x gave, ".x" is a sibling's."""

    path: str


@dataclass(frozen=True)
class Const:
    """A known string, bytes or number.

    Args:
        decoded: it came out of base64, zlib or the like.
        soft: a configuration gives it, which code can change; what else it can be is not known.
    """

    value: object
    decoded: bool = False
    soft: bool = False

    def __eq__(self, other: object) -> bool:  # 1 == True, but they are different texts
        if not isinstance(other, Const) or type(self.value) is not type(other.value):
            return False
        return (self.value, self.decoded, self.soft) == (other.value, other.decoded, other.soft)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value, self.decoded, self.soft))


@dataclass(frozen=True)
class Decoded:
    """Unknown text that came out of a decoder."""


@dataclass(frozen=True)
class Given:
    """A path below the directory that save_pretrained was given, or one of tempfile's."""

    temporary: bool = False


@dataclass(frozen=True)
class Picked:
    """What getattr took out of something by a name that is computed at run time."""

    path: str


@dataclass(frozen=True)
class Getter:
    """An operator.attrgetter of these dotted names; of none where they are computed at run time."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Bound:
    """A functools.partial: functions with the arguments that are put before those of a call."""

    functions: "Values"
    arguments: tuple["Values", ...] = ()
    keywords: tuple[tuple[str, "Values"], ...] = ()


@dataclass(frozen=True)
class Unknown:
    """Something of which nothing is known, beside what is: "always this text" differs from "once this text"."""


@dataclass(frozen=True)
class Many:
    """A list, tuple or set with its elements in order."""

    items: tuple["Values", ...]
    size: int = 1


@dataclass(frozen=True)
class Table:
    """A dict display with constant keys."""

    entries: tuple[tuple[object, "Values"], ...]
    size: int = 1


class Settings(Table):
    """The folder's settings, or a table in them. The same only as the same object: they can be large."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@dataclass(frozen=True)
class Own:
    """A function, class, lambda or module of this folder."""

    node: ast.AST


@dataclass(frozen=True)
class Instance:
    """An object of a class of this folder."""

    node: ast.ClassDef


Value: TypeAlias = Ref | Const | Decoded | Given | Picked | Getter | Bound | Unknown | Many | Table | Own | Instance
Values: TypeAlias = tuple[Value, ...]


@dataclass
class Call:
    """A call with what its arguments can be. ``open_ended``: it has more arguments, which are not known."""

    node: ast.AST
    arguments: list[Values] = field(default_factory=list)
    keywords: dict[str, Values] = field(default_factory=dict)
    open_ended: bool = False

    def argument(self, position: int, name: str) -> Values:
        """The argument at a position or under a name; empty where nothing is known."""
        return self.keywords.get(name, self.arguments[position] if position < len(self.arguments) else ())

    def has(self, position: int, name: str) -> bool:
        """Whether the argument is there, or may be."""
        return name in self.keywords or position < len(self.arguments) or self.open_ended

    def is_always(self, position: int, name: str, value: bool | None) -> bool:
        """Whether the argument is known to be True, False or None."""
        values = self.argument(position, name)
        return bool(values) and all(isinstance(v, Const) and v.value is value and not v.soft for v in values)

    def decoded(self) -> bool:
        """Whether text out of a decoder is among the arguments."""
        return any(
            isinstance(value, Decoded) or (isinstance(value, Const) and value.decoded)
            for values in (*self.arguments, *self.keywords.values())
            for value in values
        )


def count_values(values: Values) -> int:
    """How many values there are, those inside lists and dicts included."""
    return sum(value.size if isinstance(value, (Many, Table)) else 1 for value in values)


def sequence_of(items: Sequence[Values]) -> Values:
    """A list of these elements, or nothing where it would be large."""
    total = sum(map(count_values, items)) + 1
    return (Many(tuple(items), total),) if total <= 2 * MOST_ITEMS else ()


def dict_of(entries: Sequence[tuple[object, Values]]) -> Values:
    """A dict of these entries, or nothing where it would be large."""
    total = sum(count_values(item) for _, item in entries) + 1
    return (Table(tuple(entries), total),) if total <= 2 * MOST_ITEMS else ()


def union(*groups: Values) -> Values:
    """All values once; constants are dropped beyond a bound, names that the audit speaks of never."""
    present = [group for group in groups if group]
    if len(present) < 2 or all(group is present[0] for group in present):  # one, or the same again
        return present[0] if present else ()
    merged: dict[Value, None] = {}
    constants = others = 0
    dropped = False
    for value in (value for group in present for value in group):
        if value in merged:
            continue
        if isinstance(value, (Const, Many, Table)):
            constants += 1
            if constants > MOST_VALUES:
                dropped = True
                continue
        else:
            others += 1
            if others > MOST_VALUES and not (isinstance(value, Ref) and notable(value.path)):
                continue
        merged[value] = None
    return with_unknown(tuple(merged)) if dropped else tuple(merged)


def known_strings(values: Values) -> list[str]:
    """The known strings among the values; bytes are read as text."""
    texts = [v.value for v in values if isinstance(v, Const) and isinstance(v.value, (str, bytes))]
    return [text if isinstance(text, str) else text.decode("latin-1") for text in texts]


def is_soft(values: Values) -> bool:
    """Whether the values come out of a configuration, and so can be others as well."""
    for value in values:
        if isinstance(value, Settings) or (isinstance(value, Const) and value.soft):
            return True
        if isinstance(value, Many) and any(map(is_soft, value.items)):
            return True
        if isinstance(value, Table) and any(is_soft(item) for _, item in value.entries):
            return True
    return False


def softened(values: Values) -> Values:
    """The same, as what a configuration gives."""
    return tuple(replace(v, soft=True) if isinstance(v, Const) else v for v in values)


def known_for_sure(values: Values) -> bool:
    """Whether the values are known texts, and nothing else: no configuration and no caller changes them."""
    texts = known_strings(values)
    computed = can_be_other(values) or any(COMPUTED_PLACE in text for text in texts)
    return bool(texts) and not computed and not is_soft(values)


def has_unknown(values: Values) -> bool:
    """Whether the values can be something of which nothing is known."""
    return any(isinstance(v, Unknown) for v in values) if values else False


def can_be_other(values: Values) -> bool:
    """Whether the values can be a text that is not known: what a library gives or an object of the folder, too."""
    return not all(isinstance(v, (Const, Many, Table, Own)) for v in values)


def either(*groups: Values) -> Values:
    """The union of what one of several things gives, and Unknown where nothing is known of one of them."""
    values = union(*groups)
    return with_unknown(values) if values and not all(groups) else values


def with_unknown(values: Values) -> Values:
    """The same, which can be something else too, where that matters: where texts are known."""
    return (*values, Unknown()) if known_strings(values) and not has_unknown(values) else values


def imported_paths(values: Values) -> list[str]:
    """The dotted names of what is outside the folder."""
    paths: list[str] = []
    for value in values:
        if isinstance(value, Ref):
            paths.append(value.path)
        elif isinstance(value, Bound):
            paths += imported_paths(value.functions)
    return paths


def without_arguments(values: Values) -> Values:
    """The same with the functions of each functools.partial in its place."""
    for value in values:
        if isinstance(value, Bound):
            break
    else:
        return values
    return tuple(inner for v in values for inner in (v.functions if isinstance(v, Bound) else (v,)))


def bound(functions: Values, arguments: Sequence[Values], keywords: dict[str, Values]) -> Values:
    """A functools.partial; one inside another is only its functions, so that no chain of them grows."""
    plain = [without_arguments(values) for values in arguments]
    named = tuple((key, without_arguments(values)) for key, values in keywords.items())
    size = sum(map(count_values, (*plain, *(values for _, values in named))))
    functions = without_arguments(functions)
    return (Bound(functions, tuple(plain), named),) if size <= 2 * MOST_ITEMS else functions


def all_given(values: Values) -> bool:
    """Whether the values are paths below the directory that saving was given, and nothing else."""
    return bool(values) and all(isinstance(v, Given) for v in values)


def printable_excerpt(text: object, limit: int = 60) -> str:
    """Text of an audited file as a message can quote it: one line, short, no control characters."""
    clean = "".join(c if c.isprintable() else "?" for c in str(text)[: 4 * limit])
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."
