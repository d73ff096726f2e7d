"""What a push prints: one line a step, with its outcome and its seconds, and at the end how to load."""

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pinfold.common.hub_data import data_option
from pinfold.remote.destination import HUB_PORT, Destination, served_at


def say(line: str) -> None:
    """Print at once, so that a waiting user sees it."""
    print(line, flush=True)


def say_below(line: str) -> None:
    """Print a line that belongs to the step above it."""
    say(f"           {line}")


@contextlib.contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Print a step's name when it begins, its outcome and seconds when it ends."""
    started = time.monotonic()
    outcome: list[str] = []
    print(f"  {name:<8} ", end="", flush=True)
    try:
        yield outcome.append
    except BaseException:
        print("failed", flush=True)
        raise
    say(f"{' '.join(outcome)}  [{time.monotonic() - started:.1f} s]")


def say_meanwhile(words: str) -> None:
    """Print news within the line of a step that is under way."""
    print(words, end=" ", flush=True)


def say_how_to_load(repo: str, revision: str, changed: bool, snippet: str, destination: Destination) -> None:
    """The snippet, and for the embedded Hub the two lines that serve it."""
    say(f"\n{'Published' if changed else 'Unchanged:'} {repo} at {revision}\n")
    if destination.embedded and (served := served_at(destination.embedded)):
        say(f"export HF_ENDPOINT={served} HF_HUB_DISABLE_IMPLICIT_TOKEN=1   # it is served there\n")
    elif destination.embedded:
        say(f"{_command()} hub{data_option(destination.embedded)} --port {HUB_PORT}   # serves it; leave it running")
        say(f"export HF_ENDPOINT=http://127.0.0.1:{HUB_PORT} HF_HUB_DISABLE_IMPLICIT_TOKEN=1   # in another shell\n")
    say(snippet)


def _command() -> str:
    """How this user starts pinfold from this directory."""
    script = Path(sys.executable).with_name("pinfold")
    on_path = shutil.which("pinfold")
    if on_path and os.path.realpath(on_path) == os.path.realpath(script):
        return "pinfold"
    if script.exists():
        return os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script)
    return f"{sys.executable} -m pinfold"
