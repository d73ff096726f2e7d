"""What a card's table tells of a model's sizes: what goes in, what comes out, FLOPs, and the stages of its picture.

The model is built without memory (meta device) wherever its forward runs there, so that a large one costs nothing.

Runs inside the fence (inside.py), in any transformers version: imports nothing of pinfold but its neighbours.
"""

from ..drawing import stages as picture_stages
from ..values import describe
from . import summary

NOT_TOLD = ("hidden_states", "attentions", "past_key_values", "cross_attentions")


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
        return picture_stages.stages(*arguments)
    except Exception:  # of a module's own attributes; a card without a picture is no reason to stop a push
        return {}


def _sizes(model, request: dict) -> dict:
    device = next(p.device for p in model.parameters())
    asked = {"batch": 1, "length": None, "image_size": None, "probe": request["probe"]}
    if request["pixels"]:
        asked["image_size"] = request["pixels"]
    try:
        _, inputs, seen = summary.passed(model, asked, device, [])
    except Exception:  # the folder's own refusal: the processor's size may be none of the model's
        if not request["pixels"]:
            raise
        _, inputs, seen = summary.passed(model, asked | {"image_size": None}, device, [])
    return {
        "inputs": {name: [str(tensor.dtype)[6:], list(tensor.shape)] for name, tensor in inputs.items()},
        "outputs": _shapes(seen["output"]),
        "flops": seen["flops"].get("", 0),
        "unknown": sorted(seen["unknown"]),
        "stages": _stages(model, seen, inputs),
    }


def _shapes(output) -> dict[str, list]:
    """Shapes of the tensors that are an output by themselves."""
    named = output.items() if isinstance(output, dict) else [("output", output)]
    found = {}
    for name, value in named:
        if name not in NOT_TOLD and hasattr(value, "shape"):
            found[name] = list(value.shape)
        elif name == "output" and isinstance(value, (list, tuple)):
            found |= {str(i): list(item.shape) for i, item in enumerate(value) if hasattr(item, "shape")}
    return found
