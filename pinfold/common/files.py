"""Files that are read, written and compared whole."""

import functools
import hashlib
import json
from pathlib import Path

from pinfold.common.errors import UserError


def sha256(path: Path) -> str:
    """The file's sha256 in hex; a file that did not change is read once."""
    about = path.stat()
    return _sha256(str(path), about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _sha256(path: str, size: int, modified: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path, hint: str) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}; {hint}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); save the checkpoint again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds {type(value).__name__}, not an object; save the checkpoint again")
    return value


def _write_json(path: Path, value: dict) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")  # lone surrogates, which JSON can hold
