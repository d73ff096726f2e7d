"""What generate asks for: caches, masks, heads."""

# ruff: noqa: E501 (lines of programs)

import json

from sources import CACHED

from cases.base import CACHE_OF, CLASS_BODY, GET_INPUT, IMPORTS, LAST_SET, POST, REMOVED, TAKES_CACHE, C, M, case

case(
    "P26.past_key_values_only",
    (M, TAKES_CACHE, "past_key_values=None, use_cache=None"),
    (M, CACHE_OF, "        cache = past_key_values\n"),
    base=CACHED,
)
case(
    "P26.cache_only",
    (M, TAKES_CACHE, "cache=None, use_cache=None"),
    (M, CACHE_OF, ""),
    (M, "past_key_values=cache)", "past_key_values=cache)"),
    base=CACHED,
)
case("P26.takes_no_cache", (C, "use_cache=False", "use_cache=True"), faulty_settings={"use_cache": True})
case(  # without _supports_cache_class, which makes some releases of 4 pass a cache
    "P26.takes_no_cache_by_default",
    (C, "use_cache=False", "use_cache=True"),
    right=((M, CLASS_BODY, "\n"),),
    faulty_settings={"use_cache": True},
)
case("P26.class_alone_says_no_cache", faulty_settings={"use_cache": REMOVED})
case(
    "P26.no_kwargs",
    (M, TAKES_CACHE + ", **kwargs", "past_key_values=None, use_cache=None"),
    (M, CACHE_OF, "        cache = past_key_values\n"),
    base=CACHED,
)
case(
    "P29.field",
    (
        M,
        "class LabOutput(CausalLMOutputWithPast):\n    extra: torch.Tensor = None\n",
        "class LabOutput(ModelOutput):\n    logits: torch.Tensor = None\n    past_key_values: object = None\n",
    ),
    right=(
        (
            M,
            IMPORTS + "\n\n",
            IMPORTS + "\n\n@dataclass\nclass LabOutput(CausalLMOutputWithPast):\n    extra: torch.Tensor = None\n\n\n",
        ),
        (
            M,
            "import torch\nfrom torch import nn",
            "from dataclasses import dataclass\n\nimport torch\nfrom torch import nn",
        ),
        (
            M,
            "from transformers.modeling_outputs",
            "from transformers.utils import ModelOutput\nfrom transformers.modeling_outputs",
        ),
        (M, "return CausalLMOutputWithPast(", "return LabOutput("),
    ),
    base=CACHED,
)
case(
    "P32.tuple_cache",
    (
        M,
        "        logits = self.head(",
        "        seen = 0 if cache is None else cache[0][0].shape[2]\n        logits = self.head(",
    ),
    base=CACHED,
)
LEGACY_LAYER = (
    (
        M,
        "key, value = cache.update(key, value, 0)",
        "key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)",
    ),
    (M, "[:, 0]\n", "[:, 0], (key, value)\n"),
)
LEGACY_FORWARD = (
    "        past = {past}\n"
    "        hidden, present = self.mix(self.embed(input_ids), past)\n"
    "        cache = (present,) if use_cache else None\n"
    "        logits = self.head(hidden)\n"
)
ONE_NAME = (
    (M, TAKES_CACHE, "past_key_values=None, use_cache=None"),
    (
        M,
        CACHE_OF
        + "        if use_cache and cache is None:\n            cache = DynamicCache()\n        logits = self.head(self.mix(self.embed(input_ids), cache))\n",
        "PAST",
    ),
    (M, CLASS_BODY, "\n"),
)
READS_SHAPE = (
    "        seen = 0 if past_key_values is None else past_key_values[0][0].shape[2]\n        self.seen = seen\n"
)
PREPARES_LAST = (
    "    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, **kwargs):\n"
    "        if past_key_values is not None:\n            input_ids = input_ids[:, -1:]\n"
    '        return {"input_ids": input_ids, "past_key_values": past_key_values, "use_cache": True}\n\n'
)
PREPARES_LENGTH = PREPARES_LAST.replace("[:, -1:]", "[:, past_key_values[0][0].shape[2] :]")
HELPERS = (
    "    def _seen(self, past_key_values):\n"
    "        return 0 if past_key_values is None else past_key_values[0][0].shape[2]\n\n"
    "    def _layer(self, past):\n        return None if past is None else past[0]\n\n"
)
for _name, _past, _more in (
    ("shape", READS_SHAPE + LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"), ()),
    ("layer", LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"), ()),
    (
        "iterated",
        LEGACY_FORWARD.format(past="None if past_key_values is None else [each for each in past_key_values][0]"),
        (),
    ),
    (
        "layer_prepares",
        LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"),
        ((M, GET_INPUT, PREPARES_LAST + GET_INPUT),),
    ),
    (
        "length_prepares",
        LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"),
        ((M, GET_INPUT, PREPARES_LENGTH + GET_INPUT),),
    ),
    (
        "helper",
        "        self.seen = self._seen(past_key_values)\n"
        + LEGACY_FORWARD.format(past="self._layer(past_key_values)"),
        ((M, GET_INPUT, HELPERS + GET_INPUT),),
    ),
):
    case(f"P32.tuples_{_name}", *LEGACY_LAYER, *ONE_NAME, (M, "PAST", _past), *_more, base=CACHED)
# where only some releases make none
_shape = READS_SHAPE + LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]")
OF_TUPLES = (*LEGACY_LAYER, *ONE_NAME, (M, "PAST", _shape))
for _name, _settings, *_more in (
    ("stateful", {}, (M, GET_INPUT, "    _is_stateful = True\n\n" + GET_INPUT)),
    ("class_says_no", {"use_cache": REMOVED}, (C, "use_cache=True", "use_cache=False")),
):
    case(f"P32.tuples_{_name}", *OF_TUPLES, *_more, base=CACHED, faulty_settings=_settings)
# where an empty cache, which is false up to 4.55, is taken for none
_layer = LEGACY_FORWARD.format(past="past_key_values[0] if past_key_values else None")
_none = "        past_key_values = past_key_values or None\n" + READS_SHAPE
_handed = PREPARES_LAST.replace('"past_key_values": past_key_values,', '"past_key_values": past_key_values or None,')
_handed = _handed.replace("if past_key_values is not None:", "if past_key_values:")
for _name, _past, *_more in (
    ("asked", _layer),
    ("replaced", _none + LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]")),
    (
        "prepares",
        READS_SHAPE + LEGACY_FORWARD.format(past="None if past_key_values is None else past_key_values[0]"),
        (M, GET_INPUT, _handed + GET_INPUT),
    ),
):
    case(f"P32.empty_{_name}", *LEGACY_LAYER, *ONE_NAME, (M, "PAST", _past), *_more, base=CACHED)
PREPARES = (
    '    def prepare_inputs_for_generation(self, input_ids, **kwargs):\n        return {"input_ids": input_ids}\n\n'
)
case("P34.no_mixin", (M, "(LabPreTrainedModel, GenerationMixin)", "(LabPreTrainedModel)"))
case(
    "P34.no_mixin_prepares",
    (M, "(LabPreTrainedModel, GenerationMixin)", "(LabPreTrainedModel)"),
    right=((M, GET_INPUT, PREPARES + GET_INPUT),),
)
OWN_MIXIN = "class LabGeneration(GenerationMixin):\n    pass\n\n\nclass LabPreTrainedModel("
for _name, _bases, *_edits in (
    ("own_mixin", "LabPreTrainedModel, LabGeneration", (M, "class LabPreTrainedModel(", OWN_MIXIN)),
    (
        "mixin_of_base",
        "LabPreTrainedModel",
        (M, "Model(PreTrainedModel)", "Model(PreTrainedModel, GenerationMixin)"),
    ),
):
    case(  # the cure names GenerationMixin beside what brings it along
        f"P34.{_name}",
        (M, f"class LabForCausalLM({_bases}, GenerationMixin)", f"class LabForCausalLM({_bases})"),
        right=(
            *_edits,
            (
                M,
                "class LabForCausalLM(LabPreTrainedModel, GenerationMixin)",
                f"class LabForCausalLM({_bases}, GenerationMixin)",
            ),
        ),
    )

TAKEN = [
    "attention_mask",
    "past_key_values",
    "cache",
    "use_cache",
    "return_dict",
    "cache_position",
    "position_ids",
    "inputs_embeds",
]
SIGNATURE = "        self, input_ids=None, " + ", ".join(f"{name}=None" for name in TAKEN) + "\n"
NAMED_ONLY = (
    (
        M,
        "    def forward(self, input_ids=None, attention_mask=None, **kwargs):\n",
        f"    def forward(\n{SIGNATURE}    ):\n",
    ),
)
for _name in ("attention_mask", *TAKEN[4:]):
    case(f"P26.no_{_name}", (M, f", {_name}=None", ""), right=NAMED_ONLY)

# A mask, which every tokenizer gives, and generate refuses what neither of the two functions names

MASK_PREPARED = (
    "    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):\n"
    '        return {"input_ids": input_ids}\n\n'
)
MASK = ", attention_mask=None, **kwargs"
case(
    "P47.neither",
    (M, "generation(self, input_ids" + MASK, "generation(self, input_ids, **kwargs"),
    (M, "forward(self, input_ids=None" + MASK, "forward(self, input_ids=None, **kwargs"),
    right=((M, GET_INPUT, MASK_PREPARED + GET_INPUT),),
)
case(  # forward is asked only where the other function has **kwargs or **model_kwargs, by these names
    "P47.other_name",
    (M, "generation(self, input_ids, **kwargs", "generation(self, input_ids, **rest"),
    right=((M, GET_INPUT, MASK_PREPARED.replace(MASK, ", **kwargs") + GET_INPUT),),
)

# Layers of a part, for which generate makes a cache

PART = """class LabTextConfig(PretrainedConfig):
    model_type = "lab-bench-text"

    def __init__(self, num_hidden_layers=1, **kwargs):
        super().__init__(**kwargs)
        self.num_hidden_layers = num_hidden_layers


class LabConfig(PretrainedConfig):
    sub_configs = {"text_config": LabTextConfig}
"""
OF_PART = (
    (C, "class LabConfig(PretrainedConfig):\n", PART),
    (C, "        use_cache=True,\n", "        use_cache=True,\n        text_config=None,\n"),
    (C, LAST_SET, LAST_SET + "        self.text_config = LabTextConfig(**(text_config or {}))\n"),
)
OTHER_NAME = (
    (C, "self, num_hidden_layers=1, **kwargs", "self, depth=1, **kwargs"),
    (C, "        self.num_hidden_layers = num_hidden_layers\n\n\nclass", "        self.depth = depth\n\n\nclass"),
)
case("P15.part_without_layers", *OTHER_NAME, right=OF_PART, base=CACHED)
case(
    "P15.part_with_layers_elsewhere",
    (C, "self, num_hidden_layers=1, **kwargs", "self, depth=1, **kwargs"),
    (
        C,
        "        self.num_hidden_layers = num_hidden_layers\n\n\nclass",
        "        self.depth = self.num_hidden_layers = depth\n\n\nclass",
    ),
    right=OF_PART,
    base=CACHED,
)

# Settings of generate that do not go together

SAMPLES = json.dumps({"temperature": 0.7, "use_cache": False})
for _name, _settings in (
    ("beams_not", {"length_penalty": 2.0}),
    ("negative_padding", {"pad_token_id": -1}),
):
    _text = json.dumps({**_settings, "use_cache": False})
    case(f"P52.{_name}_in_file", faulty_files={"generation_config.json": _text})
    case(f"P52.{_name}_in_config", faulty_settings=_settings)
# A field of a configuration that is named as one of them. Up to 4.57 the base sets it too, in super().__init__.
TAKES = (C, "        **kwargs,\n", "        experts=5,\n        **kwargs,\n")
KEEPS = "        self.experts = experts\n"
BASE_CALL = "        super().__init__(tie_word_embeddings"
OTHER = (
    (C, "        experts=5,\n", "        top_k=5,\n"),
    (C, "        self.experts = experts\n", "        self.top_k = top_k\n"),
)
for _place, _edit in (("", (C, LAST_SET, LAST_SET + KEEPS)), ("_before", (C, BASE_CALL, KEEPS + BASE_CALL))):
    case(f"P52.own_field{_place}", *OTHER, right=(TAKES, _edit))
    case(f"P52.samples_named{_place}_in_config", *OTHER, right=(TAKES, _edit), faulty_settings={"top_k": 5})
case(
    "P52.samples_not_in_constructor",
    (M, POST, POST + "        self.generation_config.temperature = 0.7\n"),
)
case("P52.samples_not_in_file", faulty_files={"generation_config.json": SAMPLES})
case("P52.samples_not_in_config", faulty_settings={"temperature": 0.7})
