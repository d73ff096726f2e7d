"""P13: writes in ``_init_weights`` that ask whether the tensor was just loaded.

Two cures, both of which work in every release:
- a whole tensor that torch.nn.init can fill is handed to it: transformers 5 guards those functions.
- for any other write, the mark that loading leaves on a tensor is looked at first.
"""

import ast

from pinfold.audit.fixes.source import LINE_END, LONGEST, Source
from pinfold.audit.fixes.work import Work
from pinfold.audit.reachable import FUNCTIONS, argument, assignments, call_name, calls, chain, is_none, makes, string
from pinfold.audit.rules.init_weights import GUARD, Initialisation
from pinfold.folder.model_folder import Module, located

# Methods of tensors -> the function of torch.nn.init that does the same with the same arguments.
FILLS = {"normal_": "normal_", "uniform_": "uniform_", "zero_": "zeros_", "fill_": "constant_"}
# What transformers guards of torch.nn.init (TORCH_INIT_FUNCTIONS in initialization.py, the same in 5.0.0 and 5.24.0).
GUARDED = (  # noqa: SIM905
    "uniform_ normal_ constant_ ones_ zeros_ eye_ dirac_ xavier_uniform_ xavier_normal_ kaiming_uniform_ "
    "kaiming_normal_ trunc_normal_ orthogonal_ sparse_"
).split()
VIEWS = ("data", "T")


def fix(work: Work) -> None:
    """Change each write that the audit reports."""
    seen: set[int] = set()
    for write in Initialisation(work.code).writes:
        if write.how == "init" or write.guarded or id(write.node) in seen:
            continue
        if not work.reported("P13", write.module, write.node):
            continue
        seen.add(id(write.node))
        source = work.source(write.module)
        if not (_by_init(source, write.node) or _guarded(source, write.node)):
            words = source.module.text(write.node, 60)
            source.say(write.node, f'"{words}": it is not clear which tensor it writes; check its {GUARD} first')


def _by_init(source: Source, node: ast.AST) -> bool:
    """Hand a whole tensor to torch.nn.init; whether that could be done."""
    init = init_name(source.module)
    if not isinstance(node, ast.Call) or not isinstance(source.parents.get(id(node)), ast.Expr) or init is None:
        return False
    func, name = node.func, call_name(node)
    if isinstance(func, ast.Attribute) and (chain(func) or [""])[0] not in source.module.imports:
        tensor = _whole(source, func.value)
        return tensor is not None and _method(source, node, name, tensor, init)
    function = _of_torch_init(source.module, func)
    tensor = _whole(source, node.args[0]) if node.args else None
    if function not in GUARDED or tensor is None:
        return False
    if not _through_module(func):  # imported by its name, which transformers does not guard
        source.replace(func, f"{init}.{function}", "P13")
    if source.of(node.args[0]) != tensor:
        source.replace(node.args[0], tensor, "P13")
    return True


