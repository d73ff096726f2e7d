"""A ready probe.json for a model that no probe is known for, made from forward's signature and the model's own layers.

Its shapes are tried, where the model is small enough: a probe that is offered as one that works has been run.
"""

import inspect
import itertools
import json
import re
import typing

from ..values import describe
from . import declared
from .declared import OWN
from .fields import picture_token

TRIES = 24
MANY = 50_000_000  # parameters, above which nothing is tried
COLUMNS = 6  # widths of a table that are tried
OF_LABELS = ("id2label", "label2id", "architectures", "auto_map")
ROWS, LENGTH, SIDE = 2, 12, 32
PARTS = 8  # of each word: its letters
NODES = 16  # rows of a graph; edges name them
FRAMES = ("num_frames", "n_frames", "frames_per_clip", "clip_length", "num_input_frames", "max_frames")
NUMBERS = re.compile(r"(^|_)(num\w*|cont\w*|float\w*|feat\w*|values?|dense)($|_)")  # names of numbers
SELDOM = ("labels", "return_dict", "use_cache", "output_attentions", "output_hidden_states", "kwargs", "args")


class ProbeError(ValueError):
    """forward did not take the probe; the message ends with a ready probe.json.

    Args:
        offer: that probe, where forward was seen to take it.
    """

    def __init__(self, message: str, offer: dict | None = None):
        super().__init__(message)
        self.offer = offer or {}


def failed(model, error: BaseException, used: dict) -> ProbeError:
    """The error that names what went in, and what could be written instead."""
    shown = ", ".join(f"{name} {described(value)}" for name, value in used.items())
    own, works = ready(model, tuple(used))
    message = f"{describe(error)}; the probe was {shown}; to give another, {_cure(own, works)}"
    return ProbeError(message, json.loads(own) if works else None)


def unknown(model, name: str) -> ProbeError:
    """The error for a forward whose inputs follow from nothing."""
    own, works = ready(model)
    message = f"{type(model).__name__}.forward takes {name}, whose shape is unknown; to give it, {_cure(own, works)}"
    return ProbeError(message, json.loads(own) if works else None)


def _cure(own: str, works: bool) -> str:
    how = "forward takes this one" if works else "correct the shapes in this one"
    return f"put {OWN} beside card.md; {how}: {own}"


def described(value) -> str:
    """A tensor's type and shape, such as "float32 [2, 16]"; another value as it is."""
    if hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return repr(value)[:40]


def ready(model, used: tuple[str, ...] = ()) -> tuple[str, bool]:
    """A probe.json for this model, and whether forward was seen to take it.

    Args:
        used: arguments of a probe that was refused; they are in this one too.
    """
    import torch

    options = {name: _options(model, name, parameter) for name, parameter in _arguments(model, used).items()}
    first = {name: choices[0] for name, choices in options.items()}
    if sum(p.numel() for p in model.parameters()) <= MANY:
        was = model.training
        model.eval()
        try:
            for combination in itertools.islice(itertools.product(*options.values()), TRIES):
                own = dict(zip(options, combination, strict=True))
                try:
                    with torch.no_grad():
                        model(
                            **declared.in_own_type(model, {name: declared.made(words) for name, words in own.items()})
                        )
                except Exception:  # the next one
                    continue
                return json.dumps(own), True
        finally:
            model.train(was)
    return json.dumps(first), False


def _arguments(model, used: tuple[str, ...] = ()) -> dict[str, inspect.Parameter]:
    """What forward has to be given: the arguments without a default and those used before, or its first one."""
    every = {
        name: parameter
        for name, parameter in inspect.signature(model.forward).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and name not in SELDOM
    }
    if "pixel_values" in used and picture_token(model.config)[0] is not None:
        used = tuple(
            name for name in used if name != "attention_mask"
        )  # it has as many columns as the words then have
    required = {n: p for n, p in every.items() if p.default is p.empty or n in used}
    if required or not every:
        return required
    main = getattr(model, "main_input_name", None)
    first = main if main in every else next(iter(every))
    return {first: every[first]}


def _options(model, name: str, parameter: inspect.Parameter) -> list[dict]:
    """What this argument may be, the likeliest first."""
    kind = _annotated(parameter)
    if kind in (bool, int, float, str):
        return [{"values": {bool: True, int: 1, float: 0.5, str: ""}[kind]}]
    if "mask" in name.split("_"):
        ones = {"shape": [ROWS, LENGTH], "values": "ones"}
        return [ones, {**ones, "dtype": "bool"}]
    if name in ("edge_index", "edges"):
        return [{"shape": [2, 8], "values": "ramp", "below": NODES, "batch": False}]
    steps = _field(model, "num_train_timesteps", "timesteps", "num_timesteps", "diffusion_steps") or 1000
    if name in ("t", "time", "timestep", "timesteps", "step", "steps", "sigma", "noise_level"):
        return [{"shape": [ROWS], "values": "ramp", "below": steps}, {"shape": [ROWS], "values": "wave"}]
    layer, words = _first_layer(model, name), str(kind).lower()
    below = getattr(layer, "num_embeddings", None) or _field(model, "vocab_size", "num_embeddings") or 100
    whole = [{"shape": shape, "values": "ramp", "below": below} for shape in ([ROWS, LENGTH], [ROWS])]
    if name == "input_ids":
        whole = [*_with_places(model), *whole]
    elif name.endswith("ids"):
        whole.append({**whole[0], "shape": [ROWS, LENGTH, PARTS]})
    if "int" in words or "long" in words or name.endswith(("ids", "_id", "tokens")):
        return whole
    floats = [{"shape": shape, "values": "wave"} for shape in _float_shapes(model, layer)]
    if hasattr(layer, "num_embeddings"):
        return [*floats[:3], *whole] if NUMBERS.search(name) else whole
    return floats


