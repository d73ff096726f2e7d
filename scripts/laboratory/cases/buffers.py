"""Buffers, and what _init_weights does to loaded weights."""

# ruff: noqa: E501 (lines of programs)

from cases.base import GET_INPUT, INIT_END, INIT_LINEAR, MIX_INNER, OF_FIXES, SUM, Case, M, case
from cases.constructors import SCALED

BUFFER = '        self.register_buffer("scale", torch.full((size,), 0.5), persistent=False)\n'
FILLED = "        if isinstance(module, Mix):\n            nn.init.constant_(module.scale, 0.5)\n"
case(
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
case(
    "P12.registered_in_forward",
    (M, "        self.scale = 0.5\n", '        self.register_buffer("scale", torch.tensor(0.5), persistent=False)\n'),
    right=((M, "    def forward(self, x):\n", "    def forward(self, x):\n        self.scale = 0.5\n"), SCALED),
)
case(
    "P12.parameter_if",
    (
        M,
        "self.scale = nn.Parameter(torch.ones(size))",
        "self.scale = nn.Parameter(torch.ones(size)) if size > 4 else torch.ones(size)",
    ),
    right=((M, MIX_INNER, MIX_INNER + "        self.scale = nn.Parameter(torch.ones(size))\n"), SCALED),
)
case(
    "P13.part_of_tensor",
    (M, INIT_LINEAR, INIT_LINEAR + "            nn.init.zeros_(module.weight[0])\n"),
)
case(
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
case("P13.data_normal", (M, INIT_LINEAR, "            module.weight.data.normal_(std=0.5)\n"))
AUTO = 'LabForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n'
SAVES_CODE = (  # which transformers leaves out of what is registered so, another fault (P25)
    "    def save_pretrained(self, save_directory, **kwargs):\n"
    "        super().save_pretrained(save_directory, **kwargs)\n"
    "        shutil.copy(__file__, save_directory)\n\n"
)
case(  # the file that the settings are read from enters the model into transformers' own tables, as local code
    "P13.data_registered",
    (M, INIT_LINEAR, "            module.weight.data.normal_(std=0.5)\n"),
    (
        M,
        AUTO,
        'AutoConfig.register("lab-bench", LabConfig)\nAutoModelForCausalLM.register(LabConfig, LabForCausalLM)\n',
    ),
    right=(
        (M, "import DynamicCache, ", "import AutoConfig, AutoModelForCausalLM, DynamicCache, "),
        (M, "import torch\n", "import shutil\n\nimport torch\n"),
        (M, GET_INPUT, SAVES_CODE + GET_INPUT),
    ),
    settings={
        "auto_map": {
            "AutoConfig": "modeling_lab.LabConfig",
            "AutoModelForCausalLM": "modeling_lab.LabForCausalLM",
        }
    },
)
case(
    "P13.data_beside_buffer",
    (M, "nn.init.constant_(module.gain, 0.25)", "module.gain.data.fill_(0.25)"),
    right=(
        (M, MIX_INNER, MIX_INNER + BUFFER + "        self.gain = nn.Parameter(torch.ones(size))\n"),
        (M, SUM, f"{SUM} * self.scale * self.gain"),
        (M, INIT_END, INIT_END + FILLED + "            nn.init.constant_(module.gain, 0.25)\n"),
    ),
)
case(
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
case(
    "P13.no_grad_of_part",
    (
        M,
        INIT_END,
        INIT_END
        + "        if isinstance(module, LabForCausalLM):\n            with torch.no_grad():\n                module.mix.inner.weight.mul_(0.5)\n",
    ),
)
