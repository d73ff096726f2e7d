"""What modules.json says of a sentence-transformers repository, as plain data."""

import json
import re
from pathlib import Path

from pinfold.common.errors import UserError

MODULES = "modules.json"
ROUTER = "router_config.json"
OWN_CLASS = re.compile(r"[^\W\d]\w*\.[^\W\d]\w*")

LARGEST = 1_000_000  # bytes


def places(directory: Path) -> dict[str, str]:
    """The directories of the modules that lie inside of ``directory``, without the model's own -> their types."""
    try:
        entries = _read(directory / MODULES)
    except UserError:
        return {}  # the audit says what is wrong
    given = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {e["path"]: str(e.get("type")) for e in given if e.get("path") and _inside(e["path"])}


def own_classes(directory: Path) -> list[str]:
    """The modules that are classes of the repository's own files, as "file.Class"; sorted."""
    try:
        entries = _read(directory / MODULES)
        routers = [_read(directory / place / ROUTER) for place in ("", *places(directory))] if entries else []
    except UserError:
        return []  # the audit says what is wrong
    types = [entry.get("type") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    for router in routers:
        named = router.get("types") if isinstance(router, dict) else None
        types += named.values() if isinstance(named, dict) else []
    return sorted({kind for kind in types if isinstance(kind, str) and is_own_class(kind)})


def is_own_class(kind: str) -> bool:
    """Whether a type can be a class of a file beside modules.json; import_module_class looks there first."""
    return bool(OWN_CLASS.fullmatch(kind)) and not kind.startswith("sentence_transformers.")


def _read(path: Path) -> object:
    if not path.is_file():
        return None
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: more than {LARGEST // 10**6} MB; save the model again")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, MemoryError):
        raise UserError(f"{path}: not JSON; save the model again") from None


def _inside(path: object) -> bool:
    """A relative path of plain names; "" is the repository itself."""
    return isinstance(path, str) and (
        path == "" or bool(re.fullmatch(r"\w[\w .-]*(/\w[\w .-]*)*/?", path) and ".." not in path.split("/"))
    )
