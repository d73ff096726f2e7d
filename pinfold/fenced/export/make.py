"""The job that makes one graph of a model: inputs of several sizes, what the model gives for them, and the graph."""

import os

from ..cost import sizes, sources
from ..handover import hand_over
from ..values import by_place, describe
from . import trials, ways

TRIALS = "trials"  # the file with inputs and outputs: "0/in/input_ids", "0/out/logits"


def answer(request: dict) -> dict:
    """Export the model of a source; a mistake or an exception of its code, or of an exporter, is a "failure".

    The request's "form" is a format of ways.py, "way" one of its ways, and "graph" the directory to write to. With
    "check" set to "inputs" no graph is made.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    line, stage, seen = "", "model", {}
    try:
        model, seen = load(request)
        stage = "inputs"
        traced, facts = _inputs(model, request)
        seen |= facts
        stage = "export"
        inputs = {**traced.inputs, **trials.without_cache(model)}
        path = os.path.join(request["graph"], ways.NAMES[request["form"]])
        torch.manual_seed(0)
        with torch.no_grad():
            ways.ways(request["form"])[request["way"]](model, inputs, list(traced.outputs), path)
    except sizes.Refused as error:
        line = str(error)
    except Exception as error:
        line = describe(error)
    failures = [{"check": stage, "line": line}] if line else []
    return {"failures": failures, "transformers": transformers.__version__, "torch": torch.__version__, **seen}


def load(request: dict) -> tuple:
    """The model in evaluation mode, and its class, type and dtype."""
    import torch

    notes: list[str] = []
    config_class, choose = sources.classes_of(request)
    stored = request["stored"]
    config = config_class.from_dict(stored) if stored else config_class()
    auto, cls = choose(config)
    kept = sources.stored_dtype(stored or {}) or "float32"
    dtype = kept if kept == "float64" else "float32"
    if dtype != kept:  # runtimes on processors compute in float32, and half precision cannot be compared closely
        notes.append(f"the checkpoint is {kept}; the graph holds and computes float32")
    model = sources.with_numbers(cls, config, dtype, request, notes).eval()
    with torch.no_grad():  # a file's tensors lie unaligned, which changes last bits on some processors
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.data = tensor.data.clone()
            tensor.requires_grad_(False)
    kind = getattr(config, "model_type", "")
    parameters = sum(p.numel() for p in model.parameters())
    facts = {"auto": auto, "class": cls.__name__, "model_type": kind, "dtype": dtype, "parameters": parameters}
    return model, {**facts, "notes": notes}


def _inputs(model, request: dict) -> tuple:
    """The sample; the trials are handed over before an exporter can change the model."""
    import torch

    traced = trials.sample(model, request["probe"])
    if not any(isinstance(value, torch.Tensor) for value in traced.outputs.values()):
        raise sizes.Refused(f"{type(model).__name__}.forward gives no tensor")
    ran, refused = trials.trials(model, request["probe"], traced)
    ran += trials.of_texts(model, request["weights"], request["texts"]) if request["texts"] else []
    if not ran:
        why = f" ({refused[0]})" if refused else ""
        raise sizes.Refused(
            f"{type(model).__name__} runs at one size only, so that a graph of it cannot be proven at another{why}"
        )
    tensors = {}
    for number, trial in enumerate(ran):
        tensors |= {f"{number}/in/{n}": t for n, t in by_place(trial.inputs).items() if isinstance(t, torch.Tensor)}
        tensors |= {f"{number}/out/{n}": t for n, t in trial.outputs.items()}
    rounding = trials.rounding(model, ran[0])
    hand_over(request["handed"], TRIALS, tensors, {"names": [trial.name for trial in ran]})
    return traced, {
        "sample": trials.words(traced),
        "refused": refused,
        "rounding": rounding,
        "outputs": list(traced.outputs),
    }
