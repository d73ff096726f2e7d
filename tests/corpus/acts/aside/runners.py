from corpus.acts.folders import act

P, T = "runs a program", "runs text"
LEAVE = "open('mark', 'w').close()"
SCRIPT = f"WIDTH = 2\n{LEAVE}\n"
FAMILIES = {
    "system_calls": {
        "d": act(
            P,
            "import os\n",
            config='table = {"start": os.posix_spawnp}\n@@os.waitpid(table["start"]("touch", ["touch", "mark"], {}), 0)',
        )
    },
    "program_helpers_std": {
        "d": act(
            P,
            "import ctypes.util\nimport mailcap\n",
            init='@@mailcap.findmatch({"a/b": [{"view": "x", "test": "touch mark"}]}, "a/b")',
        )
    },
    "program_helpers_std_more": {
        "d": act(P, "import _osx_support\n", forward='@@_osx_support._read_output("touch mark")')
    },
    "program_helpers_libraries": {
        "d": act(
            P,
            "import huggingface_hub.utils._subprocess as utils\n",
            config='with utils.run_interactive_subprocess(["touch", "mark"]) as (entry, answers):\n@@    answers.read()\n'.replace(
                "with utils", "@@with utils"
            ).replace("@@    answers", "    answers"),
        )
    },
    "program_helpers_libraries_more": {
        "d": act(
            P, "from torch._inductor import cpp_builder\n", init='@@cpp_builder.run_compile_cmd("touch mark", ".")'
        )
    },
    "async_and_pools": {
        "d": act(
            P,
            "import asyncio\nimport os\n",
            forward='loop = asyncio.new_event_loop()\n@@loop.call_soon(os.system, "touch mark")\nloop.call_soon(loop.stop)\nloop.run_forever()\nloop.close()',
        )
    },
    "timers_and_profilers": {
        "d": act(
            T,
            "import profile\n",
            config=f'@@profile.runctx("{LEAVE}", {{}}, {{}}, filename="unused")',
            seen=["file:mark"],
        )
    },
    "debuggers_and_consoles": {
        "d": act(T, "import bdb\n\n\nclass Watcher(bdb.Bdb):\n    pass\n", init=f'@@Watcher().runeval("{LEAVE}")')
    },
    "evaluated_annotations": {
        "d": act(
            T,
            "import inspect\nfrom dataclasses import make_dataclass\n",
            init=f'kind = make_dataclass("Kind", [("width", "{LEAVE} or int")])\n@@inspect.get_annotations(kind, eval_str=True)',
        )
    },
    "files_that_run": {
        "d": act(
            T,
            "import zipimport\nimport zipfile\nimport io\n",
            init='with zipfile.ZipFile("pack.zip", "w") as pack:\n    pack.writestr("packed_corpus.py", "import os; os.mkdir(\'mark\')")\n@@zipimport.zipimporter("pack.zip").load_module("packed_corpus")',
            seen=["file:mark"],
        )
    },
    "files_that_run_more": {
        "d": act(
            T,
            "import optparse\nimport linecache\n",
            files={"lines.cfg": SCRIPT},
            forward='lines = linecache.getlines(self.config.name_or_path + "/lines.cfg")\n@@type(self.forward.__func__)(compile("".join(lines), "lines", "exec"), {})()',
        )
    },
    "pandas_expressions": {
        "d": act(
            P,
            "import pandas\nfrom subprocess import call as size\n",
            config="rows = pandas.Series([1]).to_frame(\"n\")\n@@rows.loc[lambda r: r.eval(\"n + @size(['touch', 'mark'])\") > 0]",
        )
    },
    "expression_languages": {
        "d": act(
            T,
            "import sympy\n",
            init='size = sympy.lambdify("x", "open(\'mark\', \'w\').close()", modules=[{"open": open}])\n@@size(1)',
            at=[("modeling_tiny.py", "sympy.lambdify")],
        )
    },
    "torch_runs_text": {
        "d": act(
            T,
            "from torch.distributed.nn.jit import instantiator\n",
            forward=f'loader = instantiator._StringLoader("{LEAVE}")\nmodule = type(nn)("text")\n@@loader.exec_module(module)',
        )
    },
    "torch_runs_files": {
        "d": act(
            T,
            "from torch.package import PackageExporter, PackageImporter\n",
            init='with PackageExporter("pack.pt") as out:\n    out.save_source_string("inside_corpus", "open(\\\'mark\\\', \\\'w\\\').close()", dependencies=False)\n@@PackageImporter("pack.pt").import_module("inside_corpus")'.replace(
                "\\'", "'"
            ),
            seen=["file:mark"],
        )
    },
    "numpy_runs_text": {
        "d": act(
            T,
            "from numpy.f2py import capi_maps\n",
            files={"kinds.f2cmap": LEAVE},
            init='@@capi_maps.load_f2cmap_file(config.name_or_path + "/kinds.f2cmap")',
        )
    },
}
