"""A row of a batch is computed as if it were alone: neighbours, padding and chance change nothing."""

import contextlib
import re

from ..tiny.fields import every
from ..values import by_place, clone, mapped
from . import outputs
from .subject import DROPOUT, CheckFailed, NotApplicable, Subject

PADDED = 4  # tokens
HEADS_OWN = re.compile("(classifier|summary|head|cls)_")  # fields that a base does not read


def same_twice(subject: Subject) -> str:
    """Fails when the same inputs give two predictions, or forward writes into them."""
    import torch

    model = subject.model()
    first = subject.run(model)
    with torch.no_grad():
        torch.manual_seed(1234)
        again = outputs.tensors(model.eval()(**subject.on_device(subject.inputs)))
    if line := outputs.difference(again, first):
        raise CheckFailed(f"in evaluation mode, called twice, {line}; something is drawn at random: ask self.training")
    given = [subject.inputs]
    with contextlib.suppress(NotApplicable, CheckFailed):  # what is wrong with a loss, other checks report
        given.append(subject.labelled())
    for inputs in given:
        if name := _written(subject, model, inputs):
            raise CheckFailed(f"forward writes into {name}, which is its caller's; change a copy")
    return f"{len(first)} outputs"


def _written(subject: Subject, model, inputs: dict) -> str | None:
    """The first input that forward changes."""
    import torch

    given = subject.on_device(inputs)
    if subject.is_text() and "attention_mask" in subject.takes:
        given.setdefault("attention_mask", torch.ones_like(given["input_ids"]))
    tensors = {n: v for n, v in by_place(given).items() if isinstance(v, torch.Tensor)}
    before = clone(tensors, subject.device)
    with torch.no_grad():
        model(**given)
    return next((name for name, tensor in before.items() if outputs.apart(tensors[name], tensor)), None)


def dropout_in_training(subject: Subject) -> str:
    """Fails when a configured dropout does nothing, or acts on predictions."""
    import torch

    config = subject.configuration()
    fields = []
    for each in every(config):
        for name, value in vars(each).items():
            if DROPOUT.search(name) and isinstance(value, (int, float)) and not isinstance(value, bool):
                setattr(each, name, 0.5)
                fields.append(name)
    if subject.cls is subject.classes.get("AutoModel"):
        fields = [name for name in fields if not HEADS_OWN.match(name)]
    if not fields:
        raise NotApplicable("the configuration has no dropout")
    model = subject.model(config)
    first = subject.run(model)
    with torch.no_grad():
        torch.manual_seed(5)
        quiet = outputs.tensors(model(**subject.on_device(subject.inputs)))
        model.train()
        seeds = []
        for seed in (5, 6):
            torch.manual_seed(seed)
            seeds.append(outputs.tensors(model(**subject.on_device(subject.inputs))))
    if line := outputs.difference(quiet, first):
        raise CheckFailed(
            f"dropout acts in evaluation mode: {line}; use nn.Dropout, or F.dropout(training=self.training)"
        )
    if not outputs.difference(seeds[0], seeds[1]):
        named = outputs.listed(sorted(set(fields)))
        raise CheckFailed(f"{named} = 0.5 changes nothing in training mode; the model does not read it")
    return f"{outputs.listed(sorted(set(fields)))}"


def pair(subject: Subject) -> dict:
    """Inputs of two rows that differ.

    Raises:
        NotApplicable: the inputs are not rows.
    """
    import torch

    every = by_place(subject.inputs).values()
    if not every or any(not isinstance(t, torch.Tensor) or t.dim() == 0 or len(t) != 2 for t in every):
        raise NotApplicable("its inputs cannot be batched in twos")
    return subject.inputs


def rows_model(subject: Subject):
    """A model that takes several rows: transformers' classifiers of text want a padding token for that."""
    config, _ = subject.with_padding() if subject.is_text() else (subject.configuration(), 0)
    return subject.model(config)


