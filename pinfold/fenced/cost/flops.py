"""Floating-point operations of one forward pass, module by module, counted as the operators run.

The convention:
- One multiply-add is 2 FLOPs. Counted are matrix products, convolutions (also transposed and grouped), attention and
  the LSTM's gates; a GRU or RNN is counted through the products that torch takes it apart into.
- Attention counts its full score matrix, 2 * heads * queries * keys * (width of keys + width of values) for each row
  of the batch: a mask, causal or not, saves nothing here, and grouped heads count once for each head of the queries.
- A packed sequence counts its real steps only; embeddings, which only look up, count 0.
- Not counted: additions of a bias, normalisation, activations, softmax, pooling, interpolation and other work that
  grows with the number of elements only; Fourier transforms; operators of other libraries (``unknown`` names them).

On the meta device nothing is computed and no memory taken, and the numbers are the same.

Why not torch.utils.flop_counter.FlopCounterMode: it gives a module that has two parents the name under the one that is
called last, and leaves out half of the operators below (vectors, quantised and fused products, attention on a CPU, the
LSTM). Operators have to be watched here in any case, for memory and dead units (observe.py).

torch is imported only when a function is called.
"""

import contextlib
import math
from collections.abc import Callable, Iterator


def count(model, inputs: dict) -> dict[str, int]:
    """FLOPs of ``model(**inputs)`` -> name of a module -> FLOPs of all that runs inside of it.

    "" is the model itself. A module that several others share is counted, with all its calls, under its first name;
    one that is called from outside of its parent still counts for its parent by name.

    Args:
        model: a torch.nn.Module, on any device; on meta the inputs have to be there as well.
        inputs: arguments of forward, by name.
    """
    import torch

    own: dict[str, int] = {}
    with torch.no_grad(), exact(), places(model) as stack, watching(_adding(own, stack)):
        model(**inputs)
    return summed(own, [name for name, _ in model.named_modules()])


def _adding(own: dict[str, int], stack: list[str]) -> Callable:
    def add(operator, arguments, keywords, result) -> None:
        if number := cost(operator, arguments, keywords, result):
            own[stack[-1]] = own.get(stack[-1], 0) + number

    return add


def summed(own: dict[str, int], names: list[str]) -> dict[str, int]:
    """FLOPs of each module alone -> with all modules below it."""
    totals = dict.fromkeys(["", *names], 0)
    for name, number in own.items():
        parts = name.split(".") if name else []
        for depth in range(len(parts) + 1):
            above = ".".join(parts[:depth])
            totals[above] = totals.get(above, 0) + number
    return totals


@contextlib.contextmanager
def places(model) -> Iterator[list[str]]:
    """The names of the modules that are running, outermost first; "" is below all of them."""
    stack, handles = [""], []

    def enter(name: str) -> Callable:
        return lambda module, arguments: stack.append(name)

    def leave(module, arguments, result) -> None:
        stack.pop()

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(enter(name)))
            handles.append(module.register_forward_hook(leave, always_call=True))
        yield stack
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Meanwhile a model runs with the operators that it has on a CPU, in parts that can be counted.

    torch's transformer layers are otherwise one operator that shows nothing; and on the meta device attention would
    be the unfused one, with the same FLOPs, but with a matrix of scores to be kept.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    attention = torch.nn.functional.scaled_dot_product_attention

    class Fused(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is attention and args and args[0].is_meta:
                return _fused(attention, *args, **(kwargs or {}))
            return func(*args, **(kwargs or {}))

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with Fused():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _fused(attention: Callable, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, **rest):
    """Attention on the meta device, by the operator that a CPU takes where it can."""
    import torch

    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    widths = {tensor.shape[-1] for tensor in (query, key, value)}
    learned = attn_mask is not None and attn_mask.requires_grad
    if fused is None or dropout_p or query.dim() != 4 or len(widths) > 1 or learned:
        return attention(query, key, value, attn_mask, dropout_p, is_causal, **rest)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, float("-inf"))
    return fused(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=rest.get("scale"))[0]


