"""A changed file: its diff, and writing it so that all files are changed, or none."""

import contextlib
import difflib
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.common.errors import UserError

LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass
class Fix:
    """One file's new text, and the findings that it cures."""

    path: Path
    before: str
    after: str
    codes: list[str] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.name


def diff(changes: list[Fix]) -> str:
    """A unified diff of all of them."""
    lines: list[str] = []
    for fix in changes:
        before, after = LINE_END.split(fix.before), LINE_END.split(fix.after)
        lines += difflib.unified_diff(before, after, f"a/{fix.file}", f"b/{fix.file}", lineterm="")
    return "\n".join(lines)


def apply(changes: list[Fix]) -> None:
    """Write all files, or none: what was written is put back when a later one fails.

    Raises:
        UserError: a file is not what it was when the fixes were made.
    """
    for fix in changes:
        if read(fix.path) != fix.before:
            raise UserError(f"{fix.path}: changed since it was read; run it again")
    written: list[tuple[Path, Fix]] = []
    replaced: list[Fix] = []
    try:
        for fix in changes:
            written.append((_write_beside(fix.path.resolve(), fix.after), fix))
        for temporary, fix in written:
            os.replace(temporary, fix.path.resolve())
            replaced.append(fix)
    except BaseException:
        for fix in replaced:
            with contextlib.suppress(OSError):
                os.replace(_write_beside(fix.path.resolve(), fix.before), fix.path.resolve())
        raise
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)


def _write_beside(path: Path, text: str) -> Path:
    """A complete file in the same directory, with the same permissions."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
    return Path(name)


def read(path: Path) -> str:
    """The text with its own line ends."""
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()