def row_alone(subject: Subject) -> str:
    """Fails when a prediction depends on what else is in the batch."""
    import torch

    inputs, model = pair(subject), rows_model(subject)
    together = subject.run(model, inputs)
    compared, squares = 0, set()
    for row in range(2):
        alone = subject.run(model, mapped(inputs, lambda v, row=row: v[row : row + 1]))
        for name, tensor in together.items():
            if name not in alone:
                raise CheckFailed(f"{name} is missing for a batch of 1; treat one row like several")
            if tensor.dim() and tensor.shape[0] == 2:
                compared += 1
                expected = tensor[row : row + 1]
                if of_pairs(tensor, alone[name]):  # of each row with each row, here with itself
                    expected, squares = expected[:, row : row + 1], squares | {name}
                if line := outputs.apart(alone[name], expected, subject.rounding):
                    raise CheckFailed(
                        f"row {row} alone: {name} {line} from the row in a batch of 2; rows are mixed up"
                    )
    if not compared:
        raise NotApplicable("no output has a row for each row of the input")
    swapped = subject.run(model, mapped(inputs, lambda v: v.flip(0)))
    for name, tensor in together.items():
        if tensor.dim() and tensor.shape[0] == 2:
            axes = (0, 1) if name in squares else (0,)
            if line := outputs.apart(swapped[name], torch.flip(tensor, axes), subject.rounding):
                raise CheckFailed(f"rows in the other order: {name} {line}; a row's place in the batch matters")
    more = f"; {outputs.listed(sorted(squares))} has a number for each pair of rows" if squares else ""
    return f"{compared} rows of outputs{more}"


def of_pairs(together, alone) -> bool:
    """Whether an output has numbers for each pair of rows: (2, 2, ...) for two rows and (1, 1, ...) for one."""
    return tuple(together.shape[:2]) == (2, 2) and tuple(alone.shape) == (1, 1, *together.shape[2:])


def batch_of_one(subject: Subject) -> str:
    """Fails when the model raises an error, or drops a dimension, for a single example."""
    inputs, model = pair(subject), rows_model(subject)
    together, alone = subject.run(model, inputs), subject.run(model, mapped(inputs, lambda v: v[:1]))
    for name, tensor in together.items():
        if tensor.dim() and tensor.shape[0] == 2:
            expected = [1, *tensor.shape[1:]]
            if name not in alone or (
                list(alone[name].shape) != expected and not of_pairs(tensor, alone[name])
            ):  # what it has for a pair of rows, row_alone compares
                shape = list(alone[name].shape) if name in alone else "missing"
                raise CheckFailed(
                    f"for a batch of 1 {name} is {shape}, should be {expected}; see squeeze() without dim"
                )
    return f"{len(alone)} outputs"


def padded(subject: Subject, side: str, pad: int) -> tuple[dict, dict]:
    """Inputs without padding, and with some: PADDED tokens of padding, mask 0."""
    import torch

    inputs = {**subject.inputs}
    ids = inputs["input_ids"]
    inputs["attention_mask"] = torch.ones_like(ids)

    def more(value, fill):
        block = value.new_full((len(value), PADDED), fill)
        return torch.cat([value, block] if side == "right" else [block, value], 1)

    wide = {**inputs, "input_ids": more(ids, pad), "attention_mask": more(inputs["attention_mask"], 0)}
    if "token_type_ids" in inputs:
        wide["token_type_ids"] = more(inputs["token_type_ids"], 0)
    return inputs, wide


def without_padding(actual: dict, expected: dict, side: str) -> dict:
    """Outputs with the positions cut off that are padding: every dimension that is longer by as much."""
    cut = {}
    for name, tensor in actual.items():
        if name in expected and tensor.dim() == expected[name].dim():
            for dim, (a, b) in enumerate(zip(tensor.shape, expected[name].shape, strict=True)):
                if a - b == PADDED:
                    tensor = tensor.narrow(dim, 0 if side == "right" else PADDED, b)
        cut[name] = tensor
    return cut


def needs_mask(subject: Subject) -> None:
    subject.needs_text()
    if "attention_mask" not in subject.takes:
        if subject.takes_keywords:
            return
        raise CheckFailed(
            "forward reads rows of tokens and takes no attention_mask: padding cannot be recognised; add it"
        )


