"""How long a push of two demos, or a check of folders, takes with two checkouts of pinfold, side by side in one run.

    git worktree add ../old COMMIT && make -C ../old install
    python benchmarks/checkouts.py ../old .
    python benchmarks/checkouts.py ../old . --check resnet_model some/other/folder

Each pair pushes the same checkpoint with both, in alternating order, each with its own environment and to an embedded
Hub that is empty before. Both verify in the newest release alone: checkouts look for older ones in different places,
and one that finds them would be timed against one that does not. Of a check the CPU time of the whole command counts.
Prints the medians, and the median and the range of the pairs' ratios.
"""

import argparse
import functools
import os
import platform
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# folder, what its checkpoint is called, and how long a training that makes one is
DEMOS = (
    ("resnet_model", "resnet-digits", ["--data", "digits"]),
    ("decoder_model", "decoder-demo", ["--data", "python-docs"]),
)


def main() -> None:
    """Time the pairs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--demo", choices=[name for _, name, _ in DEMOS], help="only this one")
    parser.add_argument("--check", nargs="+", type=Path, metavar="FOLDER", help="time checks of these instead")
    options = parser.parse_args()
    checkouts = {"old": options.old.resolve(), "new": options.new.resolve()}
    versions = (
        "import torch, transformers; print(f'torch {torch.__version__}, transformers {transformers.__version__}')"
    )
    for name, checkout in checkouts.items():
        commit = output(["git", "-C", checkout, "rev-parse", "--short", "HEAD"])
        print(f"{name}: commit {commit}, {output([python(checkout), '-c', versions])}", flush=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, float32", flush=True)
    if options.check:
        for folder in (each.resolve() for each in options.check):
            actions = {which: functools.partial(check, checkout, folder) for which, checkout in checkouts.items()}
            side_by_side(folder.name, options.pairs, actions)
        return
    with tempfile.TemporaryDirectory() as temporary:
        for folder, name, training in (demo for demo in DEMOS if options.demo in (None, demo[1])):
            checkpoint = Path(temporary) / name
            command = ["train", checkouts["new"] / folder, *training, "--output", checkpoint, "--epochs", "1"]
            pinfold(checkouts["new"], command, Path(temporary))
            work = Path(temporary) / "work"
            actions = {
                which: functools.partial(push, checkout, folder, checkpoint, work)
                for which, checkout in checkouts.items()
            }
            side_by_side(name, options.pairs, actions)


def side_by_side(name: str, pairs: int, actions: dict[str, Callable[[], float]]) -> None:
    """Time both, in alternating order, and print the pairs and their ratio."""
    seconds: dict[str, list[float]] = {"old": [], "new": []}
    for number in range(pairs):
        for which in ("old", "new") if number % 2 == 0 else ("new", "old"):
            seconds[which].append(actions[which]())
        print(f"{name}: {seconds['old'][-1]:.2f} s, {seconds['new'][-1]:.2f} s", flush=True)
    ratios = [new / old for old, new in zip(seconds["old"], seconds["new"], strict=True)]
    print(
        f"{name}: old {statistics.median(seconds['old']):.2f} s, new {statistics.median(seconds['new']):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def check(checkout: Path, folder: Path) -> float:
    """Seconds of CPU of one check; that it finds errors is its result."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [python(checkout), "-m", "pinfold", "check", folder], cwd=checkout, capture_output=True, text=True
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def push(checkout: Path, folder: str, checkpoint: Path, work: Path) -> float:
    """Seconds of one push to a new embedded Hub."""
    work.mkdir()
    command = [
        "push",
        checkout / folder,
        "--checkpoint",
        checkpoint,
        "--endpoint",
        "embedded",
        "--repo",
        "local/timed",
        "--versions",
        "newest",
    ]
    started = time.perf_counter()
    pinfold(checkout, command, work)
    seconds = time.perf_counter() - started
    shutil.rmtree(work)
    return seconds


def pinfold(checkout: Path, arguments: list, cwd: Path) -> None:
    environment = os.environ | {"PINFOLD_HUB": str(cwd / "hub")}
    command = [python(checkout), "-m", "pinfold", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def python(checkout: Path) -> Path:
    return checkout / ".venv" / "bin" / "python"


def output(command: list) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
