"""Other number formats and devices than those in which the class was written."""

from ..values import describe, first_line, mapped
from . import outputs, starting
from .outputs import HALF
from .subject import CheckFailed, NotApplicable, Subject

CALL = "use weights only by calling their module, and keep blocks whole with _no_split_modules"
OPERATIONS = 4  # roundings of activations for each of a weight
MEANINGFUL = 0.3  # beyond it errors no longer add up: two right ways to compute can be anywhere
SHARES = (0.6, 0.8)  # of the model's size: what "auto" may hold in memory; the rest goes to disk
# What transformers 4 raises where no block fits in memory; other releases than the newest then lose weights of all
# models, so that a share is tried where some fit.
ALL_ON_DISK = "device disk is invalid"
# oneDNN's words on a processor for which it has no such layer, an LSTM for one
NO_KERNEL = "could not create a primitive"


def half(subject: Subject) -> str:
    """Fails when the model cannot be loaded in bfloat16, in which most are run today."""
    import torch

    model = subject.model()
    expected, directory = subject.run(model), subject.saved(model)
    again = subject.loaded(directory, torch_dtype=torch.bfloat16)
    in_float32 = [*(getattr(subject.cls, "_keep_in_fp32_modules", None) or ())]
    in_float32 += [*(getattr(subject.cls, "_keep_in_fp32_modules_strict", None) or ())]
    wide = [n for n, p in again.named_parameters() if p.dtype == torch.float32 and not any(k in n for k in in_float32)]
    if wide:
        raise CheckFailed(f"loaded in bfloat16 {outputs.listed(wide)} stays in float32; see _init_weights for a cast")
    inputs = mapped(subject.inputs, lambda v: v.to(torch.bfloat16) if v.is_floating_point() else v)
    actual = subject.run(again, inputs)
    return _close(subject, actual, expected, "in bfloat16")


def autocast(subject: Subject) -> str:
    """Fails when Trainer's bf16=True raises an error, or trains on numbers that overflow."""
    import torch

    model = subject.model()
    expected = subject.run(model)
    try:
        with torch.autocast(subject.device.split(":")[0], torch.bfloat16):
            actual = subject.run(model)
            model.train()
            value = subject.objective(model)
        value.backward()
    except RuntimeError as error:
        if NO_KERNEL not in str(error):
            raise
        raise NotApplicable(f"torch has no bfloat16 form of one of its layers here: {first_line(error)}") from None
    bad = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    if bad:
        raise CheckFailed(f"under autocast the gradient of {outputs.listed(bad)} is not finite; compute it in float32")
    return _close(subject, actual, expected, "under autocast")


def _close(subject: Subject, actual: dict, expected: dict, where: str) -> str:
    if bad := outputs.infinite({n: t for n, t in actual.items() if n in expected and expected[n].isfinite().all()}):
        raise CheckFailed(f"{where} {bad} is not finite; mask with the dtype's own lowest number")
    # what rounding the weights alone does, all else in float32: nothing in forward can make that smaller
    weights = subject.response(lambda parameter, _: parameter.bfloat16().float())
    allowed = max(HALF, OPERATIONS * weights)
    if allowed > MEANINGFUL:
        raise NotApplicable(
            f"{where} it is finite, and more cannot be said: rounding its weights changes it by {weights:.0%}"
        )
    if line := outputs.difference(actual, expected, allowed):
        raise CheckFailed(f"{where} {line}, more than {allowed:.0%}; keep sums, norms and softmax in float32")
    return f"{len(actual)} outputs within {allowed:.0%}"


