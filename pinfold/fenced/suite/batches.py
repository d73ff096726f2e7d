"""A row of a batch is computed as if it were alone: neighbours, padding and chance change nothing."""

import contextlib
import re

from ..tiny.fields import every
from . import outputs
from .subject import DROPOUT, Failed, Left, Subject

PADDED = 4  # tokens
HEADS_OWN = re.compile("(classifier|summary|head|cls)_")  # fields that a base does not read


def same_twice(it: Subject) -> str:
    """Without it no prediction can be repeated."""
    import torch

    model = it.model()
    first = it.run(model)
    with torch.no_grad():
        torch.manual_seed(1234)
        again = outputs.tensors(model.eval()(**it.given(it.inputs)))
    if line := outputs.difference(again, first):
        raise Failed(f"in evaluation mode, called twice, {line}; something is drawn at random: ask self.training")
    given = [it.inputs]
    with contextlib.suppress(Left, Failed):  # what is wrong with a loss, other checks tell
        given.append(it.labelled())
    for inputs in given:
        if name := _written(it, model, inputs):
            raise Failed(f"forward writes into {name}, which is its caller's; change a copy")
    return f"{len(first)} outputs"


def _written(it: Subject, model, inputs: dict) -> str | None:
    """The first input that forward changes."""
    import torch

    given = it.given(inputs)
    if it.is_text() and "attention_mask" in it.takes:
        given.setdefault("attention_mask", torch.ones_like(given["input_ids"]))
    before = {n: v.clone() for n, v in given.items() if isinstance(v, torch.Tensor)}
    with torch.no_grad():
        model(**given)
    return next((name for name, tensor in before.items() if outputs.apart(given[name], tensor)), None)


def dropout_in_training(it: Subject) -> str:
    """Without it a configured dropout does nothing, or acts on predictions."""
    import torch

    config = it.configuration()
    fields = []
    for each in every(config):
        for name, value in vars(each).items():
            if DROPOUT.search(name) and isinstance(value, (int, float)) and not isinstance(value, bool):
                setattr(each, name, 0.5)
                fields.append(name)
    if it.cls is it.classes.get("AutoModel"):
        fields = [name for name in fields if not HEADS_OWN.match(name)]
    if not fields:
        raise Left("the configuration has no dropout")
    model = it.model(config)
    first = it.run(model)
    with torch.no_grad():
        torch.manual_seed(5)
        quiet = outputs.tensors(model(**it.given(it.inputs)))
        model.train()
        seeds = []
        for seed in (5, 6):
            torch.manual_seed(seed)
            seeds.append(outputs.tensors(model(**it.given(it.inputs))))
    if line := outputs.difference(quiet, first):
        raise Failed(f"dropout acts in evaluation mode: {line}; use nn.Dropout, or F.dropout(training=self.training)")
    if not outputs.difference(seeds[0], seeds[1]):
        named = outputs.listed(sorted(set(fields)))
        raise Failed(f"{named} = 0.5 changes nothing in training mode; the model does not read it")
    return f"{outputs.listed(sorted(set(fields)))}"


def pair(it: Subject) -> dict:
    """Inputs of two rows that differ.

    Raises:
        Left: the inputs are no rows.
    """
    import torch

    tensors = {n: v for n, v in it.inputs.items() if isinstance(v, torch.Tensor)}
    if len(tensors) < len(it.inputs) or any(t.dim() == 0 or len(t) != 2 for t in tensors.values()):
        raise Left("its inputs are no batch of two rows")
    return tensors


def rows_model(it: Subject):
    """A model that takes several rows: transformers' classifiers of text want a padding token for that."""
    config, _ = it.with_padding() if it.is_text() else (it.configuration(), 0)
    return it.model(config)


def row_alone(it: Subject) -> str:
    """Without it a prediction depends on what else is in the batch."""
    import torch

    inputs, model = pair(it), rows_model(it)
    together = it.run(model, inputs)
    compared = 0
    for row in range(2):
        alone = it.run(model, {n: v[row : row + 1] for n, v in inputs.items()})
        for name, tensor in together.items():
            if name not in alone:
                raise Failed(f"{name} is missing for a batch of 1; treat one row like several")
            if tensor.dim() and tensor.shape[0] == 2:
                compared += 1
                if line := outputs.apart(alone[name], tensor[row : row + 1], it.rounding):
                    raise Failed(f"row {row} alone: {name} {line} from the row in a batch of 2; rows are mixed up")
    if not compared:
        raise Left("no output has a row for each row of the input")
    swapped = it.run(model, {n: v.flip(0) for n, v in inputs.items()})
    for name, tensor in together.items():
        if tensor.dim() and tensor.shape[0] == 2:
            line = outputs.apart(swapped[name], torch.flip(tensor, (0,)), it.rounding)
            if line:
                raise Failed(f"rows in the other order: {name} {line}; a row's place in the batch matters")
    return f"{compared} rows of outputs"


