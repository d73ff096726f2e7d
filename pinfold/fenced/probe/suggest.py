"""A ready probe.json for a model that no probe is known for, made from forward's signature and the model's own layers.

Which layer an argument reaches first says more than its name: reached.py follows it there. The shapes are tried, where
the model is small enough: a probe that is offered as one that works has been run.
"""

import inspect
import itertools
import json
import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..values import describe
from . import declared, nested
from .declared import OWN
from .fields import CLIP, LENGTH, LETTERS, NODES, PICTURE, ROWS, SIDE, picture_token

TRIES = 48
ALIKE, LISTED = 4, 4  # shapes that are tried for all tensors of a kind in a dict; tensors of it whose way is said
ORDERED = 20_000  # combinations that are put in order
MANY = 50_000_000  # parameters, above which nothing is tried
COLUMNS = 6  # widths of a table that are tried
OF_LABELS = ("id2label", "label2id", "architectures", "auto_map")
NUMBERS = re.compile(r"(^|_)(num\w*|cont\w*|float\w*|feat\w*|values?|dense)($|_)")  # names of numbers
SINGLE = {bool: True, int: 1, float: 0.5, str: ""}  # annotation of a plain Python argument -> the value to pass
TIMES = ("t", "time", "timestep", "timesteps", "step", "steps", "sigma", "noise_level")
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
    offer = ready(model, tuple(used))
    message = f"{describe(error)}; the probe was {shown}{offer.known}; to give another, {offer.cure}"
    return ProbeError(message, json.loads(offer.own) if offer.works else None)


def unknown(model, name: str) -> ProbeError:
    """The error for a forward whose inputs follow from nothing."""
    offer = ready(model)
    takes = f"{type(model).__name__}.forward takes {name}, whose shape is unknown{offer.known}"
    return ProbeError(f"{takes}; to give it, {offer.cure}", json.loads(offer.own) if offer.works else None)


@dataclass(frozen=True)
class Ready:
    """A probe.json, and whether forward was seen to take it.

    Args:
        reads: where the arguments go, for the message. why: what forward says to it; "" where it was not tried.
    """

    own: str
    works: bool
    reads: str
    why: str = ""

    @property
    def cure(self) -> str:
        """What to do, with the file at the end."""
        if self.works:
            return f"put {OWN} beside card.md; forward takes this one: {self.own}"
        return f"put {OWN} beside card.md; correct the shapes in this one: {self.own}"

    @property
    def known(self) -> str:
        """Where the arguments go, and what forward says to the shapes at the end."""
        return self.reads + (f"; to the shapes below it says {self.why}" if self.why else "")


def described(value) -> str:
    """A tensor's type and shape, such as "float32 [2, 16]"; another value as it is."""
    if hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(f'{key} {described(inner)}' for key, inner in value.items())}"[:400]
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {', '.join(map(described, value))}"[:400]
    return repr(value)[:40]


def ready(model, used: tuple[str, ...] = ()) -> Ready:
    """A probe.json for this model, the first of those that its layers suggest that forward takes.

    Args:
        used: arguments of a probe that was refused; they are in this one too.
    """
    import torch

    was = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            arguments = _arguments(model, used)
            is_small = sum(p.numel() for p in model.parameters()) <= MANY
            is_said = any(map(nested.is_said, arguments.values()))
            plain = None if is_said else _tried(model, arguments, is_small)
            if plain and plain.works:
                return plain
            offer = None
            if inside := nested.structure(model, arguments, _likeliest, is_small):
                apart = nested.Apart(model, inside)
                each = {place: nested.inner(p) for name, p in arguments.items() for place in apart.places(name)}
                offer = _tried(apart, each, is_small)
                if offer.works:
                    return offer
            plain = plain or _tried(model, arguments, is_small)
            return plain if plain.works or offer is None else offer
    finally:
        model.train(was)


def _tried(model, arguments: dict[str, inspect.Parameter], is_small: bool) -> Ready:
    """The first combination that forward takes, or else the likeliest one.

    Args:
        model: an ``Apart`` where some arguments are dicts or lists: each tensor is an argument of it.
    """
    seen, why = _followed(model, arguments), ""
    options = {name: _options(model, name, argument, seen[name]) for name, argument in arguments.items()}
    _graphs_first(options, seen)
    is_apart = isinstance(model, nested.Apart)
    reads = model.described() + _reads(dict(list(seen.items())[:LISTED])) if is_apart else _reads(seen)
    together = model.together if is_apart else dict
    for own in itertools.islice(_combinations(options, is_apart), TRIES) if is_small else ():
        try:
            model(**declared.in_own_type(model, {name: declared.made(words) for name, words in own.items()}))
        except Exception as error:  # the next one
            why = why or describe(error)
            continue
        return Ready(json.dumps(together(own)), True, reads)
    likeliest = {name: choices[0] for name, choices in options.items()}
    return Ready(json.dumps(together(likeliest)), False, reads, why)


