"""Methods of objects of which nothing is known: what their names and arguments say by themselves."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.rules.arguments import report_from_pretrained
from pinfold.audit.security.rules.files import OUTSIDE, SAVERS, opens_for_writing, report_read, report_write
from pinfold.audit.security.rules.library import report_address
from pinfold.audit.security.state import State
from pinfold.audit.security.tables.functions import PATH_METHODS
from pinfold.audit.security.tables.names import DOTTED, METHODS, acts, judge
from pinfold.audit.security.values import (
    Call,
    Const,
    Decoded,
    Instance,
    Many,
    Ref,
    Values,
    known_strings,
    printable_excerpt,
    union,
)

# Names of which honest objects have methods too: a model's eval(), a session's run(...).
RUNS_TEXT = frozenset("exec eval execfile exec_ runcode runctx runeval".split())
RUNS_COMMAND = frozenset("run call spawn execute_command exec_command shell".split())
COMMAND_OPTIONS = frozenset("shell check capture_output stdout stderr stdin cwd env".split())
FIELD = re.compile(r"\{([^{}]*)\}?")
WALK = re.compile(r"[.\[](__\w+__|[fgc][ir]?_(?:globals|frame|builtins|code|locals|back)\b)")
# What a format string may look at: how an object is called.
OF_NAMES = frozenset("__class__ __name__ __qualname__ __module__ __doc__ __len__ __version__".split())
READS = ("read", "load", "open", "from_")
STARTS = frozenset("start submit map apply apply_async __enter__".split())  # what was made runs from then on
TALKS = frozenset(  # of connections and processes
    "connect connect_ex send sendall sendto sendmsg recv bind listen accept request getresponse urlopen get post put "
    "patch delete head options open login retrbinary storbinary sendmail communicate wait stream submit".split()
)
FILE = re.compile(r"^[^\s{}<>]*[\w\])]\.[A-Za-z]\w{1,11}$")  # a name with an ending
SAVES = ("save", "save_pretrained", "savez", "save_to_disk")  # to any name
# Savers of which an argument is the text itself, or a name.
TEXT_METHODS = frozenset("write dumps dump_json to to_dict to_list to_device to_empty writelines to_string".split())
# Functions of which no argument is a place, or of which another rule knows.
PLAIN = ("builtins.", "os.path.", "pathlib.", "json.", "re.", "logging.", "warnings.", "typing.")
TYPES = ("builtins.str.format", "builtins.str.format_map")


def walks_attributes(text: str) -> str | None:
    """The attribute of Python's own that a format string takes out of what it formats."""
    names = (name for field in FIELD.findall(text) for name in WALK.findall(field))
    return next((name for name in names if name not in OF_NAMES), None)


def call_unknown_method(state: State, owners: Values, name: str, call: Call) -> None:
    """Report a method of something unknown whose own name says what it does."""
    if name == "push_to_hub":
        state.report("S03", call.node, ".push_to_hub(...) uploads to the Hub, with the user's own token.")
    own = any(isinstance(v, Const) for v in owners)  # a method of the folder's own is known, and so is not asked here
    for owner in owners:  # what a class of the folder has from its base
        for base in state.foreign_bases(owner.node) if isinstance(owner, Instance) else ():
            if isinstance(base, Ref) and (judgement := judge(base.path)) and judgement[1] == ERROR:
                state.report_name(base.path, call.node, True)
    if name in ("format", "format_map", "get_field", "vformat") and not known_strings(owners):
        report_format(state, call.arguments[:1], call.arguments[1:], call)
    if name in METHODS and not own:
        code, words = METHODS[name]
        state.report(code, call.node, f".{name}(...) {words}.")
    if not own:
        _report_means_of_execution(state, name, call)
        _report_places(state, name, call)
        report_address(state, f".{name}", call)
    if name in PATH_METHODS or (name == "open" and opens_for_writing(call, 0)):
        report_write(state, f".{name}", [owners], call, deletes=name in ("unlink", "rmdir"))
    if name == "from_pretrained":
        report_from_pretrained(state, name, call)


