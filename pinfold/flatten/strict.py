"""What is taken of a script or a notebook: definitions, imports and values that are written out.

A value is written out where it reads nothing but the code itself: literals and what operators, comprehensions and
functions such as tuple, namedtuple and partial make of them. A lambda is a definition like any other.

Its other statements do their own work (they train, they read files and the environment), and nobody wrote them to be
published.
"""

import ast
import builtins
from collections.abc import Iterator

from pinfold.common.errors import UserError
from pinfold.flatten import names
from pinfold.flatten.sources import Source

# What makes a value of its arguments alone, by the module that it is imported from; None: all of that module.
BUILTINS = "bool bytes complex dict enumerate float frozenset int list range set slice str tuple zip".split()  # noqa: SIM905
MAKERS: dict[str, set[str] | None] = {
    "math": None,
    "functools": {"partial"},
    "operator": {"attrgetter", "itemgetter"},
    "collections": {"namedtuple", "OrderedDict", "defaultdict", "Counter", "deque"},
    "enum": {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "auto"},
    "typing": {"NamedTuple", "NewType", "ParamSpec", "TypeVar", "TypeVarTuple", "TypedDict"},
    "typing_extensions": {"NamedTuple", "NewType", "ParamSpec", "TypeVar", "TypeVarTuple", "TypedDict"},
    "numpy": {"finfo", "iinfo"},
    "torch": {"finfo", "iinfo", "Size"},
}


def check_strict(source: Source, node: ast.stmt) -> None:
    """
    Raises:
        UserError: a statement of a script or notebook that is more than a definition, an import or a written value.
    """
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return
    asks = {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in ast.walk(node)}
    of_the_machine = bool(asks & {"argv", "environ", "getenv"})
    written = isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and (
        is_made_here(source, node.value) or _is_logger(node.value)
    )
    if written and not of_the_machine:
        return
    if isinstance(node, (ast.If, ast.Try)) and not of_the_machine and _may_be_asked(node):
        for inner in _statements(node):
            check_strict(source, inner)
        return
    if isinstance(node, ast.Pass):
        return
    what = ", ".join(sorted(names.bound(node))) or ast.unparse(node).splitlines()[0][:60]
    raise UserError(
        f"{source.where}:{node.lineno}: the model's code uses {what}, which is computed there; write it as a literal "
        "value, or make it a field of the configuration"
    )


def _may_be_asked(node: ast.If | ast.Try) -> bool:
    """Whether a condition is one on packages and releases, or only imports depend on it."""
    if isinstance(node, ast.If) and any(getattr(part, "id", "") == "__name__" for part in ast.walk(node.test)):
        return False  # another one once it is published
    if isinstance(node, ast.Try) or all(isinstance(s, (ast.Import, ast.ImportFrom)) for s in _statements(node)):
        return True
    calls = [part for part in ast.walk(node.test) if isinstance(part, ast.Call)]
    names_of_calls = [getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls]
    return all(
        name.startswith("is_") or name in ("parse", "version", "Version", "find_spec") for name in names_of_calls
    )


def _is_logger(value: ast.expr | None) -> bool:
    """``logging.get_logger(__name__)``, of Python's logging or transformers'."""
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("getLogger", "get_logger")
        and all(names.is_constant(argument) for argument in value.args)
        and not value.keywords
    )


def _statements(node: ast.If | ast.Try) -> list[ast.stmt]:
    handlers = [inner for handler in getattr(node, "handlers", ()) for inner in handler.body]
    return [*node.body, *node.orelse, *handlers, *getattr(node, "finalbody", ())]


def is_written_out(source: Source, node: ast.stmt) -> bool:
    """Whether a script's statement is a definition, or sets an item or attribute to a written value."""
    if isinstance(node, names.DEFINITIONS):
        return True
    return isinstance(node, (ast.Assign, ast.AugAssign)) and is_made_here(source, node.value)


def is_made_here(source: Source, value: ast.expr | None) -> bool:
    """Whether a value is made of what is written there, and reads nothing else when the module runs."""
    if value is None:
        return False
    allowed = (
        ast.Lambda,
        ast.IfExp,
        ast.Compare,
        ast.BoolOp,
        ast.boolop,
        ast.cmpop,
        ast.JoinedStr,
        ast.FormattedValue,
    )
    made = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.keyword, ast.Call)
    for part in _run_at_once(value):
        if isinstance(part, ast.Call):
            if not _is_maker(source, part.func):
                return False
        elif not isinstance(part, (*allowed, *made)) and not names.is_constant_part(part):
            return False
    return True


def _run_at_once(value: ast.AST) -> Iterator[ast.AST]:
    """The parts of an expression that are computed with it: not what is in a lambda, which runs when it is called."""
    yield value
    inside = [] if isinstance(value, ast.Lambda) else list(ast.iter_child_nodes(value))
    if isinstance(value, ast.Lambda):
        inside = [each for each in (*value.args.defaults, *value.args.kw_defaults) if each is not None]
    for child in inside:
        yield from _run_at_once(child)


def _is_maker(source: Source, function: ast.expr) -> bool:
    """Whether a function that is called makes a value of its arguments alone; or a method of a written text does."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Constant):
        return isinstance(function.value.value, str)
    name = ast.unparse(function)
    first, _, rest = name.partition(".")
    binding = [node for node in source.tree.body if first in names.bound(node)]
    if not binding:
        return name in BUILTINS and hasattr(builtins, name)
    if not all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in binding):
        return False
    for node in binding:
        for alias in node.names:  # type: ignore[attr-defined]
            if (alias.asname or alias.name.split(".")[0]) != first:
                continue
            place = [node.module or "", alias.name] if isinstance(node, ast.ImportFrom) else [alias.name, rest]
            known = MAKERS.get(place[0], set())
            if (rest and isinstance(node, ast.ImportFrom)) or (known is not None and place[1] not in known):
                return False
    return True
