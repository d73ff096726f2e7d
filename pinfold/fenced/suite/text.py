"""Generation: with a cache as without, in a batch as alone, and by every deterministic method."""

import inspect

from . import outputs
from .batches import PADDED, can_generate
from .subject import CheckFailed, NotApplicable, Subject

TOKENS = 5
# Scores are log-probabilities of a cached step against the same step computed anew: sums in another order.
SCORES = 1e-4


def tolerance(subject: Subject) -> float:
    return max(SCORES, subject.rounding)


def generator(subject: Subject):
    """A model that generates, with a padding token and without an end.

    Raises:
        NotApplicable: the class does not.
    """
    if not can_generate(subject.cls):
        raise NotApplicable("it does not inherit from GenerationMixin")
    config, pad = subject.with_padding() if subject.vocabulary() else (subject.configuration(), 0)
    return endless(subject.model(config), pad), pad


def endless(model, pad: int):
    """A model with settings by which it writes as many tokens as it is asked for."""
    settings, config = model.generation_config, model.config
    settings.pad_token_id, settings.eos_token_id, settings.forced_eos_token_id = pad, None, None
    settings.forced_bos_token_id = settings.bos_token_id if getattr(settings, "forced_bos_token_id", None) else None
    if getattr(config, "is_encoder_decoder", False) and settings.decoder_start_token_id is None:
        start = getattr(config, "decoder_start_token_id", None)
        settings.decoder_start_token_id = pad if start is None else start
    return model


def generated(subject: Subject, model, inputs: dict | None = None, **options) -> dict:
    """Tokens and scores."""
    import torch

    names = ("decoder_input_ids", "decoder_attention_mask")
    arguments = {n: v for n, v in (subject.inputs if inputs is None else inputs).items() if n not in names}
    if "input_ids" in arguments and "attention_mask" not in arguments:
        arguments["attention_mask"] = torch.ones_like(arguments["input_ids"])
    settings = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False, "num_beams": 1, **options}
    torch.manual_seed(0)
    with torch.no_grad():
        output = model.generate(
            **subject.on_device(arguments), **settings, return_dict_in_generate=True, output_scores=True
        )
    scores = {f"scores.{i}": score for i, score in enumerate(output.scores)}
    return {"sequences": output.sequences, **scores}


def cache_changes_nothing(subject: Subject) -> str:
    """Fails when generate writes another text with a cache than without."""
    model, _ = generator(subject)
    with_cache, without = generated(subject, model, use_cache=True), generated(subject, model, use_cache=False)
    tokens = with_cache["sequences"].shape[1]
    if line := outputs.difference(with_cache, without, tolerance(subject)):
        raise CheckFailed(f"with use_cache=True {line}; see the positions and the mask of tokens after the first step")
    return f"{tokens} tokens, {TOKENS} new"


def prompts_in_a_batch(subject: Subject) -> str:
    """Fails when prompts of several lengths, generated together, get other texts than alone."""
    import torch

    model, pad = generator(subject)
    subject.needs_text()
    ids = subject.inputs["input_ids"]
    encodes = getattr(model.config, "is_encoder_decoder", False)
    side = "right" if encodes else "left"  # an encoder reads its padding, a decoder goes on from the last token
    batch = torch.full((2, ids.shape[1]), pad, dtype=ids.dtype)
    mask = torch.zeros_like(batch)
    short = ids.shape[1] - PADDED
    place = slice(0, short) if side == "right" else slice(PADDED, None)
    batch[0], batch[1, place] = ids[0], ids[1, :short]
    mask[0], mask[1, place] = 1, 1
    rest = {n: v for n, v in subject.inputs.items() if n not in ("input_ids", "attention_mask", "token_type_ids")}
    together = generated(subject, model, {**rest, "input_ids": batch, "attention_mask": mask})
    for row, prompt in enumerate((ids[:1], ids[1:, :short])):
        one = {n: v[row : row + 1] if hasattr(v, "shape") and len(v) == 2 else v for n, v in rest.items()}
        alone = generated(subject, model, {**one, "input_ids": prompt, "attention_mask": torch.ones_like(prompt)})
        actual = {n: t[row : row + 1] for n, t in together.items() if n != "sequences"}
        expected = {n: t for n, t in alone.items() if n != "sequences"}
        if line := outputs.difference(actual, expected, tolerance(subject)):
            raise CheckFailed(
                f"prompt {row} in a batch padded on the {side}: {line} from the prompt alone; see position_ids"
            )
        if not torch.equal(together["sequences"][row, -TOKENS:], alone["sequences"][0, -TOKENS:]):
            raise CheckFailed(f"prompt {row} in a batch padded on the {side} is continued otherwise than alone")
    return f"2 prompts, padded on the {side}"


def static_cache(subject: Subject) -> str:
    """Fails when a cache of fixed size gives other texts, so that generation cannot be compiled."""
    model, _ = generator(subject)
    if not (
        getattr(subject.cls, "_supports_static_cache", False) or getattr(subject.cls, "_can_compile_fullgraph", False)
    ):
        raise NotApplicable("neither _supports_static_cache nor _can_compile_fullgraph is set")
    expected = generated(subject, model)
    actual = generated(subject, model, cache_implementation="static")
    if line := outputs.difference(actual, expected, tolerance(subject)):
        raise CheckFailed(f"with a static cache {line}; accept a ready-made 4-D mask and unused places of the cache")
    return f"{TOKENS} new tokens"


def beams(subject: Subject) -> str:
    """Fails when beam search raises an error, or mixes up its hypotheses."""
    model, _ = generator(subject)
    result = generated(subject, model, num_beams=2, num_return_sequences=2)
    rows = 2 * len(next(iter(subject.inputs.values())))
    if len(result["sequences"]) != rows:
        raise CheckFailed(f"beam search gives {len(result['sequences'])} sequences, should be {rows}")
    if "use_cache" in inspect.signature(subject.cls.forward).parameters or subject.takes_keywords:
        again = generated(subject, model, num_beams=2, num_return_sequences=2, use_cache=False)
        if line := outputs.apart(result["sequences"], again["sequences"]):
            raise CheckFailed(f"beams with a cache: the text {line} from the one without; reorder the cache by beams")
    return f"{rows} sequences"


def keeps_settings(subject: Subject) -> str:
    """Fails when generation settings that were saved with the model are gone after a reload."""
    model, _ = generator(subject)
    model.generation_config.max_new_tokens = 3
    again = subject.loaded(subject.saved(model))
    if again.generation_config.max_new_tokens != 3:
        raise CheckFailed("generation_config.max_new_tokens = 3 is lost on saving; keep generation_config.json")
    return "generation_config.json"
