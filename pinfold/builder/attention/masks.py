"""Which token sees which, and why: the masks of bert_model's own function, with a reason for every pair."""

import base64
import functools
import types
from typing import Any

import numpy
import torch

from pinfold.builder.attention.reach import Reach, follow
from pinfold.builder.attention.settings import Settings
from pinfold.builder.models import ENCODER, module_of
from pinfold.common.errors import UserError

NOT_SEEN, ITSELF, WINDOW, STRIDE, RANDOM, GLOBAL, PADDING = range(7)
OVERLAYS = {"local": WINDOW, "strided": STRIDE, "random": RANDOM}
LONGEST = 2048  # tokens of a mask that is sent, a byte a pair


def attention_module() -> types.ModuleType:
    """bert_model's attention, whose `attention_mask` defines every kind."""
    return module_of(ENCODER, "attention_bert")


@functools.cache
def known_kinds() -> tuple[str, ...]:
    """As the configuration of the model declares them."""
    return tuple(module_of(ENCODER, "configuration_bert").ATTENTION_TYPES)


def config_of(fields: dict[str, Any]) -> Any:
    """The model's configuration from its fields.

    Raises:
        UserError: a value of which no model can be built.
    """
    try:
        return module_of(ENCODER, "configuration_bert").BERTConfig(**fields)
    except (ValueError, TypeError) as error:
        raise UserError(" ".join(str(error).split())) from None


def kind_config(settings: Settings, kind: str, layers: int | None = None) -> Any:
    """Layers of one kind with the numbers of a comparison."""
    return config_of(
        {
            "hidden_size": settings.heads * settings.width,
            "num_attention_heads": settings.heads,
            "num_hidden_layers": layers or settings.layers,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "attention_type": kind,
            "attention_window": settings.window,
            "attention_stride": settings.stride,
            "num_random_keys": settings.keys,
            "num_global_tokens": settings.globals,
            "attention_seed": settings.seed,
            "attn_implementation": "sdpa",
        }
    )


def kind_of(config: Any, layer: int) -> str:
    return config.per_layer("attention_type")[layer]


def mask(config: Any, layer: int, length: int, pads: int = 0) -> torch.Tensor:
    """The model's own mask of one row, (length, length): row = query. Random keys are drawn from real tokens only."""
    lengths = torch.tensor([length - pads])
    return attention_module().attention_mask(config, layer, length, lengths)[0]


def real_mask(config: Any, layer: int, length: int, pads: int = 0) -> numpy.ndarray:
    """The mask among the real tokens."""
    real = length - pads
    return mask(config, layer, length, pads)[:real, :real].numpy()


def reasons(config: Any, layer: int, length: int, pads: int = 0) -> torch.Tensor:
    """Why each pair is seen, as a number of `names`, (length, length) bytes.

    Where several reasons hold, a global token counts first, then what the kind adds, then that a token sees itself.
    """
    kind, seen = kind_of(config, layer), mask(config, layer, length, pads)
    codes = seen.to(torch.uint8)  # ITSELF, or all of full attention
    key = torch.arange(length)
    if kind == "local":
        codes[seen] = WINDOW
    elif kind == "strided":
        codes[seen & (key % config.attention_stride == 0)] = STRIDE
    elif kind == "random":
        codes[seen & drawn(config, layer, length, pads)] = RANDOM
    if kind != "full":  # which does not read the number of global tokens
        early = key < config.num_global_tokens
        codes[seen & (early[:, None] | early)] = GLOBAL
    padding = key >= length - pads
    codes[padding[:, None] | padding] = PADDING
    return codes


def drawn(config: Any, layer: int, length: int, pads: int) -> torch.Tensor:
    """Which keys the block of each query drew, (length, length)."""
    module = attention_module()
    places = module.random_keys(config, layer, length, torch.tensor([length - pads]))[0]  # (blocks, keys)
    blocks = torch.zeros(len(places), length, dtype=torch.bool).scatter(1, places, True)
    return blocks.repeat_interleave(module.RANDOM_BLOCK, dim=0)[:length]


def names(kind: str) -> list[str]:
    """What the numbers of `reasons` mean for a kind."""
    return ["not seen", "full" if kind == "full" else "itself", "window", "stride", "random", "global", "padding"]


def picture_of(config: Any, layer: int, length: int, pads: int = 0, corner: int | None = None) -> dict[str, Any]:
    """Kind, reasons and their names as JSON, of a mask or of its first tokens."""
    kind, codes = kind_of(config, layer), reasons(config, layer, length, pads)[:corner, :corner]
    encoded = base64.b64encode(codes.contiguous().numpy().tobytes()).decode()
    return {"kind": kind, "length": len(codes), "reasons": encoded, "names": names(kind)}


def layer_masks(fields: dict[str, Any], layer: int, length: int, pads: int = 0) -> dict[str, Any]:
    """What the page shows of one layer of a drawing: its mask with reasons, and the receptive field of all its layers.

    Args:
        fields: the configuration of the model, all its layers.

    Returns:
        `density` and `seen` count pairs of real tokens. `reach` has a share for each layer of the drawing, and
        `layers_to_all` is null where its layers do not reach all.

    Raises:
        UserError: no such layer, or a length or a configuration that cannot be.
    """
    config = config_of(fields)
    layers = config.num_hidden_layers
    if type(layer) is not int or not 0 <= layer < layers:
        raise UserError(f"layer {layer!r} is not one of the {layers} layers; give 0 to {layers - 1}")
    if type(length) is not int or not 1 <= length <= LONGEST:
        raise UserError(f"length {length!r} must be a whole number from 1 to {LONGEST} to show a mask")
    if type(pads) is not int or not 0 <= pads < length:
        raise UserError(f"pads {pads!r} must be a whole number from 0 to {length - 1}")
    seen = int(real_mask(config, layer, length, pads).sum())
    reach = drawing_reach(config, length, pads)
    return {
        **picture_of(config, layer, length, pads),
        "density": seen / (length - pads) ** 2,
        "seen": seen,
        "reach": reach.shares,
        "layers_to_all": reach.layers_to_all,
    }


def drawing_reach(config: Any, length: int, pads: int = 0) -> Reach:
    """The receptive field over the layers of a drawing, which may differ in kind."""
    kinds = config.per_layer("attention_type")
    masks: dict[str, numpy.ndarray] = {}

    def mask_of(layer: int) -> numpy.ndarray:
        if kinds[layer] == "random":  # draws anew in every layer
            return real_mask(config, layer, length, pads)
        if kinds[layer] not in masks:
            masks[kinds[layer]] = real_mask(config, layer, length, pads)
        return masks[kinds[layer]]

    return follow(mask_of, len(kinds), limit=len(kinds))


def kind_reach(settings: Settings, kind: str) -> Reach:
    """The receptive field over layers of one kind, and how many of them let every token see every token."""
    limit = max(settings.layers, MOST_LAYERS)
    config = kind_config(settings, kind, limit)
    if kind == "random":
        return follow(
            lambda layer: real_mask(config, layer, settings.length, settings.pads), settings.layers, limit=limit
        )
    same = real_mask(config, 0, settings.length, settings.pads)
    return follow(lambda layer: same, settings.layers, limit=None)


MOST_LAYERS = 64  # of random attention that are tried: each draws its keys anew, so that no proof ends the search
