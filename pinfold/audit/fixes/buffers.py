"""P12: buffers that no file holds are filled in ``_init_weights``, which transformers 5 calls after loading.

Two cures, the plainer one first:
- a buffer of one number, torch.zeros(...) or torch.full(..., 0.5), is filled with it.
- a class that computes its buffers and has no parameters, as of rotary positions, is built again, from what it was
  built with, where tensors have values; the buffers are copied from there.
"""

import ast
from dataclasses import dataclass, field

from pinfold.audit.fixes.source import LONGEST, Source
from pinfold.audit.fixes.work import Work
from pinfold.audit.reachable import (
    argument,
    assignments,
    call_name,
    calls,
    chain,
    defaults,
    is_none,
    is_self_attribute,
    own_nodes,
    parameters,
    string,
)
from pinfold.audit.rules.init_weights import non_persistent
from pinfold.folder.model_folder import Module

WHY = "# transformers 5 leaves buffers that no file holds without values"
BUILT = "rebuilt"


class CannotFix(Exception):
    """Why a class has no fix, in words that follow its name."""


@dataclass
class _Filling:
    """How the buffers of a class are filled.

    Args:
        arguments: of the call that builds it again: name -> attribute; None where numbers fill all.
        kept: arguments that its constructor has to keep first, and that constructor.
    """

    cls: str
    lines: list[str]
    arguments: dict[str, str] | None = None
    kept: list[tuple[str, str, ast.FunctionDef]] = field(default_factory=list)


def fix(work: Work) -> None:
    """Fill the buffers that the audit reports, class by class with all that derive from it."""
    code = work.code
    faulty = [
        cls
        for cls in code.torch_modules
        if any(work.reported("P12", code.folder.classes[cls][0], node) for _, node in _own(work, cls))
    ]
    tops = [cls for cls in faulty if not any(other in code.folder.lineage(cls)[1:] for other in faulty)]
    places: dict[int, tuple[Module, ast.FunctionDef, list[_Filling]]] = {}
    for top in tops:
        heirs = [cls for cls in code.classes if top in code.folder.lineage(cls)]
        ordered = sorted(heirs, key=lambda cls: -len(code.folder.lineage(cls)))
        try:
            fillings = [_filling(work, cls) for cls in ordered]
            methods = _methods(work, ordered)
        except CannotFix as error:
            _say(work, top, str(error))
            continue
        for module, method in methods:
            places.setdefault(id(method), (module, method, []))[2].extend(fillings)
    written: set[tuple[int, str]] = set()
    for module, method, fillings in places.values():
        _write(work.source(module), method, fillings)
        for filling in fillings:
            _keep(work, filling, written)


def _own(work: Work, cls: str) -> list[tuple[str, ast.AST]]:
    return list(non_persistent(work.code, work.code.folder.classes[cls][1]))


def _filling(work: Work, cls: str) -> _Filling:
    """How a class and what it derives from get their buffers.

    Raises:
        CannotFix: it is not plain.
    """
    folder = work.code.folder
    registered: dict[str, list[tuple[ast.AST, str]]] = {}
    for owner in folder.lineage(cls):
        for name, node in _own(work, owner):
            registered.setdefault(name, []).append((node, owner))
    if "" in registered:
        raise CannotFix("its name is computed")
    numbers = {name: _number(places[0][0]) for name, places in registered.items() if len(places) == 1}
    fills = {name: number for name in registered if (number := numbers.get(name))}
    arguments: dict[str, str] | None = None
    kept: list[tuple[str, str, ast.FunctionDef]] = []
    if len(fills) < len(registered):
        try:
            arguments, kept = _arguments(work, cls)
            fills = {name: f"copy_({BUILT}.{name})" for name in registered}
        except CannotFix as error:
            if not fills:
                raise
            left = ", ".join(sorted(set(registered) - set(fills)))
            _say(work, cls, f"{left}: {error}")
    lines = []
    for name, fill in fills.items():
        lines += _line(work, cls, name, registered[name], f"{{module}}.{name}.{fill}")
    return _Filling(cls, lines, arguments, kept)


def _say(work: Work, cls: str, words: str) -> None:
    module, node = work.code.folder.classes[cls]
    work.source(module).say(node, f"{cls} has a buffer without values in transformers 5, {words}")


def _line(work: Work, cls: str, name: str, places: list[tuple[ast.AST, str]], line: str) -> list[str]:
    """The line that fills a buffer, below a question where it may not be there."""
    if any(_is_sure(work, cls, node) for node, _ in places):
        return [line]
    return [f'if getattr({{module}}, "{name}", None) is not None:', f"    {line}"]


