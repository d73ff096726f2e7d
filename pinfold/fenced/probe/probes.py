"""Inputs made by formula for any model, and its outputs on them.

How it works:
- The inputs follow from the configuration, main_input_name and the signature of forward; no file is needed.
- Images are sin and cos over their grid; tokens are a ramp over the vocabulary, padded on the right and on the left.

It runs on both sides of the sandbox; torch is imported only when a function is called.
"""

import contextlib
import inspect
from collections.abc import Iterator

from ..values import describe
from . import declared, suggest
from .caches import is_cache, outputs_and_caches
from .declared import formula, in_own_type
from .fields import PLACES, SOUND_PLACES, first_field, longest, own_length, picture_token, sides, whole

MEDIA = ("pixel_values", "pixel_values_videos", "input_features", "input_values")
SOUND = ("input_values", "input_features")


def probe_inputs(model, own: dict) -> dict[str, dict]:
    """Inputs for a model: probe -> name -> tensor. The first probe is the main one.

    "pair" has batch size 2 and padding on the right, "single" 1 and no mask, "triple" 3 and padding on the left.
    ``own`` is the folder's probe.json, if it has one: see declared.py.

    Raises:
        ValueError: nothing says which inputs this forward takes; the message ends with a ready probe.json.
    """
    if own:
        return {"own": {name: declared.made(words) for name, words in own.items()}}
    config, parameters = model.config, inspect.signature(model.forward).parameters
    name = model.main_input_name if model.main_input_name in parameters else next(iter(parameters), "")
    channels = first_field(config, "num_channels", "input_channels", "in_channels", "in_chans")
    vocabulary = first_field(config, "vocab_size")
    # of an input whose name does not say that it is a picture, the size has to be declared too: else it is asked for
    declared_picture = channels and first_field(config, "image_size") and not vocabulary
    if name in ("pixel_values", "images", "image") or (name != "input_ids" and declared_picture):
        probes = {probe: {name: _image(config, batch, channels or 3)} for probe, batch in _BATCHES.items()}
    elif name in SOUND:  # also where the outputs are words
        probes = {probe: {name: formula(shape, "wave")} for probe, shape in _signal(config, name).items()}
    elif name == "input_ids" or vocabulary:
        probes = _tokens(model, name, parameters, vocabulary or 100)
        if "pixel_values" in parameters and (channels or first_field(config, "image_size")):
            _with_pictures(config, name, probes, channels or 3)
        _with_sound(config, parameters, probes)
    else:
        raise suggest.unknown(model, name)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        for probe, inputs in probes.items():
            length = min(inputs["input_ids"].shape[-1] if "input_ids" in inputs else 6, longest(config))
            inputs["decoder_input_ids"] = token_ids(config, [_BATCHES[probe], length], vocabulary or 100)
    return probes


def not_probed(model, own: dict) -> list[str]:
    """Pictures, sound and video that forward takes and that are in no probe: their part of the model does not run."""
    takes = inspect.signature(model.forward).parameters
    given = {name for inputs in probe_inputs(model, own).values() for name in inputs}
    return [name for name in MEDIA if name in takes and name not in given]


_BATCHES = {"pair": 2, "single": 1, "triple": 3}


def _image(config, batch: int, channels: int):
    patches = sides(first_field(config, "patch_size")) or [16, 16]
    height_and_width = sides(first_field(config, "image_size")) or [4 * side for side in patches]
    return formula([batch, channels, *height_and_width], "wave")


def _with_pictures(config, name: str, probes: dict, channels: int) -> None:
    """Add pictures; where the configuration has a token for their places, each row gets as many as a picture has."""
    import torch

    token, count = picture_token(config)
    for probe, inputs in probes.items():
        rows, length = inputs[name].shape[:2]
        if token is not None:
            if count + 1 > longest(config, 10**9):
                return  # no room for a picture and a word
            mask = inputs.get("attention_mask")
            start = 0 if mask is None else int((mask.cumsum(-1) == 0).sum(-1).max())  # behind padding on the left
            length = min(length, longest(config, 10**9) - count)
            for key, value in list(inputs.items()):
                new = torch.full((rows, count), {name: token, "attention_mask": 1}.get(key, 0), dtype=value.dtype)
                inputs[key] = torch.cat([value[:, :start], new, value[:, start:length]], 1)
        inputs["pixel_values"] = _image(config, _BATCHES[probe], channels)


def _with_sound(config, parameters, probes: dict) -> None:
    """Add sound, where forward takes it beside words and no token keeps a place for it: a tower of its own."""
    name = next((name for name in SOUND if name in parameters), None)
    known = name == "input_values" or first_field(config, "num_mel_bins", "feature_size")
    if name and known and first_field(config, *SOUND_PLACES) is None:
        for probe, shape in _signal(config, name).items():
            probes[probe][name] = formula(shape, "wave")


