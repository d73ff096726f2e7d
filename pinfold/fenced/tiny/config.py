"""A tiny configuration of any model: what is needed to run a model of which only the code is known.

How it works
- `shrink` divides every width of a configuration and of those inside it by one number, so that what was equal or a
  multiple stays so; head counts stay; layers, vocabulary, experts and pictures get small on their own.
- Which field is what follows from its name: see rules.py.
- Five levels, from the smallest to nearly the original: whoever builds a model takes the first that works.
"""

import copy
import math
import re

from .fields import every, is_int, parts
from .rules import EXPERTS, WIDTH, Shrink, rule_for

EXPERTS_A_TOKEN = (
    "num_experts_per_tok", "moe_topk", "top_k_experts", "num_experts_per_token", "moe_top_k", "moe_k",
)  # fmt: skip


def shrink(config, level: int = 0):
    """A small configuration of the same class.

    Args:
        config: a configuration, with whatever others inside it.
        level: 0 the smallest; 1 fewer heads instead of smaller ones; 2 wider, pictures as they are; 3 widths and
            vocabulary as they are; 4 fewer layers only.

    Returns:
        A new configuration; `config` stays as it was.
    """
    values = copy.deepcopy(config.to_dict())
    small = shrink_values(values, level, divisor_of(values, level), {})
    small.pop("transformers_version", None)
    tiny = type(config)(**small)
    for each in every(tiny):
        each._attn_implementation = "eager"
    return tiny


def divisor_of(values: dict, level: int) -> int:
    """By what the widths of a configuration are divided at a level; at level 1 the number of heads."""
    if level > 2:
        return 1
    if level == 1:
        return heads_divisor(values)
    return max(2, width_divisor(values) // (4 if level == 2 else 1))


def width_divisor(values: dict) -> int:
    """A power of two that leaves heads of 8 or more where positions rotate, else of 4 or more, and widths of 32."""
    divisor, widest = 64, 1
    for part in parts(values):
        width = next(
            (part[n] for n in ("hidden_size", "d_model", "n_embd", "embed_dim", "dim") if is_int(part.get(n))), 0
        )
        widest = max(widest, width)
        heads = next(
            (part[n] for n in part if re.search(r"attention_heads$|^n_heads?$|^num_heads$", n) and is_int(part[n])), 0
        )
        dims = [v for n, v in part.items() if re.search(r"head_dim$|dim_head|d_kv|d_head", n) and is_int(v) and v > 1]
        if heads and width and width % heads == 0:
            dims.append(width // heads)
        least = 8 if part.get("rope_parameters") or "rope_theta" in part else 4
        for dim in dims:
            while divisor > 1 and dim / divisor < min(least, dim):
                divisor //= 2
        while divisor > 1 and width and width / divisor < 16:
            divisor //= 2
    while divisor > 2 and widest / divisor < 32:
        divisor //= 2
    return max(divisor, 1)


def heads_divisor(values: dict) -> int:
    """A power of two that divides every number of attention heads."""
    counts = [v for part in parts(values) for n, v in part.items() if n.endswith("attention_heads") and is_int(v)]
    divisor = 1
    while counts and divisor < 32 and all(v % (2 * divisor) == 0 for v in counts):
        divisor *= 2
    return divisor


def choose_layers(values: dict) -> tuple[list[int], int]:
    """Which layers to keep, one of each kind, and how many there were."""
    count = next(
        (values[n] for n in ("num_hidden_layers", "n_layer", "num_layers", "n_layers") if is_int(values.get(n))), 0
    )
    if any(isinstance(values.get(n), list) and len(values[n]) == count for n in ("depths", "stage_num_blocks")):
        return list(range(count)), 0  # the layers are stages
    kinds = [
        v
        for n, v in values.items()
        if isinstance(v, list) and count > 2 and len(v) == count and not re.search(WIDTH, n)
    ]
    per_layer = values.get("per_layer_config") or {}
    chosen: list[int] = []
    seen = set()
    for layer in range(count):
        kind = (*(str(k[layer]) for k in kinds), str(per_layer.get(f"{layer:02d}")))
        if kind not in seen and len(chosen) < 4:
            seen.add(kind)
            chosen.append(layer)
    rest = [layer for layer in range(count) if layer not in chosen]
    return sorted(chosen + rest[: max(2 - len(chosen), 0)]), count


def shrink_values(values: dict, level: int, divisor: int, ids: dict[int, int]) -> dict:
    """The fields of a small configuration, from those of a large one."""
    kept, layers = choose_layers(values)
    config = Shrink(
        values, level, divisor, ids, layers, kept, lambda inside: shrink_values(inside, level, divisor, ids)
    )
    small = {}
    for name, value in values.items():
        rule = rule_for(config, name, value)
        small[name] = value if rule is None else rule.to(config, value)
    for step in (name_fewer_stages, give_two_labels, fit_heads_to_width, choose_fewer_experts):
        step(config, small)
    return small


# What depends on more than one field is done once all are small; each of these steps reads other fields.


def name_fewer_stages(config: Shrink, small: dict) -> None:
    """Names of stages follow from the number of layers, or from out_indices."""
    if not config.layers or len(config.kept) == config.layers or "depths" in small:
        return
    small.pop("stage_names", None)
    if "out_features" in small:
        del small["out_features"]
        small["out_indices"] = [len(config.kept)]


def give_two_labels(config: Shrink, small: dict) -> None:
    """Two labels: question answering takes no other number."""
    for name in ("label2id", "id2label", "num_labels"):
        small.pop(name, None)
    small |= {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}


def fit_heads_to_width(config: Shrink, small: dict) -> None:
    """A number of heads that divides the width, where already the large one did not: no model could be built."""
    width, heads = (small.get(name) for name in ("hidden_size", "num_attention_heads"))
    if not is_int(width) or not is_int(heads) or not heads or is_int(small.get("head_dim")):
        return
    if config.values["hidden_size"] % config.values["num_attention_heads"]:
        small["num_attention_heads"] = math.gcd(width, heads)


def choose_fewer_experts(config: Shrink, small: dict) -> None:
    """No more experts a token, and groups of them, than there are."""
    if not next((v for n, v in small.items() if re.search(EXPERTS, n) and is_int(v)), 0):
        return
    for name in EXPERTS_A_TOKEN:
        if is_int(small.get(name)):
            small[name] = min(small[name], 2)
    if is_int(small.get("n_group")):
        small["n_group"] = math.gcd(small["n_group"], 2)
        small["topk_group"] = min(small.get("topk_group") or 1, small["n_group"])
