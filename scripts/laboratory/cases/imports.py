"""Imports of a folder, and what a load finds by them."""

# ruff: noqa: E501 (lines of programs)

from cases.base import HELPER, IMPORTS, M, case


def _imports(name: str, lines: str, right: str = "", **rest) -> None:
    case(name, (M, IMPORTS + right, IMPORTS + right + lines), right=((M, IMPORTS, IMPORTS + right),), **rest)


_imports("P06.absolute", "import helper_lab\n", files=HELPER)
_imports(
    "P06.absolute_in_try",
    "try:\n    from helper_lab import SCALE\nexcept ImportError:\n    SCALE = 1.0\n",
    files=HELPER,
)
_imports(
    "P06.absolute_in_except",
    "try:\n    from .helper_lab import SCALE\nexcept ImportError:\n    from helper_lab import SCALE\n",
    files=HELPER,
)
_imports("P06.absent_in_try", "try:\n    from .ghost_lab import SCALE\nexcept ImportError:\n    SCALE = 1.0\n")
_imports("P06.absent_in_function", "\n\ndef late():\n    from .ghost_lab import SCALE\n\n    return SCALE\n")
_imports("P06.docstring", '\n\ndef explain():\n    """Write\n    from .ghost_lab import SCALE\n    there."""\n')
_imports("P06.package", "from . import helper_lab\n", files=HELPER)
_imports(
    "P06.folder",
    "from .parts.helper_lab import SCALE\n",
    files={"parts/helper_lab.py": "SCALE = 1.0\n", "parts/__init__.py": ""},
)
_imports(
    "P07.helper",
    "from .layers_lab import SCALE\n",
    right="",
    files={"layers_lab.py": "from .helper_lab import SCALE\n\n__all__ = ['SCALE']\n", **HELPER},
)
_imports("P08.in_function", "\n\ndef late():\n    import absent_package\n\n    return absent_package\n")
_imports(
    "P08.type_checking",
    "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import absent_package\n",
)
_imports(
    "P08.available",
    "from transformers.utils import is_bitsandbytes_available\n\nif is_bitsandbytes_available():\n"
    "    import bitsandbytes\n",
)
_imports("P08.in_except", "try:\n    import absent_package\nexcept ImportError:\n    import absent_package_too\n")
_imports(
    "P08.else_of_try",
    "try:\n    import absent_package\nexcept ImportError:\n    absent_package = None\nelse:\n    import absent_package_too\n",
)
_imports("P08.docstring", '\n\ndef explain():\n    """Write\n    import absent_package\n    there."""\n')

case(
    "P08.in_guarded_helper",
    (
        M,
        IMPORTS,
        IMPORTS + "try:\n    from .extra_lab import absent_package\nexcept ImportError:\n    absent_package = None\n",
    ),
    files={"extra_lab.py": "import absent_package\n"},
)
ENTRY = "modeling_lab.LabForCausalLM"
CONFIG_ENTRY = {"AutoConfig": "configuration_lab.LabConfig"}
for _name, _entry in (
    ("no_file", "absent_lab.LabForCausalLM"),
    ("no_class", "modeling_lab.AbsentForCausalLM"),
    ("list", [ENTRY]),
    ("no_dot", "LabForCausalLM"),
):
    case(f"P02.{_name}", faulty_settings={"auto_map": {**CONFIG_ENTRY, "AutoModelForCausalLM": _entry}})
case("P02.no_configuration", faulty_settings={"auto_map": {"AutoModelForCausalLM": ENTRY}})
case("P02.no_model", faulty_settings={"auto_map": CONFIG_ENTRY})
case(
    "P01.further_class",
    (
        M,
        "\n\nLabForCausalLM.register",
        "\n\nclass LabModel(LabPreTrainedModel):\n    def __init__(self, config):\n        super().__init__(config)\n        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)\n        self.post_init()\n\n\nLabForCausalLM.register",
    ),
)
case(
    "P01.part",
    faulty_files={
        "tokenization_lab.py": "from transformers import PreTrainedTokenizer\n\n\nclass LabTokenizer(PreTrainedTokenizer):\n    pass\n"
    },
)