def device_map(subject: Subject) -> str:
    """Fails when device_map="auto" refuses the model, or splits a layer whose parts belong together."""
    try:
        import accelerate  # noqa: F401 (transformers needs it for this)
    except ImportError:
        raise NotApplicable("accelerate is not installed: pip install accelerate") from None
    model = subject.model()
    blocks = getattr(subject.cls, "_no_split_modules", None)  # of instances, transformers 5 makes an empty set
    if blocks is None:
        raise CheckFailed(
            "_no_split_modules is not set: device_map='auto' is refused by transformers 4; name the classes "
            "of blocks that must stay on one device, or [] where anything may be split"
        )
    kinds = {type(module).__name__ for module in model.modules()}
    if blocks and not kinds & set(blocks):
        raise CheckFailed(
            f"_no_split_modules names {outputs.listed(sorted(blocks))}, and the model has no such module"
        )
    if subject.device != "cpu":
        raise NotApplicable("the model would fit on this device; it is split on the CPU")
    import transformers

    statistics = {n for n, _ in model.named_buffers()} & set(model.state_dict())
    if statistics and int(transformers.__version__.split(".")[0]) < 5:
        raise NotApplicable("transformers 4 loses batch norm's statistics, and all saved buffers, of layers on disk")
    expected, directory = subject.run(model), subject.saved(model)
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    said = []
    for share in SHARES:
        limit = {"cpu": int(size * share)}
        try:
            again = subject.loaded(directory, device_map="auto", max_memory=limit, offload_folder=subject.scratch())
        except Exception as error:
            if ALL_ON_DISK not in str(error):
                raise
            continue
        places = sorted({str(place) for place in getattr(again, "hf_device_map", {}).values()})
        if set(places) <= {"disk"}:
            continue
        where = " and ".join(places)
        try:
            actual = subject.run(again)
        except Exception as error:
            raise CheckFailed(f"with device_map='auto', on {where}, it raises {describe(error)}; {CALL}") from None
        if line := outputs.difference(actual, expected, subject.rounding):
            raise CheckFailed(f"with device_map='auto', on {where}: {line}; {CALL}")
        said.append(where)
    if not said:
        raise NotApplicable("however much memory there is, no block of it fits")
    return f"on {', then on '.join(said)}"


def on_its_device(subject: Subject) -> str:
    """Fails when the model cannot run on a GPU, because a tensor is made or left on the CPU."""
    model = subject.fresh()
    state = {id(t) for t in [*model.parameters(), *model.buffers()]}
    loose = sorted(n for n, t in starting.constants(model).items() if id(t) not in state)
    if loose:
        raise CheckFailed(f"{outputs.listed(loose)} is a plain attribute and stays on the CPU; use register_buffer")
    if subject.device != "cpu":
        model = subject.model()
        elsewhere = [n for n, t in model.state_dict().items() if t.device.type != subject.device.split(":")[0]]
        if elsewhere:
            raise CheckFailed(f"{outputs.listed(elsewhere)} is not on {subject.device} after .to()")
        wrong = [n for n, t in subject.run(model).items() if t.device.type != subject.device.split(":")[0]]
        if wrong:
            raise CheckFailed(f"{outputs.listed(wrong)} comes back on another device than {subject.device}")
        return f"{len(state)} tensors on {subject.device}"
    results = shapes_on_a_gpu(subject, model)
    wrong = [n for n, t in results.items() if t.device.type != "cuda"]
    if wrong:
        raise CheckFailed(f"on a GPU {outputs.listed(wrong)} would be on the CPU; make tensors with device=x.device")
    return f"{len(state)} tensors; {len(results)} outputs of a GPU that knows shapes alone"


def shapes_on_a_gpu(subject: Subject, model) -> dict:
    """Outputs of a GPU that knows shapes alone, which is enough to see where tensors are made.

    Raises:
        NotApplicable: the class reads values.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    def put(tensor):
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")

    try:
        with FakeTensorMode(), torch.no_grad():
            for module in model.modules():
                for name, parameter in module._parameters.items():
                    if parameter is not None:
                        module._parameters[name] = torch.nn.Parameter(put(parameter), requires_grad=False)
                for name, buffer in module._buffers.items():
                    module._buffers[name] = None if buffer is None else put(buffer)
            return outputs.tensors(model(**mapped(subject.inputs, put)))
    except Exception as error:
        # torch's own texts; an operator raises a plain RuntimeError for any other fault as well
        if "same device" in str(error) or "different devices" in str(error):
            raise CheckFailed(f"on a GPU: {describe(error)}; make tensors with device=x.device") from None
        raise NotApplicable(f"it reads values of tensors, so only a GPU can show this: {describe(error)}") from None
