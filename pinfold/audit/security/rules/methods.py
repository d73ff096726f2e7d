"""Methods of objects of which nothing is known: what their names and arguments say by themselves."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import json
import re
from collections.abc import Iterator
from itertools import product

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.computing import subscript_result
from pinfold.audit.security.lookups import report_variable
from pinfold.audit.security.rules.arguments import report_from_pretrained
from pinfold.audit.security.rules.databases import report_engine, report_query
from pinfold.audit.security.rules.files import OUTSIDE, SAVERS, opens_for_writing, report_read, report_write
from pinfold.audit.security.rules.keeps import report_kernels
from pinfold.audit.security.rules.library import report_address
from pinfold.audit.security.state import State
from pinfold.audit.security.tables.functions import PATH_METHODS
from pinfold.audit.security.tables.methods import METHODS
from pinfold.audit.security.tables.names import DOTTED, REACHED_THROUGH, acts, canonical, judge
from pinfold.audit.security.tables.secrets import SECRET_PLACES
from pinfold.audit.security.values import (
    Call,
    Const,
    Decoded,
    Instance,
    Many,
    Ref,
    Table,
    Values,
    imported_paths,
    known_strings,
    printable_excerpt,
    union,
)

# Names of which honest objects have methods too: a model's eval(), a session's run(...).
RUNS_TEXT = frozenset("exec eval execfile exec_ runcode runctx runeval".split())
RUNS_COMMAND = frozenset("run call spawn execute_command exec_command shell".split())
COMMAND_OPTIONS = frozenset("shell check capture_output stdout stderr stdin cwd env".split())
BLOB = 1500  # characters of a text that is long enough to hide a program
STEP = re.compile(r"\.([^.\[\]]+)|\[([^\[\]]*)\]")  # .name or [key] in a field
FIELD = re.compile(r"\{([^{}]*)\}?")
WALK = re.compile(r"[.\[](__\w+__|[fgc][ir]?_(?:globals|frame|builtins|code|locals|back)\b)")
# What a format string may look at: how an object is called.
OF_NAMES = frozenset("__class__ __name__ __qualname__ __module__ __doc__ __len__ __version__".split())
READS = ("read", "load", "open", "from_")
STARTS = frozenset(  # what was made runs from then on
    "start submit map map_async imap imap_unordered starmap starmap_async apply apply_async __enter__".split()
)
RENDERS = frozenset("render render_async generate generate_async stream make_module compile_expression".split())
# objects whose every method is one of another machine's
CALLED_FAR_AWAY = frozenset(("xmlrpc.client.ServerProxy", "xmlrpc.client.Server", "xmlrpc.client._Method"))
TALKS = frozenset(  # of connections and processes
    "connect connect_ex send sendall sendto sendmsg recv bind listen accept request getresponse urlopen get post put "
    "patch delete head options open login retrbinary storbinary sendmail communicate wait stream submit spawn".split()
)
FILE = re.compile(r"^[^\s{}<>]*[\w\])]\.[A-Za-z]\w{1,11}$")  # a name with an ending
SAVES = ("save", "save_pretrained", "savez", "save_to_disk")  # to any name
# Savers of which an argument is the text itself, or a name.
TEXT_METHODS = frozenset(
    "write dumps dump_json to to_dict to_list to_device to_empty writelines to_string to_thread".split()
)
# Functions of which no argument is a place, or of which another rule knows.
PLAIN = ("builtins.", "os.path.", "pathlib.", "json.", "re.", "logging.", "warnings.", "typing.")
TYPES = ("builtins.str.format", "builtins.str.format_map")
# What unpickles when something is taken out of it, of objects of whose making is reported and of queues.
UNPICKLES = frozenset("load loads recv get get_nowait accept".split())
QUEUES = re.compile(r"^(?:torch\.)?multiprocessing\b.*(?:Queue|JoinableQueue)\(\)\.get(?:_nowait)?$")
# A place that cannot be anything else, such as a part of an address or of a text.
WRITTEN_OUT = re.compile(
    r"^(?:file://)?(?:~/[\w.-]|/(?:etc|home|root|tmp|usr|var|opt|proc|sys|mnt|media|srv|Users|dev/shm)/[\w.-])"
    r"[^\s<>|]*$"
)
LONGEST_GROUP = 12  # texts that stand together and can be the parts of one name
DEEPEST = 4


def walks_attributes(text: str) -> str | None:
    """The attribute of Python's own that a format string takes out of what it formats."""
    names = (name for field in FIELD.findall(text) for name in WALK.findall(field))
    return next((name for name in names if name not in OF_NAMES), None)


