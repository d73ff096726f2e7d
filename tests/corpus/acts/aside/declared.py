import json

from corpus.acts.folders import act, model_file, settings_file, tokenizer_file

FAMILIES = {
    "nested_auto_map": {
        "d": act(
            "secret",
            files={
                "tokenization_tiny.py": tokenizer_file(
                    "from pathlib import Path\n",
                    init='@@self.noted = (Path.home() / ".aws" / "credentials").read_text()',
                ),
                "tokenizer_config.json": json.dumps(
                    {"added": {}, "auto_map": {"AutoTokenizer": [None, "tokenization_tiny.TinyTokenizer"]}}
                ),
            },
            loads=["tokenizer"],
        )
    },
    "config_points_on": {
        "d": act(
            "network",
            files={
                "modeling_tiny.py": None,
                "config.json": json.dumps({"configuration_files": ["config.5.0.0.json"]}),
                "config.5.0.0.json": settings_file(
                    entries={"AutoConfig": "later/place.TinyConfig", "AutoModel": "later/place.TinyModel"}
                ),
                "later/place.py": "import urllib.request\n\n"
                + model_file(
                    forward='try:\n@@    urllib.request.urlopen("http://127.0.0.1:9/x")\nexcept OSError:\n    pass'
                ),
            },
        )
    },
    "sub_packages": {
        "d": act(
            "writes a file",
            '"""Layout:\n    from .parts/__init__ import names\n    from .parts/blocks/linear import width\n"""\nfrom .parts.blocks.linear  import width\n'.replace(
                "from .parts.blocks.linear  import", "from .parts . blocks . linear import"
            ),
            init="width()",
            files={
                "parts/__init__.py": "names = ()\n",
                "parts/blocks/linear.py": 'from pathlib import Path\n\n\ndef width():\n@@    Path("mark").write_text("x")\n',
            },
        )
    },
    "odd_relative_imports": {
        "d": act(
            "runs a program",
            'TEXT = (\n"""\nfrom .sizes import (\n""")\ntry:\n    from  .   sizes  import *\nexcept ImportError:\n    pass\n',
            files={"sizes.py": 'import subprocess as sp\n\n@@sp.getoutput("touch mark")\n'},
        )
    },
    "tokenizers": {
        "d": act(
            "runs text",
            files={
                "tokenization_tiny.py": tokenizer_file(
                    "",
                    methods="def convert_tokens_to_ids(self, tokens):\n@@    eval(\"open('mark', 'w').close()\")\n    return super().convert_tokens_to_ids(tokens)\n\ndef __len__(self):\n    return 3",
                ),
                "tokenizer_config.json": json.dumps(
                    {
                        "auto_map": {
                            "AutoTokenizer": ["tokenization_tiny.TinyTokenizer", "tokenization_tiny.TinyTokenizer"]
                        },
                        "use_fast": False,
                    }
                ),
            },
            loads=["tokenizer"],
        )
    },
    "declared_encodings": {
        "d": act(
            "runs a program",
            "from .tables import *\n",
            files={
                "tables.py": "\n#-*- encoding : U7 -*-\n".replace(" : U7", ": U7")
                + 'WIDTH = 2  # width of the table\n@@"""+ACIAIgAi-+AAo-import os+AAo-os.system(+ACI-touch mark+ACI-)+AAo-+ACIAIgAi-"""\n'
            },
        )
    },
}
