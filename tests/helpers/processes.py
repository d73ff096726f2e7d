"""The repository, and the environment of a process that a test starts."""

import os
import signal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has set nothing up."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
    home.mkdir(parents=True, exist_ok=True)
    return {**kept, "HOME": str(home), "HF_HOME": str(home / "hf"), **more}


def listen_to_ctrl_c() -> None:
    """A preexec_fn: a shell starts what runs in its background with SIGINT ignored, which all children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
