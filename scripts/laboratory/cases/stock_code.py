"""Code of transformers that a folder's code derives from or calls, and that changes between releases."""

# ruff: noqa: E501 (lines of programs)

from sources import CACHED

from cases.base import GET_INPUT, IMPORTS, POST, M, case

# A decoder of transformers' own that sees all words. Its forward is handed a finished mask in the right folder.
SMALL = "vocab_size=24, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2"
SEES_ALL = """

class SeesAll({base}):
    def all_words(self, input_tensor, attention_mask):
        keep = torch.ones(input_tensor.shape[:2]) if attention_mask is None else attention_mask
        mask = torch.zeros(keep.shape[0], 1, keep.shape[1], keep.shape[1])
        return mask.masked_fill(keep[:, None, None, :] == 0, torch.finfo(mask.dtype).min)

    def forward(self, inputs_embeds=None, attention_mask=None, **kwargs):
        mask = self.all_words(inputs_embeds, attention_mask)
        return super().forward(inputs_embeds=inputs_embeds, attention_mask=mask, use_cache=False)
"""
FORWARD = """    def forward(self, inputs_embeds=None, attention_mask=None, **kwargs):
        mask = self.all_words(inputs_embeds, attention_mask)
        return super().forward(inputs_embeds=inputs_embeds, attention_mask=mask, use_cache=False)
"""
OVERRIDE = """    def _update_causal_mask(self, attention_mask, input_tensor, *args, **kwargs):
        return self.all_words(input_tensor, attention_mask)
"""
LOGITS = "logits=self.head(self.mix(self.embed(input_ids)))"


def with_decoder(base: str, config: str, settings: str = SMALL, more: str = "") -> tuple:
    """The plain folder, with a class that derives from a decoder of transformers inside."""
    return (
        (M, "import DynamicCache, ", f"import DynamicCache, {base}, {config}, "),
        (M, IMPORTS, IMPORTS + SEES_ALL.format(base=base) + more),
        (M, POST, f"        self.inside = SeesAll({config}({settings}))\n" + POST),
        (
            M,
            LOGITS,
            "logits=self.head(self.mix(self.inside(inputs_embeds=self.embed(input_ids), attention_mask=attention_mask).last_hidden_state))",
        ),
    )


for _base, _config in (
    ("LlamaModel", "LlamaConfig"),
    ("MistralModel", "MistralConfig"),
    ("Qwen2Model", "Qwen2Config"),
):
    case(
        f"P49.causal_mask_of_{_base}",
        (M, FORWARD, OVERRIDE),
        right=with_decoder(_base, _config),
    )
FINISHED = "attention_mask" + " if attention_mask is not None and attention_mask.dim() == 4 else "
case(  # the folder's forward calls it itself
    "P49.own_forward_calls_it",
    (
        M,
        FORWARD,
        FORWARD.replace("self.all_words(inputs_embeds, ", "self._update_causal_mask(").replace(
            "(attention_mask)", "(attention_mask, inputs_embeds)"
        )
        + "\n"
        + OVERRIDE.replace("return ", "return " + FINISHED),
    ),
    right=with_decoder("LlamaModel", "LlamaConfig"),
)
case(
    "P49.hands_on_alone",
    (
        M,
        "    def all_words(",
        "    def _update_causal_mask(self, *args, **kwargs):\n        return super()._update_causal_mask(*args, **kwargs)\n\n    def all_words(",
    ),
    right=with_decoder("LlamaModel", "LlamaConfig"),
)

# Arguments

