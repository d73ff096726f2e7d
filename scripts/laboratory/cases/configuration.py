"""The configuration, its settings and its fields."""

# ruff: noqa: E501 (lines of programs)

from sources import CACHED, PLAIN

from cases.base import ARGUMENTS, LAST_SET, POST, REMOVED, SUM, SUPER_CONFIG, C, Edit, M, case

case(
    "P15.no_default",
    (C, "        width=8,\n        vocab_size=24,", "        width,\n        vocab_size=24,"),
    right=(
        (C, "        vocab_size=24,", "        width=8,\n        vocab_size=24,"),
        (C, LAST_SET, LAST_SET + "        self.width = width\n"),
    ),
    settings={"width": 8},
)
case("P15.no_kwargs", (C, "        **kwargs,\n", ""), (C, ", **kwargs)", ")"))
case(
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
case(
    "P67.configuration",
    (C, "self.stops = [1, 2]", "self.stops = {1, 2}"),
    right=((C, LAST_SET, LAST_SET + "        self.stops = [1, 2]\n"),),
)
case(
    "P67.in_model",
    (M, 'config.kind = "float32"', "config.kind = torch.float32"),
    right=((M, POST, '        config.kind = "float32"\n' + POST),),
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
    case(f"P15.{_name}", faulty_files={C: _text})
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
            case(f"P15.{kind}:{where}", (C, cured, ""), right=edits)
        else:  # to read it with a default
            reads = f'getattr({owner}config, "{name}", {cured})'
            case(f"P15.{kind}:{where}", (M, reads, f"{owner}{read}"), right=((M, mark, line.format(reads) + mark),))


_field("width", "        self.width = 8\n", (C, LAST_SET, LAST_SET + "        self.width = 8\n"))
_field(
    "pad_token_id",
    "        self.pad_token_id = None\n",
    (C, LAST_SET, LAST_SET + "        self.pad_token_id = None\n"),
)
_field("max_length", "20")
case("P15.kwargs_not_passed_on", (C, ", **kwargs)", ")"))
case(
    "P15.own_constructor_reads_base",
    (C, 'getattr(self, "forced_bos_token_id", None)', "self.forced_bos_token_id"),
    right=((C, LAST_SET, LAST_SET + '        self.first_token = getattr(self, "forced_bos_token_id", None)\n'),),
)
case(
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
    case(
        f"P31.none_{_name}",
        (M, "        self.factor = 1.0\n", OF_NONE),
        right=(*ROPE, *filter(None, _more), FACTOR),
        settings={"rope_scaling": None},
    )
SCALED = (M, "logits=self.head(", "logits=self.factor * self.head(")
case(
    "P31.none_decides",
    (M, "        self.factor = 1.0\n", "        self.factor = 1.0 if config.rope_scaling is None else 2.0\n"),
    right=(*ROPE, FACTOR, SCALED),
    settings={"rope_scaling": None},
)
OF_FACTOR = '        self.factor = (config.rope_scaling or {}).get("factor", 1.0)\n'
case(  # it is saved as rope_parameters
    "P31.lost_when_saved",
    (C, AFTER, "        " + SUPER_CONFIG + "\n        self.rope_scaling = rope_scaling\n"),
    right=(*ROPE, (M, POST, OF_FACTOR + POST), SCALED),
    settings={"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
)
case(
    "P31.truth",
    (
        M,
        "        self.factor = 1.0\n",
        '        self.factor = config.rope_scaling["factor"] if config.rope_scaling else 1.0\n',
    ),
    right=(*ROPE, FACTOR),
)
case(
    "P31.no_rope_theta",
    (M, "        self.factor = 1.0\n", OF_NONE),
    right=(*ROPE, (C, "        rope_theta=10000.0,\n", ""), (C, "        self.rope_theta = rope_theta\n", ""), FACTOR),
)
case(
    "P31.type",
    (
        M,
        "        self.kind = None\n",
        '        self.kind = config.rope_scaling["type"] if config.rope_scaling else None\n',
    ),
    right=(*ROPE, (M, POST, "        self.kind = None\n" + POST)),
)
case(
    "P31.type_of_written",
    (M, "        self.kind = None\n", '        self.kind = config.rope_scaling["type"]\n'),
    right=(*ROPE, (M, POST, "        self.kind = None\n" + POST)),
    settings={"rope_scaling": {"type": "linear", "factor": 2.0}},
)
case(
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
    case(
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
case(
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
    case(
        f"P15.rope_scaling_{_kind}",
        *NEVER_NAMED,
        right=(*ROPE, SET_IF_WRITTEN, (M, POST, "        self.scaled = config.rope_scaling is not None\n" + POST)),
        settings={"rope_scaling": _stored} if _stored else {},
    )
case("P16.missing", (M, "    config_class = LabConfig\n", ""))
case("P16.annotated", (M, "    config_class = LabConfig\n", "    config: LabConfig\n"))
case(
    "P16.stock",
    (M, "    config_class = LabConfig\n", ""),
    right=(
        (M, "class LabPreTrainedModel(PreTrainedModel):", "class LabPreTrainedModel(BertPreTrainedModel):"),
        (M, "import DynamicCache, ", "import BertPreTrainedModel, DynamicCache, "),
    ),
)


def _called(text: str) -> str:
    return text.replace("LabConfig", "BertConfig")


case(
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


# Fields of the class, of which transformers 5.4 makes a dataclass

TYPE_LINE = '    model_type = "lab-bench"\n'
for _name, _annotation, _value, _read in (
    ("mutable_field", "list", "[8]", "config.widths[0]"),
    ("mutable_field_of_config", "PartConfig", "PartConfig()", "config.widths.width"),
):
    case(
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
case("P15.field_without_value", (C, TYPE_LINE, TYPE_LINE + "    hidden_size: int\n"))
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
case(
    "P15.field_without_value_no_constructor",
    (C, "    hidden_size: int = 8\n", "    hidden_size: int\n"),
    right=((C, OWN_INIT, FIELDS),),
)


# A class without a constructor, whose base in the folder has one

BASE_CLASS = 'class LabConfig(PretrainedConfig):\n    model_type = "lab-bench"\n'
OF_BASE = """class LabConfig(LabBaseConfig):
    model_type = "lab-bench"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)


LabConfig.register_for_auto_class()
"""
WITH_BASE = (
    (C, BASE_CLASS, "class LabBaseConfig(PretrainedConfig):\n"),
    (C, "LabConfig.register_for_auto_class()\n", OF_BASE),
    (C, "        use_cache=False,\n", "        use_cache=False,\n        scale=0.5,\n"),
    (C, LAST_SET, LAST_SET + "        self.scale = scale\n        self.twice = 2 * scale\n"),
)
WITHOUT = (
    C,
    "\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n\n\nLabConfig",
    "\n\nLabConfig",
)
READS = (M, POST, "        self.scale = config.scale\n" + POST)
case("P15.constructor_of_base", WITHOUT, right=(*WITH_BASE, READS))
case(
    "P15.constructor_of_base_and_stored",
    WITHOUT,
    right=(*WITH_BASE, READS),
    settings={"scale": 0.5, "use_cache": False},
)

# A table of parts, which are joined in its order; config.json is as transformers writes it, with sorted keys.
PAIRS, TABLE, SORTED = "in config.parts", "in config.parts.items()", "in sorted(config.parts.items())"
IN_ORDER = 'parts or [["wide", 5], ["near", 3]]'
OTHER_ORDER = 'parts or [["near", 3], ["wide", 5]]'
OF_TABLE = 'parts or {"wide": 5, "near": 3}'
JOINED = "        self.mix.parts = nn.ModuleDict({name: nn.Linear(config.hidden_size, size) for name, size PARTS})\n"
JOIN = "self.inner(torch.cat([part(x) for part in self.parts.values()], -1).cumsum(1) / steps)"
for _name, _order, _reads in (("table_order", IN_ORDER, TABLE), ("sorted", OTHER_ORDER, SORTED)):
    case(
        f"P69.{_name}",
        (C, _order, OF_TABLE),
        (M, PAIRS, _reads),
        right=(
            (C, ARGUMENTS, ARGUMENTS + "        parts=None,\n"),
            (C, LAST_SET, LAST_SET + f"        self.parts = {_order}\n"),
            (M, POST, JOINED.replace("PARTS", PAIRS) + POST),
            (M, SUM, JOIN),
        ),
        faulty_settings={"parts": {"near": 3, "wide": 5}},
    )
