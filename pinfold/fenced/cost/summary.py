"""The job of ``pinfold summarize``: build or load a model, run it, and say what each of its modules is and costs.

How it works:
- The model is built on the meta device first, which shows whether its weights and gradients fit into memory.
- Where they do, it is built or loaded, and run on sized inputs: forward, forward with a look at the numbers, one step.
- Where they do not, the same runs without numbers give parameters, FLOPs and memory.
"""

from collections import Counter

from ..probe import declared
from ..values import by_place, describe, first_line, mapped, out_of_memory
from ..verify import buffers, losses
from . import observe, sizes, sources

STATES = {"adamw": 2, "sgd": 0, "none": 0}  # numbers that an optimiser keeps for each trainable parameter
ROWS = (2, 1)  # unless a number is asked for; models without a token for padding may take only one
FITS = 0.8  # of the memory may be taken by weights and gradients


def answer(request: dict) -> dict:
    """Everything about one model; a mistake or an exception of its code is a "failure"."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    notes: list[str] = []
    line, seen = "", {}
    try:
        seen = _summary(request, notes)
    except sizes.Refused as error:
        line = str(error)
    except Exception as error:
        line = describe(error)
    failures = [{"check": "", "line": line}] if line else []
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    return {"failures": failures, "notes": notes, **versions, **seen}


def _summary(request: dict, notes: list) -> dict:
    config_class, choose = sources.classes_of(request)
    stored = request["stored"]
    sources.check_fields(config_class, request["fields"])
    given = {**(stored or {}), **request["fields"]}
    config = config_class.from_dict(given) if stored else config_class(**given)
    auto, cls = choose(config)
    dtype = request["dtype"] or sources.stored_dtype(stored or {}) or "float32"
    blank, why = on_meta(cls, config, dtype)
    if request["meta"] and blank is None:
        raise sizes.Refused(f"{cls.__name__} cannot be built on the meta device: {why}; leave out --meta")
    too_large = _too_large(blank, request["memory"]) if blank is not None else None
    head = {"auto": auto, "class": cls.__name__, "model_type": getattr(config, "model_type", ""), "dtype": dtype}
    if not request["meta"] and not too_large:
        blank = None  # its buffers may have taken memory
        try:
            model = sources.with_numbers(cls, config, dtype, request, notes)
            return {**head, "meta": False, **_observed(model, request, notes)}
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            too_large, model = "it ran out of memory", None
        blank, why = on_meta(cls, config, dtype)
        if blank is None:
            raise sizes.Refused(f"{too_large}, and {cls.__name__} cannot be built on the meta device: {why}")
    notes.append(f"on the meta device, without numbers: {too_large or 'as --meta asks'}")
    try:
        return {**head, "meta": True, **_observed(blank, request, notes)}
    except (NotImplementedError, RuntimeError) as error:  # it reads a value, or an operator has no shapes-only form
        reason = f"its forward does not run on the meta device: {first_line(error)}"
        cure = "use a smaller one with --set, or more memory" if too_large else "leave out --meta"
        raise sizes.Refused(f"{cls.__name__}: {f'{too_large}, and ' if too_large else ''}{reason}; {cure}") from None


def on_meta(cls, config, dtype: str):
    """The model without memory, or None and why there is none."""
    import copy

    import torch

    try:
        with torch.device("meta"):
            return buffers.built(cls, copy.deepcopy(config), dtype), ""
    except Exception as error:
        return None, describe(error)


def _too_large(model, memory: int) -> str | None:
    """Why the weights and gradients of a model do not fit, in words."""
    weights = sum(p.numel() * p.element_size() for p in (*model.parameters(), *model.buffers()))
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    if weights + gradients <= FITS * memory:
        return None
    return f"weights and gradients take {(weights + gradients) / 2**30:.1f} GiB of {memory / 2**30:.1f} GiB"


def _observed(model, request: dict, notes: list) -> dict:
    """Run it and gather what was seen."""
    import torch

    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    real = device.type != "meta"
    inputs, arguments, seen = passed(model, request, device, notes)
    output = seen.pop("output")
    signals, rectified = observe.signals(model, arguments) if real else ({}, [])
    step = _step(model, inputs, arguments, output, real, notes)
    return {
        "inputs": {name: [str(t.dtype)[6:], list(t.shape)] for name, t in _tensors(arguments).items()},
        "signals": signals, "rectified": rectified, "peak": seen["peak"], "unknown": seen["unknown"],
        "loss": step["loss"], "loss_from": step["from"], "gradients": step["gradients"],
        **_parameters(model),
        "modules": _modules(model, seen, step["saved"], STATES[request["optimizer"]]),
    }  # fmt: skip


def passed(model, request: dict, device, notes: list) -> tuple[dict, dict, dict]:
    """The inputs with which it runs, with and without the model's own device and type, and what that has shown."""
    import torch

    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    problem = None
    rows = ROWS if not request["probe"] or declared.is_resizable(request["probe"]) else [None]
    for batch in [request["batch"]] if request["batch"] else rows:
        inputs = sizes.sized_inputs(model, request["probe"], batch, request["length"], request["image_size"])
        moved = _moved(inputs, device, floating)
        attempts = [moved]
        if device.type == "meta" and "attention_mask" in moved:  # it is of ones, and no code can look into it here
            attempts.append({name: tensor for name, tensor in moved.items() if name != "attention_mask"})
        for attempt in attempts:
            try:
                seen = observe.passing(model, attempt)
            except Exception as error:
                if out_of_memory(error):
                    raise
                problem = error if device.type == "meta" else problem or error
                continue
            if attempt is not moved:
                notes.append("without attention_mask, which its forward looks into")
            elif problem:
                notes.append(f"one row, because two are refused: {first_line(problem)}")
            return inputs, attempt, seen
    raise problem


