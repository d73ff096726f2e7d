"""Run a script beside one transformers release, without a network or the user's own settings."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pinfold.fence.overlays import find_overlay

LARGE = 0x4B  # as each of its bytes, a number is 1.3e7 in float32, 15 in float16


def run_inside(script: Path, release: str, orders: dict[str, Any], home: Path) -> dict[str, dict[str, str]]:
    """What a script of this folder writes about the folders that it is handed: name -> stage -> result.

    Args:
        orders: JSON for its standard input; "output" is the file that it writes.
        home: a directory for what it caches.

    Raises:
        SystemExit: the overlay has another release.
        subprocess.CalledProcessError: the script ended with an error.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        # small pieces of memory are full of large numbers too: what is not initialised is not nought by luck
        "GLIBC_TUNABLES": f"glibc.malloc.tcache_count=0:glibc.malloc.perturb={0xFF ^ LARGE}",
        "PYTHONPATH": str(find_overlay(release) or ""),
    }
    subprocess.run(
        [sys.executable, "-s", str(script)],
        input=json.dumps(orders),
        env=environment,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    answer = json.loads(Path(orders["output"]).read_text(encoding="utf-8"))
    if answer["release"] != release:
        raise SystemExit(f"the overlay of {release} runs transformers {answer['release']}")
    return answer["results"]
