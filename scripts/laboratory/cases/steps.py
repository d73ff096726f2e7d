"""What a folder's own code does at each step of generate: with the cache, and with the places of the new tokens."""

from sources import CACHED

from cases.base import ARGUMENTS, GET_INPUT, LAST_SET, C, M, case

PREPARES = (
    "    def prepare_inputs_for_generation(\n"
    "        self, input_ids, past_key_values=None, attention_mask=None, cache_position=None, **kwargs\n"
    "    ):\n"
    "        if past_key_values is not None and past_key_values.get_seq_length() > 0:\n"
    "            input_ids = input_ids[:, past_key_values.get_seq_length() :]\n"
    '        return {"input_ids": input_ids, "past_key_values": past_key_values, "use_cache": True}\n\n'
)
OWN_STEPS = ((M, GET_INPUT, PREPARES + GET_INPUT),)
ASKS = (
    "        if past_key_values is not None and past_key_values.get_seq_length() > 0:\n"
    "            input_ids = input_ids[:, past_key_values.get_seq_length() :]\n"
)
LAST = "            input_ids = input_ids[:, -1:]\n"

# A cache of transformers 4.56 and later has its layers before anything is in them

case(
    "P59.length",
    (M, ASKS, "        if past_key_values is not None and len(past_key_values) > 0:\n" + LAST),
    right=OWN_STEPS,
    base=CACHED,
)
case("P59.truth", (M, ASKS, "        if past_key_values:\n" + LAST), right=OWN_STEPS, base=CACHED)

# The places of the new tokens, which transformers 5 does not pass on

for _name, _text in (
    (
        "shape",
        "        if past_key_values is not None:\n            input_ids = input_ids[:, -cache_position.shape[0] :]\n",
    ),
    ("index", "        if past_key_values is not None:\n            input_ids = input_ids[:, cache_position]\n"),
    ("always", ASKS + "        self.first = bool(cache_position[0] == 0)\n"),
):
    case(f"P60.{_name}", (M, ASKS, _text), right=OWN_STEPS, base=CACHED)
UPDATES = (
    "    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):\n"
    '        model_kwargs["cache" if "cache" in model_kwargs else "past_key_values"] = outputs.past_key_values\n'
    '        mask = model_kwargs.get("attention_mask")\n'
    "        if mask is not None:\n"
    '            model_kwargs["attention_mask"] = torch.cat([mask, mask.new_ones((mask.shape[0], 1))], dim=-1)\n'
    '        if model_kwargs.get("cache_position") is not None:\n'
    '            model_kwargs["cache_position"] = model_kwargs["cache_position"][-1:] + 1\n'
    "        return model_kwargs\n\n"
)
case(
    "P60.update",
    (M, '        if model_kwargs.get("cache_position") is not None:\n    ', ""),
    right=(*OWN_STEPS, (M, GET_INPUT, UPDATES + GET_INPUT)),
    base=CACHED,
)

# A field that makes transformers 4.56 and later keep a few of the last tokens alone, and code that counts all of them

WINDOW = (
    (C, ARGUMENTS, ARGUMENTS + "        window=4,\n"),
    (C, LAST_SET, LAST_SET + "        self.window = window\n"),
)
NAMED = (
    (C, "        window=4,\n", "        sliding_window=4,\n"),
    (C, "        self.window = window\n", "        self.sliding_window = sliding_window\n"),
)
IN_LAYER = (
    "        seen = key.shape[2] - query.shape[2]\n"
    "        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(seen)\n"
)
OF_WINDOW = "        window = 4\n" + IN_LAYER.replace(".tril(seen)", ".tril(seen).triu(seen - window + 1)")
CALLS = "        logits = self.head(self.mix(self.embed(input_ids), cache))\n"
OUTSIDE = (
    (M, IN_LAYER, ""),
    (M, "def forward(self, x, cache=None):", "def forward(self, x, cache=None, mask=None):"),
    (
        M,
        CALLS,
        "        seen, new = cache.get_seq_length() if cache is not None else 0, input_ids.shape[1]\n"
        "        mask = torch.ones(new, seen + new, dtype=torch.bool).tril(seen).triu(seen - 3)\n"
        "        logits = self.head(self.mix(self.embed(input_ids), cache, mask))\n",
    ),
)
for _name, _right in (
    ("ignored", ()),
    ("in_layer", ((M, IN_LAYER, OF_WINDOW),)),
    ("mask_of_all", OUTSIDE),
    (
        "mask_cut",
        (*OUTSIDE, (M, "attn_mask=mask)", "attn_mask=mask[:, : key.shape[2]])")),
    ),
    (
        "mask_cut_behind",
        (*OUTSIDE, (M, "attn_mask=mask)", "attn_mask=mask[:, -key.shape[2] :])")),
    ),
):
    case(f"P71.{_name}", *NAMED, right=(*WINDOW, *_right), base=CACHED)
