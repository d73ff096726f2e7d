"""Constructors: what releases that build on the meta device do not do."""

from cases.base import ARGUMENTS, GET_INPUT, LAST_SET, MIX_INNER, POST, SUM, SUPER, C, Edit, M, case

case("P10.missing", (M, POST, ""))
case(
    "P10.before_parts",
    (M, POST, ""),
    (M, SUPER, "        super().__init__(config)\n        self.post_init()\n        self.embed"),
)


def _constructs(name: str, faulty: str, cured: str, *uses: Edit) -> None:
    """Statements of Mix.__init__."""
    case(name, (M, MIX_INNER + cured, MIX_INNER + faulty), right=((M, MIX_INNER, MIX_INNER + cured), *uses))


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
case(
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
case("P10.own_from_pretrained", (M, POST, ""), right=LOADS_ITSELF)
case(
    "P14.own_from_pretrained",
    (M, "self.rate = 0.5", "self.rate = torch.tensor(0.5).item()"),
    right=(*LOADS_ITSELF, (M, POST, "        self.rate = 0.5\n" + POST)),
)