def _with_places(model) -> list[dict]:
    """Words behind the places of a picture: as many as the configuration says, or as encoders often make."""
    token, count = picture_token(model.config)
    if token is None:
        return []
    words = [number for number in range(3, 40) if number != token][:4]
    counts = dict.fromkeys([count, count + 1, max(1, count // 4), max(1, count // 16), 1, 16, 32, 64])
    return [{"values": [[token] * number + words] * ROWS} for number in counts]


def _float_shapes(model, layer) -> list[list[int]]:
    """Shapes that a first layer takes; a width out of the configuration where no layer says one."""
    dimensions = {"Conv1d": 1, "Conv2d": 2, "Conv3d": 3}.get(type(layer).__name__)
    if dimensions:
        side = _side(model) if dimensions > 1 else 64
        channels = layer.in_channels
        kernel = [max(size, side) for size in layer.kernel_size]
        frames = _field(model, *FRAMES) or 8
        if dimensions == 3:
            places = [frames, *kernel[1:]]  # the first side is time where the model has frames
            shapes = [[frames, channels, *kernel[1:]], [channels, *places], [channels, *kernel], [*places, channels]]
            return [[ROWS, *shape] for shape in shapes]
        video = [[ROWS, frames, channels, *kernel]] if dimensions == 2 else []
        moved = [[ROWS, LENGTH * 4, channels]] if dimensions == 1 else [[ROWS, *kernel, channels]]
        return [[ROWS, channels, *kernel], *video, *moved]
    width = getattr(layer, "in_features", None) or getattr(layer, "input_size", None)
    width = width or (layer.normalized_shape[-1] if hasattr(layer, "normalized_shape") else None)
    # a field that says it comes first: the first layer with weights may stand behind one without
    fields = ("input_dim", "in_features", "in_dim", "feature_dim", "input_size", "num_features", "n_features")
    widths = [size for size in dict.fromkeys([_field(model, *fields), width]) if size]
    widths = widths or [_field(model, "in_channels", "num_channels", "hidden_size")]
    side = _side(model)
    square = [[ROWS, channels, side, side] for channels in (_field(model, "num_channels", "in_channels") or 3, 1)]
    if widths == [None]:
        columns = _columns(model)
        return [shape for size in columns for shape in ([ROWS, size], [ROWS, LENGTH, size])] or [[ROWS, 16]]
    return [*(shape for size in widths for shape in _of_width(model, size)), *square]


def _columns(model) -> list[int]:
    """How many columns a table may have where no layer says it: a list of their names, a number for each of them."""
    settings = model.config.to_dict() if hasattr(model.config, "to_dict") else vars(model.config)
    names = sorted((name for name in settings if name not in OF_LABELS), key=lambda name: not NUMBERS.search(name))
    listed = [len(settings[name]) for name in names if isinstance(settings[name], (list, tuple, dict))]
    stored = [
        tensor.shape[0]
        for module in model.modules()
        for tensor in (*module._buffers.values(), *module._parameters.values())
        if tensor is not None and tensor.ndim in (1, 2)
    ]
    return [size for size in dict.fromkeys([*listed, *stored]) if 0 < size <= 4096][:COLUMNS]


def _of_width(model, width: int) -> list[list[int]]:
    """Rows of a table or of a sequence, the likeliest first."""
    if _is_table(model):
        return [[ROWS, width], [ROWS, LENGTH, width], [NODES, width]]
    shapes = [[ROWS, LENGTH, width], [ROWS, width], [NODES, width], [ROWS, LENGTH], [ROWS, 64], [ROWS, width, LENGTH]]
    return [*shapes, [ROWS, LENGTH, 3]]


def _is_table(model) -> bool:
    """Whether nothing of the configuration says that rows are sequences."""
    lengths = ("max_length", "seq_len", "max_seq_len", "context_length", "prediction_length", "num_frames", "window")
    return _field(model, *lengths, "max_position_embeddings") is None


def _side(model) -> int:
    size = _field(model, "image_size", "img_size", "resolution", "input_resolution", "sample_size")
    return size if isinstance(size, int) and 0 < size <= 512 else SIDE


def _first_layer(model, name: str):
    """The first layer with weights, of the part that bears the argument's name where one does."""
    stem = name.split("_")[0].rstrip("s")
    parts = [part for key, part in model.named_modules() if key and stem and key.rsplit(".")[-1].startswith(stem)]
    for part in [*(parts if len(stem) > 2 else []), model]:
        for module in part.modules():
            if any(hasattr(module, n) for n in ("in_features", "in_channels", "num_embeddings", "input_size")):
                return module
    return None


def _field(model, *names: str) -> int | None:
    """The first of these that the configuration holds as a whole number, in its parts too."""
    values = [model.config.to_dict() if hasattr(model.config, "to_dict") else vars(model.config)]
    for content in values:
        for name in names:
            if type(content.get(name)) is int and content[name] > 0:
                return content[name]
        values += [inner for inner in content.values() if isinstance(inner, dict)]
    return None


def _annotated(parameter: inspect.Parameter):
    """The annotation, without Optional."""
    annotation = parameter.annotation
    inner = [each for each in typing.get_args(annotation) if each is not type(None)]
    return inner[0] if len(inner) == 1 else annotation
