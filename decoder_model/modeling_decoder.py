# Made by pinfold from modular_decoder.py: edit that file, and run main.py again.
# pinfold 0.1.0, transformers 5.24.0. Taken from there:
#   transformers.models.gemma.modeling_gemma.GemmaRMSNorm 6f26b03c449f085b
#   transformers.models.llama.configuration_llama.LlamaConfig 646de0a43248930a
#   transformers.models.llama.modeling_llama.LlamaAttention b696b4d58eff39fa
#   transformers.models.llama.modeling_llama.LlamaDecoderLayer 8266b53b560febe3
#   transformers.models.llama.modeling_llama.LlamaForCausalLM 70dd63e37a8a0d98
#   transformers.models.llama.modeling_llama.LlamaForQuestionAnswering fc4849660a796410
#   transformers.models.llama.modeling_llama.LlamaForSequenceClassification ef5f5feb58c4f779
#   transformers.models.llama.modeling_llama.LlamaForTokenClassification ace707ec5bcaca05
#   transformers.models.llama.modeling_llama.LlamaMLP dff52a61a4d4a2a1
#   transformers.models.llama.modeling_llama.LlamaModel 202b35fa9004e959
#   transformers.models.llama.modeling_llama.LlamaPreTrainedModel 2a6e47e6f7bec5f7
#   transformers.models.llama.modeling_llama.LlamaRotaryEmbedding b9c35cdb3f24d413
#   transformers.models.llama.modeling_llama.apply_rotary_pos_emb a6dd2967da96713e
#   transformers.models.llama.modeling_llama.eager_attention_forward 7224317efc61532f
#   transformers.models.llama.modeling_llama.repeat_kv d7cb84ea104d6a1d
#   transformers.models.llama.modeling_llama.rotate_half c3e95bb5f330fa3c
# ruff: noqa
# Copyright 2022 EleutherAI and the HuggingFace Inc. team. All rights reserved.
#
# This code is based on EleutherAI's GPT-NeoX library and the GPT-NeoX
# and OPT implementations in this library. It has been modified from its
# original forms to accommodate minor architectural differences compared
# to GPT-NeoX and OPT used by the Meta AI team that trained the model.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache, StaticCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel

from .configuration_decoder import DecoderConfig


