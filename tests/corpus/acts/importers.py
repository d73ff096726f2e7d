"""Importers by dotted name: of the standard library, of other libraries, and of settings that name something."""

import base64
import json

from corpus.acts.folders import act, weights

M, J = "imports by name", "settings"
HYDRA = """import pydoc


def build(part):
    kind = pydoc.locate(part["_target_"])
    return kind(*part.get("args", ()))

"""
FAMILIES = {
    "importers_std": {
        "a": act(M, 'import pkgutil\n\n@@pkgutil.resolve_name("os:system")("touch mark")\n'),
        "b": act(M, "import pydoc\n", init='@@pydoc.locate("os.system")("touch mark")'),
        "c": act(M, "from importlib import metadata\n", forward='@@metadata.EntryPoint("n", "os:system", "g").load()("touch mark")'),
    },
    "importers_std_more": {
        "a": act(M, 'import logging.config\n\n@@logging.config.dictConfig({"version": 1, "filters": {"h": {"()": "os.system", "command": "touch mark"}}})\n'),
        "b": act(M, "from unittest import mock\n", init='@@mock._get_target("os.system")[0]().system("touch mark")'),
        "c": act(M, "import logging.config\n", forward='@@logging.config.BaseConfigurator({}).resolve("os.system")("touch mark")'),
    },
    "import_spellings": {
        "a": act(M, 'import importlib\n\n@@importlib.import_module("o" + "s").system("touch mark")\n'),
        "b": act(M, 'import importlib.util\n', init='spec = importlib.util.find_spec("subprocess")\n@@module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nmodule.run(["touch", "mark"])'),
        "c": act(M, "", forward='@@__import__("importlib").__import__("os").system("touch mark")'),
    },
    "importers_torch": {
        "a": act(M, 'from torch import _utils\n\n@@_utils._import_dotted_name("os.system")("touch mark")\n'),
        "b": act(M, "from torch._dynamo import trace_rules\n", init='@@trace_rules.load_object("os.system")("touch mark")'),
        "c": act(M, "from torch.package import sys_importer\n", forward='@@sys_importer.import_module("os").system("touch mark")'),
    },
    "importers_transformers": {
        "a": act(M, 'from transformers.utils.generic import maybe_replace_from_package\n\n\n@@@maybe_replace_from_package("os", "system")\ndef run(text):\n    return text\n\n\nrun("touch mark")\n'),
        "b": act(M, "from transformers import dynamic_module_utils as loader\n", files={"later.txt": "import os\n\nos.system('touch mark')\n\n\nclass Late:\n    pass\n"}, init='import shutil\n\nplace = config.name_or_path\nshutil.copy(place + "/later.txt", "late_tiny.py")\n@@loader.get_class_from_dynamic_module("late_tiny.Late", ".")', seen=["file:mark"]),
        "c": act(M, "from transformers import AutoModel\n", files={"more/config.json": json.dumps({"model_type": "tiny-more", "auto_map": {"AutoConfig": "more.MoreConfig"}}), "more/more.py": "import os\n\nfrom transformers import PreTrainedConfig\n\nos.system('touch mark')\n\n\nclass MoreConfig(PreTrainedConfig):\n    model_type = 'tiny-more'\n"}, forward='from transformers import AutoConfig\n\n@@AutoConfig.from_pretrained(self.config.name_or_path + "/more", trust_remote_code=True)'),
    },
    "importers_libraries": {
        "a": act(M, 'from sentence_transformers.util import import_from_string\n\n@@import_from_string("os.system")("touch mark")\n'),
        "b": act(M, "from pandas.compat import _optional\n", init='@@_optional.import_optional_dependency("os").system("touch mark")'),
        "c": act(M, "import timm.optim._optim_factory as makers\n", forward='@@makers._import_class("os.system")("touch mark")'),
    },
    "importers_libraries_more": {
        "a": act(M, 'from fsspec.registry import _import_class\n\n@@_import_class("subprocess.Popen")(["touch", "mark"]).wait()\n'),
        "b": act(M, "from pydantic import ImportString, TypeAdapter\n", init='@@TypeAdapter(ImportString).validate_python("os:system")("touch mark")'),
        "c": act(M, "from sympy.external import import_module as need\n", forward='@@need("os").system("touch mark")'),
    },
    "settings_that_import": {
        "a": act(J, "import importlib\n", settings={"backend": "os", "helper": "system", "words": "touch mark"}, init='@@getattr(importlib.import_module(config.backend), config.helper)(config.words)', at=[("config.json", '"backend"'), ("config.json", '"helper"')]),
        "b": act(J, HYDRA.replace("    kind", "@@    kind"), settings={"part": {"_target_": "subprocess.check_call", "args": [["touch", "mark"]]}}, init="build(config.part)", at=[("config.json", '"_target_"'), ("modeling_tiny.py", "return kind")]),
        "c": act(J, "import logging.config\n", settings={"logs": {"version": 1, "filters": {"h": {"()": "os.system", "command": "touch mark"}}}}, init="@@logging.config.dictConfig(config.logs)", at=[("config.json", '"()"')]),
    },
    "settings_of_libraries": {
        "a": act(J, files={"modules.json": json.dumps([{"idx": 0, "name": "0", "path": "1_Dense", "type": "sentence_transformers.models.Dense"}]), "1_Dense/config.json": '{\n  "in_features": 2,\n  "out_features": 2,\n@@  "activation_function": "this.Module"\n}\n', "1_Dense/model.safetensors": "base64:" + base64.b64encode(weights()).decode()}, loads=["sentence"], seen=["module:this"]),
        "b": act(J, files={"modules.json": '[\n  {"idx": 0, "name": "0", "path": "",\n@@   "type": "parts_tiny.Part", "kwargs": []}\n]\n', "parts_tiny.py": "import os\n\nfrom torch import nn\n\nos.system('touch mark')\n\n\nclass Part(nn.Module):\n    @staticmethod\n    def load(*places, **kwargs):\n        return Part()\n"}, loads=["sentence"], at=[("parts_tiny.py", "os.system")]),
        "c": act(J, settings={"custom_pipelines": {"tiny-task": {"impl": "pipe_tiny.TinyPipe", "pt": ["AutoModel"], "type": "text"}}}, files={"pipe_tiny.py": "import os\n\nfrom transformers import Pipeline\n\n@@os.system('touch mark')\n\n\nclass TinyPipe(Pipeline):\n    def _sanitize_parameters(self, **kwargs):\n        return {}, {}, {}\n\n    def preprocess(self, inputs):\n        return inputs\n\n    def _forward(self, inputs):\n        return inputs\n\n    def postprocess(self, outputs):\n        return outputs\n"}, loads=["pipeline tiny-task"], at=[("config.json", '"impl"')]),
    },
}  # fmt: skip
