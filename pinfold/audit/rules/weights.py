"""Rules about weights, read from headers (P19); data is read only where two tensors may be one."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.common.errors import UserError
from pinfold.common.safetensors import read_header
from pinfold.folder.filenames import PICKLES
from pinfold.folder.model_folder import leads_out

COMPARED = 2_000_000_000  # bytes of one file that are read to compare tensors


def pickles(directory: Path) -> Iterator[Finding]:
    """P19: files that can run code when they are loaded. Links to directories are not followed."""
    found = []
    for where, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(where, name) for name in names if name.endswith(PICKLES)]
    for path in sorted(found):
        name = path.relative_to(directory).as_posix()
        yield Finding(
            "P19",
            f"{name} is a pickle ({path.suffix}); publish model.safetensors only.",
            name,
            fix="AutoModel.from_pretrained(DIR).save_pretrained(DIR) writes safetensors.",
        )


def safetensors(directory: Path) -> dict[Path, dict[str, dict]]:
    """The headers of the files in a directory.

    Raises:
        UserError: a file is cut off, lies about its contents, or is a link out of the directory.
    """
    found = {}
    for path in sorted(directory.glob("*.safetensors")):
        if path.is_symlink() and leads_out(path, directory):
            raise UserError(f"{path}: links out of the folder; put the file itself there")
        if not path.is_file():
            raise UserError(f"{path}: not a regular file; save the checkpoint again")
        try:
            found[path] = read_header(path)
        except (MemoryError, RecursionError):
            raise UserError(f"{path}: not a whole safetensors file; save the checkpoint again") from None
        about = found[path].get("__metadata__")
        if about is not None and not isinstance(about, dict):
            raise UserError(f"{path}: its metadata is no table; save the checkpoint again")
    return found


def formats(headers: dict[Path, dict[str, dict]]) -> Iterator[Finding]:
    """P19b and P19c: files that old releases refuse, and tensors that are stored twice."""
    for path, header in headers.items():
        if (header.get("__metadata__") or {}).get("format") != "pt":
            yield Finding("P19b", f"{path.name}: safetensors metadata lacks format=pt.", path.name)
    yield from _twins(headers)


def _twins(headers: dict[Path, dict[str, dict]]) -> Iterator[Finding]:
    """Matrices with the same bytes. Vectors are often equal by chance of initialisation, and so are constants."""
    groups: dict[tuple, list[tuple[Path, str]]] = {}
    for path, header in headers.items():
        for name, entry in header.items():
            if name != "__metadata__" and len(entry["shape"]) >= 2:
                groups.setdefault((entry["dtype"], tuple(entry["shape"])), []).append((path, name))
    left = COMPARED
    for group in (group for group in groups.values() if len(group) > 1):
        same = [group]
        for limit in (4096, None):  # a look at the first page tells nearly all apart
            split: list[list] = []
            for members in same:
                seen: dict[bytes | None, list] = {}
                for path, name in members:
                    first, last = headers[path][name]["data_offsets"]
                    left -= min(last - first, limit or last - first)
                    seen.setdefault(_digest(path, first, last, limit) if left > 0 else None, []).append((path, name))
                split += [equal for key, equal in seen.items() if key is not None and len(equal) > 1]
            same = split
        for equal in same:
            names = sorted(name for _, name in equal)
            for other in names[1:]:
                yield Finding("P19c", f"{names[0]} and {other} hold identical data; store the tied tensor once.")


def _digest(path: Path, first: int, last: int, limit: int | None) -> bytes | None:
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        file.seek(start + first)
        hashed, left, varied = hashlib.sha256(), min(last - first, limit or last - first), False
        while left and (block := file.read(min(left, 1 << 20))):
            varied = varied or len(set(block[:4096])) > 8
            hashed.update(block)
            left -= len(block)
    return hashed.digest() if varied else None
