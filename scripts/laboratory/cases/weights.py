"""Names of weights, files of weights, and types of tensors."""

from cases.base import GET_INPUT, INIT_LINEAR, MIX_INNER, REMOVED, SUM, M, case
from cases.buffers import BUFFER
from cases.constructors import SCALED

GAIN = (
    (M, MIX_INNER, MIX_INNER + "        self.gain = nn.Parameter(torch.ones(size))\n"),
    (M, SUM, f"{SUM} * self.gain"),
)
for _name in ("gamma", "beta", "layer_gamma", "gamma_scale"):
    case(
        f"P17.{_name}",
        (M, "self.gain = nn.Parameter", f"self.{_name} = nn.Parameter"),
        (M, "* self.gain", f"* self.{_name}"),
        right=GAIN,
        keys={"mix.gain": f"mix.{_name}"},
    )
case(
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
case("P20.dtype", faulty_settings={"torch_dtype": "float16"})
COMPLEX = (
    (M, "torch.full((size,), 0.5)", "torch.full((size,), 0.5 + 0j)"),
    (M, "* self.scale", "* self.scale.real"),
)
PERSISTENT = ((M, MIX_INNER, MIX_INNER + BUFFER.replace(", persistent=False", "")), SCALED)
for _name, _settings in (("", {}), ("_without_dtype", {"torch_dtype": REMOVED})):
    case(
        f"P33.complex_buffer{_name}",
        *COMPLEX,
        right=PERSISTENT,
        tensors={"mix.scale": lambda scale: scale + 0j},
        faulty_settings=_settings,
    )

SMALL = "torch.full((size,), 0.5)"
for _more, _settings in (("", {}), ("_without_dtype", {"torch_dtype": REMOVED})):
    case(
        f"P33.f8{_more}",
        (M, SMALL, f"{SMALL}.to(torch.float8_e8m0fnu)"),
        (M, "self.scale.to(torch.float8_e8m0fnu).float()", "self.scale.float()"),
        right=((M, MIX_INNER, PERSISTENT[0][2]), (M, SUM, f"{SUM} * self.scale.to(torch.float8_e8m0fnu).float()")),
        tensors={"mix.scale": lambda scale: scale.to(__import__("torch").float8_e8m0fnu)},
        faulty_settings=_settings,
    )
case(
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
    case(f"P48.{_name}", *_edits, keys=RENAMED)
