"""Labels for a model of which only the code is known: guesses from forward's parameters and from what it returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..values import CACHES, by_place, flat
from .fields import pick
from .inputs import Inputs, parameters_of


@dataclass(frozen=True)
class Unlabelled:
    """A model's inputs without labels, and what it returned for them: by its place, and the logits."""

    model: Any
    names: dict
    inputs: Inputs
    outputs: dict
    logits: Any
    generator: Any

    @property
    def batch(self) -> int:
        return batch_of(self.inputs)

    @property
    def ids(self):
        return self.inputs.get("input_ids")

    @property
    def pixels(self):
        return self.inputs.get("pixel_values")

    def has_logits(self, dimensions: int) -> bool:
        return self.logits is not None and self.logits.dim() == dimensions

    def integers(self, low: int, high: int, shape):
        import torch

        return torch.randint(low, high, tuple(shape), generator=self.generator)

    def numbers(self, shape):
        import torch

        return torch.rand(tuple(shape), generator=self.generator)


def batch_of(inputs: Inputs) -> int:
    import torch

    rows = (value for value in by_place(inputs).values() if isinstance(value, torch.Tensor) and value.ndim)
    return next((value.shape[0] for value in rows), 1)


def labelled(model, inputs: Inputs, outputs, seed: int = 0) -> Iterator[Inputs]:
    """Inputs with labels, the likeliest first, for a class whose forward takes any."""
    import torch

    # a time series' end is its own label; wav2vec2's are the steps that are hidden from it
    if any("label" in name or name in ("future_values", "mask_time_indices") for name in inputs):
        yield inputs
    second = [name for name in parameters_of(model) if name.endswith("_label")]  # next_sentence_label, beside labels
    for guess in main_labels(model, inputs, outputs, seed):
        if second:
            yield {**guess, **{name: torch.ones(batch_of(inputs), dtype=torch.long) for name in second}}
        yield guess


def main_labels(model, inputs: Inputs, outputs, seed: int = 0) -> Iterator[Inputs]:
    """Inputs with the labels that forward's parameters and logits suggest."""
    import torch

    logits = getattr(outputs, "logits", None)
    unlabelled = Unlabelled(
        model,
        parameters_of(model),
        inputs,
        flat(outputs, CACHES),
        logits if isinstance(logits, torch.Tensor) else None,
        torch.Generator().manual_seed(seed + 1),
    )
    for guess in GUESSES:
        if guess.parameter in unlabelled.names and guess.applies(unlabelled):
            for labels in guess.make(unlabelled):
                yield {**inputs, **labels} if guess.keeps is None else {**guess.keeps(inputs), **labels}


# guesses -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Guess:
    """Labels for heads of one kind.

    Args:
        name: the heads. parameter: what forward must have. keeps: which of the inputs stay; by default all.
    """

    name: str
    parameter: str
    applies: Callable[[Unlabelled], bool]
    make: Callable[[Unlabelled], Iterator[Inputs]]
    keeps: Callable[[Inputs], Inputs] | None = None


def without_decoder_ids(inputs: Inputs) -> Inputs:
    return {name: value for name, value in inputs.items() if name != "decoder_input_ids"}


def has_decoder_ids(unlabelled: Unlabelled) -> bool:
    return unlabelled.ids is not None and "decoder_input_ids" in unlabelled.inputs


def decoder_ids(unlabelled: Unlabelled) -> Iterator[Inputs]:
    yield {"labels": unlabelled.inputs["decoder_input_ids"].clone()}


def has_scores_of_tokens(unlabelled: Unlabelled) -> bool:
    ids = unlabelled.ids
    return ids is not None and unlabelled.has_logits(3) and unlabelled.logits.shape[1] == ids.shape[1]


def tokens(unlabelled: Unlabelled) -> Iterator[Inputs]:
    """The text itself for a language model, else a class for each token."""
    classes, name = unlabelled.logits.shape[-1], type(unlabelled.model).__name__
    if "For" in name and ("LM" in name or "Gen" in name):
        yield {"labels": unlabelled.ids.clamp(max=classes - 1)}
    else:
        yield {"labels": unlabelled.ids % min(classes, 100)}


def has_scores_of_classes(unlabelled: Unlabelled) -> bool:
    return unlabelled.has_logits(2) and not type(unlabelled.model).__name__.endswith("Regression")


def classes(unlabelled: Unlabelled) -> Iterator[Inputs]:
    import torch

    yield {"labels": unlabelled.integers(0, unlabelled.logits.shape[-1], (unlabelled.batch,))}
    yield {"labels": torch.zeros(unlabelled.batch, dtype=torch.long)}


def classes_of_pixels(unlabelled: Unlabelled) -> Iterator[Inputs]:
    shape = (unlabelled.batch, *unlabelled.pixels.shape[-2:])
    yield {"labels": unlabelled.integers(0, unlabelled.logits.shape[1], shape)}


def words_of_sounds(unlabelled: Unlabelled) -> Iterator[Inputs]:
    """Fewer labels than steps, without the blank 0 of CTC; then one for each step."""
    count = unlabelled.logits.shape[-1]
    yield {"labels": unlabelled.integers(1, min(count, 90), (unlabelled.batch, 3))}
    yield {"labels": unlabelled.integers(0, count, unlabelled.logits.shape[:2])}


def numbers_like_logits(unlabelled: Unlabelled) -> Iterator[Inputs]:
    yield {"labels": unlabelled.numbers(unlabelled.logits.shape)}


