"""The files on the disk: written, shown, and never over what a person has changed."""

import re
import sys
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.flatten.flatten import Flat, digest
from pinfold.folder.human_half import CARD
from pinfold.staging.included import secret_in

_FIRST_LINE = re.compile(r"# Taken from .* by pinfold push, which writes it anew \(sha256 ([0-9a-f]{16})\)\.\n")


class NeedsConsent(UserError):
    """Code of a script or a notebook that no one has agreed to publish; nothing was written."""

    def __init__(self, message: str, flat: Flat, folder: Path):
        super().__init__(message)
        self.flat, self.folder = flat, folder

    def and_also(self, lines: list[str]) -> UserError:
        """The same with what else is needed."""
        return UserError("\n  ".join([str(self), *lines]))


def write_folder(flat: Flat, folder: Path, yes: bool = False) -> list[str]:
    """Write the files into a folder, new or written so before; card.md and whatever else lies there stay.

    Args:
        yes: publish code of a script or a notebook without a question.

    Returns:
        The names of files that are new or changed.

    Raises:
        UserError: it holds other code, or a file that was changed since; the code holds a secret; the answer was no.
    """
    for name, text in flat.files.items():
        if secret := secret_in(text.encode()):
            raise UserError(f"{flat.where}: {name} would hold what looks like {secret}; take it out of the code")
    old = _own_files(folder, flat)
    changed = [name for name, text in flat.files.items() if old.get(name) != text]
    gone = sorted(set(old) - set(flat.files))
    if (changed or gone) and flat.asks and not yes:
        _ask(flat, folder, changed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        (folder / name).write_text(flat.files[name], encoding="utf-8", newline="\n")
    for name in gone:
        (folder / name).unlink()
    return changed


def holds_own_code(folder: Path) -> bool:
    """Whether a folder holds Python files that a person wrote."""
    return any(not _FIRST_LINE.match(path.read_text("utf-8", errors="replace")) for path in folder.glob("*.py"))


def show(flat: Flat) -> str:
    """Every file as it will be published."""
    return "\n".join(f"--- {name}\n{text}" for name, text in flat.files.items())


def _own_files(folder: Path, flat: Flat) -> dict[str, str]:
    """What an earlier push wrote there.

    Raises:
        UserError: the folder holds code that it did not write.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; name the folder that the flat files are written to")
    texts: dict[str, str] = {}
    for path in sorted([*folder.glob("*.py"), *folder.glob("requirements.txt")]):
        text = path.read_text(encoding="utf-8", errors="replace")
        first = _FIRST_LINE.match(text)
        if first is None and path.suffix == ".txt":
            flat.files.pop(path.name, None)  # the user's own list of packages
            continue
        if first is None:
            raise UserError(
                f"{folder}: {path.name} was not written by a push; name another folder for the flat files: "
                "pinfold push FOLDER --flatten ... (in Python: push(model, folder=...))"
            )
        if digest(text[first.end() :]) != first[1]:
            raise UserError(
                f"{path} was changed since it was written from {flat.where}; make the change there, or publish this "
                f"folder as it is: pinfold push {folder} --checkpoint DIR"
            )
        texts[path.name] = text
    return texts


def _ask(flat: Flat, folder: Path, changed: list[str]) -> None:
    """
    Raises:
        UserError: no one can answer, or the answer is no.
    """
    if not _can_answer():
        card = "" if (folder / "card.md").exists() else f"; {folder} then needs a card.md too: {CARD}"
        raise NeedsConsent(
            f"{flat.where}: publishing {', '.join(changed)} from it needs your consent; pass --yes (in Python: "
            f"yes=True), or run it in a terminal{card}",
            flat,
            folder,
        )
    print(show(flat), flush=True)
    for line in flat.left_out:
        print(f"left out: {line}", flush=True)
    if input(f"Publish this code, written to {folder}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("nothing was written or published")


def _can_answer() -> bool:
    """Whether a person is there: at a terminal, or in a notebook, whose input is asked for in the page."""
    return sys.stdin is not None and (sys.stdin.isatty() or "ipykernel" in sys.modules)
