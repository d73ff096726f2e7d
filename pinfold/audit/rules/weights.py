"""Rules about weights, read from headers (P19); data is read only where two tensors may be one."""

import ast
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.reachable import ReachableCode, call_name, calls
from pinfold.common.errors import UserError
from pinfold.common.safetensors import Header, Tensor, read_header
from pinfold.folder.filenames import PICKLES
from pinfold.folder.model_folder import leads_out, outside

SAMPLE = 1 << 20  # bytes of a tensor that are looked at
COPIES = frozenset(("deepcopy", "load_state_dict"))  # what makes a module like another one
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
            raise outside(path)
        if not path.is_file():
            raise UserError(f"{path}: not a regular file; save the checkpoint again")
        try:
            headers[path] = read_header(path)
        except (MemoryError, RecursionError):
            raise UserError(f"{path}: not a whole safetensors file; save the checkpoint again") from None
    return headers


def stored_names(directory: Path) -> set[str]:
    """The names of the tensors in the files of a directory, as far as they can be read."""
    try:
        return {tensor.name for header in safetensors(directory).values() for tensor in header.tensors}
    except UserError:  # said where weights are judged
        return set()


def stored_apart(directory: Path, name: str) -> bool:
    """Whether the checkpoint has a tensor of this name, and the same numbers under no other: it was not tied.

    save_pretrained writes what is tied once, other tools twice.
    """
    try:
        headers = safetensors(directory)
    except UserError:  # said where weights are judged
        return False
    every = [_Stored(path, header.data_start, tensor) for path, header in headers.items() for tensor in header.tensors]
    own = next((stored for stored in every if stored.tensor.name == name), None)
    if own is None or own.tensor.size > COMPARED:
        return False
    alike = [
        stored
        for stored in every
        if stored != own and (stored.tensor.dtype, stored.tensor.shape) == (own.tensor.dtype, own.tensor.shape)
    ]
    for size in (min(4096, own.tensor.size), own.tensor.size):  # the first page differs in nearly all
        alike = [stored for stored in alike if stored.digest(size) == own.digest(size)]
    return not alike


def formats(headers: dict[Path, Header], code: ReachableCode | None) -> Iterator[Finding]:
    """P19b and P19c: files that old releases refuse, and tensors that are stored twice."""
    for path, header in headers.items():
        if header.metadata.get("format") != "pt":
            yield Finding("P19b", f"{path.name}: safetensors metadata lacks format=pt.", path.name)
    yield from _twins(headers, code)


def _twins(headers: dict[Path, Header], code: ReachableCode | None) -> Iterator[Finding]:
    """Matrices with the same bytes. Vectors are often equal by chance of initialisation, and so are constants."""
    groups: dict[tuple, list[_Stored]] = {}
    for path, header in headers.items():
        for tensor in header.tensors:
            if len(tensor.shape) >= 2:
                stored = _Stored(path, header.data_start, tensor)
                groups.setdefault((tensor.dtype, tensor.shape), []).append(stored)
    budget = COMPARED
    copies = _Copies.read(code) if code else None
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
            trained = equal[0].looks_trained()
            for other in names[1:]:
                words = f"{names[0]} and {other} hold identical data"
                if trained and copies and copies.may_be(names[0], other):
                    words += (
                        "; that is right where the code makes one as a copy of the other. Where they are tied, store"
                    )
                    yield Finding("P19c", f"{words} the tensor once.", severity=WARNING)
                elif trained:
                    yield Finding("P19c", f"{words}; store the tied tensor once.")
                else:
                    yield Finding("P19c", f"{words}; that is normal only for initial values.", severity=WARNING)


@dataclass(frozen=True)
class _Copies:
    """Whether the code may make one tensor as a copy of another: a buffer, as a moving average begins, or a teacher.

    Args:
        buffers: the names of all buffers. whole: whether some call makes modules alike. It is asked for each pair of
            tensors, and walks all code, so both are found once.
    """

    buffers: frozenset[str]
    whole: bool

    @classmethod
    def read(cls, code: ReachableCode) -> "_Copies":
        every = [call for module in code.modules for call in calls(module.tree)]
        # zip(a.parameters(), b.parameters()), as a teacher has
        whole = any(call_name(call) in COPIES or _joins_parameters(call) for call in every)
        return cls(frozenset(name for own in code.buffers.values() for name in own), whole)

    def may_be(self, first: str, second: str) -> bool:
        """Whether one of two tensors, by their names, may be made so."""
        return self.whole or bool({name.rpartition(".")[2] for name in (first, second)} & self.buffers)


def _joins_parameters(call: ast.Call) -> bool:
    if call_name(call) != "zip":
        return False
    return sum(call_name(inner) in ("parameters", "named_parameters") for inner in calls(call)) > 1


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

    def looks_trained(self) -> bool:
        """Whether rows that follow each other have nothing in common, as drawn or trained numbers have.

        Tables that a constructor computes (state space decays, positions) go on from row to row.
        """
        import numpy as np

        kinds = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2"}
        if self.tensor.dtype not in kinds:
            return True
        kind = np.dtype(kinds[self.tensor.dtype])
        columns = int(np.prod(self.tensor.shape[1:]))
        rows = min(self.tensor.shape[0], 64, max(1, SAMPLE // max(1, columns * kind.itemsize)))
        with open(self.path, "rb") as file:
            file.seek(self.data_start + self.tensor.start)
            data = np.frombuffer(file.read(rows * columns * kind.itemsize), kind)
        if self.tensor.dtype == "BF16":  # the upper half of a float32
            data = (data.astype("<u4") << 16).view("<f4")
        table = data.astype("float64").reshape(-1, columns)
        if len(table) < 2 or columns < 4:
            return len(np.unique(data)) > len(data) // 2
        table = table - table.mean(1, keepdims=True)
        sizes = np.sqrt((table**2).sum(1))
        products = (table[1:] * table[:-1]).sum(1) / np.maximum(sizes[1:] * sizes[:-1], 1e-300)
        return bool(np.abs(products).mean() < 0.5)
