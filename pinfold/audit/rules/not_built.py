"""What a load does not build, as the settings rule it out: branches, and classes that only such branches build."""

import ast
from collections.abc import Iterator

from pinfold.audit.reachable import ReachableCode, call_name, string
from pinfold.audit.rules.decided import decide, settings
from pinfold.common.trees import below, every, walk

LOOKUPS = {"globals", "locals", "vars", "eval", "exec", "import_module"}  # may build by a name


class NotBuilt:
    """Which nodes of the code the settings rule out, and which modules of the folder nothing else builds."""

    def __init__(self, code: ReachableCode):
        self.code = code
        values = settings(code)
        trees = [module.tree for module in code.modules]
        self.nodes = {id(node) for tree in trees for node in _ruled_out(tree, values)} if values else set()
        self.classes = set(self._classes(trees))

    def _classes(self, trees: list[ast.Module]) -> Iterator[str]:
        """Modules that no branch which runs builds or hands on, under their own name or as the base of another."""
        uses = [(name, node) for tree in trees for name, node in _uses(tree)]
        named = {name for name, node in uses if id(node) not in self.nodes}
        dead = {name for name, node in uses if id(node) in self.nodes}
        texts = {text for tree in trees for node in every(tree, ast.Constant) if (text := string(node))}
        named |= {base for cls in self.code.classes for base in self.code.folder.own_bases(cls)} | texts
        named |= {place.split(".")[-1] for place in self.code.auto_map.values()} | set(self.code.models)
        by_name = any(name in LOOKUPS for name, _ in uses)
        for cls in self.code.torch_modules:
            if cls not in named and (cls in dead or not by_name):
                yield cls


def _ruled_out(tree: ast.AST, values: dict) -> Iterator[ast.AST]:
    """Every node of a branch that does not run."""
    for node in every(tree, ast.If, ast.IfExp):
        holds = decide(node.test, values)
        if holds is None:
            continue
        branch = node.orelse if holds else node.body
        for part in branch if isinstance(branch, list) else [branch]:
            yield from walk(part)


def _uses(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Names that are called or handed on; not a class's bases, what isinstance asks for, and types."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call) and call_name(node) in ("isinstance", "issubclass"):
            pending += node.args[:1]
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield call_name(node), node
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id, node
        if isinstance(node, ast.ClassDef):
            pending += [*node.body, *node.decorator_list]
        elif isinstance(node, ast.AnnAssign):
            pending += [node.value] if node.value else []
        elif isinstance(node, ast.arg):
            continue
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending += [*node.body, *node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        else:
            pending += below(node)
