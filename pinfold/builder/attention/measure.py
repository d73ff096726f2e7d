"""What attention costs on this machine, and how far its numbers are from those of the dense mask.

How it works:
- One attention module of bert_model, its three projections included, on one row: forward, float32, without gradients.
- Time: all kinds take turns, and which is first changes from turn to turn, so that drift of the machine meets all
  alike. A ratio is taken within a turn; medians and quartiles of the turns are given.
- Memory: the most that torch holds for one forward beyond its input and weights, by the profiler's account of
  allocations. It is the same in every run, whatever else the process holds.
- FLOPs are counted as operators run; those of the density are what the seen pairs alone would need.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfold.builder.attention.masks import attention_module, kind_config, kind_of, mask
from pinfold.builder.attention.settings import Settings
from pinfold.fenced.cost import flops

YARDSTICK = "full"  # what the others are compared with
SHORTEST = 0.004  # seconds that are timed at once: shorter runs are repeated
CHECKED = 1024  # tokens of the comparison with the dense mask, where the kinds then are not dense themselves
Run = Callable[[], Any]


def attention(config: Any) -> nn.Module:
    """A layer's attention with weights that are the same for every kind, and in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return attention_module().KINDS[kind_of(config, 0)](config, 0).eval()


def arguments(config: Any, length: int, pads: int) -> dict[str, Tensor]:
    """What the module takes for one row whose last tokens are padding."""
    noise = torch.randn(1, length, config.hidden_size, generator=torch.Generator().manual_seed(0))
    if not pads:
        return {"hidden_states": noise}
    keep = torch.arange(length)[None] < length - pads
    bias = attention_module().additive(keep[:, None, None, :], torch.float32)
    return {"hidden_states": noise, "bias": bias, "keep": keep}


def forward(settings: Settings, kind: str, length: int) -> Run:
    """One forward of a kind, as a function of nothing."""
    config = kind_config(settings, kind, layers=1)
    module, inputs = attention(config), arguments(config, length, settings.pads)

    def run() -> Any:
        with torch.no_grad():
            return module(**inputs)

    return run


def turns(runs: Sequence[Run], repeats: int) -> list[list[float]]:
    """Seconds of each function in each turn; all take turns, and each is the first as often as the others."""
    times = []
    for run in runs:  # to warm up, and to see how long it takes
        run()
        started = time.perf_counter()
        run()
        times.append(max(time.perf_counter() - started, 1e-9))
    calls = [max(1, min(100, round(SHORTEST / seconds))) for seconds in times]
    seconds: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats):
        for index in range(len(runs)):
            at = (index + turn) % len(runs)
            started = time.perf_counter()
            for _ in range(calls[at]):
                runs[at]()
            seconds[at].append((time.perf_counter() - started) / calls[at])
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def costs(settings: Settings, length: int) -> dict[str, dict[str, Any]]:
    """Kind -> what it costs at a length: milliseconds, ratios to full attention, bytes; full attention always too."""
    kinds = list(dict.fromkeys([*settings.kinds, YARDSTICK]))
    runs = [forward(settings, kind, length) for kind in kinds]
    times = dict(zip(kinds, turns(runs, settings.repeats), strict=True))
    memory = {kind: peak(run) for kind, run in zip(kinds, runs, strict=True)}
    return {
        kind: {
            "length": length,
            "milliseconds": spread([1000 * seconds for seconds in times[kind]]),
            "ratio": spread([one / full for one, full in zip(times[kind], times[YARDSTICK], strict=True)]),
            "bytes": memory[kind],
            "bytes_ratio": memory[kind] / memory[YARDSTICK],
        }
        for kind in kinds
    }


def peak(run: Run) -> int:
    """The most bytes that are held at once, beyond what was held before."""
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "99"
    )  # torch's profiler otherwise writes on stderr that it starts and stops
    gc.collect()  # what is freed meanwhile is to be the run's own
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    level = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            most = max(most, level)
    return most


def operations(settings: Settings, kind: str, seen: int) -> dict[str, int]:
    """FLOPs of one row: by the pairs that are seen, those that are computed for them, and the projections'."""
    config = kind_config(settings, kind, layers=1)
    module = attention(config)
    counted = flops.count(module, arguments(config, settings.length, settings.pads))
    projections = sum(counted[name] for name, _ in module.named_children())
    return {
        "density": 4 * seen * config.hidden_size,  # a multiply-add for the score, one for the sum; each is two
        "implementation": counted[""] - projections,
        "projections": projections,
    }


def difference(settings: Settings, kind: str) -> dict[str, Any]:
    """How far a kind is from attention with its dense mask, in outputs and in gradients.

    Returns:
        `outputs`: the largest difference, of real tokens. `gradients`: the largest difference of the gradients of
        input and weights, each as a share of that gradient's largest number. `length`: how long the row was.
    """
    config = kind_config(settings, kind, layers=1)
    length = min(settings.length, max(CHECKED, 2 * max(settings.window, settings.stride) + 1))
    pads = min(settings.pads, length - 1)
    module, inputs = attention(config), arguments(config, length, pads)
    probe = torch.randn(1, length - pads, config.hidden_size, generator=torch.Generator().manual_seed(1))
    ours = outputs_and_gradients(module, inputs, probe)
    seen = mask(config, 0, length, pads) & (torch.arange(length) < length - pads)

    def dense(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, seen, scale=module.scaling)

    module.attend = dense
    theirs = outputs_and_gradients(module, inputs, probe)
    shares = [
        largest(one - other) / max(largest(other), 1e-30) for one, other in zip(ours[1:], theirs[1:], strict=True)
    ]
    return {"outputs": largest(ours[0] - theirs[0]), "gradients": max(shares), "length": length, "pads": pads}


def largest(values: Tensor) -> float:
    return values.abs().max().item()


def outputs_and_gradients(module: Any, inputs: dict[str, Tensor], probe: Tensor) -> list[Tensor]:
    """The outputs of real tokens, and the gradients of a sum of them, weighted by the probe."""
    states = inputs["hidden_states"].clone().requires_grad_()
    with torch.enable_grad():
        outputs = module(**{**inputs, "hidden_states": states})[0][:, : probe.shape[1]]
        # a key's bias moves every score of a query alike, so that its gradient is zero but for rounding
        weights = [weight for name, weight in module.named_parameters() if name != "key.bias"]
        gradients = torch.autograd.grad((outputs * probe).sum(), [states, *weights])
    return [outputs.detach(), *gradients]
