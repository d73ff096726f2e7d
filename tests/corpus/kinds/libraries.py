"""Programs that act by what a library does by itself or keeps, and by values that come a long way; see names.py."""

IN = "class M:\n    def forward(self, x):\n        "
KINDS: dict[str, tuple[str, list[str]]] = {
    "arguments that were bound before": (
        "S07",
        [
            'from functools import partial\nw = partial(open, mode="w")\ndef forward(self, x):\n    w("/tmp/a")  #!',
            'import functools, os\nmove = functools.partial(os.replace, "/tmp/a")\n' + IN + 'move("/tmp/b")  #!',
            "from functools import partial\ndef put(mode, where):\n    open(where, mode)  #!\n"
            'note = partial(put, "a")\n' + IN + 'note("/tmp/a")',
        ],
    ),
    "a place that goes with its path": (
        "S08",
        [
            "from pathlib import Path\nHOME = Path.home()\nPLACE = HOME / 'notes'\n" + IN + "PLACE.read_text()  #!",
            'from pathlib import Path\nPLACE = Path("/etc") / "hosts"\n' + IN + "f = PLACE.open()  #!",
            'import pathlib as p\nPLACE = p.Path("~/a").expanduser().joinpath("b")\n' + IN + "open(str(PLACE))  #!",
            'from pathlib import Path\nROOT = Path("/home", "u")\n' + IN + 'return list(ROOT.rglob("*"))  #!',
        ],
    ),
    "a place whose parts are joined": (
        "S08",
        [
            'import os\nopen(os.sep.join(["", "proc", str(os.getpid()), "environ"]))  #!',
            'def forward(self, x):\n    return "/".join(["~", ".ssh", x])  #!',
            'import os\nfrom huggingface_hub.constants import HF_HOME\nopen(os.path.join(HF_HOME, "token"))  #!',
            'from huggingface_hub import constants as c\nopen(f"{c.HF_HOME}/stored_tokens")  #!',
        ],
    ),
    "what talks to the Hub by itself": (
        "S03",
        [
            "from huggingface_hub import list_models\n" + IN + "list_models()  #!",
            'import huggingface_hub as h\nh.create_discussion("a/b", title="x")  #!',
            'from huggingface_hub import CommitScheduler\nCommitScheduler(repo_id="a/b", folder_path="x")  #!',
            'from huggingface_hub import ModelCard\nModelCard("x").push_to_hub("a/b")  #!',
        ],
    ),
    "what starts a program by itself": (
        "S02",
        [
            "from transformers.pipelines.audio_utils import ffmpeg_microphone as f\n" + IN + "f(16000, 1.0)  #!",
            "from huggingface_hub.utils._git_credential import list_credential_helpers as f\nf()  #!",
            "import accelerate.commands.launch as l\ndef forward(self, x):\n    l.simple_launcher(x)  #!",
        ],
    ),
    "code that a library keeps": (
        "S11",
        [
            "import yaml\nyaml.SafeLoader.add_constructor('!x', lambda loader, node: None)  #!",
            "from torch.optim.optimizer import register_optimizer_step_pre_hook as r\ndef f(*a): ...\nr(f)  #!",
            "from timm.models import register_model\n@register_model  #!\ndef resnet18(**options): ...",
            "import sys\n" + IN + "sys.set_asyncgen_hooks(firstiter=self.first)  #!",
        ],
    ),
    "a setting by the name of its setter": (
        "S11",
        [
            'import torch\ntorch.hub.set_dir("x")  #!',
            "import asyncio\n" + IN + "asyncio.set_event_loop_policy(x)  #!",
            "import numpy as np\nnp.set_string_function(print)  #!",
        ],
    ),
    "a context that is entered and not left": (
        "S11",
        [
            'import contextlib\ncontextlib.chdir("x").__enter__()  #!',
            "import torch\nclass M:\n    def __init__(self, c):\n"
            "        self.h = torch.autograd.graph.saved_tensors_hooks(c.f, c.g)\n        self.h.__enter__()  #!",
            "import decimal\n" + IN + "c = decimal.localcontext()\n        c.__enter__()  #!",
        ],
    ),
    "an implementation that is a repository": (
        "S05",
        [
            'class M:\n    def __init__(self, config):\n        config._attn_implementation = "a/b"  #!',
            'class M:\n    def __init__(self, config):\n        self.set_attn_implementation("a/b@main")  #!',
            "import transformers as t\n" + IN + 't.AutoModel.from_config(x, attn_implementation="a/b:c")  #!',
        ],
    ),
    "a model that is saved where nobody asked": (
        "S07",
        [
            IN + "self.save_pretrained(self.config.where)  #!",
            "class M:\n    def generate(self, **k):\n        self.generation_config.save_pretrained(self.place)  #!",
            "class M(P):\n    def save_pretrained(self, d):\n        super().save_pretrained(d)\n"
            '        super().save_pretrained("/tmp/a")  #!',
            "import matplotlib.pyplot as plt\n" + IN + "plt.figure().savefig(self.config.where)  #!",
        ],
    ),
    "a place outside for a library that no table knows": (
        "S08",
        [
            'from filelock import SoftFileLock\nSoftFileLock("/tmp/a").acquire()  #!',
            "import zipfile\n" + IN + 'zipfile.Path("/home/u/a.zip")  #!',
            'import mimetypes\nmimetypes.init(["/home/u/.mime.types"])  #!',
        ],
    ),
    "a link to a place outside": (
        "S08",
        [
            'import os\nos.symlink("/etc/ssh", "here")  #!',
            "import os\n" + IN + 'os.link(src="/home/u/a", dst=x)  #!',
            "import os\nclass M:\n    def save_pretrained(self, d):\n"
            '        os.symlink("/home", os.path.join(d, "a"))  #!',
        ],
    ),
    "a table of a library that is changed in place": (
        "S11",
        [
            "from transformers.activations import ACT2FN\nACT2FN |= {'gelu': None}  #!",
            "from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS as r\nr.update({'linear': None})  #!",
            "from torch._decomp import decomposition_table\ndecomposition_table.clear()  #!",
        ],
    ),
    "types that are texts": (
        "S07",
        [
            "import pydantic\npydantic.create_model('A', a=(\"open('/tmp/m', 'w')\", ...))  #!",
            "from pydantic import TypeAdapter\nTypeAdapter(\"list[open('/tmp/m', 'w')]\")  #!",
            "from dataclasses import make_dataclass\nmake_dataclass('A', [('a', \"open('/tmp/m', 'w')\")])  #!",
        ],
    ),
    "a name with a rule, where it is defined": (
        "S01",
        [
            "from sympy.core.sympify import sympify\n" + IN + "sympify(self.config.e)  #!",
            "import sympy.utilities.lambdify as l\n" + IN + "l.lambdify('x', self.config.e)  #!",
            "from numexpr.necompiler import evaluate\n" + IN + "evaluate(x)  #!",
        ],
    ),
    "a method of the only class that has it": (
        "S07",
        [
            "import tarfile\n" + IN + 'tarfile.open(x).extract("a", "/tmp")  #!',
            "import tarfile as t\n" + IN + 'with t.open(x) as f:\n            f.extract("a", path="/tmp")  #!',
            'from tarfile import open as o\ndef unpack(a):\n    f = o(a)\n    f.extract("b", "/opt/x")  #!',
        ],
    ),
    "further places of secrets": (
        "S08",
        [
            "import os\n" + IN + 'os.path.join(self.home, ".kaggle", "kaggle.json")  #!',
            'def forward(self, x):\n    return open("./.env")  #!',
            "from pathlib import Path\n" + IN + 'p = Path(x) / ".config" / "gh" / "hosts.yml"  #!',
        ],
    ),
    "the network through loops, managers and clients": (
        "S03",
        [
            "import asyncio\n" + IN + 'self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("h", 9))  #!',
            'from multiprocessing.managers import BaseManager\nBaseManager(("127.0.0.1", 9), b"k").connect()  #!',
            "from huggingface_hub import hffs\n" + IN + 'hffs.open("a/b/c", "w")  #!',
            "import httpx2\nhttpx2.Client()  #!",
        ],
    ),
    "a module in the globals of a library's function": (
        "S07",
        [
            "import torch\nG = torch.save.__globals__\n" + IN + 'G["os"].remove("/tmp/a")  #!',
            'import json\nhold = json.load.__globals__["codecs"]\n' + IN + 'hold.open("/tmp/a", "w")  #!',
            "from transformers import PreTrainedModel as P\nclass M(P):\n    def forward(self, x):\n"
            '        o = P.save_pretrained.__globals__["os"]\n        o.rename("/tmp/a", "/tmp/b")  #!',
        ],
    ),
}
