"""What forward gives to generate, where that is no output class of transformers."""

from cases.base import IMPORTS, M, case

RETURN = "        return CausalLMOutputWithPast(logits={})\n"
LOGITS = "self.head(self.mix(self.embed(input_ids)))"
FIELDS = "    logits: torch.Tensor = None\n    past_key_values: object = None\n"
KINDS = {
    "dataclass": f"\n\n@dataclass\nclass Plain:\n{FIELDS}",
    "namedtuple": f"\n\nclass Plain(NamedTuple):\n{FIELDS}",
}
NEEDED = "from dataclasses import dataclass\nfrom typing import NamedTuple\n\nimport torch\nfrom torch import nn\n"
case(  # generate asks for return_dict=True
    "P83.tuple",
    (M, "attention_mask=None, **kwargs", "attention_mask=None, return_dict=None, **kwargs"),
    (
        M,
        RETURN.format(LOGITS),
        f"        if not return_dict:\n    {RETURN.format(LOGITS)}        return ({LOGITS},)\n",
    ),
)
for _name, _class in KINDS.items():
    _edits = ((M, "import torch\nfrom torch import nn\n", NEEDED), (M, IMPORTS, IMPORTS + _class))
    case(f"P83.{_name}", *_edits, (M, RETURN.format(LOGITS), f"        return Plain(logits={LOGITS})\n"))
