"""What a model's forward and backward pass show, module by module: shapes, calls, FLOPs, memory, signals, gradients.

How it works:
- ``passing`` runs forward once in evaluation mode and needs no numbers, so that it works on the meta device as well.
- ``signals`` runs it again and looks at every output, and at the units behind ReLU-like functions.
- ``stepping`` runs forward in training mode, as an optimiser's step would, and counts what autograd keeps for
  backward; with numbers it also runs backward.

torch is imported only when a function is called.
"""

import contextlib
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

from ..values import by_place
from . import flops
from .flow import Flow

# Functions that pass nothing on, or next to nothing, for half of their inputs.
RECTIFIERS = {
    *("relu", "gelu", "silu", "leaky_relu", "elu", "celu"),
    *("hardtanh", "hardswish", "mish", "softplus", "threshold"),
}
NEGLIGIBLE = 1e-6  # of the largest output: what is closer to zero, or to each other, is the same to the next layer


def tensors(value) -> Iterator:
    """The tensors of an output, in order, whatever it is wrapped in."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def storage(tensor):
    """The memory behind a tensor; None where there is none of a known size."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse, or of a library's own kind
        return None


def held(model) -> set[int]:
    """The memory of parameters and buffers, which is there in any case."""
    memories = (storage(tensor) for tensor in (*model.parameters(), *model.buffers()))
    return {memory._cdata for memory in memories if memory is not None}


@contextlib.contextmanager
def mode(model, training: bool) -> Iterator[None]:
    """One mode for a while, with a fixed seed; each module gets its own back, and so does each buffer."""
    import torch

    modes = {module: module.training for module in model.modules()}
    buffers = [(b, b.detach().clone()) for b in model.buffers()] if training else []
    model.train(training)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        for module, before in modes.items():
            module.training = before
        with torch.no_grad():
            for buffer, before in buffers:  # batch norm's averages
                buffer.copy_(before)


def hooked(model, see: Callable) -> contextlib.ExitStack:
    """Meanwhile ``see(name, output)`` is called after each call of a module."""
    stack = contextlib.ExitStack()
    for name, module in model.named_modules():
        handle = module.register_forward_hook(lambda m, arguments, output, name=name: see(name, output))
        stack.callback(handle.remove)
    return stack


def passing(model, inputs: dict) -> dict:
    """One forward pass without gradients.

    Returns:
        "output" of the model; by module "calls", "shapes" of its first tensor (and how many more there are) and
        "flops"; "unknown" operators; "peak", the largest number of bytes that were alive at once beside the weights;
        "flow", which operator read what.
    """
    import torch

    calls: Counter = Counter()
    shapes: dict[str, list] = {}
    own: dict[str, int] = {}
    unknown: set[str] = set()
    living = Living(held(model))
    seen = Flow()
    for input_name, value in by_place(inputs).items():
        for tensor in tensors(value):
            living.add(tensor)
            seen.begins(input_name, tensor)

    def called(name: str, output) -> None:
        calls[name] += 1
        parts = list(tensors(output))
        if parts and name not in shapes:
            shapes[name] = [list(parts[0].shape), len(parts) - 1]

    with mode(model, False), torch.no_grad(), flops.exact(), flops.places(model) as stack:

        def ran(operator, arguments, keywords, result) -> None:
            if number := flops.cost(operator, arguments, keywords, result):
                own[stack[-1]] = own.get(stack[-1], 0) + number
            elif name := flops.unknown(operator):
                unknown.add(name)
            given = list(tensors(result))
            for tensor in given:
                living.add(tensor)
            seen.ran(stack[-1], tensors([arguments, keywords]), given)

        with hooked(model, called), flops.watching(ran):
            output = model(**inputs)
    names = [name for name, _ in model.named_modules()]
    return {
        "output": output, "calls": dict(calls), "shapes": shapes, "flops": flops.summed(own, names),
        "unknown": sorted(unknown), "peak": living.peak, "flow": seen,
    }  # fmt: skip


