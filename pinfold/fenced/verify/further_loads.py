"""Loads of the main class after the first: in half precision, and of a second copy of the code."""

import re
import sys

from ..values import describe
from . import weights
from .load_job import LoadJob

HALVES = {"bf16": "bfloat16", "fp16": "float16"}


def load_in_half(job: LoadJob, auto: str, part: str, dtype: str) -> None:
    """The file's tensors cast, the constructor's buffers, and outputs, which have to be numbers."""
    import torch

    answer, where = job.answer, f"{auto} in {dtype}"
    if job.is_large:
        answer.skip(part, f"more than {job.request['many']:,} parameters; another load would take too long")
        return
    try:
        model = job.open(auto, torch_dtype=getattr(torch, dtype))
    except Exception as error:
        answer.check("D01", [f"{where}: {describe(error)}"], part)
        return
    lines = _not_in_half(model, getattr(torch, dtype))
    lines += weights.tensor_lines(model, job.tensors, job.request["aliases"][auto])
    answer.check("D05", [f"{where}: {line}" for line in lines], part)
    weights.set_by_formula(model, job.formula.get(auto, []))
    try:
        job.hand_over(f"buffers-{part}", job.buffers_of(auto, model, dtype))
        tensors = {f"output/{key}": value for key, value in job.outputs_of(auto, model).items()}
    except Exception as error:
        if _lacks_kernel(error):
            answer.leave_out(part, f"its tensors are right, but this CPU has no kernel for it: {describe(error)}")
        else:
            answer.leave_out(part, f"its tensors are right, but forward fails in {dtype}: {describe(error)}")
            job.fails_in[dtype] = describe(error)
        return
    job.hand_over(f"half-{part}", tensors)


def _lacks_kernel(error: Exception) -> bool:
    """Whether torch lacks a CPU kernel for this type, which is not the model's fault.

    Recognised by torch's two messages: a model may raise NotImplementedError itself, and that is its own failure.
    """
    return re.search(r"not implemented for '\w+'|Could not run 'aten::", str(error)) is not None


def _not_in_half(model, dtype) -> list[str]:
    """The first parameter that is not of this type, though the class does not ask for that.

    Up to 4.50 all parameters keep the type of the file where the first entry of the state has that type in the model
    (check_support_param_buffer_assignment in modeling_utils.py): a parameter with a dtype of its own, or a buffer of
    integers.
    """
    names = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
    exempt = tuple(module for name in names for module in getattr(model, name, None) or ())
    first, of_first = next(iter(model.state_dict().items()), ("", None))
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or parameter.dtype == dtype or _named(name, exempt):
            continue
        kept = f'_keep_in_fp32_modules = ["{name.split(".")[-1]}"]'
        if of_first is not None and not of_first.is_floating_point():
            buffer = first.split(".")[-1]
            cure = f"register {buffer} with persistent=False, or create a part with weights before its own"
            return [
                f"{name} is {parameter.dtype}: the state begins with {first} ({of_first.dtype}), and then "
                f"transformers up to 4.50 leaves all weights as they are in the file; {cure}"
            ]
        cure = f"where it has to be float32, {kept} says so"
        if first == name:
            cure = f"where it has to be float32, create it after another parameter, and say so: {kept}"
        elif _named(first, exempt):
            cure = f"or create {first} so, after whose type this release loads all others"
        return [f"{name} is {parameter.dtype}; create it without a dtype of its own; {cure}"]
    return []


def _named(name: str, modules: tuple) -> bool:
    return any(module in name.split(".") or module in name for module in modules)


def load_second_copy(job: LoadJob, auto: str) -> None:
    """D07: another copy of the code, in a folder of the same name, must run its own code."""
    import torch
    import transformers

    second = job.request.get("second")
    if not second:
        job.answer.skip("D07", "the modules of a repository on the Hub are named after its commit")
        return
    try:
        if job.is_large:
            config = transformers.AutoConfig.from_pretrained(second["target"], trust_remote_code=True)
            with torch.device("meta"):
                model = getattr(transformers, auto).from_config(config, trust_remote_code=True)
        else:
            model = job.open(auto, pretrained_model_name_or_path=second["target"])
    except Exception as error:
        lines = [f"{auto}: a second copy in a folder of the same name: {describe(error)}"]
    else:
        modules = [sys.modules.get(cls.__module__) for cls in type(model).__mro__]
        right = any(hasattr(module, second["mark"]) for module in modules)
        lines = [] if right else [f"{auto}: two copies with the same folder name in one process gave the same class"]
    job.answer.check("D07", lines)
