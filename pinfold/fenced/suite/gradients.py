"""Gradients: the same with checkpointing, none where a weight is frozen, and enough of them to learn."""

import contextlib

from ..values import by_place
from . import outputs
from .subject import CheckFailed, NotApplicable, Subject, loss_of

SMALL = 0.1  # of the first loss: what a model that can learn reaches on two rows
STEPS = 60
MANY = 32  # numbers of a row that are compared with
RATES = (1e-2, 3e-3, 5e-2)


def gradients(subject: Subject, model) -> tuple:
    """The objective and every gradient by name, in training mode."""
    model.train()
    model.zero_grad(set_to_none=True)
    value = subject.objective(model)
    if not value.requires_grad:
        raise CheckFailed("the loss has no gradient; compute it with torch, from the outputs")
    value.backward()
    grads = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
    return value.detach(), grads, {n: b.detach().clone() for n, b in model.named_buffers()}


def checkpointing(subject: Subject) -> str:
    """Fails when gradient checkpointing, which saves memory, trains another model."""
    if not getattr(subject.cls, "supports_gradient_checkpointing", False):
        raise NotApplicable(
            "supports_gradient_checkpointing is not set, so Trainer refuses gradient_checkpointing=True"
        )
    said, worst = [], None
    for reentrant in (False, True):
        plain = gradients(subject, subject.model())
        model, calls = subject.model(), []
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        for module in model.modules():
            if hasattr(module, "_gradient_checkpointing_func"):
                module._gradient_checkpointing_func = counting(module._gradient_checkpointing_func, calls)
        if reentrant and subject.is_text():  # as Trainer does: a block below which nothing is trained gets no gradient
            with contextlib.suppress(NotImplementedError):  # of classes that name no embeddings
                model.enable_input_require_grads()
        checkpointed = gradients(subject, model)
        how = f"with gradient checkpointing (use_reentrant={reentrant})"
        if not calls:
            raise CheckFailed(
                "gradient_checkpointing_enable() checkpoints no layer; call _gradient_checkpointing_func"
            )
        if lost := sorted(set(plain[1]) - set(checkpointed[1])):
            raise CheckFailed(
                f"{how} no gradient for {outputs.listed(lost)}; pass every tensor that needs one by position"
            )
        # a recomputed block does the same operations in the same order: on one device nothing may differ
        for kind, a, b in (("loss", {"": checkpointed[0]}, {"": plain[0]}), ("gradient", checkpointed[1], plain[1])):
            if line := outputs.difference(a, b):
                if outputs.difference(a, b, subject.rounding):
                    raise CheckFailed(
                        f"{how} the {kind} of {line.strip()}; a block must compute the same when run again"
                    )
                worst = (
                    f"use_reentrant={reentrant}: not bit-equal, within {subject.rounding:g} (sums in another order)"
                )
        if line := outputs.difference(checkpointed[2], plain[2], subject.rounding):
            raise CheckFailed(f"{how} the buffer {line}; running statistics are counted twice")
        said.append(f"{len(checkpointed[1])} gradients of {len(calls)} checkpoints")
    return worst or said[0]


def counting(function, calls: list):
    def count(*args, **kwargs):
        calls.append(1)
        return function(*args, **kwargs)

    return count


def every_weight_trained(subject: Subject) -> str:
    """Fails when a layer gets no gradient, so that fine-tuning never reaches it."""
    if subject.cls is not subject.classes.get("AutoModel"):
        subject.labelled()  # without a loss, nothing says which outputs of a head matter; of a base all do
    model = subject.model()
    _, grads, _ = gradients(subject, model)
    dead = [n for n, p in model.named_parameters() if p.requires_grad and n not in grads]
    unused = {n for n in dead if n.split(".")[0] in ("pooler",) or ".pooler." in n}  # a base's pooler, in some heads
    inner = f"{subject.cls.base_model_prefix}."  # what a head leaves alone of its base is seen when the base is asked
    if heads := [n for n in dead if n not in unused and not n.startswith(inner)]:
        raise CheckFailed(
            f"{outputs.listed(heads)} gets no gradient from the loss; use it, or leave it out of the class"
        )
    if not grads:
        raise CheckFailed("no weight gets a gradient from the loss")
    rest = f"; without: {outputs.listed(dead)}" if dead else ""
    return f"{len(grads)} gradients{rest}"


def frozen_stays(subject: Subject) -> str:
    """Fails when weights that were frozen for fine-tuning are trained all the same."""
    import torch

    model = subject.model()
    by_class = {n for n, p in subject.fresh().named_parameters() if not p.requires_grad}
    names = [n for n, _ in model.named_parameters()]
    for turn in (names[::2], names[1::2]):
        model = subject.model()
        for name, parameter in model.named_parameters():
            if name in turn and len(turn) < len(names):
                parameter.requires_grad_(False)
        held = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            value = subject.objective(model)
            flipped = sorted(n for n in held if model.get_parameter(n).requires_grad)
            if flipped:
                who = "the class freezes" if flipped[0] in by_class else "the user froze"
                raise CheckFailed(f"forward sets requires_grad back on for {flipped[0]}, which {who}; leave it alone")
            optimizer.zero_grad()
            if value.requires_grad:
                value.backward()
            if graded := sorted(n for n in held if model.get_parameter(n).grad is not None):
                raise CheckFailed(f"{outputs.listed(graded)} is frozen and gets a gradient")
            optimizer.step()
        for name, tensor in held.items():
            if line := outputs.apart(model.get_parameter(name), tensor):
                raise CheckFailed(f"{name} is frozen, and {line} after two training steps; something writes to it")
    return f"{len(names)} weights, half of them frozen at a time" + (
        f"; {len(by_class)} by the class" if by_class else ""
    )


def learns(subject: Subject) -> str:
    """Fails when training runs, and the model learns nothing."""
    import torch

    labelled, curve, fell = subject.labelled(), [], 0.0
    for rate in RATES:
        model = subject.model().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
        start = last = None
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.manual_seed(0)
            loss = loss_of(model(**subject.on_device(labelled)))
            loss.backward()
            optimizer.step()
            last = loss.item()
            if start is None:
                start = last
                continue
            if start - last > (1 - SMALL) * abs(start) or 0 <= last < 1e-3:
                return f"loss from {start:.3g} to {last:.3g} at a rate of {rate:g}"
        curve.append(f"{start:.3g} to {last:.3g} at {rate:g}")
        fell = max(fell, start - last)
    if fell > 0 and has_drawn_target(labelled, subject):
        raise NotApplicable(
            f"its labels are pictures, sounds or noise, of which {STEPS} steps need not learn all: loss {curve[0]}"
        )
    raise CheckFailed(f"two rows cannot be learnt by heart in {STEPS} steps: loss {'; '.join(curve)}; see the loss")


def has_drawn_target(labelled: dict, subject: Subject) -> bool:
    """Whether the loss compares with as many numbers as a picture or a sound has, in a class that gives no logits."""
    targets = [v for n, v in by_place(labelled).items() if n.partition(".")[0] not in subject.inputs]
    is_large = any(getattr(v, "is_floating_point", bool)() and v[:1].numel() > MANY for v in targets)
    return is_large and not any(n.startswith("logits") for n in subject.run(subject.model()))
