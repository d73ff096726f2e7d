"""Inputs for a model of which only the code is known.

`inputs_for` makes guesses from the names of forward's parameters and from the configuration, the likeliest first, and
returns the first inputs that the model accepts. Pictures and sounds are in media.py.
"""

import copy
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .fields import every, is_int, pick
from .media import Media, media_guesses
from .rules import ID

MOST_TRIED = 48
PARENT_FORWARD = re.compile(r"_inherited\d*_forward$")  # the parent's forward, in a class that was made of both
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
KINDS = {  # what the features of an input are called
    "pixel_values_videos": "video", "pixel_values": "image", "input_features": "audio", "input_values": "audio",
}  # fmt: skip
CODEBOOK_MODELS = ("csm", "dia", "higgs")  # their input_ids are (batch, tokens, codebooks)

Inputs = dict[str, Any]


def inputs_for(model, seed: int = 0) -> Inputs:
    """Inputs that the model's forward accepts.

    Raises:
        ValueError: none of those that its parameters suggest; the message ends with what the model said to the first.
    """
    import torch

    reason, what = None, ""
    for name, inputs in itertools.islice(candidates(model, seed), MOST_TRIED):
        try:
            with torch.no_grad():
                torch.manual_seed(seed)
                model(**copy.copy(inputs))
            return inputs
        except Exception as error:  # whatever a model raises for inputs that are not its own
            # Python's own words for an argument that is not passed, which have no exception of their own: what is said
            # of inputs that are complete says more
            if reason is None or "missing" in str(reason):
                reason, what = error, name
    raise ValueError(
        f"forward accepts none of the inputs that its parameters suggest; {what}: {type(reason).__name__}: {reason}"
    ) from reason


def parameters_of(model) -> dict[str, inspect.Parameter]:
    """Named parameters of forward; of the one that it hands `*args, **kwargs` on to where it has none itself."""
    forwards = [model.forward]
    forwards += [way for n in dir(type(model)) if PARENT_FORWARD.match(n) and callable(way := getattr(model, n))]
    forwards += [vars(cls)["forward"] for cls in type(model).__mro__ if "forward" in vars(cls)]
    for forward in forwards:
        parameters = inspect.signature(forward).parameters
        named = {n: p for n, p in parameters.items() if p.kind in BY_NAME and n != "self"}
        if named:
            return named
    return {}


def takes_keywords(function) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


@dataclass(frozen=True)
class Forward:
    """A model, and what its forward takes: what guesses are made of.

    Args:
        names: forward's parameters. main: the name of its main input. floats: random numbers of a shape.
        text: inputs for text. pictures, sounds: guesses by name. rest: what forward requires besides.
    """

    model: Any
    names: dict[str, inspect.Parameter]
    main: str
    floats: Callable
    text: Inputs
    pictures: list[tuple[str, Inputs]]
    sounds: list[tuple[str, Inputs]]
    rest: Inputs

    @property
    def config(self):
        return self.model.config

    @property
    def reads_text(self) -> bool:
        return "input_ids" in self.names

    @property
    def media(self) -> list[tuple[str, Inputs]]:
        return self.pictures + self.sounds


def read_forward(model, seed: int) -> Forward:
    """What the guesses are made of. One generator draws all numbers: text, pictures, sounds and the rest in turn."""
    import torch

    names, main = parameters_of(model), getattr(model, "main_input_name", "input_ids")
    generator = torch.Generator().manual_seed(seed)

    def floats(*shape):
        return torch.rand(shape, generator=generator)

    text = text_inputs(model, generator)
    pictures, sounds = media_guesses(Media(model.config, names, main, floats))
    return Forward(
        model, names, main, floats, text, pictures, sounds, rest_inputs(model.config, names, floats, generator)
    )


@dataclass(frozen=True)
class Guess:
    """Inputs for forwards of one kind, the likeliest first.

    Args:
        name: what they are, for the message where none is accepted.
    """

    name: str
    applies: Callable[[Forward], bool]
    make: Callable[[Forward], Iterator[Inputs]]


def candidates(model, seed: int) -> Iterator[tuple[str, Inputs]]:
    """Names of guesses, and inputs to try, the likeliest first."""
    forward = read_forward(model, seed)
    for guess in GUESSES:
        if guess.applies(forward):
            for inputs in guess.make(forward):
                detail = media_name(forward, inputs)
                yield (f"{guess.name} ({detail})" if detail else guess.name), inputs


def media_name(forward: Forward, inputs: Inputs) -> str:
    """Which guesses at pictures and sounds are part of these inputs."""
    used = [name for name, medium in forward.media if all(inputs.get(k) is v for k, v in medium.items())]
    return ", ".join(dict.fromkeys(used))


# guesses -----------------------------------------------------------------------------------------------------------


def has_placeholders(forward: Forward) -> bool:
    """Pictures or sounds may go through the tokens: not where forward takes both, one of them as its main input."""
    both = forward.pictures and forward.sounds
    return forward.reads_text and not (both and forward.main != "input_ids" and forward.main in forward.names)


