"""Programs that act by way of another name, a library's own runner, or a part of Python.

Three shapes or more of each kind. A snippet is text and is never run. Each kind has the code of its findings; the line
that must be reported ends with ``#!``.
"""

KINDS: dict[str, tuple[str, list[str]]] = {
    "a module under a private name": (
        "S02",
        [
            'import random\nrandom._os.system("id")  #!',
            'from tempfile import _os as o\ndef forward(self, x):\n    o.popen("id")  #!',
            'import enum\nclass A:\n    def forward(self, x):\n        enum.sys.modules["os"].system("id")  #!',
        ],
    ),
    "a builtin under another module's name": (
        "S07",
        [
            'import tokenize\ndef forward(self, x):\n    tokenize._builtin_open("/a", "w")  #!',
            'import io\ndef forward(self, x):\n    io.open_code and io.open("/a", "wb")  #!',
            'from tokenize import _builtin_open as o\ndef f(x):\n    with o("/tmp/a", mode="a") as f:  #!\n'
            "        f.write(x)",
        ],
    ),
    "the place where a function is defined": (
        "S03",
        [
            "from huggingface_hub.hf_api import HfApi\nHfApi()  #!",
            "import huggingface_hub._commit_api, huggingface_hub.hf_api as h\nh.HfApi().whoami()  #!",
            'import torch\ndef forward(self, x):\n    torch.hub.download_url_to_file("http://h/a", "a")  #!',
        ],
    ),
    "a runner of commands that a library keeps for itself": (
        "S02",
        [
            'import uuid\ndef forward(self, x):\n    uuid._get_command_stdout("id")  #!',
            'from pydoc import pipepager\npipepager("a", "sh")  #!',
            "import imaplib\ndef f(c):\n    return imaplib.IMAP4_stream(c)  #!",
        ],
    ),
    "an evaluation that a library keeps for itself": (
        "S01",
        [
            'import pdb\ndef forward(self, x):\n    pdb.Pdb().default("print(1)")  #!',
            'import bdb\nbdb.Bdb().runeval("1")  #!',
            "import pandas as pd\ndef forward(self, x):\n    return pd.DataFrame(x).query(self.config.q)  #!",
        ],
    ),
    "an import by a text in a library": (
        "S04",
        [
            'import pydoc\npydoc.safeimport("os")  #!',
            "import logging.config\ndef forward(self, x):\n    return logging.config._resolve(self.config.name)  #!",
            'from sentence_transformers.util import import_from_string\nimport_from_string("os.system")  #!',
        ],
    ),
    "methods named like means of execution": (
        "S01",
        [
            'def forward(self, x):\n    x.thing.exec("print(1)")  #!',
            'def forward(self, x):\n    self.helper.eval("1 + 1")  #!',
            "def f(session, text):\n    session.exec(text)  #!",
        ],
    ),
    "a command handed to something unknown": (
        "S02",
        [
            'def forward(self, x):\n    self.runner.run("rm -r a")  #!',
            'def f(r):\n    r.run(["id", "-u"], check=True)  #!',
            'def f(r):\n    r.call("/bin/true", shell=True)  #!',
        ],
    ),
    "the module of a function": (
        "S15",
        [
            'len.__self__.eval("1")  #!',
            'import os\nos.getcwd.__self__.system("id")  #!',
            "import time\ndef f():\n    m = time.sleep.__self__  #!\n    return m",
        ],
    ),
    "a format string that walks attributes": (
        "S15",
        [
            '"{0.__init__.__globals__[os]}".format(print)  #!',
            'TEXT = "{x.__class__.__mro__}"  #!\ndef f(x):\n    return TEXT.format(x=x)',
            'import string\ndef f(x):\n    return string.Formatter().format("{0.__subclasses__}", x)  #!',
        ],
    ),
    "a private part of Python's own library": (
        "S15",
        [
            "import threading\nthreading._shutdown()  #!",
            "import site\ndef f():\n    return site._script  #!",
            "from collections import abc\nimport ast\nast._Unparser  #!",
        ],
    ),
    "an operator of torch replaced": (
        "S11",
        [
            'import torch\nlib = torch.library.Library("aten", "IMPL")  #!',
            'import torch\n@torch.library.impl("aten::add.Tensor", "CPU")  #!\ndef f(a, b):\n    return a',
            'from torch.library import Library\ndef f(self):\n    Library("_C", "FRAGMENT")  #!',
        ],
    ),
    "an attention function replaced": (
        "S11",
        [
            "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS\ndef f(*a):\n    return a\n"
            'ALL_ATTENTION_FUNCTIONS["sdpa"] = f  #!',
            "from transformers import AttentionInterface\ndef f(*a):\n    return a\n"
            'AttentionInterface.register("eager", f)  #!',
            "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as A\n"
            'A.update({"sdpa": print})\nA.register("flash_attention_2", print)  #!',
        ],
    ),
    "a patch by way of the class hierarchy": (
        "S11",
        [
            "from torch import nn\nclass A(nn.Module):\n    pass\nA.__base__.forward = print  #!",
            "from torch import nn\nclass A(nn.Module):\n    def forward(self, x):\n"
            "        self.__class__.__mro__[1].half = print  #!",
            "def forward(self, x):\n    type(x).__bases__[0].add = print  #!",
        ],
    ),
    "a file outside the folder that is read": (
        "S08",
        [
            'def forward(self, x):\n    return open("/etc/hostname").read()  #!',
            'import os\ndef forward(self, x):\n    return os.listdir("/home")  #!',
            'from pathlib import Path\ndef forward(self, x):\n    return Path("/var/log/syslog").read_text()  #!',
        ],
    ),
    "a secret by way of the file system, or of a helper": (
        "S08",
        [
            'open("/proc/self/environ")  #!',
            "from huggingface_hub.utils import build_hf_headers\nbuild_hf_headers()  #!",
            'import os\nos.path.expandvars("$HF_TOKEN")  #!',
        ],
    ),
    "an address that a reader is given": (
        "S03",
        [
            'import pandas as pd\npd.read_csv("https://h/a.csv")  #!',
            'def forward(self, x):\n    return self.reader.load("https://h/a")  #!',
            'import strange\ndef f():\n    return strange.fetch("s3://bucket/a")  #!',
        ],
    ),
    "a saver of tensors, tables and pictures": (
        "S07",
        [
            'import numpy as np\ndef forward(self, x):\n    np.savetxt("/tmp/a", x)  #!',
            'import pandas as pd\ndef forward(self, x):\n    pd.DataFrame(x).to_parquet("/tmp/a")  #!',
            'from PIL import Image\ndef forward(self, x):\n    Image.fromarray(x).save("/tmp/a.png")  #!',
        ],
    ),
    "a pickle by way of another library's loader": (
        "S06",
        [
            'import pandas as pd\ndef forward(self, x):\n    return pd.read_pickle("a")  #!',
            'import pstats\ndef forward(self, x):\n    return pstats.Stats("a")  #!',
            'import tracemalloc\ndef forward(self, x):\n    return tracemalloc.Snapshot.load("a")  #!',
        ],
    ),
    "an unpickling when something is received": (
        "S06",
        [
            "from multiprocessing import Pipe\ndef f(data):\n    a, b = Pipe()\n    a.send_bytes(data)\n"
            "    return b.recv()  #!",
            'from multiprocessing.connection import Client\nline = Client(("h", 9))\ndef f():\n'
            "    return line.recv()  #!",
            "import torch.multiprocessing as mp\nwork = mp.get_context().SimpleQueue()\ndef f():\n"
            "    return work.get()  #!",
            'from multiprocessing.connection import Listener\ndef f():\n    one = Listener(("h", 9)).accept()\n'
            "    return one.recv()  #!",
            "class A:\n    def forward(self, x):\n        return self.line.recv()  #!",
            "import torch.distributed as dist\ndef forward(self, x):\n    box = [None]\n"
            "    dist.broadcast_object_list(box)  #!\n    return box",
        ],
    ),
    "a pickle by way of a package that copies or extends a standard one": (
        "S06",
        [
            "from multiprocess.reduction import ForkingPickler as P\ndef f(data):\n    return P.loads(data)  #!",
            "import multiprocess\ndef f():\n    a, b = multiprocess.Pipe()\n    return b.recv()  #!",
            "from multiprocessing import reduction\ndef f(data):\n    return reduction.ForkingPickler.loads(data)  #!",
            "import joblib.externals.cloudpickle as c\ndef f(data):\n    return c.loads(data)  #!",
            "import dill._dill as d\ndef f(file):\n    return d.Unpickler(file).load()  #!",
        ],
    ),
    "a pickle that is loaded from an open file": (
        "S06",
        [
            'import pandas.io.pickle as tables\ndef f():\n    with open("a", "rb") as file:\n'
            "        return tables.read_pickle(file)  #!",
            "import pickle\ndef f(file):\n    reader = pickle.Unpickler(file)\n    return reader.load()  #!",
            'import numpy as np\nfile = open("a", "rb")\nx = np.load(file, allow_pickle=True)  #!',
        ],
    ),
    "a name that an entry of a table gives": (
        "S04",
        [
            "from torch.utils import _pytree as t\ndef f(config):\n"
            '    box = {"default_factory_module": "os", "default_factory_name": "system"}\n'
            "    return t._defaultdict_deserialize(box)  #!",
            'import strange\nBOX = {"module": "subprocess", "name": "call"}\nstrange.build(BOX)  #!',
            'from torch.utils import _pytree\ntext = \'[1, {"type": null, "context": ["os", "system"]}]\'\n'
            "def f():\n    return _pytree.treespec_loads(text)  #!",
            "import strange\ndef f():\n"
            '    return strange.build(parts=[{"inner": {"package": "os", "attr": "popen"}}])  #!',
        ],
    ),
    "a format string with a table of values": (
        "S08",
        [
            'import transformers\ndef f():\n    return "{m.utils.hub.os.environ[HF_TOKEN]}".format_map('
            '{"m": transformers})  #!',
            "import logging, string\ndef f():\n"
            '    return string.Formatter().vformat("{m.os.environ[A_KEY]}", (), {"m": logging})  #!',
            'import logging\nvalues = {"m": logging}\nx = str.format_map("{m.os.environ}", values)  #!',
            'import logging\nbox = [{"m": logging}]\nx = "{0[0][m].os.environ[A_TOKEN]}".format(box)  #!',
            'import logging\nx = "{a[m].sys.modules[os].environ}".format(a={"m": logging})  #!',
        ],
    ),
    "a module taken out of all that are loaded": (
        "S15",
        [
            "import sys\ndef f():\n    for name, held in sys.modules.items():  #!\n        pass",
            "import sys\ndef f():\n    m = next(m for m in sys.modules.values() if hasattr(m, 'list2cmdline'))\n"
            '    return m.call(["id"])  #!',
            'import sys\ndef use(thing):\n    thing.start("id")  #!\ndef f():\n'
            '    use([m for n, m in dict(sys.modules).items() if n[:2] == "po"][0])',
            "import sys\nfound = filter(lambda m: hasattr(m, 'spawnvp'), list(sys.modules.values()))\ndef f():\n"
            "    next(found).spawnvp(0, 'id', ['id'])  #!",
            "import sys\ntable = {**sys.modules}\ndef f(name):\n    held = sys.modules.get(name)\n"
            '    held.go("id")  #!',
            "import gc\ndef f():\n    for each in gc.get_objects():\n        if callable(each):\n"
            '            each("id")  #!',
            'import inspect\ndef f(x):\n    held = inspect.getmodule(x)\n    return held.run("id")  #!',
            'loader = __loader__\ndef f():\n    return loader.get_data("/a")  #!',
            'import inspect\ndef f(x):\n    return getattr(inspect.getmodule(x), "go")("id")  #!',
        ],
    ),
    "code that is made into a function": (
        "S15",
        [
            'def f(text):\n    code = compile(text, "a", "exec")\n    return type(lambda: 0)(code, {})  #!',
            'import types\ndef f(text):\n    code = compile(text, "a", "exec")\n'
            "    return types.FunctionType(code, {})  #!",
            'def f(self, text):\n    code = compile(text, "a", "exec")\n    return type(self.forward)(code, {})  #!',
            'def f():\n    pass\ndef g(text):\n    code = compile(text, "a", "exec")\n'
            "    return f.__class__(code, {})  #!",
            "def f():\n    pass\ncode = f.__code__\nother = code.replace(co_code=b'')  #!",
        ],
    ),
    "a call of a function that was made out of code": (
        "S01",
        [
            'def f(text):\n    code = compile(text, "a", "exec")\n    made = type(lambda: 0)(code, {})\n'
            "    made()  #!",
            "import types\ndef f(code):\n    made = types.FunctionType(code, {})\n    return made()  #!",
            "import types\nclass A:\n    def __init__(self, code):\n        self.made = types.LambdaType(code, {})\n"
            "    def forward(self, x):\n        return self.made(x)  #!",
        ],
    ),
    "a repository that another library's loader fetches": (
        "S03",
        [
            'from peft import PeftConfig\ndef f():\n    return PeftConfig.from_pretrained("some/adapter")  #!',
            'from peft import PeftModel\ndef f(m):\n    return PeftModel.from_pretrained(m, "some/adapter")  #!',
            'from sentence_transformers import SentenceTransformer\nx = SentenceTransformer("some/model")  #!',
            'import timm\nx = timm.create_model("hf-hub:some/model", pretrained=True)  #!',
            'from diffusers import UNet2DModel\nx = UNet2DModel.from_pretrained("some/model", subfolder="unet")  #!',
            "from transformers import AutoTokenizer\ndef forward(self, x):\n"
            '    return AutoTokenizer.from_pretrained("gpt2")  #!',
            'def forward(self, x):\n    return self.part.from_pretrained("some/model")  #!',
            'import datasets\nx = datasets.load_dataset("some/data")  #!',
        ],
    ),
    "a patch by a function that stores": (
        "S11",
        [
            "import operator, torch\noperator.setitem(vars(torch.nn.functional), 'relu', print)  #!",
            "import torch\nnames = vars(torch.nn.functional)\nnames |= {'relu': print}  #!",
            "import operator as o, json\ndef f():\n    o.ior(json.__dict__, {'loads': print})  #!",
            "import json\ndef f():\n    dict.update(vars(json), loads=print)  #!",
            "import json\ndef f():\n    vars(json).setdefault('loads', print)  #!",
        ],
    ),
    "a patch of one of the classes that a filter leaves": (
        "S11",
        [
            "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
            '        [k for k in type(self).mro() if k.__module__[:5] == "torch"][0].half = print  #!',
            "import inspect\nfrom torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
            '        setattr(inspect.getmro(type(self))[1], "half", print)  #!',
            "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
            '        owner = next(k for k in type(self).__mro__ if "half" in vars(k))\n        owner.half = print  #!',
            "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
            '        type.__setattr__(A.__mro__[1], "half", print)  #!',
            "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
            '        A.__class__.__setattr__(A.mro()[1], "half", print)  #!',
            "from torch import nn\nclass A(nn.Module):\n    def __init__(self):\n"
            "        for k in filter(lambda k: k is not A, type(self).mro()):\n            k.half = print  #!",
            'def f(x):\n    type(type(x)).__setattr__(type(x).mro()[1], "half", print)  #!',
        ],
    ),
    "a function kept in a table and called on another line": (
        "S02",
        [
            'import os\nTABLE = {"go": os.system}\ndef f():\n    TABLE["go"]("id")  #!',
            'import subprocess\nTABLE = [len, subprocess.call]\ndef f():\n    TABLE[1](["id"])  #!',
            'import os\nTABLE = dict(go=os.system)\ndef f():\n    TABLE.get("go")("id")  #!',
            'import os\nTABLE = {}\nTABLE["go"] = os.system\ndef f(name):\n    TABLE[name]("id")  #!',
            'import os\nTABLE = []\nTABLE.append(os.popen)\ndef f():\n    return TABLE[-1]("id")  #!',
            "import os\nclass A:\n    def __init__(self):\n        self.go = {}\n        self.go['a'] = os.system\n"
            '    def forward(self, x):\n        self.go["a"]("id")  #!',
            "import os\nclass A:\n    def __init__(self):\n        self.go = os.system\n"
            '    def forward(self, x):\n        self.go("id")  #!',
            'import os\ndef f():\n    for go in {"a": os.system}.values():\n        go("id")  #!',
        ],
    ),
    "the token that an object of the Hub's library holds": (
        "S08",
        [
            "from huggingface_hub import HfFileSystem\nfiles = HfFileSystem()\n"
            "def f():\n    return files._api._build_hf_headers(token=None)  #!",
            "from huggingface_hub import HfApi\napi = HfApi()\ndef f():\n    return api.token  #!",
            'def f(api):\n    return api._build_hf_headers()["authorization"]  #!',
            "import huggingface_hub\nx = huggingface_hub.InferenceClient()\ndef f():\n    return x.headers  #!",
        ],
    ),
    "an address that an object of a library keeps": (
        "S03",
        [
            "from urllib.robotparser import RobotFileParser as R\ndef f(self):\n    one = R()\n"
            '    one.set_url("http://h/robots.txt")  #!\n    one.read()',
            'import xml.sax\ndef f(place):\n    xml.sax.make_parser().parse("http://h/" + place)  #!',
            'import xml.sax.saxutils as u\ndef f(place):\n    u.prepare_input_source(f"http://{place}/a")  #!',
            'import numpy as np\ndef f():\n    return np.lib.npyio.DataSource().open("http://h/a")  #!',
        ],
    ),
    "a class whose base runs what its method gives": (
        "S01",
        [
            "import torch.fx.graph as g\nclass C(g.CodeGen):  #!\n    def add_global(self, *a):\n        pass",
            "def f(self, graph):\n    graph.on_generate_code(lambda _: self.change)  #!",
            "from torch import fx\ndef f(self, text):\n    graph = fx.symbolic_trace(self).graph\n"
            "    graph.set_codegen(text)  #!",
            "from torch.distributed.nn.jit.instantiator import _StringLoader as S\nclass L(S):  #!\n"
            "    def get_source(self, name):\n        return self.text",
        ],
    ),
    "a class whose base starts what its method gives": (
        "S02",
        [
            "import PIL.ImageShow as s\nclass V(s.UnixViewer):\n    def get_command(self, file):  #!\n"
            "        return self.config.v\ns.register(V)",
            "from numpy.distutils import system_info as s\nclass I(s.freetype2_info):\n"
            "    def get_config_exe(self):  #!\n        return self.config.v",
            "from PIL import Image\ndef forward(self, x):\n    Image.fromarray(x).show()  #!",
        ],
    ),
    "a file by way of a class that derives from a library's": (
        "S07",
        [
            'import io\nclass A(io.FileIO):\n    pass\ndef f(place):\n    A(place, "w")  #!',
            "import gzip\nclass A(gzip.GzipFile):\n    def __init__(self, place):\n"
            '        super(A, self).__init__(place, "wb")  #!',
            "import zipfile\nclass A(zipfile.ZipFile):\n    def __init__(self, place):\n"
            '        zipfile.ZipFile.__init__(self, place, mode="a")  #!',
            "import logging\nclass Base(logging.FileHandler):\n    pass\nclass A(Base):\n    pass\n"
            "def f(config):\n    return A(config.log)  #!",
        ],
    ),
    "a file that a library writes in native code": (
        "S07",
        [
            "import torchvision\ndef forward(self, x):\n    torchvision.io.write_png(x, self.place)  #!",
            'from torchvision.utils import save_image\ndef forward(self, x):\n    save_image(x, "/tmp/a.png")  #!',
            "import scipy.io as s\ndef forward(self, x):\n    s.savemat(self.place, {'a': x})  #!",
            "import torch\ndef forward(self, x):\n    torch.UntypedStorage.from_file(self.place, True, 8)  #!",
            "import torch\ndef forward(self, x, shared):\n    return torch.from_file(self.place, shared, size=8)  #!",
            "from torch import FloatStorage as F\ndef f(self):\n    F.from_file(self.place, shared=True, size=8)  #!",
        ],
    ),
    "a file by way of a handler or of a file system": (
        "S07",
        [
            "from logging.handlers import RotatingFileHandler as R\ndef f(self):\n    R(self.place)  #!",
            'import logging.handlers as h\nh.TimedRotatingFileHandler("/tmp/a.log")  #!',
            'import fsspec\ndef f(self):\n    fsspec.filesystem("file").rm(self.place)  #!',
            'import fsspec\ndef f(self):\n    files = fsspec.filesystem("file")\n'
            '    with files.open(self.place, "w") as file:  #!\n        file.write("a")',
            "from fsspec.implementations.local import LocalFileSystem\ndef f(self):\n"
            "    LocalFileSystem().mv(self.a, self.b)  #!",
            'import fsspec\ndef f(self):\n    with fsspec.open(self.place, "wb") as file:  #!\n        pass',
        ],
    ),
    "a method that acts, handed on with its object": (
        "S07",
        [
            "from pathlib import Path\ndef f(run):\n    run(Path('a').unlink)  #!",
            "import pathlib, threading\ndef f(place):\n    threading.Timer(1, pathlib.Path(place).touch).start()  #!",
            "def f(self, run):\n    run(self.place.rmdir)  #!",
            "from pathlib import Path\nclass A:\n    def __init__(self):\n"
            "        self.later = Path('a').write_text  #!",
        ],
    ),
    "a function that runs at the end of the process": (
        "S11",
        [
            "import multiprocessing.util as u\ndef f(g):\n    u.Finalize(None, g, exitpriority=1)  #!",
            "import os\ndef f(g):\n    os.register_at_fork(after_in_child=g)  #!",
            "from multiprocess.util import register_after_fork as r\ndef f(g):\n    r(g, print)  #!",
        ],
    ),
    "a program by way of multiprocessing": (
        "S02",
        [
            'from multiprocessing.util import spawnv_passfds as s\ns(b"/bin/id", ["id"], [])  #!',
            'import multiprocess\nmultiprocess.util.spawnv_passfds(b"/bin/id", ["id"], [])  #!',
            'import multiprocessing as m\ndef f(self):\n    m.util.spawnv_passfds(self.a, ["id"], [])  #!',
        ],
    ),
    "a pickle of bytes in memory by way of torch": (
        "S06",
        [
            "import torch\ndef f(data):\n    return torch.storage._load_from_bytes(data)  #!",
            "from torch.storage import _load_from_bytes as load\nx = load(b'a')  #!",
            "from torch._export.serde.serialize import deserialize_torch_artifact as d\ndef f(x):\n    d(x)  #!",
        ],
    ),
    "a name that settings give": (
        "S04",
        [
            "import logging.config as c\ndef f(self):\n    c.dictConfig(self.config.log)  #!",
            "from logging.config import BaseConfigurator as B\ndef f(self, name):\n    return B({}).resolve(name)  #!",
            "import pydantic\nclass A(pydantic.BaseModel):\n    run: pydantic.ImportString  #!",
            "from pydantic.v1.utils import import_string\ndef f(name):\n    return import_string(name)  #!",
        ],
    ),
    "native code that a compiler of a library makes": (
        "S05",
        [
            "import triton.runtime.build as b\ndef f(text):\n    b.compile_so_from_src(text, 'a')  #!",
            "from triton.runtime.build import compile_module_from_file as c\ndef f(p):\n    return c(p, 'a')  #!",
            "from sympy.utilities.autowrap import autowrap\ndef f(e):\n    return autowrap(e)  #!",
        ],
    ),
    "weights that another library downloads": (
        "S03",
        [
            'import timm\nx = timm.create_model("resnet18", pretrained=True)  #!',
            'from timm.models import create_model\ndef f(config):\n    create_model("a", config.pretrained)  #!',
            "import timm\nclass A:\n    def __init__(self, config):\n"
            '        timm.create_model("resnet18", pretrained=config.pretrained)  #!',
        ],
    ),
    "a file that an object keeps or that another program is made into": (
        "S07",
        [
            "from http.cookiejar import MozillaCookieJar as J\ndef f(self):\n    J().save(self.place)  #!",
            "import mailbox\ndef f(self):\n    mailbox.Maildir(self.place)  #!",
            "import dbm.gnu as d\ndef f(self):\n    d.open(self.place, 'c')  #!",
            "import torch.distributed as dist\ndef f(self):\n    dist.FileStore(self.place)  #!",
            "import compileall\ndef f(self):\n    compileall.compile_dir(self.place)  #!",
            "import sqlite3\ndef f(base):\n"
            '    sqlite3.connect("a").cursor().execute("VACUUM INTO ?", ("/tmp/b",))  #!',
        ],
    ),
    "a file that is rewritten while it is read": (
        "S07",
        [
            "import fileinput as i\ndef f(self):\n    i.input(self.place, inplace=True)  #!",
            "from fileinput import FileInput as F\ndef f(self):\n    F(files=['/tmp/a'], inplace=1)  #!",
            "import fileinput as i\ndef f(self, a):\n    with i.input(self.place, a) as b:  #!\n        print(*b)",
        ],
    ),
    "a file where a variable of the environment says": (
        "S08",
        [
            "import os, numpy\ndef f():\n    place = os.path.join(os.environ.get('SOME', ''), 'a')\n"
            "    return numpy.fromfile(place)  #!",
            "import os\nplace = os.environ['SOME']\ndef f():\n    return open(place + '/a').read()  #!",
            "import os\nplace = os.getenv('SOME') or '.'\ndef f():\n    return open(f'{place}/a').read()  #!",
        ],
    ),
    "a module that something of it leads to": (
        "S11",
        [
            "import sys\nfrom transformers import PreTrainedModel as P\ndef f(x, owner=P):\n"
            "    sys.modules[owner.__module__].__class__ = x  #!",
            "import inspect, torch\ndef f(x):\n    inspect.getmodule(torch.nn.Linear).Linear = x  #!",
            "import importlib as i, transformers as t\ni.import_module(t.Trainer.__module__).Trainer = 1  #!",
            "import sys\nfrom torch import nn\ndef f(x):\n"
            "    setattr(sys.modules.get(nn.Linear.__module__), 'Linear', x)  #!",
        ],
    ),
}
