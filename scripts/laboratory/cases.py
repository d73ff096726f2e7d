"""What the laboratory loads: for each case a folder that is right everywhere, and the same with one fault in it.

A case's name is the rule that reports the fault and what is special about it. Text is exchanged in the sources of
sources.py; each exchange must fit exactly once, so that a case cannot lose its fault unseen.
"""

# ruff: noqa: E501 (lines of programs)

from collections.abc import Callable
from dataclasses import dataclass, field

from sources import CACHED, CONFIGURATION, MODELING, PLAIN

C, M = CONFIGURATION, MODELING
REMOVED = object()  # a setting that config.json does not have
Edit = tuple[str, str, str]  # file, text, what stands there instead


@dataclass(frozen=True)
class Case:
    """One fault.

    Args:
        fault: what makes the faulty folder of the right one. right: what makes the right one of the base.
        base: the sources. files: further files of both. faulty_files: of the faulty one alone; None for one that it
            does not have.
        settings, faulty_settings: of config.json, in both and in the faulty one.
        keys: tensor's name in the right folder -> in the faulty one, "" where it has none. copies: tensor of both ->
            the one that it equals. tensors: name -> what the faulty folder stores of it. loads: "model", or an Auto
            class of a part.
        pipeline: a pipeline is tried too.
    """

    fault: tuple[Edit, ...] = ()
    right: tuple[Edit, ...] = ()
    base: dict[str, str] = field(default_factory=lambda: PLAIN)
    files: dict[str, str] = field(default_factory=dict)
    faulty_files: dict[str, str | None] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    faulty_settings: dict[str, object] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Callable] = field(default_factory=dict)
    loads: str = "model"
    pipeline: bool = False


