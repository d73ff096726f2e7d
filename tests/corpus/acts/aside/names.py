from corpus.acts.folders import act

P, T, M, S = "runs a program", "runs text", "imports by name", "secret"
FAMILIES = {
    "held_by_modules": {
        "d": act(P, "from torch.utils import data\n", forward='@@data.dataloader.os.system("touch mark")')
    },
    "re_exported": {
        "d": act(P, "from pandas.io.common import os as common\n\nrun = common.system\n", config='@@run("touch mark")')
    },
    "private_aliases": {
        "d": act(
            P,
            "from contextlib import suppress\nimport threading, webbrowser as pages\n",
            init='with suppress(OSError):\n@@    pages.subprocess.call(["touch", "mark"])',
        )
    },
    "c_modules": {
        "d": act("pickle", "import _pickle as fast\n\n@@fast.loads(b\"cposix\\nsystem\\n(S'touch mark'\\ntR.\")\n")
    },
    "self_of_builtins": {
        "d": act(
            P,
            "import time\n",
            forward='owners = [f.__self__ for f in (sum, time.sleep)]\n@@vars(owners[0])["__import__"]("posix").system("touch mark")',
        )
    },
    "format_walks": {
        "d": act(
            S,
            "import transformers\n",
            init='pattern = "{m.utils.hub.os.environ[" + "HF_TOKEN" + "]}"\n@@self.note = pattern.format_map({"m": transformers})',
        )
    },
    "globals_walks": {
        "d": act(
            P,
            "",
            body="size = property(lambda self: 2)",
            init='@@vars(type(self).from_pretrained.__func__.__globals__["os"])["system"]("touch mark")',
        )
    },
    "frames_and_gc": {
        "d": act(
            P,
            "",
            forward='try:\n    raise KeyError\nexcept KeyError as error:\n    outer = error.__traceback__.tb_frame\n@@    outer.f_builtins["__import__"]("subprocess").call(["touch", "mark"])',
        )
    },
    "unknown_objects": {
        "d": act(
            P,
            "import sys\n\n\ndef act_on(thing, *words):\n@@    return thing.call(words)\n",
            init='act_on(next(m for n, m in sys.modules.items() if n.endswith("process") and hasattr(m, "list2cmdline")), "touch", "mark")',
        )
    },
    "getattr_chains": {
        "d": act(
            P,
            "import functools\nimport sys\n",
            forward='@@functools.reduce(getattr, ["modules", "get"], sys)("os").__dict__["".join(["s", "y", "s", "t", "e", "m"])]("touch mark")',
        )
    },
    "built_texts": {
        "d": act(
            T,
            "import zlib\n\nDATA = bytes.fromhex('789ccb2f48cdd35051cf4d2ccad6d05151502f57d7d40400442c0575')\n".replace(
                "789ccb2f48cdd35051cf4d2ccad6d05151502f57d7d40400442c0575",
                __import__("zlib").compress(b"open('mark', 'w').close()").hex(),
            ),
            init='code = compile(zlib.decompress(DATA), "sizes", "exec")\n@@type(lambda: 0)(code, {})()',
        )
    },
    "star_imports": {"d": act(P, "from torch.utils.collect_env import *\n", forward='@@run(["touch", "mark"])')},
}