def _number(call: ast.AST) -> str:
    """What fills a buffer of one number: "zero_()" of torch.zeros(4); "" for any other."""
    value = (
        argument(call, 1, "tensor") if isinstance(call, ast.Call) and call_name(call) == "register_buffer" else None
    )
    if not isinstance(value, ast.Call) or chain(value.func)[:1] != ["torch"] or len(chain(value.func)) != 2:
        return ""
    name, number = call_name(value), None
    if name == "full":
        number = argument(value, 1, "fill_value")
    elif name in ("tensor", "scalar_tensor") and value.args:
        number = value.args[0]
    if isinstance(number, ast.UnaryOp) and isinstance(number.op, ast.USub):
        sign, number = "-", number.operand
    else:
        sign = ""
    if isinstance(number, ast.Constant) and type(number.value) in (int, float, bool):
        return f"fill_({sign}{number.value!r})"
    return {"zeros": "zero_()", "ones": "fill_(1)"}.get(name, "")


def _is_sure(work: Work, cls: str, node: ast.AST) -> bool:
    """Whether a buffer is there once the constructor has run: it is registered on no condition, and is not None."""
    found = work.code.folder.method(cls, "__init__")
    statement = _statement(work, cls, node)
    if found is None or statement is None:
        return False
    value = argument(node, 1, "tensor") if isinstance(node, ast.Call) else None
    for owner in work.code.folder.lineage(cls):
        for part in work.code.folder.classes[owner][1].body:
            if not (isinstance(part, ast.FunctionDef) and statement in part.body):
                continue
            if isinstance(value, ast.Name):
                values = [v for n in own_nodes(part) for t, v in assignments(n) if chain(t) == [value.id]]
                if not values or any(v is None or any(map(is_none, ast.walk(v))) for v in values):
                    return False
            if isinstance(value, ast.IfExp):
                return False
            return part.name == "__init__" or _runs(work, cls, part.name)
    return False


def _statement(work: Work, cls: str, node: ast.AST) -> ast.AST | None:
    owners = [work.code.folder.classes[owner][0] for owner in work.code.folder.lineage(cls)]
    for module in owners:
        if (statement := work.source(module).around(node, ast.stmt)) and id(node) in work.source(module).parents:
            return statement
    return None


def _runs(work: Work, cls: str, method: str) -> bool:
    """Whether a constructor of the class calls a method on no condition."""
    for owner in work.code.folder.lineage(cls):
        for part in work.code.folder.classes[owner][1].body:
            if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                direct = [s.value for s in part.body if isinstance(s, ast.Expr)]
                if any(isinstance(c, ast.Call) and chain(c.func) == ["self", method] for c in direct):
                    return True
    return False


def _arguments(work: Work, cls: str) -> tuple[dict[str, str], list[tuple[str, str, ast.FunctionDef]]]:
    """What a class was built with: argument -> the attribute that holds it, and those that are not held yet.

    Raises:
        CannotFix: it holds more than its buffers, or an argument is changed on the way.
    """
    code, folder = work.code, work.code.folder
    constructor = folder.method(cls, "__init__")
    if constructor is None or folder.kind(cls) == "model" or not _only_buffers(work, cls):
        raise CannotFix(f"{cls} holds more than buffers: fill it in _init_weights with copy_")
    owner, init = constructor
    if init.args.vararg or init.args.kwarg or init.args.posonlyargs:
        raise CannotFix(f"{cls}.__init__ takes any arguments: fill it in _init_weights with copy_")
    for module in code.modules:
        for call in calls(module.tree):
            if call_name(call) == cls and any(
                chain(inner.func)[:1] == ["torch"] for a in call.args for inner in calls(a)
            ):
                raise CannotFix(f"{cls} is built with a tensor: fill it in _init_weights with copy_")
    arguments: dict[str, str] = {}
    kept: list[tuple[str, str, ast.FunctionDef]] = []
    for each in parameters(init)[1:]:
        name = each.arg
        if "device" in name and is_none(defaults(init).get(name)):
            continue
        if any(chain(t) == [name] for node in ast.walk(init) for t, _ in _bound(node)):
            raise CannotFix(f"{cls}.__init__ changes its argument {name}: fill it in _init_weights with copy_")
        attribute = _holds(work, cls, owner, init, name)
        if attribute is None:
            if name in _words(work, cls):
                raise CannotFix(f"{cls} does not keep its argument {name}: fill it in _init_weights with copy_")
            attribute, above = name, _super_call(init)
            if above is None or work.source(folder.classes[owner][0]).indent(above) is None:
                raise CannotFix(f"{cls} does not keep its argument {name}: fill it in _init_weights with copy_")
            kept.append((owner, name, init))
        arguments[name] = attribute
    return arguments, kept


def _bound(node: ast.AST):
    """What a node binds: assignments, also with an operator."""
    yield from assignments(node)
    if isinstance(node, ast.AugAssign):
        yield node.target, node.value


def _only_buffers(work: Work, cls: str) -> bool:
    """Whether a class has neither parameters nor modules in it, and torch's Module alone above it."""
    code = work.code
    for owner in code.folder.lineage(cls):
        node = code.folder.classes[owner][1]
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if any(_super_call(init) is None for init in inits):
            return False
        above = [base for base, _ in code.folder.bases(owner) if base not in code.folder.classes]
        if any(base != "Module" for base in above) or code.parameters.get(owner):
            return False
        makers = ("register_parameter", "add_module", "register_module", "from_pretrained", "setattr")
        if any(code.builds_module(call) or call_name(call) in makers for call in calls(node)):
            return False
    return True


