"""A model's loss and gradients on a probe, for labels that follow from its signature, configuration and logits."""

import inspect
import math

from ..probe.probes import call, evaluating, first_field, probe_inputs, same_number
from ..values import by_place, describe, sha256

IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index


def label_inputs(model, inputs: dict, outputs: dict, probe: str) -> dict | str:
    """Labels for one probe, as arguments of forward; or why none are known."""
    import torch

    parameters, config = inspect.signature(model.forward).parameters, model.config
    ids = inputs.get("decoder_input_ids", inputs.get(model.main_input_name, next(iter(inputs.values()))))
    ids = next((each for each in by_place({"": ids} | inputs).values() if isinstance(each, torch.Tensor)), None)
    if ids is None or not ids.ndim:
        return "forward takes no rows of tensors"
    batch = len(ids)
    if {"start_positions", "end_positions"} <= set(parameters):
        return {"start_positions": torch.arange(batch) % 2, "end_positions": torch.arange(batch) % 3 + 1}
    if "labels" not in parameters:
        return "forward takes no labels"
    logits = outputs.get(f"{probe}/logits")
    if logits is None:
        return "forward returns no logits"
    classes, shape = logits.shape[-1], tuple(logits.shape)
    if type(model).__name__.endswith("ForMultipleChoice"):
        return {"labels": torch.arange(batch) % classes}
    if len(shape) == 3 and not ids.is_floating_point() and shape[:2] == tuple(ids.shape):
        is_words = classes >= (first_field(config, "vocab_size") or math.inf)
        labels = ids.clone() if is_words else torch.arange(ids.numel()).reshape(ids.shape) % classes
        mask = inputs.get("attention_mask")
        if mask is not None and mask.shape == labels.shape:
            labels = labels.masked_fill(mask == 0, IGNORED)
        return {"labels": labels}
    if len(shape) == 1 or (len(shape) == 2 and shape[0] == batch):
        classes = 1 if len(shape) == 1 else classes
        kind = getattr(config, "problem_type", None) or (
            "regression" if classes == 1 else "single_label_classification"
        )
        several = torch.arange(batch * classes).reshape(batch, classes)
        if kind == "regression":
            return {"labels": (several / several.numel()).reshape(batch if classes == 1 else (batch, classes))}
        if kind == "multi_label_classification":
            return {"labels": (several % 2).float()}
        return {"labels": torch.arange(batch) % classes}
    return f"no labels are known for logits of {shape}"


def loss_and_gradients(model, own: dict, outputs: dict, many: int, again: bool = False) -> dict:
    """Loss and gradients of the first probe that ran, in evaluation mode (no dropout).

    Args:
        many: the number of parameters above which memory for gradients is not taken.
        again: the caller knows that it works, so that an exception is raised.

    Returns:
        {"loss", "gradients": name -> [sha256, norm], "none": names without gradient}, or {"skipped": why}.
    """
    import torch

    parameters = dict(model.named_parameters())
    if sum(p.numel() for p in parameters.values()) > many:
        return {"skipped": f"more than {many:,} parameters; gradients would double the memory"}
    probe = next(iter(outputs)).split("/")[0]
    inputs = probe_inputs(model, own)[probe]
    labels = label_inputs(model, inputs, outputs, probe)
    if isinstance(labels, str):
        return {"skipped": labels}
    model.zero_grad(set_to_none=True)
    try:
        with evaluating(model), torch.enable_grad():
            loss = _loss(call(model, {**inputs, **labels}))
            if loss is None:
                return {"skipped": "forward returns no loss for labels"}
            loss.backward()
    except Exception as error:
        if again:
            raise
        return {"skipped": f"forward with labels gave {describe(error)}"}
    gradients = {name: _hash_and_norm(p.grad) for name, p in parameters.items() if p.grad is not None}
    none = sorted(set(parameters) - set(gradients))
    model.zero_grad(set_to_none=True)
    return {"loss": float(loss.detach().double()), "gradients": gradients, "none": none}


def accumulates(model, own: dict, outputs: dict) -> str | None:
    """Why a Trainer would multiply this model's gradients, or None. Call it where ``loss_and_gradients`` gave some.

    transformers.Trainer takes a forward with **kwargs for one that divides by num_items_in_batch, unless the class
    says accepts_loss_kwargs = False, and does not divide by the accumulated steps itself then.
    """
    import torch

    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    accepts = getattr(model, "accepts_loss_kwargs", inspect.Parameter.VAR_KEYWORD in kinds)
    if not accepts:
        return None
    probe = next(iter(outputs)).split("/")[0]
    inputs = probe_inputs(model, own)[probe]
    labels = label_inputs(model, inputs, outputs, probe)
    with evaluating(model), torch.no_grad():
        once, twice = (float(_loss(call(model, {**inputs, **labels, "num_items_in_batch": n}))) for n in (10, 20))
    if math.isclose(once, 2 * twice, rel_tol=0.02, abs_tol=1e-6):
        return None
    return (
        f"{type(model).__name__}.forward takes **kwargs but neither uses num_items_in_batch nor sets "
        "accepts_loss_kwargs = False: gradients are multiplied by gradient_accumulation_steps. "
        f"Set accepts_loss_kwargs = False in the body of {type(model).__name__}."
    )


def _loss(output):
    import torch

    loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if loss is None and isinstance(output, tuple) and output and isinstance(output[0], torch.Tensor):
        loss = output[0]
    return loss if isinstance(loss, torch.Tensor) and loss.numel() == 1 and loss.is_floating_point() else None


def compare_losses(loaded: dict, expected: dict, renamed: bool = False) -> str | None:
    """The first difference between two answers of ``loss_and_gradients``, or None.

    Args:
        renamed: parameters may have other names in the release that loaded them; then gradients are compared by hash.
    """
    if renamed and set(loaded["gradients"]) != set(expected["gradients"]):
        loaded, expected = (
            {**each, "gradients": _by_hash(each), "none": len(each["none"])} for each in (loaded, expected)
        )
    if not same_number(loaded["loss"], expected["loss"]):
        return f"loss differs from the model in memory: {loaded['loss']:.9g} instead of {expected['loss']:.9g}"
    if loaded["none"] != expected["none"] or set(loaded["gradients"]) != set(expected["gradients"]):
        odd = sorted(set(loaded["gradients"]) ^ set(expected["gradients"]))
        return f"gradients that only one of the loaded model and the model in memory has: {', '.join(odd[:3])}"
    odd = [name for name, value in expected["gradients"].items() if loaded["gradients"][name][0] != value[0]]
    if odd:
        norms = f"norm {loaded['gradients'][odd[0]][1]:.6g} instead of {expected['gradients'][odd[0]][1]:.6g}"
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        return f"gradient of {odd[0]} differs from the model in memory: {norms}{more}"
    return None


def _by_hash(answer: dict) -> dict:
    """Gradients in the order of their hashes, without their names."""
    return {str(number): value for number, value in enumerate(sorted(answer["gradients"].values()))}


def _hash_and_norm(tensor) -> list:
    tensor = tensor.to_dense() if tensor.is_sparse else tensor
    # adding 0 makes one zero of two, which are the same number
    return [sha256(tensor + 0.0), float(tensor.double().norm())]
