"""Caches, masks and attention."""

import functools
import inspect
from dataclasses import fields

import torch
from torch import nn
from transformers.cache_utils import Cache, StaticCache
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# --- caches ----------------------------------------------------------------------------------------------------------

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


# --- masks -----------------------------------------------------------------------------------------------------------


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


def create_sliding_window_causal_mask(config, inputs_embeds, attention_mask, past_key_values, position_ids=None):
    """The same where a token sees `config.sliding_window` keys, itself among them."""
    window = config.sliding_window
    return create_causal_mask(config, inputs_embeds, attention_mask, past_key_values, position_ids, window)


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


# --- attention -------------------------------------------------------------------------------------------------------


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
