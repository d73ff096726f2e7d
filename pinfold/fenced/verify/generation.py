"""What generate() writes with its cache and without it: greedily, in beams, and behind padding.

How it works:
- generate(use_cache=False) computes each step from the whole text. That run is what the class itself says.
- The same prompts are generated as a plain call does it, with a cache where the class has one.
- A second turn goes on from the cache that a first one returned, with several new tokens at once.
- Tokens and logits of all are handed over as they are; pinfold/verify/generation.py compares them.
"""

import importlib
import inspect

from ..probe import probes
from ..values import clone, describe
from .explain import explain

STEPS = 8  # new tokens; a cache that goes wrong does so at the second one
STEPS_OF_LARGE = 3
TURN = 2  # new tokens of each of two turns, and of what is said between them
CACHES = ("past_key_values", "cache", "cache_params")  # what releases call it
PADDED = "triple"  # the probe whose padding is on the left


def runs(model, own: dict, is_large: bool) -> tuple[list[dict] | str, dict]:
    """Every prompt with the cache and without.

    Args:
        own: the folder's probe.json. is_large: only one prompt, greedily.

    Returns:
        For each pair of runs "how" it was generated, "beams", "steps", the "error" that it raised or None, and the
        "cure" where forward does not take what generate passes; or why nothing was run. And their tensors, by
        "number of the pair/with or without/what".
    """
    name = type(model).__name__
    if not _can_generate(model):
        return "the class does not generate", {}
    from transformers import GenerationMixin

    if type(model).generate is not getattr(GenerationMixin, "generate", None):
        return f"{name} has a generate of its own", {}
    prompts = _prompts(model, own, is_large)
    if not prompts:
        return "no prompt of token ids is known", {}
    pairs: list[dict] = []
    tensors: dict = {}
    steps = STEPS_OF_LARGE if is_large else STEPS
    with probes.evaluating(model):
        for probe, inputs in prompts.items():
            for beams in (1,) if is_large else (1, 2):
                how = ("in beams" if beams > 1 else "greedily") + (", padded on the left" * (probe == PADDED))
                pair = {"how": how, "beams": beams, "steps": steps, "error": None, "cure": _cure(model)}
                try:
                    tensors |= {f"{len(pairs)}/{k}": v for k, v in _pair(model, inputs, steps, beams).items()}
                except Exception as error:
                    pair["error"] = explain(error)
                    if "decoder_start_token_id" in pair["error"]:
                        pair["error"] += "; set decoder_start_token_id in the configuration"
                pairs.append(pair)
    return pairs, tensors


def _can_generate(model) -> bool:
    check = getattr(model, "can_generate", None)
    return bool(check and check()) and hasattr(type(model), "generate")


def _prompts(model, own: dict, is_large: bool) -> dict[str, dict]:
    """Inputs of generate by probe: those of forward, without what generate makes by itself."""
    made = probes.probe_inputs(model, own)
    chosen = [probe for probe in ("single", PADDED, "own") if probe in made][: 1 if is_large else None]
    own_names = ("decoder_input_ids", "decoder_attention_mask", "token_type_ids", "position_ids", "labels")
    prompts = {probe: {key: value for key, value in made[probe].items() if key not in own_names} for probe in chosen}
    encodes = _encodes(model)
    return {probe: inputs for probe, inputs in prompts.items() if "input_ids" in inputs or (encodes and inputs)}


def _pair(model, inputs: dict, steps: int, beams: int) -> dict:
    """Tokens, and logits or the scores of beams, of a run without the cache and of one with it."""
    tensors: dict = {}
    for which, use_cache in (("without", False), ("with", _uses_cache(model))):
        written = _generated(model, inputs, steps, beams, use_cache)
        tensors |= _of_run(which, written, beams)
    return tensors


def _uses_cache(model) -> bool | None:
    """What a call without use_cache= does, and a cache wherever forward takes one."""
    plain = model.generation_config.use_cache
    return True if plain is False and set(CACHES) & set(inspect.signature(model.forward).parameters) else plain


def _of_run(which: str, written, beams: int = 1) -> dict:
    import torch

    tensors = {f"{which}/sequences": written.sequences}
    if beams == 1:
        tensors[f"{which}/logits"] = torch.stack([logits.float() for logits in written.logits])
    elif getattr(written, "sequences_scores", None) is not None:
        tensors[f"{which}/scores"] = written.sequences_scores.float()
    return tensors


def _generated(model, inputs: dict, steps: int, beams: int, use_cache: bool, more: dict | None = None):
    """A run of generate whose settings are fixed here: those of the checkpoint might draw at random."""
    import torch
    from transformers import GenerationConfig

    own = model.generation_config
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id")
    tokens = {name: getattr(own, name, None) for name in names}
    if tokens["pad_token_id"] is None:  # generate itself takes the end token then, with a warning
        ends = tokens["eos_token_id"]
        tokens["pad_token_id"] = ends[0] if isinstance(ends, list) else ends
    settings = GenerationConfig(
        **{name: value for name, value in tokens.items() if value is not None},
        max_new_tokens=steps,
        min_new_tokens=steps,
        do_sample=False,
        num_beams=beams,
        **({} if use_cache is None else {"use_cache": use_cache}),
        return_dict_in_generate=True,
        output_logits=True,
        output_scores=beams > 1,
    )
    given = probes.in_own_type(model, clone(inputs))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(model).generate(model, **given, **(more or {}), generation_config=settings)


