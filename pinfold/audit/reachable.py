"""The part of a folder that from_pretrained executes, in the terms that the rules about code need."""

import ast
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from pinfold.audit.finding import Finding
from pinfold.common.trees import below, every, root, walk
from pinfold.folder.loaded_code import LoadedCode
from pinfold.folder.model_folder import ModelFolder, Module, located

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass
class ReachableCode:
    """What the rules about code look at.

    Args:
        directory: where README.md, config.json and requirements.txt may be.
        modules: the files that are loaded, sorted by name.
        auto_map: Auto class -> "module.Class", of the folder.
        lowest_version: the oldest transformers that the folder supports, such as (4, 48).
        configs: the JSON files that were there, by name.
        runs: everything that a load runs, with what it takes out of folders, such as custom_generate/generate.py.
        original: the folder that ``directory`` is a staged copy of.
    """

    directory: Path
    folder: ModelFolder
    modules: list[Module]
    auto_map: dict[str, str]
    lowest_version: tuple[int, int]
    configs: dict[str, dict] = field(default_factory=dict)
    runs: LoadedCode = field(default_factory=LoadedCode)
    original: Path | None = None

    @property
    def home(self) -> Path:
        """Where the author has the code, with his own package around it, if there is one."""
        return self.original or self.folder.path

    @functools.cached_property
    def classes(self) -> list[str]:
        """Names of the classes in these files."""
        here = {module.name for module in self.modules}
        return [name for name, (module, _) in self.folder.classes.items() if module.name in here]

    @functools.cached_property
    def models(self) -> list[str]:
        """PreTrainedModel classes that can be built: registered, built in the code, or without subclasses."""
        registered = {place.split(".")[-1] for auto, place in self.auto_map.items() if auto.startswith("AutoModel")}
        built = {
            node.func.id
            for module in self.modules
            for node in every(module.tree, ast.Call)
            if isinstance(node.func, ast.Name)
        }
        parents = {base for name in self.classes for base in self.folder.own_bases(name)}
        return [
            name
            for name in self.classes
            if self.folder.kind(name) == "model"
            and self.folder.is_concrete(name)
            and (name in registered or name in built or name not in parents)
        ]

    @functools.cached_property
    def config_classes(self) -> list[str]:
        """Configuration classes."""
        return [name for name in self.classes if self.folder.kind(name) == "config"]

    @functools.cached_property
    def torch_modules(self) -> list[str]:
        """Classes that are torch.nn.Module, models included."""
        return [name for name in self.classes if self._is_module(name)]

    def _is_module(self, name: str) -> bool:
        for cls in self.folder.lineage(name):
            module, node = self.folder.classes[cls]
            if self.folder.kind(cls) == "model":
                return True
            for base in node.bases:
                place = module.imports.get(root(base), ("", ""))
                if "torch" in (place[0].split(".")[0], place[1].split(".")[0]) or root(base) == "nn":
                    return True
            for call in calls(node):
                if call_name(call) in ("register_buffer", "Parameter", "register_parameter"):
                    return True
        return False

    @functools.cached_property
    def parameters(self) -> dict[str, dict[str, ast.AST]]:
        """Class -> the parameters that it makes by hand: name -> where."""
        parameters: dict[str, dict[str, ast.AST]] = {}
        for name in self.classes:
            own = parameters[name] = {}
            for node in every(self.folder.classes[name][1], *ASSIGNMENTS, ast.Call):
                for target, value in assignments(node):
                    if is_self_attribute(target) and makes(value, "Parameter"):
                        own[target.attr] = node
                if isinstance(node, ast.Call) and call_name(node) == "register_parameter":
                    registered = string(argument(node, 0, "name"))
                    if registered and not is_none(argument(node, 1, "param")):
                        own[registered] = node
        return parameters

    @functools.cached_property
    def buffers(self) -> dict[str, set[str]]:
        """Class -> names of its buffers; "" for one whose name is computed."""
        buffers: dict[str, set[str]] = {}
        for name in self.classes:
            own = buffers[name] = set()
            for node in walk(self.folder.classes[name][1]):
                if isinstance(node, ast.Call) and call_name(node) == "register_buffer":
                    own.add(string(argument(node, 0, "name")) or "")
                for target, value in assignments(node):
                    if is_self_attribute(target) and makes(value, "Buffer"):
                        own.add(target.attr)
        return buffers

    @functools.cached_property
    def mentioned(self) -> set[str]:
        """Names of attributes that the code reads or calls, and its strings: what a method may be reached by."""
        nodes = [node for module in self.modules for node in walk(module.tree)]
        return {word(node) for node in nodes if isinstance(node, (ast.Attribute, ast.Constant))}

    def builds_module(self, value: ast.expr | None) -> TypeGuard[ast.Call]:
        """Whether an expression makes a new torch module, or a parameter: nn.Linear(...), Block(...)."""
        if not isinstance(value, ast.Call):
            return False
        names = chain(value.func)
        return (
            names[:1] == ["nn"]
            or names[:2] == ["torch", "nn"]
            or names[-1:] == ["Parameter"]
            or (bool(names) and names[-1] in self.torch_modules)
        )

    def finding(self, rule: str, words: str, cls: str, node: ast.AST | None = None, **more) -> Finding:
        """A finding whose sentence begins with the place of a class, or of a node in it."""
        module, own = self.folder.classes[cls]
        line = located(node or own).lineno
        return Finding(rule, f"{module.file}:{line}: {words}", module.file, line, **more)


ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.NamedExpr)  # the nodes of which ``assignments`` has something to say


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call below a node."""
    return iter(every(node, ast.Call))


def call_name(call: ast.Call) -> str:
    """The last word of what is called: "register_buffer" for self.register_buffer(...)."""
    func = call.func
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def makes(value: ast.expr | None, name: str) -> bool:
    """Whether an expression is a call of ``name``, also as a branch of a conditional."""
    if isinstance(value, ast.IfExp):
        return makes(value.body, name) or makes(value.orelse, name)
    return isinstance(value, ast.Call) and call_name(value) == name


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """An argument by position or by name."""
    if len(call.args) > position and not any(isinstance(a, ast.Starred) for a in call.args[: position + 1]):
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def string(node: ast.AST | None) -> str | None:
    """The value of a string constant."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def word(node: ast.AST) -> str:
    """The value of a string constant, or the name of an attribute; "" for any other node."""
    return node.attr if isinstance(node, ast.Attribute) else string(node) or ""


