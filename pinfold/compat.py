"""Load a published model in several transformers versions and compare the numbers.

How it works:
- ``pinfold compat make 4.48.3 5.0.0`` installs each version as an overlay: a directory that is put in front
  of this environment with PYTHONPATH. Torch is shared, so a difference in numbers is the library's.
- ``pinfold compat run ORG/NAME@SHA`` loads the repository at that commit in each version, in a fresh fenced
  process with an empty HF_HOME, and prints one row a version with a hash of every output.

Example: pinfold compat run local/resnet-digits@main --versions 4.48.3 4.57.6 5.0.0 newest
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from pinfold.errors import UserError

OVERLAYS = Path("runs/overlays")
# 5.0.0 catches faults that neither its predecessors nor its successors show.
MINIMUM_MATRIX = ("4.48.3", "4.57.6", "5.0.0", "newest")


def overlay(version: str, overlays: Path = OVERLAYS) -> Path | None:
    """The directory that holds this transformers version; None stands for the environment itself.

    Raises:
        UserError: the overlay was not made yet.
    """
    if version in ("newest", metadata.version("transformers")):
        return None
    directory = overlays.absolute() / version
    if not (directory / ".complete").exists():
        raise UserError(f"no overlay for transformers {version} in {overlays}; run: pinfold compat make {version}")
    return directory


def make_overlay(version: str, overlays: Path = OVERLAYS) -> Path:
    """Install one transformers version, and whatever it needs in another version than this environment has.

    Every requirement that the environment already satisfies is shared with it. Atomic: an interrupted
    installation leaves nothing that looks complete.
    """
    directory = overlays.absolute() / version
    if (directory / ".complete").exists():
        return directory
    partial = directory.with_name(f".{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wanted = [Requirement(f"transformers=={version}")]
    while wanted:
        _pip_install(wanted, partial)
        wanted = _unsatisfied(partial)
    _import_check(version, partial)
    (partial / ".complete").touch()
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    return directory


def _pip_install(requirements: list[Requirement], target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(target)]
    done = subprocess.run([*command, *map(str, requirements)], capture_output=True, text=True)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise UserError(f"cannot install {', '.join(map(str, requirements))}: {reasons[-1].removeprefix('ERROR: ')}")


def _unsatisfied(target: Path) -> list[Requirement]:
    """Requirements of the overlay's packages that neither the overlay nor this environment satisfies."""
    held = {_normal(d.name): d for d in metadata.distributions(path=[str(target)])}
    missing: dict[str, Requirement] = {}
    for distribution in held.values():
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            requirement.marker = None
            name = _normal(requirement.name)
            try:
                found = held[name].version if name in held else metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                found = None
            if found is None or not requirement.specifier.contains(found, prereleases=True):
                missing[name] = requirement
    return list(missing.values())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _import_check(version: str, target: Path) -> None:
    code = "import transformers; from transformers import AutoModel; print(transformers.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(target), "PATH": ""}, capture_output=True, text=True
    )
    if done.stdout.strip() != version:
        reason = (done.stderr.strip().splitlines() or [done.stdout])[-1]
        raise UserError(f"transformers {version} does not start beside this environment: {reason}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold compat``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="install transformers versions as overlays")
    make.add_argument("versions", nargs="+", metavar="VERSION", help="such as 4.48.3")


def main(args: argparse.Namespace) -> int:
    """Make overlays, or run the matrix."""
    for version in args.versions:
        started = time.monotonic()
        make_overlay(version)
        print(f"transformers {version}: {OVERLAYS / version} ({time.monotonic() - started:.0f} s)", flush=True)
    return 0