def rotary_width(config):
    """Dimensions of a head that are turned."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(head * config.rope_parameters.get("partial_rotary_factor", 1.0))


def plain_frequencies(config, device=None, base=None):
    width = rotary_width(config)
    base = config.rope_parameters["rope_theta"] if base is None else base
    return 1.0 / (base ** (torch.arange(0, width, 2, dtype=torch.int64).to(device=device, dtype=torch.float) / width))


def linear_frequencies(config, device=None, seq_len=None):
    return plain_frequencies(config, device) / config.rope_parameters["factor"], 1.0


def dynamic_frequencies(config, device=None, seq_len=None):
    """A larger base, the longer the text is beyond what the model was trained on."""
    rope, longest, width = config.rope_parameters, config.max_position_embeddings, rotary_width(config)
    if isinstance(seq_len, torch.Tensor):
        length = torch.maximum(seq_len, torch.tensor(longest, dtype=seq_len.dtype, device=seq_len.device))
    else:
        length = max(seq_len or 0, longest)
    growth = (rope["factor"] * length / longest) - (rope["factor"] - 1)
    return plain_frequencies(config, device, rope["rope_theta"] * growth ** (width / (width - 2))), 1.0


def yarn_frequencies(config, device=None, seq_len=None):
    """Low frequencies are stretched, high ones are not (Peng et al. 2023, https://arxiv.org/abs/2309.00071)."""
    rope, width, base = config.rope_parameters, rotary_width(config), config.rope_parameters["rope_theta"]
    trained = rope["original_max_position_embeddings"]
    factor = config.max_position_embeddings / trained if rope["factor"] is None else rope["factor"]

    def temper(scale, weight=1):
        return 1.0 if scale <= 1 else 0.1 * weight * math.log(scale) + 1.0

    scaling = rope.get("attention_factor")
    if scaling is None and rope.get("mscale") and rope.get("mscale_all_dim"):
        scaling = float(temper(factor, rope["mscale"]) / temper(factor, rope["mscale_all_dim"]))
    elif scaling is None:
        scaling = temper(factor)

    def dimension(turns):  # in which a frequency turns so often within the trained length
        return (width * math.log(trained / (turns * 2 * math.pi))) / (2 * math.log(base))

    low, high = dimension(rope.get("beta_fast") or 32), dimension(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    high = high + 0.001 if low == high else high
    steps = base ** (torch.arange(0, width, 2).to(device=device, dtype=torch.float) / width)
    ramp = torch.clamp((torch.arange(width // 2, dtype=torch.float32) - low) / (high - low), 0, 1)
    kept = 1 - ramp.to(device=device, dtype=torch.float)
    return 1.0 / (factor * steps) * (1 - kept) + 1.0 / steps * kept, scaling


def longrope_frequencies(config, device=None, seq_len=None):
    """A factor for each frequency, other ones beyond the trained length (https://arxiv.org/abs/2402.13753)."""
    rope, width = config.rope_parameters, rotary_width(config)
    trained, factor = rope["original_max_position_embeddings"], rope.get("factor")
    factor = config.max_position_embeddings / trained if factor is None else factor
    scaling = rope.get("attention_factor")
    if scaling is None:
        scaling = 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(trained))
    chosen = rope["long_factor" if seq_len and seq_len > trained else "short_factor"]
    factors = torch.tensor(chosen, dtype=torch.float32, device=device)
    powers = torch.arange(0, width, 2, dtype=torch.int64, device=device).float() / width
    return 1.0 / (factors * rope["rope_theta"] ** powers), scaling


def llama3_frequencies(config, device=None, seq_len=None):
    """Wavelengths beyond the trained length are stretched, short ones are not, those between are mixed."""
    rope, plain = config.rope_parameters, plain_frequencies(config, device)
    factor, trained = rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    waves = 2 * math.pi / plain
    found = torch.where(waves > trained / low, plain / factor, plain)
    smooth = (trained / waves - low) / (high - low)
    mixed = (1 - smooth) * found / factor + smooth * found
    return torch.where(~(waves < trained / high) * ~(waves > trained / low), mixed, found), 1.0


ROPE_INIT_FUNCTIONS = {
    "linear": linear_frequencies,
    "dynamic": dynamic_frequencies,
    "yarn": yarn_frequencies,
    "longrope": longrope_frequencies,
    "llama3": llama3_frequencies,
}


def dynamic_rope_update(forward):
    """Gives dynamic and longrope the frequencies that the text's length asks for, before each forward."""

    @functools.wraps(forward)
    def run(self, x, position_ids):
        if self.rope_type == "longrope":
            longest = self.config.rope_parameters["original_max_position_embeddings"]
            found, _ = longrope_frequencies(self.config, x.device, longest + 1)
            is_long = torch.max(position_ids) + 1 > longest
            self.inv_freq.copy_(torch.where(is_long, found, self.original_inv_freq.to(x.device)))
        elif "dynamic" in self.rope_type:
            length = torch.max(position_ids) + 1
            if length > self.max_seq_len_cached:
                found, self.attention_scaling = dynamic_frequencies(self.config, x.device, length)
                self.inv_freq.copy_(found)
                self.max_seq_len_cached = length
            elif length < self.original_max_seq_len < self.max_seq_len_cached:
                self.inv_freq.copy_(self.original_inv_freq)
                self.max_seq_len_cached = self.original_max_seq_len
        return forward(self, x, position_ids)

    return run


def draw_weights(model, module):
    """Initial weights: normal ones, no biases, norms that do nothing, and the buffers that are not saved."""
    std = getattr(model.config, "initializer_range", None) or 0.02
    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
        nn.init.normal_(module.weight, mean=0.0, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, mean=0.0, std=std)
        if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
            nn.init.zeros_(module.weight[module.padding_idx])
    elif "RMSNorm" in type(module).__name__ or "LayerNorm" in type(module).__name__:
        if getattr(module, "weight", None) is not None:
            nn.init.ones_(module.weight)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    elif hasattr(module, "original_inv_freq"):
        make = ROPE_INIT_FUNCTIONS.get(module.rope_type) or module.compute_default_rope_parameters
        found, _ = make(module.config)
        with torch.no_grad():
            module.inv_freq.copy_(found)
            module.original_inv_freq.copy_(found)


def put_back_tied(model, *given):
    """Part of loading in transformers 5; 5.3 takes tied weights of remote code for loaded, and leaves them empty."""
    empty = {name for name in model.all_tied_weights_keys if model.get_parameter(name).is_meta}
    for missing in (getattr(info, "missing_keys", None) for info in given):
        if isinstance(missing, set):
            missing |= empty


CACHE = "cache" if "cache" in {f.name for f in fields(BaseModelOutputWithPast)} else "past_key_values"


def with_cache(value):
    """The cache as an output's argument: transformers 5.24 calls it cache, older ones past_key_values."""
    return {CACHE: value}


def takes_cache(forward):
    """A forward that also takes its cache by the newer name, which transformers 5.24's generate() uses."""

    @functools.wraps(forward)
    def run(self, *args, **kwargs):
        if "cache" in kwargs:
            given = kwargs.pop("cache")
            if kwargs.get("past_key_values") is None:
                kwargs["past_key_values"] = given
        return forward(self, *args, **kwargs)

    return run


def update_cache(cache, key, value, layer, given):
    """Add keys and values to a layer of the cache; returns all of them.

    A cache of a fixed size needs the positions of the new tokens up to transformers 5.3, and counts them itself since.
    """
    places = given.get("cache_position")
    if places is None and isinstance(cache, StaticCache):
        places = torch.arange(key.shape[2], device=key.device) + cache.get_seq_length(layer)
    return cache.update(key, value, layer, {"cache_position": places})


# what get_mask_sizes takes of the queries: older releases their positions, newer ones how many they are
CACHE_COUNTS = "query_length" in inspect.signature(getattr(Cache, "get_mask_sizes", Cache)).parameters


def key_places(cache, tokens, window=None):
    """Where the queries begin, how many keys attention will see, and at which place the first of them is."""
    if cache is None:
        return 0, tokens, 0
    sliding = [bool(getattr(layer, "is_sliding", False)) for layer in getattr(cache, "layers", ())]
    layer = sliding.index(window is not None) if (window is not None) in sliding else 0
    past = cache.get_seq_length(layer) if sliding else cache.get_seq_length()
    if hasattr(cache, "get_mask_sizes"):
        length, first = cache.get_mask_sizes(tokens if CACHE_COUNTS else torch.arange(tokens) + past, layer)
        return past, length, first
    longest = getattr(cache, "get_max_cache_shape", None)  # up to 4.52; it says None for a cache that grows
    size = longest() if longest is not None else None
    return past, past + tokens if size is None else size, 0


def create_causal_mask(config, inputs_embeds, attention_mask, past_key_values, position_ids=None, window=None):
    """What each token sees, in the form that the chosen attention takes; None where it needs none.

    Args:
        attention_mask: (batch, keys), 0 for padding; or ready, with four dimensions.
        position_ids: where they start again, in a row without padding and cache, another text begins.
        window: how many keys back a token sees.
    """
    implementation = config._attn_implementation or "eager"
    if attention_mask is not None and attention_mask.dim() == 4:
        ready = implementation == "eager" and attention_mask.dtype == torch.bool
        return additive_mask(attention_mask, inputs_embeds.dtype) if ready else attention_mask
    rows, tokens = inputs_embeds.shape[:2]
    past, length, first = key_places(past_key_values, tokens, window)
    causal = getattr(config, "is_causal", True)
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if not causal and not isinstance(past, torch.Tensor) and past:
        raise ValueError("a model that sees both ways cannot go on from a cache; use use_cache=False")
    if past_key_values is None and attention_mask is not None:
        length = attention_mask.shape[-1]
    if implementation.startswith("flash"):
        if attention_mask is None or attention_mask.all():
            return None
        return attention_mask[:, -length:]
    if implementation not in ("eager", "sdpa"):
        return foreign_mask(config, inputs_embeds, attention_mask, past_key_values, position_ids, window)
    place = torch.arange(length, device=inputs_embeds.device) + first
    texts = None
    if attention_mask is None and past_key_values is None and position_ids is not None and causal:
        texts = (torch.diff(position_ids, prepend=position_ids[:, :1] - 1, dim=-1) != 1).cumsum(-1)
        texts = texts if traced or bool(texts.any()) else None
    if attention_mask is not None:
        attention_mask = attention_mask.to(device=inputs_embeds.device, dtype=torch.bool)
        short = length + first - attention_mask.shape[-1]  # a cache of a fixed size has places to come
        attention_mask = nn.functional.pad(attention_mask, (0, max(short, 0)))[:, place]
    if implementation == "sdpa" and texts is None and not (traced and attention_mask is not None):
        full = attention_mask is None or bool(attention_mask.all())
        if not causal and full:
            return None
        known = causal and not isinstance(past, torch.Tensor) and (window is None or length < window)
        # here torch's own causal flag says the same; it starts at the upper left corner
        if known and full and (length == tokens or (tokens == 1 and length == past + 1)):
            return None
        if known and past == 0 and not traced:
            now, later = (None, None) if full else (attention_mask[:, :tokens], attention_mask[:, tokens:])
            if attention_mask is None or (not full and bool(now.all()) and not bool(later.any())):
                return None
    query = (torch.arange(tokens, device=inputs_embeds.device) + past)[:, None]
    seen = place <= query if causal else torch.ones_like(place <= query)
    if window is not None:
        seen = seen & (place > query - window) & (place < query + window)
    seen = seen[None, None].expand(rows, -1, -1, -1)  # (batch, 1, queries, keys)
    if attention_mask is not None:
        seen = seen & attention_mask[:, None, None, :]
    if texts is not None:
        seen = seen & (texts[:, None, :, None] == texts[:, None, None, :])
    return additive_mask(seen, inputs_embeds.dtype) if implementation == "eager" else seen


def additive_mask(seen, dtype):
    """0 where a key is seen and the lowest finite number elsewhere."""
    low = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=seen.device)
    return torch.where(seen, torch.tensor(0.0, dtype=dtype, device=seen.device), low)


def foreign_mask(config, inputs_embeds, attention_mask, cache, position_ids, window):
    """A mask as this transformers makes it, for attention that only it knows, such as flex attention."""
    try:
        from transformers import masking_utils
    except ImportError:
        raise ValueError(
            f"attn_implementation={config._attn_implementation!r} needs a newer transformers; use 'sdpa' or 'eager'"
        ) from None
    name = "create_causal_mask" if window is None else "create_sliding_window_causal_mask"
    past = cache.get_seq_length() if cache is not None else 0
    places = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device) + past
    known = {
        "config": config, "inputs_embeds": inputs_embeds, "input_embeds": inputs_embeds,
        "attention_mask": attention_mask, "past_key_values": cache, "cache": cache, "position_ids": position_ids,
        "cache_position": places,
    }  # fmt: skip
    make = getattr(masking_utils, name)
    asked = inspect.signature(make).parameters
    return make(**{k: v for k, v in known.items() if k in asked})


def attention_function(implementation, eager):
    """The attention of this name; sdpa is this file's own, as transformers' has changed its numbers.

    set_attn_implementation() looks for certain words in this file before it switches anything:
    `ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]`, eager_attention_forward (4.x), and
    `ALL_ATTENTION_FUNCTIONS.get_interface(` (5.x).
    """
    if implementation in ("eager", None):
        return eager
    if implementation == "sdpa":
        return functools.partial(sdpa_attention, eager)
    if implementation not in ALL_ATTENTION_FUNCTIONS:
        raise ValueError(f"attn_implementation={implementation!r} is not known here; use 'sdpa' or 'eager'")
    return ALL_ATTENTION_FUNCTIONS[implementation]


def sdpa_attention(eager, module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    """torch's attention; (batch, heads, tokens, head_dim) in, (batch, tokens, heads, head_dim) out."""
    tokens, groups = query.shape[2], getattr(module, "num_key_value_groups", 1)
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    causal = attention_mask is None and tokens > 1 and bool(causal)
    if kwargs.get("output_attentions"):  # which torch does not give
        if causal:
            seen = torch.ones(tokens, key.shape[2], dtype=torch.bool, device=query.device).tril()
            attention_mask = additive_mask(seen, query.dtype)
        elif attention_mask is not None and attention_mask.dtype == torch.bool:
            attention_mask = additive_mask(attention_mask, query.dtype)
        return eager(module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs)
    shared = {}
    if groups > 1:
        if attention_mask is None and key.shape[-1] == value.shape[-1] <= 256:
            shared = {"enable_gqa": True}
        elif tokens == 1 and not torch.compiler.is_compiling():
            # one query a head: heads that share a key can be its queries
            query = query.unflatten(1, (key.shape[1], groups)).flatten(2, 3)
            if attention_mask is not None and attention_mask.shape[1] > 1:
                attention_mask = attention_mask.unflatten(1, (key.shape[1], groups)).flatten(2, 3)
        else:
            key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    if causal and key.shape[2] > tokens:  # places of a fixed cache that are not written yet
        key, value = key[:, :, :tokens], value[:, :, :tokens]
    mixed = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling, is_causal=causal, **shared
    )
    mixed = mixed.reshape(mixed.shape[0], -1, tokens, value.shape[-1])
    return mixed.transpose(1, 2).contiguous(), None


class GradientCheckpointingLayer(nn.Module):
    """A layer that is computed again in the backward pass, where the model asks for that."""

    gradient_checkpointing = False

    def __call__(self, *args, **kwargs):
        # Below a trainable input there is nothing to save, and reentrant checkpointing would lose the gradient.
        trained = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        if not (trained and args and args[0].requires_grad):
            return super().__call__(*args, **kwargs)
        for name, value in (("past_key_values", None), ("use_cache", False)):  # it would be written to twice
            if kwargs.get(name):
                kwargs[name] = value
        return self._gradient_checkpointing_func(functools.partial(super().__call__, **kwargs), *args)


def merge_with_config_defaults(forward):
    """`use_cache` as the configuration says where it is not given; never where layers are computed twice."""

    names = list(inspect.signature(forward).parameters)[1:]

    @functools.wraps(forward)
    def run(self, *args, **kwargs):
        kwargs |= dict(zip(names, args))
        if kwargs.get("use_cache") is None:
            kwargs["use_cache"] = getattr(self.config, "use_cache", False)
        if getattr(self, "gradient_checkpointing", False) and self.training and torch.is_grad_enabled():
            kwargs["use_cache"] = False
        return forward(self, **kwargs)

    return run


def can_return_tuple(forward):
    """A plain tuple with ``return_dict=False``, or where the configuration says so."""

    @functools.wraps(forward)
    def run(self, *args, return_dict=None, **kwargs):
        output = forward(self, *args, **kwargs)
        wanted = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if wanted or isinstance(output, tuple) else output.to_tuple()

    return run


def capture_outputs(forward):
    """Hidden states and attentions, read off the layers as they run when they are asked for; a tuple on request."""

    @functools.wraps(forward)
    def run(self, *args, return_dict=None, output_hidden_states=None, output_attentions=None, **kwargs):
        asked = {"hidden_states": output_hidden_states, "attentions": output_attentions}
        for name, value in asked.items():
            asked[name] = getattr(self.config, f"output_{name}", False) if value is None else value
        kept = {name: [] for name, value in asked.items() if value}

        def keep_states(module, inputs, output):
            states = kept["hidden_states"]
            states += [inputs[0]] if not states else []
            states.append(output[0] if isinstance(output, tuple) else output)

        def keep_weights(module, inputs, output):
            kept["attentions"].append(output[1])

        keepers, hooks = {"hidden_states": keep_states, "attentions": keep_weights}, []
        if asked["attentions"]:
            kwargs["output_attentions"] = True
        try:
            for name in kept:
                parts = (m for m in self.modules() if isinstance(m, self._can_record_outputs[name]))
                hooks += [part.register_forward_hook(keepers[name]) for part in parts]
            output = forward(self, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        if "hidden_states" in kept:  # the last one is normalised
            kept["hidden_states"][-1] = output.last_hidden_state
        for name, values in kept.items():
            output[name] = tuple(values)
        wanted = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    return run


def slice_logits_to_keep(hidden_states, logits_to_keep):
    """The places whose logits are wanted: the last n (0: all), indices, or for each row indices or booleans."""
    if not isinstance(logits_to_keep, torch.Tensor):
        return hidden_states[:, -logits_to_keep:]
    if logits_to_keep.dim() == 1:
        return hidden_states[:, logits_to_keep]
    if logits_to_keep.dtype == torch.bool:
        return hidden_states[logits_to_keep]
    return torch.take_along_dim(hidden_states, logits_to_keep[..., None], dim=1)


def causal_lm_loss(
    logits, labels, vocab_size, num_items_in_batch=None, ignore_index=-100, shift_labels=None, **kwargs
):
    """Cross entropy of each next token, as transformers computes it from 4.50 on; older ones added it up otherwise."""
    if shift_labels is None:
        shift_labels = nn.functional.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    logits, target = logits.float().view(-1, vocab_size), shift_labels.reshape(-1).to(logits.device)
    if num_items_in_batch is None:
        return nn.functional.cross_entropy(logits, target, ignore_index=ignore_index)
    loss = nn.functional.cross_entropy(logits, target, ignore_index=ignore_index, reduction="sum")
    items = num_items_in_batch.to(loss.device) if torch.is_tensor(num_items_in_batch) else num_items_in_batch
    return loss / items


class HeadOnBody:
    """What the heads share: the body under `base_model_prefix`. ``body_class`` is set by who inherits."""

    body_class = None

    def add_body(self, config):
        setattr(self, self.base_model_prefix, self.body_class(config))

    def get_input_embeddings(self):
        return getattr(self, self.base_model_prefix).get_input_embeddings()

    def set_input_embeddings(self, value):
        getattr(self, self.base_model_prefix).set_input_embeddings(value)


class GenericForSequenceClassification(HeadOnBody):
    """A class for each row, read at its last token that is not padding."""

    base_model_prefix = "model"
    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.add_body(config)
        self.score = nn.Linear(config.hidden_size, self.num_labels, bias=False)
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, **kwargs,
    ):  # fmt: skip
        """Returns SequenceClassifierOutputWithPast; input_ids are (batch, tokens), labels (batch,) class indices or
        (batch, num_labels) values, everything else as the body takes it.
        """
        output = getattr(self, self.base_model_prefix)(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **kwargs,
        )  # fmt: skip
        logits = self.score(output.last_hidden_state)
        pad, rows = self.config.pad_token_id, torch.arange(logits.shape[0], device=logits.device)
        if pad is None and len(rows) > 1:
            raise ValueError(
                f"{len(rows)} rows, but no padding token is defined; set pad_token_id, to find their last tokens"
            )
        last = -1
        if pad is not None and input_ids is not None:
            real = (input_ids != pad).to(logits.device, torch.int32)
            last = (torch.arange(input_ids.shape[-1], device=logits.device, dtype=torch.int32) * real).argmax(-1)
        pooled, loss = logits[rows, last], None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, pooled_logits=pooled, config=self.config)
        return SequenceClassifierOutputWithPast(
            loss=loss, logits=pooled, hidden_states=output.hidden_states, attentions=output.attentions,
            **with_cache(getattr(output, CACHE)),
        )  # fmt: skip


class GenericForTokenClassification(HeadOnBody):
    """A class for each token."""

    base_model_prefix = "model"
    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.add_body(config)
        rates = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout"))
        self.dropout = nn.Dropout(next((rate for rate in rates if rate is not None), 0.1))
        self.score = nn.Linear(
            config.hidden_size, config.num_labels, bias=getattr(config, "token_classification_bias", True)
        )
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, **kwargs,
    ):  # fmt: skip
        """Returns TokenClassifierOutput; input_ids and labels are (batch, tokens), -100 where a token does not count,
        everything else as the body takes it.
        """
        output = getattr(self, self.base_model_prefix)(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **kwargs,
        )  # fmt: skip
        logits, loss = self.score(self.dropout(output.last_hidden_state)), None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )


