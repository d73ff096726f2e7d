"""Where code is named: nested settings, configurations that point on, sub-packages, odd imports, tokenizers, bytes."""

import base64
import json

from corpus.acts.folders import ENTRIES, act, model_file, settings_file, tokenizer_file

PLAIN = model_file()
IMAGES = """from transformers import BaseImageProcessor
import os


class TinyImages(BaseImageProcessor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
@@        os.system("touch mark")
"""
SOUNDS = """import subprocess

from transformers import FeatureExtractionMixin

@@subprocess.run(["touch", "mark"])


class TinySounds(FeatureExtractionMixin):
    pass
"""
VIDEOS = """import os

from transformers import BaseImageProcessor


class TinyVideos(BaseImageProcessor):
    def to_dict(self):
        return {}

    @classmethod
    def from_pretrained(cls, *names, **kwargs):
@@        os.popen("touch mark").read()
        return cls()
"""


def encoded(text: str, codec: str) -> str:
    """A file's bytes in another encoding, as folders.write takes them."""
    return "base64:" + base64.b64encode(text.encode(codec)).decode()


def nested(key: str, auto: str, file: str, name: str) -> str:
    """A processor_config.json whose part names code."""
    return json.dumps({"processor_class": "P", key: {"auto_map": {auto: f"{file}.{name}"}}}, indent=2)


