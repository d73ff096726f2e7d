"""Programs that do what a model folder must not do, one technique each, and harmless ones that look like them.

A snippet is text and is never run. Each has the code of the finding; the line that must be reported ends with ``#!``.
"""

MALICIOUS: dict[str, tuple[str, str]] = {
    # text run as a program
    "eval": ("S01", 'eval("1")  #!'),
    "exec in a function": ("S01", 'def forward(self, x):\n    exec("x = 1")  #!'),
    "compile": ("S01", 'code = compile("1", "", "eval")  #!'),
    "eval under another name": ("S01", 'run = eval\nrun("1")  #!'),
    "eval as a decorator": ("S01", "@eval  #!\ndef f():\n    pass"),
    "eval in a default argument": ("S01", 'def f(x=eval("1")):  #!\n    pass'),
    "eval by its C-like name": ("S01", "import builtins\nbuiltins.eval('1')  #!"),
    "exec through map": ("S01", 'list(map(exec, ["1"]))  #!'),
    "exec in a lambda": ("S01", 'f = lambda s: exec(s)  #!\nf("1")'),
    "eval by walrus": ("S01", 'if (run := eval) and run("1"):  #!\n    pass'),
    "shadowed only in appearance": ("S01", 'if False:\n    eval = None\neval("1")  #!'),
    "pandas eval": ("S01", 'import pandas as pd\npd.eval("1")  #!'),
    "timeit": ("S01", 'import timeit\ntimeit.timeit("1")  #!'),
    "breakpoint": ("S01", "def forward(self):\n    breakpoint()  #!"),
    "an annotation that is evaluated": ("S01", "def f(x: \"eval('1')\"):  #!\n    pass"),
    "fullwidth letters": ("S01", '\uff45\uff56\uff41\uff4c("1")  #!'),
    # other programs
    "os.system": ("S02", 'import os\nos.system("id")  #!'),
    "module under another name": ("S02", 'import os as o\no.system("id")  #!'),
    "function under another name": ("S02", 'from os import system as s\ns("id")  #!'),
    "function kept in a name": ("S02", 'import os\nf = os.system\nf("id")  #!'),
    "subprocess": ("S02", 'import subprocess\nsubprocess.run(["id"])  #!'),
    "subprocess in a with": ("S02", 'import subprocess as sp\nwith sp.Popen(["id"]) as p:  #!\n    pass'),
    "pty": ("S02", 'import pty\npty.spawn("sh")  #!'),
    "C module below os": ("S02", 'import posix\nposix.system("id")  #!'),
    "os through another package": ("S02", 'import torch\ntorch.os.system("id")  #!'),
    "os imported from another package": ("S02", 'from typing import os\nos.popen("id")  #!'),
    "star import": ("S02", 'from os import *\nsystem("id")  #!'),
    "asyncio": ("S02", 'import asyncio\nasync def f():\n    await asyncio.create_subprocess_shell("id")  #!'),
    "getattr with a string": ("S02", 'import os\ngetattr(os, "system")("id")  #!'),
    "getattr with joined strings": ("S02", 'import os\ngetattr(os, "sys" + "tem")("id")  #!'),
    "getattr with a reversed string": ("S02", 'import os\ngetattr(os, "metsys"[::-1])("id")  #!'),
    "getattr with join": ("S02", 'import os\ngetattr(os, "".join(["s", "ystem"]))("id")  #!'),
    "getattr with chr": (
        "S02",
        'import os\nname = "".join(chr(c) for c in (115, 121, 115, 116, 101, 109))\ngetattr(os, name)("id")  #!',
    ),
    "getattr with map of chr": (
        "S02",
        'import os\ngetattr(os, "".join(map(chr, [115, 121, 115, 116, 101, 109])))("id")  #!',
    ),
    "getattr with an f-string": ("S02", 'import os\na = "sys"\ngetattr(os, f"{a}tem")("id")  #!'),
    "getattr with a percent format": ("S02", 'import os\ngetattr(os, "%stem" % "sys")("id")  #!'),
    "getattr with str.format": ("S02", 'import os\ngetattr(os, "{}{}".format("sys", "tem"))("id")  #!'),
    "getattr with replace": ("S02", 'import os\ngetattr(os, "sXstem".replace("X", "y"))("id")  #!'),
    "getattr with rot13": ("S02", 'import os, codecs\ngetattr(os, codecs.decode("flfgrz", "rot13"))("id")  #!'),
    "getattr with base64": (
        "S02",
        'import os, base64\ngetattr(os, base64.b64decode("c3lzdGVt").decode())("id")  #!',
    ),
    "getattr with bytes from hex": ("S02", 'import os\ngetattr(os, bytes.fromhex("73797374656d").decode())("id")  #!'),
    "getattr with translate": (
        "S02",
        'import os\ngetattr(os, "5ystem".translate(str.maketrans("5", "s")))("id")  #!',
    ),
    "getattr with xor": (
        "S02",
        "import os\nn = bytes(c ^ 1 for c in [114, 120, 114, 117, 100, 108]).decode()\ngetattr(os, n)('id')  #!",
    ),
    "getattr under another name": ("S02", 'import os\ng = getattr\ng(os, "system")("id")  #!'),
    "getattr with starred arguments": ("S15", 'import os\ngetattr(*[os, "system"])("id")  #!'),
    "a chain of getattr": ("S02", 'import torch\ngetattr(getattr(torch, "os"), "system")("id")  #!'),
    "__dict__ of a module": ("S02", 'import os\nos.__dict__["system"]("id")  #!'),
    "vars of a module": ("S02", 'import os\nvars(os)["sys" + "tem"]("id")  #!'),
    "__getattribute__ of a module": ("S02", 'import os\nos.__getattribute__("system")("id")  #!'),
    "a pattern of match": ("S02", 'import os\nmatch os:\n    case object(system=run):  #!\n        run("id")'),
    "a module in a class body": ("S02", 'import os\nclass A:\n    m = os\nA.m.system("id")  #!'),
    "a module kept on self": (
        "S02",
        "import os\nclass A:\n    def __init__(self):\n        self.m = os\n    def forward(self):\n"
        '        self.m.system("id")  #!',
    ),
    "a module as a default argument": ("S02", 'import os\ndef f(x=os):\n    x.system("id")  #!'),
    "a module returned": ("S02", 'import os\ndef f():\n    return os\nf().system("id")  #!'),
    "a module returned by a property": (
        "S02",
        "import os\nclass A:\n    @property\n    def m(self):\n        return os\n    def forward(self):\n"
        '        self.m.system("id")  #!',
    ),
    "a function in a dict": ("S02", 'import os\nd = {"a": os.system}  #!\nd["a"]("id")'),
    "partial": ("S02", 'import os, functools\nf = functools.partial(os.system, "id")  #!\nf()'),
    "a base class": ("S02", "import subprocess\nclass A(subprocess.Popen):  #!\n    pass"),
    "the class of __call__": ("S02", 'import os\nos.system.__call__("id")  #!'),
    "a module from a loop": ("S15", 'import os\nfor m in [os]:  #!\n    m.system("id")'),
    "a method of something unknown": ("S02", 'def f(x):\n    x.system("id")  #!'),
    "bound later in a loop": (
        "S02",
        'import os\ndef f():\n    a = b = None\n    for _ in "aaa":\n        if b:\n            b.system("id")  #!\n'
        "        b = a\n        a = os",
    ),
    "a global set elsewhere": (
        "S02",
        'import os\nm = None\ndef use():\n    m.system("id")  #!\ndef fill():\n    global m\n    m = os',
    ),
    # network
    "socket": ("S03", "import socket\ns = socket.create_connection(('h', 1))  #!"),
    "urllib": ("S03", "from urllib.request import urlopen\nurlopen('http://h')  #!"),
    "requests": ("S03", "import requests\nrequests.post('http://h', data={})  #!"),
    "http.client": ("S03", "import http.client as h\nh.HTTPSConnection('h')  #!"),
    "the Hub's own client": ("S03", "from huggingface_hub import HfApi\nHfApi().upload_file()  #!"),
    "torch.hub": ("S03", "import torch\ntorch.hub.load('a/b', 'c')  #!"),
    "requests through another package": ("S03", "import transformers\ntransformers.utils.hub.requests.get('h')  #!"),
    # code by computed names
    "__import__": ("S04", '__import__("os")  #!'),
    "__import__ and a call": ("S02", '__import__("os").system("id")  #!'),
    "__import__ of joined strings": ("S02", '__import__("o" + "s").system("id")  #!'),
    "importlib": ("S02", 'import importlib\nimportlib.import_module("os").system("id")  #!'),
    "importlib with a computed name": (
        "S04",
        "import importlib\ndef f(n):\n    return importlib.import_module(n)  #!",
    ),
    "a module from a path": (
        "S04",
        'from importlib.util import spec_from_file_location\nspec_from_file_location("a", "/a.py")  #!',
    ),
    "runpy": ("S04", 'import runpy\nrunpy.run_path("a.py")  #!'),
    "transformers' own loader": (
        "S04",
        "from transformers.dynamic_module_utils import get_class_from_dynamic_module as g\n"
        'g("modeling.A", "org/code")  #!',
    ),
    "trust_remote_code inside": (
        "S04",
        'from transformers import AutoModel\nAutoModel.from_pretrained("a/b", trust_remote_code=True)  #!',
    ),
    # native code
    "ctypes": ("S05", "import ctypes\nctypes.CDLL(None)  #!"),
    "torch.ops": ("S05", 'import torch\ntorch.ops.load_library("a.so")  #!'),
    "cpp_extension": ("S05", 'from torch.utils.cpp_extension import load_inline\nload_inline("a", "")  #!'),
    "kernels": ("S05", 'from kernels import get_kernel\nget_kernel("a/b")  #!'),
    # pickles
    "pickle": ("S06", "import pickle\npickle.loads(b'')  #!"),
    "torch.load": ("S06", 'import torch\ntorch.load("a.bin")  #!'),
    "torch.load with weights_only=False": ("S06", 'import torch\ntorch.load("a.bin", weights_only=False)  #!'),
    "torch.load through partial": ("S06", "import torch, functools\nf = functools.partial(torch.load)  #!"),
    "joblib": ("S06", 'import joblib\njoblib.load("a")  #!'),
    "marshal": ("S06", "import marshal\nmarshal.loads(b'')  #!"),
    "numpy": ("S06", 'import numpy as np\nnp.load("a.npy", allow_pickle=True)  #!'),
    "yaml": ("S06", 'import yaml\nyaml.load("a", Loader=yaml.Loader)  #!'),
    "shelve": ("S06", 'import shelve\nshelve.open("a")  #!'),
    # writes and deletions
    "open for writing": ("S07", 'def forward(self):\n    open("/tmp/a", "w")  #!'),
    "open for appending, by keyword": ("S07", 'def f():\n    open("a", mode="a")  #!'),
    "open in a mode that is not known": ("S07", 'def f(m):\n    open("a", m)  #!'),
    "Path.write_text": ("S07", 'from pathlib import Path\n(Path("a") / "b").write_text("c")  #!'),
    "rmtree": ("S07", 'import shutil\nshutil.rmtree("/a")  #!'),
    "os.remove": ("S07", 'import os\nos.remove("/a")  #!'),
    "torch.save": ("S07", 'import torch\ndef forward(self, x):\n    torch.save(x, "/a")  #!'),
    "a write out of the directory": (
        "S07",
        "import os\nclass T:\n    def save_vocabulary(self, save_directory):\n"
        '        open(os.path.join(save_directory, "..", "a"), "w")  #!',
    ),
    "a write elsewhere while saving": (
        "S07",
        'class T:\n    def save_pretrained(self, save_directory):\n        open("/etc/a", "w")  #!',
    ),
    "the directory replaced": (
        "S07",
        "class T:\n    def save_pretrained(self, save_directory):\n"
        '        save_directory = "/etc"\n        open(save_directory + "/a", "w")  #!',
    ),
    # secrets
    "a token from the environment": ("S08", 'import os\nos.environ["HF_TOKEN"]  #!'),
    "a key by getenv": ("S08", 'import os\nos.getenv("AWS_SECRET_ACCESS_KEY")  #!'),
    "the whole environment": ("S08", "import os\nd = dict(os.environ)  #!"),
    "the environment's items": ("S08", "from os import environ as e\nx = list(e.items())  #!"),
    "a variable by a computed name": ("S08", "import os\ndef f(n):\n    return os.environ[n]  #!"),
    "ssh keys": ("S08", 'p = "~/.ssh/id_rsa"  #!'),
    "a path put together": ("S08", 'p = "/." + "netrc"  #!'),
    "the Hub's token": ("S08", "from huggingface_hub import get_token\nget_token()  #!"),
    "getpass": ("S08", "import getpass\ngetpass.getpass()  #!"),
    # the environment
    "environment written": ("S09", 'import os\nos.environ["A"] = "b"  #!'),
    "environment written by update": ("S09", 'import os\nos.environ.update({"A": "b"})  #!'),
    "putenv": ("S09", 'import os\nos.putenv("A", "b")  #!'),
    "setdefault": ("S09", 'import os\nos.environ.setdefault("A", "b")  #!'),
    # encoded text that is run
    "base64 into exec": ("S10", 'import base64\nexec(base64.b64decode("cHJpbnQoMSk="))  #!'),
    "zlib into eval": ("S10", "import zlib\ndef f(b):\n    t = zlib.decompress(b)\n    eval(t)  #!"),
    "marshal into exec": ("S10", "import marshal\ndef f(b):\n    exec(marshal.loads(b))  #!"),
    "codecs into exec": ("S10", 'import codecs\nexec(codecs.decode("cevag(1)", "rot_13"))  #!'),
    "decoded, then split over names": (
        "S10",
        "import base64 as b\ndef f(x):\n    a = b.b64decode(x).decode()\n    c = a.strip()\n    exec(c)  #!",
    ),
    "a long blob": ("S10", 'data = "' + "QUJDREVGR0hJSktMTU5PUA9z" * 100 + '"  #!'),
    # changes of installed modules
    "a function of torch replaced": ("S11", "import torch\ntorch.load = lambda *a: None  #!"),
    "a method of a class replaced": (
        "S11",
        "from torch import nn\ndef f(self, x):\n    return x\nnn.Linear.forward = f  #!",
    ),
    "setattr on a module": ("S11", 'import torch\nsetattr(torch, "load", None)  #!'),
    "setattr with a computed name": ("S11", "import torch\ndef f(n):\n    setattr(torch.nn.Module, n, None)  #!"),
    "sys.modules": ("S11", 'import sys\nsys.modules["torch"] = None  #!'),
    "builtins": ("S11", "import builtins\nbuiltins.print = None  #!"),
    "sys.path": ("S11", 'import sys\nsys.path.insert(0, "/a")  #!'),
    "sys.meta_path": ("S11", "import sys\nsys.meta_path.append(None)  #!"),
    "atexit": ("S11", "import atexit\natexit.register(print)  #!"),
    "settrace": ("S11", "import sys\nsys.settrace(print)  #!"),
    "del of a method": ("S11", "from torch import nn\ndel nn.Module.forward  #!"),
    "the class of a tensor": ("S11", "def f(x):\n    type(x).__add__ = None  #!"),
    "__dict__ of torch": ("S11", 'import torch\ntorch.__dict__["load"] = None  #!'),
    "another body for a function": ("S11", "def f(g, h):\n    g.__code__ = h  #!"),
    "a thread": ("S11", "import threading\nthreading.Thread(target=print).start()  #!"),
    # code at import
    "a function that runs at import": ("S12", 'import os\ndef f():\n    os.system("id")\nf()  #!'),
    "an object made at import": (
        "S12",
        'import os\nclass A:\n    def __init__(self):\n        os.system("id")\na = A()  #!',
    ),
    "a decorator that runs at import": (
        "S12",
        'import os\ndef d(f):\n    os.system("id")\n    return f\n@d  #!\ndef g():\n    pass',
    ),
    "in a class body": ("S12", 'import os\ndef f():\n    os.system("id")\nclass A:\n    x = f()  #!'),
    "through two functions": (
        "S12",
        'import os\ndef f():\n    os.system("id")\ndef g():\n    f()\nx = [g() for _ in "a"]  #!',
    ),
    "a decorator with arguments": (
        "S12",
        'import os\ndef d(a):\n    def inner(f):\n        os.system("id")\n        return f\n    return inner\n'
        "@d(1)  #!\ndef g():\n    pass",
    ),
    "a loop at import": ("S12", "while True:  #!\n    pass"),
    "a model loaded at import": (
        "S12",
        'from transformers import AutoModel\nm = AutoModel.from_pretrained("a/b")  #!',
    ),
    "an unknown package": ("S12", "import strange\nstrange.start()  #!"),
    # methods that Python calls by itself
    "__reduce__": (
        "S13",
        'import os\nclass A:\n    def __reduce__(self):  #!\n        return os.system, ("id",)',
    ),
    "__init_subclass__": (
        "S13",
        'import os\nclass A:\n    def __init_subclass__(cls, **k):  #!\n        os.system("id")',
    ),
    "a metaclass": (
        "S13",
        'import os\nclass M(type):\n    def __new__(m, *a):  #!\n        os.system("id")\n'
        "        return super().__new__(m, *a)\nclass A(metaclass=M):\n    pass",
    ),
    "__set_name__": ("S13", 'import os\nclass D:\n    def __set_name__(self, o, n):  #!\n        os.system("id")'),
    "__getattr__ of a module": ("S13", 'import os\ndef __getattr__(n):  #!\n    os.system("id")'),
    "__class_getitem__": (
        "S13",
        'import os\nclass A:\n    def __class_getitem__(c, i):  #!\n        os.system("id")',
    ),
    "__del__": ("S13", 'import os\nclass A:\n    def __del__(self):  #!\n        os.system("id")'),
    "__setstate__": ("S13", "class A:\n    def __setstate__(self, s):  #!\n        self.__dict__ = s"),
    # hidden names
    "subclasses of object": ("S15", "().__class__.__base__.__subclasses__()  #!"),
    "globals of a method": ("S15", 'from torch import nn\nnn.Module.__init__.__globals__["sys"]  #!'),
    "__builtins__": ("S01", '__builtins__["eval"]("1")  #!'),
    "globals and builtins": ("S01", 'globals()["__builtins__"]["eval"]("1")  #!'),
    "a name of this file": ("S02", 'import os\nglobals()["o" + "s"].system("id")  #!'),
    "a frame": ("S15", "import sys\nsys._getframe(1)  #!"),
    "a frame of an exception": ("S15", "def f(e):\n    return e.__traceback__.tb_frame  #!"),
    "a generator's frame": ("S15", "g = (x for x in ())\ng.gi_frame  #!"),
    "attrgetter": ("S15", 'import operator\noperator.attrgetter("__globals__")  #!'),
    "methodcaller on a module": ("S15", 'import os, operator\noperator.methodcaller("system", "id")(os)  #!'),
    "getattr as a value": ("S15", "import functools\nfunctools.reduce(getattr, ['a'])  #!"),
    "a function from code": ("S15", "import types\ndef f(c):\n    return types.FunctionType(c, {})  #!"),
    "getattr with a computed name": ("S15", "import os\ndef f(n):\n    return getattr(os, n)  #!"),
    "a module handed on": ("S15", "import os\ndef f(m):\n    return m\nf(os)  #!"),
    "sys.modules by a constant": ("S02", 'import sys\nsys.modules["os"].system("id")  #!'),
    "sys.modules by a computed name": ("S15", "import sys\ndef f(n):\n    return sys.modules[n]  #!"),
    "the module of a builtin": ("S15", 'print.__self__.eval("1")  #!'),
    "the loader": ("S15", '__loader__.load_module("os")  #!'),
    "text that runs the other way": ("S15", 'a = "\u202e"  #!'),
    "another encoding": ("S15", "# -*- coding: utf-7 -*- #!"),
    "a descriptor": (
        "S02",
        "import os\nclass D:\n    def __get__(self, o, t):\n        return os\nclass A:\n    m = D()\n"
        'A.m.system("id")  #!',
    ),
    "a property of a lambda": ("S02", 'import os\nclass A:\n    m = property(lambda s: os)\nA().m.system("id")  #!'),
    "a context manager": (
        "S02",
        "import contextlib, os\n@contextlib.contextmanager\ndef f():\n    yield os\nwith f() as o:\n"
        "    o.system('id')  #!",
    ),
    "a format string": ("S15", '"{0.__init__.__globals__}".format(print)  #!'),
    "a forward reference": ("S01", "import typing\ntyping.ForwardRef(\"eval('1')\")  #!"),
    "the entries of a module": ("S15", "import os\nfor k, v in vars(os).items():  #!\n    v"),
    "a loader of another module": ("S15", 'import torch\ntorch.__spec__.loader.load_module("os")  #!'),
    "a path put together with pathlib": (
        "S08",
        'from pathlib import Path\n(Path.home() / ".cache" / "huggingface" / "token").read_text()  #!',
    ),
    "a path put together with os.path": (
        "S08",
        'import os\nos.path.join(os.path.expanduser("~"), ".ssh", "known_hosts")  #!',
    ),
    "an upload by the model": ("S03", 'class A:\n    def forward(self, x):\n        self.push_to_hub("a/b")  #!'),
    "a hook on every module": (
        "S11",
        "from torch.nn.modules.module import register_module_forward_hook as r\nr(print)  #!",
    ),
    "a type for pickle": ("S06", "import copyreg\ncopyreg.pickle(int, print)  #!"),
    "an array written": ("S07", 'import numpy as np\nnp.zeros(3).tofile("/a")  #!'),
    "a log file": ("S07", 'import logging\nlogging.basicConfig(filename="/a")  #!'),
    "not quite the main program": (
        "S12",
        'import os\ndef f():\n    os.system("id")\nif __name__ != "__main__":\n    f()  #!',
    ),
    "the module itself": (
        "S02",
        'import sys\nfrom os import system as s\ngetattr(sys.modules[__name__], "s")("id")  #!',
    ),
}

