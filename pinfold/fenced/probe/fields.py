"""Fields of a configuration and of its parts: sizes, lengths, and the token that stands where a picture is read."""

import math

SOUND_PLACES = ("audio_token_id", "audio_token_index")
PLACES = ("image_token_id", "image_token_index", "video_token_id", *SOUND_PLACES)
CLIP = ("num_frames", "n_frames", "frames_per_clip", "clip_length", "num_input_frames", "max_frames")
PICTURE = ("image_size", "img_size", "resolution", "input_resolution", "sample_size")
# Sizes of a probe where nothing says them: rows, steps of a sequence, the side of a picture, letters of a word, and
# the rows of a graph, which its edges name.
ROWS, LENGTH, SIDE, LETTERS, NODES = 2, 12, 32, 8, 16
PARTS = ("text_config", "vision_config")  # where a field is looked for first, before other parts


def first_field(config, *names: str):
    """The first of these fields that is set, in the configuration or in its parts."""
    return next((v for part in _parts(config) for v in (_field(part, name) for name in names) if v is not None), None)


def _parts(config) -> list:
    """The configuration and its parts: those are configurations too or, in many folders, plain tables."""
    others = [part for part in getattr(config, "sub_configs", None) or () if part not in PARTS]
    named = [getattr(config, part, None) for part in (*PARTS, *others)]
    tables = [part for part in getattr(config, "__dict__", {}).values() if isinstance(part, dict)]
    return [config, *named, *(part for part in tables if part not in named)]


def _field(part, name: str):
    return part.get(name) if isinstance(part, dict) else getattr(part, name, None)


def own_length(config) -> int | None:
    """max_length as a configuration sets it.

    Each one of transformers 4 has the 20 that generate stops at. With it, the probe would differ between versions.
    """
    lengths = [whole(_field(part, "max_length")) for part in _parts(config)]
    return next((length for length in lengths if length not in (None, 20)), None)


def whole(value) -> int | None:
    """A number of things, None for anything else."""
    return value if type(value) is int and value > 0 else None


def longest(config, otherwise: int = 12) -> int:
    """The longest text that the configuration allows."""
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "block_size")
    limits = [whole(first_field(config, name)) for name in (*names, "context_length", "seq_length")]
    return max(1, min([n for n in (*limits, own_length(config)) if n] or [otherwise]))


def picture_token(config) -> tuple[int | None, int]:
    """The token that stands where a picture is read, None where there is none, and how many a picture has."""
    token = first_field(config, *PLACES[:2])
    if type(token) is not int:
        return None, 0
    names = ("image_seq_length", "image_seq_len", "mm_tokens_per_image", "num_image_tokens", "tokens_per_image")
    if count := whole(first_field(config, *names)):
        return token, count
    size, patch = first_field(config, "image_size", "img_size"), first_field(config, "patch_size")
    side = [s // p for s, p in zip(sides(size), sides(patch), strict=False)]
    together = whole(first_field(config, "spatial_merge_size", "scale_factor", "pixel_shuffle_factor")) or 1
    return token, max(1, math.prod(side) // together**2) if len(side) == 2 else 1


def sides(size) -> list[int]:
    """Height and width of a picture: of one number, of two, of a table as processors write it; [] if unknown.

    >>> sides(16), sides([16, 8]), sides({"height": 16, "width": 8}), sides({"shortest_edge": 16}), sides("16")
    ([16, 16], [16, 8], [16, 8], [16, 16], [])
    """
    if isinstance(size, dict):
        size = [size.get(name) or size.get("shortest_edge") for name in ("height", "width")]
    values = list(size) if isinstance(size, (list, tuple)) else [size] * 2
    whole_values = [whole(int(each) if isinstance(each, float) and each.is_integer() else each) for each in values]
    return [each for each in whole_values if each] if len(values) == 2 and all(whole_values) else []