def _method(source: Source, call: ast.Call, name: str, tensor: str, init: str) -> bool:
    """module.weight.data.normal_(std=0.02) -> nn.init.normal_(module.weight, std=0.02)."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    keywords = {"normal_": {"mean", "std", "generator"}}.get(name, set())
    counts = {"zero_": range(1), "fill_": range(1, 2)}.get(name, range(4))
    if name not in FILLS or len(arguments) not in counts or {keyword.arg for keyword in call.keywords} - keywords:
        return False
    if any(isinstance(each, ast.Starred) for each in arguments):
        return False
    function, value = FILLS[name], arguments[0] if name == "fill_" else None
    if isinstance(value, ast.Constant) and type(value.value) in (int, float) and value.value in (0, 1):
        function, arguments = ("ones_" if value.value else "zeros_"), []
    if not arguments:
        source.replace(call, f"{init}.{function}({tensor})", "P13")
        return True
    start = source.first(call.args[0] if call.args else call.keywords[0])
    opening = source.last(call.func)
    source.edits.append((source.first(call), opening, f"{init}.{function}", "P13"))
    source.add_argument(start, tensor, "P13")
    return True


def _whole(source: Source, node: ast.expr) -> str | None:
    """The tensor, as it is written, where it is a whole parameter: module.weight of module.weight.data, or p."""
    while isinstance(node, ast.Attribute) and node.attr == "data":
        node = node.value
    if isinstance(node, ast.Attribute) and node.attr not in VIEWS:
        owner: ast.AST = node.value
        while isinstance(owner, (ast.Attribute, ast.Subscript)):  # layers[0].weight is whole too
            owner = owner.value
        return source.of(node) if isinstance(owner, ast.Name) and source.one_line(node) else None
    return node.id if isinstance(node, ast.Name) and _names_parameter(source, node) else None


def _names_parameter(source: Source, name: ast.Name) -> bool:
    """Whether all that a local name stands for are whole parameters: those of a loop over them, or module.weight."""
    function = source.around(name, FUNCTIONS)
    if function is None:
        return False
    bound = False
    for node in ast.walk(function):
        if isinstance(node, ast.arg) and node.arg == name.id:
            return False
        if isinstance(node, (ast.For, ast.comprehension)) and name.id in _targets(node.target):
            called = {call_name(call) for call in calls(node.iter)}
            last = node.target.elts[-1] if isinstance(node.target, ast.Tuple) else node.target
            if not called & {"parameters", "named_parameters"} or getattr(last, "id", "") != name.id:
                return False
            bound = True
        for target, value in assignments(node):
            if isinstance(target, ast.Name) and target.id == name.id:
                if not (_is_attribute(value) or is_none(value)):
                    return False
                bound = True
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name.id:
            bound = True  # it stays the same tensor
    return bound


def _targets(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _is_attribute(value: ast.expr | None) -> bool:
    """module.weight, or getattr(module, "weight", None)."""
    if isinstance(value, ast.Call) and call_name(value) == "getattr" and len(value.args) in (2, 3):
        default = argument(value, 2, "default")
        return string(value.args[1]) is not None and (default is None or is_none(default))
    return isinstance(value, ast.Attribute) and value.attr not in VIEWS and bool(chain(value))


def init_name(module: Module) -> str | None:
    """What a file calls torch.nn.init."""
    found: dict[str, str] = {}
    for local, (place, original) in module.imports.items():
        if (place, original) in (("torch", "nn"), ("torch.nn", "torch.nn")):
            found["nn"] = f"{local}.init"
        elif (place, original) in (("torch.nn", "init"), ("torch.nn.init", "torch.nn.init")):
            found["init"] = local
        elif (place, original) in (("", "torch"), ("torch", "torch")):
            found["torch"] = f"{local}.nn.init"
    return found.get("nn") or found.get("init") or found.get("torch")


def _of_torch_init(module: Module, func: ast.expr) -> str:
    """The name of a function of torch.nn.init, or ""."""
    path = chain(func)
    place, original = module.imports.get(path[0], ("", "")) if path else ("", "")
    if len(path) == 1:
        return original if place == "torch.nn.init" else ""
    full = [*place.split("."), *([] if place == original else [original]), *path[1:]]
    return path[-1] if [part for part in full if part][:-1] == ["torch", "nn", "init"] else ""


def _through_module(func: ast.expr) -> bool:
    return isinstance(func, ast.Attribute)


def _guarded(source: Source, node: ast.AST) -> bool:
    """Run a statement where its tensor has no mark; whether that could be done."""
    statement = source.around(node, ast.stmt)
    tensor = _tensor(source, node)
    alone = statement is node or (isinstance(statement, ast.Expr) and statement.value is node)
    if tensor is None or statement is None or not alone or makes(getattr(statement, "value", None), "Parameter"):
        return False
    test = f'not getattr({tensor}, "{GUARD}", False)'
    if _joined(source, statement, test):
        return True
    if source.lines(statement) is None or _has_long_text(source, statement):
        return False
    indent = source.indent(statement) or ""
    deeper = "\t" if "\t" in indent else "    "
    first, last = located(statement).lineno, located(statement).end_lineno
    source.insert(source.starts[first - 1], f"{indent}if {test}:{source.end}{deeper}", "P13")
    for line in range(first + 1, last + 1):
        start = source.starts[line - 1]
        if source.text[start:].split(source.end, 1)[0].strip():
            source.insert(start, deeper, "P13")
    return True


def _joined(source: Source, statement: ast.AST, test: str) -> bool:
    """Add the question to an ``if`` that holds this statement alone; whether that could be done."""
    above = source.parents.get(id(statement))
    if not isinstance(above, ast.If) or above.body != [statement] or above.orelse or not source.one_line(above.test):
        return False
    start, end = source.starts[above.lineno - 1], source.last(above.test)
    line = LINE_END.split(source.text[start:], maxsplit=1)[0]
    weaker = (ast.IfExp, ast.Lambda, ast.NamedExpr)  # than "and"
    weak = isinstance(above.test, weaker) or (isinstance(above.test, ast.BoolOp) and isinstance(above.test.op, ast.Or))
    if weak or len(line) + len(f" and {test}") > LONGEST or not source.text[end:].startswith(":"):
        return False
    source.insert(end, f" and {test}", "P13")
    return True


def _has_long_text(source: Source, statement: ast.AST) -> bool:
    """Whether a text of several lines is in it, which a deeper indentation would change."""
    texts = (ast.Constant, ast.JoinedStr)
    return any(isinstance(node, texts) and not source.one_line(node) for node in ast.walk(statement))


def _tensor(source: Source, node: ast.AST) -> str | None:
    """The parameter that a statement writes, as it is written: module.weight of module.weight.data[0].zero_()."""
    written: ast.AST | None = None
    if isinstance(node, ast.Call):
        written = node.args[0] if node.args else None
        if isinstance(node.func, ast.Attribute) and (chain(node.func) or [""])[0] not in source.module.imports:
            written = node.func.value
    elif isinstance(node, (ast.Assign, ast.AugAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(node, ast.Assign) and len(node.targets) != 1:
            return None
        written = target
    while isinstance(written, ast.Subscript) or (isinstance(written, ast.Attribute) and written.attr in VIEWS):
        written = written.value
    return _whole(source, written) if isinstance(written, (ast.Attribute, ast.Name)) else None
