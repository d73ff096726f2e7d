"""P37: modules that are in a model under two names, which save_pretrained refuses in every release."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    chain,
    is_none,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.audit.rules.model import has_weights
from pinfold.common.trees import every, walk
from pinfold.folder.kinds import head
from pinfold.folder.releases import release_ranges

HEAD, WITH_HEAD, DECLARED = "self.lm_head", "AutoModelForCausalLM", "a head that is declared"
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
TENSORS = ("weight", "bias", "data")
OF_WEIGHT = "P11c.in_loop"  # one tensor under two names, of which the file has one
OF_BUFFERS = "Register its buffers with persistent=False, and fill them in _init_weights; or make one for each place."


def modules_twice(code: ReachableCode) -> Iterator[Finding]:
    """A module with weights that two attributes hold at the end of a constructor, or two places of a container."""
    declared = _declared(code)
    for cls in code.torch_modules:
        for statement in code.folder.classes[cls][1].body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                places = _Places(code)
                if cls in code.models and _has_stock_head(code, cls):
                    places.held[HEAD], places.kinds[0] = 0, DECLARED
                places.walk(statement.body)
                for names, node, kind in places.shared():
                    if _is_untied_head(code, cls, names):
                        kind = DECLARED
                    elif any(name.removeprefix("self.").split(".")[0] in declared for name in names):
                        continue
                    effect = "save_pretrained refuses weights that are stored under two names."
                    if kind == DECLARED:
                        affected = release_ranges(harmed("P37.declared_head", code.lowest_version))
                        effect = (
                            f"the file has them under one name, and transformers {affected} makes others for the rest."
                        )
                    yield code.finding(
                        "P37",
                        f"{cls}: {' and '.join(names[:2])} are one module with weights: {effect}",
                        cls,
                        node,
                        fix=_cure(names) if not _has_buffers_alone(code, kind) else OF_BUFFERS,
                        case=_case(code, names, node, kind) if not places.keeps_weight(names) else OF_WEIGHT,
                        releases=harmed(OF_WEIGHT, code.lowest_version) if places.keeps_weight(names) else (),
                    )


def _has_buffers_alone(code: ReachableCode, cls: str) -> bool:
    """Whether a class of the folder has buffers, and neither parameters nor modules of its own."""
    if cls not in code.folder.classes or code.parameters.get(cls):
        return False
    return not any(code.builds_module(call) for call in every(code.folder.classes[cls][1], ast.Call))


def _has_stock_head(code: ReachableCode, cls: str) -> bool:
    """Whether the class has its head, and the keys that declare it, from transformers alone: LlamaForCausalLM."""
    if code.folder.attribute(cls, "_tied_weights_keys") is not None:
        return False
    bases = [each for owner in code.folder.lineage(cls) for each in code.folder.bases(owner)]
    return any(place.split(".")[0] == "transformers" and head(base) == WITH_HEAD for base, place in bases)


def _is_untied_head(code: ReachableCode, cls: str, names: list[str]) -> bool:
    """Whether the keys of the class itself declare a module as a head, which the settings do not tie."""
    keys = code.folder.attribute(cls, "_tied_weights_keys") if cls in code.models else None
    targets = {string(key) for key in keys.keys if key is not None} if isinstance(keys, ast.Dict) else set()
    untied = code.configs.get("config.json", {}).get("tie_word_embeddings") is False
    return untied and any(f"{name.removeprefix('self.')}.weight" in targets for name in names[:1])


def _case(code: ReachableCode, names: list[str], node: ast.AST, kind: str) -> str:
    if kind == DECLARED:
        return "P37.declared_head"
    if any(name.count(".") > 1 for name in names):
        return "P37.handed_to_part"
    if not isinstance(node, ast.Call):
        return "P37.module_twice"
    return "P37.appended_parameter" if code.parameters.get(kind) else "P37.appended_in_loop"


def _cure(names: list[str]) -> str:
    if not any(name.count(".") > 1 for name in names):
        return "Make one module for each place; or hold it once, and call it twice in forward."
    first, *others = sorted((name.removeprefix("self.") for name in names), key=lambda name: name.count("."))
    keys = ", ".join(f'"{name}.weight": "{first}.weight"' for name in others)
    return (
        f"Declare it in the model: _tied_weights_keys = {{{keys}}}, with tie_word_embeddings=True in the "
        "configuration; and where the head is not tied, let get_output_embeddings return None."
    )


def same_modules(code: ReachableCode, cls: str, depth: int = 3) -> list[list[str]]:
    """Places, without self, that hold one module with weights after a class is built; in its parts too."""
    init = code.folder.method(cls, "__init__")
    statements = init[1].body if init else []
    places = _Places(code)
    places.walk(statements)
    groups = [[name.removeprefix("self.") for name in names] for names, _, _ in places.shared()]
    for target, value in (pair for statement in statements for pair in assignments(statement)):
        part = call_name(value) if isinstance(value, ast.Call) else ""
        if depth and is_self_attribute(target) and isinstance(target, ast.Attribute) and part in code.folder.classes:
            groups += [[f"{target.attr}.{name}" for name in names] for names in same_modules(code, part, depth - 1)]
    return groups


def _declared(code: ReachableCode) -> set[str]:
    """Attributes that some _tied_weights_keys of the folder names."""
    names: set[str] = set()
    for cls in code.models:
        value = code.folder.attribute(cls, "_tied_weights_keys")
        for node in walk(value) if value is not None else ():
            names |= set((string(node) or "").replace("\\", "").split("."))
    return names


@dataclass
class _Places:
    """What the plain statements of a constructor put where. What a condition or a loop does is left out.

    Args:
        held: "name" of a local or "self.name" -> the module in it, a number. nodes: the place's statement. kinds: what
            each module is made with. by_weight: places in parts that hold its weight alone.
    """

    code: ReachableCode
    held: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, ast.AST] = field(default_factory=dict)
    made: int = 0
    kinds: dict[int, str] = field(default_factory=dict)
    by_weight: set[str] = field(default_factory=set)

    def walk(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if isinstance(statement, ast.Delete):
                for target in statement.targets:
                    self.forget(_name(target))
            elif isinstance(statement, (ast.For, ast.Expr)):
                self.append(statement)
            elif not isinstance(statement, (ast.Assign, ast.AnnAssign)):
                for node in walk(statement):  # what a loop or a branch may put elsewhere is not known
                    if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
                        self.forget(_name(node))
            pairs = list(assignments(statement))
            if isinstance(statement, ast.Assign) and len(pairs) == len(statement.targets):
                first = statement.targets[0]  # self.a = self.b = nn.Linear(...) makes one
                pairs = [pairs[0], *((target, first if _name(first) else value) for target, value in pairs[1:])]
            for target, value in pairs:
                if name := _name(target):
                    self.put(name, value, statement)

    def append(self, statement: ast.For | ast.Expr) -> None:
        """Containers that grow: self.layers.append(act), in a loop more than once."""
        stored = {
            _name(node)
            for node in walk(statement)
            if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del))
        }
        for name in stored:
            self.forget(name)
        turns = 2 if isinstance(statement, ast.For) and _turns_often(statement) else 1
        for call in (node for node in every(statement, ast.Call) if call_name(node) == "append"):
            container = _name(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            made = call.args[0] if call.args else None
            for place, kept_module in self.handed(made) if isinstance(made, ast.Call) and container else ():
                for _ in range(turns):
                    self.held[f"{container}[{len(self.held)}].{place}"] = kept_module
                    self.nodes[f"{container}[{len(self.held) - 1}].{place}"] = call
            held = self.held.get(_name(call.args[0])) if call.args else None
            if held is None or not container.startswith("self."):
                continue
            for _ in range(turns):
                place = f"{container}[{len(self.held)}]"
                self.held[place] = held
                self.nodes[place] = call

    def put(self, name: str, value: ast.expr | None, node: ast.AST) -> None:
        self.forget(name)
        self.nodes[name] = node
        if isinstance(value, ast.Call) and call_name(value) in CONTAINERS:
            parts = _parts(value)
            self.of_each(name, value, node)
            modules = {id(part): self.of(part) for part in parts}  # [layer] * 2 is one part twice
            for number, part in enumerate(parts):
                if (held := modules[id(part)]) is not None:
                    self.held[f"{name}[{number}]"] = held
                    self.nodes[f"{name}[{number}]"] = node
        elif (held := self.of(value)) is not None or (held := self.of_part(name, value)) is not None:
            self.held[name] = held
        if name.startswith("self.") and isinstance(value, ast.Call):
            for place, held in self.handed(value):
                self.held[f"{name}.{place}"] = held
                self.nodes[f"{name}.{place}"] = node

    def of_each(self, name: str, container: ast.Call, node: ast.AST) -> None:
        """What each part of a comprehension is handed and keeps: ModuleList([Block(rotary) for _ in range(n)])."""
        for made in container.args:
            part = made.elt if isinstance(made, (ast.ListComp, ast.GeneratorExp)) else None
            if isinstance(part, ast.Call):
                for place, held in self.handed(part):
                    for turn in (0, 1):
                        self.held[f"{name}[{turn}].{place}"] = held
                        self.nodes[f"{name}[{turn}].{place}"] = node

    def handed(self, call: ast.Call) -> Iterator[tuple[str, int]]:
        """(place, module) of what a part of the folder is handed and keeps: Encoder(config, self.shared)."""
        init = _constructor(self.code, call)
        if init is None:
            return
        for name, value in _passed(init, call).items():
            held = self.held.get(_name(value))
            whole = list(kept(self.code, init, name, weights=False)) if held is not None else []
            places = list(kept(self.code, init, name)) if held is not None else []
            if held is None and (held := self.held.get(_name(value).removesuffix(".weight"))) is not None:
                places = list(_kept_tensor(init, name))
            if held is not None:
                self.by_weight |= {place for place in places if place not in whole}
                yield from ((place, held) for place in places)

    def of(self, value: ast.expr | None) -> int | None:
        """The module that an expression is: a known one, or a new one."""
        if (name := _name(value)) in self.held:
            return self.held[name]
        if not self.code.builds_module(value) or not holds_weights(self.code, value):
            return None
        self.kinds[self.made + 1] = call_name(value)
        return self.new()

    def of_part(self, name: str, value: ast.expr | None) -> int | None:
        """self.b.lin = self.a.lin, where lin is a module in some class of the folder."""
        path = _name(value).split(".")
        if path[0] != "self" or len(path) < 3 or name.count(".") < 2 or path[-1] in TENSORS:
            return None
        made = any(
            is_self_attribute(target) and target.attr == path[-1] and self.code.builds_module(part)
            for cls in self.code.torch_modules
            for node in every(self.code.folder.classes[cls][1], *ASSIGNMENTS)
            for target, part in assignments(node)
        )
        return self.held.setdefault(".".join(path), self.new()) if made else None

    def keeps_weight(self, names: list[str]) -> bool:
        """Whether a part has but the weight of what these places hold."""
        return any(name.endswith(f".{place}") for name in names for place in self.by_weight)

    def new(self) -> int:
        self.made += 1
        return self.made

    def forget(self, name: str) -> None:
        for place in [each for each in self.held if each == name or each.startswith((f"{name}[", f"{name}."))]:
            del self.held[place]

    def shared(self) -> Iterator[tuple[list[str], ast.AST, str]]:
        """Places of the model that hold the same module, the statement, and what the module is made with."""
        by_module: dict[int, list[str]] = {}
        for name, module in self.held.items():
            if name.startswith("self."):
                by_module.setdefault(module, []).append(name)
        for module, names in by_module.items():
            if len(names) > 1:
                kind = self.kinds.get(module, "")
                yield names, self.nodes.get(names[1]) or next(iter(self.nodes.values())), kind


def _kept_tensor(init: ast.FunctionDef, name: str) -> Iterator[str]:
    """self.out.weight = weight, of a constructor that is handed the tensor."""
    for statement in _that_run(init.body, name):
        for target, value in assignments(statement):
            path = _name(target).split(".")
            if len(path) == 3 and path[0] == "self" and path[2] == "weight" and _name(value) == name:
                yield path[1]


def kept(code: ReachableCode, init: ast.FunctionDef, name: str, depth: int = 3, weights: bool = True) -> Iterator[str]:
    """Where a constructor keeps a module that it is handed: "words" of self.words = words, also in a part of its own.

    Only plain statements count, and those that ask whether it was handed at all. Where only the weight of it is kept,
    self.words.weight = words.weight, is left out without ``weights``.
    """
    for statement in _that_run(init.body, name):
        for target, value in assignments(statement):
            path = _name(target).split(".")
            if path[0] != "self" or len(path) < 2 or value is None:
                continue
            if isinstance(value, ast.IfExp) and _asks_for(value.test, name):
                value = value.body if _is_there(value.test) else value.orelse
            source = _name(value).split(".")
            if source[0] == name and (len(source) == 1 or (weights and source[1:] == path[2:] == ["weight"])):
                yield path[1]
            inner = _constructor(code, value) if isinstance(value, ast.Call) and depth else None
            if inner is None or not isinstance(value, ast.Call):
                continue
            for taken, handed in _passed(inner, value).items():
                if _name(handed) == name:
                    yield from (f"{path[1]}.{place}" for place in kept(code, inner, taken, depth - 1, weights))


def _constructor(code: ReachableCode, call: ast.Call) -> ast.FunctionDef | None:
    """The constructor of the folder that a call runs."""
    method = code.folder.method(call_name(call), "__init__") if call_name(call) in code.folder.classes else None
    return method[1] if method else None


def _passed(init: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr]:
    """Argument of a constructor -> what a call hands it, by its place or by its name."""
    names = [each.arg for each in parameters(init)[1:]]
    return {**dict(zip(names, call.args, strict=False)), **{k.arg: k.value for k in call.keywords if k.arg}}


def _that_run(statements: list[ast.stmt], name: str) -> Iterator[ast.stmt]:
    for statement in statements:
        if isinstance(statement, ast.If) and _asks_for(statement.test, name):
            yield from _that_run(statement.body if _is_there(statement.test) else statement.orelse, name)
        else:
            yield statement


def _asks_for(test: ast.expr, name: str) -> bool:
    """Whether a condition only asks whether an argument was handed over."""
    return _name(test) == name or (
        isinstance(test, ast.Compare) and _name(test.left) == name and all(map(is_none, test.comparators))
    )


def _is_there(test: ast.expr) -> bool:
    """Whether such a condition holds where it was."""
    return not isinstance(test, ast.Compare) or isinstance(test.ops[0], ast.IsNot)


def _turns_often(loop: ast.For) -> bool:
    """Not one over range(1), or over nothing."""
    bound = loop.iter.args[-1] if isinstance(loop.iter, ast.Call) and loop.iter.args else None
    return not (isinstance(bound, ast.Constant) and bound.value in (0, 1))


def holds_weights(code: ReachableCode, call: ast.Call, depth: int = 0) -> bool:
    """Whether what a call makes has weights; a class of the folder is looked into."""
    if call_name(call) == "Parameter" or not has_weights(call):
        return False
    if any(keyword.arg in ("affine", "elementwise_affine") and _is_false(keyword.value) for keyword in call.keywords):
        return False
    owners = code.folder.lineage(call_name(call))
    if not owners or depth > 4:
        return call_name(call) not in code.folder.classes
    for owner in owners:
        if code.parameters.get(owner) or _stored_buffers(code, owner):
            return True
        for node in walk(code.folder.classes[owner][1]):
            if isinstance(node, ast.Call) and code.builds_module(node) and holds_weights(code, node, depth + 1):
                return True
    return False


def _stored_buffers(code: ReachableCode, cls: str) -> bool:
    """Whether a class registers a buffer that is saved with the weights."""
    for call in every(code.folder.classes[cls][1], ast.Call):
        stored = call_name(call) == "register_buffer" and not is_none(argument(call, 1, "tensor"))
        kept_out = argument(call, 2, "persistent")
        if stored and not (kept_out is not None and _is_false(kept_out)):
            return True
    return False


def _parts(call: ast.Call) -> list[ast.expr]:
    """What a container gets: its arguments, what a list or a table among them holds, and one layer n times."""
    parts: list[ast.expr] = []
    for value in call.args:
        if isinstance(value, (ast.List, ast.Tuple)):
            parts += value.elts
        elif isinstance(value, ast.Dict):
            parts += value.values
        elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
            many, times = (value.left, value.right) if isinstance(value.left, ast.List) else (value.right, value.left)
            once = isinstance(times, ast.Constant) and times.value in (0, 1)
            parts += [each for each in getattr(many, "elts", ()) for _ in range(1 if once else 2)]
        elif isinstance(value, (ast.ListComp, ast.GeneratorExp)):
            own = {n.id for g in value.generators for n in every(g.target, ast.Name)}
            if isinstance(value.elt, ast.Name) and value.elt.id not in own:
                parts += [value.elt, value.elt]
        else:
            parts.append(value)
    return parts


def is_part(value: ast.expr | None) -> bool:
    """A chain of attributes alone: self.a.lin."""
    while isinstance(value, ast.Attribute):
        value = value.value
    return isinstance(value, ast.Name)


def _name(node: ast.AST | None) -> str:
    """A local name, self.name or self.name.part; "" for anything else."""
    return ".".join(chain(node)) if isinstance(node, (ast.Name, ast.Attribute)) and is_part(node) else ""


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False
