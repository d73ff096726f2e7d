"""How each field of a configuration gets small: a table of names and values, whose first row that applies is used."""

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

from .fields import is_config, is_dict, is_int, is_int_list, is_list, is_number

LEVELS = 5
LAYERS = re.compile(
    r"^((num_)?(\w+_)?(hidden_)?(layers?|blocks|depth)|n_layers?|num_\w*layers|\w*_depth|depth|num_block_repeats)$"
)
NOT_LAYERS = re.compile(r"residual_layers|feat_extract|feature_layer|adapter_layers|window_layers|encoder_blocks")
WIDTH = re.compile(
    r"^(d_model|d_kv|d_ff|dff|d_inner|d_head|n_embd|n_inner|dim|kv_channels|units|model_dim|latent_dim|lru_width|"
    r"(\w+_)?(hidden|intermediate|embed|embedding|ffn|ff|mlp|inner|proj|projection|projector|classifier_proj|key|value|"
    r"head|feedforward|feed_forward|text|vision|memory|output|out|pooler_output|conv|nope_head|rope_head|qk_head|v_head|"
    r"codevector|proj_codevector|tdnn|xvector_output|pooler|decoder|encoder|mask_feature|fusion|fpn|feature_projection)"
    r"_(size|sizes|dim|dims|hidden_dim|input_dim|output_dim|size_per_layer_input)|(\w+_)?lora_rank|(\w+_)?head_dims?|"
    r"(\w+_)?(hidden|embed|mlp|ffn|inner|projection|key|value|global_head|query|output|quantization|codebook)_?dims?|"
    r"dim_(head|feedforward|ff)|(\w+_)?ffn_dim|(\w+_)?(output|stem|out|neck_out|head_out|post_conv|latent|encoder_in|"
    r"decoder_in|base|model|nemo_conv|subsampling_conv|mid|block|layer_list_out|downsample|aspp_out|energy_predictor|"
    r"pitch_predictor|duration_predictor|stage_out|stage_in|backbone)_channels|(\w+_)?linear_units|num_filters|"
    r"upsample_initial_channel|backbone_channel_list|qk_rope_head_dim|qk_nope_head_dim|v_head_dim|(\w+_)?emb_dim|"
    r"d_latents|conv_dim|embed_dims|upsample_groups|(\w+_)?rotary_dim|(\w+_)?hidden_sizes|text_hidden_size|rotary_dim|"
    r"\w+_dims?|mamba_d_head|mamba_headdim|(\w+_)?intermediate_size(_mlp)?|query_pre_attn_scalar_|mamba_d_ssm|num_pos_feats|(\w+_)?kpool_dim|vit_dim)$"
)
# Widths of the data, not of the model.
NOT_WIDTH = re.compile(
    r"vocab|mel|patch|image|window|kernel|num_|^n_(?!embd|inner)|_id$|in_channels_$|position_embedding_size|kernel_dim|max_|action"
)
ID = re.compile(r"(_token_ids?|_token_index|_id|_idx|token_ids?)$")
NOT_ID = re.compile(r"^(pixel|layer|insert_layer_id|target_layer|hybrid_layer|first_|summary)")
PICTURE = re.compile(r"^(image_size|input_image_size|img_size|input_size|pretrain_image_size|crop_size|resolution)$")
HEADS = re.compile(r"(attention_heads|key_value_heads|kv_heads|^num_heads|^n_heads?|_heads)$")
HEAD_SIZE = re.compile(r"head_(dim|size)s?$|dim_head|d_kv|d_head")
GROUPS = re.compile(r"(norm|attention)_(num_)?groups$")
EXPERTS = re.compile(r"^(num_experts|num_local_experts|n_routed_experts|moe_num_experts|num_routed_experts)$")
OFF = re.compile(
    r"(dropout|pdrop|drop_rate|drop_path_rate|layerdrop|router_jitter_noise|mask_time_prob|mask_feature_prob)"
)
# Lists with a number of layers for each stage.
STAGES = re.compile(r"^(depths|layers|stage_num_blocks|num_hidden_layers_per_stage)$")
# Lists whose numbers are layers.
INDICES = re.compile(r"(indexes|indices|idxs|index|_layers|_layer|layer_ids|feature_layers?|hook_ids)$")
VOCABULARY = re.compile(r"vocab(_size|$)")
POSITIONS = re.compile(r"max_position_embeddings|n_positions|n_ctx|max_seq_len$")
DENSE_LAYERS = re.compile(r"^(max_window_layers|first_k_dense_replace|num_dense_layers)$")


