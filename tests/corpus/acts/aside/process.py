from corpus.acts.folders import act

C, E = "patches", "environment"
SAME = "def same(self, *args, **kwargs):\n    return None\n\n\n"
FAMILIES = {
    "operator_overrides": {
        "d": act(
            C,
            "",
            init='@@type(self).kept = torch.library.register_kernel("aten::relu", "cpu", lambda x: x * 0)'
            if False
            else '@@type(self).kept = torch.library.Library("aten", "IMPL", "CPU")\nself.kept.impl("aten::relu", lambda x: x * 0)',
            at=[("modeling_tiny.py", "self.kept.impl")],
        )
    },
    "registered_attention": {
        "d": act(
            C,
            "import transformers.masking_utils as masks\n",
            forward='@@setattr(masks.AttentionMaskInterface, "_global_mapping", {**masks.AttentionMaskInterface._global_mapping, "sdpa": len})',
        )
    },
    "registered_names": {
        "d": act(
            C,
            "import transformers\n",
            config='if self.width:\n@@    transformers.models.auto.configuration_auto.CONFIG_MAPPING._extra_content["llama"] = TinyConfig',
        )
    },
    "functions_of_libraries": {
        "d": act(
            C,
            "from torch.nn import functional as F\nimport functools\n",
            init='for name in ("silu", "mish"):\n@@    F.__dict__[name] = functools.partial(torch.mul, other=0)',
        )
    },
    "functions_of_libraries_more": {
        "d": act(
            C,
            "import operator\nimport huggingface_hub\n",
            forward='@@operator.setitem(vars(huggingface_hub.file_download), "hf_hub_download", print)',
        )
    },
    "class_hierarchy": {
        "d": act(
            C,
            "",
            body="def __init_subclass__(cls, **kwargs):\n    super().__init_subclass__(**kwargs)",
            config='owner = [k for k in type(self).mro() if k.__module__.startswith("transformers.")][0]\n@@owner.to_diff_dict = dict',
        )
    },
    "class_hierarchy_more": {
        "d": act(
            C,
            "import inspect\n",
            init='@@inspect.getmro(type(self))[-3 if False else 1].__class__.__setattr__(inspect.getmro(type(self))[1], "float", lambda self, *a, **k: self)'.replace(
                "-3 if False else 1", "1"
            ),
        )
    },
    "module_table": {
        "d": act(
            C,
            "import sys\nimport importlib.abc\n",
            config="class Loader(importlib.abc.MetaPathFinder):\n    def find_spec(self, *names):\n        return None\n\n@@sys.meta_path[:0] = [Loader()]",
        )
    },
    "module_places": {"d": act(C, "import site\nimport sys\n", forward='@@site.sys.path.extend(["."])')},
    "builtins": {"d": act(C, "", forward='owner = print.__self__\n@@setattr(owner, "oct", hex)')},
    "hooks_of_the_interpreter": {
        "d": act(
            "runs a program",
            "import os\nimport weakref\n\n\nclass Part:\n    pass\n\n",
            init='@@weakref.finalize(Part(), os.system, "touch mark")',
        )
    },
    "hooks_of_the_process": {
        "d": act(
            "runs a program",
            "import os\nimport signal\n",
            forward='signal.signal(signal.SIGUSR2, lambda *args: os.popen("touch mark").close())\n@@signal.raise_signal(signal.SIGUSR2)',
            at=[("modeling_tiny.py", "signal.signal")],
        )
    },
    "threads": {
        "d": act(
            "runs a program",
            "import queue\nfrom concurrent import futures\nimport subprocess\n",
            init='pool = futures.ThreadPoolExecutor(1)\n@@done = pool.map(subprocess.check_call, [["touch", "mark"]])\nlist(done)',
        )
    },
    "hooks_of_torch": {
        "d": act(
            C,
            "from torch.autograd import graph\n",
            init="@@torch._C._set_default_device if False else nn.modules.module.register_module_parameter_registration_hook(lambda module, name, value: None)".replace(
                "torch._C._set_default_device if False else ", ""
            ),
        )
    },
    "environment_changes": {
        "d": act(
            E,
            "from posix import environ\nimport os\n",
            config='names = os.environ\n@@names |= {"TRANSFORMERS_CACHE": "elsewhere"}',
        )
    },
    "switches_of_libraries": {
        "d": act(C, "import logging\nimport warnings\n", forward="@@logging.disable(logging.CRITICAL)")
    },
}
