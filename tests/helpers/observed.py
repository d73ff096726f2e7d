"""The warm process of observer.py: one line of JSON for each folder, one fork for each."""

import atexit
import copyreg
import gc
import importlib
import json
import locale
import logging
import os
import signal
import sys
import threading
import time
import traceback
import types

import torch
import transformers
import transformers.dynamic_module_utils
import transformers.masking_utils
import transformers.modeling_utils
from huggingface_hub.utils import _http
from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer
from transformers.activations import ACT2FN
from transformers.models.auto import configuration_auto, modeling_auto

torch.set_num_threads(1)
for name in ("pandas", "numpy", "PIL.Image", "safetensors.torch", "concurrent.futures.thread", "multiprocessing.util"):
    importlib.import_module(name)
SECRET = sys.argv[1]
PROGRAMS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
)
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.utime",
)
HOOKS = ("sys.settrace", "sys.setprofile", "sys.addaudithook")
WATCHED = {
    *PROGRAMS,
    *CHANGES,
    *HOOKS,
    "pickle.find_class",
    "open",
    "import",
    "ctypes.dlopen",
    "os.listdir",
    "os.scandir",
}
seen, acting, codes = set(), [False], ["no folder yet"]


def from_folder():
    frame = sys._getframe()
    while frame is not None:
        if codes[0] in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return threading.current_thread() is not threading.main_thread()


