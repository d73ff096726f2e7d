"""Labels for a model of which only the code is known: guesses from forward's parameters and from what it returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .fields import pick
from .inputs import Inputs, parameters_of


@dataclass(frozen=True)
class Unlabelled:
    """A model's inputs without labels, and what it returned for them."""

    model: Any
    names: dict
    inputs: Inputs
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

    return next(value for value in inputs.values() if isinstance(value, torch.Tensor)).shape[0]


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
    Guess("object detection", "labels", has_pixels, objects),
    Guess("maps of pixels", "labels", has_pixels, maps),
    Guess("language modelling without logits", "labels", lambda u: u.ids is not None, same_text),
    Guess("any class", "labels", always, first_class),
    Guess("question answering", "start_positions", always, answers),
    Guess("mask classification", "mask_labels", has_pixels, masks_of_objects),
    Guess("contrastive", "return_loss", always, lambda u: iter([{"return_loss": True}])),
    Guess("forecast", "future_values", has_past_alone, future),
)