def second_turn(model, own: dict) -> tuple[dict, dict]:
    """A text that goes on from the cache that a first turn returned, and the same text without a cache.

    Returns:
        Nothing where no cache is returned, or what goes in is not a text alone. Otherwise "cache", its class, where
        it is none of transformers'; or how many places it "holds" of how many tokens of "text", whether the class
        "prepares" its inputs itself, and the "error" that going on raised or None. And tensors as those of a pair.
    """
    from transformers import Cache, GenerationMixin

    if not _can_generate(model) or type(model).generate is not GenerationMixin.generate or _encodes(model):
        return {}, {}
    inputs = next(iter(_prompts(model, own, True).values()), {"pixel_values": None})
    if set(inputs) - {"input_ids", "attention_mask"} or _uses_cache(model) is False:
        return {}, {}
    with probes.evaluating(model):
        try:
            first = _generated(model, inputs, TURN, 1, True)
            cache = next((first.get(name) for name in CACHES if first.get(name) is not None), None)
            if cache is None or (isinstance(cache, tuple) and model._supports_default_dynamic_cache()):
                return {}, {}  # early releases make tuples of its own cache
            if not isinstance(cache, Cache):
                return {"cache": type(cache).__name__}, {}
            text = {"input_ids": _longer(first.sequences)}
            if "attention_mask" in inspect.signature(model.forward).parameters:
                text["attention_mask"] = _ones(text["input_ids"], inputs.get("attention_mask"))
            without = _generated(model, text, TURN, 1, False)
            facts = {"holds": int(cache.get_seq_length()), "text": first.sequences.shape[1] - 1, "error": None}
        except Exception:  # the runs of one turn say it, or its texts have to be shorter
            return {}, {}
        prepares = type(model).prepare_inputs_for_generation is not GenerationMixin.prepare_inputs_for_generation
        facts["prepares"] = prepares
        try:
            onward = _generated(model, text, TURN, 1, True, {_cache_name(): cache})
        except Exception as error:
            return {**facts, "error": explain(error)}, {}
    return facts, {**_of_run("without", without), **_of_run("with", onward)}


def _longer(ids):
    """What was written, and the first words again."""
    import torch

    return torch.cat([ids, ids[:, :TURN]], 1)


def _ones(ids, mask):
    """A mask of all tokens, but for the padding of the prompt."""
    import torch

    ones = torch.ones_like(ids)
    if mask is not None:
        ones[:, : mask.shape[1]] = mask
    return ones


def _encodes(model) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def _cache_name() -> str:
    """What this release's generate calls a cache."""
    from transformers import GenerationMixin

    prepares = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
    return "cache" if "cache" in prepares else "past_key_values"


def _cure(model) -> str:
    """What to do where forward does not take what this release gives it."""
    from transformers import GenerationMixin

    name = _cache_name()
    parameters = inspect.signature(model.forward).parameters
    if name in parameters or not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return ""
    if not set(CACHES) & set(parameters):
        takes_none = f"{type(model).__name__}.forward takes no cache of transformers ({', '.join(CACHES)})"
        files = "generation_config.json, or in config.json where there is only that"  # generate reads the first alone
        says = f'set use_cache=False in the configuration class, and "use_cache": false in {files}'
        own = "_update_model_kwargs_for_generation"
        if getattr(type(model), own) is not getattr(GenerationMixin, own, None):  # beams ask whether the name is there
            says += f"; let {own} hand on the state of a step only where it is not None"
        return f". {takes_none}: {says}"
    return (
        f". generate passes the cache as {name}, which falls into **kwargs here: take both names, "
        "past_key_values=None and cache=None, and use the one that is given"
    )


# --- custom_generate/generate.py, which transformers runs in place of generate() from 4.53 on ---


def tokens_of_folder(model, own: dict) -> dict:
    """What the folder's own function writes for this model: {"tokens"}, or {"failed": why}.

    Call where the folder is importable as the package _folder.
    """
    try:
        function = importlib.import_module("_folder.custom_generate.generate").generate
        return {"tokens": _written(lambda **inputs: function(model=model, **inputs), model, own)}
    except Exception as error:
        return {"failed": describe(error)}


def custom_tokens(model, own: dict, target: dict) -> dict:
    """What generate of a loaded model writes through custom_generate: {"tokens"}, {"failed": why} or {"skipped": why}.

    Args:
        target: what from_pretrained was called with.
    """
    import transformers

    base = getattr(transformers.GenerationMixin, "load_custom_generate", None)
    if base is None:
        why = f"transformers {transformers.__version__} does not know custom_generate and uses its own generate"
        return {"skipped": why}
    if "generate" not in vars(model):  # it was loaded as an argument of generate before it came with the model
        where = {"custom_generate": target["pretrained_model_name_or_path"], "trust_remote_code": True}
        where |= {key: target[key] for key in ("revision",) if key in target}
        call = lambda **inputs: model.generate(**inputs, **where)  # noqa: E731
    else:
        call = model.generate
    try:
        return {"tokens": _written(call, model, own)}
    except Exception as error:
        return {"failed": describe(error)}


def _written(function, model, own: dict) -> list:
    """The tokens that a function writes for the first prompt that the model has."""
    import torch

    inputs = next(iter(probes.probe_inputs(model, own).values()))
    ids = inputs.get("input_ids", next(iter(inputs.values())))
    given = {"input_ids": ids[:1].clone()}
    with probes.evaluating(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        written = function(**given)
    sequences = getattr(written, "sequences", written)
    if not isinstance(sequences, torch.Tensor):
        raise TypeError(f"custom_generate returns {type(written).__name__}, not a tensor of tokens")
    return sequences.tolist()