class GenericForQuestionAnswering(HeadOnBody):
    """Where in the text an answer starts and ends."""

    base_model_prefix = "model"
    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given

    def __init__(self, config):
        super().__init__(config)
        self.add_body(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        start_positions=None, end_positions=None, **kwargs,
    ):  # fmt: skip
        """Returns QuestionAnsweringModelOutput; input_ids are (batch, tokens), start_positions and end_positions
        (batch,) the tokens where each answer starts and ends, everything else as the body takes it.
        """
        kwargs.pop("num_items_in_batch", None)
        output = getattr(self, self.base_model_prefix)(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, **kwargs,
        )  # fmt: skip
        start, end = (x.contiguous() for x in self.qa_outputs(output.last_hidden_state).unbind(-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start, end, start_positions, end_positions)
        return QuestionAnsweringModelOutput(
            loss=loss, start_logits=start, end_logits=end, hidden_states=output.hidden_states,
            attentions=output.attentions,
        )  # fmt: skip


class DecoderRMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(dim))

    def _norm(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)

    def forward(self, x):
        output = self._norm(x.float())
        # Llama does x.to(float16) * w whilst Decoder is (x * w).to(float16)
        # See https://github.com/huggingface/transformers/pull/29402
        output = output * (1.0 + self.weight.float())
        return output.type_as(x)

    def extra_repr(self):
        return f"{tuple(self.weight.shape)}, eps={self.eps}"


