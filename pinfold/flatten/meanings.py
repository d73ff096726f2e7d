"""What a name in the user's source can stand for."""

import ast
from dataclasses import dataclass

Import = ast.Import | ast.ImportFrom


@dataclass(frozen=True)
class Place:
    """A name that a module of the user defines."""

    module: str
    name: str


@dataclass(frozen=True)
class OwnModule:
    """A name that stands for a module of the user."""

    module: str


@dataclass(frozen=True)
class External:
    """A name of a package of others: the module and the statement that import it, and which of its names it is.

    Args:
        alias: its position in the statement; None where that is ``import *``, and ``name`` says it.
    """

    module: str
    statement: int
    alias: int | None
    name: str = ""


Meaning = Place | OwnModule | External | None


@dataclass(frozen=True)
class Chain:
    """``module.Name`` in a statement: what it stands for, the name it begins with, and its place in the text.

    Args:
        by: the import inside of the statement that binds the name; None for one at the top of the module.
    """

    place: Place | External
    start: str
    node: ast.Attribute
    by: Import | None = None

    @property
    def name(self) -> str:
        """The name without its module."""
        return self.node.attr


@dataclass(frozen=True)
class Bound:
    """The module that a name stands for, and the import inside of a statement that says so."""

    module: str
    by: Import | None = None
