"""Whether generate() writes what the model's own logits say: greedily, in beams, behind padding, with its cache.

How it works:
- generate(use_cache=False) computes each step from the whole text. That run is what the class itself says.
- The same prompts as a plain call generates them, with a cache where the class has one, have to give the same tokens.
  Where one differs, its logits have to agree within CLOSE: only then may the order of a sum decide.
- Logits are compared at every step that both runs reached with the same tokens.
"""

import importlib
import inspect

from ..probe import probes
from ..values import describe
from .explain import explain

STEPS = 8  # new tokens; a cache that goes wrong does so at the second one
STEPS_OF_LARGE = 3
# Part of the largest logit. With a cache the sums of a step are added in another order; float32 then differs in the
# sixth digit, half precision in the third, and layers add to that.
CLOSE = {"float32": 1e-3, "float64": 1e-6, "float16": 3e-2, "bfloat16": 1e-1}
CACHES = ("past_key_values", "cache", "cache_params")  # what releases call it
PADDED = "triple"  # the probe whose padding is on the left


def faults(model, own: dict, is_large: bool) -> list[str] | str:
    """One line for each way of generating that writes something else than the run without a cache.

    Args:
        own: the folder's probe.json. is_large: only one prompt, greedily.

    Returns:
        The lines, or why nothing was compared.
    """
    name = type(model).__name__
    if not _can_generate(model):
        return "the class does not generate"
    from transformers import GenerationMixin

    if type(model).generate is not getattr(GenerationMixin, "generate", None):
        return f"{name} has a generate of its own"
    prompts = _prompts(model, own, is_large)
    if not prompts:
        return "no prompt of token ids is known"
    lines: list[str] = []
    seen: set[str] = set()  # an error that does not depend on how the text is written is said once
    steps = STEPS_OF_LARGE if is_large else STEPS
    with probes.evaluating(model):
        for probe, inputs in prompts.items():
            for beams in (1,) if is_large else (1, 2):
                how = ("in beams" if beams > 1 else "greedily") + (", padded on the left" * (probe == PADDED))
                try:
                    line = _difference(model, inputs, steps, beams)
                except Exception as error:
                    line = explain(error)
                    if "decoder_start_token_id" in line:
                        line += "; set decoder_start_token_id in the configuration"
                if line and line not in seen:
                    seen.add(line)
                    lines.append(f"{name}.generate, {how}: {line}{_cure(model)}")
    return lines[:2]  # the others have the same cause


def _can_generate(model) -> bool:
    check = getattr(model, "can_generate", None)
    return bool(check and check()) and hasattr(type(model), "generate")


def _prompts(model, own: dict, is_large: bool) -> dict[str, dict]:
    """Inputs of generate by probe: those of forward, without what generate makes by itself."""
    made = probes.probe_inputs(model, own)
    chosen = [probe for probe in ("single", PADDED, "own") if probe in made][: 1 if is_large else None]
    own_names = ("decoder_input_ids", "decoder_attention_mask", "token_type_ids", "position_ids", "labels")
    prompts = {probe: {key: value for key, value in made[probe].items() if key not in own_names} for probe in chosen}
    encodes = getattr(model.config, "is_encoder_decoder", False)
    return {probe: inputs for probe, inputs in prompts.items() if "input_ids" in inputs or (encodes and inputs)}


def _difference(model, inputs: dict, steps: int, beams: int) -> str | None:
    """How a run with the cache differs from one without, or None."""
    plain = model.generation_config.use_cache  # what a call without use_cache= does
    if plain is False and set(CACHES) & set(inspect.signature(model.forward).parameters):
        plain = True
    without, with_cache = (_generated(model, inputs, steps, beams, use_cache) for use_cache in (False, plain))
    bound = CLOSE.get(str(model.dtype).removeprefix("torch."), 1e-3)
    if beams > 1:
        return _beams_differ(without, with_cache, bound)
    before, after = without.sequences[:, -steps:].tolist(), with_cache.sequences[:, -steps:].tolist()
    same = [True] * len(before)
    for step in range(steps):
        expected, got = without.logits[step].float(), with_cache.logits[step].float()
        largest = float(expected[expected.isfinite()].abs().max()) if expected.isfinite().any() else 0.0
        differences = (expected - got).abs().masked_fill(expected == got, 0)  # minus infinity equals itself
        for row in range(len(before)):
            if not same[row]:
                continue
            apart = float(differences[row].max())
            if not apart <= bound * largest:
                return (
                    f"with its cache the logits of new token {step + 1} differ from those without by {apart:.3g} "
                    f"(the largest logit is {largest:.3g}), so it writes other text"
                )
            # equal logits within the bound: another token then is a tie that the order of a sum decides
            same[row] = before[row][step] == after[row][step]
    return None


def _beams_differ(without, with_cache, bound: float) -> str | None:
    """Beams may end on another text only where its score is as good."""
    if without.sequences.shape == with_cache.sequences.shape and bool(
        (without.sequences == with_cache.sequences).all()
    ):
        return None
    scores = [getattr(each, "sequences_scores", None) for each in (without, with_cache)]
    if scores[0] is not None and scores[1] is not None:
        apart = float((scores[0] - scores[1]).abs().max())
        if apart <= bound * max(1.0, float(scores[0].abs().max())):
            return None
        return f"with its cache the best text has another score than without (the difference is {apart:.3g})"
    return "with its cache it writes other text than without"


def _generated(model, inputs: dict, steps: int, beams: int, use_cache: bool):
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
    given = probes.in_own_type(model, {name: value.clone() for name, value in inputs.items()})
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(model).generate(model, **given, generation_config=settings)


def _cure(model) -> str:
    """What to do where forward does not take what this release gives it."""
    from transformers import GenerationMixin

    prepares = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
    name = "cache" if "cache" in prepares else "past_key_values"
    parameters = inspect.signature(model.forward).parameters
    if name in parameters or not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return ""
    if not set(CACHES) & set(parameters):
        takes_none = f"{type(model).__name__}.forward takes no cache of transformers ({', '.join(CACHES)})"
        return f". {takes_none}: set use_cache=False in the configuration class"
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


def compare_custom(model, own: dict, expected: list, target: dict) -> list[str] | str:
    """Why generate of a loaded model does not write what the folder's function does; or why it was not compared.

    Args:
        expected: of ``tokens_of_folder``. target: what from_pretrained was called with.
    """
    import transformers

    base = getattr(transformers.GenerationMixin, "load_custom_generate", None)
    if base is None:
        return f"transformers {transformers.__version__} does not know custom_generate and uses its own generate"
    name = type(model).__name__
    if "generate" not in vars(model):  # it was loaded as an argument of generate before it came with the model
        where = {"custom_generate": target["pretrained_model_name_or_path"], "trust_remote_code": True}
        where |= {key: target[key] for key in ("revision",) if key in target}
        call = lambda **inputs: model.generate(**inputs, **where)  # noqa: E731
    else:
        call = model.generate
    try:
        written = _written(call, model, own)
    except Exception as error:
        return [f"{name}.generate through custom_generate: {describe(error)}"]
    if written != expected:
        return [f"{name}.generate through custom_generate writes other tokens than the folder's own function"]
    return []


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