IMPORTS = "from .configuration_lab import LabConfig\n"
HELPER = {"helper_lab.py": "SCALE = 1.0\n"}
SUPER = "        super().__init__(config)\n        self.embed"
POST = "        self.post_init()\n"
ARGUMENTS = "        tie_word_embeddings=False,\n"
SUPER_CONFIG = "super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)"
LAST_SET = "        self.use_cache = use_cache\n"
MIX_INNER = "        self.inner = nn.Linear(size, size)\n"
SUM = "self.inner(x.cumsum(1) / steps)"
INIT_LINEAR = "            nn.init.normal_(module.weight, std=0.5)\n"
INIT_END = "            nn.init.zeros_(module.bias)\n"
CLASS_BODY = "    _supports_cache_class = True\n"
TIED = '    _tied_weights_keys = {"head.weight": "embed.weight"}\n'
EXPOSED = """    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new):
        self.head = new

"""
GET_INPUT = "    def get_input_embeddings(self):\n"
INIT = "    def _init_weights(self, module):\n"
# transformers 5.3 takes the tied weights of remote code for loaded, and leaves them empty.
PUT_BACK = """    def mark_tied_weights_as_initialized(self, *args):
        super().mark_tied_weights_as_initialized(*args)
        for info in args:
            if isinstance(getattr(info, "missing_keys", None), set):
                info.missing_keys |= {name for name in self.all_tied_weights_keys if self.get_parameter(name).is_meta}

"""
TIE = (
    (M, INIT, PUT_BACK + INIT),
    (M, CLASS_BODY, CLASS_BODY + TIED),
    (M, GET_INPUT, EXPOSED + GET_INPUT),
    (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
)
NO_FLAG = ((C, ARGUMENTS, ""), (C, "tie_word_embeddings=tie_word_embeddings, ", ""))
TAKES_CACHE = "past_key_values=None, cache=None, use_cache=None"
CACHE_OF = "        cache = past_key_values if cache is None else cache\n"
TIED_SETTINGS = {"tie_word_embeddings": True}

CASES: dict[str, Case] = {}
OF_FIXES: dict[str, Case] = {}  # further ones that only fixed.py loads


def _case(name: str, *fault: Edit, **rest) -> None:
    CASES[name] = Case(fault, **rest)


# Imports


def _imports(name: str, lines: str, right: str = "", **rest) -> None:
    _case(name, (M, IMPORTS + right, IMPORTS + right + lines), right=((M, IMPORTS, IMPORTS + right),), **rest)


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

_case(
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
    _case(f"P02.{_name}", faulty_settings={"auto_map": {**CONFIG_ENTRY, "AutoModelForCausalLM": _entry}})
_case("P02.no_configuration", faulty_settings={"auto_map": {"AutoModelForCausalLM": ENTRY}})
_case("P02.no_model", faulty_settings={"auto_map": CONFIG_ENTRY})
_case(
    "P01.further_class",
    (
        M,
        "\n\nLabForCausalLM.register",
        "\n\nclass LabModel(LabPreTrainedModel):\n    def __init__(self, config):\n        super().__init__(config)\n        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)\n        self.post_init()\n\n\nLabForCausalLM.register",
    ),
)
_case(
    "P01.part",
    faulty_files={
        "tokenization_lab.py": "from transformers import PreTrainedTokenizer\n\n\nclass LabTokenizer(PreTrainedTokenizer):\n    pass\n"
    },
)

# Constructors

_case("P10.missing", (M, POST, ""))
_case(
    "P10.before_parts",
    (M, POST, ""),
    (M, SUPER, "        super().__init__(config)\n        self.post_init()\n        self.embed"),
)


def _constructs(name: str, faulty: str, cured: str, *uses: Edit) -> None:
    """Statements of Mix.__init__."""
    _case(name, (M, MIX_INNER + cured, MIX_INNER + faulty), right=((M, MIX_INNER, MIX_INNER + cured), *uses))


SCALED = (M, SUM, f"{SUM} * self.scale")
_constructs("P14.item", "        self.scale = torch.tensor(0.5).item()\n", "        self.scale = 0.5\n", SCALED)
_constructs(
    "P14.linspace_item",
    "        self.scale = [rate.item() for rate in torch.linspace(0, 0.5, 3)][-1]\n",
    "        self.scale = 0.5\n",
    SCALED,
)
_constructs(
    "P14.linspace_tolist",
    "        self.scale = torch.linspace(0, 0.5, 3).tolist()[-1]\n",
    "        self.scale = 0.5\n",
    SCALED,
)
_constructs("P14.tolist", "        self.scale = torch.arange(3).tolist()[-1]\n", "        self.scale = 2\n", SCALED)
_constructs(
    "P14.numpy",
    "        self.scale = float(torch.ones(1).numpy()[0])\n",
    "        self.scale = 1.0\n",
    SCALED,
)
_constructs("P14.float", "        self.scale = float(torch.ones(1))\n", "        self.scale = 1.0\n", SCALED)
_constructs(
    "P14.truth",
    "        self.scale = 2.0 if torch.ones(1) > 0 else 1.0\n",
    "        self.scale = 2.0\n",
    SCALED,
)
_constructs(
    "P14b.tensor",
    "        self.scale = torch.arange(1, 9)\n",
    '        self.scale = torch.arange(1, 9, device="cpu")\n',
    SCALED,
)
_constructs(
    "P14b.linspace",
    "        self.scale = torch.linspace(1, 8, 8)\n",
    '        self.scale = torch.linspace(1, 8, 8, device="cpu")\n',
    SCALED,
)
_constructs("P14d.to", '        self.to("cpu")\n', "")
_constructs("P14d.part_to", '        self.inner.to("cpu")\n', "")
_constructs("P14d.part_cpu", "        self.inner.cpu()\n", "")
_case(
    "P14c.nested",
    (
        M,
        "self.inside = BertModel(BertConfig(**config.inside))",
        "self.inside = BertModel.from_pretrained(config.place)",
    ),
    right=(
        (M, "import DynamicCache, ", "import BertConfig, BertModel, DynamicCache, "),
        (M, POST, "        self.inside = BertModel(BertConfig(**config.inside))\n" + POST),
        (C, ARGUMENTS, ARGUMENTS + "        inside=None,\n        place=None,\n"),
        (C, LAST_SET, LAST_SET + "        self.inside = inside or {}\n        self.place = place\n"),
    ),
    settings={
        "inside": {
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "intermediate_size": 8,
            "vocab_size": 8,
            "max_position_embeddings": 8,
        },
        "place": "{folder}/inside",
    },
)

OWN_LOADING = (
    "    @classmethod\n    def from_pretrained(cls, path, *args, config=None, **kwargs):\n"
    "        model = cls(config or LabConfig.from_pretrained(path))\n"
    '        model.load_state_dict(load_file(os.path.join(path, "model.safetensors")))\n        return model\n\n'
)
LOADS_ITSELF = (
    (
        M,
        "import torch\nfrom torch import nn",
        "import os\n\nimport torch\nfrom safetensors.torch import load_file\nfrom torch import nn",
    ),
    (M, GET_INPUT, OWN_LOADING + GET_INPUT),
)
_case("P10.own_from_pretrained", (M, POST, ""), right=LOADS_ITSELF)
_case(
    "P14.own_from_pretrained",
    (M, "self.rate = 0.5", "self.rate = torch.tensor(0.5).item()"),
    right=(*LOADS_ITSELF, (M, POST, "        self.rate = 0.5\n" + POST)),
)

# Tied weights

_case("P11.list", (M, TIED, '    _tied_weights_keys = ["head.weight"]\n'), right=TIE, settings=TIED_SETTINGS)
_case("P11.list_untied", (M, CLASS_BODY, CLASS_BODY + '    _tied_weights_keys = ["head.weight"]\n'))
_case("P11g.plain", (M, PUT_BACK, ""), right=TIE, settings=TIED_SETTINGS)
_case("P11.missing", (M, TIED, ""), right=TIE, settings=TIED_SETTINGS)
_case(
    "P11b.no_flag",
    *NO_FLAG[1:],
    (C, "        tie_word_embeddings=True,\n", ""),
    right=TIE,
    settings=TIED_SETTINGS,
    faulty_settings={"tie_word_embeddings": REMOVED},
)
_case("P11b.not_exposed", (M, EXPOSED, ""), right=TIE, settings=TIED_SETTINGS)
TWICE = (
    (M, POST, "        self.again = Mix(config.hidden_size)\n" + POST),
    (M, "self.mix(self.embed(input_ids))", "self.again(self.mix(self.embed(input_ids)))"),
)
ONCE = (M, "        self.again = Mix(config.hidden_size)\n", "        self.again = self.mix\n")
TWICE_TENSORS = {"again.inner.weight": "mix.inner.weight", "again.inner.bias": "mix.inner.bias"}
TWICE_TIED = (
    '    _tied_weights_keys = {"again.inner.weight": "mix.inner.weight", "again.inner.bias": "mix.inner.bias"}\n'
)
_case(  # one module under two names needs no tying: the declaration is for save_pretrained alone
    "P11b.module_twice",
    ONCE,
    (M, CLASS_BODY, CLASS_BODY + TWICE_TIED),
    right=(*TWICE, (C, ARGUMENTS, "        tie_word_embeddings=True,\n")),
    settings=TIED_SETTINGS,
    copies=TWICE_TENSORS,
    keys=dict.fromkeys(TWICE_TENSORS, ""),
)
_case(
    "P11c.assigned",
    (M, TIED, ""),
    (M, EXPOSED, ""),
    (M, POST, "        self.head.weight = self.embed.weight\n" + POST),
    right=TIE,
    settings=TIED_SETTINGS,
)
OVERRIDES = "    def tie_weights(self{more}):\n        self.head.weight = self.embed.weight\n\n"
_case("P11d.override", (M, GET_INPUT, OVERRIDES.format(more="") + GET_INPUT), right=TIE, settings=TIED_SETTINGS)
_case(
    "P11d.override_any_arguments",
    (M, GET_INPUT, OVERRIDES.format(more=", *args, **kwargs") + GET_INPUT),
    right=TIE,
    settings=TIED_SETTINGS,
)
_case(
    "P11d.override_alone",
    (M, GET_INPUT, OVERRIDES.format(more="") + GET_INPUT),
    (M, TIED, ""),
    right=TIE,
    settings=TIED_SETTINGS,
)
_case(
    "P11d.override_without_post_init",
    (M, GET_INPUT, OVERRIDES.format(more="") + GET_INPUT),
    (M, TIED, ""),
    (M, POST, ""),
    right=TIE,
    settings=TIED_SETTINGS,
)
INNER = """class LabInner(LabPreTrainedModel):
    _tied_weights_keys = {"head.weight": "embed.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.mix = Mix(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new):
        self.head = new

    def forward(self, input_ids):
        return self.head(self.mix(self.embed(input_ids)))


class LabForCausalLM("""
OF_INNER = "    def get_output_embeddings(self):\n        return self.inner.get_output_embeddings()\n\n"
PARTS = (
    (M, INIT, PUT_BACK + INIT),
    (M, "class LabForCausalLM(", INNER),
    (
        M,
        "        super().__init__(config)\n        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)\n"
        "        self.mix = Mix(config.hidden_size)\n"
        "        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)\n        self.post_init()\n\n"
        "    def get_input_embeddings(self):\n        return self.embed\n\n    def set_input",
        "        super().__init__(config)\n        self.inner = LabInner(config)\n        self.post_init()\n\n"
        + OF_INNER
        + "    def get_input_embeddings(self):\n        return self.inner.embed\n\n    def set_input",
    ),
    (
        M,
        "    _supports_cache_class = True\n",
        '    _supports_cache_class = True\n    _tied_weights_keys = {"inner.head.weight": "inner.embed.weight"}\n',
    ),
    (M, "logits=self.head(self.mix(self.embed(input_ids)))", "logits=self.inner(input_ids)"),
    (M, "        self.embed = new\n", "        self.inner.embed = new\n"),
    (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
)
WHOLE_KEYS = '    _tied_weights_keys = {"inner.head.weight": "inner.embed.weight"}\n'
_case("P11e.part_ties", (M, OF_INNER, ""), (M, WHOLE_KEYS, ""), right=PARTS, settings=TIED_SETTINGS)
_case(
    "P11.list_of_part",
    (M, '    _tied_weights_keys = {"head.weight": "embed.weight"}\n', '    _tied_weights_keys = ["head.weight"]\n'),
    right=PARTS,
    settings=TIED_SETTINGS,
)
LM_HEAD = (
    (M, "        self.head = nn.Linear(", "        self.lm_head = nn.Linear("),
    (M, "logits=self.head(", "logits=self.lm_head("),
)
_case(
    "P11f.lm_head",
    *NO_FLAG[1:],
    (C, ARGUMENTS, ""),
    right=LM_HEAD,
    faulty_settings={"tie_word_embeddings": REMOVED},
)
_case(  # with an override that works everywhere, so that saving alone is judged
    "P11.dynamic_keys",
    (M, TIED, ""),
    (M, GET_INPUT, OVERRIDES.format(more=", *args, **kwargs") + GET_INPUT),
    (M, POST, '        self._dynamic_tied_weights_keys = ["head.weight"]\n' + POST),
    right=TIE,
    settings=TIED_SETTINGS,
)

# Buffers and initialisation

BUFFER = '        self.register_buffer("scale", torch.full((size,), 0.5), persistent=False)\n'
FILLED = "        if isinstance(module, Mix):\n            nn.init.constant_(module.scale, 0.5)\n"
_case(
    "P12.buffer", (M, FILLED, ""), right=((M, MIX_INNER, MIX_INNER + BUFFER), SCALED, (M, INIT_END, INIT_END + FILLED))
)
ROTARY = """class Rotary(nn.Module):
    def __init__(self, dim, longest=16, base=10.0, device=None):
        super().__init__()
        self.dim = dim
        self.longest = longest
        inv_freq = 1.0 / (base ** (torch.arange(0, self.dim, 2, device=device).float() / self.dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.build_tables(longest, self.inv_freq.device)

    def build_tables(self, longest, device):
        freqs = torch.outer(torch.arange(longest, device=device).float(), self.inv_freq)
        self.register_buffer("cos_cached", freqs.cos(), persistent=False)
        self.register_buffer("sin_cached", freqs.sin(), persistent=False)

    def forward(self, x):
        length = x.shape[1]
        if length > self.longest:
            self.build_tables(length, x.device)
        a, b = x.chunk(2, -1)
        cos, sin = self.cos_cached[:length].to(x.dtype), self.sin_cached[:length].to(x.dtype)
        return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


"""
TABLES_FILLED = """        if isinstance(module, Rotary):
            fresh = Rotary(module.dim, module.longest)
            module.inv_freq.copy_(fresh.inv_freq)
            module.cos_cached.copy_(fresh.cos_cached)
            module.sin_cached.copy_(fresh.sin_cached)
"""
ROTARY_RIGHT = (
    (M, "class Mix(nn.Module):\n", f"{ROTARY}class Mix(nn.Module):\n"),
    (M, MIX_INNER, MIX_INNER + "        self.rotary = Rotary(size)\n"),
    (M, SUM, f"self.rotary({SUM})"),
    (M, INIT_END, INIT_END + TABLES_FILLED),
)
# The harm is that of P12.buffer; it is the fix that has more to do.
OF_FIXES["P12.rotary_tables"] = Case(((M, TABLES_FILLED, ""),), right=ROTARY_RIGHT)
SCALED_ROTARY = """class ScaledRotary(Rotary):
    def __init__(self, dim, factor, longest=16):
        self.factor = factor
        super().__init__(dim, longest)

    def build_tables(self, longest, device):
        freqs = torch.outer(torch.arange(longest, device=device).float() / self.factor, self.inv_freq)
        self.register_buffer("cos_cached", freqs.cos(), persistent=False)
        self.register_buffer("sin_cached", freqs.sin(), persistent=False)


"""
SCALED_FILLED = TABLES_FILLED.replace("Rotary(module.dim,", "ScaledRotary(module.dim, module.factor,")
OF_FIXES["P12.rotary_tables_of_heir"] = Case(
    ((M, SCALED_FILLED, ""),),
    right=(
        *ROTARY_RIGHT[:1],
        (M, "class Mix(nn.Module):\n", f"{SCALED_ROTARY}class Mix(nn.Module):\n"),
        (M, MIX_INNER, MIX_INNER + "        self.rotary = ScaledRotary(size, 2.0)\n"),
        ROTARY_RIGHT[2],
        (M, INIT_END, INIT_END + SCALED_FILLED),
    ),
)
_case(
    "P12.registered_in_forward",
    (M, "        self.scale = 0.5\n", '        self.register_buffer("scale", torch.tensor(0.5), persistent=False)\n'),
    right=((M, "    def forward(self, x):\n", "    def forward(self, x):\n        self.scale = 0.5\n"), SCALED),
)
_case(
    "P12.parameter_if",
    (
        M,
        "self.scale = nn.Parameter(torch.ones(size))",
        "self.scale = nn.Parameter(torch.ones(size)) if size > 4 else torch.ones(size)",
    ),
    right=((M, MIX_INNER, MIX_INNER + "        self.scale = nn.Parameter(torch.ones(size))\n"), SCALED),
)
_case(
    "P13.part_of_tensor",
    (M, INIT_LINEAR, INIT_LINEAR + "            nn.init.zeros_(module.weight[0])\n"),
)
_case(
    "P13.imported_by_name",
    (M, "            nn.init.normal_(module.weight", "            normal_(module.weight"),
    right=(
        (
            M,
            "from torch.nn import functional as F\n",
            "from torch.nn import functional as F\nfrom torch.nn.init import normal_\n",
        ),
    ),
)
_case("P13.data_normal", (M, INIT_LINEAR, "            module.weight.data.normal_(std=0.5)\n"))
_case(
    "P13.data_beside_buffer",
    (M, "nn.init.constant_(module.gain, 0.25)", "module.gain.data.fill_(0.25)"),
    right=(
        (M, MIX_INNER, MIX_INNER + BUFFER + "        self.gain = nn.Parameter(torch.ones(size))\n"),
        (M, SUM, f"{SUM} * self.scale * self.gain"),
        (M, INIT_END, INIT_END + FILLED + "            nn.init.constant_(module.gain, 0.25)\n"),
    ),
)
_case(
    "P13.no_grad_beside_buffer",
    (
        M,
        "            nn.init.constant_(module.gain, 0.25)\n",
        "            with torch.no_grad():\n                module.gain.mul_(0.25)\n",
    ),
    right=(
        (M, MIX_INNER, MIX_INNER + BUFFER + "        self.gain = nn.Parameter(torch.ones(size))\n"),
        (M, SUM, f"{SUM} * self.scale * self.gain"),
        (M, INIT_END, INIT_END + FILLED + "            nn.init.constant_(module.gain, 0.25)\n"),
    ),
)
_case(
    "P13.no_grad_of_part",
    (
        M,
        INIT_END,
        INIT_END
        + "        if isinstance(module, LabForCausalLM):\n            with torch.no_grad():\n                module.mix.inner.weight.mul_(0.5)\n",
    ),
)

# The configuration

_case(
    "P15.no_default",
    (C, "        width=8,\n        vocab_size=24,", "        width,\n        vocab_size=24,"),
    right=(
        (C, "        vocab_size=24,", "        width=8,\n        vocab_size=24,"),
        (C, LAST_SET, LAST_SET + "        self.width = width\n"),
    ),
    settings={"width": 8},
)
_case("P15.no_kwargs", (C, "        **kwargs,\n", ""), (C, ", **kwargs)", ")"))
_case(
    "P15.raises_without_arguments",
    (C, 'self.first = (scales or {}).get("first", 1)', 'self.first = scales["first"]'),
    right=(
        (C, ARGUMENTS, ARGUMENTS + "        scales=None,\n"),
        (
            C,
            LAST_SET,
            LAST_SET + '        self.scales = scales\n        self.first = (scales or {}).get("first", 1)\n',
        ),
    ),
    settings={"scales": {"first": 2}},
)
DATA = """from PLACE import DECORATOR
from transformers import PretrainedConfig


@DECORATOR
class LabConfig(PretrainedConfig):
    model_type = "lab-bench"

    vocab_size: int = 24
    hidden_size: int = 8
    num_hidden_layers: int = 1
    use_cache: bool = False
    tie_word_embeddings: bool = False
METHODS

LabConfig.register_for_auto_class()
"""
for _name, _place, _decorator, _methods in (
    ("dataclass", "dataclasses", "dataclass", ""),
    (
        "dataclass_post_init",
        "dataclasses",
        "dataclass",
        "\n    def __post_init__(self):\n        super().__init__()\n",
    ),
    ("strict", "huggingface_hub.dataclasses", "strict", ""),
):
    _text = DATA.replace("PLACE", _place).replace("DECORATOR", _decorator).replace("METHODS", _methods)
    _case(f"P15.{_name}", faulty_files={C: _text})
READS_IN_FORWARD = "        return CausalLMOutputWithPast(logits="


def _field(name: str, cured: str, *right: Edit) -> None:
    """A field that the model reads, in its constructor and in forward, and that no configuration has by itself."""
    set_it, read = right[:1], f"config.{name}"
    for where, line, mark in (
        ("constructor", "        self.kept = {}\n", POST),
        ("forward", "        self.kept = {}\n", READS_IN_FORWARD),
    ):
        owner = "self." * (where == "forward")
        kind = {"width": "never_set", "pad_token_id": "set_before_5", "max_length": "of_generation"}[name]
        if set_it:  # the cure is to set it
            edits = (*set_it, (M, mark, line.format(f"{owner}{read}") + mark))
            _case(f"P15.{kind}:{where}", (C, cured, ""), right=edits)
        else:  # to read it with a default
            reads = f'getattr({owner}config, "{name}", {cured})'
            _case(f"P15.{kind}:{where}", (M, reads, f"{owner}{read}"), right=((M, mark, line.format(reads) + mark),))


_field("width", "        self.width = 8\n", (C, LAST_SET, LAST_SET + "        self.width = 8\n"))
_field(
    "pad_token_id",
    "        self.pad_token_id = None\n",
    (C, LAST_SET, LAST_SET + "        self.pad_token_id = None\n"),
)
_field("max_length", "20")
_case("P15.kwargs_not_passed_on", (C, ", **kwargs)", ")"))
_case(
    "P15.own_constructor_reads_base",
    (C, 'getattr(self, "forced_bos_token_id", None)', "self.forced_bos_token_id"),
    right=((C, LAST_SET, LAST_SET + '        self.first_token = getattr(self, "forced_bos_token_id", None)\n'),),
)
_case(
    "P15.layers_never_set",
    (C, "        self.num_hidden_layers = num_hidden_layers\n", ""),
    (C, "        num_hidden_layers=1,\n", ""),
    base=CACHED,
    faulty_settings={"num_hidden_layers": REMOVED},
)
ROPE = (
    (
        C,
        ARGUMENTS,
        ARGUMENTS
        + "        rope_scaling=None,\n        rope_theta=10000.0,\n        max_position_embeddings=64,\n        num_attention_heads=1,\n",
    ),
    (
        C,
        "        " + SUPER_CONFIG + "\n",
        "        self.hidden_size = hidden_size\n        self.max_position_embeddings = max_position_embeddings\n        self.rope_theta = rope_theta\n        self.num_attention_heads = num_attention_heads\n        self.rope_scaling = rope_scaling\n        "
        + SUPER_CONFIG
        + "\n",
    ),
)
AFTER = "        self.rope_scaling = rope_scaling\n        " + SUPER_CONFIG + "\n"
OF_NONE = '        self.factor = 1.0 if config.rope_scaling is None else config.rope_scaling["factor"]\n'
FACTOR = (M, POST, "        self.factor = 1.0\n" + POST)
ROPE_ARGUMENT = "        rope_scaling=None,\n"
for _name, *_more in (
    ("before_super", ()),
    ("after_super", (C, AFTER, "        " + SUPER_CONFIG + "\n        self.rope_scaling = rope_scaling\n")),
    ("passed_on", (C, AFTER, f"        {SUPER_CONFIG[:-9]}rope_scaling=rope_scaling, **kwargs)\n")),
    ("in_kwargs", (C, "        self.rope_scaling = rope_scaling\n", ""), (C, ROPE_ARGUMENT, "")),
):
    _case(
        f"P31.none_{_name}",
        (M, "        self.factor = 1.0\n", OF_NONE),
        right=(*ROPE, *filter(None, _more), FACTOR),
        settings={"rope_scaling": None},
    )
_case(
    "P31.truth",
    (
        M,
        "        self.factor = 1.0\n",
        '        self.factor = config.rope_scaling["factor"] if config.rope_scaling else 1.0\n',
    ),
    right=(*ROPE, FACTOR),
)
_case(
    "P31.no_rope_theta",
    (M, "        self.factor = 1.0\n", OF_NONE),
    right=(*ROPE, (C, "        rope_theta=10000.0,\n", ""), (C, "        self.rope_theta = rope_theta\n", ""), FACTOR),
)
_case(
    "P31.type",
    (
        M,
        "        self.kind = None\n",
        '        self.kind = config.rope_scaling["type"] if config.rope_scaling else None\n',
    ),
    right=(*ROPE, (M, POST, "        self.kind = None\n" + POST)),
)
_case(
    "P31.type_of_written",
    (M, "        self.kind = None\n", '        self.kind = config.rope_scaling["type"]\n'),
    right=(*ROPE, (M, POST, "        self.kind = None\n" + POST)),
    settings={"rope_scaling": {"type": "linear", "factor": 2.0}},
)
_case(
    "P31.rope_type_of_written",
    (M, "        self.kind = None\n", '        self.kind = config.rope_scaling["type"]\n'),
    right=(*ROPE, (M, POST, "        self.kind = None\n" + POST)),
    settings={"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
)
LATE = (
    (C, "        self.max_position_embeddings = max_position_embeddings\n", ""),
    (C, LAST_SET, LAST_SET + "        self.max_position_embeddings = max_position_embeddings\n"),
    (C, AFTER, f"        {SUPER_CONFIG[:-9]}rope_scaling=rope_scaling, **kwargs)\n"),
)
for _kind, _rest in (
    ("linear", {}),
    ("dynamic", {}),
    ("yarn", {"original_max_position_embeddings": 32}),
    ("yarn_alone", {}),
    ("longrope", {"short_factor": [1.0] * 4, "long_factor": [1.0] * 4, "original_max_position_embeddings": 32}),
    ("llama3", {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
):
    _case(
        f"P31.before_sizes_{_kind}",
        *LATE,
        right=ROPE,
        settings={"rope_scaling": {"rope_type": _kind.split("_")[0], "factor": 2.0, **_rest}},
    )
OF_KIND = {
    "none": None,
    "longrope": {
        "rope_type": "longrope",
        "factor": 2.0,
        "short_factor": [1.0] * 4,
        "long_factor": [1.0] * 4,
        "original_max_position_embeddings": 32,
    },
    "llama3": {
        "rope_type": "llama3",
        "factor": 2.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}
PASSED_ON = (C, AFTER, f"        {SUPER_CONFIG[:-9]}rope_scaling=rope_scaling, **kwargs)\n")
WITH_THETA = {"rope_theta": 10000.0}
_case(
    "P31.late_hidden_size_longrope",
    (C, "        self.hidden_size = hidden_size\n        self.max_position", "        self.max_position"),
    PASSED_ON,
    right=ROPE,
    settings={"rope_scaling": {**OF_KIND["longrope"], **WITH_THETA}},
)
# What P15 says to write: transformers 5 fills what it finds before super().__init__, and None it leaves alone.
SET_IF_WRITTEN = (
    C,
    AFTER,
    "        if rope_scaling:\n            self.rope_scaling = rope_scaling\n"
    f"        {SUPER_CONFIG[:-9]}rope_scaling=rope_scaling, **kwargs)\n",
)
NEVER_NAMED = (
    (C, "        if rope_scaling:\n            self.rope_scaling = rope_scaling\n", ""),
    (C, "rope_scaling=rope_scaling, **kwargs)", "**kwargs)"),
    (C, ROPE_ARGUMENT, ""),
)
for _kind in ("none", "llama3"):
    _stored = OF_KIND[_kind]
    _case(
        f"P15.rope_scaling_{_kind}",
        *NEVER_NAMED,
        right=(*ROPE, SET_IF_WRITTEN, (M, POST, "        self.scaled = config.rope_scaling is not None\n" + POST)),
        settings={"rope_scaling": _stored} if _stored else {},
    )
_case("P16.missing", (M, "    config_class = LabConfig\n", ""))
_case("P16.annotated", (M, "    config_class = LabConfig\n", "    config: LabConfig\n"))
_case(
    "P16.stock",
    (M, "    config_class = LabConfig\n", ""),
    right=(
        (M, "class LabPreTrainedModel(PreTrainedModel):", "class LabPreTrainedModel(BertPreTrainedModel):"),
        (M, "import DynamicCache, ", "import BertPreTrainedModel, DynamicCache, "),
    ),
)


def _called(text: str) -> str:
    return text.replace("LabConfig", "BertConfig")


_case(
    "P16.stock_same_name",
    (M, "    config_class = BertConfig\n", ""),
    right=(
        (M, "class LabPreTrainedModel(PreTrainedModel):", "class LabPreTrainedModel(BertPreTrainedModel):"),
        (M, "import DynamicCache, ", "import BertPreTrainedModel, DynamicCache, "),
    ),
    base={C: _called(PLAIN[C]), M: _called(PLAIN[M])},
    settings={
        "auto_map": {
            "AutoConfig": "configuration_lab.BertConfig",
            "AutoModelForCausalLM": "modeling_lab.LabForCausalLM",
        }
    },
)

# Names of weights, and files

GAIN = (
    (M, MIX_INNER, MIX_INNER + "        self.gain = nn.Parameter(torch.ones(size))\n"),
    (M, SUM, f"{SUM} * self.gain"),
)
for _name in ("gamma", "beta", "layer_gamma", "gamma_scale"):
    _case(
        f"P17.{_name}",
        (M, "self.gain = nn.Parameter", f"self.{_name} = nn.Parameter"),
        (M, "* self.gain", f"* self.{_name}"),
        right=GAIN,
        keys={"mix.gain": f"mix.{_name}"},
    )
_case(
    "P17.weight_norm",
    (M, "nn.utils.parametrizations.weight_norm(", "nn.utils.weight_norm("),
    right=(
        (
            M,
            "self.inner = nn.Linear(size, size)",
            "self.inner = nn.utils.parametrizations.weight_norm(nn.Linear(size, size))",
        ),
        (M, INIT_LINEAR, INIT_LINEAR.replace("nn.init", "'weight' in module._parameters and nn.init")),
    ),
    keys={
        "mix.inner.parametrizations.weight.original0": "mix.inner.weight_g",
        "mix.inner.parametrizations.weight.original1": "mix.inner.weight_v",
    },
)
_case("P20.dtype", faulty_settings={"torch_dtype": "float16"})
COMPLEX = (
    (M, "torch.full((size,), 0.5)", "torch.full((size,), 0.5 + 0j)"),
    (M, "* self.scale", "* self.scale.real"),
)
PERSISTENT = ((M, MIX_INNER, MIX_INNER + BUFFER.replace(", persistent=False", "")), SCALED)
for _name, _settings in (("", {}), ("_without_dtype", {"torch_dtype": REMOVED})):
    _case(
        f"P33.complex_buffer{_name}",
        *COMPLEX,
        right=PERSISTENT,
        tensors={"mix.scale": lambda scale: scale + 0j},
        faulty_settings=_settings,
    )

SMALL = "torch.full((size,), 0.5)"
for _more, _settings in (("", {}), ("_without_dtype", {"torch_dtype": REMOVED})):
    _case(
        f"P33.f8{_more}",
        (M, SMALL, f"{SMALL}.to(torch.float8_e8m0fnu)"),
        (M, "self.scale.to(torch.float8_e8m0fnu).float()", "self.scale.float()"),
        right=((M, MIX_INNER, PERSISTENT[0][2]), (M, SUM, f"{SUM} * self.scale.to(torch.float8_e8m0fnu).float()")),
        tensors={"mix.scale": lambda scale: scale.to(__import__("torch").float8_e8m0fnu)},
        faulty_settings=_settings,
    )
_case(
    "P33.f4",
    (
        M,
        "torch.full((size,), 34, dtype=torch.uint8)",
        "torch.full((size,), 34, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)",
    ),
    (M, "self.scale.float()", "self.scale.view(torch.uint8).float()"),
    right=(
        (M, MIX_INNER, PERSISTENT[0][2].replace(SMALL, "torch.full((size,), 34, dtype=torch.uint8)")),
        (M, SUM, f"{SUM} * self.scale.float()"),
    ),
    tensors={"mix.scale": lambda scale: scale.view(__import__("torch").float4_e2m1fn_x2)},
)

# generate

_case(
    "P26.past_key_values_only",
    (M, TAKES_CACHE, "past_key_values=None, use_cache=None"),
    (M, CACHE_OF, "        cache = past_key_values\n"),
    base=CACHED,
)
_case(
    "P26.cache_only",
    (M, TAKES_CACHE, "cache=None, use_cache=None"),
    (M, CACHE_OF, ""),
    (M, "past_key_values=cache)", "past_key_values=cache)"),
    base=CACHED,
)
_case("P26.takes_no_cache", (C, "use_cache=False", "use_cache=True"), faulty_settings={"use_cache": True})
_case(  # without _supports_cache_class, which makes some releases of 4 pass a cache
    "P26.takes_no_cache_by_default",
    (C, "use_cache=False", "use_cache=True"),
    right=((M, CLASS_BODY, "\n"),),
    faulty_settings={"use_cache": True},
)
_case("P26.class_alone_says_no_cache", faulty_settings={"use_cache": REMOVED})
_case(
    "P26.no_kwargs",
    (M, TAKES_CACHE + ", **kwargs", "past_key_values=None, use_cache=None"),
    (M, CACHE_OF, "        cache = past_key_values\n"),
    base=CACHED,
)
_case(
    "P29.field",
    (
        M,
        "class LabOutput(CausalLMOutputWithPast):\n    extra: torch.Tensor = None\n",
        "class LabOutput(ModelOutput):\n    logits: torch.Tensor = None\n    past_key_values: object = None\n",
    ),
    right=(
        (
            M,
            IMPORTS + "\n\n",
            IMPORTS + "\n\n@dataclass\nclass LabOutput(CausalLMOutputWithPast):\n    extra: torch.Tensor = None\n\n\n",
        ),
        (
            M,
            "import torch\nfrom torch import nn",
            "from dataclasses import dataclass\n\nimport torch\nfrom torch import nn",
        ),
        (
            M,
            "from transformers.modeling_outputs",
            "from transformers.utils import ModelOutput\nfrom transformers.modeling_outputs",
        ),
        (M, "return CausalLMOutputWithPast(", "return LabOutput("),
    ),
    base=CACHED,
)
_case(
    "P32.tuple_cache",
    (
        M,
        "        logits = self.head(",
        "        seen = 0 if cache is None else cache[0][0].shape[2]\n        logits = self.head(",
    ),
    base=CACHED,
)
LEGACY_LAYER = (
    (
        M,
        "key, value = cache.update(key, value, 0)",
        "key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)",
    ),
    (M, "[:, 0]\n", "[:, 0], (key, value)\n"),
)
LEGACY_FORWARD = (
    "        past = {past}\n"
    "        hidden, present = self.mix(self.embed(input_ids), past)\n"
    "        cache = (present,) if use_cache else None\n"
    "        logits = self.head(hidden)\n"
)
ONE_NAME = (
    (M, TAKES_CACHE, "past_key_values=None, use_cache=None"),
    (
        M,
        CACHE_OF
        + "        if use_cache and cache is None:\n            cache = DynamicCache()\n        logits = self.head(self.mix(self.embed(input_ids), cache))\n",
        "PAST",
    ),
    (M, CLASS_BODY, "\n"),
)
READS_SHAPE = (
    "        seen = 0 if past_key_values is None else past_key_values[0][0].shape[2]\n        self.seen = seen\n"
)
PREPARES_LAST = (
    "    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, **kwargs):\n"
    "        if past_key_values is not None:\n            input_ids = input_ids[:, -1:]\n"
    '        return {"input_ids": input_ids, "past_key_values": past_key_values, "use_cache": True}\n\n'
)
PREPARES_LENGTH = PREPARES_LAST.replace("[:, -1:]", "[:, past_key_values[0][0].shape[2] :]")
HELPERS = (
    "    def _seen(self, past_key_values):\n"
    "        return 0 if past_key_values is None else past_key_values[0][0].shape[2]\n\n"
    "    def _layer(self, past):\n        return None if past is None else past[0]\n\n"
)
for _name, _past, _more in (
    ("shape", READS_SHAPE + LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"), ()),
    ("layer", LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"), ()),
    (
        "iterated",
        LEGACY_FORWARD.format(past="None if past_key_values is None else [each for each in past_key_values][0]"),
        (),
    ),
    (
        "layer_prepares",
        LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"),
        ((M, GET_INPUT, PREPARES_LAST + GET_INPUT),),
    ),
    (
        "length_prepares",
        LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"),
        ((M, GET_INPUT, PREPARES_LENGTH + GET_INPUT),),
    ),
    (
        "helper",
        "        self.seen = self._seen(past_key_values)\n"
        + LEGACY_FORWARD.format(past="self._layer(past_key_values)"),
        ((M, GET_INPUT, HELPERS + GET_INPUT),),
    ),
):
    _case(f"P32.tuples_{_name}", *LEGACY_LAYER, *ONE_NAME, (M, "PAST", _past), *_more, base=CACHED)
PREPARES = (
    '    def prepare_inputs_for_generation(self, input_ids, **kwargs):\n        return {"input_ids": input_ids}\n\n'
)
_case("P34.no_mixin", (M, "(LabPreTrainedModel, GenerationMixin)", "(LabPreTrainedModel)"))
_case(
    "P34.no_mixin_prepares",
    (M, "(LabPreTrainedModel, GenerationMixin)", "(LabPreTrainedModel)"),
    right=((M, GET_INPUT, PREPARES + GET_INPUT),),
)
OWN_MIXIN = "class LabGeneration(GenerationMixin):\n    pass\n\n\nclass LabPreTrainedModel("
for _name, _bases, *_edits in (
    ("own_mixin", "LabPreTrainedModel, LabGeneration", (M, "class LabPreTrainedModel(", OWN_MIXIN)),
    (
        "mixin_of_base",
        "LabPreTrainedModel",
        (M, "Model(PreTrainedModel)", "Model(PreTrainedModel, GenerationMixin)"),
    ),
):
    _case(  # the cure names GenerationMixin beside what brings it along
        f"P34.{_name}",
        (M, f"class LabForCausalLM({_bases}, GenerationMixin)", f"class LabForCausalLM({_bases})"),
        right=(
            *_edits,
            (
                M,
                "class LabForCausalLM(LabPreTrainedModel, GenerationMixin)",
                f"class LabForCausalLM({_bases}, GenerationMixin)",
            ),
        ),
    )

TAKEN = [
    "attention_mask",
    "past_key_values",
    "cache",
    "use_cache",
    "return_dict",
    "cache_position",
    "position_ids",
    "inputs_embeds",
]
SIGNATURE = "        self, input_ids=None, " + ", ".join(f"{name}=None" for name in TAKEN) + "\n"
NAMED_ONLY = (
    (
        M,
        "    def forward(self, input_ids=None, attention_mask=None, **kwargs):\n",
        f"    def forward(\n{SIGNATURE}    ):\n",
    ),
)
for _name in ("attention_mask", *TAKEN[4:]):
    _case(f"P26.no_{_name}", (M, f", {_name}=None", ""), right=NAMED_ONLY)

# A mask, which every tokenizer gives, and generate refuses what neither of the two functions names

MASK_PREPARED = (
    "    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):\n"
    '        return {"input_ids": input_ids}\n\n'
)
MASK = ", attention_mask=None, **kwargs"
_case(
    "P47.neither",
    (M, "generation(self, input_ids" + MASK, "generation(self, input_ids, **kwargs"),
    (M, "forward(self, input_ids=None" + MASK, "forward(self, input_ids=None, **kwargs"),
    right=((M, GET_INPUT, MASK_PREPARED + GET_INPUT),),
)
_case(  # forward is asked only where the other function has **kwargs or **model_kwargs, by these names
    "P47.other_name",
    (M, "generation(self, input_ids, **kwargs", "generation(self, input_ids, **rest"),
    right=((M, GET_INPUT, MASK_PREPARED.replace(MASK, ", **kwargs") + GET_INPUT),),
)

# What transformers asks a class for, and saves

_case(
    "P35.property_of_part",
    (
        M,
        CLASS_BODY,
        CLASS_BODY + "\n    @property\n    def _supports_sdpa(self):\n        return self.mix.inner is not None\n",
    ),
)
_case(
    "P35.property_of_part_other_name",
    (
        M,
        CLASS_BODY,
        CLASS_BODY
        + "\n    @property\n    def _supports_sdpa(self):\n        model = self\n        return model.mix.inner is not None\n",
    ),
)
_case(
    "P35.property_of_setting",
    (
        M,
        CLASS_BODY,
        CLASS_BODY + "\n    @property\n    def _supports_sdpa(self):\n        return self.config.hidden_size > 0\n",
    ),
)
_case(
    "P35.flash_property_of_part",
    (
        M,
        CLASS_BODY,
        CLASS_BODY
        + "\n    @property\n    def _supports_flash_attn_2(self):\n        return self.mix.inner is not None\n",
    ),
)
_case(
    "P36.registers_type",
    (
        M,
        'LabForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n',
        'AutoConfig.register("smollm3", LaterConfig)\nLabForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n',
    ),
    right=(
        (M, "import DynamicCache, ", "import AutoConfig, DynamicCache, "),
        (M, IMPORTS, IMPORTS + '\n\nclass LaterConfig(LabConfig):\n    model_type = "smollm3"\n'),
    ),
)
_case(
    "P36.registers_type_that_may_exist",
    (
        M,
        'LabForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n',
        'AutoConfig.register("smollm3", LaterConfig, exist_ok=True)\nLabForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n',
    ),
    right=(
        (M, "import DynamicCache, ", "import AutoConfig, DynamicCache, "),
        (M, IMPORTS, IMPORTS + '\n\nclass LaterConfig(LabConfig):\n    model_type = "smollm3"\n'),
    ),
)
_case(
    "P37.module_twice",
    ONCE,
    right=TWICE,
    copies=TWICE_TENSORS,
    keys=dict.fromkeys(TWICE_TENSORS, ""),
)
_case(
    "P37.tensor_twice",
    (
        M,
        "        self.other = nn.Linear(config.hidden_size, config.hidden_size)\n",
        "        self.other = nn.Linear(config.hidden_size, config.hidden_size)\n        self.other.weight = self.mix.inner.weight\n",
    ),
    right=(
        (M, POST, "        self.other = nn.Linear(config.hidden_size, config.hidden_size)\n" + POST),
        (M, "self.mix(self.embed(input_ids))", "self.other(self.mix(self.embed(input_ids)))"),
    ),
    copies={"other.weight": "mix.inner.weight"},
    keys={"other.weight": ""},
)

_case(
    "P46.part_initialises",
    (
        M,
        "        self.apply(self.start)\n\n    def start(self, module):\n",
        "        self.apply(self._init_weights)\n\n    def _init_weights(self, module):\n",
    ),
    right=(
        (
            M,
            MIX_INNER,
            MIX_INNER
            + "        self.apply(self.start)\n\n    def start(self, module):\n        if isinstance(module, nn.Linear):\n            nn.init.zeros_(module.bias)\n",
        ),
    ),
)
_case("P45.absent_name", (M, CLASS_BODY, CLASS_BODY + '    _keep_in_fp32_modules = ["absent"]\n'))
_case(
    "P37.appended_in_loop",
    (
        M,
        MIX_INNER
        + "        self.chain = nn.Sequential()\n        for _ in range(2):\n            self.chain.append(nn.PReLU())\n",
        MIX_INNER
        + "        act = nn.PReLU()\n        self.chain = nn.Sequential()\n        for _ in range(2):\n            self.chain.append(act)\n",
    ),
    right=(
        (
            M,
            MIX_INNER,
            MIX_INNER
            + "        self.chain = nn.Sequential()\n        for _ in range(2):\n            self.chain.append(nn.PReLU())\n",
        ),
        (M, SUM, f"self.chain({SUM})"),
    ),
    copies={"mix.chain.1.weight": "mix.chain.0.weight"},
    keys={"mix.chain.1.weight": ""},
)

# Fields of the class, of which transformers 5.4 makes a dataclass

TYPE_LINE = '    model_type = "lab-bench"\n'
for _name, _annotation, _value, _read in (
    ("mutable_field", "list", "[8]", "config.widths[0]"),
    ("mutable_field_of_config", "PartConfig", "PartConfig()", "config.widths.width"),
):
    _case(
        f"P15.{_name}",
        (C, f"    widths = {_value}\n", f"    widths: {_annotation} = {_value}\n"),
        right=(
            (
                C,
                "\n\nclass LabConfig",
                "\n\nclass PartConfig(PretrainedConfig):\n    width = 8\n\n\nclass LabConfig",
            ),
            (C, TYPE_LINE, f"{TYPE_LINE}    widths = {_value}\n"),
            (M, "self.mix = Mix(config.hidden_size)", f"self.mix = Mix({_read})"),
        ),
    )
_case("P15.field_without_value", (C, TYPE_LINE, TYPE_LINE + "    hidden_size: int\n"))
OWN_INIT = PLAIN[C][PLAIN[C].index("    def __init__") : PLAIN[C].index("\n\nLabConfig")]
FIELDS = "".join(
    f"    {name}: {kind} = {value}\n"
    for name, kind, value in (
        ("vocab_size", "int", 24),
        ("hidden_size", "int", 8),
        ("num_hidden_layers", "int", 1),
        ("use_cache", "bool", False),
        ("tie_word_embeddings", "bool", False),
    )
)
_case(
    "P15.field_without_value_no_constructor",
    (C, "    hidden_size: int = 8\n", "    hidden_size: int\n"),
    right=((C, OWN_INIT, FIELDS),),
)

# Names that code of the folder changes while torch loads a state

RENAMED = {f"mix.inner.{name}": f"mix.lin.{name}" for name in ("weight", "bias")}
RENAMES = """        for name in ("weight", "bias"):
            if f"{prefix}lin.{name}" in state_dict:
                state_dict[f"{prefix}inner.{name}"] = state_dict.pop(f"{prefix}lin.{name}")
"""
METHOD = f"""    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
{RENAMES}        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

"""
BACK = """    @staticmethod
    def names_of_file(module, state_dict, prefix, local_metadata):
        for name in ("weight", "bias"):
            state_dict[f"{prefix}lin.{name}"] = state_dict.pop(f"{prefix}inner.{name}")

"""
FORWARD_OF_MIX = "    def forward(self, x):\n"
TO_NAMES = f"    def names_of_model(self, state_dict, prefix, *args):\n{RENAMES}\n"
OVERRIDE = f"""    def load_state_dict(self, state_dict, *args, **kwargs):
        prefix = "mix."
{RENAMES}        return super().load_state_dict(state_dict, *args, **kwargs)

"""
for _name, *_edits in (
    ("method", (M, FORWARD_OF_MIX, METHOD + FORWARD_OF_MIX)),
    (
        "method_and_save",
        (M, FORWARD_OF_MIX, METHOD + BACK + FORWARD_OF_MIX),
        (M, MIX_INNER, MIX_INNER + "        self._register_state_dict_hook(Mix.names_of_file)\n"),
    ),
    (
        "hook",
        (M, FORWARD_OF_MIX, TO_NAMES + FORWARD_OF_MIX),
        (M, MIX_INNER, MIX_INNER + "        self._register_load_state_dict_pre_hook(self.names_of_model)\n"),
    ),
    (
        "public_hook",
        (
            M,
            FORWARD_OF_MIX,
            TO_NAMES.replace("self, ", "module, ").replace("    def", "    @staticmethod\n    def") + FORWARD_OF_MIX,
        ),
        (M, MIX_INNER, MIX_INNER + "        self.register_load_state_dict_pre_hook(Mix.names_of_model)\n"),
    ),
    ("load_state_dict", (M, GET_INPUT, OVERRIDE + GET_INPUT)),
):
    _case(f"P48.{_name}", *_edits, keys=RENAMED)

# Members of transformers' classes

_case(
    "P09.forward",
    (
        M,
        "            cache = DynamicCache()\n",
        "            cache = DynamicCache()\n        if use_cache:\n            length = cache.get_usable_length(1)\n",
    ),
    right=(
        (
            M,
            "        if use_cache and cache is None:\n",
            "        use_cache = True if use_cache is None else use_cache\n        if use_cache and cache is None:\n",
        ),
    ),
    base=CACHED,
)
_case(
    "P09.generate",
    (M, "past_key_values.get_seq_length()\n", "past_key_values.seen_tokens\n"),
    right=(
        (
            M,
            GET_INPUT,
            """    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache=None, **kwargs):
        held = past_key_values if cache is None else cache
        if held is not None and held.get_seq_length() > 0:
            input_ids = input_ids[:, -1:]
        if past_key_values is not None:
            length = past_key_values.get_seq_length()
        return {"input_ids": input_ids, "past_key_values": past_key_values, "cache": cache, "use_cache": True}

"""
            + GET_INPUT,
        ),
    ),
    base=CACHED,
)

# Tokenizers

WORDS = (
    '{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content": "[UNK]", '
    '"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}], '
    '"normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null, "model": '
    '{"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2}, "unk_token": "[UNK]"}}'
)
TOKENIZER = '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"'
INPUTS = ', "model_input_names": ["input_ids", "attention_mask"'
_case(
    "P22b.class",
    files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + "}"},
    faulty_files={"tokenizer_config.json": '{"tokenizer_class": "TokenizersBackend", "unk_token": "[UNK]"}'},
    settings={"tokenizer_class": "PreTrainedTokenizerFast"},
    loads="AutoTokenizer",
)
_case(
    "P22b.list",
    files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + ', "additional_special_tokens": ["<x>"]}'},
    faulty_files={"tokenizer_config.json": TOKENIZER + ', "extra_special_tokens": ["<x>"]}'},
    settings={"tokenizer_class": "PreTrainedTokenizerFast"},
    loads="AutoTokenizer",
)
_case(
    "P22.no_class",
    files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + INPUTS + "]}"},
    settings={"tokenizer_class": "PreTrainedTokenizerFast"},
    faulty_settings={"tokenizer_class": REMOVED},
    pipeline=True,
)

for _name, _written in (("absent", ""), ("segments", INPUTS + ', "token_type_ids"]')):
    _case(
        f"P39.inputs_{_name}",
        right=NAMED_ONLY,
        files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + INPUTS + "]}"},
        faulty_files={"tokenizer_config.json": TOKENIZER + _written + "}"},
        settings={"tokenizer_class": "PreTrainedTokenizerFast"},
        pipeline=True,
    )

# Processors

PICTURES = '{"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}}'
_case(
    "P27.image_processor",
    files={"preprocessor_config.json": PICTURES},
    faulty_files={"preprocessor_config.json": None, "processor_config.json": '{"image_processor": ' + PICTURES + "}"},
    loads="AutoImageProcessor",
)