class Living:
    """How much memory is in use, as far as tensors were shown to it."""

    def __init__(self, known: set[int]):
        self.known, self.now, self.peak, self.references = set(known), 0, 0, {}

    def add(self, tensor) -> None:
        memory = storage(tensor)
        if memory is None or memory._cdata in self.known:
            return
        key, size = memory._cdata, memory.nbytes()
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        self.references[key] = weakref.ref(memory, lambda _: self.remove(key, size))

    def remove(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.references.pop(key, None)
        self.now -= size


def signals(model, inputs: dict) -> tuple[dict, list]:
    """What the numbers look like.

    Returns:
        By module {"mean", "std", "max", "zeros" (a share), "nonfinite" (a number)} over all of its calls; and for each
        ReLU-like function that ran {"module", "function", "units", "zero", "constant"}, where a unit is a feature or
        a channel, and has been zero or the same for all rows and positions.
    """
    import torch

    sums: dict[str, list] = {}
    rectified, width = [], [None, 0]

    def called(name: str, output) -> None:
        first = next(tensors(output), None)
        if first is not None and first.is_floating_point() and first.numel():
            before = sums.get(name)
            sums[name] = _merged(before, _moments(first)) if before else _moments(first)

    with mode(model, False), torch.no_grad(), flops.places(model) as stack:

        def ran(operator, arguments, keywords, result) -> None:
            name = flops.name_of(operator).removeprefix("aten::").rstrip("_")
            if name in ("convolution", "_convolution"):
                width[:] = 1, result.shape[1]
            elif flops.name_of(operator) in flops.COSTS and isinstance(result, torch.Tensor):
                width[:] = -1, result.shape[-1]
            elif name in RECTIFIERS and (units := _units(result, *width)):
                rectified.append({"module": stack[-1], "function": name, **units})

        with hooked(model, called), flops.watching(ran):
            model(**inputs)
    by_module = {}
    for name, (number, mean, squares, largest, zeros, nonfinite) in sums.items():
        std = math.sqrt(squares / number) if number else None
        by_module[name] = {
            "mean": mean if number else None, "std": std, "max": largest if number else None,
            "zeros": zeros / (number + nonfinite), "nonfinite": nonfinite,
        }  # fmt: skip
    return by_module, rectified


def _moments(tensor) -> list:
    """Number of finite values, their mean, sum of squares around it and largest size; zeros; values not finite."""
    import torch

    values = tensor.detach().reshape(-1)
    values = values if values.dtype == torch.float64 else values.float()
    good = torch.isfinite(values)
    nonfinite = int((~good).sum())
    values = values[good] if nonfinite else values
    if not values.numel():
        return [0, 0.0, 0.0, 0.0, 0, nonfinite]
    variance, mean = torch.var_mean(values, correction=0)
    number, zeros = values.numel(), int((values == 0).sum())
    return [number, float(mean), float(variance) * number, float(values.abs().max()), zeros, nonfinite]


def _merged(a: list, b: list) -> list:
    """Moments of two sets of values together (Chan et al. 1979)."""
    number = a[0] + b[0]
    apart = b[1] - a[1]
    mean = a[1] + apart * b[0] / number if number else 0.0
    squares = a[2] + b[2] + (apart * apart * a[0] * b[0] / number if number else 0.0)
    return [number, mean, squares, max(a[3], b[3]), a[4] + b[4], a[5] + b[5]]


def _units(result, axis: int | None, width: int) -> dict | None:
    """Units that say nothing. They lie on the axis that the last product or convolution has put its outputs on."""
    import torch

    if result.dim() < 2 or not result.is_floating_point() or not result.numel():
        return None
    axis = axis if axis is not None and result.shape[axis] == width else -1
    rows = result.detach().movedim(axis, -1).flatten(0, -2)  # (rows and positions, units)
    if len(rows) < 2:  # nothing can differ
        return None
    low, high = rows.amin(0), rows.amax(0)
    least = NEGLIGIBLE * float(rows.abs().max())
    zero = torch.maximum(low.abs(), high.abs()) <= least
    constant = (high - low <= least) & ~zero
    return {"units": rows.shape[1], "zero": int(zero.sum()), "constant": int(constant.sum())}


def stepping(model, inputs: dict, labels: dict, backward: bool) -> dict:
    """Forward in training mode with gradients, and backward.

    Args:
        labels: arguments of forward with which it returns a loss; without any, every output is weighted by a wave.

    Returns:
        "saved": by module, bytes that autograd keeps for backward and that are neither parameters nor buffers, each
        memory once; "loss"; "gradients": by parameter their norm, None where there is none.
    """
    import torch

    own: dict[str, int] = {}
    skipped = held(model)
    alive: dict = {}

    def pack(tensor):
        memory = storage(tensor)
        if memory is not None and memory._cdata not in skipped and memory._cdata not in alive:
            alive[memory._cdata] = memory  # until the end, so that no other takes its place
            own[stack[-1]] = own.get(stack[-1], 0) + memory.nbytes()
        return tensor

    model.zero_grad(set_to_none=True)
    with mode(model, True), torch.enable_grad(), flops.exact(), flops.places(model) as stack:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = _loss(model(**inputs, **labels), bool(labels))
        if backward and loss.requires_grad:
            loss.backward()
    names = [name for name, _ in model.named_modules()]
    step = {"saved": flops.summed(own, names), "gradients": {}, "loss": None}
    if backward:
        step["loss"] = float(loss.detach())
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            if gradient is not None:
                gradient = gradient.coalesce().values() if gradient.is_sparse else gradient
                gradient = float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
            step["gradients"][name] = gradient
    model.zero_grad(set_to_none=True)
    return step


def _loss(output, labelled: bool):
    """The model's own loss, or the outputs weighted by a wave: a plain sum of normalised outputs has no slope."""
    import torch

    if labelled:
        loss = output.get("loss") if isinstance(output, dict) else next(tensors(output), None)
        if loss is None or loss.numel() != 1:
            raise ValueError("forward returns no loss for labels")
        return loss
    total = 0
    for tensor in tensors(output):
        if tensor.is_floating_point() and tensor.requires_grad:
            wave = torch.arange(tensor.numel(), device=tensor.device, dtype=torch.float32).sin().reshape(tensor.shape)
            total = total + (tensor.float() * wave).mean()
    if isinstance(total, int):
        raise ValueError("forward returns nothing that has a gradient")
    return total
