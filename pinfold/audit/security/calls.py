"""What a call does, judged by the function and its arguments: the rules for names whose arguments decide."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security import values
from pinfold.audit.security.names import (
    CALLERS,
    DECODERS,
    DEFINES,
    DELETES,
    INTROSPECTION,
    KEPT,
    METHODS,
    OPENERS,
    PATH_METHODS,
    PATH_ONLY,
    RUNNERS,
    RUNS_FIRST,
    SECRET_VARIABLES,
    STARTS_LOADING,
    WRITERS,
    canonical,
    judge,
)
from pinfold.audit.security.values import (
    Const,
    Decoded,
    Getter,
    Given,
    Instance,
    Many,
    Own,
    Picked,
    Ref,
    Table,
    Unknown,
    shown,
    union,
)

if TYPE_CHECKING:
    from pinfold.audit.security.interpreter import Reading, Scope

# Functions that give back what they were given, or its elements.
PASSES_ON = frozenset(
    "functools.partial functools.partialmethod functools.wraps functools.cache functools.lru_cache "
    "builtins.staticmethod builtins.classmethod builtins.property copy.copy copy.deepcopy builtins.iter "
    "builtins.list builtins.tuple builtins.set builtins.frozenset builtins.reversed builtins.sorted "
    "types.MethodType typing.cast builtins.str os.fspath os.path.abspath os.path.realpath os.path.normpath "
    "os.path.join pathlib.Path builtins.bytes".split()
)
TEMPORARY = frozenset(
    f"tempfile.{name}"
    for name in "TemporaryDirectory NamedTemporaryFile TemporaryFile SpooledTemporaryFile mkdtemp mktemp gettempdir "
    "mkstemp".split()
)
GIVES_ELEMENT = frozenset(("builtins.next", "builtins.min", "builtins.max"))
ENVIRONMENT = re.compile(r"^os\.environb?\.(\w+)$")
DICTIONARY = re.compile(
    r"^(.+?)(?:\.__dict__|\(\))\.(get|pop|__getitem__|setdefault|update|__setitem__|items|values|copy)$"
)
ENTRY_WRITES = frozenset(("setdefault", "update", "__setitem__"))
CHANGES_LIST = frozenset(
    "append insert extend remove clear pop update setdefault __setitem__ __delitem__ sort".split()
)


@dataclass
class Call:
    """A call with what its arguments can be. ``open_ended``: it has more arguments, which are not known."""

    node: ast.AST
    arguments: list[tuple]
    keywords: dict[str, tuple]
    open_ended: bool = False

    def argument(self, position: int, name: str) -> tuple:
        """What stands at a position or under a name; empty where nothing is known."""
        return self.keywords.get(name, self.arguments[position] if position < len(self.arguments) else ())

    def has(self, position: int, name: str) -> bool:
        return name in self.keywords or position < len(self.arguments) or self.open_ended


def apply(reading: "Reading", function: object, call: Call, scope: "Scope") -> tuple:
    """Report what calling ``function`` does, and return what it can give back."""
    if isinstance(function, (Own, Instance)):
        return _own(reading, function, call)
    if isinstance(function, Getter):
        return _getter(reading, function, call)
    if not isinstance(function, Ref):
        return ()
    path = function.path
    if reading.importing():
        _at_import(reading, path, call)
    everything = [*call.arguments, *call.keywords.values()]
    decoded = any(isinstance(v, Decoded) or (isinstance(v, Const) and v.decoded) for a in everything for v in a)
    if decoded and RUNNERS.match(path):
        reading.report("S10", call.node, f"{path}(...) runs what was hidden in encoded text.")
    for rule in (_handed, _names, _imports, _loads, _files, _environment, _settings):
        result = rule(reading, path, call, scope)
        if result is not None:
            return result
    if path in values.PURE and reading.steps > 0:
        found = values.pure(path, call.arguments, call.keywords, decoded or bool(DECODERS.match(path)))
        if found and reading.afford(values.size(found), call.node):
            return found
    if DECODERS.match(path) or (decoded and path.startswith(("builtins.", "codecs."))):
        return (Decoded(),)
    if path == "os.path.join":
        reading.text("/".join(text for part in call.arguments for text in values.strings(part)[:1]), call.node)
    if path == "builtins.property":
        return union(
            *(reading.returns.get(v.node, ()) for a in everything for v in a if isinstance(v, Own)), *everything
        )
    if path in PASSES_ON:
        first = call.argument(0, "func")
        if any(isinstance(v, Given) for v in first) and path != "functools.partial":
            return first if all(isinstance(v, Given) for v in first) and _stays(call.arguments[1:]) else ()
        if first and path != "pathlib.Path":
            return union(first, *(values.elements(first) if path == "typing.cast" else ()), *call.arguments[1:2])
    if path in TEMPORARY:
        given = (Given(temporary=True),)
        return values.many([given, given]) if path == "tempfile.mkstemp" else given
    if path in GIVES_ELEMENT:
        return union(*values.elements(call.argument(0, "iterable")))
    if path == "builtins.dict" and call.keywords:
        return values.table(list(call.keywords.items()))
    return (Ref(canonical(f"{path}()")),) if len(path) < 200 else ()


def _stays(parts: list[tuple]) -> bool:
    for found in parts:
        if any(text.startswith(("/", "\\", "~")) or ".." in text for text in values.strings(found)):
            return False
    return True


def _own(reading: "Reading", function: Own | Instance, call: Call) -> tuple:
    """A function or class of the folder: its parameters become what this call gives, and it counts as called."""
    node = function.node
    if isinstance(node, ast.ClassDef):
        names = ("__call__",) if isinstance(function, Instance) else ("__new__", "__init__", "__post_init__")
        found: list[tuple] = []
        for name in names:
            for member in reading.member(node, name):
                if isinstance(member, Own) and not isinstance(member.node, ast.ClassDef):
                    result = _own(reading, member, call)
                    found.append(result if name == "__call__" else ())
        return union(*found) if isinstance(function, Instance) else (Instance(node),)
    if isinstance(node, ast.Module):
        return ()
    if reading.function is not None:
        reading.calls.setdefault(reading.function, set()).add(node)
    elif reading.importing():
        reading.at_import.setdefault((reading.file, getattr(call.node, "lineno", 0)), set()).add(node)
    inner, unknown = reading.scopes.get(node), () if reading.first else (Unknown(),)
    if inner is not None:
        ordered = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        if inner.parent is not None and inner.parent.kind == "class":
            ordered = ordered[1:]
        for name, given in (*zip(ordered, call.arguments, strict=False), *call.keywords.items()):
            if name in inner.names:
                reading.bind_name(name, given or unknown, inner)
        if call.open_ended:
            for name in ordered[len(call.arguments) - 1 :]:
                reading.bind_name(name, unknown, inner)
    return reading.returns.get(node, ())


def _at_import(reading: "Reading", path: str, call: Call) -> None:
    top, last = path.split("(")[0].split("."), path.split(".")[-1]
    if last in STARTS_LOADING:
        reading.report("S12", call.node, f"{path}(...) loads something when the file is imported.")
    elif path in ("builtins.input", "builtins.exit", "builtins.quit", "sys.exit"):
        reading.report("S12", call.node, f"{path}() stops or holds whoever imports the file.", WARNING)
    elif path in OPENERS:
        reading.report("S12", call.node, f"{path}(...) opens a file when this one is imported.", WARNING)
    elif top[0] in ("", "builtins") or "()" in path or judge(path):
        return
    elif not any(".".join(top[:length]) in DEFINES for length in range(1, len(top) + 1)) and top[0] not in KEPT:
        reading.report("S12", call.node, f"{path}(...) is called when the file is imported.", WARNING)


def look_up(reading: "Reading", owners: tuple, index: tuple, node: ast.AST, scope: "Scope") -> tuple:
    """``owner[index]``: entries of namespaces, of the environment, of sequences and dicts."""
    found: list[tuple] = [values.subscript(owners, index)]
    names = values.strings(index)
    for owner in owners:
        if not isinstance(owner, Ref):
            if isinstance(owner, (Given, Instance)):
                found.append((owner,) if isinstance(owner, Given) else ())
            continue
        path = owner.path
        if path in ("os.environ", "os.environb"):
            _reads_variable(reading, node, index)
        elif (path.endswith(".__dict__") and "()" not in path) or path == "builtins":
            base = (Ref(path.removesuffix(".__dict__")),)
            if not names:
                reading.report("S15", node, f"looks up a name in {path} that is made up while it runs.")
            for name in names:
                found.append(reading.attribute(base, name, node))
        elif path in ("builtins.globals()", "builtins.locals()"):
            found += _namespace(reading, path, names, node, scope)
        elif path == "sys.modules":
            found += _loaded_module(reading, index, names, node, scope)
        else:
            found.append((Ref(f"{path}[]"),) if "()" in path and len(path) < 200 else ())
    return union(*found)


def _namespace(reading: "Reading", path: str, names: list[str], node: ast.AST, scope: "Scope") -> list[tuple]:
    place = scope.top() if path == "builtins.globals()" else scope
    if not names and path == "builtins.globals()":
        reading.report("S15", node, "looks up a name of this file that is made up while it runs.", WARNING)
        # it can be any of them: the names that matter are reported where they are imported or handed on
        imported = [
            found for found in place.names.values() if any(isinstance(v, Ref) and v.path in KEPT for v in found)
        ]
        if imported:
            reading.report("S15", node, "can reach every module that this file imports, by a name made up.")
        return imported
    found = []
    for name in names:
        if name in ("__builtins__", "__loader__", "__spec__"):
            reading.report("S15", node, f'["{name}"] reaches into Python, where any name can be found.')
        found.append((Ref("builtins"),) if name == "__builtins__" else reading.look_for(name, place))
        for value in found[-1]:
            if isinstance(value, Ref):
                reading.mention(value.path, node)
    return found


def _loaded_module(reading: "Reading", index: tuple, names: list[str], node: ast.AST, scope: "Scope") -> list[tuple]:
    if any(isinstance(v, Ref) and v.path == "builtins.__name__" for v in index) or _is_own_name(node):
        return [(Own(scope.top().node),)]
    if not names:
        reading.report("S15", node, "takes a module out of sys.modules by a name that is made up while it runs.")
    return [(Ref(canonical(name)),) for name in names if all(p.isidentifier() for p in name.split("."))]


def _is_own_name(node: ast.AST) -> bool:
    key = node.slice if isinstance(node, ast.Subscript) else None
    name = key.id if isinstance(key, ast.Name) else key.attr if isinstance(key, ast.Attribute) else ""
    return name in ("__name__", "__module__")


def unknown_method(reading: "Reading", owners: tuple, name: str, call: Call) -> None:
    """A method of something unknown whose own name says what it does."""
    if name == "push_to_hub":
        reading.report("S03", call.node, ".push_to_hub(...) uploads to the Hub, with the user's own token.")
    if name in ("format", "format_map") and any(re.search(r"\{[^}]*__\w+__", text) for text in values.strings(owners)):
        reading.report("S15", call.node, "a format string reaches into Python, where any name can be found.")
    if name in METHODS and not any(isinstance(v, (Own, Instance, Const)) for v in owners):
        code, words = METHODS[name]
        reading.report(code, call.node, f".{name}(...) {words}.")
    if name in PATH_METHODS or (name == "open" and _writes(call, 0)):
        _place(reading, f".{name}", [owners], call, deletes=name in ("unlink", "rmdir"))
    if name == "from_pretrained":
        _from_pretrained(reading, name, call)


# Each rule gives None where it has nothing to say about the name, else what the call gives back.


def _names(reading: "Reading", path: str, call: Call, scope: "Scope") -> tuple | None:
    """getattr and its like."""
    node = call.node
    if path.endswith((".__getattribute__", ".__getattr__")) and "()" not in path:
        base = path.rsplit(".", 1)[0]
        free = base in ("builtins.object", "builtins.type") and len(call.arguments) > 1
        call = Call(node, call.arguments if free else [(Ref(base),), *call.arguments], {}, call.open_ended)
        path = "builtins.getattr"
    if path in ("builtins.object.__setattr__", "builtins.type.__setattr__", "builtins.object.__delattr__"):
        path = "builtins.setattr"
    if path == "builtins.getattr":
        owners, names = call.argument(0, "object"), values.strings(call.argument(1, "name"))
        reached = [v.path for v in owners if isinstance(v, Ref)]
        if not names:
            for name in reached:
                if name in KEPT or name == "builtins":
                    reading.report("S15", node, f"takes a name out of {name} that is made up while it runs.")
            if call.open_ended and not owners:
                reading.report("S15", node, "getattr(*...) takes a name out of something that cannot be followed.")
            for first in [v.path for v in owners if isinstance(v, Picked)][:1]:
                words = "takes a name out of what another made-up name gave"
                reading.report("S15", node, f"{words}, beginning at {shown(first)}: so any function can be reached.")
            own = [v for v in owners if isinstance(v, Own) and isinstance(v.node, ast.Module)]
            found = _namespace(reading, "builtins.globals()", [], node, scope) if own and _imports_kept(scope) else []
            return union(*found[:1], tuple(Picked(name) for name in reached if "()" not in name), call.argument(2, ""))
        return union(*(reading.attribute(owners, name, node, True) for name in names), call.argument(2, "default"))
    if path in ("builtins.setattr", "builtins.delattr"):
        names = values.strings(call.argument(1, "name")) or [None]
        for name in names:
            reading.store(call.argument(0, "obj"), name, call.argument(2, "value"), node)
        return ()
    if path == "typing.ForwardRef" and isinstance(node, ast.Call) and node.args:
        reading.annotation(node.args[0], scope)
    if path in ("types.FunctionType", "types.CodeType", "types.LambdaType"):
        reading.report("S15", node, f"{path}(...) makes a function out of code that no file shows.")
        return ()
    if path in ("operator.attrgetter", "operator.methodcaller"):
        for found in call.arguments[: None if path.endswith("attrgetter") else 1]:
            texts = values.strings(found)
            if not texts:
                reading.report("S15", node, f"{path}(...) takes a name that is made up while it runs.", WARNING)
            for part in ".".join(texts).split("."):
                if part in INTROSPECTION or part in METHODS:
                    reading.report("S15", node, f"{path}({part!r}) reaches what no name in this file shows.")
        known = all(values.strings(found) for found in call.arguments) and not call.open_ended
        names = tuple(text for found in call.arguments for text in values.strings(found)) if known else ()
        return (Getter(names),) if path.endswith("attrgetter") else ()
    if path == "builtins.vars" and call.arguments:
        return tuple(
            Ref(f"{v.path}.__dict__") if isinstance(v, Ref) else Table(()) if isinstance(v, Const) else v
            for v in call.argument(0, "object")
            if isinstance(v, (Ref, Own, Instance))
        )
    if path == "builtins.type" and len(call.arguments) == 3:
        for entries in [v.entries for v in call.arguments[2] if isinstance(v, Table)]:
            _annotations(reading, [found for key, found in entries if key == "__annotations__"], node, scope)
    if path == "builtins.type" and len(call.arguments) == 1:
        own = tuple(Own(v.node) for v in call.argument(0, "object") if isinstance(v, Instance))
        return own or (Ref("builtins.type()"),)
    if path in ("builtins.globals", "builtins.locals", "builtins.vars"):
        return (
            Ref("builtins.globals()" if path.endswith("globals") or scope.kind == "module" else "builtins.locals()"),
        )
    if match := DICTIONARY.match(path):
        base = match[1] + (".__dict__" if ".__dict__" in path else "()")
        if base.endswith(".__dict__") or base in ("builtins.globals()", "builtins.locals()"):
            if match[2] in ("items", "values", "copy"):
                if match[1] in KEPT:
                    reading.report(
                        "S15", node, f"{path}() is every name of that module; which is used cannot be followed."
                    )
                return ()
            if match[2] in ENTRY_WRITES:
                reading.store_item((Ref(base),), call.argument(0, "key"), (), node)
            return look_up(reading, (Ref(base),), call.argument(0, "key"), node, scope)
    return None


def _annotations(reading: "Reading", tables: list[tuple], node: ast.AST, scope: "Scope") -> None:
    """Annotations made as a dict: typing.get_type_hints evaluates their texts as it does written ones."""
    for entries in [v.entries for found in tables for v in found if isinstance(v, Table)]:
        for text in [text for _, found in entries for text in values.strings(found)]:
            reading.annotation(ast.Constant(text, lineno=node.lineno, col_offset=0), scope)


def _getter(reading: "Reading", getter: Getter, call: Call) -> tuple:
    owners = call.argument(0, "obj")
    if not getter.names:
        for value in owners:
            if isinstance(value, (Ref, Picked)) and "()" not in value.path:
                words = f"takes a name out of {shown(value.path)} that is made up while it runs"
                reading.report("S15", call.node, f"operator.attrgetter {words}.")
        return tuple(Picked(v.path) for v in owners if isinstance(v, Ref) and "()" not in v.path)
    found: list[tuple] = []
    for name in getter.names:
        reached = owners
        for part in name.split(".")[:20]:
            reached = reading.attribute(reached, part, call.node, True)
        found.append(reached)
    return union(*found)


def _handed(reading: "Reading", path: str, call: Call, scope: "Scope") -> None:
    """A function that is handed to what calls it does what it does when it is called here."""
    if path in CALLERS:
        function, given = (call.argument(*place) for place in CALLERS[path])
        rows = [v.items for v in given if isinstance(v, Many)]
        arguments = [()] * path.startswith("torch.multiprocessing.s") + list(rows[0] if len(rows) == 1 else ())
    elif RUNS_FIRST.match(path):
        function, arguments = call.argument(0, "function"), []
    else:
        return
    for value in function:
        if isinstance(value, (Own, Instance)) or (isinstance(value, Ref) and value.path in (*WRITERS, *OPENERS)):
            apply(reading, value, Call(call.node, arguments, {}), scope)


def _imports_kept(scope: "Scope") -> bool:
    return any(isinstance(v, Ref) and v.path in KEPT for found in scope.top().names.values() for v in found)


def _imports(reading: "Reading", path: str, call: Call, scope: "Scope") -> tuple | None:
    if path not in ("builtins.__import__", "importlib.import_module", "importlib.__import__"):
        return None
    names = values.strings(call.argument(0, "name"))
    for name in names or ["..."]:
        known = bool(names) and all(part.isidentifier() for part in name.lstrip(".").split("."))
        kept = canonical(name) in KEPT or judge(canonical(f"{name}.x")) is not None
        words = (
            f'imports "{shown(name)}" by a text instead of an import statement'
            if names
            else "imports a module by a name made up"
        )
        reading.report("S04", call.node, f"{path}(...) {words}.", WARNING if known and not kept else ERROR)
    names = [name for name in names if all(part.isidentifier() for part in name.lstrip(".").split("."))]
    found = [Ref(canonical(name)) for name in names]
    if path.endswith("__import__"):
        found += [Ref(canonical(name.split(".")[0])) for name in names]
    for name in names:
        own = next((m for m in reading.modules if m.name == name.lstrip(".")), None)
        found += [Own(own.tree)] if own else []
    return tuple(dict.fromkeys(found)) or (Ref("imported()"),)


def _loads(reading: "Reading", path: str, call: Call, scope: "Scope") -> tuple | None:
    """Functions that are safe or not by an argument."""
    node = call.node
    if path in ("torch.load", "torch.serialization.load"):
        if not _is(call, 3, "weights_only", True):
            reading.report("S06", node, f"{path}(...) without weights_only=True unpickles, which runs what it names.")
    elif path in ("numpy.load", "numpy.lib.format.read_array", "numpy.lib.npyio.load"):
        if call.has(2, "allow_pickle") and not _is(call, 2, "allow_pickle", False):
            reading.report("S06", node, f"{path}(..., allow_pickle=True) unpickles, which runs what it names.")
    elif path == "yaml.load":
        loaders = {v.path.split(".")[-1] for v in call.argument(1, "Loader") if isinstance(v, Ref)}
        if not loaders or loaders - {"SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader"}:
            reading.report("S06", node, "yaml.load(...) without SafeLoader builds any Python object that it names.")
    elif path.endswith(".from_pretrained"):
        _from_pretrained(reading, path, call)
        return None
    elif path == "transformers.pipeline" and call.has(99, "trust_remote_code"):
        _from_pretrained(reading, path, call)
    else:
        return None
    return ()


def _from_pretrained(reading: "Reading", path: str, call: Call) -> None:
    if "trust_remote_code" in call.keywords and not _is(call, 99, "trust_remote_code", False):
        reading.report("S04", call.node, f"{shown(path)}(..., trust_remote_code=...) runs code of another repository.")
    elif path.startswith(("transformers.", "diffusers.")) and values.strings(call.argument(0, "name")):
        name = shown(values.strings(call.argument(0, "name"))[0])
        words = f'{shown(path)}("{name}") downloads what no pin of this repository covers.'
        reading.report("S03", call.node, words, WARNING)


def _is(call: Call, position: int, name: str, wanted: bool) -> bool:
    found = call.argument(position, name)
    return bool(found) and all(isinstance(v, Const) and v.value is wanted for v in found)


def _writes(call: Call, position: int) -> bool:
    """Whether a file is opened for writing, or in a mode that is not known."""
    if not call.has(position, "mode"):
        return False
    modes = call.argument(position, "mode")
    known = [v.value for v in modes if isinstance(v, Const) and isinstance(v.value, str)]
    if len(known) < len(modes) or not known:
        return True
    return any(set(mode) & set("wax+") for mode in known)


def _files(reading: "Reading", path: str, call: Call, scope: "Scope") -> tuple | None:
    node = call.node
    if path in OPENERS:
        if _writes(call, OPENERS[path]):
            owner = (Ref("pathlib.Path()"),) if path.startswith("pathlib") else call.argument(0, "file")
            _place(reading, path, [owner], call)
        return (Ref(f"{path}()"),)
    if path == "logging.basicConfig" and "filename" in call.keywords:
        _place(reading, path, [call.keywords["filename"]], call)
    if path in WRITERS:
        places = [call.argument(position, name) for position, name in WRITERS[path]]
        if path == "os.open" and _reads_only(call):
            return None
        _place(reading, path, places, call, deletes=path in DELETES)
        return None
    last = path.rsplit(".", 1)[-1]
    if path.startswith("pathlib.Path().") and (last in PATH_METHODS or last in PATH_ONLY):
        _place(reading, f"Path.{last}", [()], call, deletes=last in ("unlink", "rmdir", "rename", "replace"))
    elif last in PATH_METHODS and "()" in path:
        _place(reading, f".{last}", [()], call, deletes=last in ("unlink", "rmdir"))
    elif "()" in path and last in METHODS and not path.startswith(("platform.", "pathlib.")):
        code, words = METHODS[last]
        reading.report(code, node, f".{last}(...) {words}.")
    return None


def _reads_only(call: Call) -> bool:
    flags = call.argument(1, "flags")
    return bool(flags) and all(isinstance(v, Ref) and v.path == "os.O_RDONLY" for v in flags)


def _place(reading: "Reading", name: str, places: list[tuple], call: Call, deletes: bool = False) -> None:
    """Report a write unless it goes below the directory that save_pretrained was given."""
    inside = all(found and all(isinstance(v, Given) for v in found) for found in places)
    temporary = any(isinstance(v, Given) and v.temporary for found in places for v in found)
    if inside and not deletes and not temporary:
        return
    words = "deletes or moves files" if deletes else "writes files"
    below = "below a temporary directory" if temporary else "in the directory that it was given"
    where = below if inside else "outside the directory that saving was given"
    writer = getattr(reading.function, "name", "").lstrip("_").startswith(("save", "write", "export", "dump", "to_"))
    parameters = {a.arg for a in reading.function.args.args} if writer else set()
    first = call.node.args[0] if isinstance(call.node, ast.Call) and call.node.args else None
    own = isinstance(first, ast.Name) and first.id in parameters
    known = any(isinstance(v, Const) for found in places for v in found)
    reading.report(
        "S07", call.node, f"{name}(...) {words} {where}.", WARNING if inside or (own and not known) else ERROR
    )


def _environment(reading: "Reading", path: str, call: Call, scope: "Scope") -> tuple | None:
    if path in ("os.getenv", "os.getenvb"):
        _reads_variable(reading, call.node, call.argument(0, "key"))
        return call.argument(1, "default")
    match = ENVIRONMENT.match(path)
    if not match:
        return None
    action, key = match[1], call.argument(0, "key")
    if action in ("get", "__getitem__", "__contains__"):
        _reads_variable(reading, call.node, key)
        return call.argument(1, "default")
    if action in ("setdefault", "update", "pop", "popitem", "clear", "__setitem__", "__delitem__"):
        reading.report("S09", call.node, f"{path}(...) changes the environment of this process.")
    else:
        reading.report("S08", call.node, f"{path}() reads the whole environment, tokens and keys included.")
    return ()


def _reads_variable(reading: "Reading", node: ast.AST, key: tuple) -> None:
    names = values.strings(key)
    secret = not names or any(SECRET_VARIABLES.search(name) for name in names)
    named = shown(names[0]) if names else "by a name made up while it runs"
    words = "; secrets are kept in such variables" if secret else ""
    reading.report("S08", node, f"reads the environment variable {named}{words}.", ERROR if secret else WARNING)


def _settings(reading: "Reading", path: str, call: Call, scope: "Scope") -> tuple | None:
    """Changes of what Python looks at."""
    base, _, last = path.rpartition(".")
    if base in ("sys.path", "sys.modules") and last in CHANGES_LIST:
        what = "where Python finds modules" if base == "sys.path" else "which modules are loaded"
        reading.report("S11", call.node, f"{path}(...) changes {what}.")
        return ()
    if base == "sys.modules" and last in ("get", "__getitem__"):
        return look_up(reading, (Ref("sys.modules"),), call.argument(0, "key"), call.node, scope)
    if path == "sqlite3.connect().load_extension":
        reading.report("S05", call.node, "load_extension runs native code that no audit of Python reads.")
    return None
