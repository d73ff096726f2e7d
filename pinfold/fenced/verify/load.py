"""The second job of verification: loads that have to give the reference's numbers.

How it works:
- Load through every Auto class and by class; save and load again; load in half precision; load a second copy.
- Each load's outputs, buffers, losses and generated tokens are handed over in a file of its own, as they are:
  pinfold/verify/judge.py compares them, in a process without the folder's code.
- Tensors are compared with the file here (D02, D05), since all of them would have to be handed over otherwise.
"""

import json
import os

from ..card import example, pipelines
from ..values import describe, plain_config
from . import attention, buffers, generation, losses, tokens, weights
from .answer import Answer, answered
from .explain import explain
from .further_loads import HALVES, load_in_half, load_second_copy
from .load_job import LoadJob, arguments_of


def answer(request: dict) -> dict:
    """Do the job; exceptions become failures."""
    return answered("load", load, request)


def load(request: dict, answer: Answer) -> dict:
    """Load through every Auto class."""
    if request["models"]:
        request["models"] = {auto: place for auto, place in request["models"].items() if auto in request["probes"]}
    if not request["models"]:
        return answer.as_dict(samples=_load_tokens(request, answer), formula={}, unexpected={})
    job = LoadJob(request, answer)
    if request.get("converted"):
        _rename_tensors(job)
    # by class first: an Auto class marks the classes that it loads, and transformers treats those otherwise
    by_class = _load_by_class(job)
    problems: dict[str, str] = {}
    for auto, place in request["models"].items():
        try:
            _load_auto(job, auto, place.split(".")[-1])
        except Exception as error:
            problems[auto] = explain(error)
            answer.fail(auto, problems[auto])
    for auto, (name, error) in by_class.items():
        if problems.get(auto) != error:  # the same exception is reported once
            answer.fail(f"{name}.from_pretrained", error)
    main = next(auto for auto, place in request["models"].items() if place.endswith(f".{request['architecture']}"))
    if main in problems:
        for part in (*HALVES, "D07"):
            answer.skip(part, "nothing was loaded")
    else:
        for part, dtype in HALVES.items():
            load_in_half(job, main, part, dtype)
        load_second_copy(job, main)
    _load_others(job)
    _load_pipelines(job)
    samples = _load_tokens(request, answer)
    # last, since it is for the card of what has passed
    printed = example.run_first(request["examples"]) if request.get("examples") and not answer.failures else {}
    tried = request.get("pipeline") and not answer.failures and not job.is_large
    return answer.as_dict(
        samples=samples,
        formula=job.formula,
        unexpected=job.unexpected,
        fails_in=job.fails_in,
        example=printed,
        pipeline=pipelines.why_not(*request["pipeline"], job.where) if tried else "",
    )


def _rename_tensors(job: LoadJob) -> None:
    """Give the file's tensors the names that the main class has in this release."""
    import tempfile

    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    request, revisions = job.request, {k: job.where[k] for k in ("revision", "code_revision") if k in job.where}
    auto = next(a for a, place in request["models"].items() if place.endswith(f".{request['architecture']}"))
    try:
        cls = get_class_from_dynamic_module(request["places"][auto], request["target"], **revisions)
        config = transformers.AutoConfig.from_pretrained(**job.where)
        job.tensors = weights.under_names_of(cls, config, job.tensors, tempfile.gettempdir())
    except Exception:  # said when the class is loaded
        return


