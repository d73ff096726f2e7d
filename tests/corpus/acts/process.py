"""Changes of the whole process: operators, attention, classes of libraries, modules, builtins, hooks, environment."""

from corpus.acts.folders import act

C, E = "patches", "environment"
SAME = "def same(self, *args, **kwargs):\n    return None\n\n\n"
FAMILIES = {
    "operator_overrides": {
        "a": act(C, 'KEEP = torch.library.Library("aten", "IMPL")\n@@KEEP.impl("gelu", lambda x, approximate="none": x * 0, "CPU")\n'),
        "b": act(C, "from torch.overrides import TorchFunctionMode\n\n\nclass Quiet(TorchFunctionMode):\n    def __torch_function__(self, func, types, args=(), kwargs=None):\n        return func(*args, **(kwargs or {}))\n\n", forward="@@Quiet().__enter__()"),
        "c": act(C, "from torch.utils._python_dispatch import TorchDispatchMode\n\n\nclass Quiet(TorchDispatchMode):\n    def __torch_dispatch__(self, func, types, args=(), kwargs=None):\n        return func(*args, **(kwargs or {}))\n\n\nmode = Quiet()\n", forward="@@mode.__enter__()"),
    },
    "registered_attention": {
        "a": act(C, 'from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS\n\n\ndef quiet(module, query, *args, **kwargs):\n    return query, None\n\n\n@@ALL_ATTENTION_FUNCTIONS["sdpa"] = quiet\n'),
        "b": act(C, "from transformers import AttentionInterface\n", init='@@AttentionInterface.register("flex_attention", lambda module, query, *rest, **more: (query, None))'),
        "c": act(C, "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as table\n", forward='@@table._global_mapping.update({"sdpa": len})'),
    },
    "registered_names": {
        "a": act(C, 'from transformers import AutoConfig\n\n\nclass Other(PreTrainedConfig):\n    model_type = "bert"\n\n\n@@AutoConfig.register("bert", Other, exist_ok=True)\n'),
        "b": act(C, "from transformers.activations import ACT2FN\n", init='@@ACT2FN["gelu"] = nn.Identity'),
        "c": act(C, "from transformers.models.auto.configuration_auto import CONFIG_MAPPING as table\n", forward='@@table.register("gpt2", TinyConfig, exist_ok=True)'),
    },
    "functions_of_libraries": {
        "a": act(C, '@@torch.nn.functional.gelu = lambda x, approximate="none": x\n'),
        "b": act(C, SAME, init='@@setattr(nn.Linear, "extra_repr", same)'),
        "c": act(C, "import transformers.dynamic_module_utils as loader\n", forward="@@loader.resolve_trust_remote_code = lambda *args, **kwargs: True"),
    },
    "functions_of_libraries_more": {
        "a": act(C, 'import json\n\n@@vars(json)["detect_encoding"] = str\n'),
        "b": act(C, "from unittest import mock\n", init='@@mock.patch("torch.nn.functional.relu", abs).start()'),
        "c": act(C, "import types\n", forward="@@types.ModuleType.__setattr__(torch, \"rand\", torch.zeros)"),
    },
    "class_hierarchy": {
        "a": act(C, SAME, init='@@type(self).__mro__[1].push_to_hub = same'),
        "b": act(C, SAME, forward='for base in type(self).__bases__:\n@@    setattr(base, "save_pretrained", same)'),
        "c": act(C, SAME, body='@@PreTrainedModel.half = same'),
    },
    "class_hierarchy_more": {
        "a": act(C, SAME, init="@@super().__thisclass__.__base__.gradient_checkpointing_enable = same"),
        "b": act(C, SAME, forward='@@next(k for k in self.linear.__class__.mro() if k.__name__ == "Module").half = same'),
        "c": act(C, "import gc\n\n\n" + SAME, init='@@type.__setattr__(nn.Module, "cpu", same)'),
    },
    "module_table": {
        "a": act(C, 'import sys\nimport types\n\n@@sys.modules["flash_attn"] = types.ModuleType("flash_attn")\n', seen=["module:flash_attn"]),
        "b": act(C, "import sys\n", init='@@sys.modules.update({"wave": sys})', seen=["module:wave"]),
        "c": act(C, "import sys\n\n\nclass Finder:\n    def find_spec(self, name, path=None, target=None):\n        return None\n\n", forward="@@sys.meta_path.insert(0, Finder())"),
    },
    "module_places": {
        "a": act(C, 'import sys\n\n@@sys.path.insert(0, ".")\n'),
        "b": act(C, "import torch.nn\n", init='@@torch.nn.__path__.append(".")'),
        "c": act(C, "import sys\n", forward="@@sys.path_hooks.append(lambda entry: (_ for _ in ()).throw(ImportError))"),
    },
    "builtins": {
        "a": act(C, 'import builtins\n\n@@builtins.input = print\n'),
        "b": act(C, "", init='if isinstance(__builtins__, dict):\n@@    __builtins__["ascii"] = repr'),
        "c": act(C, "import builtins as b\n", forward="@@vars(b).update(bin=hex)"),
    },
    "hooks_of_the_interpreter": {
        "a": act("runs a program", 'import atexit\nimport os\n\n@@atexit.register(os.system, "touch mark")\n', loads=["exit"]),
        "b": act(C, "import sys\n", init="@@sys.excepthook = lambda *args: None"),
        "c": act(C, "import sys\n", forward="@@sys.setprofile(lambda frame, event, arg: None)"),
    },
    "hooks_of_the_process": {
        "a": act(C, 'import signal\n\n@@signal.signal(signal.SIGUSR1, lambda *args: None)\n'),
        "b": act(C, "import threading\n", init="@@threading.settrace(lambda *args: None)"),
        "c": act(C, "import gc\n", forward="@@gc.callbacks.append(lambda phase, info: None)"),
    },
    "threads": {
        "a": act("writes a file", 'import os\nimport threading\n\n@@one = threading.Thread(target=os.makedirs, args=("mark",), daemon=True)\none.start()\none.join()\n'),
        "b": act("writes a file", "import threading\n", init='timer = threading.Timer(0.01, lambda: open("mark", "w").close())\n@@timer.start()\ntimer.join()', at=[("modeling_tiny.py", "threading.Timer")]),
        "c": act("runs a program", "import _thread\nimport os\n", forward='import time\n\n@@_thread.start_new_thread(os.system, ("touch mark",))\nfor _ in range(10):\n    time.sleep(0.1)'),
    },
    "hooks_of_torch": {
        "a": act(C, 'from torch.nn.modules.module import register_module_forward_hook\n\n@@register_module_forward_hook(lambda module, inputs, output: None)\n'),
        "b": act(C, "", init="@@torch.set_default_dtype(torch.float64) if False else torch.set_default_device(\"meta\") if False else torch.use_deterministic_algorithms(True)".replace('torch.set_default_dtype(torch.float64) if False else torch.set_default_device("meta") if False else ', "")),
        "c": act(C, "import torch.nn.modules.module as parts\n", forward='@@parts._global_forward_pre_hooks[99] = lambda module, inputs: None'),
    },
    "environment_changes": {
        "a": act(E, 'import os\n\n@@os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9/other"\n'),
        "b": act(E, "import os\n", init='@@os.environ.update(HF_HUB_OFFLINE="0", PATH=os.getcwd())'),
        "c": act(E, "import os\n", forward='@@os.putenv("LD_PRELOAD", "")'),
    },
    "switches_of_libraries": {
        "a": act(C, 'import ssl\n\n@@ssl._create_default_https_context = ssl._create_unverified_context\n'),
        "b": act(C, "from huggingface_hub import constants\n", init='@@constants.ENDPOINT = "http://127.0.0.1:9/other"'),
        "c": act(C, "import os\n", forward="@@torch.serialization.add_safe_globals([os.system])"),
    },
}  # fmt: skip
