"""What installed libraries do with the arguments of a call, by the table that is made from their sources."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re
from collections.abc import Callable

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.configured import ADDRESS
from pinfold.audit.security.rules.files import SAVERS, report_read, report_write
from pinfold.audit.security.state import NOTHING_TO_SAY, Scope, State
from pinfold.audit.security.tables.library import ITEM, Reach, can_fetch, reaches
from pinfold.audit.security.tables.names import SENSITIVE, WATCHED_MODULES, canonical, judge
from pinfold.audit.security.values import (
    Call,
    Const,
    Many,
    Table,
    Values,
    is_soft,
    known_for_sure,
    known_strings,
    printable_excerpt,
)

REPOSITORY = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")  # as the Hub names one; "./data" is a place
DEEPEST = 4
WORDS = {
    "text": ("S01", "runs the text that it is given as a program"),
    "command": ("S02", "starts the program that it is given"),
    "native": ("S05", "loads the native code that it is given, which no audit of Python reads"),
    "pickle": ("S06", "unpickles what it is given, and a pickle runs whatever it names"),
}


def library_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Report what a function of a library does with what it is given here."""
    entries = reaches(path)
    fetched = {reach.name for reach in entries if reach.what == "hub"}  # kept in a cache, whose files come and go
    for reach in entries:
        if reach.what in ("read", "write", "delete") and reach.name in fetched:
            continue
        if call.open_ended or not call.has(reach.position, reach.name):
            continue
        values = call.argument(reach.position, reach.name)
        if values and all(isinstance(v, Const) and not v.soft and not _is_text(v) for v in values):
            continue  # None, a number or a switch
        if reach.what in WORDS:
            code, words = WORDS[reach.what]
            state.report(code, call.node, f"{printable_excerpt(path)}(...) {words}.")
        elif reach.what.endswith(ITEM):
            _report_item(state, path, call, reach, values)
        elif reach.what in HANDLERS:
            HANDLERS[reach.what](state, path, call, reach, entries)
    return NOTHING_TO_SAY


def _is_text(value: Const) -> bool:
    return isinstance(value.value, (str, bytes))


def _import(state: State, path: str, call: Call, reach: Reach, entries: tuple[Reach, ...]) -> None:
    arguments = getattr(call.node, "args", [])
    written = arguments[reach.position] if reach.position < len(arguments) else None
    if isinstance(written, ast.Name) and written.id in ("__package__", "__name__"):
        return  # the folder itself
    texts = known_strings(call.argument(reach.position, reach.name))
    modules = [canonical(text.replace(":", ".")) for text in texts]
    harmless = known_for_sure(call.argument(reach.position, reach.name)) and not any(
        _leads_to_danger(module) for module in modules
    )
    quoted = f'"{printable_excerpt(texts[0])}"' if texts else "what a text computed at run time names"
    words = f"{printable_excerpt(path)}(...) imports {quoted}."
    state.report("S04", call.node, words, WARNING if harmless else ERROR)


def _report_item(state: State, path: str, call: Call, reach: Reach, values: Values) -> None:
    """An entry of a table that is imported or run: which one is not known, and so every text in it counts."""
    texts = _texts_inside(values)
    what = reach.what.removesuffix(ITEM)
    severe = any(_leads_to_danger(canonical(text.replace(":", "."))) for text in texts)
    if texts and not severe and not is_soft(values):
        return
    code, words = WORDS.get(what, ("S04", "imports what an entry of its argument names"))
    state.report(code, call.node, f"{printable_excerpt(path)}(...) {words}.", ERROR if severe else WARNING)


def _texts_inside(values: Values, depth: int = 0) -> list[str]:
    texts = known_strings(values)
    for value in values if depth < DEEPEST else ():
        rows: list[Values] = []
        if isinstance(value, (Table, Many)):
            rows += value.items if isinstance(value, Many) else (item for _, item in value.entries)
        texts += [text for row in rows for text in _texts_inside(row, depth + 1)]
    return texts


def _leads_to_danger(name: str) -> bool:
    parts = name.split(".")
    prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return not WATCHED_MODULES.isdisjoint(prefixes) or name in SENSITIVE or judge(name) is not None


