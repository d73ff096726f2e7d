"""Files of data that card.md lists under ``include``: they are published beside the model, as they are."""

import re
import shutil
import struct
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.front_matter import FrontMatterError, read_front_matter
from pinfold.folder.filenames import PICKLES

CODE = (
    ".py",
    ".pyc",
    ".pyw",
    ".so",
    ".pyd",
    ".dll",
    ".dylib",
    ".sh",
    ".bat",
    ".ps1",
    ".exe",
    ".ipynb",
    ".js",
    ".html",
)
# files whose loading can run code, besides those of weights
MORE_PICKLES = (".joblib", ".dill", ".npz", ".pk", ".p")
TEXT = 5_000_000  # bytes of a file that are looked through for secrets
SECRETS = {
    "a token of the Hugging Face Hub": re.compile(rb"\bhf_[A-Za-z0-9]{30,}"),
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a key of AWS": re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"),
    "an API key": re.compile(rb"\bsk-[A-Za-z0-9_-]{30,}|\bxox[abp]-[0-9A-Za-z-]{20,}"),
}
NUMPY = b"\x93NUMPY"


def listed(folder: Path) -> list[str]:
    """The paths under ``include`` in a folder's card.md.

    Raises:
        UserError: it is not a list of paths.
    """
    card = folder / "card.md"
    if not card.is_file():
        return []
    try:
        include = read_front_matter(card.read_text(encoding="utf-8-sig", errors="replace")).get("include") or []
    except FrontMatterError:
        return []  # the step that reads the card says what is wrong
    if not isinstance(include, list) or not all(isinstance(path, str) for path in include):
        raise UserError(f"{card}: include={include!r} is not a list of paths; write include: [data/elements.txt]")
    return include


def stage_included(folder: Path, checkpoint: Path, directory: Path) -> list[tuple[str, int]]:
    """Copy what card.md lists from the folder, or else from the checkpoint.

    Returns:
        Paths and sizes in bytes.

    Raises:
        UserError: a file that is not there, or that is not data.
    """
    staged = []
    for path in listed(folder):
        place = f"{folder / 'card.md'}: include: {path}"
        if not re.fullmatch(r"\w[\w .-]*(/\w[\w .-]*)*", path) or ".." in path.split("/"):
            raise UserError(f"{place} must be a relative path without hidden files or folders")
        source = next((base / path for base in (folder, checkpoint) if (base / path).exists()), None)
        if source is None:
            raise UserError(f"{place} is neither in {folder} nor in {checkpoint}; put it there, or leave it out")
        base = folder if source == folder / path else checkpoint
        steps = [source, *(base / parent for parent in Path(path).parents)]
        if any(step.is_symlink() for step in steps if step != base) or not source.is_file():
            raise UserError(f"{place} is not a regular file, or is reached through a link; put the file itself there")
        if (directory / path).exists():
            raise UserError(f"{place} is already published without this line; leave it out")
        _check_data(source, place)
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, directory / path)
        staged.append((path, source.stat().st_size))
    return staged


def _check_data(source: Path, place: str) -> None:
    """
    Raises:
        UserError: it is code, a pickle, or holds a secret.
    """
    ending = source.suffix.lower()
    if ending in CODE:
        raise UserError(f"{place} is code; only what a registered class imports is published as code")
    if ending in (*PICKLES, *MORE_PICKLES):
        raise UserError(f"{place} can run code when it is read ({ending}); write it as .safetensors, .json or .npy")
    with open(source, "rb") as file:
        start = file.read(TEXT)
    if start.startswith(NUMPY) and _holds_objects(start):
        raise UserError(f"{place} holds Python objects, which run code when they are read; save an array of numbers")
    if name := secret_in(start):
        raise UserError(f"{place} holds what looks like {name}; take it out")


def secret_in(content: bytes) -> str | None:
    """What kind of secret a text seems to hold, in words; None where it holds none."""
    return next((name for name, pattern in SECRETS.items() if pattern.search(content)), None)


def _holds_objects(start: bytes) -> bool:
    """Whether the header of an .npy file declares a type of objects (numpy.lib.format)."""
    long = start[6:7] >= b"\x02"
    (size,) = struct.unpack("<I" if long else "<H", start[8 : 12 if long else 10])
    header = start[(12 if long else 10) :][:size]
    return b"|O" in header or b"'O'" in header