def _load_auto(job: LoadJob, auto: str, name: str) -> None:
    """Everything about one Auto class: what a load of it holds, computes, and saves."""
    answer, request = job.answer, job.request
    model, info = job.open_with_info(auto)
    facts: dict = {"class": type(model).__name__}
    # tensors before outputs: running a model may change its buffers, and what no file holds is then set by formula
    missing, unexpected = weights.unmatched(model, info, job.tensors)
    exact = name == request["architecture"]
    _check_tensors(job, auto, model, missing, unexpected, exact)
    # in a file of their own, at once: what no code wrote can make forward fail
    job.hand_over(f"buffers-{auto}", job.buffers_of(auto, model, request["dtype"]))
    job.formula[auto] = weights.set_by_formula(model, missing)
    job.unexpected[auto] = unexpected
    sizes = buffers.sizes(model, set(job.tensors))
    outputs = job.outputs_of(auto, model)
    facts["grows"] = buffers.grown(sizes, buffers.sizes(model, set(job.tensors)))
    facts["attention"] = attention.implementations(model.config)
    tensors = {f"output/{key}": value for key, value in outputs.items()}
    if not weights.align(model):
        outputs = job.outputs_of(auto, model)
        tensors |= {f"aligned/{key}": value for key, value in outputs.items()}
    facts["loss"] = _losses(job, auto, model, outputs, exact)
    facts["generated"], written = generation.runs(model, request["probe"], job.is_large)
    tensors |= {f"generated/{key}": value for key, value in written.items()}
    if exact and answer.version == request["reference_version"]:  # a push says what the newest release does
        facts["turn"], onward = generation.second_turn(model, request["probe"])
        tensors |= {f"turn/{key}": value for key, value in onward.items()}
    if exact and request.get("custom_generate"):
        facts["custom"] = generation.custom_tokens(model, request["probe"], job.where)
    job.hand_over(f"load-{auto}", tensors, **facts)
    if not exact:
        return
    if not request.get("resave"):
        answer.skip("D06", "a repository on the Hub is what was staged")
        return
    try:
        model.save_pretrained(request["resave"])
        config = plain_config(model.config, private=False)
        del model  # the next one takes as much memory
        lines = [f"{auto}: save → reload: {line}" for line in _reload(job, auto, name, config)]
    except Exception as error:
        lines = [f"{auto}: save → reload failed: {describe(error)}"]
    answer.check("D06", lines)


def _check_tensors(job: LoadJob, auto: str, model, missing: list, unexpected: list, exact: bool) -> None:
    """D02 and D05 of a loaded model, and memory that no code wrote."""
    key_lines = weights.key_lines(model, missing, unexpected, job.tensors, exact)
    tensor_lines = weights.tensor_lines(model, job.tensors, job.request["aliases"][auto])
    unwritten = buffers.unwritten(model, missing)
    for check, lines in (("D02", key_lines), ("D05", tensor_lines), ("D04", unwritten)):
        job.answer.check(check, [f"{auto}: {line}" for line in lines])


def _losses(job: LoadJob, auto: str, model, outputs: dict, exact: bool) -> dict | None:
    """Loss and gradients as they are; None where the reference has none."""
    why = job.request["losses"][auto].get("skipped")
    probe = job.request["probe"]
    if why is not None:
        job.answer.skip("loss", why)
        job.answer.notes.append(f"{auto}: loss and gradients are not compared: {why}")
        return None
    weights.align(model)
    own = {key.split("/", 1)[1]: value for key, value in outputs.items()}
    computed = losses.loss_and_gradients(model, probe, own, job.request["many"], again=True)
    if exact:
        try:
            line = losses.accumulates(model, probe, own)
        except Exception as error:
            line = f"{type(model).__name__}.forward with num_items_in_batch, as Trainer calls it: {describe(error)}"
        job.answer.check("P18", [line] if line else [], "accumulation")
    return computed