def batch_of_one(it: Subject) -> str:
    """Without it the model fails, or drops a dimension, for a single example."""
    inputs, model = pair(it), rows_model(it)
    together, alone = it.run(model, inputs), it.run(model, {n: v[:1] for n, v in inputs.items()})
    for name, tensor in together.items():
        if tensor.dim() and tensor.shape[0] == 2:
            wanted = [1, *tensor.shape[1:]]
            if name not in alone or list(alone[name].shape) != wanted:
                found = list(alone[name].shape) if name in alone else "missing"
                raise Failed(f"for a batch of 1 {name} is {found}, should be {wanted}; see squeeze() without dim")
    return f"{len(alone)} outputs"


def padded(it: Subject, side: str, pad: int) -> tuple[dict, dict]:
    """Inputs without padding, and with some: PADDED tokens of padding, mask 0."""
    import torch

    inputs = {**it.inputs}
    ids = inputs["input_ids"]
    inputs["attention_mask"] = torch.ones_like(ids)

    def more(value, fill):
        block = value.new_full((len(value), PADDED), fill)
        return torch.cat([value, block] if side == "right" else [block, value], 1)

    wide = {**inputs, "input_ids": more(ids, pad), "attention_mask": more(inputs["attention_mask"], 0)}
    if "token_type_ids" in inputs:
        wide["token_type_ids"] = more(inputs["token_type_ids"], 0)
    return inputs, wide


def without_padding(found: dict, wanted: dict, side: str) -> dict:
    """Outputs with the positions cut off that are padding: every dimension that is longer by as much."""
    cut = {}
    for name, tensor in found.items():
        if name in wanted and tensor.dim() == wanted[name].dim():
            for dim, (a, b) in enumerate(zip(tensor.shape, wanted[name].shape, strict=True)):
                if a - b == PADDED:
                    tensor = tensor.narrow(dim, 0 if side == "right" else PADDED, b)
        cut[name] = tensor
    return cut


def needs_mask(it: Subject) -> None:
    it.needs_text()
    if "attention_mask" not in it.takes:
        if it.takes_keywords:
            return
        raise Failed("forward reads rows of tokens and takes no attention_mask: padding cannot be told; add it")


def padding_right(it: Subject) -> str:
    """Without it a text gets another answer when it is batched with a longer one."""
    needs_mask(it)
    config, pad = it.with_padding()
    model = it.model(config)
    plain, wide = padded(it, "right", pad)
    wanted = it.run(model, plain)
    found = without_padding(it.run(model, wide), wanted, "right")
    if line := outputs.difference(found, wanted, it.rounding):
        raise Failed(f"with {PADDED} tokens of padding on the right {line}; use attention_mask wherever tokens mix")
    return f"{len(wanted)} outputs, {PADDED} tokens of padding"


def padding_left(it: Subject) -> str:
    """Without it batched generation, which pads on the left, gives other texts than single prompts do."""
    import torch

    needs_mask(it)
    config, pad = it.with_padding()
    model = it.model(config)
    plain, wide = padded(it, "left", pad)
    places = "position_ids" in it.takes
    if places:
        wide["position_ids"] = (wide["attention_mask"].cumsum(1) - 1).clamp(min=0)
    wanted = it.run(model, plain)
    found = without_padding(it.run(model, wide), wanted, "left")
    # the query rows of padding see nothing, and what they give has no meaning: only real positions are compared
    if line := outputs.difference(found, wanted, it.rounding):
        encodes = getattr(model.config, "is_encoder_decoder", False)
        if not places and (encodes or not can_generate(it.cls)):
            with torch.no_grad():
                noisy = without_padding(_noisy(it, model, wide), wanted, "left")
            if told := outputs.difference(noisy, found, it.rounding):
                raise Failed(f"with padding on the left, what stands there matters: {told}; use attention_mask")
            raise Left("its positions count from the left and forward takes no position_ids: pad on the right")
        how = "and position_ids that leave it out " if places else ""
        raise Failed(f"with {PADDED} tokens of padding on the left {how}{line}; count positions from the mask")
    return f"{len(wanted)} outputs, {PADDED} tokens of padding" + (", position_ids given" if places else "")


def can_generate(cls) -> bool:
    try:
        return bool(cls.can_generate())
    except Exception:
        return False


def padding_content(it: Subject) -> str:
    """Without it what stands in the padding leaks into the answer."""
    needs_mask(it)
    config, pad = it.with_padding()
    model = it.model(config)
    _, wide = padded(it, "right", pad)
    plain = it.run(model, wide)
    noisy = _noisy(it, model, wide)
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
    if line := outputs.difference(noisy, plain, it.rounding):
        raise Failed(f"with noise in the embeddings of padding {line}; leave padding out wherever tokens mix")
    return f"{len(rows)} outputs, noise in {PADDED} tokens"


def _noisy(it: Subject, model, inputs: dict) -> dict:
    """Outputs with noise in the embeddings of the tokens that are padding."""
    import torch

    try:
        embeddings = model.get_input_embeddings()
    except NotImplementedError:  # what transformers raises for a class that names no embeddings
        embeddings = None
    if embeddings is None:
        raise Left("get_input_embeddings gives nothing, so no noise can be put in")
    hidden = inputs["attention_mask"].to(it.device) == 0
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
        found = it.run(model, inputs)
    if not reached:
        raise Left("its embeddings are not called with (batch, tokens): padding is not computed at all")
    return found
