"""transformers.Trainer with the class, as a user runs it on one device."""

import contextlib

from ..values import clone
from . import outputs
from .subject import Failed, Left, Subject

# One backward pass or four add the same numbers in another order, and Trainer divides by a rounded count.
ACCUMULATED = 1e-3


def trained(it: Subject, model, rows: list, batch: int, accumulate: int) -> dict:
    """How the weights change in one step of plain gradient descent at a rate of 1: the gradients."""
    import torch
    import transformers

    try:
        import accelerate  # noqa: F401 (Trainer needs it)
    except ImportError:
        raise Left("accelerate is not installed: pip install accelerate") from None
    options = {
        "output_dir": it.scratch(), "per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulate,
        "max_steps": 1, "learning_rate": 1.0, "optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0.0,
        "report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True,
        "dataloader_pin_memory": False, "remove_unused_columns": False, "use_cpu": it.device == "cpu",
    }  # fmt: skip
    before = {n: p.detach().cpu().clone() for n, p in model.named_parameters()}
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(**options),
        train_dataset=rows,
        data_collator=lambda given: {n: torch.stack([row[n] for row in given]) for n in given[0]},
    )
    with contextlib.redirect_stdout(None):
        trainer.train()
    return {n: before[n] - p.detach().cpu() for n, p in model.named_parameters()}


def rows_of(it: Subject) -> list:
    """Four labelled rows, two and two the same in words.

    With labels for tokens some rows have fewer, unless the class says accepts_loss_kwargs = False: then Trainer takes
    the mean of the batches' means, which is that of all tokens only where rows have as many.
    """
    import torch

    labelled = it.labelled()
    tensors = {n: v for n, v in labelled.items() if isinstance(v, torch.Tensor) and v.dim() and len(v) == 2}
    if len(tensors) < len(labelled) or not {"labels", "start_positions"} & set(tensors):
        raise Left("its labelled inputs are no batch of two rows")
    rows = [{n: v[i % 2].clone() for n, v in tensors.items()} for i in range(4)]
    for i, row in enumerate(rows):
        labels = row.get("labels")
        if (
            labels is not None
            and counts_tokens(it)
            and labels.dim() == 1
            and not labels.is_floating_point()
            and len(labels) > 4
        ):
            row["labels"][len(labels) - 2 * i :] = -100
    return rows


def counts_tokens(it: Subject) -> bool:
    """Whether Trainer tells the class how many labels a step has: it asks the signature in the same way."""
    return getattr(it.cls, "accepts_loss_kwargs", it.takes_keywords)


def model_for(it: Subject):
    import torch

    config = it.with_padding()[0] if it.is_text() else it.configuration()
    model = it.model(config)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):  # one that no field sets to 0
            module.p = 0.0
    return model


def trainer_step(it: Subject) -> str:
    """Without it the model cannot be fine-tuned with transformers.Trainer."""
    rows = rows_of(it)
    model = model_for(it)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    found = trained(it, model, rows, 4, 1)
    if bad := outputs.infinite(found):
        raise Failed(f"after one step of Trainer {bad} is not finite; see the loss")
    changed = [n for n, t in found.items() if t.abs().max() > 0]
    if not changed:
        raise Failed("one step of Trainer changes no weight; see that the output begins with the loss")
    if wrong := sorted(frozen & set(changed)):
        raise Failed(f"one step of Trainer changes {wrong[0]}, which the class freezes")
    return f"{len(changed)} of {len(found)} weights changed"


def accumulation(it: Subject) -> str:
    """Without it gradient accumulation trains with gradients that are as many times too large."""
    from torch import nn

    rows = rows_of(it)
    model = model_for(it)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        return _accumulates_in_evaluation(it, rows)
    once, four = trained(it, model, rows, 4, 1), trained(it, model_for(it), rows, 1, 4)
    return compared(once, four)


def compared(once: dict, four: dict) -> str:
    if line := outputs.difference(four, once, ACCUMULATED):
        ratio = sum(t.double().norm() for t in four.values()) / sum(t.double().norm() for t in once.values())
        raise Failed(
            f"four batches of 1 accumulated give {ratio:.3g} times the gradient of one batch of 4 ({line}); divide "
            "by num_items_in_batch, or set accepts_loss_kwargs = False"
        )
    return f"{len(once)} gradients, 1 x 4 against 4 x 1"


def _accumulates_in_evaluation(it: Subject, rows: list) -> str:
    """Batch norm sees other batches when they are split, so it is held at its running statistics."""
    from torch import nn

    def held():
        model = model_for(it)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
                module.train = lambda mode=True, module=module: module
        return model

    return compared(trained(it, held(), clone(rows), 4, 1), trained(it, held(), clone(rows), 1, 4)) + (
        ", batch norm held"
    )
