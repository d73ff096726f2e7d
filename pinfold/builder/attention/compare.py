"""Two to four kinds of attention side by side: what each sees, how far, and what it costs on this machine.

Density and measured cost are kept apart: seeing less is not being faster, and the words say where it is slower.
"""

import os
import platform
from collections.abc import Callable
from typing import Any

import torch
import transformers

from pinfold import __version__
from pinfold.builder.attention import masks, measure
from pinfold.builder.attention.settings import Settings
from pinfold.builder.attention.words import sentence

SHOWN = 128  # tokens of the masks in the result
Progress = Callable[[int, int, str], None]


def machine() -> dict[str, Any]:
    """Where the numbers were measured."""
    return {
        "device": "cpu",
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def compare(settings: Settings, progress: Progress | None = None) -> dict[str, Any]:
    """Compare kinds of attention.

    Args:
        progress: called with the number of steps that are done, of all steps, and what comes next. It may raise, which
            ends the comparison.

    Returns:
        JSON: `settings`, `machine`, and for each kind in `kinds` its `map` (the mask of the first tokens, with
        reasons), `density`, `reach`, `layers_to_all`, `flops`, `difference`, `measured` (one entry for each length)
        and `say`. `yardstick` is what full attention costs, also where it is not among the kinds.

    Raises:
        UserError: settings that cannot be compared.
    """
    settings.check(masks.known_kinds())
    lengths = settings.measured_lengths() if settings.measure else ()
    steps = 2 * len(settings.kinds) + len(lengths)
    done = 0

    def step(say: str) -> None:
        nonlocal done
        if progress:
            progress(done, steps, say)
        done += 1

    kinds: dict[str, dict[str, Any]] = {}
    for kind in settings.kinds:
        step(f"{kind}: which token sees which")
        kinds[kind] = sight(settings, kind)
        step(f"{kind}: FLOPs, and the difference from its dense mask")
        kinds[kind]["flops"] = measure.operations(settings, kind, kinds[kind]["seen"])
        kinds[kind]["difference"] = measure.difference(settings, kind)
    measured = []
    for length in lengths:
        step(f"time and memory at {length:,} tokens")
        measured.append(measure.costs(settings, length))
    if progress:
        progress(steps, steps, "done")
    for kind, facts in kinds.items():
        facts["measured"] = [at[kind] for at in measured]
        facts["say"] = sentence(facts, settings.length)
    return {
        "pinfold": __version__,
        "settings": {
            **vars(settings),
            "kinds": list(settings.kinds),
            "lengths": list(settings.measured_lengths()),
        },
        "machine": machine(),
        "kinds": kinds,
        "yardstick": [at[measure.YARDSTICK] for at in measured],
    }


def sight(settings: Settings, kind: str) -> dict[str, Any]:
    """What a kind sees in one layer, and through several."""
    config = masks.kind_config(settings, kind)
    length, pads = settings.length, settings.pads
    seen = int(masks.real_mask(config, 0, length, pads).sum())
    pairs = (length - pads) ** 2
    reach = masks.kind_reach(settings, kind)
    return {
        "kind": kind,
        "map": masks.picture_of(config, 0, length, pads, corner=SHOWN),
        "seen": seen,
        "pairs": pairs,
        "density": seen / pairs,
        "reach": reach.shares,
        "layers_to_all": reach.layers_to_all,
        "layers_tried": reach.layers_tried,
    }