def is_blob(value: str | bytes) -> bool:
    """Whether a long text looks like encoded data: unreadable bytes, or characters with hardly a space."""
    if len(value) < BLOB:
        return False
    head = value[:4096] if isinstance(value, bytes) else value[:4096].encode("utf-8", "replace")
    if isinstance(value, bytes) and sum(b < 9 or b > 126 for b in head) > len(head) // 4:
        return True
    spaces = sum(head.count(c) for c in (b" ", b"\n", b",", b";", b"{"))
    return spaces < len(head) // 60 and len(set(head)) > 12


def call_unknown_method(state: State, owners: Values, name: str, call: Call) -> None:
    """Report a method of something unknown whose own name says what it does."""
    if name == "push_to_hub":
        state.report("S03", call.node, ".push_to_hub(...) uploads to the Hub, with the user's own token.")
    report_query(state, f".{name}", call)
    own = any(
        isinstance(v, Const) and not v.soft for v in owners
    )  # a method of the folder's own is known, and so is not asked here
    for owner in owners:  # what a class of the folder has from its base
        for base in state.foreign_bases(owner.node) if isinstance(owner, Instance) else ():
            judgement = judge(base.path) if isinstance(base, Ref) else None
            if isinstance(base, Ref) and judgement and (judgement[1] == ERROR or name in STARTS):
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
        report_kernels(state, name, call.argument(0, "attn_implementation"), call)
        _report_saved(state, name, call)
        _report_trust(state, f".{name}", call)
    if name == "recv" and not call.arguments and not call.keywords:  # a socket's needs a number
        words = "of an unknown object may unpickle what it receives"
        state.report("S06", call.node, f".recv() {words}.", WARNING)
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
    tables = [v for values in arguments for v in values if isinstance(v, Table)]
    for field in [field for values in texts for text in known_strings(values) for field in _fields(text)]:
        key = re.split(r"[.\[]", field)[0]
        owners = union(call.keywords.get(key, ()), subscript_result(tuple(tables), (Const(key),)))
        if key.isdigit() or not key:
            owners = union(owners, *arguments, *rows)
        for name, entry in STEP.findall(field[len(key) :])[:8]:
            owners = state.attribute(owners, name, call.node, True) if name else _entry(state, owners, entry, call)
        state.report_handed_on(owners, call.node)


def _entry(state: State, owners: Values, key: str, call: Call) -> Values:
    """``x[key]`` in a format string, where a key of digits is a number and any other a text."""
    if not {"os.environ", "os.environb"}.isdisjoint(imported_paths(owners)):
        report_variable(state, (Const(key),), call.node)
    values = subscript_result(owners, (Const(int(key) if key.isdigit() and len(key) < 9 else key),))
    modules = (Ref(canonical(key)),) if "sys.modules" in imported_paths(owners) and key else ()
    return union(values, modules, state.attribute(owners, key, call.node, True) if key else ())


def _fields(text: str) -> list[str]:
    """The replacement fields of a format string; the text itself where it is one."""
    return [re.split("[!:]", field)[0] for field in FIELD.findall(text)] or [text]


def _report_trust(state: State, path: str, call: Call) -> None:
    trust = call.keywords.get("trust_remote_code")
    if trust and not all(isinstance(v, Const) and not v.value for v in trust):
        state.report("S04", call.node, f"{printable_excerpt(path)}(..., trust_remote_code=...) runs downloaded code.")