def with_placeholders(forward: Forward) -> Iterator[Inputs]:
    for _, medium in forward.media:
        for tokens in text_with_places(forward, medium):
            yield {**forward.rest, **tokens, **medium}


def pictures_with_sounds(forward: Forward) -> Iterator[Inputs]:
    text = forward.text if forward.reads_text else {}
    for (_, picture), (_, sound) in itertools.product(forward.pictures[:3], forward.sounds[:4]):
        yield {**forward.rest, **text, **picture, **sound}


def media_beside_text(forward: Forward) -> Iterator[Inputs]:
    """Pictures or sounds alone, and beside a text or a decoder's text."""
    decoder = {n: v for n, v in forward.text.items() if n.startswith("decoder_")}
    text = forward.text if forward.reads_text else decoder
    for _, medium in forward.media:
        yield {**forward.rest, **medium}
        if text:
            yield {**forward.rest, **text, **medium}


def two_choices(forward: Forward) -> Iterator[Inputs]:
    yield {n: v[:, None].repeat(1, 2, 1) for n, v in forward.text.items()}


def text_alone(forward: Forward) -> Iterator[Inputs]:
    text, rest = forward.text, forward.rest
    yield {**rest, **text}
    yield {**rest, "input_ids": text["input_ids"]}
    if not any(p.default is p.empty for p in forward.names.values()):
        yield text


def text_with_end(forward: Forward) -> Iterator[Inputs]:
    """What a sequence classifier of BART or T5 reads is the last end of text."""
    import torch

    end = torch.full((2, 1), pick(forward.config, "eos_token_id"))
    text = {n: v for n, v in forward.text.items() if n != "decoder_input_ids"}
    yield {**forward.rest, **text, "input_ids": torch.cat([text["input_ids"][:, :-1], end], 1)}


def one_text(forward: Forward) -> Iterator[Inputs]:
    yield {**forward.rest, **{n: v[:1] for n, v in forward.text.items()}}


def text_without_cache(forward: Forward) -> Iterator[Inputs]:
    yield {**forward.rest, **forward.text, "use_cache": False}


def codebooks(forward: Forward) -> Iterator[Inputs]:
    """Ids of one codebook, or of several at each position, with or without the text's own."""
    count, text = pick(forward.config, "num_codebooks"), forward.text
    ids = text["input_ids"].reshape(*text["input_ids"].shape[:2], -1)[..., 0] % 8
    yield {**text, "input_ids": ids}
    for number in (count, count + 1):
        yield {**text, "input_ids": ids[..., None].expand(-1, -1, number).contiguous()}


def vectors(forward: Forward) -> Iterator[Inputs]:
    for width in widths(forward.config):
        yield {**forward.rest, "inputs_embeds": forward.floats(2, 8, width)}


def states(forward: Forward) -> Iterator[Inputs]:
    for width in widths(forward.config):
        for shape in ((2, 8, width), (8, width), (2, width, 8), (2, width, 8, 8)):
            yield {**forward.rest, "hidden_states": forward.floats(*shape)}


# Guesses that fill more of forward's parameters come first: one that leaves out what a model could read is often
# accepted as well, and would leave a part of the model unused. Text alone therefore comes after text with pictures.
GUESSES = (
    Guess("text with placeholders", has_placeholders, with_placeholders),
    Guess("pictures and sounds", lambda f: bool(f.pictures and f.sounds), pictures_with_sounds),
    Guess("pictures or sounds", lambda f: True, media_beside_text),
    Guess("two choices of text", lambda f: type(f.model).__name__.endswith("MultipleChoice"), two_choices),
    Guess("text", lambda f: f.reads_text, text_alone),
    Guess("text that ends", lambda f: f.reads_text and is_int(pick(f.config, "eos_token_id")), text_with_end),
    Guess("one text, as a classifier without a padding token reads", lambda f: f.reads_text, one_text),
    Guess("text without a cache", lambda f: f.reads_text and "use_cache" in f.names, text_without_cache),
    Guess("codebooks", lambda f: f.reads_text and is_int(pick(f.config, "num_codebooks")), codebooks),
    Guess("vectors", lambda f: not f.reads_text and "inputs_embeds" in f.names, vectors),
    Guess("hidden states", lambda f: "hidden_states" in f.names, states),
    Guess("only what forward requires", lambda f: bool(f.rest), lambda f: iter([f.rest])),
    Guess("nothing", lambda f: True, lambda f: iter([{}])),
)


# text and the rest -------------------------------------------------------------------------------------------------


def widths(config) -> list[int]:
    """Likely widths of vectors."""
    names = ("hidden_size", "d_model", "input_dim", "embed_dim")
    values = [getattr(each, name, None) for each in every(config) for name in names]
    return list(dict.fromkeys(value for value in values if is_int(value)))[:3]


