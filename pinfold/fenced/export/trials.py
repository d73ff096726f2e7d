"""Inputs of several sizes for one model, and what it gives for them: what an exported graph is held against.

How it works:
- The sample is what the exporter traces: two rows, padded on the left where there is a mask. generate() drops a mask
  of ones before the model is called, and a graph that was traced without a mask has no input for one.
- The trials are at sizes that the sample does not have: one row and five, shorter and longer, padded on either side.
- A size that the model itself refuses in PyTorch is no trial, and is said: a graph owes no more than the model.
"""

import copy
import inspect
from dataclasses import dataclass, field

from ..cost import sizes
from ..probe import declared, probes
from ..probe.fields import first_field
from ..suite import outputs
from ..values import describe, mapped

SAMPLE = (2, 12)  # rows and tokens
# rows, tokens, padding, and by what the sides of a picture are multiplied
TRIALS = (
    (1, 7, "", 1.0),
    (5, 19, "right", 1.5),
    (3, 9, "left", 0.75),
    (4, 26, "", 2.0),
    (1, 33, "right", 1.25),
)
PADDED = 3  # tokens of the shortest row, and one less for each row before it
TEXT, ROWS_OF_TEXT = 128, 16  # tokens of a text, and texts of a batch
SOUND = 4000  # samples of a sound for 12 tokens
DIGITS = 2.0**-24  # half of the last place of a float32


@dataclass
class Trial:
    """One size.

    Args:
        inputs: by name. outputs: of the model in PyTorch, by name; caches left out.
    """

    name: str
    inputs: dict
    outputs: dict = field(default_factory=dict)


def sample(model, probe: dict) -> Trial:
    """What the exporter traces.

    Raises:
        ValueError: no size of it runs; the message says what the model said to the first.
    """
    problem = None
    # some models take one row alone; some have positions counted from the left, and refuse padding there
    for rows, side in ((SAMPLE[0], "left"), (SAMPLE[0], "right"), (SAMPLE[0], ""), (1, "")):
        try:
            trial = _trial(model, probe, rows, SAMPLE[1], side, 1.0)
            trial.outputs = run(model, trial.inputs)
            return trial
        except Exception as error:
            problem = problem or error
    raise problem


def trials(model, probe: dict, traced: Trial) -> tuple[list[Trial], list[str]]:
    """The trials that the model runs in PyTorch, and a line for each that it refuses."""
    ran: list[Trial] = []
    refused: list[str] = []
    shapes = [_shapes(traced)]
    for rows, length, side, scale in TRIALS:
        for factor in dict.fromkeys((scale, 1.0)):  # pictures of the model's own size where it refuses others
            trial = _trial(model, probe, rows, length, side, factor)
            if _shapes(trial) in shapes:
                continue
            shapes.append(_shapes(trial))
            trial.name = words(trial)
            try:
                trial.outputs = run(model, trial.inputs)
            except Exception as error:
                refused.append(f"{trial.name}: {describe(error)}")
                continue
            ran.append(trial)
            break
    return ran, refused


def sized(model, probe: dict, rows: int, length: int) -> Trial:
    """Inputs of one size without padding, pictures of the model's own size; shorter where it takes no more."""
    return _trial(model, probe, rows, length, "", 1.0)


def of_texts(model, directory: str, texts: list) -> list[Trial]:
    """Trials of texts, in batches, as the checkpoint's own tokenizer makes them.

    Raises:
        Refused: the checkpoint has no tokenizer that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
    except Exception as error:
        raise sizes.Refused(
            f"--texts needs a tokenizer beside the weights, and none can be loaded: {describe(error)}"
        ) from None
    takes = inspect.signature(model.forward).parameters
    longest = min(
        [TEXT, *(n for name in sizes.POSITIONS if type(n := first_field(model.config, name)) is int and n > 0)]
    )
    ran = []
    for start in range(0, len(texts), ROWS_OF_TEXT):
        some = texts[start : start + ROWS_OF_TEXT]
        given = tokenizer(some, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        trial = Trial(f"texts {start + 1} to {start + len(some)}", {n: t for n, t in given.items() if n in takes})
        trial.outputs = run(model, trial.inputs)
        ran.append(trial)
    return ran


def words(trial: Trial) -> str:
    """A trial's shapes in words, such as "input_ids 5 x 19"."""
    name, tensor = next((name, t) for name, t in trial.inputs.items() if hasattr(t, "shape"))
    return f"{name} {' x '.join(map(str, tensor.shape))}" + (f", {trial.name}" if trial.name else "")


