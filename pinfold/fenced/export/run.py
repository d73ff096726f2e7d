"""The job that runs a graph on the inputs of the trials, in a process that never sees the model's code."""

from ..handover import hand_over
from ..values import describe
from . import runtimes

RESULTS = "results"


def answer(request: dict) -> dict:
    """Run a graph on the inputs of the trials.

    The request's "graph" is its directory, "file" its name there, and "inputs" a safetensors file with
    "0/in/input_ids" and so on. What the graph gives is handed over as "0/logits"; what the runtime refuses is a
    "failure" of its trial.
    """
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(request["threads"])
    given, failures, tensors, names = load_file(request["inputs"]), [], {}, []
    try:
        run, names = runtimes.opened(request["form"], request["graph"], request["threads"], request["file"])
    except Exception as error:
        failures.append({"check": "open", "line": describe(error)})
    for number in range(request["trials"]) if not failures else ():
        prefix = f"{number}/in/"
        inputs = {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix)}
        try:
            tensors |= {f"{number}/{name}": tensor for name, tensor in run(inputs).items()}
        except Exception as error:
            failures.append({"check": str(number), "line": describe(error)})
    hand_over(request["handed"], RESULTS, tensors)
    return {"failures": failures, "inputs": names}
