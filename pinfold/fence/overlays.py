"""Other transformers releases beside this environment.

An overlay is a directory with one transformers release, and with whatever it needs in another version than this
environment has; put in front with PYTHONPATH, it shares all the rest. Torch is shared, so a difference in numbers
is the library's. They are kept in one place of this user's, and found from every folder; a folder that has
``runs/overlays``, such as a checkout of pinfold, keeps its own, which come first there.
"""

import functools
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from pinfold.common.errors import UserError
from pinfold.common.files import lock
from pinfold.common.hub_data import user_data

HERE = Path("runs/overlays")
PYTHON = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
NEWEST = "newest"
# transformers imports these where they are installed, whether or not they fit what an overlay holds.
OPTIONAL = ("datasets", "peft", "accelerate")
# 5.0.0 catches faults that neither its predecessors nor its successors show.
MINIMUM_MATRIX = ("4.48.3", "4.57.6", "5.0.0", NEWEST)


def overlays_directory() -> Path:
    """Where releases are installed: in the current folder where it keeps its own, else in the place for this user."""
    return HERE if HERE.is_dir() else user_data("overlays") or HERE


def find_overlay(version: str, overlays: Path | None = None) -> Path | None:
    """The directory that holds this transformers version; None is the environment itself.

    Args:
        overlays: the one place to look in; by default the current folder's, then this user's.

    Raises:
        UserError: the overlay was not made yet.
    """
    if version in (NEWEST, metadata.version("transformers")):
        return None
    places = [overlays] if overlays else [HERE, *filter(None, [user_data("overlays")])]
    for place in places:
        if _complete(directory := place.absolute() / version):
            return directory
    cure = f"install with: pinfold compat make {version}"
    raise UserError(f"transformers {version} is not installed in {overlays or overlays_directory()}; {cure}")


def is_made(version: str, overlays: Path | None = None) -> bool:
    """Whether this version can be used at once."""
    try:
        find_overlay(version, overlays)
    except UserError:
        return False
    return True


def make_overlay(version: str, overlays: Path | None = None) -> Path:
    """Install one transformers version, and whatever it needs in another version than this environment has.

    Every requirement that the environment already satisfies is shared with it. Atomic: an interrupted
    installation leaves nothing that looks complete.

    Args:
        overlays: where to; :func:`overlays_directory` by default.
    """
    directory = (overlays or overlays_directory()).absolute() / version
    directory.parent.mkdir(parents=True, exist_ok=True)
    with lock(directory.with_name(f".{version}.lock")):
        if not _marked(directory):
            _install(version, directory)
        # packages of the environment may have changed since the overlay was made
        while requirements := _unfit(directory) or _unsatisfied(directory):
            _pip_install(requirements, directory)
    return directory


def check_version(version: str) -> None:
    """Raises:
    UserError: this is not the number of a release.
    """
    try:
        parsed = Version(version)
        good = re.fullmatch(r"\d+\.\d+\.\d+", version) and not parsed.is_prerelease
    except InvalidVersion:
        good = False
    if not good:
        raise UserError(f"{version!r} is not a release of transformers; use one such as 4.57.6, or minimum, or all")


def _complete(directory: Path) -> bool:
    """Whether an overlay can be used beside this environment as it is now."""
    return _marked(directory) and _fits(directory, _changed(directory))


@functools.lru_cache
def _fits(directory: Path, changed: tuple) -> bool:
    """Whether all requirements are met; asked several times in a push, and reading them takes a third of a second."""
    return not _unfit(directory) and not _unsatisfied(directory)


def _changed(directory: Path) -> tuple:
    """When a package was last added to the overlay or to this environment, or taken away."""
    places = [directory, *(Path(place) for place in sys.path if place)]
    return tuple((str(place), place.stat().st_mtime_ns) for place in places if place.exists())


def _marked(directory: Path) -> bool:
    """Whether an overlay was installed to its end, for this Python: packages in it are compiled for one."""
    mark = directory / ".complete"
    return mark.exists() and mark.read_text() == PYTHON


def _install(version: str, directory: Path) -> None:
    partial = directory.with_name(f".{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    requirements = [Requirement(f"transformers=={version}")]
    while requirements:
        _pip_install(requirements, partial)
        requirements = _unsatisfied(partial)
    _check_import(version, partial)
    # the mark first: a directory under its final name is always complete
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
                installed = held[name].version if name in held else metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                installed = None
            if installed is None or not requirement.specifier.contains(installed, prereleases=True):
                missing[name] = requirement
    return list(missing.values())


def _unfit(target: Path) -> list[Requirement]:
    """Older releases of optional packages, in place of those that want another version than the overlay holds."""
    held = {_normal(d.name): d for d in metadata.distributions(path=[str(target)])}
    older = []
    for name in OPTIONAL:
        try:
            distribution = held.get(name) or metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        needs = [Requirement(line) for line in distribution.requires or ()]
        needs = [need for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
        pairs = [(need, held[_normal(need.name)].version) for need in needs if _normal(need.name) in held]
        if any(not need.specifier.contains(version, prereleases=True) for need, version in pairs):
            older.append(Requirement(f"{name}<{Version(distribution.version).major or distribution.version}"))
    return older


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_import(version: str, target: Path) -> None:
    code = "import transformers; from transformers import AutoModel; print(transformers.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(target), "PATH": ""}, capture_output=True, text=True
    )
    if done.stdout.strip() != version:
        reason = (done.stderr.strip().splitlines() or [done.stdout])[-1]
        raise UserError(f"transformers {version} cannot be imported with this environment's packages: {reason}")
