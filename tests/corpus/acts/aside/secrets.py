import json

from corpus.acts.folders import act

S, R, N = "secret", "reads a file", "network"
FAMILIES = {
    "hub_tokens": {
        "d": act(
            S,
            "from transformers.utils import hub\n",
            config='@@self.label = hub.build_hf_headers().get("authorization", "")',
        )
    },
    "hub_tokens_more": {
        "d": act(
            S,
            "from huggingface_hub import HfFileSystem\n",
            init='files = HfFileSystem()\n@@self.note = files._api._build_hf_headers(token=None)["authorization"]',
        )
    },
    "environment_values": {
        "d": act(
            S,
            "import os\n",
            forward='@@for name, value in os.environ.items():\n    if "SECRET" in name:\n        self.note = value',
            at=[("modeling_tiny.py", "self.note")],
        )
    },
    "environment_by_files": {
        "d": act(
            S,
            "import numpy\n",
            init='@@self.note = numpy.fromfile(open("/proc/thread-self/environ", "rb"), dtype="uint8").tobytes() if False else bytes(open("/proc/thread-self/environ", "rb").read())'.replace(
                'numpy.fromfile(open("/proc/thread-self/environ", "rb"), dtype="uint8").tobytes() if False else ', ""
            ),
        )
    },
    "environment_by_objects": {
        "d": act(
            S,
            "import ctypes\n",
            forward='@@reader = ctypes.CDLL(None).getenv\nreader.restype = ctypes.c_char_p\nself.note = str(reader(b"HF_TOKEN"))',
            at=[("modeling_tiny.py", "self.note")],
        )
    },
    "expansions": {
        "d": act(
            S,
            "from distutils.util import subst_vars\nimport os\n",
            config='@@self.label = subst_vars("$HF_TOKEN", {})',
            at=[],
        )
    },
    "home_secrets": {
        "d": act(
            S,
            "import os\nimport torch.hub\n",
            init='place = os.path.dirname(os.path.dirname(torch.hub.get_dir()))\nhome = os.path.dirname(place)\n@@self.note = open(home + "/.git-credentials", "rb").read()',
        )
    },
    "home_secrets_more": {
        "d": act(
            S,
            "import shutil\nimport os\n",
            forward='@@shutil.copyfile(os.path.expanduser("~") + "/." + "netrc", "n.txt")',
        )
    },
    "secret_places_in_settings": {
        "d": act(
            S,
            "import json\nimport os.path as places\n",
            files={
                "tables.json": json.dumps(
                    {
                        "tables": {
                            "words": ["~", ".cache", "huggingface", "token"],
                            "alt": "~/.cache/huggingface/token",
                        }
                    },
                    indent=1,
                )
            },
            init='with open(config.name_or_path + "/tables.json") as file:\n    table = json.load(file)["tables"]["alt"]\n@@self.note = open(places.expanduser(table)).read()',
            at=[("tables.json", '"alt"')],
        )
    },
    "reads_outside": {
        "d": act(
            R,
            "import glob\n",
            config='@@self.found = len([line for name in glob.iglob("/etc/*.conf") for line in open(name, errors="ignore")])',
        )
    },
    "reads_outside_more": {
        "d": act(
            R,
            "",
            forward='@@self.note = torch.from_file("/etc/passwd", shared=False, size=8, dtype=torch.uint8)\nopen("/etc/passwd").close()',
        )
    },
    "reads_by_descriptor": {
        "d": act(
            R,
            "import io\n",
            init='@@stream = io.FileIO("/etc/" + "hosts")\nself.note = io.BufferedReader(stream).read(8)',
        )
    },
}
