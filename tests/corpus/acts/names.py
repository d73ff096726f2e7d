"""The same thing under another name: modules held by modules, underscores, walks through attributes, built names."""

from corpus.acts.folders import act

P, T, M, S = "runs a program", "runs text", "imports by name", "secret"
FAMILIES = {
    "held_by_modules": {
        "a": act(P, '@@torch.os.system("touch mark")\n'),
        "b": act(P, "import numpy.testing as checks\n", init='@@checks._private.utils.os.system("touch mark")'),
        "c": act(P, "import transformers.utils.hub as hub\n", forward='@@hub.os.popen("touch mark").close()'),
    },
    "re_exported": {
        "a": act(P, 'from torch.utils.cpp_extension import subprocess\n\n@@subprocess.check_call(["touch", "mark"])\n'),
        "b": act(P, 'from multiprocessing.util import os as places\n\n@@places.system("touch mark")\n'),
        "c": act(P, "from huggingface_hub.utils._subprocess import subprocess as tasks\n", forward='@@tasks.Popen(["touch", "mark"]).wait()'),
    },
    "private_aliases": {
        "a": act(P, 'from random import _os as seeds\n\n@@seeds.system("touch mark")\n'),
        "b": act(P, "import tempfile\n", init='@@tempfile._os.system("touch mark")'),
        "c": act(P, 'import collections\n\nname = "os"\n@@collections._sys.modules[name].system("touch mark")\n'),
    },
    "c_modules": {
        "a": act(P, 'import posix\n\n@@posix.system("touch mark")\n'),
        "b": act("writes a file", 'import _io\n\n@@_io.open("mark", "w").close()\n'),
        "c": act("network", "import _socket\n", init='one = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)\n@@one.connect_ex(("127.0.0.1", 9))'),
    },
    "self_of_builtins": {
        "a": act(T, "@@print.__self__.exec(\"open('mark', 'w').close()\")\n"),
        "b": act(P, "import os\n", init='home = os.getcwd.__self__\n@@home.system("touch mark")'),
        "c": act(M, "box = len\n", forward='@@getattr(box.__self__, "__import__")("os").system("touch mark")'),
    },
    "format_walks": {
        "a": act(S, "import os\n", init='@@self.note = "{0.environ[HF_TOKEN]}".format(os)'),
        "b": act(S, "import logging\n", config='@@self.label = "{a.os.environ}".format(a=logging)'),
        "c": act(P, "import string\n\nimport tempfile\n", forward='@@string.Formatter().get_field("0._os.system", (tempfile,), {})[0]("touch mark")'),
    },
    "globals_walks": {
        "a": act(P, "import shutil\n", init='@@shutil.rmtree.__globals__["os"].system("touch mark")'),
        "b": act(P, "", forward='kinds = object.__subclasses__()\nwrap = [k for k in kinds if k.__name__ == "_wrap_close"]\n@@wrap[0].__init__.__globals__["system"]("touch mark")'),
        "c": act(T, 'import sys\n\n@@sys._getframe().f_builtins["exec"]("open(\'mark\', \'w\').close()")\n'),
    },
    "frames_and_gc": {
        "a": act(P, 'import gc\n\nfor each in gc.get_objects():\n    if isinstance(each, dict) and each.get("__name__") == "os" and "system" in each:\n@@        each["system"]("touch mark")\n        break\n', loads=["gc"], at=[("modeling_tiny.py", "gc.get_objects")]),
        "b": act(P, "import inspect\n", init='@@inspect.getmodule(nn.Module.state_dict).__builtins__["__import__"]("os").system("touch mark")'),
        "c": act(P, "import sys\n", forward='frame = sys._getframe()\nwhile frame:\n    if "os" in frame.f_globals:\n@@        frame.f_globals["os"].system("touch mark")\n        break\n    frame = frame.f_back'),
    },
    "unknown_objects": {
        "a": act(P, 'import sys\n\nfor held in list(sys.modules.values()):\n    if hasattr(held, "posix_spawn"):\n@@        held.system("touch mark")\n        break\n'),
        "b": act(P, 'import sys\n\n\nclass Tools:\n    def __init__(self, name):\n        self.inner = sys.modules[name]\n\n', init='tools = Tools("subprocess")\n@@tools.inner.check_output(["touch", "mark"])'),
        "c": act(P, "def pick(table, name):\n    return table[name]\n", forward='import sys\n\nhelper = pick(sys.modules, "o" + "s")\n@@helper.popen("touch mark").read()'),
    },
    "getattr_chains": {
        "a": act(P, 'import os\n\n@@getattr(os, "sys" + "tem")("touch mark")\n'),
        "b": act(P, "import os\n", init='name = "".join(reversed("metsys"))\n@@getattr(os, name)("touch mark")'),
        "c": act(P, 'import operator\n\nimport os\n\n@@operator.attrgetter("system")(os)("touch mark")\n'),
    },
    "built_texts": {
        "a": act(T, 'import base64\n\n@@exec(base64.b64decode("b3BlbignbWFyaycsICd3JykuY2xvc2UoKQ=="))\n'),
        "b": act(T, "TABLE = [111, 112, 101, 110, 40, 39, 109, 97, 114, 107, 39, 44, 39, 119, 39, 41]\n", init='@@eval("".join(map(chr, TABLE)))'),
        "c": act(T, 'import codecs\n\n@@exec(codecs.decode("bcra(\'znex\', \'j\').pybfr()", "rot13"))\n'),
    },
    "star_imports": {
        "a": act(P, 'from os import *\n\n@@system("touch mark")\n'),
        "b": act(P, "from subprocess import *\n", init='@@run(["touch", "mark"])'),
        "c": act(P, "from posix import *\n", forward='@@posix_spawn("/usr/bin/touch", ["touch", "mark"], dict(environ))\n@@wait()'),
    },
}  # fmt: skip