def _likeliest(model, name: str, argument: inspect.Parameter, others: dict[str, dict]) -> dict:
    """The likeliest declaration of one tensor in a dict, by where it goes beside the others."""
    from . import reached

    seen = reached.arrivals(model, name, {other: declared.made(words) for other, words in others.items()})
    return _options(model, name, argument, seen)[0]


def _combinations(options: dict[str, list[dict]], is_apart: bool = False) -> Iterator[dict[str, dict]]:
    """What may go in, the likeliest together first: what is second for one argument comes before what is third.

    Args:
        is_apart: they are tensors of a dict. Those of a kind are then likely to be alike, and come first.
    """
    if is_apart:
        kinds = {name: choices[0].get("values", "") for name, choices in options.items()}
        alike = dict.fromkeys(map(str, kinds.values()))
        for place in sorted(itertools.product(range(ALIKE), repeat=len(alike)), key=sum):
            at = dict(zip(alike, place, strict=True))
            yield {n: choices[min(at[str(kinds[n])], len(choices) - 1)] for n, choices in options.items()}
    most = max(2, round(ORDERED ** (1 / max(1, len(options)))))
    if most ** len(options) > 2 * ORDERED:
        return
    places = itertools.product(*(range(len(choices[:most])) for choices in options.values()))
    for place in sorted(places, key=sum):
        yield {name: choices[at] for (name, choices), at in zip(options.items(), place, strict=True)}


def _followed(model, arguments: dict[str, inspect.Parameter]) -> dict[str, list]:
    """Where each argument goes, the others being what they are likeliest to be; twice, as one may need another."""
    from . import reached

    likeliest = {name: _options(model, name, argument)[0] for name, argument in arguments.items()}
    tensors = [name for name, argument in arguments.items() if _annotated(argument) not in tuple(SINGLE)]
    seen: dict[str, list] = {name: [] for name in arguments}
    for again in (False, True):
        unsaid = [name for name in tensors if not reached.says(model, seen[name])]
        for name in unsaid:
            others = {other: declared.made(words) for other, words in likeliest.items() if other != name}
            # two pictures that are put side by side, say: what arrives is as wide as both
            alike = [other for other in unsaid if other != name and other not in TIMES] if again else []
            seen[name] = reached.arrivals(model, name, others, alike) or seen[name]
            likeliest[name] = _options(model, name, arguments[name], seen[name])[0]
    if isinstance(model, nested.Apart):
        for name in (name for name in tensors if not reached.says(model, seen[name])):
            # columns of a table, of which some are words: each row has one
            others = {other: _options(model, other, arguments[other], seen[other]) for other in arguments}
            second = {other: declared.made(each[min(1, len(each) - 1)]) for other, each in others.items()}
            seen[name] = reached.arrivals(model, name, {n: v for n, v in second.items() if n != name}) or seen[name]
    return seen


def _graphs_first(options: dict[str, list[dict]], seen: dict[str, list]) -> None:
    """Where one argument names rows of another, that one has as many as are named."""
    graphs = [name for name, every in seen.items() if every and every[0].layer.kind in ("rows", "pairs")]
    for name, choices in options.items():
        if graphs and name not in graphs:
            choices.sort(key=lambda words: words.get("shape", [0])[0] != NODES)


def _reads(seen: dict[str, list]) -> str:
    """Where the arguments go, as far as it says something about their shapes."""
    layers = {name: every[0].layer for name, every in seen.items() if every}
    said = [f"{n} goes into {layer.described()}" for n, layer in layers.items() if layer.kind not in ("rows", "pairs")]
    return f"; {', '.join(said)}" if said else ""


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


