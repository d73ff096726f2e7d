"""Files that hold pickles under names that do not say so, by what is in them."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.rules.pickle_text import BEGINS, CROSSES, TOO_LONG, what_it_names
from pinfold.audit.security.values import printable_excerpt
from pinfold.folder.filenames import PICKLES

# A pickle of protocol 2 and later, of which no name has to be found.
BINARY = re.compile(rb"\x80[\x02-\x05](?:[\x95\]}(cKJMXUC\x8c\x80\x8a\x88\x89N\)]|$)")
OBJECTS = re.compile(rb"\x93NUMPY.{4,8}\{[^}]{0,200}'descr': '?\|O", re.DOTALL)
SAID = (*PICKLES, ".joblib", ".dill", ".npz", ".msgpack", ".pyc")
HEAD = 512
UNREADABLE = (zipfile.BadZipFile, ValueError, NotImplementedError)


def hidden_pickles(directory: Path, paths: list[str]) -> Iterator[Finding]:
    """Findings of the files of a directory, weights under their usual names aside."""
    siblings = frozenset(path.partition("/")[0].removesuffix(".py") for path in paths if path.endswith(".py"))
    for path in paths:
        if path.lower().endswith(SAID) or path.endswith(".py"):
            continue
        try:
            words = _pickle_in(directory / path, siblings)
        except UNREADABLE:  # another reader may be less strict than Python's
            sentence = f"{path}: begins as an archive and cannot be looked into; it may hold a pickle."
            yield Finding("S06", sentence, path, severity=WARNING)
            continue
        if words:
            sentence = f"{path}: holds {words}, and a pickle runs whatever it names when it is loaded."
            yield Finding("S06", sentence, path, severity=WARNING if words == BEGINS else ERROR)


def _pickle_in(path: Path, siblings: frozenset[str]) -> str:
    """What of a pickle a file holds; "" where it holds none.

    Raises:
        UNREADABLE: it begins as an archive, and is damaged or of a kind that zipfile does not know.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            file.seek(0)
            named = what_it_names(file, siblings)
        if named in (TOO_LONG, CROSSES, BEGINS):
            return named
        if named or BINARY.match(head):
            return "a pickle under another name" + f" ({printable_excerpt(named)})" * bool(named)
        if OBJECTS.match(head):
            return "an array of Python objects, which is a pickle"
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                inner = [name for name in archive.namelist()[:10_000] if name.endswith((".pkl", ".pickle"))]
            return f"a pickle ({inner[0][:60]}) in an archive under another name" if inner else ""
    except OSError:  # who cannot open it cannot load it
        return ""
    return ""
