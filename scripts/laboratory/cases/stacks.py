"""Stacks of layers of transformers' own encoder-decoders, which a folder builds by itself."""

from cases.base import IMPORTS, POST, M, case

LOGITS = "logits=self.head(self.mix(self.embed(input_ids)))"
SMALL = "vocab_size=24, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, dropout_rate=0.0, is_decoder=True"
SAYS = "        inside.is_encoder_decoder = True\n"
# what T5's layers give differs in its last bits between releases: three digits count
OF_ANOTHER = """        hidden = self.embed(input_ids)
        given = self.inside(inputs_embeds=hidden, encoder_hidden_states=hidden[:, 1:], use_cache=True)
        hidden = (given.last_hidden_state * 1e3).round() / 1e3
        return CausalLMOutputWithPast(logits=self.head(self.mix(hidden)))
"""


for _kind in ("T5",):
    _place = f"from transformers.models.{_kind.lower()}.modeling_{_kind.lower()} import {_kind}Stack\n"
    case(
        f"P58.{_kind}Stack",
        (M, SAYS, SAYS.replace("True", "False")),
        right=(
            (
                M,
                "from transformers.modeling_outputs",
                f"from transformers import {_kind}Config\nfrom transformers.modeling_outputs",
            ),
            (M, IMPORTS, _place + "\n" + IMPORTS),
            (
                M,
                POST,
                f"        inside = {_kind}Config({SMALL})\n{SAYS}        self.inside = {_kind}Stack(inside)\n" + POST,
            ),
            (M, f"        return CausalLMOutputWithPast({LOGITS})\n", OF_ANOTHER),
        ),
    )
