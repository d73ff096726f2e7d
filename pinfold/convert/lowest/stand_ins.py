"""Stand-ins for transformers' helpers that came late, changed or went: imports.py copies their source into a folder.

Each is called what it is called in transformers, and needs only what every release from 4.48 on has. Nothing of this
file is run by the converter. Two rules: no name of a helper that a model's file could have (they are copied side by
side), and the numbers of the newest release, so that all releases give them.
"""

import contextlib
import functools
import inspect
import math
from dataclasses import fields

import torch
from torch import nn
from transformers.cache_utils import Cache, StaticCache
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# --- configuration ---------------------------------------------------------------------------------------------------


ROTARY_KINDS = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "longrope": ("short_factor", "long_factor"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}


def rotary_fields(given, kwargs, length, base=10000.0):
    """`rope_parameters` from any form that they have had; takes rope_theta and rope_scaling out of ``kwargs``.

    Raises:
        ValueError: a kind that is not known, or that lacks a number which it needs.
    """
    found = dict(kwargs.pop("rope_scaling", None) or given or {})
    if any(isinstance(value, dict) for value in found.values()):
        return found  # one set for each kind of layer
    kind = found.pop("type", "default")
    found.setdefault("rope_type", kind)
    for name, value in (("rope_theta", base), ("partial_rotary_factor", None)):
        value = kwargs.pop(name, value)
        if value is not None:
            found.setdefault(name, value)
    kind = found["rope_type"]
    if kind not in ROTARY_KINDS:
        raise ValueError(f"rope_type={kind!r} is not known; use one of {', '.join(ROTARY_KINDS)}")
    if missing := [name for name in ROTARY_KINDS[kind] if name not in found]:
        raise ValueError(f"rope_type={kind!r} needs {' and '.join(missing)}; add it to rope_parameters")
    if kind in ("llama3", "yarn", "longrope"):
        found.setdefault("original_max_position_embeddings", length)
    return found


# --- rotary positions ------------------------------------------------------------------------------------------------


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


# --- initial weights -------------------------------------------------------------------------------------------------


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


def maybe_autocast(device_type, dtype=None, enabled=True, cache_enabled=None):
    """Autocast where it changes something."""
    if enabled or torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)
    return contextlib.nullcontext()


def put_back_tied(model, *given):
    """Part of loading in transformers 5; 5.3 takes tied weights of remote code for loaded, and leaves them empty."""
    empty = {name for name in model.all_tied_weights_keys if model.get_parameter(name).is_meta}
    for missing in (getattr(info, "missing_keys", None) for info in given):
        if isinstance(missing, set):
            missing |= empty


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

    A cache of a fixed size wants to be told the places up to transformers 5.3, and counts them itself since.
    """
    places = given.get("cache_position")
    if places is None and isinstance(cache, StaticCache):
        places = torch.arange(key.shape[2], device=key.device) + cache.get_seq_length(layer)
    return cache.update(key, value, layer, {"cache_position": places})


# what a cache wants to know of the queries: older releases the places, newer ones how many they are
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


# --- what forward is wrapped in --------------------------------------------------------------------------------------


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
        kwargs |= dict(zip(names, args))  # noqa: B905
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


# --- heads -----------------------------------------------------------------------------------------------------------


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
    """A class for each row, read at its last token that is no padding."""

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
