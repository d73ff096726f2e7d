"""Rules about weights, read from headers (P19); data is read only where two tensors may be one."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.common.errors import UserError
from pinfold.common.safetensors import Header, Tensor, read_header
from pinfold.folder.filenames import PICKLES
from pinfold.folder.model_folder import leads_out

COMPARED = 2_000_000_000  # bytes of one file that are read to compare tensors


def pickles(directory: Path) -> Iterator[Finding]:
    """P19: files that can run code when they are loaded. Links to directories are not followed."""
    paths: list[Path] = []
    for where, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(where, name) for name in names if name.endswith(PICKLES)]
    for path in sorted(paths):
        name = path.relative_to(directory).as_posix()
        yield Finding(
            "P19",
            f"{name} is a pickle ({path.suffix}); publish model.safetensors only.",
            name,
            fix="AutoModel.from_pretrained(DIR).save_pretrained(DIR) writes safetensors.",
        )


def safetensors(directory: Path) -> dict[Path, Header]:
    """The headers of the files in a directory.

    Raises:
        UserError: a file is cut off, lies about its contents, or is a link out of the directory.
    """
    headers = {}
    for path in sorted(directory.glob("*.safetensors")):
        if path.is_symlink() and leads_out(path, directory):
            raise UserError(f"{path}: links out of the folder; put the file itself there")
        if not path.is_file():
            raise UserError(f"{path}: not a regular file; save the checkpoint again")
        try:
            headers[path] = read_header(path)
        except (MemoryError, RecursionError):
            raise UserError(f"{path}: not a whole safetensors file; save the checkpoint again") from None
    return headers


def formats(headers: dict[Path, Header]) -> Iterator[Finding]:
    """P19b and P19c: files that old releases refuse, and tensors that are stored twice."""
    for path, header in headers.items():
        if header.metadata.get("format") != "pt":
            yield Finding("P19b", f"{path.name}: safetensors metadata lacks format=pt.", path.name)
    yield from _twins(headers)


def _twins(headers: dict[Path, Header]) -> Iterator[Finding]:
    """Matrices with the same bytes. Vectors are often equal by chance of initialisation, and so are constants."""
    groups: dict[tuple, list[_Stored]] = {}
    for path, header in headers.items():
        for tensor in header.tensors:
            if len(tensor.shape) >= 2:
                stored = _Stored(path, header.data_start, tensor)
                groups.setdefault((tensor.dtype, tensor.shape), []).append(stored)
    budget = COMPARED
    for group in (group for group in groups.values() if len(group) > 1):
        suspects = [group]
        for limit in (4096, None):  # the first page, which differs in nearly all, and only then the whole
            split: list[list[_Stored]] = []
            for members in suspects:
                by_digest: dict[bytes, list[_Stored]] = {}
                for stored in members:
                    size = min(stored.tensor.size, limit or stored.tensor.size)
                    budget -= size
                    if budget > 0 and (digest := stored.digest(size)):
                        by_digest.setdefault(digest, []).append(stored)
                split += [equal for equal in by_digest.values() if len(equal) > 1]
            suspects = split
        for equal in suspects:
            names = sorted(stored.tensor.name for stored in equal)
            for other in names[1:]:
                yield Finding("P19c", f"{names[0]} and {other} hold identical data; store the tied tensor once.")


@dataclass(frozen=True)
class _Stored:
    """A tensor in a file."""

    path: Path
    data_start: int
    tensor: Tensor

    def digest(self, size: int) -> bytes | None:
        """Of the tensor's first bytes; None where they hold a few values only, as a constant does."""
        hashed = hashlib.sha256()
        varied = False
        with open(self.path, "rb") as file:
            file.seek(self.data_start + self.tensor.start)
            while size and (block := file.read(min(size, 1 << 20))):
                varied = varied or len(set(block[:4096])) > 8
                hashed.update(block)
                size -= len(block)
        return hashed.digest() if varied else None
