"""Where arguments end up: the functions that run, open or write what they are given, and what passes it on.

Used by scripts/argument_flow.py.
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

from collections import defaultdict

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
# What unpickles unless it is asked for weights only.
UNPICKLERS = frozenset(("torch.load", "torch.serialization.load"))
PATH_WRITES = frozenset("write_text write_bytes touch".split())
PATH_DELETES = frozenset("unlink rmdir".split())