def rotate_half(x):
    """Rotates half the hidden dims of the input."""
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    """Applies Rotary Position Embedding to the query and key tensors.

    Args:
        q (`torch.Tensor`): The query tensor.
        k (`torch.Tensor`): The key tensor.
        cos (`torch.Tensor`): The cosine part of the rotary embedding.
        sin (`torch.Tensor`): The sine part of the rotary embedding.
        unsqueeze_dim (`int`, *optional*, defaults to 1):
            The 'unsqueeze_dim' argument specifies the dimension along which to unsqueeze cos[position_ids] and
            sin[position_ids] so that they can be properly broadcasted to the dimensions of q and k. For example, note
            that cos[position_ids] and sin[position_ids] have the shape [batch_size, seq_len, head_dim]. Then, if q and
            k have the shape [batch_size, heads, seq_len, head_dim], then setting unsqueeze_dim=1 makes
            cos[position_ids] and sin[position_ids] broadcastable to the shapes of q and k. Similarly, if q and k have
            the shape [batch_size, seq_len, heads, head_dim], then set unsqueeze_dim=2.
    Returns:
        `tuple(torch.Tensor)` comprising of the query and key tensors rotated using the Rotary Position Embedding.
    """
    cos = cos.unsqueeze(unsqueeze_dim)
    sin = sin.unsqueeze(unsqueeze_dim)
    q_embed = (q * cos) + (rotate_half(q) * sin)
    k_embed = (k * cos) + (rotate_half(k) * sin)
    return q_embed, k_embed


