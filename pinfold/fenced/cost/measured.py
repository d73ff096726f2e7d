"""What a card's table says of a model's sizes: what goes in, what comes out, FLOPs, and the stages of its picture.

The model is built without memory (meta device) wherever its forward runs there, so that a large one costs nothing.
"""

from ..drawing.stages import stages
from ..probe import declared
from ..probe.caches import PAIRS
from ..values import CACHES, by_place, describe, flat
from . import summary

LEFT_OUT = ("hidden_states", "attentions", "cross_attentions", *CACHES)


def measured(cls, config, request: dict, model=None) -> dict:
    """Sizes of one row through a model.

    Args:
        request: "dtype" of its numbers, the folder's own "probe", "pixels" of its processor (None where unknown).
        model: with numbers, taken where the forward cannot run on the meta device.

    Returns:
        "inputs": name -> [dtype, shape]; "outputs": name -> shape; "flops"; "unknown" operators, not in that number;
        "stages", what a picture is drawn from. Where it does not run, "why", and "stages" without shapes.
    """
    blank, why = summary.on_meta(cls, config, request["dtype"])
    built = [each for each in (blank, model) if each is not None]
    for each in built:
        try:
            return _sizes(each, request)
        except Exception as error:  # of the folder's code
            why = describe(error)
    return {"why": why, "stages": _stages(built[0]) if built else {}}


def _stages(*arguments) -> dict:
    try:
        return stages(*arguments)
    except Exception:  # any attribute may raise; a missing picture must not stop a push
        return {}


def _sizes(model, request: dict) -> dict:
    device = next(p.device for p in model.parameters())
    one_row = not request["probe"] or declared.is_resizable(request["probe"])
    asked = {"batch": 1 if one_row else None, "length": None, "image_size": None, "probe": request["probe"]}
    if request["pixels"]:
        asked["image_size"] = request["pixels"]
    try:
        _, inputs, seen = summary.passed(model, asked, device, [])
    except Exception:  # the folder's own refusal: the processor's size may be none of the model's
        if not request["pixels"]:
            raise
        _, inputs, seen = summary.passed(model, asked | {"image_size": None}, device, [])
    inputs = {name: tensor for name, tensor in by_place(inputs).items() if hasattr(tensor, "dtype")}
    return {
        "inputs": {name: [str(tensor.dtype)[6:], list(tensor.shape)] for name, tensor in inputs.items()},
        "outputs": _shapes(seen["output"]),
        "flops": seen["flops"].get("", 0),
        "unknown": sorted(seen["unknown"]),
        "stages": _stages(model, seen, inputs),
    }


def _shapes(output) -> dict[str, list]:
    """Shapes of the tensors that are an output; "logits.click" where a dict or a list of them is one."""
    tensors = flat(output, LEFT_OUT)
    return {name: list(tensor.shape) for name, tensor in tensors.items() if not PAIRS.fullmatch(name)}
