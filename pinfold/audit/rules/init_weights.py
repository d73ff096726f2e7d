"""Rules about ``_init_weights``: transformers 5 builds on the meta device and calls it after loading (P12, P13)."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    chain,
    defined_functions,
    is_none,
    is_self_attribute,
    makes,
    string,
    word,
)
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.audit.rules.read_buffers import ReadBuffers
from pinfold.common.trees import below, every, walk
from pinfold.folder.model_folder import Module, located

# Parameters and buffers of torch's own modules.
TORCH_PARAMETERS = {"weight", "bias", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"}
TORCH_BUFFERS = {"running_mean", "running_var", "num_batches_tracked"}
GUARD = "_is_hf_initialized"
# How a tensor is written -> the laboratory's case. torch.nn.init looks for its mark on the part that it is given.
CASES = {"view": "P13.part_of_tensor", "foreign": "P13.imported_by_name", "place": "P13.data_normal"}


@dataclass(frozen=True)
class _Write:
    """A tensor that ``_init_weights`` writes.

    Args:
        names: what the tensor is called; several where a local name refers to several.
        classes: those that an isinstance test around it allows, None without a test.
        how: "init" through torch.nn.init or transformers.initialization, "view" likewise on a part of the tensor,
            "foreign" by another function, "place" in place.
    """

    names: tuple[str, ...]
    classes: frozenset[str] | None
    how: str
    node: ast.AST
    module: Module
    data: bool = False
    guarded: bool = False


@dataclass
class Initialisation:
    """What the folder's ``_init_weights``, and the functions of the folder that they call, write."""

    code: ReachableCode
    functions: list[tuple[Module, ast.FunctionDef]] = field(default_factory=list)
    passed: dict[int, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self):
        named: dict[str, list[tuple[Module, ast.FunctionDef]]] = {}
        for cls in self.code.classes:
            for statement in self._body(cls):
                if isinstance(statement, ast.FunctionDef):
                    named.setdefault(statement.name, []).append((self.code.folder.classes[cls][0], statement))
        for module in self.code.modules:
            for name, function in defined_functions(module).items():
                named.setdefault(name, []).append((module, function))
        models = {id(n) for cls in self.code.classes if self.code.folder.kind(cls) == "model" for n in self._body(cls)}
        self.functions = [each for each in named.get("_init_weights", ()) if id(each[1]) in models]
        seen = {id(node) for _, node in self.functions}
        for _, function in self.functions:  # grows on the way
            for call in calls(function):
                for module, called in named.get(call_name(call), ()):
                    if called.name in ("__init__", "forward"):
                        continue
                    names = [a.arg for a in called.args.args if a.arg != "self"]
                    passed = zip(names, (_names(value, {}) for value in call.args), strict=False)
                    self.passed.setdefault(id(called), {}).update({name: value for name, value in passed if value})
                    if id(called) not in seen:
                        seen.add(id(called))
                        self.functions.append((module, called))

    def _body(self, cls: str) -> list[ast.stmt]:
        return self.code.folder.classes[cls][1].body

    @functools.cached_property
    def writes(self) -> list[_Write]:
        return [
            write
            for module, function in self.functions
            for write in _writes(module, function, self.code, dict(self.passed.get(id(function), {})))
        ]

    @functools.cached_property
    def fills_all(self) -> bool:
        """Whether some loop goes over all buffers of a module."""
        words = {"buffers", "named_buffers", "_buffers", "named_non_persistent_buffers"}
        return any(
            isinstance(node, ast.Attribute) and node.attr in words
            for _, function in self.functions
            for node in walk(function)
        )

    def fills(self, cls: str, name: str) -> bool:
        """Whether a buffer of a class is written, as far as isinstance tests show."""
        lineage = {*self.code.folder.lineage(cls), "Module"}
        below = {other for other in self.code.classes if cls in self.code.folder.lineage(other)}
        fitting = (w for w in self.writes if name in w.names or "" in w.names or not name)
        return self.fills_all or any(w.classes is None or w.classes & (lineage | below) for w in fitting)


