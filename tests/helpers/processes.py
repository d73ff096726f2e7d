"""The repository, and the environment of a process that a test starts."""

import contextlib
import io
import os
import signal
import subprocess
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


def run_here(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """`pinfold ARGUMENTS` without a process of its own, which takes seconds: for tests that run it many times.

    What would be a traceback there is raised here.
    """
    from pinfold.cli.main import main

    out, err, before = io.StringIO(), io.StringIO(), dict(os.environ)
    os.environ.update(variables)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
    except SystemExit as end:  # of --help, and of what the parser refuses
        code = end.code
    finally:
        os.environ.clear()
        os.environ.update(before)
    return subprocess.CompletedProcess(arguments, code or 0, out.getvalue(), err.getvalue())
