"""Programs that act by way of another name, a library's own runner, or a part of Python: three shapes of each kind.

A snippet is text and is never run. Each kind has the code of its findings; the line that must be reported ends with
``#!``.
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
}