def _options(model, name: str, parameter: inspect.Parameter, seen: Sequence = ()) -> list[dict]:
    """What this argument may be, the likeliest first.

    Args:
        seen: the layers that it was seen to reach.
    """
    kind, name = _annotated(parameter), name.rpartition(".")[2]  # of a tensor in a dict, its key
    if kind in tuple(SINGLE):
        return [{"values": SINGLE[kind]}]
    reads = seen[0].layer.kind if seen else ""
    if "mask" in name.split("_") and reads not in ("convolution", "norm"):
        ones = {"shape": [ROWS, LENGTH], "values": "ones"}
        return [ones, {**ones, "dtype": "bool"}]
    if name in ("edge_index", "edges") or reads == "rows":
        ends = {"shape": [2, 8], "values": "ramp", "below": NODES, "batch": False}
        return [ends, {**ends, "shape": [8, 2]}, {**ends, "shape": [NODES]}]
    if reads == "pairs":
        square = {"shape": [NODES, NODES], "values": "wave", "batch": False}
        return [square, {"shape": [ROWS, LENGTH, LENGTH], "values": "wave"}]
    if name in TIMES:
        steps = _field(model, "num_train_timesteps", "timesteps", "num_timesteps", "diffusion_steps") or 1000
        below = min(steps, seen[0].layer.width) if reads == "words" else steps
        return [{"shape": [ROWS], "values": "ramp", "below": below}, {"shape": [ROWS], "values": "wave"}]
    layer, annotated = _first_layer(model, name), str(kind).lower()
    words = _ids(model, name, seen[0].layer.width if reads == "words" else getattr(layer, "num_embeddings", None))
    if "int" in annotated or "long" in annotated:
        return words
    is_named = name.endswith(("ids", "_id", "tokens"))
    if is_named and reads in ("", "words"):
        return words
    numbers = [{"shape": shape, "values": "wave"} for shape in _float_shapes(model, layer)]
    if reads == "words":
        # where the model itself makes integers of numbers, it takes numbers
        return [*_series(model), *words] if seen[0].counted else [*words, *numbers]
    if seen:
        shapes = _reached_shapes(model, seen)
        if "mask" in name.split("_"):  # it has one channel where it lies beside a picture
            shapes.sort(key=lambda shape: shape[1:2] != [1])
        numbers = [{"shape": shape, "values": "wave"} for shape in shapes] + numbers
        return [each for at, each in enumerate(numbers) if each not in numbers[:at]]
    if hasattr(layer, "num_embeddings"):
        return [*numbers[:3], *words] if NUMBERS.search(name) else [*words, *numbers]
    return numbers


def _ids(model, name: str, below: int | None) -> list[dict]:
    """Token ids, and letters of each word."""
    below = below or _field(model, "vocab_size", "num_embeddings") or 100
    words = [{"shape": shape, "values": "ramp", "below": below} for shape in ([ROWS, LENGTH], [ROWS])]
    if name == "input_ids":
        return [*_with_places(model), *words]
    return [*words, {**words[0], "shape": [ROWS, LENGTH, LETTERS]}]


def _series(model) -> list[dict]:
    """Numbers, one for each step, or several."""
    from . import reached

    steps = reached.length(model.config, reached.SAMPLES)
    return [{"shape": shape, "values": "wave"} for shape in ([ROWS, steps], [ROWS, steps, 1], [ROWS, 1, steps])]


def _reached_shapes(model, seen: Sequence) -> list[list[int]]:
    """The shapes that follow from where numbers arrived, the likeliest first."""
    from . import reached

    kind, axes = seen[0].layer.kind, [4, 3, 2, 5, 1]
    if kind in reached.AT_END:
        axes = [2, 3, 4, 5, 1] if kind == "vectors" and _is_table(model) else [3, 2, 4, 5, 1]

    def likely(each) -> tuple:
        is_cut = len(each.arrived) > 1 and each.axis is None
        if is_cut and _side(model, 0) and len(each.sent) == 4 and len(each.arrived) == 2:
            return (0, 0)  # pictures that are made rows of numbers
        # where the width is made of steps, one axis of them comes before two
        return (1 + is_cut * len(each.sent), axes.index(len(each.sent)))

    ordered = sorted(seen, key=likely)
    nodes = [[NODES, seen[0].layer.width]] if kind == "vectors" else []
    return [*(shape for each in ordered for shape in reached.shapes(model, each)), *nodes]


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
        frames = _field(model, *CLIP) or 8
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
    """Whether nothing of the configuration and of the layers says that rows are sequences."""
    from . import reached

    lengths = ("max_length", "seq_len", "max_seq_len", "context_length", "prediction_length", "num_frames", "window")
    stepwise = any(isinstance(module, reached.STEPWISE) for module in model.modules())
    return not stepwise and _field(model, *lengths, "max_position_embeddings") is None


def _side(model, otherwise: int = SIDE) -> int:
    size = _field(model, *PICTURE)
    return size if isinstance(size, int) and 0 < size <= 512 else otherwise


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
