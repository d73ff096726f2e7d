"""Parts of transformers' own that are no models, in a model of the folder's: what only a model sets or fills."""

from cases.base import IMPORTS, POST, M, case
from cases.stock_code import LOGITS

OUTPUTS = "from transformers.modeling_outputs"
SMALL = "hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2"
STACK = """

class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inside = {part}(config)

    def forward(self, x):
        return {call}
"""


def with_part(model: str, part: str, config: str, settings: str, call: str) -> tuple:
    """The plain folder, with a part of transformers between its words and its layer."""
    return (
        (M, "import DynamicCache, ", f"import {config}, DynamicCache, "),
        (M, OUTPUTS, f"from transformers.models.{model}.modeling_{model} import {part}\n{OUTPUTS}"),
        (M, IMPORTS, IMPORTS + STACK.format(part=part, call=call)),
        (M, POST, f"        self.stack = Stack({config}({settings}))\n" + POST),
        (M, LOGITS, "logits=self.head(self.mix(self.stack(self.embed(input_ids))))"),
    )


# Attention of a part that no model of transformers told which implementation to use
SAYS = ', attn_implementation="eager"'
case(
    "P84.encoder",
    (M, SMALL + SAYS, SMALL),
    right=with_part("clip", "CLIPEncoder", "CLIPVisionConfig", SMALL + SAYS, "self.inside(inputs_embeds=x)[0]"),
)
