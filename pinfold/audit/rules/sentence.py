"""Rules about the files of sentence-transformers, which imports classes by the names that they hold (S14)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.common.errors import printable
from pinfold.folder.sentence import MODULES, ROUTER, _inside, _read, is_own_class

OWN = re.compile(r"sentence_transformers(\.\w+)+")
# What a module's settings may name as its activation function: sentence-transformers calls it without arguments.
ACTIVATION = re.compile(r"torch\.nn(\.\w+)+")
SETTINGS = ("config.json", ROUTER)
MODULE_TYPES = "sentence_transformers.*, or file.Class of a .py file beside modules.json"


def _settings(directory: Path, file: str, of_library: bool) -> Iterator[Finding]:
    config = _read(directory / file)
    if not isinstance(config, dict):
        return
    activation, types = config.get("activation_function"), config.get("types", {})
    # a module of the repository's own reads its settings as it likes
    known = activation is None or (isinstance(activation, str) and bool(ACTIVATION.fullmatch(activation)))
    if of_library and not known:
        yield _by_name(file, "activation_function", activation, "torch.nn.* only")
    for key, kind in types.items() if isinstance(types, dict) else ():
        if not _is_known(directory, kind):
            yield _by_name(file, f"types.{key}", kind, MODULE_TYPES)


def _is_known(directory: Path, kind: object) -> bool:
    """Whether a type is a class of sentence-transformers, or of a file of the repository, which is audited as code."""
    if not isinstance(kind, str):
        return False
    return bool(OWN.fullmatch(kind)) or (is_own_class(kind) and (directory / f"{kind.split('.')[0]}.py").is_file())


def _by_name(file: str, place: str, value: object, allowed: str) -> Finding:
    words = f"{file}: {_excerpt(place)[1:-1]} = {_excerpt(value)} imports that code by name; use {allowed}."
    return Finding("S14", words, file)


def _excerpt(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False)[:100])


def modules(directory: Path) -> Iterator[Finding]:
    """S14: modules of another package, or outside of the repository.

    Raises:
        UserError: modules.json, or a module's settings, are too large or no JSON.
    """
    entries = _read(directory / MODULES)
    if entries is None:
        return
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield Finding("S14", f"{MODULES}: must be a list of modules, each with its type and path.", MODULES)
        return
    for number, entry in enumerate(entries):
        kind, path = entry.get("type"), entry.get("path", "")
        if not _is_known(directory, kind):
            yield _by_name(MODULES, f"[{number}].type", kind, MODULE_TYPES)
        if not _inside(path):
            words = f"{MODULES}: [{number}].path = {_excerpt(path)} is outside the repository; use a folder inside it."
            yield Finding("S14", words, MODULES)
            continue
        for name in SETTINGS if path else (ROUTER,):
            of_library = not (isinstance(kind, str) and is_own_class(kind))
            yield from _settings(directory, f"{path}/{name}".strip("/"), of_library)
