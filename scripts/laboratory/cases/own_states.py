"""What a model's own methods make of its state, and parts of transformers that ask for settings of their own."""

from cases.base import ARGUMENTS, GET_INPUT, IMPORTS, INIT, LAST_SET, POST, C, M, case

# state_dict, which save_pretrained writes, and from_pretrained asks which weights there are

OWN_STATE = """    def state_dict(self, *args, **kwargs):
        state = super().state_dict(*args, **kwargs)
        return state

"""
for _name, _text in (
    ("part", '{key: tensor for key, tensor in state.items() if "head" not in key}'),
    ("renamed", '{f"module.{key}": tensor for key, tensor in state.items()}'),
):
    case(
        f"P57.state_dict_{_name}",
        (M, "        return state\n", f"        return {_text}\n"),
        right=((M, GET_INPUT, OWN_STATE + GET_INPUT),),
    )

# tie_weights of its own, in a loop

CALLS = "logits=self.head(self.mix(self.embed(input_ids)))"
TIES = """    def tie_weights(self, *args, **kwargs):
        for layer in self.more[1:]:
            layer.weight = self.more[0].weight

"""
case(
    "P37.tied_in_loop",
    (M, GET_INPUT, TIES + GET_INPUT),
    right=(
        (M, POST, "        self.more = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])\n" + POST),
        (M, CALLS, "logits=self.head(nn.Sequential(self.mix, *self.more)(self.embed(input_ids)))"),
    ),
    copies={"more.1.weight": "more.0.weight"},
    keys={"more.1.weight": ""},
)

# A rotary embedding of transformers beside a configuration of the folder's own

ROTARY = (
    (M, IMPORTS, "from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding\n\n" + IMPORTS),
    (M, POST, "        self.rotary = LlamaRotaryEmbedding(config=config)\n" + POST),
    (M, CALLS, "logits=self.head(self.turned(self.mix(self.embed(input_ids))))"),
    (
        M,
        GET_INPUT,
        "    def turned(self, x):\n        cos, _ = self.rotary(x, torch.arange(x.shape[1])[None])\n"
        "        return x * cos.repeat(1, 1, 2)\n\n" + GET_INPUT,
    ),
    (M, INIT, INIT + "        super()._init_weights(module)\n"),
    (
        C,
        ARGUMENTS,
        ARGUMENTS
        + "        num_attention_heads=2,\n        max_position_embeddings=64,\n        rope_theta=10000.0,\n",
    ),
    (
        C,
        LAST_SET,
        LAST_SET
        + "        self.num_attention_heads = num_attention_heads\n"
        + "        self.max_position_embeddings = max_position_embeddings\n"
        + "        self.rope_theta = rope_theta\n"
        + '        self.rope_parameters = {"rope_type": "default", "rope_theta": rope_theta}\n',
    ),
)
case(
    "P31.stock_embedding",
    (C, '        self.rope_parameters = {"rope_type": "default", "rope_theta": rope_theta}\n', ""),
    right=ROTARY,
)
case(  # whose table only transformers' own _init_weights fills
    "P12.stock_rotary",
    (M, INIT + "        super()._init_weights(module)\n", INIT),
    right=ROTARY,
)