def _tokens(model, name: str, parameters, vocabulary: int) -> dict[str, dict]:
    import torch

    config, most, probes = model.config, longest(model.config), {}
    pad = first_field(config, "pad_token_id")
    for probe, length in (("pair", 12), ("single", 7), ("triple", 9)):
        ids = token_ids(config, [_BATCHES[probe], min(length, most)], vocabulary)
        inputs = probes[probe] = {name: ids}
        if "attention_mask" in parameters and probe != "single":
            mask = inputs["attention_mask"] = torch.ones_like(ids)
            for row in range(1, len(ids)):
                place = padding(probe, row, ids.shape[1])
                mask[row, place] = 0
                if _is_id(pad, vocabulary):
                    ids[row, place] = pad
        if "token_type_ids" in parameters and probe == "triple" and (first_field(config, "type_vocab_size") or 0) > 1:
            inputs["token_type_ids"] = (torch.arange(ids.shape[1]) >= ids.shape[1] // 2).long().expand_as(ids).clone()
        if type(model).__name__.endswith("ForMultipleChoice"):
            for key, value in list(inputs.items()):
                inputs[key] = value[:, None].repeat(1, 2, 1)  # (batch, choices, tokens)
            inputs[name][:, 1] = inputs[name][:, 1].flip(-1)
    return probes


def padding(probe: str, row: int, length: int) -> slice:
    """Where a row of a batch has no words: the last of "pair", the first of "triple", and none of the first row."""
    absent = min(2 * row + 2 * (probe == "pair"), length - 1) if row and probe in ("pair", "triple") else 0
    return slice(length - absent, None) if probe == "pair" else slice(0, absent)


def padded(model, own: dict) -> dict[str, int]:
    """Probe -> how many tokens a row of it has, of those that hide their padding by a mask."""
    inputs = {} if own else probe_inputs(model, own)
    return {
        probe: each["attention_mask"].shape[1]
        for probe, each in inputs.items()
        if "attention_mask" in each and each["attention_mask"].ndim == 2
    }


def token_ids(config, shape: list, vocabulary: int):
    """A ramp over all tokens that are words: the padding token would be masked by some models, the end found."""
    special = {first_field(config, "pad_token_id"), *(first_field(config, place) for place in PLACES)}
    end = first_field(config, "eos_token_id") if getattr(config, "is_encoder_decoder", False) else None
    special = sorted(i for i in {*special, end} if _is_id(i, vocabulary))
    words = vocabulary - len(special)
    ids = formula(shape, "ramp", words if words > 0 else vocabulary)
    for token in special if words > 0 else ():
        ids = ids + (ids >= token)
    if _is_id(end, vocabulary):  # each row has one, as encoders and decoders of sequences expect
        ids[..., -1] = end
    return ids


def _is_id(token, vocabulary: int) -> bool:
    return isinstance(token, int) and 0 <= token < vocabulary


def _signal(config, name: str) -> dict[str, list]:
    """Shapes for sound and spectrograms."""
    bins = whole(first_field(config, "num_mel_bins", "feature_size"))
    frames = own_length(config)
    if name == "input_values" and bins and frames:  # a spectrogram, frames first
        return {probe: [batch, frames, bins] for probe, batch in _BATCHES.items()}
    if name == "input_values":
        return {"pair": [2, 4000], "single": [1, 4001], "triple": [3, 3999]}
    frames = 2 * (whole(first_field(config, "max_source_positions")) or 1500)
    return {probe: [batch, bins or 80, frames] for probe, batch in _BATCHES.items()}


def run_probes(model, own: dict, only: list | None = None) -> tuple[dict, dict]:
    """The model's outputs on its probes, in evaluation mode.

    Args:
        only: the probes to run, which then must work. By default all are tried, and one has to.

    Returns:
        "probe/name" -> tensor, and the probes that the model refuses -> why.
    """
    import torch

    outputs: dict = {}
    refused: dict = {}
    probes = probe_inputs(model, own)
    with evaluating(model), torch.no_grad():
        for probe, inputs in probes.items():
            if only is not None and probe not in only:
                continue
            if "output_hidden_states" in inspect.signature(model.forward).parameters:
                inputs = {**inputs, "output_hidden_states": True}
            try:
                tensors = outputs_and_caches(model, call(model, inputs))
                of_probe = {f"{probe}/{name}": tensor for name, tensor in tensors.items()}
            except Exception as error:
                if only is not None:
                    raise
                refused[probe] = error
            else:
                outputs |= of_probe
    computed = not all(map(is_cache, outputs))
    if refused and not computed:
        name, error = next(iter(refused.items()))
        raise suggest.failed(model, error, probes[name]) from error
    if not computed:
        raise ValueError(f"{type(model).__name__}.forward returns no tensor")
    # a model may refuse a batch without a padding token, or padding on the left; not everything
    return outputs, {probe: describe(error) for probe, error in refused.items()}


@contextlib.contextmanager
def evaluating(model) -> Iterator[None]:
    """Evaluation mode for a while; each module then gets its own mode back: a frozen batch norm stays frozen."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def call(model, inputs: dict):
    """The model's output with a fixed seed, numbers in its own type."""
    import torch

    inputs = in_own_type(model, inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(**inputs)


def same_number(a: float, b: float) -> bool:
    """Equal, or both not a number."""
    return a == b or (a != a and b != b)


def same_tensor(a, b) -> bool:
    """Whether two tensors are equal bit for bit, as numbers; not a number equals itself here."""
    import torch

    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if torch.equal(a, b):
        return True
    return a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