def _load_by_class(job: LoadJob) -> dict[str, tuple[str, str]]:
    """D04 and D05 for Class.from_pretrained with no argument, as its author calls it; auto -> (class, exception).

    Without torch_dtype the versions choose other types, and none may lose digits of what the file holds.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    problems: dict[str, tuple[str, str]] = {}
    revisions = {key: job.where[key] for key in ("revision", "code_revision") if key in job.where}
    for auto, place in job.request["models"].items():
        name, target = place.split(".")[-1], job.request["target"]
        if job.is_large and name != job.request["architecture"]:
            continue
        model = None
        try:
            cls = get_class_from_dynamic_module(job.request["places"][auto], target, **revisions)
            with job.dirtied(auto, 1):
                model = cls.from_pretrained(target, **{k: v for k, v in revisions.items() if k == "revision"})
            lines = weights.tensor_lines(model, job.tensors, job.request["aliases"][auto], lossless=True)
            job.answer.check("D05", [f"{name}.from_pretrained: {line}" for line in lines])
            if model.dtype == job.dtype:
                job.hand_over(f"class-{auto}", job.buffers_of(auto, model, job.request["dtype"]))
        except Exception as error:
            problems[auto] = (name, explain(error))  # an exception would keep the model
    return problems


def _load_others(job: LoadJob) -> None:
    """Configuration, tokenizer, processor."""
    import transformers

    for auto, place in job.request["others"].items():
        name = place.split(".")[-1]
        try:
            loaded = getattr(transformers, auto).from_pretrained(**job.where)
            if type(loaded).__name__ != name:
                raise TypeError(f"{auto} loaded {type(loaded).__name__}, but the folder registers {name}")
        except Exception as error:
            job.answer.fail(auto, explain(error))


def _load_pipelines(job: LoadJob) -> None:
    """The pipelines that config.json brings along, by the name of their task."""
    import transformers

    revisions = {key: job.where[key] for key in ("revision",) if key in job.where}
    for task, place in job.request["pipelines"].items():
        name = place.split(".")[-1]
        try:
            loaded = transformers.pipeline(task, model=job.request["target"], trust_remote_code=True, **revisions)
            if type(loaded).__name__ != name:
                raise TypeError(f"pipeline({task!r}) made {type(loaded).__name__}, but custom_pipelines has {name}")
        except Exception as error:
            job.answer.fail(f"pipeline({task!r})", describe(error))


def _load_tokens(request: dict, answer: Answer) -> dict | None:
    """What the loaded tokenizer makes of the samples."""
    import transformers

    if not request.get("tokenizer"):
        return None
    try:
        samples = tokens.samples(transformers.AutoTokenizer.from_pretrained(**arguments_of(request)))
    except Exception as error:
        answer.fail("AutoTokenizer", describe(error))
        return None
    answer.check("D01", [])
    return samples


def _reload(job: LoadJob, auto: str, name: str, before: dict) -> list[str]:
    """D06: a user who saves what was loaded gets a folder that is complete and gives the same numbers.

    Args:
        before: the configuration that was saved, as plain data.

    Returns:
        What is wrong with the folder; what its load computes is handed over.
    """
    directory, request = job.request["resave"], job.request
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        entries = json.load(file).get("auto_map") or {}
    elsewhere = any("--" in str(entry) for entry in entries.values())  # then the code stayed where it was
    lacking = sorted(set(request["model_code"]) - set(os.listdir(directory)) - {"__init__.py"})
    if lacking and not elsewhere:
        cure = f'end the files with {name}.register_for_auto_class("{auto}") and the like for the configuration'
        return [f"the saved folder lacks {', '.join(lacking)}; {cure}"]
    model = job.open(auto, 1, pretrained_model_name_or_path=directory)
    weights.align(model)  # save_pretrained puts tensors where it likes
    after = plain_config(model.config, private=False)
    tensors = job.buffers_of(auto, model, request["dtype"])  # before outputs: running a model may change them
    sizes = buffers.sizes(model, set(job.tensors))
    tensors |= {f"output/{key}": value for key, value in job.outputs_of(auto, model).items()}
    facts = {"class": type(model).__name__, "before": before, "after": after}
    facts["grows"] = buffers.grown(sizes, buffers.sizes(model, set(job.tensors)))
    job.hand_over(f"again-{auto}", tensors, **facts)
    return []