# Methods that torch and transformers call themselves while a model is made or loaded.
AT_LOADING = ("_init_weights", "post_init", "tie_weights", "reset_parameters", "_apply", "_load_from_state_dict")


def buffers(code: ReachableCode, initialisation: Initialisation) -> Iterator[Finding]:
    """P12: buffers that no file holds and that are not filled after loading."""
    without = NotBuilt(code)
    read = ReadBuffers(code, without.nodes)
    for cls in code.torch_modules:
        module, node = code.folder.classes[cls]
        for name, where in non_persistent(code, node):
            if cls in without.classes or id(where) in without.nodes:
                continue
            if not initialisation.fills(cls, name) and not _rotary(code, cls, name):
                shown, unread = name or module.text(where, 60), not read.reads(cls, name)
                yield code.finding(
                    "P12",
                    f'{cls} registers non-persistent buffer "{shown}" but _init_weights does not fill it: '
                    f"transformers 5 returns uninitialised memory{', which nothing here reads' * unread}.",
                    cls,
                    where,
                    severity=WARNING if unread else ERROR,
                    fix=f"Fill it in _init_weights under isinstance(module, {cls}) with copy_, or make it persistent.",
                )


def non_persistent(code: ReachableCode, cls: ast.ClassDef) -> Iterator[tuple[str, ast.AST]]:
    """Names, "" where one is computed, and places. A buffer of None holds no memory.

    What forward registers is made after loading, and holds what it is given; so does a method that nothing calls but
    whoever uses the model.
    """
    methods = {part.name: part for part in cls.body if isinstance(part, ast.FunctionDef)}
    later = _reached(methods, "forward") - _reached(methods, "__init__")
    for part in cls.body:
        name = getattr(part, "name", "")
        if name not in later and (registered := list(_not_stored(part))):
            of_users = name in methods and not (name.startswith("__") or name in AT_LOADING or name in code.mentioned)
            yield from () if of_users else registered


def _reached(methods: dict[str, ast.FunctionDef], name: str) -> set[str]:
    """A method and those of the class that it calls, or hands on."""
    reached: set[str] = set()
    pending = [name]
    while pending:
        if (each := pending.pop()) in methods and each not in reached:
            reached.add(each)
            pending += [node.attr for node in walk(methods[each]) if is_self_attribute(node)]
    return reached


