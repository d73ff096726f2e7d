"""The nodes of a syntax tree, gathered once for many readers.

ast.walk finds the children of each node anew, and the rules of the audit ask for the nodes of the same classes and
functions some hundred times. Here a tree is put in one list; a part of it is a slice of that list.
"""

import ast
import bisect
import contextlib
import heapq
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar, overload

# Nodes without a place in the text. CPython has one object for each of these kinds, which all trees share.
SHARED = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
Node = TypeVar("Node", bound=ast.AST)
Other = TypeVar("Other", bound=ast.AST)
# The trees of the folder that is being read, by the bytes of their files; None where nobody asked to keep them.
_parsed: ContextVar[dict[bytes, ast.Module] | None] = ContextVar("_parsed", default=None)


class _Tree:
    """A tree in one list, parents before children. A node keeps the tree that it was put in last, and its place there.

    Args:
        nodes: all of them.
        places: kind of node -> where in ``nodes`` those of this kind are, in order.
        depth: how many nodes lie on the longest way down.
    """

    def __init__(self, root: ast.AST):
        self.nodes: list[ast.AST] = []
        self.places: dict[type, list[int]] = {}
        parents: list[int] = []
        pending = [(root, -1)]
        while pending:  # without recursion: a sum of many terms is a deep tree
            node, parent = pending.pop()
            own = len(self.nodes)
            self.nodes.append(node)
            parents.append(parent)
            self.places.setdefault(type(node), []).append(own)
            below = []
            for name in node._fields:
                value = getattr(node, name, None)
                if isinstance(value, list):
                    below += [each for each in value if isinstance(each, ast.AST) and not isinstance(each, SHARED)]
                elif isinstance(value, ast.AST) and not isinstance(value, SHARED):
                    below.append(value)
            node._below = below  # type: ignore[attr-defined]
            pending += [(each, own) for each in reversed(below)]
        sizes = [1] * len(parents)
        levels = [1] * len(parents)
        for own in range(len(parents) - 1, 0, -1):
            sizes[parents[own]] += sizes[own]
            levels[parents[own]] = max(levels[parents[own]], levels[own] + 1)
        self.depth = levels[0]
        for own, node in enumerate(self.nodes):
            node._place = (self, own, own + sizes[own])  # type: ignore[attr-defined]


def _place(node: ast.AST) -> tuple[_Tree, int, int]:
    """The tree that a node is in, its place there, and the place after all that is below it."""
    place = getattr(node, "_place", None)
    if place is None:
        _Tree(node)
        place = node._place  # type: ignore[attr-defined]
    return place


@contextlib.contextmanager
def parsed_once() -> Iterator[None]:
    """While this is open, ``parse`` takes a tree of the same bytes that is there already: several read one folder."""
    if _parsed.get() is not None:  # an outer one keeps them
        yield
        return
    token = _parsed.set({})
    try:
        yield
    finally:
        _parsed.reset(token)


def parse(content: bytes, file: str, own: bool = False) -> ast.Module:
    """The syntax tree of a file, in the encoding that it declares.

    Args:
        own: a tree that no other file has. What is known of a module is kept by its tree, and two files can be equal.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as ast.parse does.
    """
    trees = _parsed.get()
    if trees is None:
        return ast.parse(content, file)
    if own or content not in trees:
        trees[content] = ast.parse(content, file)
    return trees[content]


def walk(node: ast.AST) -> list[ast.AST]:
    """The node and all below it, in the order of the text: parents before children, first child first.

    Kinds of operators (ast.Add) and contexts (ast.Load) are left out. A tree that was walked must not be changed.
    """
    tree, first, end = _place(node)
    return tree.nodes[first:end]


@overload
def every(node: ast.AST, kind: type[Node], /) -> list[Node]: ...
@overload
def every(node: ast.AST, kind: type[Node], other: type[Other], /) -> list[Node | Other]: ...
@overload
def every(node: ast.AST, *kinds: type[ast.AST]) -> list[ast.AST]: ...
def every(node: ast.AST, *kinds: type[ast.AST]) -> list[Any]:
    """Those of ``walk(node)`` that are of these kinds: ast.Call, and no kind that others derive from (ast.expr)."""
    tree, first, end = _place(node)
    rows: list[list[int]] = []
    for kind in kinds:
        places = tree.places.get(kind, [])
        row = places[bisect.bisect_left(places, first) : bisect.bisect_left(places, end)]
        rows += [row] if row else []
    order = rows[0] if len(rows) == 1 else heapq.merge(*rows)
    return [tree.nodes[place] for place in order]


def below(node: ast.AST) -> Sequence[ast.AST]:
    """The children of a node, as ast.iter_child_nodes gives them, without kinds of operators and contexts."""
    _place(node)
    return node._below  # type: ignore[attr-defined]


def depth(node: ast.AST) -> int:
    """How many nodes lie on the longest way down a tree."""
    tree, first, _ = _place(node)
    return tree.depth if first == 0 else _Tree(node).depth


def root(node: ast.expr) -> str:
    """The name that a chain of attributes, items and calls starts with, or ""."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
