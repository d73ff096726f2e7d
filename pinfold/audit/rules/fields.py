"""P15: annotated names in the body of a configuration class, of which transformers 5.4 and later make fields.

PreTrainedConfig.__init_subclass__ calls dataclass(cls) for every subclass, one with a constructor of its own too
(configuration_utils.py of 5.4.0 and later). Python refuses a field whose default cannot be hashed, and one without a
default behind those of the base class, while the file is imported. A default that can be hashed does no harm, whatever
the constructor does with it: tuples, numbers and texts were measured from 4.48.3 to 5.24.0.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, argument, call_name, chain
from pinfold.folder.kinds import stock_kind
from pinfold.folder.model_folder import Module, assigned

DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
# Builtin and standard functions whose result cannot be hashed.
MAKERS = ("list", "dict", "set", "sorted", "bytearray", "defaultdict", "OrderedDict", "Counter", "deque")


def fields(code: ReachableCode) -> Iterator[Finding]:
    """P15: fields that Python does not take."""
    for cls in code.config_classes:
        module, node = code.folder.classes[cls]
        constructs = any(isinstance(part, ast.FunctionDef) and part.name == "__init__" for part in node.body)
        before: dict[str, ast.expr] = _constants(module.tree.body)
        for part in _statements(node.body):
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not _no_field(module, part):
                yield from _field(code, cls, part, constructs, before)
            before |= _constants([part])


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body, those behind conditions too: what they annotate is annotated for the class."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If):
            yield from _statements([*statement.body, *statement.orelse])


def _no_field(module: Module, part: ast.AnnAssign) -> bool:
    """Whether dataclass does not judge the default: it is the class's own, or an argument that is not kept."""
    return any(word in module.text(part.annotation) for word in ("ClassVar", "InitVar"))


def _constants(body: list[ast.stmt]) -> dict[str, ast.expr]:
    """Names that statements bind, with their values."""
    values: dict[str, ast.expr] = {}
    for statement in body:
        targets, value = assigned(statement)
        values |= {target.id: value for target in targets if isinstance(target, ast.Name) and value is not None}
    return values


def _field(
    code: ReachableCode, cls: str, part: ast.AnnAssign, constructs: bool, before: dict[str, ast.expr]
) -> Iterator[Finding]:
    """What is wrong with one field.

    Args:
        constructs: the class has a constructor of its own. before: names that are bound above it.
    """
    module = code.folder.classes[cls][0]
    name, annotation = module.text(part.target), module.text(part.annotation, 40)
    if part.value is None:
        case = "P15.field_without_value" if constructs else "P15.field_without_value_no_constructor"
        words = f'{cls}.__init__: parameter "{name}" has no default.'
        fix = "transformers builds it without arguments; give it one."
        if constructs:
            words = f"{cls}: {name}: {annotation} has no value, and transformers makes a field of it."
            fix = "Take the line out; the constructor sets the attribute."
    else:
        case = _mutable(code, module, part.value, before)
        words = f"{cls}: {name}: {annotation} is a field for transformers, and its default can be changed: ValueError."
        fix = f"Take out the annotation: {name} = {module.text(part.value, 40)}."
    if case and (affected := harmed(case, code.lowest_version)):
        yield code.finding("P15", words, cls, part, fix=fix, releases=affected, case=case)


def _mutable(code: ReachableCode, module: Module, value: ast.expr, names: dict[str, ast.expr]) -> str:
    """The case of a default that cannot be hashed; "" where it can be, or is not known.

    Args:
        names: what is bound above it; a name that leads in a circle is not followed.
    """
    if isinstance(value, DISPLAYS):
        return "P15.mutable_field"
    if isinstance(value, ast.Name) and value.id in names:
        rest = {name: other for name, other in names.items() if name != value.id}
        return _mutable(code, module, names[value.id], rest)
    if isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Add, ast.Mult, ast.BitOr)):  # [8] * 4, FIRST + [2]
        return _mutable(code, module, value.left, names) or _mutable(code, module, value.right, names)
    if not isinstance(value, ast.Call):
        return ""
    called = call_name(value)
    if called == "field":
        default = argument(value, 0, "default")
        return _mutable(code, module, default, names) if default is not None else ""
    known = isinstance(value.func, ast.Name) or chain(value.func)[:1] == ["collections"]
    if known and called in MAKERS and called not in code.folder.classes:
        return "P15.mutable_field"
    # a configuration is a dataclass itself there, which compares by its fields and has no hash unless it says how
    place, original = module.imports.get(called, ("", called))
    config = original in code.config_classes and code.folder.method(original, "__hash__") is None
    return "P15.mutable_field_of_config" if config or stock_kind(original, place) == "config" else ""