def _not_stored(part: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    loops: dict[str, list[str]] = {}
    for node in walk(part):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            literal = node.iter.elts if isinstance(node.iter, (ast.Tuple, ast.List)) else []
            loops[node.target.id] = [text for e in literal if (text := string(e)) is not None] or [""]
    for node in walk(part):
        if isinstance(node, ast.Call) and call_name(node) == "register_buffer":
            keep = argument(node, 2, "persistent")
            if isinstance(keep, ast.Constant) and not keep.value and not is_none(argument(node, 1, "tensor")):
                named = argument(node, 0, "name")
                literal_name = string(named)
                names = loops.get(getattr(named, "id", ""), [""]) if literal_name is None else [literal_name]
                yield from ((name, node) for name in names)
        for target, value in assignments(node):
            if is_self_attribute(target) and makes(value, "Buffer") and isinstance(value, ast.Call):
                keep = argument(value, 1, "persistent")
                if isinstance(keep, ast.Constant) and not keep.value:
                    yield target.attr, node


def _rotary(code: ReachableCode, cls: str, name: str) -> bool:
    """transformers 5 itself fills the two buffers of modules that follow its own rotary embedding."""
    if name not in ("inv_freq", "original_inv_freq") or "RotaryEmbedding" not in cls:
        return False
    node = code.folder.classes[cls][1]
    words = {getattr(n, "attr", None) or string(n) for n in walk(node)}
    own = [n for m in code.models if (n := code.folder.method(m, "_init_weights"))]
    passed_on = all(any(call_name(c) == "_init_weights" for c in calls(n[1])) for n in own)
    return "original_inv_freq" in words and passed_on


def in_place(code: ReachableCode, initialisation: Initialisation) -> Iterator[Finding]:
    """P13: writes that do not ask whether the parameter was just loaded."""
    known_buffers = TORCH_BUFFERS | {name for names in code.buffers.values() for name in names}
    by_hand = {name for names in code.parameters.values() for name in names}
    unstored = [cls for cls in code.torch_modules if any(non_persistent(code, code.folder.classes[cls][1]))]
    registered = _is_local_code(code)
    for write in initialisation.writes:
        held = {n for cls in write.classes or () for n in code.buffers.get(cls, ())}
        buffer = any(name in known_buffers for name in write.names)
        if any(name in held for name in write.names):
            continue
        parameter = any(name in TORCH_PARAMETERS | by_hand or name == "<parameter>" for name in write.names)
        if write.guarded or write.how == "init" or (buffer and not parameter):
            continue
        if not parameter and not write.data:
            continue
        line = located(write.node).lineno
        case = "P13.data_beside_buffer" if _beside_buffer(code, write, unstored) else CASES[write.how]
        if case == CASES["place"] and registered:
            case = "P13.data_registered"
        elif case == CASES["place"] and _of_part(write.node):
            case = "P13.no_grad_of_part"
        affected = harmed(case, code.lowest_version)
        yield Finding(
            "P13",
            f'{write.module.file}:{line}: "{write.module.text(write.node, 80)}" in _init_weights writes in place; '
            "transformers 5 may overwrite loaded weights. Use torch.nn.init.",
            write.module.file,
            line,
            fix=_cure(write),
            severity=ERROR if affected and not _of_padding(write.node) else WARNING,
            releases=affected,
            case=case,
        )


def _is_local_code(code: ReachableCode) -> bool:
    """Whether reading the configuration enters the model into transformers' tables (P25), as code of its own.

    Up to some release that is not marked as remote code then, and only of remote code it leaves alone what was loaded.
    """
    place, _, config = code.auto_map.get("AutoConfig", "").rpartition(".")
    entries = {auto: entry.split(".")[-1] for auto, entry in code.auto_map.items() if auto.startswith("AutoModel")}
    registers = False
    for module in code.folder.closure([place]) if place in code.folder.modules else ():
        for statement in module.tree.body:
            for call in calls(statement) if isinstance(statement, ast.Expr) else ():
                path, names = chain(call.func), [(chain(value) or [""])[-1] for value in call.args]
                if path[-1:] == ["register_for_auto_class"] and path[0] in entries.values():
                    return False
                if path[-1:] == ["register"] and names[:1] == [config] and entries.get(path[-2]) in names:
                    registers = True
    return registers


def _of_padding(node: ast.AST) -> bool:
    """module.weight.data[module.padding_idx].zero_(): it is nought already, as it gets no gradient."""
    words = {n.attr for n in every(node, ast.Attribute)}
    return isinstance(node, ast.Call) and call_name(node) == "zero_" and "padding_idx" in words


def _of_part(node: ast.AST) -> bool:
    """module.mix.inner.weight.mul_(0.5): the tensor of a part of the module."""
    return isinstance(node, ast.Call) and len([n for n in chain(node.func)[:-1] if n not in ("data", "T")]) > 2


def _beside_buffer(code: ReachableCode, write: _Write, classes: list[str]) -> bool:
    """Whether the class of the written module has a buffer that no file has: all of it counts as not loaded."""
    if write.how == "view":
        return False
    if write.classes is not None:
        return any(write.classes & set(code.folder.lineage(cls)) for cls in classes)
    return any(name in code.parameters.get(cls, ()) for cls in classes for name in write.names)


def _cure(write: _Write) -> str:
    if write.how == "view":
        return f"A part of a tensor lacks its mark; check \"if not getattr(tensor, '{GUARD}', False)\" first."
    if write.how == "foreign":
        return "Call it as nn.init.NAME: a function imported by name, or of another package, is not guarded."
    return ""


def _writes(module: Module, function: ast.FunctionDef, code: ReachableCode, aliases: dict) -> Iterator[_Write]:
    """Everything that a function writes, with the isinstance tests around it.

    ``aliases`` are the tensors that its arguments refer to; local names are added to them.
    """
    known = {*code.folder.classes, *module.imports}
    stack: list[tuple[ast.AST, frozenset[str] | None, bool]] = [(s, None, False) for s in reversed(function.body)]
    guarded_after = False
    while stack:
        node, classes, guarded = stack.pop()
        guarded = guarded or guarded_after
        if isinstance(node, ast.If):
            asks = any(GUARD in word(n) for n in walk(node.test)) or _asks_release(node.test, module, code)
            leaves = isinstance(node.body[-1], (ast.Return, ast.Continue))
            guarded_after = guarded_after or (asks and leaves)
            inside = _tested(node.test, known) or classes
            stack += [(s, classes, guarded) for s in reversed(node.orelse)]
            stack += [(s, inside, guarded or asks) for s in reversed(node.body)]
            continue
        if isinstance(node, (ast.For, ast.comprehension)):
            _bind_loop(node.target, node.iter, aliases)
        for target, value in assignments(node):
            if isinstance(target, ast.Name):
                aliases[target.id] = _names(value, aliases)
            else:
                yield from _assigned(target, value, node, module, classes, guarded, aliases)
        if isinstance(node, ast.AugAssign):
            if not isinstance(node.target, ast.Name):
                yield from _assigned(node.target, None, node, module, classes, guarded, aliases)
            elif aliases.get(node.target.id):
                yield _Write(aliases[node.target.id], classes, "place", node, module, guarded=guarded)
        if isinstance(node, ast.Call):
            yield from _called(node, module, classes, guarded, aliases)
        stack += [(child, classes, guarded) for child in reversed(below(node))]


def _asks_release(test: ast.expr, module: Module, code: ReachableCode) -> bool:
    """Whether a condition goes by the release of transformers: its author then knows what each of them does."""
    said: list[ast.expr] = [test]
    for name in {node.id for node in every(test, ast.Name)}:
        place, original = module.imports.get(name, ("", name))
        there = code.folder.modules.get(place.lstrip("."), module) if place.startswith(".") else module
        said += [v for s in there.tree.body for t, v in assignments(s) if getattr(t, "id", "") == original and v]
    return any("__version__" in (word(node), getattr(node, "id", "")) for value in said for node in walk(value))


def _assigned(target, value, node, module, classes, guarded, aliases) -> Iterator[_Write]:
    """x.data = ..., x.weight[i] = ..., x.weight *= ..., x.weight = nn.Parameter(...), and a new buffer."""
    names = _names(target, aliases)
    data = "data" in chain(target)
    whole = isinstance(target, ast.Attribute) and isinstance(node, (ast.Assign, ast.AnnAssign)) and not data
    if names and (not whole or makes(value, "Parameter")):
        yield _Write(names, classes, "place", node, module, data, guarded)
    elif names:
        yield _Write(names, classes, "init", node, module)  # a new tensor: fills a buffer


def _called(call, module, classes, guarded, aliases) -> Iterator[_Write]:
    func, name = call.func, call_name(call)
    if name in ("setattr", "register_buffer"):
        attribute = argument(call, 1 if name == "setattr" else 0, "name")
        # a computed name may be that of any buffer
        yield _Write((string(attribute) or "",), classes, "init", call, module)
        return
    for keyword in call.keywords:
        if keyword.arg == "out":
            yield _Write(_names(keyword.value, aliases), classes, "place", call, module, guarded=guarded)
    if not name.endswith("_") or name.startswith("_") or name == "requires_grad_":
        return
    path = chain(func)[:-1]
    if isinstance(func, ast.Name) or (path and path[0] in module.imports):
        how = _origin(module, path, name)
        for tensor in (*call.args[:1], *(k.value for k in call.keywords if k.arg == "tensor")):
            names = _names(tensor, aliases)
            data = "data" in chain(tensor)
            if names and how:
                way = "place" if data else how
                if how == "init" and any(isinstance(n, ast.Subscript) for n in _outside(tensor)):
                    way = "view"
                yield _Write(names, classes, way, call, module, data, guarded)
    elif isinstance(func, ast.Attribute) and (names := _names(func.value, aliases)):
        yield _Write(names, classes, "place", call, module, "data" in chain(func.value), guarded)


def _origin(module: Module, path: list[str], name: str) -> str:
    """Where a function such as normal_ comes from: "init", "foreign", or "" for one of this folder.

    transformers guards the names in torch.nn.init while it initialises. What was imported from there by name before
    is the unguarded function.
    """
    place, original = module.imports.get(path[0] if path else name, ("", ""))
    if not original or place.startswith("."):
        return ""
    where = ".".join([place, *path[1:]] if place == original else [place, original, *path[1:]]).strip(".")
    if "transformers.initialization" in where:
        return "init"
    return "init" if path and where in ("torch.nn.init", "nn.init") else "foreign"


def _outside(node: ast.AST) -> Iterator[ast.AST]:
    """What is done to a tensor, from the outside in: the item in module.weight[0], not that in layers[0].weight."""
    while isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr in ("data", "T")):
        yield node
        node = node.value