def padding_right(subject: Subject) -> str:
    """Fails when a text gets another answer when it is batched with a longer one."""
    needs_mask(subject)
    config, pad = subject.with_padding()
    model = subject.model(config)
    plain, wide = padded(subject, "right", pad)
    expected = subject.run(model, plain)
    actual = without_padding(subject.run(model, wide), expected, "right")
    if line := outputs.difference(actual, expected, subject.rounding):
        raise CheckFailed(
            f"with {PADDED} tokens of padding on the right {line}; use attention_mask wherever tokens mix"
        )
    return f"{len(expected)} outputs, {PADDED} tokens of padding"


def padding_left(subject: Subject) -> str:
    """Fails when batched generation, which pads on the left, gives other texts than single prompts do."""
    import torch

    needs_mask(subject)
    config, pad = subject.with_padding()
    model = subject.model(config)
    plain, wide = padded(subject, "left", pad)
    places = "position_ids" in subject.takes
    if places:
        wide["position_ids"] = (wide["attention_mask"].cumsum(1) - 1).clamp(min=0)
    expected = subject.run(model, plain)
    actual = without_padding(subject.run(model, wide), expected, "left")
    # the query rows of padding see nothing, and what they give has no meaning: only real positions are compared
    if line := outputs.difference(actual, expected, subject.rounding):
        encodes = getattr(model.config, "is_encoder_decoder", False)
        if not places and (encodes or not can_generate(subject.cls)):
            with torch.no_grad():
                noisy = without_padding(_noisy(subject, model, wide), expected, "left")
            if effect := outputs.difference(noisy, actual, subject.rounding):
                raise CheckFailed(
                    f"with padding on the left, the content of the padding matters: {effect}; use attention_mask"
                )
            raise NotApplicable(
                "its positions count from the left and forward takes no position_ids: pad on the right"
            )
        how = "and position_ids that leave it out " if places else ""
        raise CheckFailed(f"with {PADDED} tokens of padding on the left {how}{line}; count positions from the mask")
    return f"{len(expected)} outputs, {PADDED} tokens of padding" + (", position_ids given" if places else "")


def can_generate(cls) -> bool:
    try:
        return bool(cls.can_generate())
    except Exception:
        return False


def padding_content(subject: Subject) -> str:
    """Fails when the content of padding leaks into the answer."""
    needs_mask(subject)
    config, pad = subject.with_padding()
    model = subject.model(config)
    _, wide = padded(subject, "right", pad)
    plain = subject.run(model, wide)
    noisy = _noisy(subject, model, wide)
    rows = {}
    for name in plain:
        same = tuple(wide["input_ids"].shape)
        for outcome in (plain, noisy):
            tensor = outcome.get(name)
            if tensor is not None and tensor.dim() > 1 and tuple(tensor.shape[:2]) == same:
                outcome[name] = tensor[:, :-PADDED]
            elif tensor is not None and tensor.dim() == 4 and tensor.shape[2] == same[1]:
                outcome[name] = tensor[:, :, :-PADDED]  # attention: a query that is padding has no meaning
        rows[name] = 1
    if line := outputs.difference(noisy, plain, subject.rounding):
        raise CheckFailed(f"with noise in the embeddings of padding {line}; leave padding out wherever tokens mix")
    return f"{len(rows)} outputs, noise in {PADDED} tokens"


def _noisy(subject: Subject, model, inputs: dict) -> dict:
    """Outputs with noise in the embeddings of the tokens that are padding."""
    import torch

    try:
        embeddings = model.get_input_embeddings()
    except NotImplementedError:  # what transformers raises for a class that names no embeddings
        embeddings = None
    if embeddings is None:
        raise NotApplicable("get_input_embeddings gives nothing, so no noise can be put in")
    hidden = inputs["attention_mask"].to(subject.device) == 0
    reached = []

    def add(module, args, output):
        if tuple(output.shape[:2]) != tuple(hidden.shape):
            return output
        reached.append(1)
        noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(3)).to(output)
        return output + noise * hidden[..., None]

    with contextlib.ExitStack() as stack:
        hook = embeddings.register_forward_hook(add)
        stack.callback(hook.remove)
        noisy = subject.run(model, inputs)
    if not reached:
        raise NotApplicable("its embeddings are not called with (batch, tokens): padding is not computed at all")
    return noisy