@contextlib.contextmanager
def watching(see: Callable) -> Iterator[None]:
    """Meanwhile ``see(operator, arguments, keywords, result)`` is called after each operator that runs."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if func is not torch.ops.prim.device.default and name_of(func) not in COSTS:
                with self:  # under inference_mode some operators arrive whole
                    result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            result = func(*args, **kwargs)
            see(func, args, kwargs, result)
            return result

    with Watch():
        yield


def name_of(operator) -> str:
    """ "aten::mm" for torch.ops.aten.mm.default and its other overloads."""
    return operator._schema.name


def cost(operator, arguments: tuple, keywords: dict, result) -> int:
    """FLOPs of one operator; 0 for what is not counted.

    Args:
        arguments: by position, ``keywords`` by name.
    """
    formula = COSTS.get(name_of(operator))
    if formula is None:
        return 0
    names = [argument.name for argument in operator._schema.arguments]
    return formula({**dict(zip(names, arguments, strict=False)), **keywords}, result)


def unknown(operator) -> str | None:
    """The name of an operator that computes more than an element at a time, and has no formula here."""
    name = name_of(operator)
    if name in COSTS or name.split("::")[0] in ("prim", "prims"):
        return None
    return name if not name.startswith("aten::") or name.startswith(UNCOUNTED) else None


UNCOUNTED = (
    "aten::_fft_", "aten::_transformer_encoder_layer_fwd", "aten::_native_multi_head_attention",
    "aten::_cdist_forward", "aten::_cudnn_rnn", "aten::linalg_", "aten::_linalg_", "aten::_nested_tensor",
    "aten::_flash_attention_forward", "aten::_efficient_attention_forward",
)  # fmt: skip


def _product(left: str, right: str) -> Callable:
    """Matrices (..., n, k) and (..., k, m); a vector is a matrix with one column, or with one row."""

    def formula(arguments: dict, result) -> int:
        a, b = arguments[left], arguments[right]
        columns = b.shape[-1] if b.dim() > 1 else 1
        return 2 * a.numel() * columns

    return formula


def _transposed_product(arguments: dict, result) -> int:
    return 2 * arguments["input"].numel() * arguments["weight"].shape[0]


def _grouped(arguments: dict, result) -> int:
    """Rows that are sorted by expert: each meets the matrix of one expert only."""
    a, b = arguments["self"], arguments["mat2"]
    if a.dim() == 3 and b.dim() == 2:  # the columns belong to experts
        return 2 * a.shape[1] * a.shape[2] * b.shape[1]
    return 2 * a.numel() * b.shape[-1]


def _convolution(arguments: dict, result) -> int:
    """Each output value takes one multiply-add per weight that feeds it; transposed, each input value does."""
    weight = arguments["weight"]  # (out, in / groups, *kernel), transposed (in, out / groups, *kernel)
    values = arguments["input"] if arguments.get("transposed") else result
    return 2 * values.numel() * math.prod(weight.shape[1:])


def _attention(arguments: dict, result) -> int:
    """Scores and the weighted sum, over the full matrix: queries (batch, heads, queries, width)."""
    query, key, value = arguments["query"], arguments["key"], arguments["value"]
    return 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _recurrent(arguments: dict, result) -> int:
    """One direction of one layer: input (steps, batch, width), its weights (gates, width) and (gates, hidden)."""
    steps = arguments["input"].shape[:-1].numel()
    return 2 * steps * (arguments["weight0"].numel() + arguments["weight1"].numel())


def _bilinear(arguments: dict, result) -> int:
    """nn.Bilinear: rows (..., left) times a weight (out, left, right), and what comes out of it times (..., right)."""
    weight, left = arguments["i2"], arguments["i2"].shape[-2]
    return 2 * arguments["i1"].numel() // left * (weight.numel() + weight.numel() // left)


COSTS = {
    "aten::mm": _product("self", "mat2"),
    "aten::addmm": _product("mat1", "mat2"),
    "aten::_addmm_activation": _product("mat1", "mat2"),
    "aten::bmm": _product("self", "mat2"),
    "aten::baddbmm": _product("batch1", "batch2"),
    "aten::addbmm": _product("batch1", "batch2"),
    "aten::mv": _product("self", "vec"),
    "aten::addmv": _product("mat", "vec"),
    "aten::dot": _product("self", "tensor"),
    "aten::vdot": _product("self", "other"),
    "aten::_int_mm": _product("self", "mat2"),
    "aten::_scaled_mm": _product("self", "mat2"),
    "aten::mkldnn_linear": _transposed_product,
    "aten::_grouped_mm": _grouped,
    "aten::_trilinear": _bilinear,
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::convolution_overrideable": _convolution,
    "aten::mkldnn_rnn_layer": _recurrent,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
}