def _names(node: ast.AST | None, aliases: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What an expression that is a tensor may be called: module.ids[0] -> ("ids",)."""
    if isinstance(node, ast.Call):
        if call_name(node) == "getattr" and len(node.args) > 1:
            return (string(node.args[1]) or "",)
        if isinstance(node.func, ast.Attribute) and call_name(node) in ("view", "t", "narrow", "chunk", "detach"):
            return _names(node.func.value, aliases)
        return ()
    names = [name for name in chain(node) if name not in ("data", "T")]
    if len(names) == 1:
        return aliases.get(names[0], ())
    return (names[-1],) if names else ()


def _bind_loop(target: ast.expr, source: ast.expr, aliases: dict[str, tuple[str, ...]]) -> None:
    """Names that a loop over parameters, or over a tuple of tensors, gives to them."""
    called = {call_name(n) for n in every(source, ast.Call)}
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    if called & {"parameters", "named_parameters"}:
        aliases.update({t.id: ("<parameter>",) for t in targets[-1:] if isinstance(t, ast.Name)})
    elif called & {"buffers", "named_buffers"}:
        aliases.update({t.id: ("",) for t in targets[-1:] if isinstance(t, ast.Name)})
    elif isinstance(source, (ast.Tuple, ast.List)) and isinstance(target, ast.Name):
        aliases[target.id] = tuple(name for e in source.elts for name in _names(e, aliases))


def _tested(test: ast.expr, known: set[str]) -> frozenset[str] | None:
    """Classes that isinstance allows, or None where the test says something else as well."""
    if isinstance(test, ast.BoolOp):
        every = [_tested(value, known) for value in test.values]
        tested = [classes for classes in every if classes]
        if isinstance(test.op, ast.And):
            return tested[0] if tested else None
        return frozenset().union(*tested) if len(tested) == len(every) else None
    if isinstance(test, ast.Call) and call_name(test) == "isinstance" and len(test.args) == 2:
        allowed = test.args[1]
        paths = [chain(option) for option in (allowed.elts if isinstance(allowed, ast.Tuple) else [allowed])]
        if all(path and path[0] in known for path in paths):
            return frozenset(path[-1] for path in paths)
    return None