def objects(unlabelled: Unlabelled) -> Iterator[Inputs]:
    """Two objects in each picture, with boxes and masks."""
    import torch

    boxes = unlabelled.numbers((2, 4)) * 0.2 + 0.4
    masks = unlabelled.integers(0, 2, (2, *unlabelled.pixels.shape[-2:])).float()
    yield {"labels": [{"class_labels": torch.tensor([0, 1]), "boxes": boxes, "masks": masks}] * unlabelled.batch}


def maps(unlabelled: Unlabelled) -> Iterator[Inputs]:
    """A class or a number for each pixel."""
    shape = (unlabelled.batch, *unlabelled.pixels.shape[-2:])
    yield {"labels": unlabelled.integers(0, 2, shape)}
    yield {"labels": unlabelled.numbers(shape)}


def same_text(unlabelled: Unlabelled) -> Iterator[Inputs]:
    yield {"labels": unlabelled.ids.clone()}


def first_class(unlabelled: Unlabelled) -> Iterator[Inputs]:
    import torch

    yield {"labels": torch.zeros(unlabelled.batch, dtype=torch.long)}


def answers(unlabelled: Unlabelled) -> Iterator[Inputs]:
    import torch

    first = torch.ones(unlabelled.batch).long()
    yield {"start_positions": first, "end_positions": first * 2}


def masks_of_objects(unlabelled: Unlabelled) -> Iterator[Inputs]:
    import torch

    shape = (2, *unlabelled.pixels.shape[-2:])
    masks = [unlabelled.integers(0, 2, shape).float() for _ in range(unlabelled.batch)]
    yield {"mask_labels": masks, "class_labels": [torch.tensor([0, 1])] * unlabelled.batch}


def has_past_alone(unlabelled: Unlabelled) -> bool:
    return "future_values" not in unlabelled.inputs and "past_values" in unlabelled.inputs


def future(unlabelled: Unlabelled) -> Iterator[Inputs]:
    ahead = pick(unlabelled.model.config, "prediction_length", default=8)
    shape = (unlabelled.batch, ahead, *unlabelled.inputs["past_values"].shape[2:])
    yield {"future_values": unlabelled.numbers(shape)}


def restored(unlabelled: Unlabelled) -> Iterator[Inputs]:
    """Pictures or sounds themselves, for a model that gives as many numbers as went in."""
    for value in numbers_among(by_place(unlabelled.inputs)):
        if any(each.numel() == value.numel() for each in numbers_among(unlabelled.outputs)):
            yield {"labels": value.clone()}


def numbers_among(values: dict) -> list:
    """The tensors of numbers, those with rows."""
    import torch

    return [v for v in values.values() if isinstance(v, torch.Tensor) and v.is_floating_point() and v.ndim > 1]


def of_several_heads(unlabelled: Unlabelled) -> Iterator[Inputs]:
    """A dict of labels where logits are one: 0 and 1 as numbers, then classes."""
    heads = {n.partition(".")[2]: t for n, t in unlabelled.outputs.items() if n.startswith("logits.")}
    if not heads or any("." in name for name in heads):
        return
    yield {"labels": {name: unlabelled.integers(0, 2, t.shape).float() for name, t in heads.items()}}
    shapes = {name: t.shape[:-1] if t.ndim > 1 else t.shape for name, t in heads.items()}
    yield {"labels": {name: unlabelled.integers(0, max(2, heads[name].shape[-1]), s) for name, s in shapes.items()}}


def numbers_like_outputs(unlabelled: Unlabelled) -> Iterator[Inputs]:
    for value in numbers_among(unlabelled.outputs):
        yield {"labels": unlabelled.numbers(value.shape)}


def other_targets(model, inputs: Inputs, outputs, seed: int = 0) -> Iterator[tuple[str, Inputs]]:
    """Inputs with one more argument that may be what an output is compared with, such as the noise that was added."""
    import torch

    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in parameters_of(model).items():
        if name in inputs or parameter.default is not None:
            continue
        for value in numbers_among(flat(outputs, CACHES)):
            yield name, {**inputs, name: torch.randn(value.shape, generator=generator)}


def always(unlabelled: Unlabelled) -> bool:
    return True


def has_pixels(unlabelled: Unlabelled) -> bool:
    return unlabelled.pixels is not None


# What the logits' shape says comes before what the inputs alone suggest: a loss that takes any labels would otherwise
# be trained on labels that mean nothing to it. One generator draws all labels in this order.
GUESSES = (
    Guess("text to text", "labels", has_decoder_ids, decoder_ids),
    Guess("text to text, decoder inputs from labels", "labels", has_decoder_ids, decoder_ids, without_decoder_ids),
    Guess("words or tags", "labels", has_scores_of_tokens, tokens),
    Guess("classes", "labels", has_scores_of_classes, classes),
    Guess("semantic segmentation", "labels", lambda u: u.has_logits(4) and has_pixels(u), classes_of_pixels),
    Guess("speech recognition", "labels", lambda u: u.has_logits(3), words_of_sounds),
    Guess("regression", "labels", lambda u: u.logits is not None, numbers_like_logits),
    Guess("restoration", "labels", always, restored),
    Guess("several heads", "labels", always, of_several_heads),
    Guess("object detection", "labels", has_pixels, objects),
    Guess("maps of pixels", "labels", has_pixels, maps),
    Guess("language modelling without logits", "labels", lambda u: u.ids is not None, same_text),
    Guess("any class", "labels", always, first_class),
    Guess("question answering", "start_positions", always, answers),
    Guess("mask classification", "mask_labels", has_pixels, masks_of_objects),
    Guess("contrastive", "return_loss", always, lambda u: iter([{"return_loss": True}])),
    Guess("forecast", "future_values", has_past_alone, future),
    Guess("any numbers", "labels", always, numbers_like_outputs),
)