def _moved(inputs: dict, device, floating) -> dict:
    """Inputs where the model is, with numbers in its type; other values than tensors stay."""
    return mapped(inputs, lambda each: each.to(device, floating if each.is_floating_point() else each.dtype))


def _tensors(inputs: dict) -> dict:
    return {name: value for name, value in by_place(inputs).items() if hasattr(value, "dtype")}


def _step(model, inputs: dict, arguments: dict, output, real: bool, notes: list) -> dict:
    """One step, with the model's own loss where labels for it are known."""
    import torch

    logits = output.get("logits") if isinstance(output, dict) else None
    labels = losses.label_inputs(model, inputs, {"it/logits": logits} if logits is not None else {}, "it")
    attempts = [({}, "the outputs, weighted by a wave")]
    if isinstance(labels, dict):
        device = next(iter(_tensors(arguments).values())).device
        attempts.insert(0, ({name: t.to(device) for name, t in labels.items()}, "its own, for labels by formula"))
    for label_arguments, source in attempts:
        try:
            return {**observe.stepping(model, arguments, label_arguments, real), "from": source}
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            why = describe(error)
            what = "with labels" if label_arguments else "in training mode"
            notes.append(f"a step {what} is not possible: {why}")
    return {"saved": {}, "gradients": {}, "loss": None, "from": None}


def _parameters(model) -> dict:
    """Every parameter once, where it lies and who shares it; tensors by type and device."""
    names: dict[int, list] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    shapes: dict[str, dict] = {}
    kinds: dict[tuple, list] = {}
    for name, p in model.named_parameters():
        shapes[name] = {"shape": list(p.shape), "trainable": p.requires_grad}
        kinds.setdefault((str(p.dtype)[6:], str(p.device), "parameters"), []).append(p)
    for b in model.buffers():
        kinds.setdefault((str(b.dtype)[6:], str(b.device), "buffers"), []).append(b)
    tensors = [
        {"dtype": d, "device": where, "what": what, "numbers": sum(t.numel() for t in of),
         "bytes": sum(t.numel() * t.element_size() for t in of), "floating": of[0].is_floating_point()}
        for (d, where, what), of in kinds.items()
    ]  # fmt: skip
    return {"parameters": shapes, "tied": [n for n in names.values() if len(n) > 1], "tensors": tensors}


def _modules(model, seen: dict, saved: dict, states: int) -> list:
    """One entry a module. A parameter counts where it has its first name, and a module that is shared likewise."""
    first = {id(p): name.rpartition(".")[0] for name, p in model.named_parameters()}
    shared = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    places: dict[int, str] = {}
    entries: list[dict] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if name and id(module) in places:
            entries.append({"name": name, "class": type(module).__name__, "same_as": places[id(module)]})
            continue
        places[id(module)] = name
        inside = [p for p in module.parameters() if name == "" or f"{first[id(p)]}.".startswith(f"{name}.")]
        trainable = [p for p in inside if p.requires_grad]
        entries.append({
            "name": name,
            "class": type(module).__name__,
            "calls": seen["calls"].get(name, 0),
            "shape": seen["shapes"].get(name),
            "parameters": sum(p.numel() for p in inside),
            "trainable": sum(p.numel() for p in trainable),
            "own": sum(p.numel() for p in module.parameters(recurse=False) if first[id(p)] == name),
            "shares": any(shared[id(p)] > 1 for p in module.parameters(recurse=False)),
            "flops": seen["flops"].get(name, 0),
            "weights": sum(t.numel() * t.element_size() for t in (*inside, *module.buffers())),
            "saved": saved.get(name, 0) if saved else None,
            "gradients": sum(p.numel() * p.element_size() for p in trainable),
            "optimizer": states * sum(p.numel() * p.element_size() for p in trainable),
        })  # fmt: skip
    assert entries[0]["parameters"] == sum(p.numel() for p in model.parameters())
    return entries