@dataclasses.dataclass(frozen=True)
class Shrink:
    """One configuration that is being shrunk: what its rules read.

    Args:
        values: its fields, as they were. level: see `shrink`.
        divisor: by what widths are divided, or at level 1 numbers of heads.
        ids: small ids of special tokens by their old ones, shared with the configurations inside.
        layers: how many there were; 0 where they are stages. kept: the layers that stay, by their old number.
        inside: shrinks the fields of a configuration inside this one in the same way.
    """

    values: dict
    level: int
    divisor: int
    ids: dict[int, int]
    layers: int
    kept: list[int]
    inside: Callable[[dict], dict]

    @property
    def vocabulary(self) -> int | None:
        """The most words; None where the vocabulary stays as it was."""
        return 160 if self.level < 3 else None

    def is_list_length(self, value: int) -> bool:
        """Whether a list of the configuration is so long: then a number is likely to count its items."""
        return value in {len(v) for v in self.values.values() if isinstance(v, list)}

    def new_id(self, value: int) -> int:
        """A special token's id inside the small vocabulary; different ones stay different."""
        size = self.vocabulary
        if not size or value < size - 60 or value < 0:
            return value
        if value not in self.ids:
            self.ids[value] = size - 1 - len(self.ids) % 60
        return self.ids[value]

    def divide(self, value):
        return divided(value, self.divisor)


@dataclasses.dataclass(frozen=True)
class Rule:
    """How fields of one kind get small.

    Args:
        what: the kind, in words.
        name: a pattern that is searched in the field's name. but: a pattern that must not be in it.
        kind: whether a value can be meant.
        to: the new value, from the configuration and the old value.
        levels: where the rule is used. when: a condition on the configuration and the value.
    """

    what: str
    name: str | re.Pattern[str]
    kind: Callable[[Any], bool]
    to: Callable[[Shrink, Any], Any]
    levels: range = range(LEVELS)
    but: str | re.Pattern[str] | None = None
    when: Callable[[Shrink, Any], bool] | None = None

    def applies(self, config: Shrink, name: str, value) -> bool:
        return (
            config.level in self.levels
            and self.kind(value)
            and re.search(self.name, name) is not None
            and (self.but is None or re.search(self.but, name) is None)
            and (self.when is None or self.when(config, value))
        )


def at_most(most: int) -> Callable[[Shrink, int], int]:
    return lambda config, value: min(value, most)


ANY = ""  # a pattern that is in every name
SMALLEST, WITH_FEWER_HEADS, WITH_SMALL_VOCABULARY = range(1), range(1, 2), range(3)

