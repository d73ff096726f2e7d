"""Which functions of a library hand an argument to something that runs it, opens it or writes there, read from source.

A small analysis of flows over syntax trees: inside a function, which names hold an argument (or what was taken out of
it); between functions, to a fixed point. Used by scripts/library_names.py.
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from library_sources import Names, Source, dotted

# What a call does with an argument.
TEXT, COMMAND, IMPORT, NATIVE, PICKLE = "text", "command", "import", "native", "pickle"
URL, HUB, WRITE, READ, DELETE = "url", "hub", "write", "read", "delete"
# An argument as it is, an entry of it that has a name (a table of settings), or it as a part of a longer text.
WHOLE, ITEM, PART = 3, 2, 1
# Dotted name -> (what, position, name of the argument).
SINKS: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
for _what, _position, _keyword, _names in [
    (TEXT, 0, "source", "builtins.exec builtins.eval"),
    (COMMAND, 0, "command", "os.system os.popen pty.spawn posix.system nt.system"),
    (
        COMMAND,
        0,
        "args",
        "subprocess.run subprocess.call subprocess.check_call subprocess.check_output subprocess.Popen "
        "subprocess.getoutput subprocess.getstatusoutput asyncio.create_subprocess_shell "
        "asyncio.create_subprocess_exec",
    ),
    (
        COMMAND,
        0,
        "file",
        "os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe os.startfile os.posix_spawn "
        "os.posix_spawnp",
    ),
    (COMMAND, 1, "file", "os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe"),
    (IMPORT, 0, "name", "builtins.__import__ importlib.import_module importlib.__import__ pkgutil.resolve_name"),
    (IMPORT, 0, "path", "runpy.run_path runpy.run_module"),
    (
        IMPORT,
        1,
        "location",
        "importlib.util.spec_from_file_location importlib.machinery.SourceFileLoader imp.load_source "
        "importlib._bootstrap_external.spec_from_file_location",
    ),
    (
        NATIVE,
        0,
        "name",
        "ctypes.CDLL ctypes.PyDLL ctypes.WinDLL ctypes.OleDLL ctypes.cdll.LoadLibrary ctypes.windll.LoadLibrary "
        "_ctypes.dlopen _ctypes.LoadLibrary torch.ops.load_library torch.classes.load_library",
    ),
    (
        PICKLE,
        0,
        "file",
        "pickle.load pickle.loads pickle.Unpickler _pickle.load _pickle.loads _pickle.Unpickler marshal.load "
        "marshal.loads dill.load dill.loads cloudpickle.load cloudpickle.loads pickle._load pickle._loads",
    ),
    (
        URL,
        0,
        "url",
        "urllib.request.urlopen urllib.request.Request urllib.request.urlretrieve http.client.HTTPConnection ",
    ),
    (
        URL,
        0,
        "url",
        "http.client.HTTPSConnection requests.get requests.post requests.put requests.head requests.delete httpx.get "
        "httpx.post httpx.stream httpx2.get httpx2.post httpx2.stream httpx2.head",
    ),
    (URL, 1, "url", "requests.request httpx.request httpx2.request"),
    (URL, 0, "address", "socket.create_connection"),
    (HUB, 0, "repo_id", "huggingface_hub.file_download.hf_hub_download transformers.utils.hub.cached_file"),
    (HUB, 0, "repo_id", "huggingface_hub._snapshot_download.snapshot_download"),
    (WRITE, 1, "dst", "shutil.copy shutil.copy2 shutil.copyfile shutil.copytree os.symlink os.link"),
    (
        WRITE,
        1,
        "filename",
        "safetensors.torch.save_file safetensors.numpy.save_file safetensors._safetensors_rust.serialize_file",
    ),
    (WRITE, 1, "f", "torch._C._save torch._C.PyTorchFileWriter"),
    (WRITE, 0, "name", "torch._C.PyTorchFileWriter"),
    (DELETE, 0, "path", "os.remove os.unlink os.rmdir os.truncate shutil.rmtree os.removedirs"),
    (DELETE, 0, "src", "os.rename os.replace shutil.move os.renames"),
    (WRITE, 1, "dst", "os.rename os.replace shutil.move os.renames"),
]:
    for _name in _names.split():
        SINKS[_name].append((_what, _position, _keyword))
OPENERS = frozenset(
    "builtins.open io.open _io.open codecs.open gzip.open gzip.GzipFile bz2.open bz2.BZ2File lzma.open lzma.LZMAFile "
    "io.FileIO _io.FileIO zipfile.ZipFile tarfile.open tokenize._builtin_open os.open".split()
)
# What gives back its argument, or what is read from there.
PASSES = frozenset(
    "builtins.str builtins.bytes builtins.list builtins.tuple builtins.dict builtins.open builtins.iter builtins.next "
    "os.fspath os.fsdecode os.fsencode os.path.join os.path.abspath os.path.realpath os.path.normpath "
    "os.path.expanduser os.path.expandvars pathlib.Path pathlib.PurePath io.open io.BytesIO io.StringIO "
    "io.TextIOWrapper io.BufferedReader io.TextIOWrapper gzip.open gzip.GzipFile bz2.open bz2.BZ2File lzma.open "
    "lzma.LZMAFile builtins.compile ast.parse textwrap.dedent inspect.cleandoc shlex.split typing.cast copy.copy "
    "copy.deepcopy builtins.memoryview builtins.bytearray builtins.sorted builtins.reversed builtins.enumerate "
    "builtins.zip urllib.request.Request urllib.parse.urlparse urllib.parse.quote urllib.parse.urljoin "
    "json.loads json.load zipfile.ZipFile tarfile.open codecs.open builtins.filter "
    "contextlib.closing contextlib.nullcontext builtins.map".split()
)
METHODS_PASS = frozenset(
    "read readline readlines decode encode strip lstrip rstrip split rsplit partition rpartition splitlines format "
    "replace lower upper joinpath with_suffix with_name resolve absolute expanduser as_posix get pop items values "
    "keys copy open getvalue getbuffer removeprefix removesuffix join extractfile __enter__ relative_to as_uri "
    "geturl read_text read_bytes popitem".split()
)
PATH_WRITES = frozenset("write_text write_bytes touch".split())
PATH_DELETES = frozenset("unlink rmdir".split())
Taint = dict[str, int]  # parameter -> how


@dataclass
class Event:
    """A call that gets some of the arguments of the function it is in."""

    callee: str
    positional: list[Taint]
    keywords: dict[str, Taint]
    constants: dict[str, object]


@dataclass
class Function:
    """What one function does with its arguments."""

    name: str
    parameters: list[str]
    node: ast.FunctionDef | ast.AsyncFunctionDef
    source: Source
    owner: str = ""  # its class
    bound: bool = False  # the first parameter is not given by the caller
    rest: str = ""  # the parameter that takes all further positional arguments
    events: list[Event] = field(default_factory=list)
    stores: dict[str, Taint] = field(default_factory=dict)  # self.x = parameter
    returned: Taint = field(default_factory=dict)
    reaches: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))  # parameter -> what -> how


def positions(function: Function) -> Iterator[str]:
    """The parameters that positional arguments go to, one after the other."""
    for name in function.parameters[1:] if function.bound else function.parameters:
        if name == function.rest:
            yield from itertools.repeat(name)
        yield name


class Flows:
    """The functions of all libraries, and what reaches what."""

    def __init__(self, names: Names):
        self.names = names
        self.sinks: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
        for name, entries in SINKS.items():
            for each in {name, names.resolve(name)}:
                self.sinks[each] += entries
        self.passes = PASSES | {names.resolve(name) for name in PASSES}
        self.openers = OPENERS | {names.resolve(name) for name in OPENERS}
        self.functions: dict[str, Function] = {}
        self.classes: dict[str, list[str]] = {}
        for source in names.sources.values():
            for cls, bases in source.classes.items():
                resolved = [names.resolve(names.local(source, base)) for base in bases]
                self.classes[f"{source.name}.{cls}"] = resolved
            for name, node in source.functions.items():
                self._add(source, name, node)
        self.subclass_attributes: dict[str, dict[str, Taint]] = {}

    def _add(self, source: Source, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        path = f"{source.name}.{name}"
        arguments = node.args
        parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        static = "staticmethod" in {dotted(d) for d in node.decorator_list}
        owner = path.rpartition(".")[0] if "." in name else ""
        function = Function(path, parameters, node, source, owner, bool(owner) and not static)
        if arguments.vararg:
            function.parameters.append(arguments.vararg.arg)
            function.rest = arguments.vararg.arg
        function.parameters += [a.arg for a in arguments.kwonlyargs]
        self.functions[path] = function

    def run(self, rounds: int = 2) -> None:
        """Read every function, then follow calls until nothing new is learned."""
        for _ in range(rounds):
            before = sum(len(f.returned) for f in self.functions.values())
            for function in self.functions.values():
                Reader(self, function).read()
            if sum(len(f.returned) for f in self.functions.values()) == before:
                break
        self._fixed_point()

    def _fixed_point(self) -> None:
        changed = True
        while changed:
            changed = False
            for function in self.functions.values():
                for event in function.events:
                    for what, taint, how in self._consequences(event):
                        for parameter, own in taint.items():
                            if function.reaches[parameter].get(what, 0) < min(own, how):
                                function.reaches[parameter][what] = min(own, how)
                                changed = True
            changed |= self._attributes()

    def _attributes(self) -> bool:
        """What a method does with self.x, the constructor does with the argument that it keeps there."""
        changed = False
        for cls in self.classes:
            constructor = self.functions.get(f"{cls}.__init__")
            if constructor is None or not constructor.stores:
                continue
            for name in self._methods[cls]:
                for parameter, effects in list(self.functions[name].reaches.items()):
                    if not parameter.startswith("self."):
                        continue
                    for origin, own in constructor.stores.get(parameter[5:], {}).items():
                        for what, how in effects.items():
                            if constructor.reaches[origin].get(what, 0) < min(own, how):
                                constructor.reaches[origin][what] = min(own, how)
                                changed = True
        return changed

    @property
    def _methods(self) -> dict[str, list[str]]:
        if not hasattr(self, "_by_class"):
            by_class: dict[str, list[str]] = defaultdict(list)
            for name, function in self.functions.items():
                if function.owner:
                    by_class[function.owner].append(name)
            self._by_class = by_class
        return self._by_class

    def _consequences(self, event: Event):
        """(what, which of the caller's arguments, how) of one call."""
        for what, position, keyword in self.sinks.get(event.callee, ()):
            taint = event.keywords.get(keyword) or (
                event.positional[position] if position < len(event.positional) else {}
            )
            yield what, taint, WHOLE
        if event.callee in self.openers or event.callee == "path.open":
            yield from self._opened(event)
        callee = self.called(event.callee)
        if callee is None:
            return
        for name, taint in (*zip(positions(callee), event.positional, strict=False), *event.keywords.items()):
            for what, how in callee.reaches.get(name, {}).items():
                yield what, taint, how

    @staticmethod
    def _opened(event: Event):
        position = 0 if event.callee == "path.open" else 1
        mode = event.constants.get("mode", event.constants.get(str(position), "r"))
        place = event.positional[0] if event.positional else event.keywords.get("file", {})
        if not isinstance(mode, str) or set(mode) & set("wax+"):
            yield WRITE, place, WHOLE
        if not isinstance(mode, str) or not set(mode) & set("wax"):
            yield READ, place, WHOLE

    def called(self, path: str) -> Function | None:
        """The function that calling a dotted name runs."""
        if path in self.functions:
            return self.functions[path]
        if path in self.classes:
            return self.method(path, "__init__") or self.method(path, "__new__")
        return None

    def method(self, cls: str, name: str, depth: int = 0) -> Function | None:
        """A method of a class or of its bases."""
        if f"{cls}.{name}" in self.functions:
            return self.functions[f"{cls}.{name}"]
        for base in self.classes.get(cls, ()) if depth < 10 else ():
            if function := self.method(base, name, depth + 1):
                return function
        return None


class Reader:
    """Reads one function: which names hold its arguments, and which calls get them."""

    def __init__(self, flows: Flows, function: Function):
        self.flows = flows
        self.function = function
        self.names: dict[str, Taint] = {p: {p: WHOLE} for p in function.parameters}
        self.types: dict[str, str] = {}
        self.imported: dict[str, str] = {}
        self.own = function.parameters[0] if function.bound and function.parameters else ""
        self.names.pop(self.own, None)

    def read(self) -> None:
        function = self.function
        function.events, function.stores = [], {}
        nodes = list(ast.walk(function.node))
        for node in nodes:
            self._read_import(node)
        for _ in range(3):
            size = sum(map(len, self.names.values()))
            for node in nodes:
                self._bind(node)
            if sum(map(len, self.names.values())) == size:
                break
        for node in nodes:
            if isinstance(node, ast.Call):
                self._event(node)
            elif isinstance(node, ast.Return) and node.value is not None:
                for parameter, how in self.taint(node.value).items():
                    function.returned[parameter] = max(how, function.returned.get(parameter, 0))

    def _read_import(self, node: ast.AST) -> None:
        source = self.function.source
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self.imported[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            module = source.absolute(node.level, node.module or "")
            for alias in node.names:
                self.imported[alias.asname or alias.name] = f"{module}.{alias.name}"

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._store(target, self.taint(node.value))
                if isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
                    self.types[target.id] = self.resolve(node.value.func)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
            self._store(node.target, self.taint(node.value))
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            self._store(node.target, self.taint(node.iter))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._store(node.optional_vars, self.taint(node.context_expr))

    def _store(self, target: ast.expr, taint: Taint) -> None:
        if not taint:
            return
        if isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._store(inner, taint)
        elif isinstance(target, ast.Name):
            merge(self.names.setdefault(target.id, {}), taint)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == self.own:
            merge(self.function.stores.setdefault(target.attr, {}), taint)

    def taint(self, node: ast.AST | None) -> Taint:
        """Which arguments an expression holds."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, {})
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == self.own and self.own:
                return {f"self.{node.attr}": WHOLE, **self.function.stores.get(node.attr, {})}
            return as_part(self.taint(node.value))
        if isinstance(node, ast.Subscript):
            inside = self.taint(node.value)
            named = isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
            return limited(inside, ITEM) if named else inside
        if isinstance(node, (ast.Starred, ast.Await)):
            return self.taint(node.value)
        if isinstance(node, ast.NamedExpr):
            return self.taint(node.value)
        if isinstance(node, ast.IfExp):
            return joined(self.taint(node.body), self.taint(node.orelse))
        if isinstance(node, ast.BoolOp):
            return joined(*map(self.taint, node.values))
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        if isinstance(node, (ast.List, ast.Tuple)):
            first = self.taint(node.elts[0]) if node.elts else {}
            return joined(first, as_part(joined(*map(self.taint, node.elts[1:]))))
        if isinstance(node, ast.JoinedStr):
            return self._formatted(node)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.taint(node.elt)
        if isinstance(node, ast.Call):
            return self._result(node)
        return {}

    def _operation(self, node: ast.BinOp) -> Taint:
        left, right = self.taint(node.left), self.taint(node.right)
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            return as_part(right)
        if isinstance(node.op, ast.Div):  # of paths
            return joined(left, right)
        begins = isinstance(node.left, ast.Constant)
        return joined(left, as_part(right) if begins or left else right)

    def _formatted(self, node: ast.JoinedStr) -> Taint:
        values = [v.value if isinstance(v, ast.FormattedValue) else None for v in node.values]
        first = self.taint(values[0]) if values and values[0] is not None else {}
        return joined(first, as_part(joined(*(self.taint(v) for v in values[1:] if v is not None))))

    def _result(self, node: ast.Call) -> Taint:
        """What a call gives back of its arguments."""
        path = self.resolve(node.func)
        if path in self.flows.passes:
            every = joined(*map(self.taint, node.args), *(self.taint(k.value) for k in node.keywords))
            return joined(self.taint(node.args[0]), as_part(every)) if node.args and "join" not in path else every
        callee = self.flows.called(path)
        if callee is not None and callee.returned:
            pairs = [*zip(positions(callee), node.args, strict=False), *((k.arg, k.value) for k in node.keywords)]
            return joined(*(limited(self.taint(v), callee.returned.get(n, 0)) for n, v in pairs))
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS_PASS:
            owner = self.taint(node.func.value)
            if node.func.attr in ("format", "join") and node.args:
                return joined(owner, as_part(joined(*map(self.taint, node.args))))
            return owner
        return {}

    def resolve(self, node: ast.AST) -> str:
        """The dotted name of what is called."""
        path = dotted(node)
        first, _, rest = path.partition(".")
        names = self.flows.names
        if not path or (first in self.names and first != self.own):
            return ""
        if first == self.own and self.own:
            if rest and "." not in rest:
                method = self.flows.method(self.function.owner, rest)
                return method.name if method else ""
            return "" if rest else self.function.owner
        if first in self.imported:
            return names.resolve(self.imported[first] + (f".{rest}" if rest else ""))
        if first in self.types and rest and "." not in rest:
            method = self.flows.method(self.types[first], rest)
            return method.name if method else ""
        return names.resolve(names.local(self.function.source, path))

    def _event(self, node: ast.Call) -> None:
        positional = [self.taint(a) for a in node.args if not isinstance(a, ast.Starred)]
        keywords = {k.arg: self.taint(k.value) for k in node.keywords if k.arg}
        path = self.resolve(node.func)
        if isinstance(node.func, ast.Attribute) and not path:
            owner = self.taint(node.func.value)
            method = node.func.attr
            if owner and method in PATH_WRITES | PATH_DELETES:
                self.function.events.append(
                    Event("os.remove" if method in PATH_DELETES else "shutil.copy", [owner, owner], {}, {})
                )
            elif owner and method == "open":
                self.function.events.append(Event("path.open", [owner], {}, _constants(node)))
            return
        if path and (any(positional) or any(keywords.values())):
            if path in ("torch.serialization.load",) and _true(node, "weights_only"):
                return
            self.function.events.append(Event(path, positional, keywords, _constants(node)))
        if path == "functools.partial" and node.args and (target := self.resolve(node.args[0])):
            self.function.events.append(Event(target, positional[1:], keywords, {}))


def _true(node: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords)


def _constants(node: ast.Call) -> dict[str, object]:
    """Arguments that are constants, by position and by name; others are there without a value."""
    values: dict[str, object] = {}
    for key, value in (*enumerate(node.args), *((k.arg, k.value) for k in node.keywords if k.arg)):
        values[str(key)] = value.value if isinstance(value, ast.Constant) else None
    return values


def merge(into: Taint, other: Taint) -> None:
    for key, how in other.items():
        into[key] = max(how, into.get(key, 0))


def joined(*taints: Taint) -> Taint:
    result: Taint = {}
    for taint in taints:
        merge(result, taint)
    return result


def as_part(taint: Taint) -> Taint:
    return dict.fromkeys(taint, PART)


def limited(taint: Taint, how: int) -> Taint:
    return {key: min(value, how) for key, value in taint.items()} if how else {}