def report_foreign_call(state: State, path: str, call: Call) -> None:
    """The same of a function or a method of a library: where it writes to or reads from, written out."""
    name = path.rpartition(".")[2]
    asked = call.has(1, "pretrained") and not call.is_always(1, "pretrained", False)
    if path.startswith("timm.") and name == "create_model" and asked:
        words = "may download weights that no pin of this repository covers"
        state.report("S03", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    weights = call.argument(99, "weights") if "weights" in call.keywords else ()
    if path.startswith("torchvision.models.") and (asked or known_strings(weights) or imported_paths(weights)):
        words = "may download weights that no pin of this repository covers"
        state.report("S03", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    _report_trust(state, path, call)
    report_query(state, path, call)
    report_engine(state, path, call)
    if "()" in path:
        _report_means_of_execution(state, name, call)
        _report_made(state, path, call)
        if path.startswith("PIL.") and name == "show":
            state.report("S02", call.node, f"{printable_excerpt(path)}() starts a program that shows it.", WARNING)
    if path.startswith("string.Formatter()") or path in TYPES:
        report_format(state, call.arguments[:1], call.arguments[1:], call)
    if not path.startswith(PLAIN) or path.startswith("builtins.super()."):
        _report_places(state, name, call)
        _report_outside(state, path, call)
        _report_saved(state, name, call)
        _report_named(state, path, call)


def _report_made(state: State, path: str, call: Call) -> None:
    """A method of something whose making is reported already: a socket that is connected."""
    made, _, method = path.partition("().")
    if QUEUES.match(path):
        words = "unpickles what another process put there, and a pickle runs whatever it names"
        state.report("S06", call.node, f"{printable_excerpt(path)}(...) {words}.", WARNING)
    judgement = judge(made) if method else None
    if judgement is None:
        return
    code, severity, words = judgement
    severe = severity == ERROR
    unpickles = severe and code == "S06" and path.rpartition(".")[2] in UNPICKLES
    if code == "S01" and path.rpartition(".")[2] in RENDERS:
        state.report(code, call.node, f"{printable_excerpt(path)}(...) {words}.", severity)
    talks = method in TALKS or made in CALLED_FAR_AWAY
    acts_now = "(" not in method and (method in STARTS or (severe and (code == "S05" or talks)))
    if unpickles or acts_now:
        state.report(code, call.node, f"{printable_excerpt(path)}(...) {words}.", severity)


def _report_named(state: State, path: str, call: Call) -> None:
    """A text that is the name of something dangerous, handed to what may import it."""
    for values in (*call.arguments, *call.keywords.values()):
        for text in known_strings(values):
            if DOTTED.match(text) and acts(text):
                words = f'gets "{printable_excerpt(text)}", the name of something that acts, which it may import'
                state.report("S04", call.node, f"{printable_excerpt(path)}(...) {words}.")
        if pair := next((pair for value in values for pair in _pairs(value)), None):
            words = f'gets "{printable_excerpt(pair)}" in two parts, the name of something that acts'
            state.report("S04", call.node, f"{printable_excerpt(path)}(...) {words}, which it may import.")


def _pairs(value: object) -> Iterator[str]:
    """Names that act of which the module and the rest stand together in a table, or in the JSON text of one."""
    if isinstance(value, Const):
        text = value.value
        if not isinstance(text, str) or text[:1] not in ("{", "["):
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
    for group in _groups(value):
        for module, name in product([text for text in group if canonical(text) in REACHED_THROUGH], group):
            if name != module and name.isidentifier() and acts(f"{module}.{name}"):
                yield f"{module}.{name}"


def _groups(value: object, depth: int = 0) -> Iterator[list[str]]:
    """The texts of a table, and of those inside it; a list counts where it has two."""
    if isinstance(value, Table):
        rows = [v for _, values in value.entries for v in values]
    elif isinstance(value, Many):
        rows = [v for values in value.items for v in values]
    elif isinstance(value, (dict, list)):
        rows = list(value.values() if isinstance(value, dict) else value)
    else:
        return
    texts = [row.value if isinstance(row, Const) else row for row in rows[:LONGEST_GROUP]]
    if isinstance(value, (Table, dict)) or len(rows) == 2:
        yield [text for text in texts if isinstance(text, str)]
    for row in rows[:LONGEST_GROUP] if depth < DEEPEST else ():
        yield from _groups(row, depth + 1)


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


def _report_saved(state: State, name: str, call: Call) -> None:
    """A whole model, tokenizer or configuration that is saved where nobody asked for it."""
    function = getattr(state.function, "name", "").lstrip("_")
    if name == "save_pretrained" and function and not function.startswith((*SAVERS, "push")):
        report_write(state, f".{name}", [call.argument(0, "save_directory")], call)


def _report_outside(state: State, path: str, call: Call) -> None:
    """A place outside the folder that a function gets of which no table says what it does with it."""
    for values in (*call.arguments, *call.keywords.values()):
        for value in values:
            if not isinstance(value, (Const, Many)):
                continue
            inside = union(*value.items) if isinstance(value, Many) else (value,)
            if text := next(filter(WRITTEN_OUT.match, known_strings(inside)), ""):
                line = getattr(call.node, "lineno", 0)
                if not any((state.file, line, code) in state.reports for code in ("S07", "S08")):
                    words = f'gets "{printable_excerpt(text)}", a place outside its folder'
                    severity = ERROR if SECRET_PLACES.search(text) else WARNING
                    state.report("S08", call.node, f"{printable_excerpt(path)}(...) {words}.", severity)
                return


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