USES_CACHE = (
    M,
    "        if use_cache and cache is None:\n",
    "        use_cache = True if use_cache is None else use_cache\n        if use_cache and cache is None:\n",
)
case(
    "P50.cache_of_config",
    (M, "            cache = DynamicCache()\n", "            cache = DynamicCache(config=self.config)\n"),
    right=(USES_CACHE,),
    base=CACHED,
)
case(
    "P50.cache_of_config_in_method",
    (M, "        return DynamicCache()\n", "        return DynamicCache(config=self.config)\n"),
    right=(
        USES_CACHE,
        (M, "            cache = DynamicCache()\n", "            cache = self.new_cache()\n"),
        (M, GET_INPUT, "    def new_cache(self):\n        return DynamicCache()\n\n" + GET_INPUT),
    ),
    base=CACHED,
)
case(  # generate makes the cache itself, and nobody else asks for one
    "P50.cache_of_config_not_reached",
    (M, "            cache = DynamicCache()\n", "            cache = DynamicCache(config=self.config)\n"),
    base=CACHED,
)
case(
    "P50.error_is_caught",
    (
        M,
        "            cache = DynamicCache()\n",
        "            try:\n                cache = DynamicCache(config=self.config)\n            except (AttributeError, TypeError):\n                cache = DynamicCache()\n",
    ),
    right=(USES_CACHE,),
    base=CACHED,
)
case(
    "P50.signature_is_asked",
    (
        M,
        "            cache = DynamicCache()\n",
        '            if "config" in inspect.signature(DynamicCache.__init__).parameters:\n                cache = DynamicCache(config=self.config)\n            else:\n                cache = DynamicCache()\n',
    ),
    right=(
        USES_CACHE,
        (M, "import torch\nfrom torch import nn", "import inspect\n\nimport torch\nfrom torch import nn"),
    ),
    base=CACHED,
)
case(
    "P50.mask_of_words",
    (
        M,
        "        return CausalLMOutputWithPast(",
        "        create_causal_mask(config=self.config, inputs_embeds=self.embed(input_ids), attention_mask=attention_mask, cache_position=torch.arange(input_ids.shape[1]), past_key_values=None)\n        return CausalLMOutputWithPast(",
    ),
    (
        M,
        "from transformers.modeling_outputs",
        "from transformers.masking_utils import create_causal_mask\nfrom transformers.modeling_outputs",
    ),
    settings={"num_attention_heads": 2},
)
UPDATES = """    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):
        return super()._update_model_kwargs_for_generation(outputs, model_kwargs, **kwargs)

"""
case(
    "P50.past_of_outputs",
    (
        M,
        "        return super()._update_model_kwargs_for_generation(",
        "        self._extract_past_from_model_output(outputs, standardize_cache_format=False)\n        return super()._update_model_kwargs_for_generation(",
    ),
    right=((M, GET_INPUT, UPDATES + GET_INPUT),),
    base=CACHED,
)

# Constructors of parts

ROTARY = (
    (M, "import DynamicCache, ", "import DynamicCache, LlamaConfig, "),
    (
        M,
        "from transformers.modeling_outputs",
        "from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding\nfrom transformers.modeling_outputs",
    ),
)
case(
    "P50.part_with_device",
    (M, "LlamaRotaryEmbedding(config=inner)", "LlamaRotaryEmbedding(config=inner, device=None)"),
    right=(
        *ROTARY,
        (
            M,
            POST,
            f"        inner = LlamaConfig({SMALL})\n        self.rotary = LlamaRotaryEmbedding(config=inner)\n" + POST,
        ),
    ),
)
case(
    "P50.derived_part_with_device",
    (M, "super().__init__(config=config)", "super().__init__(config, device)"),
    right=(
        *ROTARY,
        (
            M,
            IMPORTS,
            IMPORTS
            + "\n\nclass Rotary(LlamaRotaryEmbedding):\n    def __init__(self, config, device=None):\n        super().__init__(config=config)\n",
        ),
        (M, POST, f"        self.rotary = Rotary(LlamaConfig({SMALL}))\n" + POST),
    ),
)
STACK = "d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, vocab_size=24"
case(
    "P50.stack_with_embedding",
    (M, "T5Stack(inner)\n", "T5Stack(inner, None)\n"),
    right=(
        (M, "import DynamicCache, ", "import DynamicCache, T5Config, "),
        (
            M,
            "from transformers.modeling_outputs",
            "from transformers.models.t5.modeling_t5 import T5Stack\nfrom transformers.modeling_outputs",
        ),
        (M, POST, f"        inner = T5Config({STACK})\n        self.stack = T5Stack(inner)\n" + POST),
    ),
)
