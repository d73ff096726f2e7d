"""What the process with a folder's code says of its own run, held against what is known outside."""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from pinfold.common.errors import plain_line


def release_of(overlay: Path | None) -> str:
    """The version of the transformers that a run imports, from an overlay or the environment."""
    where = {"path": [str(overlay)]} if overlay else {}
    return next(iter(metadata.distributions(name="transformers", **where))).version


def count(number: object) -> int:
    """
    Raises:
        TypeError: it is not a count.
    """
    if type(number) is not int or number < 0:
        raise TypeError(f"{number!r} is not a count")
    return number


def notes_of(answer: dict) -> list[str]:
    """What the process says is left out, and what by its own words is, whether it says so or not."""
    notes = [plain_line(note) for note in answer["notes"]]
    drawn = [(auto, plain_line(name, 200)) for auto, names in answer["drawn"].items() for name in names]
    lines = [f"{plain_line(auto, 100)}: buffer {name} is random, so it was not compared" for auto, name in drawn]
    return list(dict.fromkeys([*notes, *lines]))


def check_complete(answer: dict, request: dict, registered: dict, skipped: set[str], computed: Mapping) -> None:
    """A reference of nothing would be equal to loads of nothing.

    Raises:
        TypeError: a registered class is neither there nor left out, the main class is left out, or a class that is
            there has computed nothing.
    """
    main = {auto for auto, place in registered.items() if place.endswith(f".{request['architecture']}")}
    if odd := sorted((set(registered) - set(answer["probes"]) - skipped) | (main & (skipped - set(answer["probes"])))):
        raise TypeError(f"{', '.join(odd)} is not in it")
    for auto, names in request["probes"].items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise TypeError(f"{auto} has run no probe")
        check_attention(request["attention"][auto])
        for length in request["padded"][auto].values():
            count(length)
        for name in names:
            if not any(key.startswith(f"{auto}/{name}/") for key in computed):
                raise TypeError(f"{auto} has no output for probe {name}")


def check_attention(names: object) -> None:
    """The implementations of attention that a class runs with: a model in memory is set to run with the same.

    Raises:
        TypeError: they do not have the form of fenced/verify/attention.py, or name a repository, from which
            transformers would take code.
    """
    name = names.get("", 0) if isinstance(names, dict) else 0
    if not isinstance(names, dict) or not (name is None or (isinstance(name, str) and re.fullmatch(r"\w+", name))):
        raise TypeError("an implementation of attention is not the name of one")
    for part in names.keys() - {""}:
        check_attention(names[part])


def same_release(answer: dict, release: str) -> str:
    """The release that a run was given, which decides how closely its numbers are compared.

    Raises:
        ValueError: it claims another.
    """
    if answer["transformers"] != release:
        raise ValueError(f"it claims transformers {answer['transformers']}, and ran in {release}")
    return release


def same_words(answered: object, request: dict, inputs_file: Path) -> dict:
    """The probe as the sandbox answered it: only tensors in the file of inputs may have taken the place of words."""
    if not isinstance(answered, dict):
        raise TypeError("the probe is not an object")
    probe: dict = {}
    for name, words in answered.items():
        kept = isinstance(words, dict) and set(words) == {"kept", "file"} and words["kept"] == name
        if words != request["probe"].get(name) and not (kept and inputs_file.exists()):
            raise TypeError(f"the probe of {name} was changed")
        probe[name] = {"kept": name, "file": str(inputs_file)} if kept else words
    return probe
