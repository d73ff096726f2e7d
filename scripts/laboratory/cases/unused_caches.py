"""A forward that names a cache and puts nothing into it; and one that turns a cache into tuples."""

from sources import CACHED

from cases.base import CLASS_BODY, GET_INPUT, TAKES_CACHE, C, M, case
from cases.generation import LEGACY_FORWARD, LEGACY_LAYER, ONE_NAME, PREPARES_LAST

NAMES_IT = (M, "attention_mask=None, **kwargs", f"attention_mask=None, {TAKES_CACHE}, **kwargs")
NO_FLAG = (M, CLASS_BODY, "\n")
HANDS_BACK = (M, "(self.embed(input_ids))))", "(self.embed(input_ids))), past_key_values=past_key_values)")
PREPARES_WHOLE = (
    "    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, **kwargs):\n"
    '        return {"input_ids": input_ids, "past_key_values": past_key_values}\n\n'
)
for _name, *_right in (
    ("named", NAMES_IT, NO_FLAG),
    ("handed_back", NAMES_IT, HANDS_BACK),
    ("prepares_last", NAMES_IT, NO_FLAG, (M, GET_INPUT, PREPARES_LAST + GET_INPUT)),
    ("prepares_whole", NAMES_IT, NO_FLAG, (M, GET_INPUT, PREPARES_WHOLE + GET_INPUT)),
):
    case(
        f"P82.{_name}",
        (C, "use_cache=False", "use_cache=True"),
        right=tuple(_right),
        faulty_settings={"use_cache": True},
    )

# A cache that is turned into tuples: what an empty one becomes

CONVERTS = (
    '        if hasattr(past_key_values, "to_legacy_cache"):\n'
    "            past_key_values = past_key_values.to_legacy_cache()\n"
)
SHAPE = (
    "        self.seen = 0 if past_key_values is None else past_key_values[0][0].shape[2]\n"
    + LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]")
)
case("P32.legacy_shape", *LEGACY_LAYER, *ONE_NAME, (M, "PAST", CONVERTS + SHAPE), base=CACHED)
case("P32.legacy_shape_says_it_takes", *LEGACY_LAYER, *ONE_NAME[:2], (M, "PAST", CONVERTS + SHAPE), base=CACHED)
