"""A tiny configuration of any model, and inputs for it: what is needed to run a model of which only the code is known.

How it works
- `shrink` divides every width of a configuration and of those inside it by one number, so that what was equal or a
  multiple stays so; head counts stay; layers, vocabulary, experts and pictures get small on their own.
- Five levels, from the smallest to nearly the original: whoever builds a model takes the first that works.
- `inputs_for` tries what the names of forward's parameters suggest, and returns the first that the model accepts.
"""

import copy
import inspect
import itertools
import math
import re

LEVELS = 5
KEPT = re.compile(r"_inherited\d*_forward$")  # the parent's forward, in a class that was made of both
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
STAGES = ("depths", "layers", "stage_num_blocks", "num_hidden_layers_per_stage")
# Lists whose numbers are layers.
INDICES = re.compile(r"(indexes|indices|idxs|index|_layers|_layer|layer_ids|feature_layers?|hook_ids)$")


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
    divisor = 1 if level > 2 else max(2, width_divisor(values) // (4 if level == 2 else 1))
    divisor = heads_divisor(values) if level == 1 else divisor
    ids: dict[int, int] = {}
    small = shrink_values(values, level, divisor, ids, type(config))
    small.pop("transformers_version", None)
    made = type(config)(**small)
    for each in [made, *nested(made)]:
        each._attn_implementation = "eager"
    return made


def nested(config) -> list:
    """The configurations inside of a configuration."""
    found = []
    for value in vars(config).values():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            found += [value, *nested(value)]
    return found


def parts(values: dict):
    """A configuration's dictionary and those inside it."""
    yield values
    for value in values.values():
        if isinstance(value, dict) and is_config(value):
            yield from parts(value)


def is_config(value: dict) -> bool:
    return "model_type" in value or "transformers_version" in value or "output_hidden_states" in value


def width_divisor(values: dict) -> int:
    """A power of two that leaves heads of 8 or more where positions rotate, else of 4 or more, and widths of 32."""
    best, widest = 64, 1
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
            while best > 1 and dim / best < min(least, dim):
                best //= 2
        while best > 1 and width and width / best < 16:
            best //= 2
    while best > 2 and widest / best < 32:
        best //= 2
    return max(best, 1)


def heads_divisor(values: dict) -> int:
    """A power of two that divides every number of attention heads."""
    counts = [v for part in parts(values) for n, v in part.items() if n.endswith("attention_heads") and is_int(v)]
    best = 1
    while counts and best < 32 and all(v % (2 * best) == 0 for v in counts):
        best *= 2
    return best


def is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shrink_values(values: dict, level: int, divisor: int, ids: dict[int, int], cls) -> dict:
    made = dict(values)
    kept, old_layers = choose_layers(made)
    vocab = 160 if level < 3 else None
    lists = {len(v) for v in values.values() if isinstance(v, list)}
    for name, value in values.items():
        if isinstance(value, dict) and is_config(value):
            made[name] = shrink_values(value, level, divisor, ids, None)
        elif OFF.search(name) and isinstance(value, (int, float)) and not isinstance(value, bool):
            made[name] = 0.0 if isinstance(value, float) else 0
        elif name in ("rope_parameters", "rope_scaling") and isinstance(value, dict):
            made[name] = shrink_rope(value, divisor)
        elif isinstance(value, list) and old_layers and len(value) == old_layers:
            made[name] = divided([value[i] for i in kept], divisor if WIDTH.match(name) else 1)
        elif isinstance(value, list) and INDICES.search(name) and value and all(is_int(v) for v in value):
            made[name] = fewer_indices(value, kept, old_layers)
        elif (name == "vision_feature_layer" and is_int(value) and value >= 0) or name == "insert_layer_id":
            made[name] = 1
        elif name == "per_layer_config" and isinstance(value, dict):
            made[name] = {
                f"{n:02d}": shrink_values(value[f"{i:02d}"], level, divisor, ids, None)
                for n, i in enumerate(kept)
                if f"{i:02d}" in value
            }
        elif name in STAGES and isinstance(value, list):
            made[name] = [min(v, 2) if is_int(v) else v for v in value]
        elif is_int(value):
            made[name] = shrink_number(name, value, values, level, divisor, ids, vocab, lists, kept, old_layers)
        elif isinstance(value, list) and WIDTH.match(name) and not NOT_WIDTH.search(name):
            made[name] = divided(value, divisor)
        elif isinstance(value, list) and ID.search(name) and vocab and all(is_int(v) for v in value):
            made[name] = [new_id(v, ids, vocab) for v in value]
        elif isinstance(value, list) and PICTURE.match(name) and level == 0 and all(is_int(v) for v in value):
            made[name] = [min(v, picture(values, v)) for v in value]
    for name in ("stage_names", "out_features"):  # from the number of layers, or from out_indices
        if name in made and old_layers and len(kept) < old_layers and "depths" not in made:
            made.pop(name)
            if name == "out_features":
                made["out_indices"] = [len(kept)]
    for name in ("label2id", "id2label", "num_labels"):
        made.pop(name, None)
    made["id2label"], made["label2id"] = {0: "a", 1: "b"}, {"a": 0, "b": 1}  # question answering takes no other number
    width, heads = (made.get(n) for n in ("hidden_size", "num_attention_heads"))
    odd = is_int(width) and is_int(heads) and heads and values["hidden_size"] % values["num_attention_heads"]
    if odd and not is_int(made.get("head_dim")):  # no model could be built with these
        made["num_attention_heads"] = math.gcd(width, heads)
    experts = next((made[n] for n in made if EXPERTS.match(n) and is_int(made[n])), None)
    if experts:
        for name in (
            "num_experts_per_tok",
            "moe_topk",
            "top_k_experts",
            "num_experts_per_token",
            "moe_top_k",
            "moe_k",
        ):
            if is_int(made.get(name)):
                made[name] = min(made[name], 2)
        if is_int(made.get("n_group")):
            made["n_group"] = math.gcd(made["n_group"], 2)
            made["topk_group"] = min(made.get("topk_group") or 1, made["n_group"])
    return made


def shrink_number(name, value, values, level, divisor, ids, vocab, lists, kept, old_layers):
    if name == "num_hidden_layers" or (old_layers and value == old_layers and LAYERS.match(name)):
        return len(kept) if old_layers == value else min(value, 2)
    if LAYERS.match(name) and not NOT_LAYERS.search(name) and not (value in lists and value < 9):
        return min(value, 2)
    if name in ("max_window_layers", "first_k_dense_replace", "num_dense_layers"):
        return min(value, 1)
    if EXPERTS.match(name):
        return min(value, 8) if level < 4 else value
    if level == 1 and HEADS.search(name):
        return max(value // divisor, 1)
    if level == 1 and HEAD_SIZE.search(name):
        return value
    if GROUPS.search(name):
        return max(value // divisor, 1)
    if ID.search(name) and not NOT_ID.search(name):
        return new_id(value, ids, vocab) if vocab else value
    if re.search(r"vocab(_size|$)", name) and "type" not in name:
        return min(value, vocab) if vocab else value
    if name in ("max_source_positions", "max_target_positions") and level == 0:
        return min(value, 64)
    if re.search(r"max_position_embeddings|n_positions|n_ctx|max_seq_len$", name) and level < 3:
        return min(value, 512)
    if PICTURE.match(name) and level == 0 and value > 32:
        return min(value, picture(values, value))
    if name in ("index_topk", "sliding_window") and level < 3:
        return min(value, values.get("index_kpool") or 8)
    if name == "max_num_patches" or name == "num_parallel_samples":
        return min(value, 64)
    if name in ("num_queries",) and level == 0:
        return min(value, 12)
    if (WIDTH.match(name) and not NOT_WIDTH.search(name)) or name in ("num_filters", "num_pos_feats"):
        return divided(value, divisor)
    return value


def divided(value, divisor: int):
    """A width, or a list of them, by a number; small ones stay."""
    if isinstance(value, (list, tuple)):
        return [divided(v, divisor) for v in value]
    if not is_int(value) or value < 8 or divisor == 1:
        return value
    return max(value // divisor, 2) if value % divisor == 0 else max(2 * round(value / divisor / 2), 2)


def new_id(value: int, ids: dict[int, int], vocab: int) -> int:
    """A special token's id inside of the small vocabulary; different ones stay different."""
    if value < vocab - 60 or value < 0:
        return value
    if value not in ids:
        ids[value] = vocab - 1 - len(ids) % 60
    return ids[value]


def picture(values: dict, size: int) -> int:
    """Four patches a side; architectures with stages halve several times, and want more."""
    patch = values.get("patch_size")
    patch = patch[-1] if isinstance(patch, list) and patch else patch
    if any(n in values for n in ("depths", "strides", "hidden_sizes", "backbone_config", "stage_num_blocks")):
        return 64 if size % 64 == 0 else size // 7 * 2 if size % 7 == 0 and size <= 448 else size
    if is_int(patch) and patch >= 4:
        merge = values.get("spatial_merge_size") or values.get("window_size") or 1
        return patch * max(4, 2 * merge if is_int(merge) and merge < 8 else 4)
    return min(size, 64)


def choose_layers(values: dict) -> tuple[list[int], int]:
    """Which layers to keep, one of each kind, and how many there were."""
    count = next(
        (values[n] for n in ("num_hidden_layers", "n_layer", "num_layers", "n_layers") if is_int(values.get(n))), 0
    )
    if any(isinstance(values.get(n), list) and len(values[n]) == count for n in ("depths", "stage_num_blocks")):
        return list(range(count)), 0  # the layers are stages
    kinds = [
        v for n, v in values.items() if isinstance(v, list) and count > 2 and len(v) == count and not WIDTH.match(n)
    ]
    kept, seen = [], set()
    per_layer = values.get("per_layer_config") or {}
    for i in range(count):
        kind = (*(str(k[i]) for k in kinds), str(per_layer.get(f"{i:02d}")))
        if kind not in seen and len(kept) < 4:
            seen.add(kind)
            kept.append(i)
    for i in range(count):
        if len(kept) >= 2:
            break
        if i not in kept:
            kept.append(i)
    return sorted(kept), count


def fewer_indices(value: list[int], kept: list[int], count: int) -> list[int]:
    """Numbers of layers, in a model with fewer."""
    if not count or all(v < 0 for v in value) or max(value) > count:
        return value
    there = [kept.index(v) for v in value if v in kept]
    return list(dict.fromkeys(there or [min(v, len(kept) - 1) for v in value]))


def shrink_rope(value: dict, divisor: int) -> dict:
    made = dict(value)
    for name, inner in value.items():
        if isinstance(inner, dict):
            made[name] = shrink_rope(inner, divisor)
        elif isinstance(inner, list) and all(is_int(x) for x in inner) and "section" in name:
            made[name] = sections(inner, divisor)
        elif isinstance(inner, list) and name in ("long_factor", "short_factor"):
            made[name] = inner[: max(len(inner) // divisor, 1)]
    return made


def sections(value: list[int], divisor: int) -> list[int]:
    total = sum(value) // divisor
    made = [v // divisor for v in value]
    for i in itertools.cycle(range(len(made))):
        if sum(made) >= total:
            return made
        made[i] += 1


# inputs ---------------------------------------------------------------------------------------------------------


def inputs_for(model, seed: int = 0) -> dict:
    """Inputs that the model's forward accepts.

    Raises:
        ValueError: none of those that its parameters suggest; the message ends with what the model said.
    """
    import torch

    first = None
    for inputs in itertools.islice(candidates(model, seed), 48):
        try:
            with torch.no_grad():
                torch.manual_seed(seed)
                model(**copy.copy(inputs))
            return inputs
        except Exception as error:  # whatever a model raises for inputs that are not its own
            if first is None or "missing" in str(first):
                first = error
    raise ValueError(f"forward accepts no inputs that its parameters suggest ({type(first).__name__}: {first})")


def parameters_of(model) -> dict:
    """Named parameters of forward; of the one that it hands `*args, **kwargs` on to where it has none itself."""
    ways = [model.forward, *(v for n in dir(type(model)) if KEPT.match(n) and callable(v := getattr(model, n)))]
    ways += [vars(c)["forward"] for c in type(model).__mro__ if "forward" in vars(c)]
    for way in ways:
        found = dict(inspect.signature(way).parameters)
        found = {n: p for n, p in found.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and n != "self"}
        if found:
            return found
    return {}


def every(config) -> list:
    return [config, *nested(config)]


def pick(config, *names, default=None):
    """The first of these fields in a configuration or in one inside it."""
    for each in every(config):
        for name in names:
            value = getattr(each, name, None)
            if value is not None:
                return value
    return default


def candidates(model, seed: int):
    """Inputs to try, the likeliest first."""
    import torch

    config, names = model.config, parameters_of(model)
    main = getattr(model, "main_input_name", "input_ids")
    gen = torch.Generator().manual_seed(seed)

    def floats(*shape):
        return torch.rand(shape, generator=gen)

    text = text_inputs(model, gen)
    pictures = list(picture_inputs(config, names, main, floats))
    sounds = list(sound_inputs(config, names, main, floats))
    required = [n for n, p in names.items() if p.default is p.empty]
    more = other_inputs(config, names, floats, gen)
    wants_text = "input_ids" in names
    media = pictures + sounds
    # pictures and sounds that go through the tokens
    if wants_text and media and not (pictures and sounds and main != "input_ids" and main in names):
        for found in media:
            for tokens in with_places(model, text, found):
                yield {**more, **tokens, **found}
    if pictures and sounds:
        for a, b in itertools.product(pictures[:3], sounds[:4]):
            yield {**more, **(text if wants_text else {}), **a, **b}
    decoder = {n: v for n, v in text.items() if n.startswith("decoder_")}
    for found in media:
        yield {**more, **found}
        if wants_text:
            yield {**more, **text, **found}
        elif decoder:
            yield {**more, **decoder, **found}
    if type(model).__name__.endswith("MultipleChoice"):
        yield {n: v[:, None].repeat(1, 2, 1) for n, v in text.items()}
    if wants_text:
        yield {**more, **text}
        yield {**more, "input_ids": text["input_ids"]}
        if not required:
            yield text
        ends = pick(config, "eos_token_id")  # what a sequence classifier of BART or T5 reads is the last end of text
        if is_int(ends):
            ended = {n: v for n, v in text.items() if n != "decoder_input_ids"}
            yield {**more, **ended, "input_ids": torch.cat([text["input_ids"][:, :-1], torch.full((2, 1), ends)], 1)}
        yield {**more, **{n: v[:1] for n, v in text.items()}}  # without a padding token, one text alone
        if "use_cache" in names:
            yield {**more, **text, "use_cache": False}
        yield from books(config, text)
    if not wants_text and "inputs_embeds" in names:
        for width in widths(config):
            yield {**more, "inputs_embeds": floats(2, 8, width)}
    if "hidden_states" in names:
        for width in widths(config):
            for shape in ((2, 8, width), (8, width), (2, width, 8), (2, width, 8, 8)):
                yield {**more, "hidden_states": floats(*shape)}
    if more:
        yield more
    yield {}


def books(config, text: dict):
    """Ids of one codebook, or of several at each position, with or without the text's own."""
    count = pick(config, "num_codebooks")
    if is_int(count):
        ids = text["input_ids"].reshape(*text["input_ids"].shape[:2], -1)[..., 0] % 8
        yield {**text, "input_ids": ids}
        for number in (count, count + 1):
            yield {**text, "input_ids": ids[..., None].expand(-1, -1, number).contiguous()}


def widths(config) -> list[int]:
    found = [getattr(e, n, None) for e in every(config) for n in ("hidden_size", "d_model", "input_dim", "embed_dim")]
    return list(dict.fromkeys(w for w in found if is_int(w)))[:3]


def text_inputs(model, gen) -> dict:
    import torch

    config, names = model.config, parameters_of(model)
    vocab = pick(config, "vocab_size", default=100)
    vocab = vocab if is_int(vocab) and vocab > 4 else 100
    special = {v for each in every(config) for n, v in vars(each).items() if ID.search(n) and is_int(v)}
    plain = [i for i in range(3, vocab) if i not in special] or list(range(vocab))
    chosen = torch.randint(0, len(plain), (2, 10), generator=gen)
    found = {"input_ids": torch.tensor(plain)[chosen]}
    books = pick(config, "num_codebooks")
    if type(model).__name__.lower().startswith(("csm", "dia", "higgs")) and is_int(books):
        found["input_ids"] = found["input_ids"][..., None].expand(-1, -1, books).contiguous()
    if "attention_mask" in names:
        found["attention_mask"] = torch.ones(2, 10, dtype=torch.long)
    if "decoder_input_ids" in names:
        chosen = torch.randint(0, len(plain), (2, 7), generator=gen)
        found["decoder_input_ids"] = torch.tensor(plain)[chosen]
    return found


def with_places(model, text: dict, media: dict):
    """Text with as many placeholders as the pictures or sounds have features; the model itself says how many."""
    import torch

    config = model.config
    kinds = {
        "pixel_values_videos": "video",
        "pixel_values": "image",
        "input_features": "audio",
        "input_values": "audio",
    }
    names = [k for k in kinds if k in media]
    kind = kinds[names[0]] if names else "image"
    token = pick(
        config, f"{kind}_token_id", f"{kind}_token_index", "image_token_id", "image_token_index", "audio_token_id"
    )
    get = getattr(model, f"get_{kind}_features", None) or getattr(
        getattr(model, "model", None), f"get_{kind}_features", None
    )
    if token is None or get is None:
        yield text
        return
    accepted = {n: v for n, v in media.items() if n in inspect.signature(get).parameters or takes_any(get)}
    try:
        with torch.no_grad():
            features = get(**accepted)
    except Exception:
        yield text
        return
    features = getattr(features, "pooler_output", None) if hasattr(features, "keys") else features
    if features is None:
        yield text
        return
    listed = list(features) if isinstance(features, (list, tuple)) else [f for f in features]
    counts = [f.shape[0] if f.dim() > 1 else 1 for f in listed]
    if isinstance(features, torch.Tensor) and features.dim() == 2:
        counts = [features.shape[0]]
    ids = text["input_ids"]
    even = len(counts) == 2 and len(set(counts)) == 1
    for rows, total in ([(2, counts[0])] if even else []) + [(1, sum(counts))]:
        places = torch.full((rows, total), token)
        made = torch.cat([ids[:rows, :4], places, ids[:rows, 4:]], 1)
        found = {"input_ids": made}
        if "attention_mask" in text:
            found["attention_mask"] = torch.ones_like(made)
        if "mm_token_type_ids" in parameters_of(model):
            found["mm_token_type_ids"] = (made == token).long() * (2 if kind == "video" else 1)
        if "token_type_ids" in parameters_of(model):
            found["token_type_ids"] = (made == token).long()
        yield found
        if "token_type_ids" in found:
            yield {n: v for n, v in found.items() if n != "token_type_ids"}


def takes_any(function) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def picture_inputs(config, names, main, floats):
    """Shapes of pixel_values, flattened patches with their grid among them."""
    import torch

    sizes = [s for e in every(config) if (s := getattr(e, "image_size", None)) is not None]
    size = sizes[0] if sizes else pick(config, "input_image_size", "img_size", default=64)
    high, wide = (size[0], size[-1]) if isinstance(size, (list, tuple)) else (size, size)
    if not is_int(high) or not is_int(wide):
        high = wide = 64
    channels = pick(config, "num_channels", "in_channels", "input_channels", "in_chans", default=3)
    channels = channels if is_int(channels) else 3
    patch = pick(config, "patch_size", default=14)
    patch = patch[-1] if isinstance(patch, (list, tuple)) else patch
    patch = patch if is_int(patch) else 14
    time = pick(config, "temporal_patch_size", default=1)
    time = time if is_int(time) else 1
    merge = pick(config, "spatial_merge_size", default=2)
    side = max(2 * merge, 2) if is_int(merge) else 4
    flat = channels * time * patch * patch
    frames = pick(config, "num_frames", "frames_per_clip", default=4)
    key = next((n for n in ("pixel_values", "image_pixel_values", "image", "images") if n in names), None)
    if key is None and main in names and main.startswith("pixel"):
        key = main
    if key is None and {"hidden_states", "grid_thw"} <= set(names):
        key = "hidden_states"
    if key and key != "pixel_values_videos":
        grids = [n for n in ("image_grid_thw", "grid_thw", "image_grid_hw") if n in names]
        if grids:
            two = {"image_grid_hw"} & set(grids)
            grid = torch.tensor([[side, side] if two else [1, side, side]] * 2)
            yield {key: floats(2 * side * side, flat), grids[0]: grid}
            yield {key: floats(2 * side * side, channels, patch, patch), grids[0]: grid}
        if "spatial_shapes" in names:
            shapes = torch.tensor([[side, side]] * 2)
            found = {key: floats(2, side * side, channels * patch * patch), "spatial_shapes": shapes}
            mask = torch.ones(2, side * side, dtype=torch.long)
            yield {**found, **{n: mask for n in ("pixel_attention_mask", "attention_mask") if n in names}}
            yield {**found, "pixel_attention_mask": mask}
        if "image_sizes" in names:
            given = torch.tensor([[high, wide]] * 2)
            yield {key: floats(2, channels, high, wide), "image_sizes": given}
            for tiles in (5, 3):
                yield {key: floats(2, tiles, channels, high, wide), "image_sizes": given}
        if "image_position_ids" in names or "pixel_position_ids" in names:
            name = "image_position_ids" if "image_position_ids" in names else "pixel_position_ids"
            rows, columns = torch.meshgrid(torch.arange(side + 2), torch.arange(side + 2), indexing="ij")
            where = torch.stack([columns, rows], -1).reshape(1, -1, 2).expand(2, -1, -1).contiguous()
            yield {key: floats(2, where.shape[1], channels * patch * patch), name: where}
        yield {key: floats(2, channels, high, wide)}
        yield {key: floats(1, channels, high, wide)}
        if is_int(frames):
            yield {key: floats(2, frames, channels, high, wide)}
        yield {key: floats(2, 1, channels, high, wide)}
        if "pixel_attention_mask" in names:
            yield {
                key: floats(2, 1, channels, high, wide),
                "pixel_attention_mask": torch.ones(2, 1, high, wide, dtype=torch.long),
            }
        for other in (32, 64, 128, 224, 256, 384):
            if other != high:
                yield {key: floats(1, channels, other, other)}
    for name in [n for n in names if n in ("pixel_values_videos", "pixel_values_video")]:
        if main != name and key:
            break
        if "video_grid_thw" in names:
            yield {name: floats(side * side, flat), "video_grid_thw": torch.tensor([[1, side, side]])}
        if is_int(frames):
            yield {name: floats(2, frames, channels, high, wide)}
            yield {name: floats(2, channels, frames, high, wide)}
        yield {name: floats(1, 4, channels, high, wide)}


def sound_inputs(config, names, main, floats):
    import torch

    bins = pick(
        config,
        "num_mel_bins",
        "n_mels",
        "feature_size",
        "num_mels",
        "mel_dim",
        "input_dim",
        "input_feat_size",
        default=80,
    )
    bins = bins if is_int(bins) else 80
    for name in ("input_features", "audio_input_features", "audio_features", "audio_mel"):
        if name not in names:
            continue
        frames = pick(config, "max_source_positions", "max_length", default=32)
        long = 2 * frames if is_int(frames) and frames <= 4096 else 64
        masks = [n for n in ("input_features_mask", "feature_attention_mask", "audio_attention_mask") if n in names]
        for shape, length in (
            ((2, bins, long), long),
            ((2, 64, bins), 64),
            ((2, bins, 128), 128),
            ((1, 64, bins), 64),
            ((2, 128, bins), 128),
            ((2, 1, bins, 64), 64),
        ):
            found = {name: floats(*shape)}
            if masks:
                yield {**found, masks[0]: torch.ones(shape[0], length, dtype=torch.long)}
                yield {**found, masks[0]: torch.ones(shape[0], length, dtype=torch.bool)}
            yield found
        return
    for name in ("input_values", "audio_values", "audio"):
        if name in names:
            long = pick(config, "max_length", default=128) if "patch" in str(vars(config).keys()) else 0
            if is_int(long) and 0 < long < 2000:
                yield {name: floats(2, long, bins)}
            yield {name: floats(2, 4000) * 2 - 1}
            yield {name: floats(2, 1, 3840) * 2 - 1}
            yield {name: floats(2, 64, bins)}
            yield {name: floats(2, 1, 24000) * 2 - 1}
            yield {name: floats(2, bins, 64)}
            yield {name: floats(2, 16000) * 2 - 1}
            return


def other_inputs(config, names, floats, gen) -> dict:
    """What forward requires besides text, pictures and sound."""
    import torch

    found = {}
    context = pick(config, "context_length", "prediction_length", default=16)
    if "past_values" in names:
        lags = getattr(config, "lags_sequence", None) or [0]
        past = (context if is_int(context) else 16) + max(lags)
        width = pick(config, "num_input_channels", "input_size", default=1)
        flat = not is_int(width) or width == 1
        found["past_values"] = floats(2, past) if flat else floats(2, past, width)
        ahead = pick(config, "prediction_length", default=8)
        features = getattr(config, "num_time_features", 0) or 0
        if "past_time_features" in names:
            found["past_time_features"] = floats(2, past, features or 1)
            found["future_time_features"] = floats(2, ahead, features or 1)
            found["future_values"] = floats(2, ahead)
        if "past_observed_mask" in names:
            found["past_observed_mask"] = torch.ones_like(found["past_values"])
        if "freq" in names:
            found["freq"] = torch.zeros(2, 1, dtype=torch.long)
        if "past_values_padding" in names:
            found["past_values_padding"] = torch.zeros(2, past)
    if "input_points" in names:
        size = pick(config, "image_size", default=64)
        found["input_points"] = torch.ones(2, 1, 1, 2) * (size if is_int(size) else 64) / 2
    if "audio_codes" in names and names["audio_codes"].default is inspect.Parameter.empty:
        found["audio_codes"] = torch.randint(
            0, 8, (2, pick(config, "num_codebooks", "num_quantizers", default=4), 10), generator=gen
        )
    for name, parameter in names.items():
        if parameter.default is not inspect.Parameter.empty or name in found:
            continue
        if name in ("encoder_hidden_states", "key_value_states"):
            found[name] = floats(2, 10, (widths(config) or [32])[0])
        elif name in ("timestep", "timesteps"):
            found[name] = torch.ones(2)
    return found


def labelled(model, inputs: dict, outputs, seed: int = 0):
    """Inputs with labels, the likeliest first, for a class whose forward takes any."""
    import torch

    # a time series' end is its own label; wav2vec2's are the steps that are hidden from it
    if any("label" in n or n in ("future_values", "mask_time_indices") for n in inputs):
        yield inputs
    batch = next(v for v in inputs.values() if isinstance(v, torch.Tensor)).shape[0]
    second = [n for n in parameters_of(model) if n.endswith("_label")]  # next_sentence_label, beside labels
    for found in main_labels(model, inputs, outputs, seed):
        if second:
            yield {**found, **{n: torch.ones(batch, dtype=torch.long) for n in second}}
        yield found


def main_labels(model, inputs: dict, outputs, seed: int = 0):
    import torch

    config, names, name = model.config, parameters_of(model), type(model).__name__
    gen = torch.Generator().manual_seed(seed + 1)
    first = next(v for v in inputs.values() if isinstance(v, torch.Tensor))
    batch = first.shape[0]
    ids = inputs.get("input_ids")
    if "labels" in names:
        logits = getattr(outputs, "logits", None)
        pixels = inputs.get("pixel_values")
        if ids is not None and "decoder_input_ids" in inputs:
            rest = {n: v for n, v in inputs.items() if n != "decoder_input_ids"}
            yield {**inputs, "labels": inputs["decoder_input_ids"].clone()}
            yield {**rest, "labels": inputs["decoder_input_ids"].clone()}
        if isinstance(logits, torch.Tensor):
            count, floating = logits.shape[-1], name.endswith("Regression")
            if logits.dim() == 3 and ids is not None and logits.shape[1] == ids.shape[1]:
                top = min(count, 100)
                yield {
                    **inputs,
                    "labels": ids.clamp(max=count - 1)
                    if "For" in name and ("LM" in name or "Gen" in name)
                    else ids % top,
                }
            if logits.dim() == 2 and not floating:
                yield {**inputs, "labels": torch.randint(0, count, (batch,), generator=gen)}
                yield {**inputs, "labels": torch.zeros(batch, dtype=torch.long)}
            if logits.dim() == 4 and pixels is not None:
                yield {
                    **inputs,
                    "labels": torch.randint(0, logits.shape[1], (batch, *pixels.shape[-2:]), generator=gen),
                }
            if logits.dim() == 3:
                yield {**inputs, "labels": torch.randint(1, min(count, 90), (batch, 3), generator=gen)}
                yield {**inputs, "labels": torch.randint(0, count, logits.shape[:2], generator=gen)}
            yield {**inputs, "labels": torch.rand(logits.shape, generator=gen)}
        if pixels is not None:
            boxes = torch.rand((2, 4), generator=gen) * 0.2 + 0.4
            masks = torch.randint(0, 2, (2, *pixels.shape[-2:]), generator=gen).float()
            one = {"class_labels": torch.tensor([0, 1]), "boxes": boxes, "masks": masks}
            yield {**inputs, "labels": [one] * batch}
            yield {**inputs, "labels": torch.randint(0, 2, (batch, *pixels.shape[-2:]), generator=gen)}
            yield {**inputs, "labels": torch.rand((batch, *pixels.shape[-2:]), generator=gen)}
        if ids is not None:
            yield {**inputs, "labels": ids.clone()}
        yield {**inputs, "labels": torch.zeros(batch, dtype=torch.long)}
    if "start_positions" in names:
        yield {**inputs, "start_positions": torch.ones(batch).long(), "end_positions": torch.ones(batch).long() * 2}
    if "mask_labels" in names and inputs.get("pixel_values") is not None:
        size = inputs["pixel_values"].shape[-2:]
        masks = [torch.randint(0, 2, (2, *size), generator=gen).float() for _ in range(batch)]
        yield {**inputs, "mask_labels": masks, "class_labels": [torch.tensor([0, 1])] * batch}
    if "return_loss" in names:
        yield {**inputs, "return_loss": True}
    if "future_values" in names and "future_values" not in inputs and "past_values" in inputs:
        ahead = pick(config, "prediction_length", default=8)
        shape = (batch, ahead, *inputs["past_values"].shape[2:])
        yield {**inputs, "future_values": torch.rand(shape, generator=gen)}
