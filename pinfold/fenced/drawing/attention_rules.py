"""Which tokens each layer's attention lets see which, as far as the model says so, and the rule for a picture of it.

How it works:
- The kind of a layer is what its attention or its block says of itself, or a field of the configuration that lists
  one word for each layer, or has one for all. A field that a new configuration of this class would not have is one
  that the user has passed and no code reads: it says nothing.
- ``is_causal``, transformers' own name, says that no token sees later ones. That it is false says nothing: a mask may
  come from outside. So attention is full only where that word is used.
- A kind that is not known keeps its word, without a rule.

It runs in the sandbox, and outside of it for the rules; nothing imports torch.
"""

import contextlib
import inspect
import re

WORDS = {
    "full": "full", "global": "full", "original_full": "full", "dense": "full", "standard": "full", "default": "full",
    "causal": "causal", "local": "window", "sliding": "window", "window": "window",
    "sliding_window": "window", "local_window": "window", "windowed": "window", "strided": "strided",
    "random": "random", "chunked": "chunked",
}  # fmt: skip
NAMES = re.compile("atten|attn", re.IGNORECASE)
RULES = ("full", "causal", "window", "strided", "random", "chunked")
PER_LAYER = re.compile(r"^(layer_types|layers_block_type|block_types?|attn_types?|attention_(types?|layers|kinds?))$")
WINDOWS = ("sliding_window", "attention_window", "window_size", "local_window", "local_attention")
NUMBERS = {
    "window": WINDOWS,
    "strided": ("attention_stride", "stride"),
    "chunked": ("attention_chunk_size", "chunk_size"),
    "random": ("num_random_keys", "num_random_blocks"),
}
GLOBALS = ("num_global_tokens", "global_tokens")


def kinds_of_layers(model, path: str, blocks: list, start: int, layers: int) -> dict:
    """The kinds of a stack's layers.

    Args:
        path: of the stack. blocks: those of one stage, from the ``start``-th of the stack's ``layers`` on.

    Returns:
        "kinds": {"label", "rule", "numbers"} of each, "attention": for each block which of them it has, None for
        none; "note". Nothing where no block has attention.
    """
    config, known = _configuration(model, path)
    by_block = [_layer(block, config, known, start + place, layers) for place, block in enumerate(blocks)]
    kinds: list[dict] = []
    for kind in by_block:
        if kind and kind not in kinds:
            kinds.append(kind)
    if not kinds:
        return {}
    heads, keys = _whole(config, "num_attention_heads", known), _whole(config, "num_key_value_heads", known)
    note = f"{heads} heads" if heads else ""
    if heads and keys and keys != heads:
        note += f", {keys} for keys and values"
    return {"kinds": kinds, "attention": [kinds.index(kind) if kind else None for kind in by_block], "note": note}


def _layer(block, config, known: set, place: int, layers: int) -> dict | None:
    parts = [part for _, part in block.named_modules() if NAMES.search(type(part).__name__)]
    if not parts:
        return None
    causal = next((v for v in (_said(part, "is_causal") for part in parts) if isinstance(v, bool)), None)
    word = _word([block, *parts], config, known, place, layers)
    name = re.sub(r"_?(self_)?(attention|attn)$", "", word.lower())
    rule = WORDS.get(name)
    numbers = {}
    for field in NUMBERS.get(rule, ()):
        value = next((v for v in (_said(part, field) for part in parts) if type(v) is int), None)
        value = _whole(config, field, known, place) if value is None else value
        if value:
            numbers["of"] = value
            break
    first = next((n for n in (_whole(config, field, known) for field in GLOBALS) if n), 0)
    if first and rule not in ("full", "causal", None):
        numbers["global"] = first
    if causal is None and rule in ("full", "window", "chunked"):
        return {"label": _label(rule, numbers, word, None), "rule": None, "numbers": numbers}
    if causal and (rule == "full" or (not name and not _is_limited(config, known))):
        rule = "causal"
    numbers |= {"causal": 1} if causal else {}
    return {"label": _label(rule, numbers, word, causal), "rule": rule, "numbers": numbers}