INNER = 'import os\n\n\ndef width():\n@@    os.system("touch mark")\n    return 2\n'
AT_IMPORT = 'import os\n\n@@os.system("touch mark")\nWIDTH = 2\n'
VERSIONED = {"modeling_tiny.py": PLAIN, "config.json": json.dumps({"configuration_files": ["config.4.40.0.json"]})}
FAMILIES = {
    "nested_auto_map": {
        "a": act(
            "runs a program",
            files={
                "image_parts.py": IMAGES,
                "processor_config.json": nested("image_processor", "AutoImageProcessor", "image_parts", "TinyImages"),
            },
            loads=["AutoImageProcessor"],
        ),
        "b": act(
            "runs a program",
            files={
                "sound_parts.py": SOUNDS,
                "processor_config.json": nested(
                    "feature_extractor", "AutoFeatureExtractor", "sound_parts", "TinySounds"
                ),
            },
            loads=["AutoFeatureExtractor"],
        ),
        "c": act(
            "runs a program",
            files={
                "video_parts.py": VIDEOS,
                "processor_config.json": nested("video_processor", "AutoVideoProcessor", "video_parts", "TinyVideos"),
            },
            loads=["AutoVideoProcessor"],
        ),
    },
    "config_points_on": {
        "a": act(
            "runs a program",
            files={
                **VERSIONED,
                "config.4.40.0.json": settings_file(entries={**ENTRIES, "AutoConfig": "settings_tiny.TinyConfig"}),
                "settings_tiny.py": 'import os\n\nfrom .modeling_tiny import TinyConfig\n\n@@os.system("touch mark")\n'
                '__all__ = ["TinyConfig"]\n',
            },
        ),
        "b": act(
            "runs a program",
            files={
                "config.json": json.dumps(
                    {"configuration_files": ["config.4.0.0.json", "config.4.48.0.json"], "model_type": "tiny-corpus"}
                ),
                "config.4.48.0.json": settings_file(
                    entries={"AutoConfig": "modeling_tiny.TinyConfig", "AutoModel": "newer_tiny.NewerModel"}
                ),
                "newer_tiny.py": "import subprocess\n\nfrom .modeling_tiny import TinyModel\n\n\n"
                "class NewerModel(TinyModel):\n    def __init__(self, config):\n        super().__init__(config)\n"
                '@@        subprocess.call("touch mark", shell=True)\n',
            },
        ),
        "c": act(
            "runs a program",
            files={
                "modules.json": json.dumps([{"idx": 0, "name": "0", "path": "", "type": "first_part.FirstPart"}]),
                "first_part.py": "import os\n\nfrom torch import nn\n\n\nclass FirstPart(nn.Module):\n    @classmethod\n"
                "    def load(cls, *places, **kwargs):\n"
                '@@        os.system("touch mark")\n        return cls()\n',
            },
            loads=["sentence"],
        ),
    },
    "sub_packages": {
        "a": act(
            "runs a program",
            files={
                "modeling_tiny.py": None,
                "inner/modeling_tiny.py": model_file('import os\n\n@@os.system("touch mark")\n'),
                "config.json": settings_file(
                    entries={"AutoConfig": "inner/modeling_tiny.TinyConfig", "AutoModel": "inner/modeling_tiny.TinyModel"}
                ),
            },
        ),
        "b": act(
            "runs a program",
            '"""Copied beside:\n\nfrom .layers/sizes import width\n"""\nfrom .layers . sizes import width\n',
            forward="width()",
            files={"layers/sizes.py": INNER},
        ),
        "c": act(
            "runs a program",
            files={
                "modeling_tiny.py": None,
                "src/modeling_tiny.py": model_file("from .sizes import WIDTH\n"),
                "src/sizes.py": "from .deep import WIDTH\n",
                "src/deep.py": AT_IMPORT,
                "config.json": settings_file(
                    entries={"AutoConfig": "src/modeling_tiny.TinyConfig", "AutoModel": "src/modeling_tiny.TinyModel"}
                ),
            },
        ),
    },
    "odd_relative_imports": {
        "a": act(
            "runs a program",
            '"""\nimport .sizes\n"""\nimport importlib\n\nimportlib.import_module(".sizes", __package__)\n',
            files={"sizes.py": AT_IMPORT},
        ),
        "b": act(
            "runs a program",
            "# from .sizes import WIDTH\nHELP = '''\n  from .sizes import WIDTH\n'''\nfrom .\\\n    sizes import (\n        WIDTH,\n    )\n",
            files={"sizes.py": AT_IMPORT},
        ),
        "c": act(
            "runs a program",
            'HELP = """\n   import   .sizes\n"""\n',
            init="from . import sizes\nself.size = sizes.width()",
            files={"sizes.py": INNER},
        ),
    },
    "tokenizers": {
        "a": act(
            "runs a program",
            files={
                "tokenization_tiny.py": tokenizer_file("import os\n", init='@@os.system("touch mark")'),
                "tokenizer_config.json": json.dumps(
                    {"auto_map": {"AutoTokenizer": ["tokenization_tiny.TinyTokenizer", None]}}, indent=2
                ),
            },
            loads=["tokenizer"],
        ),
        "b": act(
            "secret",
            files={
                "words_tiny.py": tokenizer_file(
                    "import os\n",
                    methods="def _tokenize(self, text):\n"
                    '@@    self.noted = os.environ.get("AWS_SECRET_ACCESS_KEY")\n    return text.split()',
                ),
                "tokenizer_config.json": json.dumps({"auto_map": ["words_tiny.TinyTokenizer", None]}),
            },
            loads=["tokenizer"],
        ),
        "c": act(
            "writes a file",
            files={
                "processing_tiny.py": "from transformers import ProcessorMixin\n\n\n"
                "class TinyProcessor(ProcessorMixin):\n    def __init__(self):\n        pass\n\n"
                "    @classmethod\n    def from_pretrained(cls, *names, **kwargs):\n"
                '@@        open("mark", "w").write("x")\n        return cls()\n',
                "preprocessor_config.json": json.dumps({"auto_map": {"AutoProcessor": "processing_tiny.TinyProcessor"}}),
            },
            loads=["processor"],
        ),
    },
    "declared_encodings": {
        "a": act(
            "runs a program",
            "from .words import WIDTH\n",
            files={"words.py": '@@# coding: utf-7\nWIDTH = 2\n@@# note: +AAo-import os+AAo-os.system("touch mark")\n'},
        ),
        "b": act(
            "runs a program",
            "from .words import WIDTH\n",
            files={"words.py": '#!/usr/bin/env python\n@@# -*- coding: unicode_escape -*-\n@@# \\x0aimport os\\x0aos.system("touch mark")\nWIDTH = 2\n'},
        ),
        "c": act(
            "runs a program",
            model="@@# vim: set fileencoding=raw_unicode_escape :\n"
            + model_file('@@# \\u000aimport os; os.system("touch mark")\n'),
        ),
    },
}  # fmt: skip
