"""A tiny model of a class, run once, and the loss and gradients that it gives for labels."""

import inspect

from ..values import clone, describe_with_place
from .config import shrink
from .inputs import inputs_for
from .labels import labelled

LARGEST = 60_000_000  # parameters of a tiny model; above, the next level would take long, and is taken only if forced


class CannotRun(ValueError):
    """No tiny model of a class runs; its cause is what the class's own code raised at the first level."""


def build(cls, config, seed: int = 0):
    import torch

    torch.manual_seed(seed)
    model = cls(config).eval()
    # buffers and parameters that are filled elsewhere would be whatever was in memory
    for tensor in model.parameters():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            torch.nn.init.normal_(tensor, std=0.02)
    return model


def count_parameters(cls, config) -> int:
    import torch

    with torch.device("meta"):
        return sum(p.numel() for p in cls(config).parameters())


def tiny_model(cls, levels, seed: int = 0, defaults=None):
    """(model, inputs, outputs, level) of the first level at which the class is built and runs.

    Raises:
        CannotRun: none; the first level's reason.
    """
    import torch

    reason, cause = "", None
    for level in levels:
        try:
            config = shrink(defaults or cls.config_class(), level)
            if level and count_parameters(cls, config) > LARGEST * (level + 1):
                raise ValueError("its smallest configuration is too large")
            model = build(cls, config, seed)
            inputs = inputs_for(model, seed)
            torch.manual_seed(seed)
            with torch.no_grad():
                outputs = model(**clone(inputs))
            return model, inputs, outputs, level
        except Exception as error:
            if cause is None:
                reason = describe_with_place(error)
                cause = (error.__cause__ or error).with_traceback(None)  # without frames, which would hold the model
    raise CannotRun(reason) from cause


def run_loss(model, inputs: dict, outputs, seed: int = 0):
    """(loss, gradients by name, labelled inputs), or None where the class has no loss that these labels reach."""
    return first_loss(model, labelled(model, inputs, outputs, seed), seed)


def first_loss(model, choices, seed: int = 0):
    """As run_loss, of the first of these labelled inputs that gives a loss."""
    import torch

    for labels in choices:
        try:
            torch.manual_seed(seed)
            model.zero_grad(set_to_none=True)
            outputs = model(**clone(labels))
            loss = getattr(outputs, "loss", None)
            if loss is None and isinstance(outputs, dict):
                loss = outputs.get("loss")
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                continue
            if loss.requires_grad:
                loss.sum().backward()
            grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            return loss.detach(), grads, labels
        except Exception:
            continue
    return None


def takes_labels(cls) -> bool:
    return bool(
        {"labels", "start_positions", "mask_labels", "return_loss"} & set(inspect.signature(cls.forward).parameters)
    )
