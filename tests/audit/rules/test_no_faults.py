"""What only looks like a fault: shapes of right code for which the audit says no error."""

# ruff: noqa: E501 (lines of programs)

import pytest
from corpus.net_folder import errors_of, text_findings

BUFFER = 'self.register_buffer("mask", torch.ones(3), persistent=False)'
OWN_BUFFER = (
    "class Turn(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n        self.width = width\n\n"
    "    def build(self, device):\n        turns = torch.arange(self.width, device=device)\n"
    "        self.register_buffer('turns', turns, persistent=False)\n\n"
    "    def forward(self, x):\n        if not hasattr(self, 'turns'):\n            self.build(x.device)\n        return x\n"
)


@pytest.mark.parametrize(
    "parts",
    [
        {"forward": BUFFER},
        {"forward": "self.build(3)", "more": f"def build(self, n):\n    {BUFFER}"},
        {"forward": f"if not hasattr(self, 'mask'):\n    {BUFFER}"},
        {"top": OWN_BUFFER, "init": "self.turn = Turn(config.width)"},
        {"more": "def resize(self, n):\n    self.mask = nn.Buffer(torch.ones(n), persistent=False)"},
    ],
)
def test_buffers_that_are_registered_after_the_load(parts, tmp_path):
    assert errors_of(tmp_path, **parts) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"init": "self.build(3)", "more": f"def build(self, n):\n    {BUFFER}"},
        {"init": "self.make = self.build", "more": f"def build(self, n):\n    {BUFFER}"},
        {"more": f"def post_init(self):\n    super().post_init()\n    {BUFFER}"},
        {"init": BUFFER},
    ],
)
def test_buffers_that_are_registered_in_the_constructor(parts, tmp_path):
    assert errors_of(tmp_path, **parts, forward="self.mask.sum()") == ["P12"]


@pytest.mark.parametrize(
    "init",
    [
        "self.g = nn.Parameter(torch.ones(8)) if config.width > 4 else None",
        "self.g = None if config.width < 4 else nn.Parameter(torch.zeros(config.width))",
        "if config.width > 4:\n    self.g = nn.Parameter(torch.ones(8))\nelse:\n    self.g = None",
        "if config.width > 4:\n    self.g = nn.Parameter(torch.ones(8))\nelse:\n    self.register_parameter('g', None)",
        "self.g = None\nif config.width > 4:\n    self.g = nn.Parameter(torch.empty(8))",
        "for name in ('g', 'h'):\n    setattr(self, name, nn.Parameter(torch.ones(8)) if config.width else None)",
    ],
)
def test_parameters_behind_a_condition(init, tmp_path):
    assert errors_of(tmp_path, init=init) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"forward": "depth = self.words.config.depth"},
        {"more": "def ask(self, other):\n    return other.config.depth"},
        {"more": "def ask(self, tower):\n    config = tower.config\n    return config.depth"},
        {"more": "def ask(self, configs):\n    return [config.depth for config in configs]"},
        {"more": "def ask(self):\n    from types import SimpleNamespace\n    config = SimpleNamespace(depth=2)\n    return config.depth"},
        {"top": "class Side(nn.Module):\n    def __init__(self, config: dict):\n        super().__init__()\n        self.n = config.depth\n"},
        {"top": "class Side:\n    def __init__(self, tokenizer):\n        self.config = tokenizer\n\n    def n(self):\n        return self.config.depth\n"},
    ],
)  # fmt: skip
def test_fields_of_another_object_that_is_called_config(parts, tmp_path):
    assert errors_of(tmp_path, **parts) == []


@pytest.mark.parametrize(
    "top",
    [
        "from transformers import LogitsProcessor\n\n\nclass RepeatLogitsProcessor(LogitsProcessor):\n    def __call__(self, ids, scores):\n        return scores\n",
        "from transformers.generation import LogitsProcessorList\n\n\nclass OwnProcessorList(LogitsProcessorList):\n    pass\n",
        "class BatchProcessor:\n    def __call__(self, rows):\n        return rows\n",
        "class TextProcessor(nn.Module):\n    def forward(self, x):\n        return x\n",
        "class AttnProcessor2_0:\n    def __init__(self):\n        self.scale = 1.0\n",
    ],
)
def test_classes_called_processor_that_are_none(top, tmp_path):
    assert errors_of(tmp_path, top=top) == []


GUARDED = "def late():\n    try:\n        from .side_text import FAST\n    except ImportError:\n        FAST = None\n    return FAST\n"


@pytest.mark.parametrize(
    "parts",
    [
        {"top": "def late():\n    try:\n        import absent_package\n    except ImportError:\n        absent_package = None\n    return absent_package\n"},
        {"more": "def fast(self):\n    try:\n        from absent_package import quick\n    except (ImportError, OSError):\n        return None\n    return quick"},
        {"top": "from .side_text import FAST\n", "files": {"side_text.py": "try:\n    import absent_package\n\n    FAST = True\nexcept ImportError:\n    FAST = False\n"}},
        {"top": GUARDED, "files": {"side_text.py": "FAST = 1\n"}},
        {"top": "def late():\n    try:\n        import absent_package\n    except ModuleNotFoundError:\n        return None\n    return absent_package\n"},
    ],
)  # fmt: skip
def test_an_import_in_a_function_that_is_guarded(parts, tmp_path):
    assert errors_of(tmp_path, **parts) == []


@pytest.mark.parametrize(
    "lines",
    [
        'import os\n\nFAST = os.environ.get("TEXT_FAST", "0") == "1"\n',
        'import os\n\nFAST = bool(int(os.getenv("DISABLE_FLASH_ATTN", "0")))\n',
        'import os\n\nif os.environ.get("XFORMERS_DISABLED") is None:\n    FAST = True\n',
        'import os\n\nFAST = "TEXT_DEBUG" in os.environ\n',
        'from os import environ\n\nFAST = environ.get("USE_TRITON", "") not in ("", "0", "false")\n',
    ],
)
def test_a_flag_of_the_environment_is_no_secret(lines, tmp_path):
    assert errors_of(tmp_path, top=lines) == []


@pytest.mark.parametrize(
    "line",
    [
        "# -*- coding: utf-8 -*-",
        "# coding=utf8",
        "# vim: set fileencoding=UTF-8 :",
        "#!/usr/bin/env python\n# -*- coding: utf_8 -*-",
        "# encoding: utf-8-sig",
    ],
)
def test_a_coding_line_that_means_utf_8(line, tmp_path):
    text = f'{line}\n"""Größe."""\n\nSIZE = 1\n'
    assert errors_of(tmp_path, top="from .side_text import SIZE\n", files={"side_text.py": text}) == []


LOADS = "@classmethod\ndef from_pretrained(cls, path, config=None, **kwargs):\n    {}\n"


@pytest.mark.parametrize(
    "load",
    [
        "return cls(config or TextConfig())",
        "model = cls(TextConfig.from_pretrained(path))\n    model.load_state_dict(torch.load(path, weights_only=True))\n    return model",
        "with torch.device('cpu'):\n        return cls(config)",
    ],
)
@pytest.mark.parametrize(
    "init", ["self.rate = torch.ones(1).item()", "self.turns = torch.arange(4)", "self.to('cpu')"]
)
def test_a_class_that_loads_itself_without_the_meta_device(load, init, tmp_path):
    findings = text_findings(tmp_path, init=init, more=LOADS.format(load))
    assert [f.code for f in findings if f.severity == "error" and f.code.startswith("P")] == []
