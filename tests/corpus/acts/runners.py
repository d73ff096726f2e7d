"""Programs and text that are run: by the operating system, by the standard library, by helpers of other libraries."""

from corpus.acts.folders import act

P, T = "runs a program", "runs text"
LEAVE = "open('mark', 'w').close()"
SCRIPT = f"WIDTH = 2\n{LEAVE}\n"
BESIDE = "import os\n\n"
FAMILIES = {
    "system_calls": {
        "a": act(P, 'import os\n\n@@os.spawnlp(os.P_WAIT, "touch", "touch", "mark")\n'),
        "b": act(P, "import pty\n", init='@@pty.spawn(["touch", "mark"])'),
        "c": act(P, "import os\n", forward='child = os.fork()\nif child == 0:\n@@    os.execlp("touch", "touch", "mark")\nos.waitpid(child, 0)'),
    },
    "program_helpers_std": {
        "a": act(P, 'import webbrowser\n\n@@webbrowser.GenericBrowser(["touch", "mark"]).open("x")\n'),
        "b": act(P, "import uuid\n", init='@@uuid._get_command_stdout("touch", "mark")'),
        "c": act(P, "import pipes\n", forward='steps = pipes.Template()\n@@steps.append("touch mark; cat", "--")\n@@steps.open("unused", "w").close()'),
    },
    "program_helpers_std_more": {
        "a": act(P, 'import imaplib\n\ntry:\n@@    imaplib.IMAP4_stream("touch mark")\nexcept (imaplib.IMAP4.abort, OSError):\n    pass\n'),
        "b": act(P, "import pydoc\n", init='@@pydoc.tempfilepager("words", "touch mark; true")'),
        "c": act(P, "from multiprocessing import util\n", forward='import os\n\n@@child = util.spawnv_passfds(b"/usr/bin/touch", [b"touch", b"mark"], ())\nos.waitpid(child, 0)'),
    },
    "program_helpers_libraries": {
        "a": act(P, 'from torch.utils import collect_env\n\n@@collect_env.run("touch mark")\n'),
        "b": act(P, "from transformers import testing_utils\n", init='@@testing_utils.run_command(["touch", "mark"])'),
        "c": act(P, "import huggingface_hub.utils._subprocess as tasks\n", forward='@@tasks.run_subprocess("touch mark")'),
    },
    "program_helpers_libraries_more": {
        "a": act(P, 'from torch.distributed.elastic.multiprocessing import subprocess_handler as tasks\n\n@@tasks.SubprocessHandler("touch", ("mark",), {}, None, None, 0, None).proc.wait()\n'),
        "b": act(P, "from accelerate.test_utils.testing import run_command\n", init='@@run_command(["touch", "mark"])'),
        "c": act(P, "from setuptools._distutils.spawn import spawn\n", forward='@@spawn(["touch", "mark"])'),
    },
    "async_and_pools": {
        "a": act(P, 'import asyncio\n\n\nasync def main():\n@@    task = await asyncio.create_subprocess_shell("touch mark")\n    await task.wait()\n\n\nasyncio.run(main())\n'),
        "b": act(P, "import multiprocessing as many\nimport os\n", init='@@task = many.get_context("fork").Process(target=os.system, args=("touch mark",))\ntask.start()\ntask.join()'),
        "c": act(P, "from concurrent.futures import ThreadPoolExecutor\nimport subprocess\n", forward='with ThreadPoolExecutor(1) as pool:\n@@    pool.submit(subprocess.run, ["touch", "mark"]).result()'),
    },
    "timers_and_profilers": {
        "a": act(T, f'import timeit\n\n@@timeit.timeit("{LEAVE}", number=1)\n'),
        "b": act(T, "import cProfile\n", init=f'@@cProfile.Profile().run("{LEAVE}")'),
        "c": act(T, "import trace\n", forward=f'@@trace.Trace(count=0, trace=0).run("{LEAVE}")'),
    },
    "debuggers_and_consoles": {
        "a": act(T, f'import code\n\n@@code.InteractiveInterpreter().runsource("{LEAVE}")\n'),
        "b": act(T, "import doctest\n", init=f'text = ">>> {LEAVE}\\n"\nparsed = doctest.DocTestParser().get_doctest(text, {{}}, "n", "f", 0)\n@@doctest.DocTestRunner(verbose=False).run(parsed)'),
        "c": act(T, "import rlcompleter\n", forward='@@rlcompleter.Completer({}).complete("open(\'mark\', \'w\').cl", 0)\n@@rlcompleter.Completer({"f": type("F", (), {"x": property(lambda s: open("mark", "w"))})()}).complete("f.x.", 0)'),
    },
    "evaluated_annotations": {
        "a": act(T, f'import typing\n\n\nclass Sizes:\n    width: "{LEAVE} or int"\n\n\n@@typing.get_type_hints(Sizes)\n'),
        "b": act(T, "import inspect\n", init=f'def scale(x: "{LEAVE}"):\n    return x\n\n@@inspect.signature(scale, eval_str=True)'),
        "c": act(T, "import typing\n", forward=f'@@typing.ForwardRef("{LEAVE} or int")._evaluate(globals(), {{}}, recursive_guard=frozenset())'),
    },
    "files_that_run": {
        "a": act(T, "import runpy\n", files={"sizes.txt": SCRIPT}, init='@@runpy.run_path(config.name_or_path + "/sizes.txt")'),
        "b": act(T, "import os\nimport site\n", files={"beside/late.pth": f"import os; {LEAVE}\n"}, init='@@site.addsitedir(os.path.join(config.name_or_path, "beside"))'),
        "c": act(T, "from importlib.machinery import SourceFileLoader\n", files={"notes.md": SCRIPT}, forward='@@SourceFileLoader("notes", self.config.name_or_path + "/notes.md").load_module()'),
    },
    "files_that_run_more": {
        "a": act(T, "from pathlib import Path\n", files={"table.dat": SCRIPT}, init='@@exec((Path(config.name_or_path) / "table.dat").read_text())'),
        "b": act(T, "import importlib.util\n", files={"weights.bin": SCRIPT}, init='from importlib.machinery import SourceFileLoader\n\nplace = config.name_or_path + "/weights.bin"\nspec = importlib.util.spec_from_loader("w", SourceFileLoader("w", place))\n@@spec.loader.exec_module(importlib.util.module_from_spec(spec))'),
        "c": act(T, "import sys\n", files={"extra/handy_corpus.py": SCRIPT}, forward='sys.path.insert(0, self.config.name_or_path + "/extra")\n@@__import__("handy_corpus")'),
    },
    "pandas_expressions": {
        "a": act(P, 'import os\n\nimport pandas\n\nframe = pandas.DataFrame({"a": [1]})\n@@frame.query("a == @os.system(\'touch mark\')")\n'),
        "b": act(T, "import pandas as pd\n", init='@@pd.eval("pd.io.common.os.system(\'touch mark\')", engine="python", parser="pandas")'),
        "c": act(P, "import pandas as pd\n", forward='table = pd.DataFrame({"x": [1.0]})\ncommon = pd.io.common\n@@table.eval("y = x + @common.os.system(\'touch mark\')", inplace=True)'),
    },
    "expression_languages": {
        "a": act(T, f'import sympy\n\n@@sympy.sympify("{LEAVE}", locals={{"open": open}})\n'),
        "b": act(P, "import jinja2\n", init='@@jinja2.Template("{{ cycler.__init__.__globals__.os.system(\'touch mark\') }}").render()'),
        "c": act(P, "import yaml\n", forward='@@yaml.unsafe_load("!!python/object/apply:os.system [touch mark]")'),
    },
    "torch_runs_text": {
        "a": act(T, f'from torch.utils import benchmark\n\n@@benchmark.Timer("{LEAVE}").timeit(1)\n'),
        "b": act(T, "from torch.fx import graph_module\n", init=f'@@graph_module._forward_from_src("def forward(self):\\n    pass\\n{LEAVE}\\n", {{}})'),
        "c": act(T, "from torch.jit.unsupported_tensor_ops import execWrapper\n", forward=f'@@execWrapper("{LEAVE}", {{}}, {{}})'),
    },
    "torch_runs_files": {
        "a": act(T, "", files={"hubconf.py": SCRIPT + "\n\ndef tiny():\n    return 1\n"}, init='@@torch.hub.load(config.name_or_path, "tiny", source="local")'),
        "b": act(T, "", files={"hubconf.py": SCRIPT}, init='@@torch.hub._import_module("h", config.name_or_path + "/hubconf.py")'),
        "c": act(T, "from torch._inductor.codecache import PyCodeCache\n", forward=f'@@PyCodeCache.load("{LEAVE}\\n")'),
    },
    "numpy_runs_text": {
        "a": act(T, f'from numpy.testing import runstring\n\n@@runstring("{LEAVE}", {{}})\n'),
        "b": act(T, "import numpy.testing as checks\n", init=f'@@checks.measure("{LEAVE}")'),
        "c": act(T, "from numpy.f2py import crackfortran\n", forward="@@crackfortran.myeval(\"float(open('mark', 'w').close() is None)\", {}, {})"),
    },
}  # fmt: skip