def is_try(node: ast.AST) -> TypeGuard[ast.Try]:
    """A try with except, or with except*, which the syntax tree of Python 3.10 does not know."""
    return isinstance(node, (ast.Try, getattr(ast, "TryStar", ast.Try)))


def is_combined(test: ast.AST) -> TypeGuard[ast.BoolOp | ast.UnaryOp]:
    """Whether a condition is made of others by and, or, not."""
    return isinstance(test, ast.BoolOp) or (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))


def combined(test: ast.BoolOp | ast.UnaryOp, holds: Callable[[ast.expr], bool | None]) -> bool | None:
    """Whether a condition made by and, or, not holds; None where its parts do not decide it.

    Args:
        holds: whether a part holds, None where that is not known.
    """
    if isinstance(test, ast.UnaryOp):
        inner = holds(test.operand)
        return None if inner is None else not inner
    parts = [holds(part) for part in test.values]
    decides = isinstance(test.op, ast.Or)  # what one part alone decides
    return decides if decides in parts else None if None in parts else not decides


def is_none(node: ast.AST | None) -> bool:
    """Whether it is the constant None."""
    return isinstance(node, ast.Constant) and node.value is None


def assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """(target, value) pairs of an assignment; pairs of tuples are taken apart."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, (ast.Tuple, ast.List)):
                values = node.value.elts if isinstance(node.value, (ast.Tuple, ast.List)) else []
                same = len(values) == len(target.elts) and not any(isinstance(v, ast.Starred) for v in values)
                yield from zip(target.elts, values if same else [None] * len(target.elts), strict=True)
            else:
                yield target, node.value
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        yield node.target, node.value


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """Every argument that a function names, in its order: not *args and **kwargs."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def defaults(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr]:
    """Argument -> its default, of those that have one."""
    signature = function.args
    positional = [*signature.posonlyargs, *signature.args]
    last = positional[len(positional) - len(signature.defaults) :]
    pairs = [*zip(last, signature.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(signature.kwonlyargs, signature.kw_defaults, strict=True) if d is not None]
    return {argument.arg: default for argument, default in pairs}


def is_self_attribute(node: ast.AST | None) -> TypeGuard[ast.Attribute]:
    """Whether it is self.name."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def chain(node: ast.AST | None) -> list[str]:
    """Names of a chain of attributes, ["self", "lin", "weight"]; items are stepped over; [] for anything else."""
    names: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []


def is_config(node: ast.AST | None) -> bool:
    """Whether it is exactly config or self.config: chain steps over items, and config["vision"] is another table."""
    return (isinstance(node, ast.Name) and node.id == "config") or (is_self_attribute(node) and node.attr == "config")


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when a function does: those of functions and classes defined inside it are left out."""
    stack = list(reversed(getattr(function, "body", []) if isinstance(getattr(function, "body", 0), list) else []))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            stack.extend(reversed(below(node)))


def reads_typed(module: Module, read: ast.AST, cls: str) -> bool:
    """Whether what a field is read of, config.field, is an argument that its function declares to be of this class."""
    path = chain(read)
    around = [
        node
        for node in every(module.tree, ast.FunctionDef)
        if path and node.lineno <= getattr(read, "lineno", 0) <= (node.end_lineno or 0)
    ]
    innermost = max(around, key=lambda node: node.lineno, default=None)
    for taken in parameters(innermost) if innermost and len(path) == 2 else ():
        if taken.arg == path[0]:
            return isinstance(taken.annotation, ast.Name) and taken.annotation.id == cls
    return False


def defined_functions(module: Module) -> dict[str, ast.FunctionDef]:
    """Functions at the top of a module."""
    return {node.name: node for node in module.tree.body if isinstance(node, ast.FunctionDef)}
