"""What the names that a program can call are able to do: dotted name -> code, severity and plain words.

A name that ends with "." means everything below it. Listed are the standard library, torch, transformers and the
packages that people send data with; what other packages do cannot be seen here.
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import functools
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.tables.by_hand import BY_HAND
from pinfold.audit.security.tables.functions import OPENERS, WRITERS
from pinfold.audit.security.tables.library import copied, is_read, own_modules, resolve
from pinfold.audit.security.tables.methods import IMPORTS as _IMPORTS
from pinfold.audit.security.tables.methods import LOADS as _LOADS
from pinfold.audit.security.tables.methods import NATIVE as _NATIVE
from pinfold.audit.security.tables.methods import NETWORK as _NETWORK
from pinfold.audit.security.tables.methods import PATCH as _PATCH
from pinfold.audit.security.tables.methods import STARTS as _STARTS

LONGEST_PATH = 200  # characters of a dotted name that is still followed

# Other names of the same module, and the C modules below the public ones.
SAME = {
    "posix": "os",
    "nt": "os",
    "_io": "io",
    "_pickle": "pickle",
    "cPickle": "pickle",
    "_thread": "threading",
    "_socket": "socket",
    "_ctypes": "ctypes",
    "__builtin__": "builtins",
    "_frozen_importlib": "importlib",
    "_imp": "imp",
    "_codecs": "codecs",
    "_operator": "operator",
    "_signal": "signal",
    "posixpath": "os.path",
    "ntpath": "os.path",
    "_posixsubprocess": "subprocess",
    "np": "numpy",
    "pd": "pandas",
}
# What makes processes in a way of its own has the functions of the module.
CONTEXT = re.compile(r"^((?:torch\.)?multiprocessing)\.(?:context\.)?(?:get_context|\w*Context)\(\)\.(?=\w)")
# Modules that others import, and so can be reached through: torch.os.system.
REACHED_THROUGH = frozenset(
    "os sys subprocess builtins socket shutil ctypes importlib pickle marshal pty urllib requests threading atexit "
    "pathlib tempfile runpy inspect pydoc np pd".split()
)
# Modules that must not be handed on as values, because what is done with them then cannot be followed.
WATCHED_MODULES = frozenset(
    "os sys subprocess builtins socket shutil ctypes importlib pickle marshal pty urllib urllib.request requests "
    "runpy threading multiprocessing signal atexit gc inspect imp code pkgutil platform cffi dill cloudpickle joblib "
    "shelve httpx aiohttp http http.client ftplib smtplib types operator codecs torch.hub".split()
)

_FRAMES = "reaches into running code, where any name can be found"

_TABLE: list[tuple[str, str, str, str]] = [
    ("S01", ERROR, "runs text as a program", "builtins.eval builtins.exec builtins.compile builtins.breakpoint"),
    (
        "S01",
        ERROR,
        "runs text as a program",
        "code. codeop. timeit.timeit timeit.repeat timeit.Timer timeit.main cProfile.run cProfile.runctx profile.run "
        "profile.runctx pdb.run pdb.runeval pdb.runcall pdb.set_trace bdb.Bdb trace.Trace doctest. pandas.eval "
        "numexpr.evaluate sympy.sympify sympy.parse_expr sympy.parsing. PIL.ImageMath. numpy.f2py. "
        "logging.config.fileConfig lib2to3. numpy.testing.runstring numpy.testing.rundocs numpy.testing.measure "
        "numpy.testing._private. torch.fx.graph_module. torch.fx.experimental.rewriter. torch._precompile. "
        "torch._inductor.codecache. torch._inductor.runtime. torch.utils.benchmark. torch.export._unlift. "
        "torch.jit.unsupported_tensor_ops. torch.jit.annotations.parse_type_line torch.distributed.nn.jit. "
        "torch._vendor. torch.fx.CodeGen torch.fx.graph.CodeGen torch.fx.graph._PyTreeCodeGen "
        "_testcapi.run_in_subinterp _xxsubinterpreters. tkinter.Tcl tkinter.Tk _tkinter. "
        "pygments.lexers.load_lexer_from_file pygments.formatters.load_formatter_from_file "
        "concurrent.interpreters.",
    ),
    ("S01", WARNING, "runs a template, which can reach Python's objects", "jinja2.Template jinja2.Environment mako."),
    (
        "S02",
        ERROR,
        _STARTS,
        "os.system os.popen os.popen2 os.popen3 os.popen4 os.startfile os.posix_spawn os.posix_spawnp os.fork "
        "os.forkpty os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp os.execvpe os.spawnl "
        "os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe subprocess. _posixsubprocess. "
        "pty. platform.popen commands. pexpect. plumbum. sh. fabric. invoke. asyncio.create_subprocess_exec "
        "asyncio.create_subprocess_shell asyncio.subprocess. "
        "concurrent.futures.ProcessPoolExecutor pip. ensurepip. venv. setuptools. distutils.spawn. distutils.core. "
        "distutils.cmd. distutils.command. distutils.dist. distutils.ccompiler. distutils.unixccompiler. "
        "distutils.cygwinccompiler. distutils.msvccompiler. distutils._msvccompiler. distutils.msvc9compiler. "
        "distutils.bcppcompiler. distutils.archive_util. distutils.config. distutils.util.execute "
        "distutils.util.byte_compile distutils.util.run_2to3 distutils.util.copydir_run_2to3 "
        "distutils.sysconfig.customize_compiler _winapi. win32process. "
        "psutil.Popen git. torch.distributed.run. torch.distributed.launch. torch.distributed.elastic. webbrowser. "
        "antigravity. pipes. mailcap. pydoc.pipepager pydoc.tempfilepager pydoc.pager "
        "multiprocessing.util.spawnv_passfds click.edit click.launch click.echo_via_pager typer.launch "
        "typer.edit execnet. "
        "ptyprocess. docker. virtualenv. anyio.run_process anyio.open_process anyio.to_process. PIL.ImageShow. "
        "sympy.preview sympy.printing.preview.",
    ),
    (
        "S02",
        ERROR,
        _STARTS,
        "torch.utils.collect_env. torch._strobelight. torch.utils._strobelight. torch.backends.xeon. torch.testing. "
        "torch.cuda._memory_viz. torch.utils._get_clean_triton. numpy.distutils. "
        "torch.distributed.checkpoint._experimental.",
    ),
    ("S03", ERROR, _NETWORK, "torch.distributed.TCPStore torch.distributed.rpc"),
    ("S03", WARNING, _NETWORK, "torch.distributed.init_process_group torch.distributed.init_device_mesh"),
    (
        "S11",
        ERROR,
        "hooks into every module of the process",
        "torch.nn.modules.module.register_module_forward_hook "
        "torch.nn.modules.module.register_module_forward_pre_hook "
        "torch.nn.modules.module.register_module_full_backward_hook torch.utils._python_dispatch.TorchDispatchMode "
        "torch.nn.modules.module.register_module_module_registration_hook torch.overrides.TorchFunctionMode "
        "torch.nn.modules.module.register_module_parameter_registration_hook",
    ),
    (
        "S02",
        WARNING,
        "starts further processes",
        "multiprocessing. torch.multiprocessing. joblib.Parallel joblib.parallel.Parallel",
    ),
    (
        "S02",
        ERROR,
        "stops or signals a program",
        "os.kill os.killpg os.abort os._exit psutil.Process signal.raise_signal signal.pthread_kill "
        "signal.pidfd_send_signal",
    ),
    (
        "S03",
        ERROR,
        _NETWORK,
        "socket. socketserver. ssl. urllib.request. urllib2. urllib3. http.client. http.server. httpx. requests. "
        "aiohttp. websocket. websockets. ftplib. smtplib. telnetlib. poplib. imaplib. nntplib. xmlrpc. wsgiref. "
        "pydoc.browse paramiko. zmq. grpc. boto3. botocore. pycurl. httplib2. tornado. twisted. flask. fastapi. "
        "uvicorn. gradio. "
        "asyncio.open_connection asyncio.open_unix_connection asyncio.start_server asyncio.start_unix_server "
        "logging.handlers.SocketHandler logging.handlers.DatagramHandler logging.handlers.SysLogHandler "
        "logging.handlers.SMTPHandler logging.handlers.HTTPHandler torch.hub.load "
        "torch.hub.load_state_dict_from_url torch.hub.download_url_to_file "
        "torch.hub.list torch.hub.help torch.utils.model_zoo. "
        "torch.distributed.rpc. sentry_sdk. wandb. mlflow. comet_ml. neptune. clearml. swanlab. trackio. dagshub. "
        "azureml. dvclive. "
        "requests_toolbelt. gdown. wget. fsspec. gcsfs. s3fs. datasets.load_dataset nltk.download "
        "dns. scapy. socks. curl_cffi. pyngrok. httpx2. redis. pymongo. psycopg2. psycopg. pymysql. openai. "
        "anthropic. dulwich. uvicorn.run anyio.connect_tcp anyio.connect_unix anyio.create_tcp_listener "
        "anyio.create_udp_socket "
        "anyio.create_connected_udp_socket tqdm.contrib.telegram. tqdm.contrib.discord. tqdm.contrib.slack. "
        "multiprocessing.managers.BaseManager multiprocessing.managers.SyncManager transformers.utils.hub.http_get",
    ),
    (
        "S03",
        ERROR,
        "talks to the Hub, with the user's own token where there is one",
        "huggingface_hub.HfApi huggingface_hub.create_repo huggingface_hub.upload_file huggingface_hub.upload_folder "
        "huggingface_hub.create_commit huggingface_hub.delete_repo huggingface_hub.delete_file huggingface_hub.login "
        "huggingface_hub.Repository huggingface_hub.InferenceClient huggingface_hub.HfFileSystem "
        "huggingface_hub.whoami "
        "huggingface_hub.utils.get_session huggingface_hub.utils.http_backoff "
        "huggingface_hub.configure_http_backend huggingface_hub.set_client_factory "
        "huggingface_hub.update_repo_settings huggingface_hub.push_to_hub_fastai huggingface_hub.metadata_update "
        "huggingface_hub.hf_file_system.hffs huggingface_hub.upload_large_folder huggingface_hub.WebhooksServer "
        "huggingface_hub.MCPClient huggingface_hub.Agent",
    ),
    (
        "S03",
        WARNING,
        "downloads files that no pin of this repository covers",
        "huggingface_hub.hf_hub_download huggingface_hub.snapshot_download huggingface_hub.file_download. "
        "huggingface_hub.hf_hub_url transformers.utils.cached_file "
        "transformers.utils.hub. "
        "timm.models.hub. timm.models._hub. torchvision.datasets.utils. scipy.datasets. sklearn.datasets.fetch_openml "
        "sklearn.datasets.fetch_file sklearn.datasets.fetch_lfw_people sklearn.datasets.fetch_20newsgroups "
        "sklearn.datasets.fetch_california_housing sklearn.datasets.fetch_olivetti_faces "
        "sklearn.datasets.fetch_lfw_pairs sklearn.datasets.fetch_covtype sklearn.datasets.fetch_kddcup99 "
        "sklearn.datasets.fetch_rcv1 sklearn.datasets.fetch_species_distributions",
    ),
    (
        "S04",
        ERROR,
        _IMPORTS,
        "importlib.machinery. importlib.abc. importlib._bootstrap. importlib._bootstrap_external. importlib.reload "
        "importlib.util.spec_from_file_location importlib.util.module_from_spec importlib.util.spec_from_loader "
        "importlib.util.LazyLoader importlib.metadata.EntryPoint importlib.metadata.entry_points imp. runpy. "
        "zipimport. pkgutil.resolve_name pkgutil.walk_packages "
        "site.execsitecustomize site.execusercustomize pkgutil.get_loader pkgutil.find_loader "
        "pkgutil.ImpImporter pydoc.locate "
        "pydoc.safeimport pydoc.importfile site.addsitedir site.main "
        "transformers.dynamic_module_utils. torch.package. hydra.utils. omegaconf.OmegaConf.register_new_resolver "
        "pydantic.ImportString pydantic.types.ImportString pydantic.PyObject logging.config. "
        "pkg_resources.load_entry_point pkg_resources.iter_entry_points pkg_resources.run_script "
        "pkg_resources.run_main pkg_resources.require pkg_resources.get_entry_info pkg_resources.get_entry_map "
        "pkg_resources.EntryPoint pkg_resources.working_set pkg_resources.WorkingSet pkg_resources.Environment "
        "pkg_resources.find_distributions pkg_resources.register_loader_type pkg_resources.register_finder stevedore. "
        "xmlrpc.server.resolve_dotted_attribute",
    ),
    (
        "S05",
        ERROR,
        _NATIVE,
        "ctypes. cffi. torch.ops.load_library torch.classes.load_library torch.utils.cpp_extension. "
        "cppyy. pycuda. cupy.RawKernel cupy.RawModule llvmlite. "
        "triton.runtime.build. sympy.utilities.autowrap. sympy.utilities._compilation. "
        "kernels. pybind11. numpy.ctypeslib. numba.cfunc torch._inductor.aoti_load_package "
        "torch._inductor.package.load_package "
        "torch._export.aot_load torch.cuda._compile_kernel tvm. pyximport. Cython. "
        "transformers.integrations.hub_kernels. tensorflow.load_op_library onnxruntime_extensions.get_library_path "
        "sqlite3.Connection.enable_load_extension mmap.",
    ),
    ("S05", ERROR, "is part of torch's compiler, which runs text and native code", "torch._inductor. torch._dynamo."),
    ("S05", WARNING, "is native code of torch that has no documentation", "torch._C."),
    ("S01", ERROR, "runs text as a program", "torch._C.CompilationUnit torch._C._jit_script_compile"),
    (
        "S06",
        ERROR,
        "loads a compiled program from a file",
        "torch._C.import_ir_module torch._C.import_ir_module_from_buffer torch._C._import_ir_module_from_package",
    ),
    (
        "S01",
        WARNING,
        "evaluates annotations that are texts",
        "typing.get_type_hints typing_extensions.get_type_hints inspect.get_annotations",
    ),
    (
        "S06",
        ERROR,
        _LOADS,
        "pickle.load pickle.loads pickle.Unpickler pickle._Unpickler pickle._load pickle._loads "
        "marshal.load marshal.loads dill. cloudpickle. joblib. shelve. pandas.read_pickle "
        "torch.serialization._legacy_load torch.serialization._load torch.package.PackageImporter jsonpickle. "
        "yaml.unsafe_load yaml.unsafe_load_all yaml.full_load yaml.full_load_all yaml.UnsafeLoader yaml.FullLoader "
        "yaml.load_all copyreg. multiprocessing.connection. "
        "ray. nemo. keras.models.load_model "
        "tensorflow.keras.models.load_model tensorflow.saved_model.load ",
    ),
    (
        "S06",
        WARNING,
        "loads a compiled program from a file",
        "torch.jit.load torch.export.load torch.jit.CompilationUnit",
    ),
    (
        "S06",
        WARNING,
        "unpickles what another process sends",
        "torch.distributed.recv_object_list torch.distributed.broadcast_object_list "
        "torch.distributed.scatter_object_list torch.distributed.gather_object torch.distributed.all_gather_object",
    ),
    ("S07", WARNING, "writes temporary files", "tempfile. "),
    ("S07", ERROR, "writes, moves or deletes files", "distutils.dir_util. distutils.file_util."),
    ("S07", ERROR, "moves what an open file holds into another one, or over the network", "os.sendfile os.splice"),
    ("S07", ERROR, "moves what an open file holds into another one", "os.copy_file_range"),
    ("S07", WARNING, "writes files of measurements", "torch.utils.tensorboard. tensorboardX."),
    (
        "S08",
        ERROR,
        "reads a stored password or token",
        "getpass.getpass keyring. netrc. secretstorage. browser_cookie3. win32cred. huggingface_hub.get_token "
        "huggingface_hub.HfFolder huggingface_hub.utils.HfFolder huggingface_hub.utils.get_token "
        "huggingface_hub.constants.HF_TOKEN_PATH transformers.utils.HfFolder huggingface_hub.utils.build_hf_headers "
        "huggingface_hub.utils.get_token_to_send huggingface_hub.auth_list huggingface_hub.get_token_permission "
        "pandas.read_clipboard pandas.io.clipboard. pandas.io.clipboards.read_clipboard spwd. cv2.VideoCapture "
        "sounddevice. pyaudio. "
        "pyperclip. ImageGrab. PIL.ImageGrab. pyautogui. pynput. huggingface_hub._login. "
        "huggingface_hub.utils._auth. huggingface_hub.utils._headers.",
    ),
    (
        "S08",
        WARNING,
        "reads who the user is or where the home directory is",
        "os.path.expanduser pathlib.Path.home pathlib.PosixPath.home pathlib.Path().expanduser getpass.getuser pwd. "
        "grp. psutil.process_iter psutil.users psutil.pids psutil.net_connections psutil.net_if_addrs "
        "os.getlogin os.uname platform.node platform.uname uuid.getnode os.getuid os.path.expandvars",
    ),
    (
        "S09",
        ERROR,
        "changes the environment of this process and its children",
        "os.putenv os.unsetenv distutils.util.check_environ",
    ),
    (
        "S09",
        WARNING,
        "changes what this process may do",
        "os.chdir os.chroot os.umask os.setuid os.setgid os.nice os.setpriority os.sched_setaffinity os.setsid",
    ),
    (
        "S11",
        ERROR,
        _PATCH,
        "atexit. multiprocessing.util.Finalize multiprocessing.util.register_after_fork os.register_at_fork "
        "signal.signal signal.setitimer signal.alarm sys.settrace sys.setprofile sys.addaudithook "
        "sys.meta_path sys.path_hooks sys.path_importer_cache sys.excepthook sys.unraisablehook sys.displayhook "
        "sys.breakpointhook sys.monitoring. "
        "threading.settrace threading.setprofile threading.excepthook threading.settrace_all_threads "
        "gc.callbacks codecs.register "
        "codecs.register_error unittest.mock. mock. forbiddenfruit. wrapt. gorilla. "
        "faulthandler.register warnings.showwarning sys.setswitchinterval os.dup2 sys.set_asyncgen_hooks "
        "sys.set_coroutine_origin_tracking_depth truststore.inject_into_ssl "
        "readline. rlcompleter. sitecustomize. usercustomize.",
    ),
    (
        "S11",
        WARNING,
        "runs beside the program or after it",
        "threading.Thread threading.Timer threading.start_new_thread threading.start_joinable_thread "
        "concurrent.futures.ThreadPoolExecutor weakref.finalize ",
    ),
    (
        "S15",
        WARNING,
        "looks through all objects that Python holds",
        "gc.get_objects gc.get_referrers gc.get_referents",
    ),
    (
        "S15",
        ERROR,
        _FRAMES,
        "sys._getframe sys._current_frames sys._getframemodulename inspect.currentframe inspect.stack inspect.trace "
        "inspect.getinnerframes inspect.getouterframes sys.call_tracing "
        "inspect.getmembers_static builtins.__dict__ builtins.__getattribute__ os.__dict__ sys.__dict__ "
        "subprocess.__dict__ bytecode. dis.Bytecode",
    ),
]

EXACT: dict[str, tuple[str, str, str]] = {}
BELOW: dict[str, tuple[str, str, str]] = {}
for _code, _severity, _words, _names in _TABLE:
    for _name in _names.split():
        (BELOW if _name.endswith(".") else EXACT)[_name.rstrip(".")] = (_code, _severity, _words)

# Constants, exceptions and types below a listed module: naming them has no effect.
_HARMLESS = re.compile(
    r"^(?:subprocess\.(?:PIPE|STDOUT|DEVNULL)|socket\.(?:AF|SOCK|SOL|SO|IPPROTO|TCP|MSG)_\w+|ssl\.[A-Z_]+)$|^urllib\.request\.Request$|\.(?:exceptions?(?:\.\w+)*|\w*(?:Error|Exception|Warning|Expired)|cpu_count|current_process"
    r"|get_start_method|CompletedProcess|Response|c_\w+|__version__|__name__|__doc__|__file__"
    r"|assert_\w+|CUDA_HOME|ROCM_HOME|is_available|is_initialized|is_kernels_available|is_fsspec|quote|gettempdir)$"
    r"|^joblib\.(?:parallel\.)?delayed$"
)

_HARMLESS_TORCH = re.compile(
    r"^torch\.(?:fx\.graph_module\.GraphModule|testing\.(?:assert_close|make_tensor)|_inductor\.(?:list_\w+|config)"
    r"|_inductor\.config\.[\w.]+"
    r"|_dynamo\.(?:(?:decorators|eval_frame|external_utils|comptime)\.)?(?:\w*disable\w*|\w*allow_in_graph"
    r"|forbid_in_graph|substitute_in_graph|is_compiling|is_dynamo_compiling|mark_\w+|maybe_mark_\w+"
    r"|assume_constant_result|graph_break|reset|skip|run|optimize|explain|OptimizedModule|is_dynamo_supported|comptime"
    r"|decorators|eval_frame|external_utils|exc|config|utils)"
    r"|_dynamo\.(?:exc|config|_trace_wrapped_higher_order_op)(?:\.[\w.]+)?|_dynamo\.utils\.is_compile_supported"
    r"|_C\.(?:_get_tracing_state|_get_accelerator|_log_api_usage_once|_jit_set_\w+|_jit_override_\w+|_nn(?:\.\w+)?"
    r"|_functorch|_cuda_getCurrent\w+|DisableTorchFunction\w*|Value|Graph|Node|Type|\w+Type|Generator|Size|TensorBase"
    r"|_TensorBase|_VariableFunctions(?:\.\w+)?|_is_tracing|_get_privateuse1_backend_name|device|dtype|layout"
    r"|_has_\w+|_is_\w+|_\w*_is_\w+|_c10d"
    r"|_distributed_c10d(?:\.(?:ReduceOp|RedOpType|Work|ProcessGroup)(?:\.\w+)*)?))$"
)

# Decorators that only note a name on a class or function: nothing is loaded until the user asks for kernels with
# `use_kernels=True` (transformers/integrations/hub_kernels.py), as many of transformers' own modeling files do. What
# the last one imports, the packages that it is given, is judged by its argument.
_MARKS = re.compile(
    r"^transformers\.integrations\.hub_kernels\.(?:use_kernel_forward_from_hub|use_kernelized_func"
    r"|use_kernel_func_from_hub|use_kernel_func_from_hub_with_fallback)$"
)

# Functions whose arguments decide. Their calls are checked by rules (lookups.py, rules/arguments.py); as values they
# must not be handed on.
SENSITIVE = {
    "builtins.getattr": ("S15", "looks names up that cannot be followed"),
    "builtins.setattr": ("S11", "sets names that cannot be followed"),
    "builtins.delattr": ("S11", "deletes names that cannot be followed"),
    "builtins.__import__": ("S04", _IMPORTS),
    "importlib.import_module": ("S04", _IMPORTS),
    "importlib.__import__": ("S04", _IMPORTS),
    "types.FunctionType": ("S15", "makes functions out of code that no file shows"),
    "types.CodeType": ("S15", "makes functions out of code that no file shows"),
    "builtins.open": ("S07", "opens files that cannot be followed"),
    "io.open": ("S07", "opens files that cannot be followed"),
    "torch.load": ("S06", _LOADS),
    "torch.serialization.load": ("S06", _LOADS),
    "numpy.load": ("S06", _LOADS),
    "yaml.load": ("S06", "builds any Python object that the text names"),
    "os.environ": ("S08", "reads the whole environment, tokens and keys included"),
    "os.environb": ("S08", "reads the whole environment, tokens and keys included"),
    "os.getenv": ("S08", "reads the environment"),
    "sys.modules": ("S11", "reaches every loaded module"),
    "builtins.globals": ("S15", "reaches every name of this file"),
}

# Attributes through which any object leads to everything that Python has loaded.
INTROSPECTION = frozenset(
    "__globals__ __builtins__ __subclasses__ f_globals f_builtins f_locals f_back tb_frame gi_frame cr_frame ag_frame "
    "gi_code cr_code __code__ co_code co_consts func_globals func_code __loader__ __spec__".split()
)

# What objects of huggingface_hub hold of the user's token.
HUB_SECRETS = frozenset("token _token headers _headers _build_hf_headers token_source".split())

# A dotted name as a text, such as "os.system" or "os:system".
DOTTED = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
# Methods and attributes of a path that are paths themselves.
PATH_PARTS = re.compile(
    r"^pathlib\.Path\(\)\.(?:(?:joinpath|resolve|absolute|with_suffix|with_name|with_stem|rename|replace)\(\)|parent"
    r"|parents)$|^pathlib\.Path\.(?:cwd|home)\(\)$"
)


@functools.lru_cache(maxsize=1 << 14)
def canonical(path: str) -> str:
    """The one name of a thing: ``posix.system`` and ``torch.os.system`` are ``os.system``."""
    head, _, rest = path.partition("(")
    parts = resolve(head).split(".")
    for position in range(len(parts) - 1, 0, -1):
        through = parts[position] in REACHED_THROUGH and parts[0] not in ("copyreg", "importlib")
        through &= parts[0] != parts[position] or position > 1  # time.time is a function, os.path.os is os
        if through and ".".join(parts[: position + 1]) not in own_modules():
            parts = parts[position:]
            break
    parts[0] = SAME.get(parts[0]) or copied(parts[0])
    if len(parts) > 2 and parts[-1] in _at_the_top().get(parts[0], ()):
        parts = [parts[0], parts[-1]]
    if len(parts) > 1 and ".".join(parts[:2]) in ("torch.pickle", "urllib.request.os"):
        parts = parts[1:]
    elif parts[:2] == ["torch", "hub"] and parts[2:3] in (["urlopen"], ["Request"]):  # it has them from there
        parts = ["urllib", "request", *parts[2:]]
    text = ".".join(parts) + (f"({rest}" if rest else "")
    text = CONTEXT.sub(r"\1.", text)
    if text.startswith(("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePath")):
        text = "pathlib.Path" + text.split("Path", 1)[1]
    return "pathlib.Path()" if PATH_PARTS.match(text) else text


@functools.cache
def _at_the_top() -> dict[str, set[str]]:
    """Library of which no table says what its modules hold -> names that have a rule: they have one anywhere in it."""
    found: dict[str, set[str]] = {}
    for library, _, name in (each.partition(".") for each in (*EXACT, *BY_HAND)):
        if name and "." not in name and not is_read(library):
            found.setdefault(library, set()).add(name)
    return found


@functools.lru_cache(maxsize=1 << 12)
def acts(name: str) -> bool:
    """Whether a dotted name, as a text gives it to something that imports by name, leads to what is an error."""
    path = canonical(name.replace(":", "."))
    judgement = judge(path)
    return path in SENSITIVE or (judgement is not None and judgement[1] == ERROR)


@functools.lru_cache(maxsize=1 << 14)
def notable(path: str) -> bool:
    """Whether the name itself can be reported, or handing it on."""
    return (
        path in WATCHED_MODULES or path in SENSITIVE or path in OPENERS or path in WRITERS or judge(path) is not None
    )


@functools.lru_cache(maxsize=1 << 14)
def judge(path: str) -> tuple[str, str, str] | None:
    """Code, severity and words for naming something, or None where naming it has no effect.

    Below a listed module everything counts but its constants and exceptions; "x()" is what calling x gave.
    """
    if path in EXACT:
        return EXACT[path]
    head = path.split("(")[0]
    parts = head.split(".")
    for length in range(len(parts) - (path == head), 0, -1):
        judgement = BELOW.get(".".join(parts[:length]))
        if judgement:
            harmless = "(" in path or any(rule.search(path) for rule in (_HARMLESS, _HARMLESS_TORCH, _MARKS))
            return None if harmless else judgement
    return None