MALICIOUS |= {
    "a shell in torch": ("S02", 'import torch\ntorch.utils.collect_env.run("id")  #!'),
    "a shell in torch, imported": ("S02", "from torch.utils.collect_env import run_and_read_all as r  #!\nr"),
    "text run by torch's compiler": (
        "S01",
        'import torch\ntorch._inductor.codecache.PyCodeCache.load("import os")  #!',
    ),
    "text run by torch.fx": ("S01", "from torch.fx.graph_module import _forward_from_src as f  #!\nf('a', {})"),
    "text run by numpy's tests": ("S01", 'import numpy as np\nnp.testing.runstring("a", {})  #!'),
    "a file run by numpy's tests": ("S01", 'from numpy.testing import rundocs\nrundocs("a")  #!'),
    "another part of torch's compiler": ("S05", "import torch\ntorch._dynamo.repro.after_aot.run_repro()  #!"),
    "a native part of torch": ("S06", 'import torch\ntorch._C.import_ir_module(None, "a")  #!'),
    "a path of computed names": (
        "S15",
        "import torch\nclass A:\n    def forward(self):\n        f = torch\n"
        '        for p in self.config.path.split("."):\n            f = getattr(f, p)  #!\n'
        "        f(self.config.arg)",
    ),
    "a computed name of a computed name": (
        "S15",
        "import torch\ndef f(c):\n    return getattr(getattr(torch, c.a), c.b)(c.c)  #!",
    ),
    "attrgetter with a computed name": (
        "S15",
        "import torch, operator\ndef f(c):\n    return operator.attrgetter(c.path)(torch)(c.arg)  #!",
    ),
    "attrgetter with a path": (
        "S02",
        'import torch, operator\noperator.attrgetter("utils.collect_env.run")(torch)("id")  #!',
    ),
    "a deletion by another process": (
        "S07",
        'import shutil\nimport torch\ndef f(self):\n    torch.multiprocessing.spawn(shutil.rmtree, args=("/a",))  #!',
    ),
    "a deletion by a thread": (
        "S07",
        "import os, threading\ndef f(p):\n    threading.Thread(target=os.remove, args=(p,)).start()  #!",
    ),
    "a deletion by map": ("S07", "import os\ndef f(paths):\n    list(map(os.remove, paths))  #!"),
    "a write by a process": (
        "S07",
        "import multiprocessing as m, torch\ndef f(x):\n    m.Process(target=torch.save, args=(x, '/a')).start()  #!",
    ),
    "annotations made as a dict": (
        "S01",
        "import typing\ntyping.get_type_hints(type('A', (), {'__annotations__': {'x': \"eval('1')\"}}))  #!",
    ),
    "annotations that are evaluated": ("S01", "import typing\ndef f(x):\n    return typing.get_type_hints(x)  #!"),
    "a way out of a temporary directory": (
        "S07",
        "import os, tempfile, torch\ndef f(x):\n    with tempfile.TemporaryDirectory() as d:\n"
        "        torch.save(x, os.path.join(d, '../../a'))  #!",
    ),
}

