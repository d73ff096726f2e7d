"""What a folder's own code does at each step of generate: with the cache, and with the places of the new tokens."""

from sources import CACHED

from cases.base import GET_INPUT, M, case

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
