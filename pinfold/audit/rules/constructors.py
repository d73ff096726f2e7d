"""Rules about constructors (P14): on the meta device, where transformers 5 builds, no tensor has values.

Only what is evidently a tensor is judged: what torch makes, a parameter, a buffer, and what is computed from them.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pinfold.audit.finding import Finding
from pinfold.audit.reachable import (
    FUNCTIONS,
    ReachableCode,
    assignments,
    call_name,
    chain,
    defined_functions,
    is_config,
    is_none,
    is_self_attribute,
    makes,
    parameters,
    string,
    word,
)
from pinfold.audit.rules.config import classes_with_config, is_ours, other_config
from pinfold.audit.rules.decided import decide, settings
from pinfold.audit.rules.meta_device import UNSURE, Fault, finding_of
from pinfold.common.trees import below, walk
from pinfold.folder.model_folder import Module

FACTORIES = (  # noqa: SIM905
    "arange linspace logspace zeros ones empty full rand randn randint randperm eye tensor as_tensor scalar_tensor "
    "normal bernoulli tril_indices triu_indices hann_window hamming_window kaiser_window blackman_window "
    "bartlett_window asarray range fftfreq rfftfreq"
).split()
# Functions of torch and methods of tensors whose result is not a tensor.
PLAIN = (  # noqa: SIM905
    "size dim numel ndimension element_size stride is_floating_point is_complex is_contiguous data_ptr get_device "
    "type is_tensor device Size finfo iinfo get_default_dtype item tolist numpy storage_offset register_hook "
    "requires_grad_ is_grad_enabled result_type promote_types can_cast broadcast_shapes"
).split()
PLAIN_ATTRIBUTES = {"shape", "dtype", "device", "ndim", "requires_grad", "layout", "is_meta", "names", "grad_fn"}
DEVICES = {"cuda", "cpu", "mps", "xpu", "npu", "hpu", "musa", "mlu"}
READERS = {"item", "tolist", "numpy", "__bool__", "__float__", "__int__"}
META, PARAMETER, CPU = "meta", "parameter", "cpu"  # without values; likewise, but known to loading; with values
LINSPACE = "linspace"  # without values in the first releases of 5 only: later ones make it on the CPU
NOWHERE = (META, PARAMETER, LINSPACE)
CALLS = 500  # functions entered in one audit: a bound for code that is made to branch without end
# Objects whose from_pretrained makes no model.
NO_MODEL = ("Config", "Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor", "ProcessorFast")


@dataclass
class _Body:
    """One function body, walked in order.

    Args:
        names: what local names and "self.x" hold: META, PARAMETER, CPU or nothing.
        devices: names that hold a device -> whether that is sure; it may be None.
        module: the file that it is in.
    """

    code: ReachableCode
    module: Module
    cls: str
    names: dict[str, str | None] = field(default_factory=dict)
    seen: frozenset = frozenset()
    found: list[Fault] = field(default_factory=list)
    returned: str | None = None
    on_cpu: int = 0
    constructor: bool = True
    left: list[int] = field(default_factory=lambda: [CALLS])
    known: dict[int, str | None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, bool] = field(default_factory=dict)
    where: str = ""  # the condition, which the settings do not decide, under which the statement at hand runs

    def fault(self, rule: str, node: ast.AST, prefix: str = "", case: str = "") -> None:
        self.found.append(Fault(rule, self.module, node, prefix, case, self.where))

    def walk(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            return
        if isinstance(node, (ast.If, ast.While)):
            self.expressions(node.test)
            holds = decide(node.test, self.settings) if isinstance(node, ast.If) else None
            around, condition = self.where, self.module.text(node.test, 60)
            if holds is not False and not any("meta" in word(n) for n in walk(node.test)):
                self.truth(node.test)
                self.where = around or f"where {condition}" * (holds is None)
                self.walk(node.body)
            if holds is not True:
                self.where = around or f"unless {condition}" * (holds is None)
                self.walk(node.orelse)
            self.where = around
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self.expressions(node.iter)
            self.loop(node.target, node.iter)
            self.walk(node.body)
            self.walk(node.orelse)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                self.expressions(item.context_expr)
            cpu = any(self.is_cpu(item.context_expr) for item in node.items)
            self.on_cpu += cpu
            self.walk(node.body)
            self.on_cpu -= cpu
        elif isinstance(node, ast.Try):
            for part in (node.body, *(handler.body for handler in node.handlers), node.orelse, node.finalbody):
                self.walk(part)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                self.walk(case.body)
        else:
            self.simple(node)

    def simple(self, node: ast.stmt) -> None:
        self.expressions(node)
        if isinstance(node, ast.Assert):
            self.truth(node.test)
        if isinstance(node, ast.Return) and node.value is not None:
            self.returned = self.returned or self.kind(node.value)
        for target, value in assignments(node):
            kind = self.kind(value) if value is not None else None
            if is_self_attribute(target) and self.constructor and (held := self.holds(value)) in (META, LINSPACE):
                self.fault("P14b", node, case="P14b.linspace" * (held == LINSPACE))
            self.bind(target, kind)
            if isinstance(target, ast.Name) and value is not None:
                sure = self.device(value)
                self.devices.pop(target.id, None)
                self.devices |= {} if sure is None else {target.id: sure}

    def loop(self, target: ast.expr, source: ast.expr) -> None:
        """Names of a loop; those of enumerate and zip one by one."""
        targets = target.elts if isinstance(target, ast.Tuple) else []
        called = call_name(source) if isinstance(source, ast.Call) else ""
        arguments = source.args if isinstance(source, ast.Call) else []
        if called == "enumerate" and len(targets) == 2 and arguments:
            self.bind(targets[0], None)
            self.loop(targets[1], arguments[0])
        elif called == "zip" and len(targets) == len(arguments):
            for each, values in zip(targets, arguments, strict=True):
                self.loop(each, values)
        else:
            self.bind(target, self.kind(source))

    def bind(self, target: ast.expr, kind: str | None) -> None:
        self.known.clear()
        if isinstance(target, ast.Name):
            self.names[target.id] = kind
        elif is_self_attribute(target):
            self.names[f"self.{target.attr}"] = kind
        elif isinstance(target, (ast.Tuple, ast.List)):
            for element in target.elts:
                self.bind(element, kind)

    def holds(self, value: ast.expr | None) -> str | None:
        """The kind of a value, or of what a list, tuple or table of it holds."""
        if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            return self.any_of(value.elts, self.holds)
        if isinstance(value, ast.Dict):
            return self.any_of(value.values, self.holds)
        if isinstance(value, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            return self.holds(value.elt)
        if isinstance(value, ast.IfExp):
            decided = decide(value.test, self.settings)
            parts = [*[value.body] * (decided is not False), *[value.orelse] * (decided is not True)]
            if any(makes(part, "Parameter") or makes(part, "Buffer") for part in parts):
                return None  # as a rule the branch that is taken
            return self.any_of(parts, self.holds)
        return self.kind(value)

    def registered(self) -> set[str]:
        owners = self.code.folder.lineage(self.cls) if self.cls else []
        return {n for o in owners for n in (*self.code.parameters.get(o, ()), *self.code.buffers.get(o, ()))}

    def expressions(self, node: ast.AST) -> None:
        """Look at every call in an expression, or in a simple statement."""
        pending = [node]
        while pending:
            inner = pending.pop()
            if isinstance(inner, FUNCTIONS):
                continue
            if isinstance(inner, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
                for generator in inner.generators:
                    self.loop(generator.target, generator.iter)
                    for test in generator.ifs:
                        self.truth(test)
            if isinstance(inner, ast.IfExp):
                self.truth(inner.test)
            if isinstance(inner, ast.Call):
                self.call(inner)
            pending.extend(reversed(below(inner)))

    def call(self, node: ast.Call) -> None:
        name, func, path = call_name(node), node.func, chain(node.func)
        if isinstance(func, ast.Attribute) and name in READERS:
            reads = self.kind(func.value) in NOWHERE
        elif isinstance(func, ast.Name) and name in ("float", "int", "bool", "complex"):
            reads = any(self.kind(a) in NOWHERE for a in node.args[:1])
        elif path[:1] in (["np"], ["numpy"]) or path in (["torch", "equal"], ["torch", "allclose"]):
            reads = any(self.kind(a) in NOWHERE for a in node.args)
        else:
            reads = False
        if reads:
            of_linspace = any(self.kind(part) == LINSPACE for part in (getattr(func, "value", None), *node.args[:1]))
            self.fault("P14", node, case="P14.linspace_item" * of_linspace)
        if self.constructor and isinstance(func, ast.Attribute) and (sure := self.moves(name, node)) is not None:
            own = chain(func.value)[:1] == ["self"] and chain(func.value)[1:2] != ["config"]
            if not (own and self.cls and self.code.folder.method(self.cls, name)):
                kind = self.kind(func.value)
                if kind in NOWHERE or (own and kind != CPU):
                    self.fault("P14d", node, "" if sure else UNSURE)
        if name == "from_pretrained" and isinstance(func, ast.Attribute):
            owner = call_name(func.value) if isinstance(func.value, ast.Call) else (chain(func.value) or [""])[-1]
            if not owner.endswith(NO_MODEL):
                self.fault("P14c", node)
        self.enter(node)

    def moves(self, name: str, node: ast.Call) -> bool | None:
        """Whether a method, called so, moves tensors for sure: x.cuda(), x.to("cuda:0"). None: it does not."""
        if name in ("cuda", "cpu", "xpu", "npu"):
            return True
        places = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "device")]
        return _surest([self.device(place) for place in places]) if name == "to" else None

    def device(self, place: ast.expr) -> bool | None:
        """Whether a value is a device for sure: a text, torch.device(...), a field of the configuration, such a name.

        False where the field's value is not known, as it may be None, which moves nothing. None for anything else: an
        argument called device is often None, and the device of another tensor is the meta device too.
        """
        if text := string(place):
            return True if text.split(":")[0] in DEVICES else None
        if isinstance(place, ast.Call):
            inner = _surest([self.device(argument) for argument in place.args[:1]])
            return inner if call_name(place) == "device" else None
        if isinstance(place, ast.IfExp):
            return _surest([self.device(place.body), self.device(place.orelse)])
        if isinstance(place, ast.Name):
            return self.devices.get(place.id)
        if not isinstance(place, ast.Attribute) or chain(place)[-2:-1] != ["config"] or "device" not in place.attr:
            return None
        if not is_config(place.value) or place.attr not in self.settings:
            return False
        value = self.settings[place.attr]
        number = isinstance(value, int) and not isinstance(value, bool)
        return True if number or (isinstance(value, str) and value.split(":")[0] in DEVICES) else None

    def enter(self, node: ast.Call) -> str | None:
        """Walk a function of the folder that is called; the kind of what it returns."""
        func = node.func
        target: tuple[Module, ast.FunctionDef] | None = None
        cls = ""
        if is_self_attribute(func) and self.cls:
            method = self.code.folder.method(self.cls, func.attr)
            if method and method[1].name not in ("__init__", "forward", "_init_weights"):
                owner, function = method
                target = self.code.folder.classes[owner][0], function
                cls = self.cls
        elif isinstance(func, ast.Name):
            target = _function(self.code, self.module, func.id)
        if target is None or id(target[1]) in self.seen or len(self.seen) > 5 or self.left[0] <= 0:
            return None
        self.left[0] -= 1
        module, function = target
        held = {k: v for k, v in self.names.items() if k.startswith("self.")} if cls else {}
        inner = _Body(self.code, module, cls, held, self.seen | {id(function)})
        inner.on_cpu, inner.left, inner.where = self.on_cpu, self.left, self.where
        arguments = [*zip(positional_names(function), node.args, strict=False)]
        arguments += [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
        # Another configuration may be handed to a method under the name config.
        same = is_ours(self.code, function) and all(is_config(value) for name, value in arguments if name == "config")
        inner.settings = self.settings if cls and same else {}
        inner.devices = {name: sure for name, value in arguments if (sure := self.device(value)) is not None}
        inner.constructor = bool(cls)
        inner.names |= {a: self.kind(value) for a, value in zip(positional_names(function), node.args, strict=False)}
        inner.walk(function.body)
        self.found += inner.found
        if cls:
            self.names |= {k: v for k, v in inner.names.items() if k.startswith("self.")}
        return inner.returned

    def truth(self, test: ast.expr) -> None:
        """A tensor as a condition."""
        pending = [test]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.BoolOp):
                pending += node.values
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                pending.append(node.operand)
            elif isinstance(node, ast.expr) and self.kind(node) in NOWHERE:
                self.fault("P14", node, "if ")
                return

    def kind(self, node: ast.AST | None) -> str | None:
        """META, PARAMETER or CPU for what is evidently a tensor, else None."""
        if id(node) not in self.known:
            self.known[id(node)] = self.judged(node)
        return self.known.get(id(node))

    def judged(self, node: ast.AST | None) -> str | None:
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(node)
        if isinstance(node, (ast.Subscript, ast.Starred)):
            return self.any_of([node.value])
        if isinstance(node, ast.UnaryOp):
            return None if isinstance(node.op, ast.Not) else self.any_of([node.operand])
        if isinstance(node, ast.BinOp):
            return self.any_of([node.left, node.right])
        if isinstance(node, ast.Compare):
            identity = (ast.Is, ast.IsNot, ast.In, ast.NotIn)
            return None if isinstance(node.ops[0], identity) else self.any_of([node.left, *node.comparators])
        if isinstance(node, ast.IfExp):
            kinds = {self.kind(node.body), self.kind(node.orelse)}
            return next((kind for kind in (META, PARAMETER, LINSPACE, CPU) if kind in kinds), None)
        return self.result(node) if isinstance(node, ast.Call) else None

    def any_of(self, nodes: list[ast.expr], kind: Callable[[ast.expr], str | None] | None = None) -> str | None:
        """What is computed from tensors, or holds them."""
        kinds = {(kind or self.kind)(node) for node in nodes}
        values = META in kinds or (PARAMETER in kinds and kind is None)
        return META if values else next((each for each in (LINSPACE, CPU) if each in kinds), None)

    def attribute(self, node: ast.Attribute) -> str | None:
        if node.attr in PLAIN_ATTRIBUTES:
            return None
        if is_self_attribute(node):
            if f"self.{node.attr}" in self.names:
                return self.names[f"self.{node.attr}"]
            return PARAMETER if node.attr in self.registered() else None
        path = chain(node)
        if path[:1] == ["self"] and len(path) > 2 and path[-1] in ("weight", "bias") and "config" not in path:
            return PARAMETER
        return self.kind(node.value)

    def result(self, node: ast.Call) -> str | None:
        """The kind of what a call gives."""
        name, path = call_name(node), chain(node.func)
        if name in PLAIN:
            return None
        if name in ("Parameter", "Buffer"):
            return CPU if node.args and self.kind(node.args[0]) == CPU else PARAMETER
        if name in ("reversed", "iter", "list", "tuple") and isinstance(node.func, ast.Name):
            return self.any_of(node.args[:1])
        if path[:1] == ["torch"] or (path and self.module.imports.get(path[0], ("", ""))[0] == "torch"):
            if len(path) > 1 and path[-2] in ("nn", "init", "cuda", "distributed", "jit", "utils"):
                return None
            return self.made(node) if name in FACTORIES and len(path) < 4 else self.any_of(_inputs(node))
        if isinstance(node.func, ast.Attribute) and (kind := self.any_of([node.func.value])):
            return kind
        return self.enter(node)

    def made(self, node: ast.Call) -> str | None:
        """A tensor that torch makes: on the meta device, unless a device is named."""
        device = next((k.value for k in node.keywords if k.arg == "device"), None)
        if self.on_cpu or self.is_cpu(device):
            return CPU
        if string(device) == "meta" or not (device is None or is_none(device)):
            return META if string(device) == "meta" else None
        return LINSPACE if call_name(node) == "linspace" else META

    def is_cpu(self, node: ast.AST | None) -> bool:
        """ "cpu" or torch.device("cpu")."""
        if isinstance(node, ast.Call) and call_name(node) == "device":
            node = node.args[0] if node.args else None
        return (string(node) or "").startswith("cpu")


def _inputs(call: ast.Call) -> list[ast.expr]:
    """Arguments, those in lists and tuples included: torch.cat([a, b])."""
    inputs: list[ast.expr] = []
    for value in (*call.args, *(k.value for k in call.keywords)):
        inputs += value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
        if isinstance(value, (ast.ListComp, ast.GeneratorExp)):
            inputs.append(value.elt)
    return inputs


def _function(code: ReachableCode, module: Module, name: str) -> tuple[Module, ast.FunctionDef] | None:
    """A function by the name that a file knows it by."""
    if name in (own := defined_functions(module)):
        return module, own[name]
    place, original = module.imports.get(name, ("", ""))
    other = code.folder.modules.get(place[1:]) if place.startswith(".") else None
    return (other, own[original]) if other and original in (own := defined_functions(other)) else None


def positional_names(function: ast.FunctionDef) -> list[str]:
    """The arguments by position, without self."""
    return [a.arg for a in function.args.args if a.arg != "self"]


def _surest(answers: list[bool | None]) -> bool | None:
    """The answer that is surest: True, else False, else None."""
    return True if True in answers else False if False in answers else None


def constructors(code: ReachableCode) -> Iterator[Finding]:
    """P14, P14b, P14c and P14d in the constructors of torch modules and in what they call."""
    return (finding_of(fault, code.lowest_version) for fault in faults(code))


def faults(code: ReachableCode) -> Iterator[Fault]:
    """The same with their places."""
    reported: set[tuple[str, int]] = set()
    left = [CALLS]
    values = settings(code)
    registered = code.auto_map.get("AutoConfig", "").split(".")[-1]
    ours = classes_with_config(code, [cls for cls in code.models if _has_main(code, cls, registered)])
    for cls in code.torch_modules:
        module, node = code.folder.classes[cls]
        for init in node.body:
            if not isinstance(init, ast.FunctionDef) or init.name != "__init__":
                continue
            body = _Body(code, module, cls, seen=frozenset({id(init)}), left=left)
            theirs = other_config(code, node) or not is_ours(code, init) or not _takes_main(code, init, registered)
            body.settings = {} if theirs or cls not in ours else values
            body.walk(init.body)
            for fault in body.found:
                if (fault.rule, id(fault.node)) not in reported:
                    reported.add((fault.rule, id(fault.node)))
                    yield fault


def _has_main(code: ReachableCode, cls: str, registered: str) -> bool:
    """Whether a model is built with the registered configuration: another one has settings of its own."""
    declared = code.folder.attribute(cls, "config_class")
    return declared is None or chain(declared)[-1:] == [registered]


def _takes_main(code: ReachableCode, init: ast.FunctionDef, registered: str) -> bool:
    """Whether the annotation of ``config`` is the registered class or a base of it, or no class of the folder."""
    words = {
        text
        for each in parameters(init)
        if each.arg == "config" and each.annotation is not None
        for part in walk(each.annotation)
        if (text := part.id if isinstance(part, ast.Name) else word(part).split(".")[-1])
    }
    named = words & set(code.config_classes)
    return not named or bool(named & {registered, *code.folder.lineage(registered)})
