"""transformers.Trainer with the class, as a user runs it on one device."""

import contextlib

from ..values import by_place, clone, describe, mapped
from . import outputs
from .subject import CheckFailed, NotApplicable, Subject

# One backward pass or four add the same numbers in another order, and Trainer divides by a rounded count.
ACCUMULATED = 1e-3


def trained(subject: Subject, model, rows: list, batch: int, accumulate: int) -> dict:
    """How the weights change in one step of plain gradient descent at a rate of 1: the gradients."""
    import torch
    import transformers

    try:
        import accelerate  # noqa: F401 (Trainer needs it)
    except ImportError:
        raise NotApplicable("accelerate is not installed: pip install accelerate") from None
    options = {
        "output_dir": subject.scratch(), "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulate, "max_steps": 1, "learning_rate": 1.0,
        "optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0.0,
        "report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True,
        "dataloader_pin_memory": False, "remove_unused_columns": False, "use_cpu": subject.device == "cpu",
    }  # fmt: skip
    before = {n: p.detach().cpu().clone() for n, p in model.named_parameters()}
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(**options),
        train_dataset=rows,
        data_collator=torch.utils.data.default_collate,
    )
    try:
        with contextlib.redirect_stdout(None):
            trainer.train()
    except AttributeError as error:
        main = getattr(subject.cls, "main_input_name", None)
        if isinstance(rows[0].get(main), torch.Tensor) or main not in rows[0]:
            raise
        raise CheckFailed(
            f"Trainer counts the numbers of main_input_name, {main!r}, which is a {type(rows[0][main]).__name__} here "
            f"({describe(error)}); set main_input_name to an argument that is a tensor"
        ) from None
    return {n: before[n] - p.detach().cpu() for n, p in model.named_parameters()}


def rows_of(subject: Subject) -> list:
    """Four labelled rows, two and two the same in words.

    With labels for tokens some rows have fewer, unless the class says accepts_loss_kwargs = False: then Trainer takes
    the mean of the batches' means, which is that of all tokens only where rows have as many.
    """
    import torch

    labelled = subject.labelled()
    every = by_place(labelled).values()
    is_rows = all(isinstance(v, torch.Tensor) and v.dim() and len(v) == 2 for v in every)
    if not is_rows or not {"labels", "start_positions"} & set(labelled):
        raise NotApplicable("its labelled inputs cannot be batched in twos")
    rows = [mapped(labelled, lambda v, i=i: v[i % 2].clone()) for i in range(4)]
    for i, row in enumerate(rows):
        labels = row.get("labels")
        if (
            isinstance(labels, torch.Tensor)
            and counts_tokens(subject)
            and labels.dim() == 1
            and not labels.is_floating_point()
            and len(labels) > 4
        ):
            row["labels"][len(labels) - 2 * i :] = -100
    return rows


def counts_tokens(subject: Subject) -> bool:
    """Whether Trainer passes the number of labels in a step: it reads the signature in the same way."""
    return getattr(subject.cls, "accepts_loss_kwargs", subject.takes_keywords)


def model_for(subject: Subject):
    import torch

    config = subject.with_padding()[0] if subject.is_text() else subject.configuration()
    model = subject.model(config)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):  # one that no field sets to 0
            module.p = 0.0
    return model


def trainer_step(subject: Subject) -> str:
    """Fails when the model cannot be fine-tuned with transformers.Trainer."""
    rows = rows_of(subject)
    model = model_for(subject)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    changes = trained(subject, model, rows, 4, 1)
    if bad := outputs.infinite(changes):
        raise CheckFailed(f"after one step of Trainer {bad} is not finite; see the loss")
    changed = [n for n, t in changes.items() if t.abs().max() > 0]
    if not changed:
        raise CheckFailed("one step of Trainer changes no weight; see that the output begins with the loss")
    if wrong := sorted(frozen & set(changed)):
        raise CheckFailed(f"one step of Trainer changes {wrong[0]}, which the class freezes")
    return f"{len(changed)} of {len(changes)} weights changed"


def accumulation(subject: Subject) -> str:
    """Fails when gradient accumulation multiplies the gradients by the number of accumulated batches."""
    from torch import nn

    rows = rows_of(subject)
    model = model_for(subject)
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        return _accumulates_in_evaluation(subject, rows)
    once, four = trained(subject, model, rows, 4, 1), trained(subject, model_for(subject), rows, 1, 4)
    return compared(once, four)


def compared(once: dict, four: dict) -> str:
    if line := outputs.difference(four, once, ACCUMULATED):
        ratio = sum(t.double().norm() for t in four.values()) / sum(t.double().norm() for t in once.values())
        raise CheckFailed(
            f"four batches of 1 accumulated give {ratio:.3g} times the gradient of one batch of 4 ({line}); divide "
            "by num_items_in_batch, or set accepts_loss_kwargs = False"
        )
    return f"{len(once)} gradients, 1 x 4 against 4 x 1"


def _accumulates_in_evaluation(subject: Subject, rows: list) -> str:
    """Batch norm sees other batches when they are split, so it is held at its running statistics."""
    from torch import nn

    def held():
        model = model_for(subject)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
                module.train = lambda mode=True, module=module: module
        return model

    return compared(trained(subject, held(), clone(rows), 4, 1), trained(subject, held(), clone(rows), 1, 4)) + (
        ", batch norm held"
    )
