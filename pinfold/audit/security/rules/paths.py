"""Where paths lead, as far as they are written out: the text goes with a pathlib.Path to where it is opened."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast

from pinfold.audit.security.computing import TEXTS
from pinfold.audit.security.rules.files import OUTSIDE, opens_for_writing, report_read
from pinfold.audit.security.state import State
from pinfold.audit.security.values import Call, Const, Decoded, Many, Ref, Values, imported_paths, known_strings, union

PATH: Values = (Ref("pathlib.Path()"),)
SAME_PLACE = frozenset("expanduser resolve absolute".split())
READS = frozenset("read_text read_bytes open iterdir glob rglob walk".split())
MOST_PLACES = 4
UNKNOWN_PART = "..."
PLACEHOLDER = "1"  # for a part of a text that is not known, such as the number of a process


def path_at(texts: list[str]) -> Values:
    """A path, with its text where that leads out of the folder."""
    return (*PATH, *(Const(text) for text in texts[:MOST_PLACES] if OUTSIDE.search(text)))


def path_of_parts(arguments: list[Values]) -> Values:
    """What ``Path(part, ...)`` gives."""
    values = path_at(known_strings(arguments[0])) if arguments else PATH
    for part in arguments[1:]:
        values = below(values, part)
    return values


def below(path: Values, part: Values) -> Values:
    """``path / part``."""
    texts = known_strings(path)
    if not texts:
        return path_at(known_strings(part)[:1])
    ends = known_strings(part)[:1] or [UNKNOWN_PART]
    return path_at([end if end.startswith("/") else f"{text.rstrip('/')}/{end}" for text in texts for end in ends])


def path_method(state: State, owners: Values, method: str, call: Call) -> Values:
    """What a method of a path gives that is a path itself; one that reads is reported."""
    if PATH[0] not in owners:
        return ()
    if method in READS and not (method == "open" and opens_for_writing(call, 0)):
        report_read(state, f"Path.{method}", owners, call.node)
    if method in SAME_PLACE:
        return path_at(known_strings(owners))
    if method != "joinpath":
        return ()
    values = owners
    for part in call.arguments:
        values = below(values, part)
    return values


def report_joined(state: State, owners: Values, call: Call) -> None:
    """``sep.join([...])`` of which some parts are not known: the place that the others make."""
    texts = [TEXTS[path] for path in imported_paths(owners) if path in TEXTS]
    for separator in [*known_strings(owners), *texts][:1]:
        for row in [v for v in call.argument(0, "iterable") if isinstance(v, Many)][:1]:
            parts = [(known_strings(item) or [PLACEHOLDER])[0] for item in row.items]
            state.report_secret_place(separator.join(parts), call.node)


def report_added(state: State, parts: list[Values], node: ast.AST) -> None:
    """``start + name`` of which some parts are not known: the place that the others make."""
    texts = [(known_strings(part) or [""])[0] for part in parts]
    if any(texts) and not all(texts):
        state.report_secret_place("".join(text or PLACEHOLDER for text in texts), node)


def is_below(part: Values, joined: bool = False) -> bool:
    """Whether a further part of a path stays below its directory, as far as it is known."""
    for text in known_strings(part):
        if ".." in text or (text.startswith(("/", "\\", "~")) and not joined):
            return False
    return not any(isinstance(v, Decoded) for v in part)


def path_joined(state: State, path: Values, right: Values, before: str, node: ast.AST) -> tuple[Values, str]:
    """``path / right`` where the path is pathlib's: what it can be, and the text that was put together so far."""
    joined = before + "/" + "".join(known_strings(right)[:1])
    state.report_secret_place(joined, node)
    return union(below(path, right)), joined


def is_path(values: Values) -> bool:
    """Whether the values can be a path of pathlib's."""
    return any("pathlib" in path for path in imported_paths(values))
