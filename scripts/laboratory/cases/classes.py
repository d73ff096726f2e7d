"""What transformers asks a class for, and saves; members of its own classes."""

# ruff: noqa: E501 (lines of programs)

from sources import CACHED

from cases.base import CLASS_BODY, GET_INPUT, IMPORTS, MIX_INNER, POST, SUM, M, case
from cases.ties import ONCE, TWICE, TWICE_TENSORS

case(
    "P35.property_of_part",
    (
        M,
        CLASS_BODY,
        CLASS_BODY + "\n    @property\n    def _supports_sdpa(self):\n        return self.mix.inner is not None\n",
    ),
)
case(
    "P35.property_of_part_other_name",
    (
        M,
        CLASS_BODY,
        CLASS_BODY
        + "\n    @property\n    def _supports_sdpa(self):\n        model = self\n        return model.mix.inner is not None\n",
    ),
)
case(
    "P35.property_of_setting",
    (
        M,
        CLASS_BODY,
        CLASS_BODY + "\n    @property\n    def _supports_sdpa(self):\n        return self.config.hidden_size > 0\n",
    ),
)
case(
    "P35.flash_property_of_part",
    (
        M,
        CLASS_BODY,
        CLASS_BODY
        + "\n    @property\n    def _supports_flash_attn_2(self):\n        return self.mix.inner is not None\n",
    ),
)
case(
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
case(
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
case(
    "P37.module_twice",
    ONCE,
    right=TWICE,
    copies=TWICE_TENSORS,
    keys=dict.fromkeys(TWICE_TENSORS, ""),
)
case(
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

case(
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
case("P45.absent_name", (M, CLASS_BODY, CLASS_BODY + '    _keep_in_fp32_modules = ["absent"]\n'))
case(
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
WAVE = """class Wave(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.frequency = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return self.frequency * x


class Mix(nn.Module):
"""
APPENDS = "        self.chain = nn.Sequential()\n        for _ in range(2):\n            self.chain.append({part})\n"
case(  # the same with a parameter of the folder's own, which no method initialises again
    "P37.appended_parameter",
    (
        M,
        MIX_INNER + APPENDS.format(part="Wave(size)"),
        MIX_INNER + "        wave = Wave(size)\n" + APPENDS.format(part="wave"),
    ),
    right=(
        (M, "class Mix(nn.Module):\n", WAVE),
        (M, MIX_INNER, MIX_INNER + APPENDS.format(part="Wave(size)")),
        (M, SUM, f"self.chain({SUM})"),
    ),
    copies={"mix.chain.1.frequency": "mix.chain.0.frequency"},
    keys={"mix.chain.1.frequency": ""},
)


# Members of transformers' classes

case(
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
case(
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