def _word(parts: list, config, known: set, place: int, layers: int) -> str:
    """What a layer's attention is called; "" where nothing says."""
    for part in parts:
        for name in ("attention_type", "layer_type", "attn_type"):
            if isinstance(value := _said(part, name), str):
                return value
    fields = [name for name in sorted(known) if PER_LAYER.match(name)]
    for name in fields:
        value = getattr(config, name, None)
        if isinstance(value, (list, tuple)) and len(value) == layers and all(isinstance(v, str) for v in value):
            return value[place]
    for name in fields:
        if isinstance(value := getattr(config, name, None), str):
            return value
    slides = [_said(part, "is_sliding") for part in parts]
    if True in slides or False in slides:
        return "sliding" if True in slides else "full"
    if any(type(_said(part, "sliding_window")) is int for part in parts):
        return "sliding"
    if any("sliding_window" in getattr(part, "__dict__", {}) for part in parts):  # it is None here
        return "full"
    if _whole(config, "sliding_window", known) and getattr(config, "use_sliding_window", True):
        return "sliding" if place >= (_whole(config, "max_window_layers", known) or 0) else "full"
    return ""


def _is_limited(config, known: set) -> bool:
    """Whether a field speaks of a part of the tokens, of which no layer says whether it is for it."""
    return any(re.search("window|local_att|sparse", name) and _whole(config, name, known) for name in known)


def _said(part, name: str):
    try:
        return getattr(part, name, None)
    except Exception:  # a property may raise anything
        return None


def _configuration(model, path: str) -> tuple:
    """The configuration nearest to a stack, and the names of the fields that it has by itself."""
    config = getattr(model, "config", None)
    module = model
    for name in path.split(".")[:-1] if path else ():
        module = getattr(module, name, None)
        config = getattr(module, "config", None) or config
    names: set[str] = set()
    if config is not None:
        with contextlib.suppress(TypeError, ValueError):  # of a class that is not written in Python
            names |= {*inspect.signature(type(config).__init__).parameters}
        names |= {*(getattr(config, "attribute_map", None) or {})}
        for cls in type(config).__mro__:
            names |= {*vars(cls).get("__annotations__", {})} | {n for n in vars(cls) if not n.startswith("_")}
        with contextlib.suppress(Exception):  # not every class can be made without arguments
            names |= {*vars(type(config)())}
    return config, names


def _whole(config, name: str, known: set, place: int = 0) -> int | None:
    value = getattr(config, name, None) if name in known else None
    if isinstance(value, (list, tuple)):
        value = value[place] if place < len(value) else None
    return value if type(value) is int and value > 0 else None


def _label(rule: str | None, numbers: dict, word: str, causal: bool | None) -> str:
    number = numbers.get("of")
    spoken = (
        {
            "full": "full attention" if causal is not None else "attention",
            "causal": "causal attention",
            "window": f"window of {number}" if number else "window",
            "strided": f"strided, 1 key in {number}" if number else "strided",
            "chunked": f"chunks of {number}" if number else "chunks",
            "random": f"random keys, {number}" if number else "random keys",
        }.get(rule)
        or " ".join(word.replace("_", " ").split())
        or "attention"
    )
    if rule in ("window", "chunked") and causal:
        spoken = f"causal {spoken}"
    return f"{spoken}, {numbers['global']} global" if numbers.get("global") else spoken


def sees(rule: str, numbers: dict, query: int, key: int) -> bool:
    """Whether a token at ``query`` sees the one at ``key``.

    >>> [sees("window", {"of": 1}, 2, key) for key in range(5)]
    [False, True, True, True, False]
    >>> [sees("window", {"of": 2, "causal": 1}, 2, key) for key in range(5)]
    [False, True, True, False, False]
    """
    of, first = numbers.get("of") or 1, numbers.get("global") or 0
    if query < first or key < first:
        return True
    if (numbers.get("causal") or rule == "causal") and key > query:
        return False
    if rule == "window":  # to either side; backwards the token itself is one of them, as transformers counts
        return query - key < of if numbers.get("causal") else abs(query - key) <= of
    if rule == "strided":
        return query == key or key % of == 0
    if rule == "chunked":
        return query // of == key // of
    if rule == "random":  # for the eye: how many, and not which
        return query == key or (query // 2 * 40503 + key * 9973 + 7 * (query // 2) * key) % 11 < 3
    return True