# The first rule that applies is the only one: a field that more than one rule could mean belongs to the more special
# one, which is above. So exact names and values that say what they are (a configuration, one item a layer) come before
# patterns of names, and among these the widths, whose pattern matches most names, come last.
RULES = (
    Rule("a configuration inside", ANY, is_config, lambda c, v: c.inside(v)),
    Rule("dropout and noise, which would hide differences", OFF, is_number, lambda c, v: type(v)(0)),
    Rule("rotary positions", r"^(rope_parameters|rope_scaling)$", is_dict, lambda c, v: shrink_rope(v, c.divisor)),
    # A list of widths, of indices or of ids with one item a layer is cut to the layers that stay before anything else.
    Rule(
        "one width a layer",
        WIDTH,
        is_list,
        lambda c, v: c.divide([v[i] for i in c.kept]),
        when=lambda c, v: c.layers > 0 and len(v) == c.layers,
    ),
    Rule(
        "one item a layer",
        ANY,
        is_list,
        lambda c, v: [v[i] for i in c.kept],
        when=lambda c, v: c.layers > 0 and len(v) == c.layers,
    ),
    Rule(
        "numbers of layers",
        INDICES,
        is_int_list,
        lambda c, v: fewer_indices(v, c.kept, c.layers),
        when=lambda c, v: len(v) > 0,
    ),
    Rule(
        "the layer whose output is read", r"^vision_feature_layer$", is_int, lambda c, v: 1, when=lambda c, v: v >= 0
    ),
    Rule("the layer that is followed by another model", r"^insert_layer_id$", lambda v: True, lambda c, v: 1),
    Rule("a configuration a layer", r"^per_layer_config$", is_dict, lambda c, v: shrink_layers(c, v)),
    Rule("layers of each stage", STAGES, is_list, lambda c, v: [min(x, 2) if is_int(x) else x for x in v]),
    # Numbers. How many layers there are, before the names that only resemble it; both before widths, as in
    # num_hidden_layers.
    Rule(
        "the number of layers",
        r"^num_hidden_layers$",
        is_int,
        lambda c, v: len(c.kept) if c.layers == v else min(v, 2),
    ),
    Rule(
        "the number of layers under another name",
        LAYERS,
        is_int,
        lambda c, v: len(c.kept),
        when=lambda c, v: c.layers > 0 and v == c.layers,
    ),
    Rule(
        "the number of other layers",
        LAYERS,
        is_int,
        at_most(2),
        but=NOT_LAYERS,
        when=lambda c, v: v >= 9 or not c.is_list_length(v),  # a small one counts the items of that list: stages
    ),
    Rule("layers of another kind at the start", DENSE_LAYERS, is_int, at_most(1)),
    Rule("experts", EXPERTS, is_int, at_most(8), levels=range(4)),
    # Level 1 takes fewer heads of the same size, so both are settled before the widths, which name head sizes too.
    Rule("the number of heads", HEADS, is_int, lambda c, v: max(v // c.divisor, 1), levels=WITH_FEWER_HEADS),
    Rule("the size of heads", HEAD_SIZE, is_int, lambda c, v: v, levels=WITH_FEWER_HEADS),
    Rule("groups of channels", GROUPS, is_int, lambda c, v: max(v // c.divisor, 1)),
    # Ids before the vocabulary, whose name some have in theirs, and both before widths (vocab_size).
    Rule("a special token", ID, is_int, lambda c, v: c.new_id(v), but=NOT_ID),
    Rule("the vocabulary", VOCABULARY, is_int, at_most(160), levels=WITH_SMALL_VOCABULARY, but="type"),
    Rule("positions of a sound or a text", r"^max_(source|target)_positions$", is_int, at_most(64), levels=SMALLEST),
    Rule("positions", POSITIONS, is_int, at_most(512), levels=WITH_SMALL_VOCABULARY),
    Rule(
        "a picture's side",
        PICTURE,
        is_int,
        lambda c, v: min(v, picture(c.values, v)),
        levels=SMALLEST,
        when=lambda c, v: v > 32,
    ),
    Rule(
        "how far attention reaches",
        r"^(index_topk|sliding_window)$",
        is_int,
        lambda c, v: min(v, c.values.get("index_kpool") or 8),
        levels=WITH_SMALL_VOCABULARY,
    ),
    Rule("patches and samples", r"^(max_num_patches|num_parallel_samples)$", is_int, at_most(64)),
    Rule("queries", r"^num_queries$", is_int, at_most(12), levels=SMALLEST),
    Rule("a number whose name resembles a width", r"^num_(filters|pos_feats)$", is_int, lambda c, v: c.divide(v)),
    Rule("a width", WIDTH, is_int, lambda c, v: c.divide(v), but=NOT_WIDTH),
    # Lists that are not one item a layer.
    Rule("widths", WIDTH, is_list, lambda c, v: c.divide(v), but=NOT_WIDTH),
    Rule("special tokens", ID, is_int_list, lambda c, v: [c.new_id(x) for x in v]),
    Rule(
        "a picture's sides",
        PICTURE,
        is_int_list,
        lambda c, v: [min(x, picture(c.values, x)) for x in v],
        levels=SMALLEST,
    ),
)


def rule_for(config: Shrink, name: str, value) -> Rule | None:
    """The rule for a field; None for one that stays as it is."""
    return next((rule for rule in RULES if rule.applies(config, name, value)), None)


# one field ---------------------------------------------------------------------------------------------------------


def divided(value, divisor: int):
    """A width, or a list of them, by a number; small ones stay."""
    if isinstance(value, (list, tuple)):
        return [divided(v, divisor) for v in value]
    if not is_int(value) or value < 8 or divisor == 1:
        return value
    return max(value // divisor, 2) if value % divisor == 0 else max(2 * round(value / divisor / 2), 2)


def picture(values: dict, size: int) -> int:
    """Four patches a side; architectures with stages halve several times, and want more."""
    if any(name in values for name in ("depths", "strides", "hidden_sizes", "backbone_config", "stage_num_blocks")):
        if size % 64 == 0:
            return 64
        return size // 7 * 2 if size % 7 == 0 and size <= 448 else size
    patch = values.get("patch_size")
    patch = patch[-1] if isinstance(patch, list) and patch else patch
    if not is_int(patch) or patch < 4:
        return min(size, 64)
    merge = values.get("spatial_merge_size") or values.get("window_size") or 1
    return patch * max(4, 2 * merge if is_int(merge) and merge < 8 else 4)


def fewer_indices(value: list[int], kept: list[int], count: int) -> list[int]:
    """Numbers of layers, in a model with fewer."""
    if not count or all(v < 0 for v in value) or max(value) > count:
        return value
    present = [kept.index(v) for v in value if v in kept]
    return list(dict.fromkeys(present or [min(v, len(kept) - 1) for v in value]))


def shrink_layers(config: Shrink, layers: dict) -> dict:
    """Configurations of single layers, for those that stay: "00", "01" and so on."""
    stay = {new: layers.get(f"{old:02d}") for new, old in enumerate(config.kept)}
    return {f"{new:02d}": config.inside(values) for new, values in stay.items() if values is not None}


def shrink_rope(value: dict, divisor: int) -> dict:
    """Settings of rotary positions, for heads that are smaller."""
    small = dict(value)
    for name, inner in value.items():
        if isinstance(inner, dict):
            small[name] = shrink_rope(inner, divisor)
        elif is_int_list(inner) and "section" in name:
            small[name] = sections(inner, divisor)
        elif isinstance(inner, list) and name in ("long_factor", "short_factor"):
            small[name] = inner[: max(len(inner) // divisor, 1)]
    return small


def sections(value: list[int], divisor: int) -> list[int]:
    """Shares of a head, divided; the first ones get what the division leaves."""
    total = sum(value) // divisor
    shares = [v // divisor for v in value]
    for i in itertools.cycle(range(len(shares))):
        if sum(shares) >= total:
            break
        shares[i] += 1
    return shares