def _shapes(trial: Trial) -> dict:
    return {name: tuple(t.shape) for name, t in trial.inputs.items() if hasattr(t, "shape")}


def _trial(model, probe: dict, rows: int, length: int, side: str, scale: float) -> Trial:
    """Inputs of one size; of the words of probe.json, only the number of rows."""
    if probe:
        inputs = probes.probe_inputs(model, declared.resized(probe, rows))["own"]
        return Trial("", inputs)
    config = model.config
    own = probes.probe_inputs(model, {})["pair"]
    longest = max((n for name in sizes.POSITIONS if type(n := first_field(config, name)) is int and n > 0), default=0)
    length = min(length, longest) if longest else length
    inputs = {}
    for name, tensor in own.items():
        shape = [rows, *tensor.shape[1:]]
        if not tensor.is_floating_point():
            shape[-1] = length
            vocabulary = first_field(config, "vocab_size") or 100
            inputs[name] = probes.token_ids(config, shape, vocabulary)
            if name == "attention_mask":
                inputs[name] = declared.formula(shape, "ramp", 1) + 1
            continue
        if len(shape) > 3:
            shape[-2:] = [_even(side_, scale) for side_ in shape[-2:]]
        elif name == "input_values" and len(shape) == 2:
            shape[1] = int(SOUND * length / SAMPLE[1])
        inputs[name] = declared.formula(shape, "wave")
    if side:
        _pad(model, inputs, side)
    return Trial(f"padded on the {side}" if side and "attention_mask" in inputs else "", in_type(model, inputs))


def _even(side: int, scale: float) -> int:
    """A side of a picture, a multiple of 16 where the model's own is one."""
    step = next((step for step in (32, 16, 8, 4, 2) if side % step == 0), 1)
    return max(step, int(side * scale) // step * step)


def _pad(model, inputs: dict, side: str) -> None:
    """Hide words of all rows but the longest: mask 0, and the token for padding where there is one."""
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return
    rows, length = mask.shape
    pad = first_field(model.config, "pad_token_id")
    for row in range(rows):
        absent = min(PADDED + rows - 1 - row, length - 2) if row or rows == 1 else 0
        place = slice(length - absent, None) if side == "right" else slice(0, absent)
        mask[row, place] = 0
        if isinstance(pad, int) and pad >= 0 and "input_ids" in inputs and inputs["input_ids"].shape == mask.shape:
            inputs["input_ids"][row, place] = pad


def in_type(model, inputs: dict) -> dict:
    """Numbers in the model's own type."""
    return declared.in_own_type(model, inputs)


def run(model, inputs: dict) -> dict:
    """Every tensor of the model's output by name, caches left out."""
    import torch

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given = mapped(inputs, lambda tensor: tensor.clone())
        return outputs.tensors(model(**given, **without_cache(model)))


def without_cache(model) -> dict:
    """The argument that asks a decoder for no cache, where forward has it by name."""
    return {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}


def rounding(model, trial: Trial) -> dict[str, float]:
    """How far one rounding of each weight moves each output, against its largest number: the model's own measure of
    how far two right ways to compute it can be apart."""
    import torch

    generator = torch.Generator().manual_seed(11)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.mul_(1 + noise * DIGITS)
    moved = run(other, trial.inputs)
    return {name: apart(moved[name], tensor) for name, tensor in trial.outputs.items() if tensor.is_floating_point()}


def apart(a, b) -> float:
    """The largest distance of two tensors against the largest finite number of the second."""
    a, b = a.double(), b.double()
    usual = b[b.isfinite() & (b.abs() < 1e30)]
    largest = max(usual.abs().max().item() if usual.numel() else 0.0, 1e-3)
    same = (a == b) | (a.isnan() & b.isnan())
    return 0.0 if bool(same.all()) else (a - b)[~same].abs().max().item() / largest