def _write(state: State, path: str, call: Call, reach: Reach, entries: tuple[Reach, ...]) -> None:
    loads = Reach("read", reach.position, reach.name) in entries  # what it writes there is its own matter
    if loads and not path.rpartition(".")[2].startswith(SAVERS):
        return
    report_write(state, path, [call.argument(reach.position, reach.name)], call)


def _delete(state: State, path: str, call: Call, reach: Reach, entries: tuple[Reach, ...]) -> None:
    if any(Reach(what, reach.position, reach.name) in entries for what in ("read", "write")):
        return  # it clears the place for what it writes
    report_write(state, path, [call.argument(reach.position, reach.name)], call, deletes=True)


def _read(state: State, path: str, call: Call, reach: Reach, entries: tuple[Reach, ...]) -> None:
    report_read(state, path, call.argument(reach.position, reach.name), call.node)


def _url(state: State, path: str, call: Call, reach: Reach, entries: tuple[Reach, ...]) -> None:
    texts = known_strings(call.argument(reach.position, reach.name))
    also_reads = any(other.what == "read" and other.name == reach.name for other in entries)
    if any(ADDRESS.match(text) for text in texts):
        words = f'opens "{printable_excerpt(texts[0])}" over the network'
        state.report("S03", call.node, f"{printable_excerpt(path)}(...) {words}.")
    elif not also_reads:
        words = "opens the address that it is given over the network"
        state.report("S03", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)


def _hub(state: State, path: str, call: Call, reach: Reach, entries: tuple[Reach, ...]) -> None:
    texts = known_strings(call.argument(reach.position, reach.name))
    if any(REPOSITORY.match(text) or ADDRESS.match(text) for text in texts):
        words = f'"{printable_excerpt(texts[0])}" is downloaded, which no pin of this repository covers'
        state.report("S03", call.node, f"{printable_excerpt(path)}(...): {words}.", WARNING)


HANDLERS: dict[str, Callable[[State, str, Call, Reach, tuple[Reach, ...]], None]] = {
    "import": _import,
    "write": _write,
    "delete": _delete,
    "read": _read,
    "url": _url,
    "hub": _hub,
}


def report_address(state: State, path: str, call: Call) -> None:
    """An address that is written out and handed to something outside the folder, which no table knows."""
    if path.startswith(("builtins.", "urllib.request.Request")) or path.rpartition(".")[2] in OF_TEXTS:
        return
    for values in (*call.arguments, *call.keywords.values()):
        for text in known_strings(values):
            if ADDRESS.match(text) and len(text) > len("https://"):
                method = path.rpartition(".")[2].lower()
                severe = any(word in method for word in OPENS)
                words = f'gets "{printable_excerpt(text)}", an address on the network'
                state.report(
                    "S03", call.node, f"{printable_excerpt(path)}(...) {words}.", ERROR if severe else WARNING
                )
                return


def report_repository(state: State, path: str, call: Call) -> None:
    """The name of a repository that is written out and handed to what may load it from the Hub."""
    if "." not in path or "()" in path or not LOADS.search(path) or path.endswith(".from_pretrained"):
        return
    written = (values for values in call.keywords.values() if not is_soft(values))  # not a whole table of settings
    texts = [text for values in (*call.arguments[:1], *written) for text in known_strings(values)]
    named = [text for text in texts if REPOSITORY.match(text)]
    if named and can_fetch(path.split(".")[0]):
        words = f'gets "{printable_excerpt(named[0])}", and may download what no pin of this repository covers'
        state.report("S03", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)


# Functions that load, and classes.
LOADS = re.compile(r"\.(?:_?(?:load|from|create|fetch|download|get|open)[\w]*|[A-Z]\w*|pipeline)$")
# Methods of texts and lists, which open nothing.
OF_TEXTS = frozenset(
    "startswith endswith split rsplit replace removeprefix removesuffix count find index join strip lstrip append add "
    "match search sub fullmatch compile format partition warn warning info debug error".split()
)
OPENS = ("read", "load", "open", "get", "fetch", "download", "post", "connect", "request", "create_model")