def text_inputs(model, generator) -> Inputs:
    """Token ids without special ones, (2, 10), with what else forward takes for a text."""
    import torch

    config, names = model.config, parameters_of(model)
    size = pick(config, "vocab_size", default=100)
    size = size if is_int(size) and size > 4 else 100
    special = {v for each in every(config) for n, v in vars(each).items() if ID.search(n) and is_int(v)}
    words = torch.tensor([i for i in range(3, size) if i not in special] or list(range(size)))
    text = {"input_ids": words[torch.randint(0, len(words), (2, 10), generator=generator)]}
    count = pick(config, "num_codebooks")
    if type(model).__name__.lower().startswith(CODEBOOK_MODELS) and is_int(count):
        text["input_ids"] = text["input_ids"][..., None].expand(-1, -1, count).contiguous()
    if "attention_mask" in names:
        text["attention_mask"] = torch.ones(2, 10, dtype=torch.long)
    if "decoder_input_ids" in names:
        text["decoder_input_ids"] = words[torch.randint(0, len(words), (2, 7), generator=generator)]
    return text


def text_with_places(forward: Forward, medium: Inputs) -> Iterator[Inputs]:
    """Text with as many placeholders as the pictures or sounds have features; the model itself says how many."""
    import torch

    kind = next((KINDS[name] for name in KINDS if name in medium), "image")
    names = (f"{kind}_token_id", f"{kind}_token_index", "image_token_id", "image_token_index", "audio_token_id")
    token = pick(forward.config, *names)
    counts = [] if token is None else feature_counts(forward.model, f"get_{kind}_features", medium)
    if not counts:
        yield forward.text
        return
    ids = forward.text["input_ids"]
    layouts = [(1, sum(counts))]  # one text with all of them, after two texts with one each where both have as many
    if len(counts) == 2 and counts[0] == counts[1]:
        layouts.insert(0, (2, counts[0]))
    for rows, count in layouts:
        places = torch.full((rows, count), token)
        tokens = torch.cat([ids[:rows, :4], places, ids[:rows, 4:]], 1)
        text = {"input_ids": tokens}
        if "attention_mask" in forward.text:
            text["attention_mask"] = torch.ones_like(tokens)
        if "mm_token_type_ids" in forward.names:
            text["mm_token_type_ids"] = (tokens == token).long() * (2 if kind == "video" else 1)
        if "token_type_ids" in forward.names:
            yield {**text, "token_type_ids": (tokens == token).long()}
        yield text


def feature_counts(model, method: str, medium: Inputs) -> list[int]:
    """How many features each picture or sound has; nothing where the model does not say."""
    import torch

    get = getattr(model, method, None) or getattr(getattr(model, "model", None), method, None)
    if get is None:
        return []
    accepted = {n: v for n, v in medium.items() if n in inspect.signature(get).parameters or takes_keywords(get)}
    try:
        with torch.no_grad():
            features = get(**accepted)
    except Exception:  # what is wrong with these inputs, forward will say
        return []
    features = getattr(features, "pooler_output", None) if hasattr(features, "keys") else features
    if features is None:
        return []
    if isinstance(features, torch.Tensor) and features.dim() == 2:
        return [features.shape[0]]
    return [feature.shape[0] if feature.dim() > 1 else 1 for feature in features]


def rest_inputs(config, names: dict[str, inspect.Parameter], floats, generator) -> Inputs:
    """What forward requires besides text, pictures and sound."""
    import torch

    rest = series_inputs(config, names, floats)
    if "input_points" in names:
        size = pick(config, "image_size", default=64)
        rest["input_points"] = torch.ones(2, 1, 1, 2) * (size if is_int(size) else 64) / 2
    if "audio_codes" in names and names["audio_codes"].default is inspect.Parameter.empty:
        books = pick(config, "num_codebooks", "num_quantizers", default=4)
        rest["audio_codes"] = torch.randint(0, 8, (2, books, 10), generator=generator)
    for name, parameter in names.items():
        if parameter.default is not inspect.Parameter.empty or name in rest:
            continue
        if name in ("encoder_hidden_states", "key_value_states"):
            rest[name] = floats(2, 10, (widths(config) or [32])[0])
        elif name in ("timestep", "timesteps"):
            rest[name] = torch.ones(2)
    return rest


def series_inputs(config, names: dict[str, inspect.Parameter], floats) -> Inputs:
    """The past of a time series, and what is known of its future."""
    import torch

    if "past_values" not in names:
        return {}
    context = pick(config, "context_length", "prediction_length", default=16)
    past = (context if is_int(context) else 16) + max(getattr(config, "lags_sequence", None) or [0])
    width = pick(config, "num_input_channels", "input_size", default=1)
    series = {"past_values": floats(2, past) if not is_int(width) or width == 1 else floats(2, past, width)}
    if "past_time_features" in names:
        ahead = pick(config, "prediction_length", default=8)
        features = getattr(config, "num_time_features", 0) or 1
        series["past_time_features"] = floats(2, past, features)
        series["future_time_features"] = floats(2, ahead, features)
        series["future_values"] = floats(2, ahead)
    if "past_observed_mask" in names:
        series["past_observed_mask"] = torch.ones_like(series["past_values"])
    if "freq" in names:
        series["freq"] = torch.zeros(2, 1, dtype=torch.long)
    if "past_values_padding" in names:
        series["past_values_padding"] = torch.zeros(2, past)
    return series
