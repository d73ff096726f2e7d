"""Load a published model in several transformers versions and compare the numbers.

How it works:
- ``pinfold compat make 4.48.3 5.0.0`` installs each version as an overlay: a directory that is put in front
  of this environment with PYTHONPATH. Torch is shared, so a difference in numbers is the library's.
- ``pinfold compat run ORG/NAME@SHA`` loads the repository at that commit in each version, in a fresh fenced
  process with an empty HF_HOME, and prints one row a version with a hash of every output.

Example: pinfold compat run local/resnet-digits@main --versions 4.48.3 4.57.6 5.0.0 newest
"""

import argparse
import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from pinfold.errors import UserError
from pinfold.publish import fence, verify
from pinfold.publish.audit import audit
from pinfold.publish.destination import EMBEDDED, opened
from pinfold.publish.folder import read_folder
from pinfold.publish.remote import Remote, patience
from pinfold.publish.stage import Staged, find_weights

OVERLAYS = Path("runs/overlays")
PYTHON = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
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
    if not _complete(directory):
        raise UserError(f"no overlay for transformers {version} in {overlays}; run: pinfold compat make {version}")
    return directory


def make_overlay(version: str, overlays: Path = OVERLAYS) -> Path:
    """Install one transformers version, and whatever it needs in another version than this environment has.

    Every requirement that the environment already satisfies is shared with it. Atomic: an interrupted
    installation leaves nothing that looks complete.
    """
    from filelock import FileLock  # comes with huggingface_hub and torch

    directory = overlays.absolute() / version
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_name(f".{version}.lock")):
        if not _complete(directory):
            _install(version, directory)
    return directory


def _complete(directory: Path) -> bool:
    """Whether an overlay was installed to its end, for this Python: packages in it are compiled for one."""
    mark = directory / ".complete"
    return mark.exists() and mark.read_text() == PYTHON


def _install(version: str, directory: Path) -> None:
    partial = directory.with_name(f".{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wanted = [Requirement(f"transformers=={version}")]
    while wanted:
        _pip_install(wanted, partial)
        wanted = _unsatisfied(partial)
    _import_check(version, partial)
    (partial / ".complete").write_text(PYTHON)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


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


@dataclass(frozen=True)
class Row:
    """What one version gave: a hash for each Auto class, or the reason why there is none."""

    version: str
    hashes: dict[str, str]
    failure: str
    seconds: float


def run(target: str, versions: list[str], endpoint: str | None = None, show=lambda line: None) -> list[Row]:
    """Load a repository at a commit, or a local checkpoint with its code, in several transformers versions.

    The expected outputs are computed from the code and the tensors alone, with the newest version at hand; a row
    without failure has every tensor equal to the file and every output equal to those, bit for bit.

    Args:
        target: "owner/name@revision", or a directory with config.json, safetensors and code.
        versions: such as "4.48.3"; "newest" is this environment's own.
        show: called with each line of news.
    """
    overlays = {version: overlay(version) for version in versions}
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, patience():
        work = Path(temporary)
        if Path(target).is_dir():
            staged = adopt(Path(target).resolve())
            loading = functools.partial(verify.staged_load, staged)
        else:
            name, _, revision = target.partition("@")
            local = endpoint == EMBEDDED or (endpoint is None and name.startswith("local/"))
            with opened(name, name, EMBEDDED if local else endpoint) as destination:
                remote = Remote(destination, revision or "main")
                sha = remote.head()
                if sha is None:
                    raise UserError(f"{target} is not on {destination.endpoint}; give owner/name@revision")
                show(f"{name} at {sha} from {destination.endpoint}")
                staged = adopt(remote.snapshot(sha, work / "hub-home"))
            loading = functools.partial(
                verify.published_load, staged, hub_home=work / "hub-home", repo=name, revision=sha
            )
        for finding in audit(staged.directory, staged.folder):
            show(f"audit: {finding}")
        show(f"running its code, {fence.available().describe()}")
        expected = verify.reference(staged, staged.directory, work)
        rows = []
        for version, directory in overlays.items():
            started = time.monotonic()
            try:
                answer, failure = loading(expected=expected, work=work, overlay=directory), ""
                version = answer["transformers"]
            except UserError as error:
                answer, failure = {"hashes": {}}, str(error)
            rows.append(Row(version, answer["hashes"], failure, time.monotonic() - started))
            shown = failure or "  ".join(f"{auto} {value[:12]}" for auto, value in sorted(answer["hashes"].items()))
            show(f"  transformers {version:<8} {shown}  [{rows[-1].seconds:.1f} s]")
    return rows


def adopt(directory: Path) -> Staged:
    """A directory that was published already, in the form that verification takes."""
    folder = read_folder(directory)
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"{path} is missing or not JSON; give a directory that a push or save_pretrained wrote"
        ) from None
    find_weights(directory)
    auto_map = folder.auto_map()
    code = folder.closure([place.split(".")[0] for place in auto_map.values()])
    return Staged(directory, folder, auto_map, config, [module.file for module in code], [])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold compat``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="install transformers versions as overlays in runs/overlays")
    make.add_argument("versions", nargs="+", metavar="VERSION", help="such as 4.48.3")
    run_ = actions.add_parser("run", help="load a repository or checkpoint in each version and compare")
    run_.add_argument("target", metavar="OWNER/NAME@REVISION", help="or a directory with config, weights and code")
    run_.add_argument(
        "--versions", nargs="+", default=list(MINIMUM_MATRIX), metavar="VERSION", help="default: the minimum matrix"
    )
    run_.add_argument("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Make overlays, or run the matrix. Exit code 1 when a version fails or differs."""
    if args.action == "make":
        for version in args.versions:
            if not re.fullmatch(r"\d+\.\d+\.\d+\S*", version):
                raise UserError(f"VERSION={version} is not a released version; use one such as 4.57.6")
            started = time.monotonic()
            make_overlay(version)
            print(f"transformers {version}: {OVERLAYS / version} ({time.monotonic() - started:.0f} s)", flush=True)
        return 0
    rows = run(args.target, args.versions, args.endpoint, show=functools.partial(print, flush=True))
    good = [row for row in rows if not row.failure]
    equal = len({tuple(sorted(row.hashes.items())) for row in good}) == 1
    print(f"{len(good)} of {len(rows)} versions load it" + (", all with the same numbers" if good and equal else ""))
    return 0 if len(good) == len(rows) and equal else 1
