"""The job that times a graph against the model in PyTorch, in turn, in one process and with as many threads."""

import statistics
import time

from ..values import describe
from . import make, runtimes, trials

PAIRS = 7
LEAST = 0.2  # seconds of one measurement; what is faster is repeated


def answer(request: dict) -> dict:
    """Median milliseconds of both on the inputs of one size, and the ratios of the pairs."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(request["threads"])
    try:
        model, _ = make.load(request)
        trial = trials.sized(model, request["probe"], *request["size"])
        run, _ = runtimes.opened(request["form"], request["graph"], request["threads"], request["file"])
        ways = [lambda: trials.run(model, trial.inputs), lambda: run(trial.inputs)]
        repeats = [max(1, int(LEAST / max(_seconds(way, 2), 1e-6))) for way in ways]
        pairs = [[_seconds(way, n) for way, n in zip(ways, repeats, strict=True)] for _ in range(PAIRS)]
    except Exception as error:
        return {"failures": [{"check": "time", "line": describe(error)}]}
    ratios = sorted(eager / graph for eager, graph in pairs)
    milliseconds = [statistics.median(column) * 1e3 for column in zip(*pairs, strict=True)]
    return {
        "failures": [], "size": trials.words(trial), "eager": milliseconds[0], "graph": milliseconds[1],
        "ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1], "pairs": PAIRS,
        "threads": request["threads"],
    }  # fmt: skip


def _seconds(way, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        way()
    return (time.perf_counter() - started) / repeats
