"""The jobs of ``pinfold builder``: build a new model of a folder, and time it or save it.

Weights are drawn from a seed and inputs are made by formula, so that two folders with the same code and configuration
give the same numbers.
"""

import hashlib
import importlib
import inspect
import statistics
import sys
import time
import types

from ..values import by_place, describe, plain_config
from ..verify import buffers
from . import sizes

WARM = 1  # runs before those that count


def answer(request: dict) -> dict:
    """Build the model; a mistake or an exception of its code is a "failure".

    The request's "code" is the folder, "place" its class as "module.Class", "config" the configuration's fields,
    "save" a directory for save_pretrained or None, "run" the sizes of a run or None. With "describe" only the
    configuration's fields come back, and no model is built.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    seen: dict = {"failures": []}
    try:
        package = types.ModuleType("_folder")
        package.__path__ = [request["code"]]
        sys.modules["_folder"] = package
        module, name = request["place"].split(".")
        cls = getattr(importlib.import_module(f"_folder.{module}"), name)
        if request.get("describe"):
            return {**seen, "fields": fields_of(cls.config_class)}
        model = buffers.built(cls, cls.config_class(**request["config"]), "float32", request["seed"])
        seen["parameters"] = sum(p.numel() for p in model.parameters())
        if request["save"]:
            model.save_pretrained(request["save"])
        if request["run"]:
            seen |= run(model, request["run"])
    except sizes.Refused as error:
        seen["failures"].append({"check": "", "line": str(error)})
    except Exception as error:
        seen["failures"].append({"check": "", "line": describe(error)})
    return {**seen, "transformers": transformers.__version__, "torch": torch.__version__}


def fields_of(config_class) -> dict:
    """The arguments of a configuration's constructor and what a new configuration has of each, as JSON holds it."""
    values = plain_config(config_class())
    names = list(inspect.signature(config_class.__init__).parameters)[1:]
    return {name: values[name] for name in names if name in values}


def run(model, wanted: dict) -> dict:
    """Outputs' shapes, whether they are finite, their sha256, and milliseconds of the whole and of its rows.

    Args:
        wanted: "batch" and "length" of the inputs, "repeats", and "rows", names of modules that are timed one by one.
    """
    import torch

    inputs = sizes.sized_inputs(model, {}, wanted["batch"], wanted["length"], None)
    rows = timed_rows(model, set(wanted["rows"]))
    times = []
    with torch.inference_mode():
        for turn in range(WARM + wanted["repeats"]):
            started = time.perf_counter()
            output = model(**inputs)
            if turn >= WARM:
                times.append((time.perf_counter() - started) * 1e3)
    tensors = {name: value for name, value in by_place(dict(output)).items() if hasattr(value, "dtype")}
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return {
        "outputs": {name: list(tensor.shape) for name, tensor in tensors.items()},
        "finite": all(bool(t.isfinite().all()) for t in tensors.values() if t.is_floating_point()),
        "sha256": digest.hexdigest(),
        "milliseconds": {"median": statistics.median(times), "least": min(times), "most": max(times)},
        "repeats": len(times),
        "rows": [
            {"name": name, "shape": row["shape"], "milliseconds": statistics.median(row["times"][WARM:])}
            for name, row in rows.items()
            if row["times"][WARM:]
        ],
    }


def timed_rows(model, names: set[str]) -> dict[str, dict]:
    """Hook modules; name -> what is seen of it in each run: its first output's shape, and milliseconds."""
    rows: dict[str, dict] = {}

    def before(name: str):
        return lambda module, arguments: rows[name].update(started=time.perf_counter())

    def after(name: str):
        def hook(module, arguments, result) -> None:
            row = rows[name]
            row["times"].append((time.perf_counter() - row["started"]) * 1e3)
            first = next((value for value in by_place({"it": result}).values() if hasattr(value, "shape")), None)
            row["shape"] = None if first is None else list(first.shape)

        return hook

    for name, module in model.named_modules():
        if name in names:
            rows[name] = {"times": [], "shape": None, "started": 0.0}
            module.register_forward_pre_hook(before(name))
            module.register_forward_hook(after(name))
    return rows
