"""Settings of rotary positions, their frequencies, and initial weights."""

import contextlib
import functools
import math

import torch
from torch import nn

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