def report_format(state: State, texts: list[Values], arguments: list[Values], call: Call) -> None:
    """What a format string takes out of the modules and functions that it is given.

    Args:
        texts: the format string. arguments: what it formats, by position.
    """
    rows = [item for values in arguments for v in values if isinstance(v, Many) for item in v.items]
    for field in [field for values in texts for text in known_strings(values) for field in _fields(text)]:
        first, _, walk = field.partition(".")
        key = first.split("[")[0]
        owners = call.keywords.get(key, ())
        if key.isdigit() or not key:
            owners = union(owners, *arguments, *rows)
        for name in re.split(r"[.\[\]]+", walk or field.partition("[")[2])[:8]:
            if name:
                owners = state.attribute(owners, name, call.node, True)
        state.report_handed_on(owners, call.node)


def _fields(text: str) -> list[str]:
    """The replacement fields of a format string; the text itself where it is one."""
    return [re.split("[!:]", field)[0] for field in FIELD.findall(text)] or [text]


def report_foreign_call(state: State, path: str, call: Call) -> None:
    """The same of a function or a method of a library: where it writes to or reads from, written out."""
    name = path.rpartition(".")[2]
    trust = call.keywords.get("trust_remote_code")
    if trust is not None and not all(isinstance(v, Const) and not v.value for v in trust) and trust:
        state.report("S04", call.node, f"{printable_excerpt(path)}(..., trust_remote_code=...) runs downloaded code.")
    if "()" in path:
        _report_means_of_execution(state, name, call)
        _report_made(state, path, call)
    if path.startswith("string.Formatter()"):
        report_format(state, call.arguments[:1], call.arguments[1:], call)
    if not path.startswith(PLAIN):
        _report_places(state, name, call)
        _report_named(state, path, call)


def _report_made(state: State, path: str, call: Call) -> None:
    """A method of something whose making is reported already: a socket that is connected."""
    made, _, method = path.partition("().")
    judgement = judge(made) if method and "(" not in method else None
    severe = judgement is not None and judgement[1] == ERROR
    if judgement and (method in STARTS or (severe and (judgement[0] == "S05" or method in TALKS))):
        code, severity, words = judgement
        state.report(code, call.node, f"{printable_excerpt(path)}(...) {words}.", severity)


def _report_named(state: State, path: str, call: Call) -> None:
    """A text that is the name of something dangerous, handed to what may import it."""
    for values in (*call.arguments, *call.keywords.values()):
        for text in known_strings(values):
            if DOTTED.match(text) and acts(text):
                words = f'gets "{printable_excerpt(text)}", the name of something that acts, which it may import'
                state.report("S04", call.node, f"{printable_excerpt(path)}(...) {words}.")


def _report_means_of_execution(state: State, name: str, call: Call) -> None:
    first = call.argument(0, "command")
    if name in RUNS_TEXT and call.arguments:
        known = bool(known_strings(first)) or any(isinstance(v, Decoded) for v in first)
        words = f".{name}(...) of an unknown object gets a text, which it may run as a program."
        state.report("S01", call.node, words, ERROR if known else WARNING)
    if name in RUNS_COMMAND and (command := _command(first)):
        plain = not COMMAND_OPTIONS.isdisjoint(call.keywords) or (len(call.arguments) == 1 and not call.keywords)
        words = f'.{name}("{printable_excerpt(command)}") of an unknown object may start that program.'
        state.report("S02", call.node, words, ERROR if plain else WARNING)


def _command(values: Values) -> str:
    """The text of a command: a text with words in it, or a list of texts; "" for anything else."""
    for text in known_strings(values):
        if " " in text.strip() or text.startswith("/"):
            return text
    for row in [v for v in values if isinstance(v, Many)]:
        texts = [text for item in row.items for text in known_strings(item)[:1]]
        if texts and len(texts) == len(row.items):
            return " ".join(texts)
    return ""


def _report_places(state: State, name: str, call: Call) -> None:
    """A place outside the folder, written out and handed to something that saves or reads."""
    is_saver = name.startswith(SAVERS) and name not in TEXT_METHODS
    for values in (*call.arguments[:2], *call.keywords.values()):
        texts = known_strings(values)
        leads_out = any(OUTSIDE.search(text) for text in texts)
        if is_saver and texts and (leads_out or name in SAVES or any(map(FILE.match, texts))):
            report_write(state, f".{name}", [values], call)
        elif name.startswith(READS) and leads_out:
            report_read(state, f".{name}", values, call.node)