def repeat_kv(hidden_states: torch.Tensor, n_rep: int) -> torch.Tensor:
    """
    This is the equivalent of torch.repeat_interleave(x, dim=1, repeats=n_rep). The hidden states go from (batch,
    num_key_value_heads, seqlen, head_dim) to (batch, num_attention_heads, seqlen, head_dim)
    """
    batch, num_key_value_heads, slen, head_dim = hidden_states.shape
    if n_rep == 1:
        return hidden_states
    hidden_states = hidden_states[:, :, None, :, :].expand(batch, num_key_value_heads, n_rep, slen, head_dim)
    return hidden_states.reshape(batch, num_key_value_heads * n_rep, slen, head_dim)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
):
    key_states = repeat_kv(key, module.num_key_value_groups)
    value_states = repeat_kv(value, module.num_key_value_groups)

    attn_weights = torch.matmul(query, key_states.transpose(2, 3)) * scaling
    if attention_mask is not None:
        attn_weights = attn_weights + attention_mask

    attn_weights = nn.functional.softmax(attn_weights, dim=-1, dtype=torch.float32).to(query.dtype)
    attn_weights = nn.functional.dropout(attn_weights, p=dropout, training=module.training)
    attn_output = torch.matmul(attn_weights, value_states)
    attn_output = attn_output.transpose(1, 2).contiguous()

    return attn_output, attn_weights


