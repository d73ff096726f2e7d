"""The tensors of a cache, under names that do not depend on the release: they are compared apart from outputs."""

import contextlib
import inspect
import re

from ..values import CACHES, flat

CACHE = "cache:"  # what their names begin with, behind that of a probe
PAIRS = re.compile(r"\w+(\.\d+){2,}")  # (keys, values) of each layer, in a tuple or a field
PARTS = ("self_attention_cache", "cross_attention_cache")


def outputs_and_caches(model, output) -> dict:
    """Copies of the tensors in a model's output by their path, with those of its cache under ``CACHE``.

    A cache is a field with one of the names that transformers has for it. Where forward takes a cache, or is asked
    for one, pairs of tensors for each layer are one too: a tuple has no names.
    """
    tensors, caches = flat(output, CACHES), {}
    if {"use_cache", *CACHES} & set(inspect.signature(model.forward).parameters):
        caches = {name: tensor for name, tensor in tensors.items() if PAIRS.fullmatch(name)}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in caches}
    pairs = output.items() if isinstance(output, dict) else ()
    for value in [value for name, value in pairs if name in CACHES] + _objects(output):
        with contextlib.suppress(Exception):  # a folder's own class: it is compared by what generate() writes with it
            caches |= tensors_of_cache(value)
    return tensors | {f"{CACHE}{name}": tensor for name, tensor in caches.items()}


def is_cache(name: str) -> bool:
    """Whether the name of an output, behind those of an Auto class and a probe, is that of a cache's tensor."""
    return name.rpartition("/")[2].startswith(CACHE)


def _objects(output) -> list:
    """Caches of transformers' classes in a plain tuple."""
    from transformers import Cache

    return [value for value in output if isinstance(value, Cache)] if type(output) in (tuple, list) else []


def tensors_of_cache(cache) -> dict:
    """By layer: "0.0" are keys, "0.1" values, "0.2" and "0.3" those of the encoder."""
    import torch

    if cache is None or isinstance(cache, (list, tuple, dict)):
        return flat(cache)
    if all(hasattr(cache, part) for part in PARTS):
        own, cross = (tensors_of_cache(getattr(cache, part)) for part in PARTS)
        return own | {_behind(name): tensor for name, tensor in cross.items()}
    layers = getattr(cache, "layers", None)
    if isinstance(layers, (list, tuple)):
        pairs = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in layers]
    elif isinstance(getattr(cache, "key_cache", None), (list, tuple)):
        pairs = list(zip(cache.key_cache, cache.value_cache, strict=False))
    else:
        return flat({name: value for name, value in vars(cache).items() if not name.startswith("_")})
    return {
        f"{layer}.{which}": tensor.detach().clone()
        for layer, pair in enumerate(pairs)
        for which, tensor in enumerate(pair)
        if isinstance(tensor, torch.Tensor) and tensor.numel()
    }


def _behind(name: str) -> str:
    layer, _, which = name.partition(".")
    return f"{layer}.{int(which) + 2}" if which.isdigit() else f"encoder.{name}"