def _holds(work: Work, cls: str, owner: str, init: ast.FunctionDef, name: str) -> str | None:
    """The attribute that holds an argument from then on, here or in the base that gets it."""
    for statement in init.body:
        for target, value in assignments(statement):
            keeps = is_self_attribute(target) and isinstance(value, ast.Name) and value.id == name
            if keeps and isinstance(target, ast.Attribute) and _times_set(work, cls, target.attr) == 1:
                return target.attr
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "__init__":
            lineage = work.code.folder.lineage(owner)
            above = work.code.folder.method(lineage[1], "__init__") if len(lineage) > 1 else None
            if above is None or not isinstance(call.func.value, ast.Call):
                continue
            for number, each in enumerate(parameters(above[1])[1:]):
                value = argument(call, number, each.arg)
                if isinstance(value, ast.Name) and value.id == name:
                    return _holds(work, cls, *above, each.arg)
    return None


def _times_set(work: Work, cls: str, attribute: str) -> int:
    """How often the classes of a lineage set an attribute."""
    return sum(
        isinstance(node, ast.Attribute) and node.attr == attribute and not isinstance(node.ctx, ast.Load)
        for owner in work.code.folder.lineage(cls)
        for node in ast.walk(work.code.folder.classes[owner][1])
    )


def _words(work: Work, cls: str) -> set[str]:
    """The names of all attributes, methods and buffers that a lineage speaks of."""
    words: set[str] = set()
    for owner in work.code.folder.lineage(cls):
        for node in ast.walk(work.code.folder.classes[owner][1]):
            if isinstance(node, ast.Attribute):
                words.add(node.attr)
            words |= {string(node) or "", getattr(node, "name", None) or ""}
    return words


def _methods(work: Work, classes: list[str]) -> list[tuple[Module, ast.FunctionDef]]:
    """The ``_init_weights`` of the models whose files know these classes by name.

    Raises:
        CannotFix: there is none, or it has another shape.
    """
    folder = work.code.folder
    models = [cls for cls in work.code.classes if folder.kind(cls) == "model"]
    found = dict.fromkeys(each for cls in models if (each := folder.method(cls, "_init_weights")))
    usable = []
    for owner, method in found:
        module = folder.classes[owner][0]
        knows = all(folder.classes[cls][0] is module or module.imports.get(cls, ("", ""))[1] == cls for cls in classes)
        source = work.source(module)
        if knows and len(parameters(method)) > 1 and source.indent(method.body[0]) is not None:
            words = {node.id for node in ast.walk(method) if isinstance(node, ast.Name)}
            usable += [(module, method)] * (BUILT not in words)
    if not usable:
        raise CannotFix(f"no file with an _init_weights knows {classes[-1]}: fill it there with copy_")
    return usable


def _write(source: Source, method: ast.FunctionDef, fillings: list[_Filling]) -> None:
    """Fill them at the top of ``_init_weights``, above what may return early."""
    module = parameters(method)[1].arg
    docstring = isinstance(method.body[0], ast.Expr) and string(method.body[0].value) is not None
    first = method.body[1] if docstring and len(method.body) > 1 else method.body[0]
    indent = source.indent(method.body[0]) or ""
    step = "\t" if "\t" in indent else "    "
    lines = [indent + WHY]
    for number, filling in enumerate(fillings):
        lines.append(f"{indent}{'elif' if number else 'if'} isinstance({module}, {filling.cls}):")
        if filling.arguments is not None:
            lines += _call(filling, module, indent + step, step)
        lines += [indent + step + line.replace("    ", step).format(module=module) for line in filling.lines]
    if docstring and len(method.body) == 1:
        source.after_line(first, source.end.join(lines), "P12")
    else:
        source.before_line(first, source.end.join(lines), "P12")


def _call(filling: _Filling, module: str, indent: str, step: str) -> list[str]:
    """The call that builds a class again, in as many lines as it needs."""
    arguments = [f"{name}={module}.{attribute}" for name, attribute in (filling.arguments or {}).items()]
    line = f"{indent}{BUILT} = {filling.cls}({', '.join(arguments)})"
    if len(line) <= LONGEST:
        return [line]
    return [f"{indent}{BUILT} = {filling.cls}(", *(f"{indent}{step}{each}," for each in arguments), f"{indent})"]


def _keep(work: Work, filling: _Filling, written: set[tuple[int, str]]) -> None:
    """Have constructors hold what they are built with, below the call of the constructor above."""
    for owner, name, init in filling.kept:
        if (id(init), name) in written:
            continue
        written.add((id(init), name))
        source = work.source(work.code.folder.classes[owner][0])
        above = _super_call(init)
        if above is not None:
            source.after_line(above, f"{source.indent(above)}self.{name} = {name}", "P12")


def _super_call(init: ast.FunctionDef) -> ast.Expr | None:
    """The statement of a constructor that calls the one above."""
    for statement in init.body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(statement, ast.Expr) and isinstance(call, ast.Call) and call_name(call) == "__init__":
            return statement
    return None