class DecoderAttention(nn.Module):
    """Multi-headed attention from 'Attention Is All You Need' paper"""

    def __init__(self, config: DecoderConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout

        self.q_proj = nn.Linear(
            config.hidden_size, config.num_attention_heads * self.head_dim, bias=config.attention_bias
        )
        self.k_proj = nn.Linear(
            config.hidden_size, config.num_key_value_heads * self.head_dim, bias=config.attention_bias
        )
        self.v_proj = nn.Linear(
            config.hidden_size, config.num_key_value_heads * self.head_dim, bias=config.attention_bias
        )
        self.o_proj = nn.Linear(
            config.num_attention_heads * self.head_dim, config.hidden_size, bias=config.attention_bias
        )

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        input_shape = hidden_states.shape[:-1]
        hidden_shape = (*input_shape, -1, self.head_dim)

        query_states = self.q_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        key_states = self.k_proj(hidden_states).view(hidden_shape).transpose(1, 2)
        value_states = self.v_proj(hidden_states).view(hidden_shape).transpose(1, 2)

        cos, sin = position_embeddings
        query_states, key_states = apply_rotary_pos_emb(query_states, key_states, cos, sin)

        if past_key_values is not None:
            key_states, value_states = update_cache(past_key_values, key_states, value_states, self.layer_idx, kwargs)

        attention_interface: Callable = attention_function(self.config._attn_implementation, eager_attention_forward)

        attn_output, attn_weights = attention_interface(
            self,
            query_states,
            key_states,
            value_states,
            attention_mask,
            dropout=0.0 if not self.training else self.attention_dropout,
            scaling=self.scaling,
            **kwargs,
        )

        attn_output = attn_output.reshape(*input_shape, -1).contiguous()
        attn_output = self.o_proj(attn_output)
        return attn_output, attn_weights

    @property
    def is_causal(self):
        return self.config.is_causal


class DecoderDecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: DecoderConfig, layer_idx: int):
        super().__init__()
        self.hidden_size = config.hidden_size

        self.self_attn = DecoderAttention(config=config, layer_idx=layer_idx)

        self.mlp = DecoderMLP(config)
        self.input_layernorm = DecoderRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = DecoderRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = False,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs,
    ) -> torch.Tensor:
        residual = hidden_states
        hidden_states = self.input_layernorm(hidden_states)
        # Self Attention
        hidden_states, _ = self.self_attn(
            hidden_states=hidden_states,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            position_embeddings=position_embeddings,
            **kwargs,
        )
        hidden_states = residual + hidden_states

        # Fully Connected
        residual = hidden_states
        hidden_states = self.post_attention_layernorm(hidden_states)
        hidden_states = self.mlp(hidden_states)
        hidden_states = residual + hidden_states
        return hidden_states


class DecoderMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size
        self.intermediate_size = config.intermediate_size
        self.gate_proj = nn.Linear(self.hidden_size, self.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(self.hidden_size, self.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(self.intermediate_size, self.hidden_size, bias=config.mlp_bias)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x):
        down_proj = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return down_proj


class DecoderPreTrainedModel(PreTrainedModel):
    """What the models share: how weights start, and what they support."""

    config: DecoderConfig
    config_class = DecoderConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["DecoderDecoderLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True

    _can_compile_fullgraph = True
    _supports_attention_backend = True
    _can_record_outputs = {
        "hidden_states": DecoderDecoderLayer,
        "attentions": DecoderAttention,
    }

    def _init_weights(self, module):
        draw_weights(self, module)
        if isinstance(module, DecoderRMSNorm):
            nn.init.zeros_(module.weight)  # the norm adds 1

    _supports_flash_attn_2 = True
    _supports_cache_class = True
    _supports_static_cache = True
    _skip_keys_device_placement = ["past_key_values", "cache"]

    def mark_tied_weights_as_initialized(self, *args):
        super().mark_tied_weights_as_initialized(*args)
        put_back_tied(self, *args)


class DecoderModel(DecoderPreTrainedModel):
    """The model without a head; gives hidden states."""

    def __init__(self, config: DecoderConfig):
        super().__init__(config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size

        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList(
            [DecoderDecoderLayer(config, layer_idx) for layer_idx in range(config.num_hidden_layers)]
        )
        self.norm = DecoderRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = DecoderRotaryEmbedding(config=config)
        self.gradient_checkpointing = False

        # Initialize weights and apply final processing
        self.post_init()

    @takes_cache
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """Returns BaseModelOutputWithPast.

        Args:
            input_ids: (batch, tokens), indices of tokens in the vocabulary.
            attention_mask: (batch, tokens), 1 for tokens and 0 for padding.
            position_ids: (batch, tokens), each token's place in its text; counted from 0 where they are not given.
            past_key_values: keys and values of earlier tokens, as a forward with use_cache=True returned them.
            inputs_embeds: (batch, tokens, hidden_size), in place of input_ids.
            use_cache: whether keys and values are returned, for the tokens to come.
        """
        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")

        if inputs_embeds is None:
            inputs_embeds: torch.Tensor = self.embed_tokens(input_ids)

        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()

        if position_ids is None:
            past_seen_tokens = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device) + past_seen_tokens
            position_ids = position_ids.unsqueeze(0)

        causal_mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )

        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(hidden_states, position_ids=position_ids)

        for decoder_layer in self.layers[: self.config.num_hidden_layers]:
            hidden_states = decoder_layer(
                hidden_states,
                attention_mask=causal_mask,
                position_embeddings=position_embeddings,
                position_ids=position_ids,
                past_key_values=past_key_values,
                use_cache=use_cache,
                **kwargs,
            )

        hidden_states = self.norm(hidden_states)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states,
            **with_cache(past_key_values),
        )

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value


