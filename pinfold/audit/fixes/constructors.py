"""P14, P14b and P14d: constructors that work on the meta device, where transformers 5 builds.

- a tensor that the constructor reads, or keeps as a plain attribute, is made with device="cpu": it has values there.
- a move to a device goes: who loads the model moves it.
"""

import ast

from pinfold.audit.finding import ERROR
from pinfold.audit.fixes.source import Source
from pinfold.audit.fixes.work import Work
from pinfold.audit.reachable import (
    assignments,
    call_name,
    calls,
    chain,
    defined_functions,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.audit.rules.constructors import FACTORIES, READERS, faults
from pinfold.audit.rules.meta_device import UNSURE, Fault

NO_DEVICE = ("bernoulli", "normal", "asarray", "as_tensor")  # they take another tensor, or have no such argument
DEEPEST = 6  # names that lead from what is read to what torch makes
CPU = 'device="cpu"'


def fix(work: Work) -> None:
    """Change each fault that the audit reports."""
    known = [fault for fault in faults(work.code) if work.reported(fault.rule, fault.module, fault.node)]
    removed = [fault for fault in known if fault.rule == "P14d" and fault.prefix != UNSURE and _is_error(work, fault)]
    for fault in known:
        if fault.rule in ("P14", "P14b"):
            _on_cpu(work, fault)
    if removed:
        _without_moves(work, removed)


def _is_error(work: Work, fault: Fault) -> bool:
    line = getattr(fault.node, "lineno", 0)
    return any(
        (f.code, f.file, f.line, f.severity) == (fault.rule, fault.module.file, line, ERROR) for f in work.findings
    )


def _on_cpu(work: Work, fault: Fault) -> None:
    """Make the tensors that a fault reads on the CPU."""
    source = work.source(fault.module)
    made = _Makers(work, source, fault.node)
    for part in _read(fault.node):
        made.look(part)
    if made.unclear or not made.found:
        words = source.module.text(fault.node, 60)
        source.say(fault.node, f'"{words}": it is not clear from which tensors that comes; compute it with numbers')
        return
    for call in made.found:
        last = max(source.last(part) for part in (*call.args, *call.keywords)) if call.args or call.keywords else None
        edit = (last, last, f", {CPU}", fault.rule) if last else (source.last(call) - 1,) * 2 + (CPU, fault.rule)
        if edit[:3] not in [each[:3] for each in source.edits]:
            source.edits.append(edit)


def _read(node: ast.AST) -> list[ast.expr]:
    """The tensors that a fault is about: x of x.item() and float(x), a condition, or what an attribute gets."""
    if isinstance(node, ast.Call):
        owner = [node.func.value] if isinstance(node.func, ast.Attribute) and call_name(node) in READERS else []
        return owner or [*node.args]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return [value for target, value in assignments(node) if is_self_attribute(target) and value is not None]
    return [node] if isinstance(node, ast.expr) else []


class _Makers:
    """The calls of torch that make what an expression is computed from."""

    def __init__(self, work: Work, source: Source, place: ast.AST):
        self.work, self.source = work, source
        self.function = source.around(place, (ast.FunctionDef, ast.AsyncFunctionDef))
        self.cls = source.around(place, ast.ClassDef)
        self.found: list[ast.Call] = []
        self.unclear = self.function is None
        self.seen: set[str] = set()

    def look(self, node: ast.AST, depth: int = 0) -> None:
        """Note the makers in an expression, and in what its names stand for."""
        if depth > DEEPEST:
            self.unclear = True
            return
        pending = [node]
        while pending:
            inner = pending.pop()
            if isinstance(inner, ast.Call) and self.makes(inner):
                self.found += [inner] * (inner not in self.found)
                continue  # its arguments are sizes and numbers
            if isinstance(inner, ast.Call) and self.enters(inner):
                self.unclear = True
            elif is_self_attribute(inner):
                self.attribute(inner, depth)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                self.name(inner, depth)
            pending += ast.iter_child_nodes(inner)

    def enters(self, call: ast.Call) -> bool:
        """Whether it calls a function of the folder, whose result is not followed."""
        names = chain(call.func)
        folder = self.work.code.folder
        if names[:1] == ["self"] and len(names) == 2 and isinstance(self.cls, ast.ClassDef):
            return folder.method(self.cls.name, names[1]) is not None
        return len(names) == 1 and any(names[0] in defined_functions(module) for module in self.work.code.modules)

    def makes(self, call: ast.Call) -> bool:
        """Whether torch makes a tensor here, on the device that is the default."""
        name, path = call_name(call), chain(call.func)
        imported = self.source.module.imports.get(path[0], ("", "")) if path else ("", "")
        of_torch = path[:1] == ["torch"] or imported[0] == "torch"
        if not of_torch or name not in FACTORIES or len(path) > 3:
            return False
        keywords = [keyword.arg for keyword in call.keywords]
        if "device" in keywords:
            return False
        generator = len(call.args) == 1 and isinstance(call.args[0], ast.GeneratorExp)
        self.unclear = self.unclear or None in keywords or generator or name in NO_DEVICE
        return True

    def name(self, node: ast.Name, depth: int) -> None:
        """What a local name stands for, in the function around it."""
        if node.id in self.seen or self.function is None:
            return
        self.seen.add(node.id)
        if isinstance(self.function, ast.FunctionDef) and self.function.name != "__init__":
            self.unclear = self.unclear or node.id in {each.arg for each in parameters(self.function)} - {"self"}
        for other in ast.walk(self.function):
            for target, value in assignments(other):
                if isinstance(target, ast.Name) and target.id == node.id and value is not None:
                    self.look(value, depth + 1)
            if isinstance(other, (ast.For, ast.comprehension)) and any(
                isinstance(n, ast.Name) and n.id == node.id for n in ast.walk(other.target)
            ):
                self.look(other.iter, depth + 1)

    def attribute(self, node: ast.Attribute, depth: int) -> None:
        """What an attribute of the object stands for; a parameter or a buffer has no values yet."""
        if node.attr in self.seen or not isinstance(self.cls, ast.ClassDef):
            return
        self.seen.add(node.attr)
        lineage = self.work.code.folder.lineage(self.cls.name)
        code = self.work.code
        if any(node.attr in (*code.parameters.get(o, ()), *code.buffers.get(o, ())) for o in lineage):
            self.unclear = True
            return
        for other in ast.walk(self.cls):
            for target, value in assignments(other):
                if is_self_attribute(target) and target.attr == node.attr and value is not None:
                    self.look(value, depth + 1)


def _without_moves(work: Work, removed: list[Fault]) -> None:
    """Take moves to a device out, where no other code counts on them."""
    gone = {id(fault.node) for fault in removed}
    kept = [
        (module, call)
        for module in work.code.modules
        for call in calls(module.tree)
        if id(call) not in gone and _to_accelerator(call)
    ]
    for fault in removed:
        source, call = work.source(fault.module), fault.node
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if kept and not _to_cpu(call):
            words = f"the model moves there in line {kept[0][1].lineno} of {kept[0][0].file} too"
            source.say(call, f'"{source.module.text(call, 60)}": {words}; take both out')
        elif call_name(call) == "to" and len(call.args) + len(call.keywords) != 1:
            source.say(
                call, f'"{source.module.text(call, 60)}" changes the dtype as well; keep that, without the device'
            )
        elif not _remove(source, call):
            source.say(call, f'"{source.module.text(call, 60)}" shares its line; take it out')


def _remove(source: Source, call: ast.Call) -> bool:
    """Take a call out: its statement, or the method call at the end of an expression."""
    statement = source.parents.get(id(call))
    if not isinstance(statement, ast.Expr):
        assert isinstance(call.func, ast.Attribute)
        source.edits.append((source.last(call.func.value), source.last(call), "", "P14d"))
        return True
    lines, above = source.lines(statement), source.parents.get(id(statement))
    if lines is None:
        return False
    block = next((b for _, b in ast.iter_fields(above) if isinstance(b, list) and statement in b), []) if above else []
    if len(block) == 1:
        source.replace(statement, "pass", "P14d")
    else:
        source.edits.append((*lines, "", "P14d"))
    return True


def _to_cpu(call: ast.Call) -> bool:
    texts = [string(node) or "" for node in ast.walk(call)]
    return call_name(call) == "cpu" or any(text.split(":")[0] == "cpu" for text in texts)


def _to_accelerator(call: ast.Call) -> bool:
    """x.cuda(), x.to("cuda"), torch.zeros(3, device="cuda:0")."""
    if isinstance(call.func, ast.Attribute) and call_name(call) in ("cuda", "xpu", "npu"):
        return True
    values = [*call.args, *(keyword.value for keyword in call.keywords)] if call_name(call) == "to" else []
    values += [keyword.value for keyword in call.keywords if keyword.arg == "device"]
    return any((string(value) or "").split(":")[0] in ("cuda", "xpu", "npu", "mps") for value in values)
