"""The layer that an argument of forward reaches first, and the shapes that this layer says: what a name does not say.

How it works:
- forward is run on numbers that have another size in each axis. The tensors that come from them are followed until one
  of them goes into a layer with weights; no more of the model is run.
- The axis whose size arrives where the layer has its channels or its width gets that width; the others get sizes of
  the configuration, where it has any.

It imports torch: whoever is outside the sandbox imports it in a function, or not at all.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from .declared import formula, in_own_type
from .fields import CLIP, LENGTH, LETTERS, PICTURE, ROWS, SIDE, first_field, sides, whole

SAMPLES, FRAMES = 64, 8  # where nothing says them
# Sizes of the numbers that are followed, which few layers have. Most can be cut into patches; the long one is a
# quarter of a second of sound.
SENT = ((ROWS, 7, 96, 160), (ROWS, 7, 96), (ROWS, 96), (ROWS, 4000), (ROWS, 7, 24, 48, 80), (ROWS,))
CHANNELS = ("num_channels", "in_channels", "input_channels", "in_chans")
SERIES = ("context_length", "seq_len", "seq_length", "sequence_length", "max_seq_len", "window", "window_size")
STEPWISE = (nn.Conv1d, nn.RNNBase, nn.MultiheadAttention)  # layers of series
AT_END = ("vectors", "sequence")
UNSHAPED = ("words", "rows", "pairs")  # what they read has no width
MOST_STORED = 6
LARGEST = 4096  # of a length or a side
AT_INDEX = {"__getitem__": 1, "index_select": 2, "gather": 2, "index_add": 2, "index_add_": 2}
AT_INDEX |= dict.fromkeys(("scatter_add", "scatter_add_", "scatter_reduce", "scatter_reduce_"), 2)
PRODUCTS = ("matmul", "__matmul__", "mm", "bmm")
# How a layer reads, which they are, and where they say the width.
READ: tuple[tuple[str, tuple, str], ...] = (
    ("words", (nn.Embedding, nn.EmbeddingBag), "num_embeddings"),
    ("convolution", (nn.modules.conv._ConvNd,), "in_channels"),
    ("norm", (nn.modules.batchnorm._NormBase,), "num_features"),
    ("norm", (nn.GroupNorm,), "num_channels"),
    ("vectors", (nn.LayerNorm, nn.RMSNorm), "normalized_shape"),
    ("vectors", (nn.Linear,), "in_features"),
    ("vectors", (nn.RNNCellBase,), "input_size"),
    ("sequence", (nn.RNNBase,), "input_size"),
    ("sequence", (nn.MultiheadAttention,), "embed_dim"),
)


@dataclass(frozen=True)
class Layer:
    """What a layer says about its input.

    Args:
        kind: "words" (an embedding), "convolution", "norm" (channels behind the rows), "vectors" (a width at the
            end), "sequence" (the same, of each step), "rows" (the argument names rows of another one) or "pairs"
            (it has a row and a column for each of these).
        width: how many words, channels or numbers.
        kernel: a convolution's, whose length is its dimensions.
    """

    kind: str
    width: int
    name: str
    kernel: tuple[int, ...] = ()

    def described(self) -> str:
        """For a message, such as "stem (Conv2d of 3 channels)"."""
        of = {"words": "words", "vectors": "numbers", "sequence": "numbers"}.get(self.kind, "channels")
        place, _, kind = self.name.rpartition(" ")
        what = f"{kind} of {self.width} {of if self.width != 1 else of[:-1]}"
        return f"{place} ({what})" if place else what


@dataclass(frozen=True)
class Arrival:
    """Numbers of the shape ``sent`` came to a layer in the shape ``arrived``; ``counted``: they were floats, and
    arrived as integers."""

    layer: Layer
    sent: tuple[int, ...]
    arrived: tuple[int, ...]
    counted: bool = False

    @property
    def at(self) -> int:
        """Where the layer has its width."""
        return -1 if self.layer.kind in AT_END else 1

    @property
    def axis(self) -> int | None:
        """Which axis of what was sent that is; None where the width is made of others."""
        axes = range(1, len(self.sent))
        each_way = axes if self.at == 1 else reversed(axes)
        return next((axis for axis in each_way if self.sent[axis] == self.arrived[self.at]), None)


class _Seen(Exception):
    """The tensor has arrived: the rest of forward is not run."""


class _Watch(TorchFunctionMode):
    """Follows one tensor through torch's functions and the model's layers."""

    def __init__(self, model, tensor):
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.held = {_memory(each) for each in (*model.parameters(), *model.buffers())}
        self.sent = tensor
        self.marked = {id(tensor): tensor}  # the tensors too: the id of one that is gone may become another's
        self.arrival: Arrival | None = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if (tensor := self.first((args, kwargs))) is None:
            return func(*args, **kwargs)
        if layer := self.of_function(getattr(func, "__name__", ""), args, kwargs, tensor):
            self.arrive(layer, tensor)
        result = func(*args, **kwargs)
        for each in _tensors(result if result is not None else args[:1]):  # None: it was written into the first
            self.marked[id(each)] = each
        return result

    def entered(self, module, args, kwargs) -> None:
        """A hook of each layer."""
        tensor = self.first((args, kwargs))
        if tensor is not None and (layer := _of_module(module, self.names.get(module, ""))):
            self.arrive(layer, tensor)

    def first(self, values):
        """The first tensor in there that comes from the one that is followed."""
        return next((each for each in _tensors(values) if id(each) in self.marked), None)

    def of_function(self, name: str, args: tuple, kwargs: dict, tensor) -> Layer | None:
        """What a function of torch says that reads weights directly, or another argument by its rows."""
        every = [*args, *kwargs.values()]
        at = AT_INDEX.get(name)
        if at is not None and len(every) > at and any(each is tensor for each in _tensors([every[at]])):
            if not isinstance(every[0], torch.Tensor):
                return None
            is_table = _memory(every[0]) in self.held
            return Layer("words" if is_table else "rows", every[0].shape[0], "table" if is_table else "index")
        others = [each for each in every[1:] if isinstance(each, torch.Tensor) and id(each) not in self.marked]
        if every[0] is not tensor or not others or others[0].ndim < 2:
            return None
        weight, is_held = others[0], _memory(others[0]) in self.held
        if name in PRODUCTS:
            return Layer("vectors" if is_held else "pairs", weight.shape[-2], "product")
        if name in ("conv1d", "conv2d", "conv3d") and is_held:
            groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
            return Layer("convolution", weight.shape[1] * groups, f"F.{name}", tuple(weight.shape[2:]))
        if name in ("linear", "embedding") and is_held:
            axis = {"linear": -1, "embedding": 0}[name]
            return Layer({"linear": "vectors", "embedding": "words"}[name], weight.shape[axis], f"F.{name}")
        return None

    def arrive(self, layer: Layer, tensor) -> None:
        counted = self.sent.is_floating_point() and not tensor.is_floating_point()
        self.arrival = self.arrival or Arrival(layer, tuple(self.sent.shape), tuple(tensor.shape), counted)
        raise _Seen


def arrivals(model, name: str, others: dict[str, Any], alike: Sequence[str] = ()) -> list[Arrival]:
    """Where numbers of several shapes go, passed as this argument of forward.

    Args:
        others: what goes in as the other arguments.
        alike: those of them that get the same numbers.
    """
    seen = []
    for tensor in _sent(model):
        same = {other: tensor.clone() for other in alike}
        inputs = in_own_type(model, {name: tensor, **others, **same})
        watch = _Watch(model, inputs[name])
        with contextlib.ExitStack() as stack:
            for module in model.modules():
                with contextlib.suppress(Exception):  # a compiled module has no hooks
                    stack.callback(module.register_forward_pre_hook(watch.entered, with_kwargs=True).remove)
            with contextlib.suppress(Exception), torch.no_grad(), watch:  # of this shape; the others may go through
                model(**inputs)
        if watch.arrival is not None:
            seen.append(watch.arrival)
    return seen


def _sent(model) -> list:
    """Numbers in shapes of one to five axes, others of sizes that the configuration or a table has, and integers."""
    config = model.config
    channels, (height, width) = whole(first_field(config, *CHANNELS)), picture(config)
    shapes = [*SENT, *((ROWS, steps, 96) for steps in _stored(model))]
    if channels:  # forward may refuse others
        shapes += [(ROWS, channels, height, width), (ROWS, channels, length(config, SAMPLES))]
        shapes.append((ROWS, channels, frames(config), height, width))
    integers = [formula(list(shape), "ramp", 2) for shape in ((ROWS, 7), (ROWS,), (ROWS, 7, LETTERS))]
    return [formula(list(shape), "wave") for shape in shapes] + integers


def _memory(tensor) -> int:
    """Where a tensor's numbers lie, the same for its views: a weight is often turned before it is used."""
    try:
        return tensor.untyped_storage().data_ptr()
    except NotImplementedError:  # torch raises it: a sparse tensor lies in several storages, and is not followed
        return id(tensor)