class DecoderRotaryEmbedding(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings

        self.config = config

        self.rope_type = self.config.rope_parameters["rope_type"]
        rope_init_fn: Callable = self.compute_default_rope_parameters
        if self.rope_type != "default":
            rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = rope_init_fn(self.config)

        self.inv_freq = nn.Buffer(inv_freq, persistent=False)
        self.original_inv_freq = nn.Buffer(inv_freq.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config: DecoderConfig, **kwargs) -> tuple[torch.Tensor, float]:
        """
        Computes the inverse frequencies according to the original RoPE implementation
        Args:
            config ([`~transformers.PreTrainedConfig`]):
                The model configuration.
        Returns:
            Tuple of (`torch.Tensor`, `float`), containing the inverse frequencies for the RoPE embeddings and the
            post-processing scaling factor applied to the computed cos/sin (unused in this type of RoPE).
        """
        base = config.rope_parameters["rope_theta"]
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

        attention_factor = 1.0  # Unused in this type of RoPE
        # Compute the inverse frequencies
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float) / dim))
        return inv_freq, attention_factor

    @dynamic_rope_update  # power user: used with advanced RoPE types (e.g. dynamic rope)
    def forward(self, x, position_ids):
        freqs = position_ids[..., None].float() * self.inv_freq.to(device=x.device, dtype=torch.float)
        emb = torch.cat((freqs, freqs), dim=-1)
        cos = emb.cos() * self.attention_scaling
        sin = emb.sin() * self.attention_scaling

        return cos.to(dtype=x.dtype), sin.to(dtype=x.dtype)


class DecoderForCausalLM(DecoderPreTrainedModel, GenerationMixin):
    """The model with a head that scores each next token."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_rep"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}
    _fsdp_plan = {"lm_head": "keep_full_weight"}

    def __init__(self, config: DecoderConfig):
        super().__init__(config)
        self.model = DecoderModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

        # Initialize weights and apply final processing
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """Returns CausalLMOutputWithPast.

        Args:
            input_ids: (batch, tokens), indices of tokens in the vocabulary.
            attention_mask: (batch, tokens), 1 for tokens and 0 for padding.
            position_ids: (batch, tokens), each token's place in its text; counted from 0 where they are not given.
            past_key_values: keys and values of earlier tokens, as a forward with use_cache=True returned them.
            inputs_embeds: (batch, tokens, hidden_size), in place of input_ids.
            labels: (batch, tokens), -100 where a token does not count; gives a loss.
            use_cache: whether keys and values are returned, for the tokens to come.
            logits_to_keep: how many places at the end get logits, 0 for all; or their indices.
        """
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )

        hidden_states = outputs.last_hidden_state
        hidden_states = slice_logits_to_keep(hidden_states, logits_to_keep)
        logits = self.lm_head(hidden_states)

        loss = None
        if labels is not None:
            loss = causal_lm_loss(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)

        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            **with_cache(getattr(outputs, CACHE)),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value


class DecoderForSequenceClassification(GenericForSequenceClassification, DecoderPreTrainedModel):
    def __init__(self, config):
        super(GenericForSequenceClassification, self).__init__(config)
        self.num_labels = config.num_labels
        setattr(self, self.base_model_prefix, DecoderModel._from_config(config))
        self.score = nn.Linear(config.get_text_config().hidden_size, self.num_labels, bias=False)

        self.post_init()

    body_class = DecoderModel


class DecoderForTokenClassification(GenericForTokenClassification, DecoderPreTrainedModel):
    def __init__(self, config):
        super(GenericForTokenClassification, self).__init__(config)
        self.num_labels = config.num_labels
        setattr(self, self.base_model_prefix, DecoderModel._from_config(config))
        if getattr(config, "classifier_dropout", None) is not None:
            classifier_dropout = config.classifier_dropout
        elif getattr(config, "hidden_dropout", None) is not None:
            classifier_dropout = config.hidden_dropout
        else:
            classifier_dropout = 0.1
        self.dropout = nn.Dropout(classifier_dropout)
        self.score = nn.Linear(
            config.get_text_config().hidden_size,
            config.num_labels,
            bias=getattr(config, "token_classification_bias", True),
        )

        self.post_init()

    body_class = DecoderModel


class DecoderForQuestionAnswering(GenericForQuestionAnswering, DecoderPreTrainedModel):
    base_model_prefix = "model"

    def __init__(self, config):
        super(GenericForQuestionAnswering, self).__init__(config)
        setattr(self, self.base_model_prefix, DecoderModel._from_config(config))
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

        self.post_init()

    body_class = DecoderModel


DecoderModel.register_for_auto_class("AutoModel")
DecoderForCausalLM.register_for_auto_class("AutoModelForCausalLM")
DecoderForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
DecoderForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
DecoderForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
