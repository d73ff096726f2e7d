"""Whether anything reads a buffer: one that nothing reads may hold any number (P12)."""

import ast

from pinfold.audit.reachable import ReachableCode, call_name, chain, is_none, string
from pinfold.common.trees import every, walk

# What reaches every buffer without its name.
BY_ANY_NAME = {"buffers", "named_buffers", "_buffers", "state_dict", "__dict__", "vars", "get_buffer"}
NO_READ = ("register_buffer", "hasattr", "delattr")
ANONYMOUS = ("Module", "object", "ABC", "Generic", "PreTrainedModel", "GenerationMixin")


class ReadBuffers:
    """The names of attributes that code of the folder reads, apart from what a constructor does."""

    def __init__(self, code: ReachableCode, without: set[int]):
        self.code = code
        self.names: set[str] = set()
        self.any = False
        for module in code.modules:
            for node in _outside_constructors(module.tree):
                if id(node) not in without:
                    self._read(node)

    def _read(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute):
            self.names |= {node.attr} if isinstance(node.ctx, ast.Load) else set()
            self.any = self.any or node.attr in BY_ANY_NAME
        elif isinstance(node, ast.Name) and node.id in BY_ANY_NAME:
            self.any = True
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            self.names.add(node.target.attr)
        elif isinstance(node, ast.Call) and call_name(node) not in NO_READ:
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            self.names |= {text.split(".")[-1] for value in values if (text := string(value))}
            if call_name(node) in ("getattr", "attrgetter", "get_buffer") and not all(
                string(value) for value in node.args[1:2]
            ):
                self.any = True
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            self.names |= {text for value in node.elts if (text := string(value))}

    def reads(self, cls: str, name: str) -> bool:
        """Whether a buffer may be read: here, by a class of another package from which its class derives, or by C."""
        bases = [base for owner in self.code.folder.lineage(cls) for base, _ in self.code.folder.bases(owner)]
        foreign = any(base not in self.code.folder.classes and base not in ANONYMOUS for base in bases)
        return not name or self.any or foreign or name in self.names


def _outside_constructors(tree: ast.AST) -> list[ast.AST]:
    """Every node that is not in a constructor, and none of a test whether there is one: self.mask is not None."""
    left_out: set[ast.AST] = set()
    for function in every(tree, ast.FunctionDef):
        if function.name == "__init__":
            left_out |= set(walk(function))
    for test in every(tree, ast.Compare):
        if len(test.ops) == 1 and is_none(test.comparators[0]) and len(chain(test.left)) > 1:
            left_out |= set(walk(test.left))
    return [node for node in walk(tree) if node not in left_out]