def _tensors(values) -> list:
    """The tensors in nested lists, tuples and tables."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = tuple(values.values())
    return [each for value in values for each in _tensors(value)] if isinstance(values, (list, tuple)) else []


def _of_module(module, place: str) -> Layer | None:
    """What torch's own layers, and those derived from them, say; None for others."""
    for kind, classes, field in READ:
        width = getattr(module, field, None) if isinstance(module, classes) else None
        width = whole(width[-1] if isinstance(width, tuple) and width else width)
        if width:
            name = f"{place} {type(module).__name__}".strip()
            return Layer(kind, width, name, tuple(module.kernel_size) if kind == "convolution" else ())
    return None


def says(model, seen: Sequence[Arrival]) -> bool:
    """Whether something about the shape of an argument follows from where it went."""
    return bool(seen) and (seen[0].layer.kind in UNSHAPED or any(shapes(model, each) for each in seen))


def shapes(model, arrival: Arrival) -> list[list[int]]:
    """Shapes of the argument with which the layer gets what it reads, the likeliest first; [] where none follows."""
    layer, sent, arrived, config = arrival.layer, arrival.sent, arrival.arrived, model.config
    if layer.kind in UNSHAPED or (layer.kind == "convolution" and len(arrived) != len(layer.kernel) + 2):
        return []
    if len(arrived) < 2:
        return []
    at, width = arrival.at, arrival.axis
    if width is not None or arrived[at] == layer.width:
        likeliest = _sized(config, arrival, width, layer.width)
        steps = [axis for axis in range(1, len(sent)) if axis != width]
        # a table that is added to the steps has as many; and as many as were sent have come as far as here
        others = [*_stored(model), sent[steps[0]]] if len(steps) == 1 else []
        return [likeliest, *([*likeliest[: steps[0]], many, *likeliest[steps[0] + 1 :]] for many in others)]
    if len(sent) > 2 and arrived[at] == math.prod(sent[1:]):  # several axes were made one
        return _flattened(config, layer.width, sent)
    several, rest = divmod(arrived[at], sent[at]) if len(sent) > 1 else (0, 1)
    if several < 2 or rest:
        # what other arguments gave lies beside it
        beside = arrived[at] - sent[at] if len(sent) == len(arrived) else 0
        own = layer.width - beside
        return [_sized(config, arrival, at % len(sent), own)] if beside > 0 and own > 0 else []
    # several numbers are made of each, or each argument has a part of them: half, or all but a mask's one
    parts = [layer.width // several] * (layer.width % several == 0) + [layer.width // 2, layer.width - 1, 1, 3]
    parts = [size for size in dict.fromkeys((*parts, layer.width - layer.width // 2)) if 0 < size < layer.width]
    return [_sized(config, arrival, at % len(sent), size) for size in parts]


def _sized(config, arrival: Arrival, width: int | None, size: int) -> list[int]:
    """A shape with this size at the axis that has the layer's width, and sizes of the configuration elsewhere."""
    layer, sent, arrived = arrival.layer, arrival.sent, arrival.arrived
    rest = [axis for axis in range(1, len(sent)) if axis != width]
    if arrived[0] == math.prod(sent[:2]) and 1 in rest and len(rest) > 1:
        clip, rest = rest[:1], rest[1:]  # frames were made rows
    else:
        clip, rest = rest[:-2], rest[-2:]
    if len(rest) != 1:
        sizes = list(picture(config))[: len(rest)]
    elif width is None:  # steps, of which patches or frames are made
        sizes = [length(config, sent[rest[0]])]
    else:
        sizes = [length(config, SAMPLES if layer.kernel else LENGTH)]
    kernel = layer.kernel[-len(rest) :] if layer.kernel and rest else [1] * len(rest)
    by_axis = {axis: max(size, least) for axis, size, least in zip(rest, sizes, kernel, strict=True)}
    by_axis |= {axis: max(frames(config), *layer.kernel[:1], 1) for axis in clip}
    if width is not None:
        by_axis[width] = size
    return [ROWS, *(by_axis[axis] for axis in range(1, len(sent)))]


def _stored(model) -> list[int]:
    """Lengths of tables of positions, which are added to the steps of any row, and of squares over all steps."""
    sizes: list[int] = []
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.ndim == 3 and tensor.shape[0] == 1:
            sizes += [tensor.shape[1], tensor.shape[1] - 1]  # a class may have the first place
    sizes += [each.shape[0] for each in model.buffers() if each.ndim == 2 and each.shape[0] == each.shape[1]]
    return [size for size in dict.fromkeys(sizes) if 1 < size <= LARGEST][:MOST_STORED]


def _flattened(config, width: int, sent: tuple[int, ...]) -> list[list[int]]:
    """Pictures, or series of several channels, with as many numbers as a layer reads at once."""
    channels = dict.fromkeys([whole(first_field(config, *CHANNELS)) or 1, 1, 3])
    if len(sent) == 4:
        sides_of = [(each, math.isqrt(width // each)) for each in channels]
        return [[ROWS, each, side, side] for each, side in sides_of if each * side * side == width]
    if len(sent) == 3:
        return [[ROWS, width // each, each] for each in channels if width % each == 0]
    return []


def picture(config) -> tuple[int, int]:
    """Height and width of a picture."""
    pair = sides(first_field(config, *PICTURE))
    return (pair[0], pair[1]) if pair and max(pair) <= LARGEST else (SIDE, SIDE)


def frames(config) -> int:
    """How many pictures a clip has, or how deep a volume is."""
    return whole(first_field(config, *CLIP)) or FRAMES


def length(config, otherwise: int) -> int:
    """Of a series."""
    size = whole(first_field(config, *SERIES))
    return size if size and size <= LARGEST else otherwise
