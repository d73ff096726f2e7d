"""What a folder does, seen in a process of its own: beside a transformers release, without a line of pinfold."""

import json
import logging
import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

# Sizes of memory that are left full of large numbers, beside those that small models ask for.
SIZES = (8, 16, 24, 32, 64, 128, 192, 576, 1024, 4096)


def begin() -> ModuleType:
    """Import torch for one thread, and transformers, which is given back; neither prints warnings."""
    warnings.filterwarnings("ignore")
    import torch
    import transformers

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    transformers.logging.set_verbosity_error()
    return transformers


def apart(action: Callable[[], dict[str, str]], output: Path, seconds: float) -> dict[str, str]:
    """What an action gives in a forked process, which may end or hang; prints of it are dropped.

    Args:
        output: beside it the process leaves its result. seconds: how long it may take.
    """
    part = output.with_suffix(".part")
    part.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            part.write_text(json.dumps(action()), encoding="utf-8")
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"load": f"error: no end after {seconds:.0f} s"}
        time.sleep(0.005)
    return json.loads(part.read_text(encoding="utf-8")) if part.exists() else {"load": "error: the process ended"}


def dirty_memory() -> None:
    """Leave numbers in the memory that torch hands out next: what is not initialised is not nought by luck."""
    import torch

    for _ in range(3):
        kept = [torch.full((size,), 3e8) for size in SIZES for _ in range(20)]
        del kept
