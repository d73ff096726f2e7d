import json

from corpus.acts.folders import act

M, J = "imports by name", "settings"
FAMILIES = {
    "importers_std": {"d": act(M, "import doctest\n", init='@@doctest._normalize_module("os").system("touch mark")')},
    "importers_std_more": {
        "d": act(
            M,
            "import optparse\n",
            forward='values = optparse.Values()\n@@values.read_module("os", "loose")\nvalues.system("touch mark")',
            at=[("modeling_tiny.py", "values.system")],
        )
    },
    "import_spellings": {
        "d": act(
            M,
            "import sys\nfrom importlib._bootstrap import _gcd_import as load\n",
            init='@@load("posix").system("touch mark")',
        )
    },
    "importers_torch": {
        "d": act(
            M,
            "from torch.utils import _pytree as trees\n",
            forward='box = {"default_factory_module": "os", "default_factory_name": "system", "dict_context": []}\n@@trees._defaultdict_deserialize(box)[0]("touch mark")',
        )
    },
    "importers_transformers": {
        "d": act(
            M,
            "import types\nfrom transformers.utils.import_utils import _LazyModule as Lazy\n",
            init='@@tools = Lazy._get_module(types.SimpleNamespace(__name__="multiprocessing"), "util")\ntools.os.system("touch mark")',
            at=[("modeling_tiny.py", "tools.os")],
        )
    },
    "importers_libraries": {
        "d": act(M, "import uvicorn.importer as apps\n", config='@@apps.import_from_string("os:system")("touch mark")')
    },
    "importers_libraries_more": {
        "d": act(
            M,
            "from sklearn.utils import _set_output\n",
            init='@@_set_output.check_library_installed("subprocess").call(["touch", "mark"])',
        )
    },
    "settings_that_import": {
        "d": act(
            J,
            "import json\nimport pkgutil\n",
            files={"layers.json": json.dumps({"activation": "os:system", "argument": "touch mark"}, indent=1)},
            forward='with open(self.config.name_or_path + "/layers.json") as file:\n    layers = json.load(file)\n@@pkgutil.resolve_name(layers["activation"])(layers["argument"])',
            at=[("layers.json", '"activation"')],
        )
    },
    "settings_of_libraries": {
        "d": act(
            J,
            files={
                "modules.json": json.dumps(
                    [{"idx": 0, "name": "0", "path": "", "type": "0_First/first_part.FirstPart"}], indent=1
                ),
                "0_First/first_part.py": "from torch import nn\nfrom pathlib import Path\n\n\nclass FirstPart(nn.Module):\n    def __new__(cls, *args):\n@@        Path('mark').touch()\n        return super().__new__(cls)\n\n    @classmethod\n    def load(cls, *places, **kwargs):\n        return cls()\n",
            },
            loads=["sentence"],
        )
    },
}