HARMLESS: dict[str, str] = {
    "model.eval()": "def f(model):\n    model.eval()",
    "a method named compile": "import re, torch\np = re.compile('a')\ndef f(m):\n    return torch.compile(m)",
    "ast.literal_eval": "import ast\nx = ast.literal_eval('1')",
    "a parameter named eval": "def f(eval):\n    return eval(1)",
    "a parameter named open": "def f(open, input):\n    return open(input)",
    "a local named exec": "def f():\n    exec = print\n    exec(1)",
    "a method named exec": "class A:\n    def exec(self):\n        pass\n    def f(self):\n        self.exec()",
    "a method named system": "class A:\n    def system(self):\n        pass\n    def f(self):\n        self.system()",
    "platform.system": "import platform\nWINDOWS = platform.system() == 'Windows'",
    "os.path": "import os\nROOT = os.path.join(os.path.dirname(__file__), 'a')",
    "os.PathLike": "import os\ndef f(p: str | os.PathLike):\n    return os.fspath(p)",
    "reading a file": "def f(p):\n    with open(p, encoding='utf-8') as g:\n        return g.read()",
    "reading with a mode": "def f(p):\n    return open(p, 'rb').read()",
    "Path.read_text": "from pathlib import Path\ndef f(p):\n    return Path(p).read_text()",
    "saving a vocabulary": (
        "import os\nclass T:\n    def save_vocabulary(self, save_directory, filename_prefix=None):\n"
        "        name = (filename_prefix + '-' if filename_prefix else '') + 'vocab.txt'\n"
        "        path = os.path.join(save_directory, name)\n"
        "        with open(path, 'w', encoding='utf-8') as f:\n            f.write('a')\n        return (path,)"
    ),
    "saving with pathlib": (
        "from pathlib import Path\nclass T:\n    def save_pretrained(self, save_directory, **k):\n"
        "        save_directory = Path(save_directory)\n        save_directory.mkdir(exist_ok=True)\n"
        "        (save_directory / 'a.json').write_text('{}')"
    ),
    "saving by a function": (
        "import json, os\ndef dump(x, path):\n    with open(path, 'w') as f:\n        json.dump(x, f)\n"
        "class T:\n    def save_vocabulary(self, save_directory):\n        dump({}, os.path.join(save_directory, 'a'))"
    ),
    "copying a vocabulary": (
        "import os\nfrom shutil import copyfile\nclass T:\n    def save_vocabulary(self, save_directory):\n"
        "        out = os.path.join(save_directory, 'spm.model')\n        copyfile(self.file, out)"
    ),
    "getattr of a constant": "import torch\nf = getattr(torch, 'float32')",
    "getattr of a configuration": "def f(config, n):\n    return getattr(config, n, None)",
    "getattr of torch by a name": "import torch\ndef f(n):\n    return getattr(torch, n)",
    "setattr on self": "class A:\n    def f(self, n):\n        setattr(self, n, 1)",
    "an attribute of a class of the folder": "class A:\n    pass\nA.x = 1",
    "a method bound to an object": "import types\ndef f(m, g):\n    m.forward = types.MethodType(g, m)",
    "torch.load of weights only": "import torch\ndef f(p):\n    return torch.load(p, weights_only=True)",
    "numpy.load": "import numpy as np\ndef f(p):\n    return np.load(p, allow_pickle=False)",
    "yaml.safe_load": "import yaml\ndef f(t):\n    return yaml.safe_load(t), yaml.load(t, Loader=yaml.SafeLoader)",
    "an exception of subprocess": "import subprocess\ntry:\n    pass\nexcept subprocess.CalledProcessError:\n    pass",
    "urllib.parse": "from urllib.parse import urlparse\ndef f(u):\n    return urlparse(u)",
    "register_for_auto_class": "class A:\n    pass\nA.register_for_auto_class('AutoModel')",
    "a logger": "from transformers.utils import logging\nlogger = logging.get_logger(__name__)",
    "is_available": "from transformers.utils import is_flash_attn_2_available\nFLASH = is_flash_attn_2_available()",
    "find_spec": "import importlib.util\nHAS = importlib.util.find_spec('flash_attn') is not None",
    "a version": "import importlib.metadata\nV = importlib.metadata.version('torch')",
    "a dataclass": "import dataclasses as d\n@d.dataclass\nclass A:\n    x: list = d.field(default_factory=list)",
    "a type variable": "from typing import TypeVar\nT = TypeVar('T')",
    "a table made by a function": "def table():\n    return {i: i for i in range(3)}\nTABLE = table()",
    "super in __init_subclass__": (
        "class A:\n    def __init_subclass__(cls, **k):\n        super().__init_subclass__(**k)"
    ),
    "a local rank": "import os\nRANK = int(os.environ.get('LOCAL_RANK', 0))",
    "decoding data": "import base64\ndef f(t):\n    return base64.b64decode(t)",
    "a docstring about secrets": '"""Never reads ~/.ssh/id_rsa, nor calls eval or os.system("id")."""',
    "a comment": "# eval(os.system('id'))\nx = 1",
    "a string that is text": "TEXT = 'please do not eval or exec anything'",
    "a long text": "TEXT = '" + "the quick brown fox jumps over it " * 80 + "'",
    "a list of chr": "ALPHABET = [chr(i) for i in range(97, 123)]",
    "byte-level BPE": (
        "def table():\n    bs = list(range(33, 127))\n    return dict(zip(bs, [chr(n) for n in bs]))\nBYTES = table()"
    ),
    "a jit decorator": "import torch\n@torch.jit.script\ndef f(x):\n    pass\n@torch.no_grad()\ndef g(x):\n    pass",
    "a triton kernel": "import triton as t\nimport triton.language as l\n@t.jit\ndef k(p, N: l.constexpr):\n    pass",
    "letters of other alphabets": "\u03b2 = 1\n\u03b2_x = '\ufb01'\nimport math\n\u03c0 = math.pi",
    "a UTF-8 cookie": "# -*- coding: utf-8 -*-\nx = 1",
    "sys.version_info": "import sys\nNEW = sys.version_info >= (3, 11)",
    "__main__": "import os\ndef f():\n    pass\nif __name__ == '__main__':\n    f()",
    "match": "def f(x):\n    match x:\n        case 'a':\n            pass\n        case {'k': v}:\n            v()",
    "signature of forward": "import inspect\ndef f(m):\n    return inspect.signature(m.forward).parameters",
    "attrgetter of a weight": "import operator\nW = operator.attrgetter('weight')",
    "isinstance of a function": "import types\ndef f(x):\n    return isinstance(x, (types.FunctionType, str))",
    "cudnn flag": "import torch\ndef f():\n    torch.backends.cudnn.benchmark = False",
    "an own metaclass": "class M(type):\n    pass\nclass A(metaclass=M):\n    pass",
    "a thread lock": "import threading\nLOCK = threading.Lock()",
    "public switches of torch's compiler": (
        "import torch\nimport torch._dynamo\n@torch._dynamo.disable\ndef f(x):\n"
        "    torch._dynamo.mark_dynamic(x, 0)\n    torch._dynamo.mark_static_address(x)\n"
        "    torch._dynamo.config.cache_size_limit = 64\n"
        "    return torch.compiler.is_compiling() or torch._dynamo.is_compiling()\n"
        "torch._dynamo.allow_in_graph(f)\ntorch.compiler.disable(f)"
    ),
    "under jit.trace": "import torch\ndef f(x):\n    return torch._C._get_tracing_state() or torch._C._nn.gelu(x)",
    "a graph": "from torch.fx.graph_module import GraphModule\ndef f(m):\n    return isinstance(m, GraphModule)",
    "a comparison of arrays": "import numpy as np\ndef f(a, b):\n    np.testing.assert_allclose(a, b)",
    "an activation by its name": (
        "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
        "from transformers.activations import ACT2FN\n"
        "class A:\n    def __init__(self, config):\n        self.a = getattr(nn, config.activation)()\n"
        "        self.b = getattr(F, config.activation)\n        self.c = ACT2FN[config.hidden_act]\n"
        "        self.d = getattr(torch, config.dtype)\n        self.e = getattr(torch.nn.init, config.init)\n"
        "    def forward(self, x):\n        self.e(x)\n        return self.a(self.b(x)).to(self.d)"
    ),
    "a module of the model by its path": (
        "import operator\nclass A:\n    def f(self, path):\n        m = self\n        for p in path.split('.'):\n"
        "            m = getattr(m, p)\n        return m, operator.attrgetter(path)(self)"
    ),
    "gradient checkpointing": (
        "from torch.utils.checkpoint import checkpoint\nclass A:\n    def forward(self, x):\n"
        "        return checkpoint(self.block, x, use_reentrant=False)\n    def block(self, x):\n        return x"
    ),
    "map of plain functions": "def f(xs):\n    return list(map(int, xs)) + list(map(lambda x: x + 1, xs))",
    "a function for saving, handed on": (
        "import torch\nclass A:\n    def save_pretrained(self, d, save_function=torch.save):\n"
        "        super().save_pretrained(d, save_function=save_function)"
    ),
    "a temporary directory": (
        "import os, tempfile, torch\nfrom pathlib import Path\ndef f(x):\n"
        "    with tempfile.TemporaryDirectory() as d:\n        torch.save(x, d + '/x.pt')\n"
        "        torch.save(x, os.path.join(d, 'x.pt'))\n        torch.save(x, Path(d) / 'x.pt')\n"
        "        torch.save(x, f'{d}/x.pt')\n        (Path(d) / 'a').write_text('b')\n"
        "        with open(os.path.join(d, 'a'), 'w') as g:\n            g.write('a')"
    ),
    "a temporary file": (
        "import shutil, tempfile, torch\ndef f(x):\n    d = tempfile.mkdtemp()\n    torch.save(x, d + '/a')\n"
        "    shutil.rmtree(d)\n    with tempfile.NamedTemporaryFile() as g:\n        torch.save(x, g.name)"
    ),
    "a class made by type": "A = type('A', (), {'__annotations__': {'x': 'int | None'}, 'y': 1})",
}
