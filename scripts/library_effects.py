"""Which functions of a library start a program or reach the network by themselves, whatever they are given.

`huggingface_hub.model_info` asks the Hub, `transformers`' `ffmpeg_microphone` starts ffmpeg: no argument arrives
anywhere whole, and so argument_flow.py has nothing to say about them. Used by scripts/library_names.py.
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import sys
from collections.abc import Iterator

from argument_flow import Flows, Function
from library_sources import Names, Source, dotted

NETWORK, COMMAND = "network", "program"
CALLS = {
    NETWORK: (
        "socket.create_connection socket.create_server urllib.request.urlopen urllib.request.urlretrieve "
        "http.client.HTTPConnection http.client.HTTPSConnection requests.get requests.post requests.put requests.head "
        "requests.patch requests.delete requests.request requests.Session requests.session httpx.get httpx.post "
        "httpx.put httpx.head httpx.request httpx.stream httpx.Client httpx.AsyncClient httpx2.get httpx2.post "
        "httpx2.put httpx2.head httpx2.request httpx2.stream httpx2.Client httpx2.AsyncClient urllib3.PoolManager "
        "asyncio.open_connection asyncio.start_server uvicorn.run huggingface_hub.hf_api.HfApi "
        "huggingface_hub.utils._http.get_session huggingface_hub.utils._http.http_backoff "
        "huggingface_hub.utils._http.http_stream_backoff"
    ).split(),
    COMMAND: (
        "subprocess.run subprocess.call subprocess.check_call subprocess.check_output subprocess.Popen "
        "subprocess.getoutput subprocess.getstatusoutput os.system os.popen os.execv os.execve os.execvp os.execvpe "
        "os.execl os.execlp os.posix_spawn os.posix_spawnp os.spawnv os.spawnvp os.fork pty.spawn "
        "asyncio.create_subprocess_shell asyncio.create_subprocess_exec anyio.run_process anyio.open_process"
    ).split(),
}
# Of these, what a function does by way of others counts wherever they are; elsewhere only those of the same file.
FOLLOWED = frozenset(("huggingface_hub",))
# What loads is judged by the name of the repository that it is given.
LOADERS = (".from_pretrained", ".from_file", ".load_dataset")


def effects(flows: Flows) -> dict[str, str]:
    """Function, or class whose constructor it is -> what it does by itself."""
    callees = {name: set(_calls(flows, function)) for name, function in flows.functions.items()}
    sinks = {flows.names.resolve(name): what for what, names in CALLS.items() for name in names}
    sinks |= {name: what for what, names in CALLS.items() for name in names}
    does: dict[str, str] = {}
    for name, called in callees.items():
        if direct := {sinks[each] for each in called if each in sinks}:
            does[name] = min(direct, key=(COMMAND, NETWORK).index)
    changed = True
    while changed:
        changed = False
        for name, called in callees.items():
            if name in does:
                continue
            for each in called:
                target = each if each in does else f"{each}.__init__"
                if target in does and _is_near(flows.functions[name], flows.functions[target]):
                    does[name] = does[target]
                    changed = True
                    break
    entries = {name.removesuffix(".__init__"): what for name, what in does.items() if not name.endswith(LOADERS)}
    return {**entries, **_of_instances(flows.names, entries)}


def _is_near(caller: Function, callee: Function) -> bool:
    library = caller.source.name.split(".")[0]
    if library in FOLLOWED and callee.source.name.split(".")[0] == library:
        return True
    return caller.source is callee.source and not _is_standard(caller.source)


def _is_standard(source: Source) -> bool:
    return source.name.split(".")[0] in sys.stdlib_module_names


def _calls(flows: Flows, function: Function) -> Iterator[str]:
    """The dotted names that a function calls."""
    names, source = flows.names, function.source
    imported: dict[str, str] = {}
    for node in ast.walk(function.node):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                imported[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            module = source.absolute(node.level, node.module or "")
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{module}.{alias.name}"
    own = function.parameters[0] if function.bound and function.parameters else ""
    typed = _typed(flows, function, imported)
    called = [node.func for node in ast.walk(function.node) if isinstance(node, ast.Call)]
    called += [
        node.value for node in ast.walk(function.node) if isinstance(node, ast.keyword) and node.arg == "target"
    ]
    for path in map(dotted, called):
        first, _, rest = path.partition(".")
        if first in typed and rest and (method := flows.method(typed[first], rest)) is not None:
            yield method.name
        if not path or first in function.parameters[bool(own) :]:
            continue
        if own and first == own:
            method = flows.method(function.owner, rest) if rest else None
            if method is not None:
                yield method.name
        elif first in imported:
            yield names.resolve(imported[first] + (f".{rest}" if rest else ""))
        else:
            yield names.resolve(names.local(source, path))


def _typed(flows: Flows, function: Function, imported: dict[str, str]) -> dict[str, str]:
    """Parameter -> the class that its annotation says."""
    names, source = flows.names, function.source
    arguments = function.node.args
    found = {}
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        written = argument.annotation
        path = written.value if isinstance(written, ast.Constant) else dotted(written)
        if isinstance(path, str) and path.isidentifier():
            found[argument.arg] = names.resolve(imported.get(path) or names.local(source, path))
    return found


def _of_instances(names: Names, entries: dict[str, str]) -> dict[str, str]:
    """The same of an object that a module makes at its top: ``api = HfApi()``, and then ``api.whoami``."""
    methods: dict[str, list[str]] = {}
    for name in entries:
        owner, _, method = name.rpartition(".")
        methods.setdefault(owner, []).append(method)
    found = {}
    for source in names.sources.values():
        for name, maker in source.instances.items():
            cls = names.resolve(names.local(source, maker))
            for method in methods.get(cls, ()):
                found[f"{source.name}.{name}.{method}"] = entries[f"{cls}.{method}"]
    return found
