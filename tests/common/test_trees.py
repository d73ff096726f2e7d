"""Nodes of a syntax tree that is gathered once, against ast's own functions on the sources of installed libraries."""

import ast
import collections
import itertools
from pathlib import Path

import pytest

from pinfold.common import trees

SOURCES = [Path(module.__file__) for module in (ast, collections, pytest)]
SOURCES += [Path(__file__), *sorted(Path(ast.__file__).with_name("asyncio").glob("*.py"))[:6]]
NEW = "match x:\n    case [1, *y] if y: pass\ntry: pass\nexcept* OSError as e: z = (w := 1)\n"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_each_part_of_a_tree_has_the_nodes_that_ast_finds(path):
    tree = ast.parse(path.read_bytes())
    kinds = sorted({type(node) for node in ast.walk(tree)} - set(trees.SHARED), key=lambda kind: kind.__name__)
    for node in [tree, *(n for n in ast.walk(tree) if isinstance(n, (ast.stmt, ast.Call, ast.BinOp)))]:
        expected = [n for n in ast.walk(node) if not isinstance(n, trees.SHARED)]
        assert trees.walk(node)[0] is node
        assert set(map(id, trees.walk(node))) == set(map(id, expected)) and len(trees.walk(node)) == len(expected)
        assert list(trees.below(node)) == [n for n in ast.iter_child_nodes(node) if not isinstance(n, trees.SHARED)]
    for first, second in itertools.pairwise(kinds):
        if not issubclass(first, trees.SHARED) and not issubclass(second, trees.SHARED):
            of_two = [n for n in trees.walk(tree) if isinstance(n, (first, second))]
            assert trees.every(tree, first, second) == of_two
            assert trees.every(tree, second) == [n for n in trees.walk(tree) if isinstance(n, second)]


def test_nodes_come_in_the_order_of_the_text():
    tree = ast.parse("def f(a=1):\n    return g(a)\nb = f(2)\n")
    lines = [node.lineno for node in trees.walk(tree) if hasattr(node, "lineno")]
    assert lines == sorted(lines)
    assert [call.func.id for call in trees.every(tree, ast.Call)] == ["g", "f"]


def test_a_part_of_one_tree_can_be_put_into_another():
    """An evaluator makes a sum of what a += 1 has; the statement's own function is then walked as before."""
    tree = ast.parse("def f(a):\n    a += g(1)\n    return a\n")
    before = trees.walk(tree)
    statement = tree.body[0].body[0]
    total = ast.copy_location(ast.BinOp(statement.target, statement.op, statement.value), statement)
    assert [type(node).__name__ for node in trees.walk(total)] == ["BinOp", "Name", "Call", "Name", "Constant"]
    assert trees.walk(tree) == before
    assert trees.every(tree.body[0], ast.Call) == [statement.value]


def test_depth_counts_the_nodes_on_the_longest_way():
    assert trees.depth(ast.parse("")) == 1
    assert trees.depth(ast.parse("x")) == 3  # module, statement, name
    assert trees.depth(ast.parse("+".join("a" * 900))) == 902  # no recursion
    part = ast.parse("y = f(g(1))\nx").body[0].value
    trees.walk(part)
    assert trees.depth(part) == 3


def test_newer_statements_are_read(tmp_path):
    try:
        tree = ast.parse(NEW)
    except SyntaxError:
        pytest.skip("except* is a syntax error before Python 3.11")
    assert [type(n) for n in trees.walk(tree)].count(ast.match_case) == 1
    assert trees.every(tree, ast.NamedExpr)[0].target.id == "w"


def test_files_are_parsed_once_while_a_folder_is_read():
    content = b"a = 1\n"
    assert trees.parse(content, "x.py") is not trees.parse(content, "x.py")
    with trees.parsed_once():
        tree = trees.parse(content, "x.py")
        with trees.parsed_once():  # a reader inside another one
            assert trees.parse(content, "y.py") is tree
        assert trees.parse(content, "x.py") is tree
        assert trees.parse(content, "z.py", own=True) is not tree
    assert trees.parse(content, "x.py") is not tree