def evidence(event, arguments):
    """One audit event in a word, or nothing."""
    if event in PROGRAMS:
        return "program"
    if event in CHANGES:
        return f"change:{event}"
    if event in HOOKS:
        return f"hook:{event}"
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        return "connect"
    if event == "pickle.find_class":
        return f"unpickle:{arguments[0]}.{arguments[1]}"
    if event == "open":
        writes = (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return ("write:" if writes else "read:") + str(arguments[0])
    if event in ("os.listdir", "os.scandir"):
        return f"list:{arguments[0]}"
    if event == "import":
        return f"import:{arguments[0]}"
    return "env:" + os.fsdecode(arguments[0]) if event.startswith("os.putenv") else event


def listen(event, arguments):
    """An audit hook: what happens below a frame of the folder, or in a thread of its own."""
    if acting[0] and (event in WATCHED or event.startswith(("socket.", "os.putenv"))):
        acting[0] = False
        try:
            if from_folder():
                seen.add(evidence(event, arguments))
        finally:
            acting[0] = True


sys.addaudithook(listen)
OWN = ("torch", "transformers", "huggingface_hub", "numpy", "safetensors", "pandas", "PIL", "tokenizers")
STANDARD = set(sys.stdlib_module_names)


def watched():
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if (
            (top in OWN or top in STANDARD)
            and hasattr(module, "__dict__")
            and codes[0] not in str(getattr(module, "__file__", ""))
        ):
            yield name, module


def contents():
    values = {}
    for name, module in watched():
        for key, value in list(vars(module).items()):
            if key in ("__builtins__", "_", "__warningregistry__"):
                continue
            values[f"{name}.{key}"] = value
            if isinstance(value, type) and value.__module__ == name:
                for inner, one in list(vars(value).items()):
                    if not inner.startswith(("_abc_", "__abstract", "__subclasshook")):
                        values[f"{name}.{key}.{inner}"] = one
    return values


def tables():
    lists = {
        "sys.path": [p for p in sys.path if p != codes[0]],
        "sys.meta_path": sys.meta_path,
        "sys.path_hooks": sys.path_hooks,
        "gc.callbacks": gc.callbacks,
        "places": [*torch.__path__, *torch.nn.__path__, *transformers.__path__],
        "ACT2FN": list(dict.items(ACT2FN)),
        "attention": list(transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS.items()),
        "attention.local": list(transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS._local_mapping.items()),
        "masks": list(transformers.masking_utils.ALL_MASK_ATTENTION_FUNCTIONS.items()),
        "configs": list(configuration_auto.CONFIG_MAPPING._extra_content),
        "models": list(modeling_auto.MODEL_MAPPING._extra_content),
        "forward hooks": list(torch.nn.modules.module._global_forward_hooks),
        "forward pre hooks": list(torch.nn.modules.module._global_forward_pre_hooks),
        "registration hooks": list(torch.nn.modules.module._global_module_registration_hooks)
        + list(torch.nn.modules.module._global_parameter_registration_hooks)
        + list(torch.nn.modules.module._global_backward_hooks)
        + list(torch.nn.modules.module._global_buffer_registration_hooks),
        "function modes": [torch._C._len_torch_function_stack()],
        "dispatch modes": [torch._C._len_torch_dispatch_stack()],
        "exit": [atexit._ncallbacks()],
        "threads": [
            t
            for t in threading.enumerate()
            if t is not threading.main_thread() and not t.name.startswith("ThreadPool")
        ],
        "switches": [
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            sys.getrecursionlimit(),
            str(torch.get_default_device()),
            os.getcwd(),
        ],
        "umask": [os.umask(0o077)],
        "handlers": [signal.getsignal(s) for s in (2, 10, 12, 15)],
        "trace": [sys.gettrace(), sys.getprofile()],
        "threading": [threading.gettrace(), threading.getprofile()],
        "python": [sys.excepthook, sys.displayhook, sys.unraisablehook],
        "types": [torch._C._get_default_device()],
        "safe globals": list(torch.serialization.get_safe_globals()),
        "gelu": [
            torch.nn.functional.gelu(torch.tensor(0.5)).item(),
            torch.relu(torch.tensor(0.5)).item(),
            torch.add(torch.ones(1), 1).item(),
        ],
        "pickle": list(copyreg.dispatch_table.items()),
        "saved hooks": [torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()],
        "logging": [logging.root.manager.disable, len(logging.root.handlers)],
        "codecs": [logging.getLoggerClass(), json.dumps({}), locale.setlocale(0)],
        "nan": [
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.enabled,
            torch.is_inference_mode_enabled(),
        ],
    }
    os.umask(lists["umask"][0])
    return {
        k: [x if isinstance(x, (int, str, float)) else tuple(map(id, x)) if isinstance(x, tuple) else id(x) for x in v]
        for k, v in lists.items()
    }


def holds_secret(model, config, extra):
    places = [vars(config), {k: v for k, v in vars(model).items() if k not in ("_modules", "_parameters")}, extra]
    for name, module in list(sys.modules.items()):
        if name.startswith("transformers_modules"):
            places.append({k: v for k, v in vars(module).items() if not k.startswith("__")})
    return any(SECRET in repr(place) for place in places)


def load(folder, loads, extra):
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    if "tokenizer" in loads:
        extra["tokenizer"] = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
        extra["tokenizer"]("a b")
    if "processor" in loads:
        extra["processor"] = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    for name in ("AutoImageProcessor", "AutoFeatureExtractor", "AutoVideoProcessor"):
        if name in loads:
            extra[name] = getattr(transformers, name).from_pretrained(folder, trust_remote_code=True)
    if "sentence" in loads:
        from sentence_transformers import SentenceTransformer

        try:
            extra["sentence"] = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
        except Exception as error:
            extra["sentence"] = repr(error)
    for each in loads:
        if each.startswith("pipeline "):
            extra[each] = transformers.pipeline(each[9:], model=folder, trust_remote_code=True, device="cpu")
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    model.eval()
    extra["answer"] = model(torch.ones(1, 2))
    repr(model)
    if "save" in loads:
        model.save_pretrained("saved")
    return config, model


def child(job):
    home, work = job["home"], job["work"]
    if "gc" in job["loads"]:
        gc.unfreeze()
    os.chdir(work)
    os.environ.update(HOME=home, HF_TOKEN=SECRET, AWS_SECRET_ACCESS_KEY=SECRET)
    codes[0] = os.path.join(work, "..", "modules")
    codes[0] = os.path.normpath(codes[0])
    for name, module in list(sys.modules.items()):
        if name.startswith("transformers.") and vars(module).get("HF_MODULES_CACHE") == modules_cache:
            module.HF_MODULES_CACHE = codes[0]
    before_env, before_tables, known = dict(os.environ), tables(), set(sys.modules)
    extra, error, config, model = {}, "", None, None
    acting[0] = True
    try:
        config, model = load(job["folder"], job["loads"], extra)
    except BaseException:
        error = traceback.format_exc()
    secret = (
        config is not None
        and model is not None
        and holds_secret(model, config, {k: getattr(v, "__dict__", v) for k, v in extra.items() if k != "answer"})
    )
    after = contents() if job["patches"] else {}
    numbers = tables()
    environment = dict(os.environ)
    extra.clear()
    del config, model
    gc.collect()
    if "exit" in job["loads"]:
        atexit._run_exitfuncs()
    acting[0] = False
    if secret:
        seen.add("secret")
    for name, value in after.items():
        if name not in before or before[name] is value or isinstance(value, tuple):
            continue
        if type(value) is int:  # a counter
            continue
        if not isinstance(value, (float, str)) or (before[name] != value and value == value):
            seen.add(f"patched:{name}")
    seen.update(f"table:{k}" for k, v in numbers.items() if before_tables[k] != v)
    seen.update(f"env:{k}" for k in environment.keys() | before_env.keys() if environment.get(k) != before_env.get(k))
    seen.update(f"module:{name}" for name in set(sys.modules) - known if "transformers_modules" not in name)
    with open_file(job["answer"], "w") as answer:
        dump({"seen": sorted(seen), "error": error}, answer)


retries = types.ModuleType("time")  # as the client of the Hub sees it: the waits between its tries are short
vars(retries).update(vars(time), sleep=lambda seconds: time.sleep(min(seconds, 0.2)))
_http.time = retries
open_file, dump = open, json.dump  # a folder may put others in their place
modules_cache = transformers.utils.HF_MODULES_CACHE
exit_now, fork, wait, code = os._exit, os.fork, os.waitpid, os.waitstatus_to_exitcode
before = contents()
gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    pid = fork()
    if pid == 0:
        signal.alarm(job["seconds"])
        os.dup2(os.open(job["answer"] + ".out", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(job["answer"] + ".err", os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        try:
            child(job)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        exit_now(0)
    print(code(wait(pid, 0)[1]), flush=True)
