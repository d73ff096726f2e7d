"""Functions and methods whose arguments decide: which argument is a path, a mode, a function, or encoded text."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import re
from typing import NamedTuple, TypeAlias

BY_NAME_ONLY = 99  # the position of an argument that is only passed by its name
Place: TypeAlias = tuple[int, str]  # position and name of an argument


class Caller(NamedTuple):
    """How a function is handed over, and what it is called with: a tuple of arguments, those from one on, or rows."""

    function: Place
    arguments: Place | None = None
    rest_from: int | None = None
    rows_from: int | None = None  # one element of each of those from there on
    spread: bool = False  # each element is a tuple of arguments


# What calls a function that it is given.
CALLERS: dict[str, Caller] = {
    **dict.fromkeys(
        ("torch.multiprocessing.spawn", "torch.multiprocessing.spawn.spawn"), Caller((0, "fn"), (1, "args"))
    ),
    "torch.multiprocessing.start_processes": Caller((0, "fn"), (1, "args")),
    "multiprocessing.Process": Caller((1, "target"), (3, "args")),
    "torch.multiprocessing.Process": Caller((1, "target"), (3, "args")),
    "threading.Thread": Caller((1, "target"), (3, "args")),
    "threading.Timer": Caller((1, "function"), (2, "args")),
    "threading.start_new_thread": Caller((0, "function"), (1, "args")),
    "threading.start_joinable_thread": Caller((0, "function")),
    "weakref.finalize": Caller((1, "func"), rest_from=2),
    "atexit.register": Caller((0, "func"), rest_from=1),
    "asyncio.to_thread": Caller((0, "func"), rest_from=1),
    "anyio.to_thread.run_sync": Caller((0, "func"), rest_from=1),
    "torch.utils.data.DataLoader": Caller((10, "worker_init_fn")),
    "torch.utils.data.dataloader.DataLoader": Caller((10, "worker_init_fn")),
    "multiprocessing.Pool": Caller((1, "initializer"), (2, "initargs")),
    "torch.multiprocessing.Pool": Caller((1, "initializer"), (2, "initargs")),
    "multiprocessing.pool.Pool": Caller((1, "initializer"), (2, "initargs")),
    "multiprocessing.pool.ThreadPool": Caller((1, "initializer"), (2, "initargs")),
    "concurrent.futures.ThreadPoolExecutor": Caller((2, "initializer"), (3, "initargs")),
    "concurrent.futures.ProcessPoolExecutor": Caller((2, "initializer"), (3, "initargs")),
}
# Methods that do, of whatever object: pools, executors, loops, schedulers, modules of torch.
CALLING_METHODS: dict[str, Caller] = {
    "submit": Caller((0, "fn"), rest_from=1),
    "map_async": Caller((0, "func"), rows_from=1),
    "imap": Caller((0, "func"), rows_from=1),
    "imap_unordered": Caller((0, "func"), rows_from=1),
    "starmap": Caller((0, "func"), rows_from=1, spread=True),
    "starmap_async": Caller((0, "func"), rows_from=1, spread=True),
    "apply": Caller((0, "func"), (1, "args")),
    "apply_async": Caller((0, "func"), (1, "args")),
    "run_in_executor": Caller((1, "func"), rest_from=2),
    "call_soon": Caller((0, "callback"), rest_from=1),
    "call_soon_threadsafe": Caller((0, "callback"), rest_from=1),
    "call_later": Caller((1, "callback"), rest_from=2),
    "call_at": Caller((1, "callback"), rest_from=2),
    "add_done_callback": Caller((0, "fn")),
    "enterabs": Caller((2, "action"), (3, "argument")),
}
# And those whose names others have for something else, with the objects that they are methods of.
CALLING_METHODS_OF: dict[str, tuple[re.Pattern, Caller]] = {
    "map": (
        re.compile(r"^(?:torch\.)?(?:multiprocessing|concurrent\.futures)\..*\(\)\.map$"),
        Caller((0, "func"), rows_from=1),
    ),
    "enter": (re.compile(r"^sched\."), Caller((2, "action"), (3, "argument"))),
    "callback": (re.compile(r"^contextlib\."), Caller((0, "callback"), rest_from=1)),
    "run": (re.compile(r"^contextvars\."), Caller((0, "callable"), rest_from=1)),
}
# What calls its first argument with arguments that are not known.
RUNS_FIRST = re.compile(
    r"^builtins\.(?:map|filter)$|^functools\.reduce$|^itertools\.starmap$|^torch\.utils\.checkpoint\.checkpoint$"
)

# What writes, moves or deletes -> positions and names of the arguments that are paths. Those in DELETES destroy
# something, even inside the given directory.
WRITERS: dict[str, tuple[tuple[int, str], ...]] = {
    "os.makedirs": ((0, "name"),),
    "os.mkdir": ((0, "path"),),
    "os.chmod": ((0, "path"),),
    "os.lchmod": ((0, "path"),),
    "os.chown": ((0, "path"),),
    "os.utime": ((0, "path"),),
    "os.mknod": ((0, "path"),),
    "os.mkfifo": ((0, "path"),),
    "os.open": ((0, "path"),),
    "os.link": ((1, "dst"),),
    "os.symlink": ((1, "dst"),),
    "shutil.copy": ((1, "dst"),),
    "shutil.copy2": ((1, "dst"),),
    "shutil.copyfile": ((1, "dst"),),
    "shutil.copytree": ((1, "dst"),),
    "shutil.copymode": ((1, "dst"),),
    "shutil.copystat": ((1, "dst"),),
    "shutil.make_archive": ((0, "base_name"),),
    "shutil.unpack_archive": ((1, "extract_dir"),),
    "shutil.chown": ((0, "path"),),
    "torch.save": ((1, "f"),),
    "torch.jit.save": ((1, "f"),),
    "torch.export.save": ((1, "f"),),
    "numpy.save": ((0, "file"),),
    "numpy.savez": ((0, "file"),),
    "numpy.savez_compressed": ((0, "file"),),
    "numpy.savetxt": ((0, "fname"),),
    "numpy.memmap": ((0, "filename"),),
    "safetensors.torch.save_file": ((1, "filename"),),
    "safetensors.torch.save_model": ((1, "filename"),),
    "safetensors.numpy.save_file": ((1, "filename"),),
    "logging.FileHandler": ((0, "filename"),),
    "logging.handlers.BaseRotatingHandler": ((0, "filename"),),
    "logging.handlers.RotatingFileHandler": ((0, "filename"),),
    "logging.handlers.TimedRotatingFileHandler": ((0, "filename"),),
    "logging.handlers.WatchedFileHandler": ((0, "filename"),),
    "sqlite3.connect": ((0, "database"),),
    "duckdb.connect": ((0, "database"),),
    "aiosqlite.connect": ((0, "database"),),
    "apsw.Connection": ((0, "filename"),),
    "sqlite_utils.Database": ((0, "filename_or_conn"),),
    "lmdb.open": ((0, "path"),),
    "dbm.open": ((0, "file"),),
    "dbm.dumb.open": ((0, "file"),),
    "dbm.gnu.open": ((0, "file"),),
    "dbm.ndbm.open": ((0, "file"),),
    "mailbox.mbox": ((0, "path"),),
    "mailbox.Maildir": ((0, "dirname"),),
    "mailbox.MH": ((0, "path"),),
    "mailbox.Babyl": ((0, "path"),),
    "mailbox.MMDF": ((0, "path"),),
    "http.cookiejar.FileCookieJar().save": ((0, "filename"),),
    "http.cookiejar.LWPCookieJar().save": ((0, "filename"),),
    "http.cookiejar.MozillaCookieJar().save": ((0, "filename"),),
    "torch.distributed.FileStore": ((0, "file_name"),),
    "zipapp.create_archive": ((1, "target"),),
    "py_compile.compile": ((1, "cfile"),),
    "compileall.compile_dir": ((0, "dir"),),
    "compileall.compile_file": ((0, "fullname"),),
    "tarfile.open().extractall": ((0, "path"),),
    "tarfile.TarFile().extractall": ((0, "path"),),
    "zipfile.ZipFile().extractall": ((0, "path"),),
    "os.remove": ((0, "path"),),
    "os.unlink": ((0, "path"),),
    "os.rmdir": ((0, "path"),),
    "os.removedirs": ((0, "name"),),
    "os.rename": ((0, "src"), (1, "dst")),
    "os.renames": ((0, "old"), (1, "new")),
    "os.replace": ((0, "src"), (1, "dst")),
    "os.truncate": ((0, "path"),),
    "shutil.rmtree": ((0, "path"),),
    "shutil.move": ((0, "src"), (1, "dst")),
}
# Writers that keep all in memory where they get no file, or a name that says so.
DATABASES = frozenset("sqlite3.connect duckdb.connect aiosqlite.connect apsw.Connection sqlite_utils.Database".split())
DELETES = frozenset(
    "os.remove os.unlink os.rmdir os.removedirs os.rename os.renames os.replace os.truncate shutil.rmtree "
    "shutil.move".split()
)
# What reads a place -> positions and names of the arguments that are places; "" where it has to be by position.
READERS: dict[str, tuple[tuple[int, str], ...]] = {
    "os.listdir": ((0, "path"),),
    "os.walk": ((0, "top"),),
    "os.fwalk": ((0, "top"),),
    "os.scandir": ((0, "path"),),
    "os.readlink": ((0, "path"),),
    "os.symlink": ((0, "src"),),
    "os.link": ((0, "src"),),
    "os.open": ((0, "path"),),
    "os.path.expanduser": ((0, "path"),),
    "glob.glob": ((0, "pathname"), (BY_NAME_ONLY, "root_dir")),
    "glob.iglob": ((0, "pathname"), (BY_NAME_ONLY, "root_dir")),
    "shutil.copy": ((0, "src"),),
    "shutil.copyfile": ((0, "src"),),
    "shutil.copy2": ((0, "src"),),
    "shutil.copytree": ((0, "src"),),
    "shutil.move": ((0, "src"),),
    "pathlib.Path": ((0, ""), (1, ""), (2, "")),
    "mmap.mmap": ((0, "fileno"),),
    "linecache.getline": ((0, "filename"),),
    "linecache.getlines": ((0, "filename"),),
    "fileinput.input": ((0, "files"),),
    "fileinput.FileInput": ((0, "files"),),
    "numpy.fromfile": ((0, "file"),),
    "numpy.loadtxt": ((0, "fname"),),
    "numpy.genfromtxt": ((0, "fname"),),
    "numpy.memmap": ((0, "filename"),),
    "torch.from_file": ((0, "filename"),),
}
# What reads files, and writes into them what is printed meanwhile where its second argument, inplace, says so.
IN_PLACE = frozenset(("fileinput.input", "fileinput.FileInput"))
# What opens a file -> position of the mode. Most call the file that they are given "file".
FILE_ARGUMENTS = {
    "codecs.open": "filename",
    "gzip.open": "filename",
    "gzip.GzipFile": "filename",
    "bz2.open": "filename",
    "bz2.BZ2File": "filename",
    "lzma.open": "filename",
    "lzma.LZMAFile": "filename",
    "tarfile.open": "name",
    "h5py.File": "name",
    "os.fdopen": "fd",
    "wave.open": "f",
    "fsspec.open": "urlpath",
    "scipy.io.netcdf_file": "filename",
    "numpy.lib._format_impl.open_memmap": "filename",
    "numpy.lib.format.open_memmap": "filename",
}
OPENERS = {
    "builtins.open": 1,
    "io.open": 1,
    "codecs.open": 1,
    "os.fdopen": 1,
    "gzip.open": 1,
    "gzip.GzipFile": 1,
    "bz2.open": 1,
    "bz2.BZ2File": 1,
    "lzma.open": 1,
    "lzma.LZMAFile": 1,
    "io.FileIO": 1,
    "zipfile.ZipFile": 1,
    "tarfile.open": 1,
    "h5py.File": 1,
    "pathlib.Path().open": 0,
    "wave.open": 1,
    "fsspec.open": 1,
    "scipy.io.netcdf_file": 1,
    "numpy.lib._format_impl.open_memmap": 1,
    "numpy.lib.format.open_memmap": 1,
}
# Methods that write or delete: PATH_METHODS of whatever object, PATH_ONLY where the object is known to be a path.
PATH_METHODS = frozenset("write_text write_bytes unlink rmdir symlink_to hardlink_to link_to touch".split())
COMMON_WORDS = frozenset(("touch", "unlink"))  # of those, what other objects have as plain data too
# Methods of fsspec's file systems that write, and of those the ones that destroy something.
FILESYSTEM_WRITES = frozenset(
    "pipe pipe_file put put_file mv move rename rm rm_file rmdir delete copy cp cp_file touch mkdir mkdirs makedirs "
    "write_text write_bytes get get_file download upload".split()
)
FILESYSTEM_DELETES = frozenset("mv move rename rm rm_file rmdir delete".split())
PATH_ONLY = frozenset("mkdir rename replace chmod lchmod".split())

# What gives back text that was encoded, and what runs the text or the bytes that it is given.
DECODERS = re.compile(
    r"^(?:base64\.\w*decode\w*|binascii\.(?:a2b_\w+|unhexlify)|zlib\.decompress\w*(?:\(\)\.decompress)?"
    r"|(?:gzip|bz2|lzma)\.decompress|codecs\.(?:decode|getdecoder\(\)|lookup\(\)\.decode)|builtins\.bytes\.fromhex"
    r"|builtins\.bytearray\.fromhex|quopri\.\w*decode\w*|uu\.decode|marshal\.loads?|pickle\.loads?"
    r"|cryptography\..*decrypt|Crypto\..*decrypt)$"
)
RUNNERS = re.compile(
    r"^(?:builtins\.(?:eval|exec|compile|__import__)|importlib\.(?:import_module|__import__)|marshal\.loads?"
    r"|(?:pickle|dill|cloudpickle)\.loads?|types\.(?:CodeType|FunctionType)|os\.(?:system|popen)|subprocess\.\w+"
    r"|torch\.load|ctypes\.\w+|code\..*)$"
)

# Packages whose functions define things, and so may be called when a file is imported; methods that load something.
DEFINES = frozenset(
    "torch transformers numpy typing typing_extensions collections dataclasses functools re math enum abc itertools "
    "contextlib warnings copy pathlib packaging logging triton einops timm string torchvision torchaudio PIL "
    "tokenizers safetensors jaxtyping beartype pydantic flash_attn xformers mamba_ssm causal_conv1d accelerate peft "
    "sentencepiece huggingface_hub scipy types operator inspect decimal fractions numbers weakref time random "
    "deepspeed apex fla bitsandbytes diffusers textwrap struct datetime os.path importlib.util importlib.metadata "
    "detectron2 sklearn pandas regex json ast unicodedata platform base64 binascii zlib codecs html hashlib "
    "uuid os.cpu_count tensorflow jax flax".split()
)
STARTS_LOADING = frozenset("from_pretrained load_state_dict push_to_hub".split())
