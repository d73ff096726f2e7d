"""Files that are written, deleted, or read from outside the folder."""

import ast
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.state import Scope, State
from pinfold.audit.security.tables.functions import (
    DATABASES,
    DELETES,
    FILE_ARGUMENTS,
    FILESYSTEM_DELETES,
    FILESYSTEM_WRITES,
    IN_PLACE,
    OPENERS,
    PATH_METHODS,
    PATH_ONLY,
    READERS,
    WRITERS,
)
from pinfold.audit.security.tables.methods import METHODS
from pinfold.audit.security.values import (
    COMPUTED_PLACE,
    Call,
    Const,
    Given,
    Many,
    Ref,
    Values,
    all_given,
    is_soft,
    known_for_sure,
    known_strings,
    printable_excerpt,
    union,
)

SAVERS = ("save", "write", "export", "dump", "to_")  # how the names of functions begin whose job is to write
OUTSIDE = re.compile(r"^(?:/|~|[A-Za-z]:[\\/]|\\\\|file:)|(?:^|[/\\])\.\.(?:[/\\]|$)|^\$|^%\w+%")
# Where a system and its users keep what is theirs.
PRIVATE = re.compile(
    r"^(?:file:(?://)?)?(?:/(?:etc|proc|root|home|Users|var|sys|run|boot|dev/(?!null|shm|std))\b|~|\$HOME)"
)
CACHE = re.compile(r"^(?:~|\$HOME|/home/\w+|/root)/\.cache/(?!huggingface(?:/token|/stored_tokens|$))")
PARENTS = re.compile(r"(?:[/\\]+(?:\.\.(?=[/\\]))?)+")  # what begins with it is below, or below a folder above
IN_MEMORY = re.compile(
    r":memory:\w*|:default:|file::memory:.*|file:[^?]*\?(?:.*&)?mode=memory.*|"
)  # databases without a file
FRAMES = ("pandas.", "geopandas.")
# What a table writes where it gets a place, and gives back as text where it does not.
FRAME_WRITERS = {
    **dict.fromkeys(("to_string", "to_html", "to_latex", "to_markdown"), "buf"),
    **dict.fromkeys(("to_csv", "to_json", "to_hdf"), "path_or_buf"),
    **dict.fromkeys(("to_parquet", "to_feather", "to_orc", "to_stata", "to_pickle"), "path"),
    **{"to_xml": "path_or_buffer", "to_excel": "excel_writer"},
}
# What maps a file into memory, and makes it where others see what is changed.
MAPPED = re.compile(r"^torch\.(?:from_file|(?:storage\.)?\w*Storage\.from_file)$")


def report_read(state: State, path: str, values: Values, node: ast.AST) -> None:
    """Report that a file outside the folder is read, where the place is written out."""
    for text in known_strings(values):
        if OUTSIDE.search(text):
            words = f'reads "{printable_excerpt(text)}", outside its folder'
            severity = ERROR if PRIVATE.match(text) and not CACHE.match(text) else WARNING
            state.report("S08", node, f"{printable_excerpt(path)}(...) {words}.", severity)
            return


def _each(places: Values) -> Values:
    """Places, those inside a list of them too."""
    return union(*(union(*v.items) if isinstance(v, Many) else (v,) for v in places))


def opens_for_writing(call: Call, position: int) -> bool:
    """Whether a file is opened for writing, or in a mode that is not known."""
    if not call.has(position, "mode"):
        return False
    modes = call.argument(position, "mode")
    known = [v.value for v in modes if isinstance(v, Const) and isinstance(v.value, str)]
    if len(known) < len(modes) or not known or is_soft(modes):
        return True
    return any(set(mode) & set("wax+") for mode in known)


def _opens_for_reading(call: Call) -> bool:
    flags = call.argument(1, "flags")
    return bool(flags) and all(isinstance(v, Ref) and v.path == "os.O_RDONLY" for v in flags)


def _rewrites(call: Call) -> bool:
    """Whether fileinput writes what is printed into the file that it reads."""
    return call.has(1, "inplace") and not call.is_always(1, "inplace", False)


def file_rule(state: State, path: str, call: Call, scope: Scope) -> Values | None:
    """Files that are opened, written, moved or deleted."""
    if path in OPENERS:
        name = FILE_ARGUMENTS.get(path, "file")
        if opens_for_writing(call, OPENERS[path]):
            owner = (Ref("pathlib.Path()"),) if path.startswith("pathlib") else call.argument(0, name)
            report_write(state, path, [owner], call)
        else:
            report_read(state, path, call.argument(0, name), call.node)
        return (Ref(f"{path}()"),)
    if MAPPED.match(path):
        report_read(state, path, call.argument(0, "filename"), call.node)
    if MAPPED.match(path) and call.has(1, "shared") and not call.is_always(1, "shared", False):
        report_write(state, path, [call.argument(0, "filename")], call)
    if path in IN_PLACE and _rewrites(call):
        report_write(state, path, [_each(call.argument(0, "files"))], call)
    for place in READERS.get(path, ()):
        report_read(state, path, _each(call.argument(*place)), call.node)
    if path == "logging.basicConfig" and "filename" in call.keywords:
        report_write(state, path, [call.keywords["filename"]], call)
    elif path in DATABASES and (not call.has(0, WRITERS[path][0][1]) or _in_memory(call.argument(*WRITERS[path][0]))):
        return None
    elif path in WRITERS:
        if path != "os.open" or not _opens_for_reading(call):
            places = [call.argument(position, name) for position, name in WRITERS[path]]
            report_write(state, path, places, call, deletes=path in DELETES)
    else:
        _report_file_method(state, path, call)
    return None


def _in_memory(place: Values) -> bool:
    return known_for_sure(place) and all(map(IN_MEMORY.fullmatch, known_strings(place)))


def _report_file_method(state: State, path: str, call: Call) -> None:
    method = path.rsplit(".", 1)[-1]
    if path.startswith("pathlib.Path().") and (method in PATH_METHODS or method in PATH_ONLY):
        deletes = method in ("unlink", "rmdir", "rename", "replace")
        report_write(state, f"Path.{method}", [()], call, deletes)
    elif method in PATH_METHODS and "()" in path:
        report_write(state, f".{method}", [()], call, deletes=method in ("unlink", "rmdir"))
    elif path.startswith("fsspec.") and "()." in path and _writes_in_file_system(method, call):
        report_write(state, f".{method}", call.arguments[:1], call, deletes=method in FILESYSTEM_DELETES)
    elif method == "savefig":
        report_write(state, f".{method}", [call.argument(0, "fname")], call)
    elif method in FRAME_WRITERS and path.startswith(FRAMES):
        keyword = FRAME_WRITERS[method]
        if call.has(0, keyword) and not call.is_always(0, keyword, None):
            report_write(state, f".{method}", [call.argument(0, keyword)], call)
    elif "()" in path and method in METHODS and not path.startswith(("platform.", "pathlib.")):
        code, words = METHODS[method]
        state.report(code, call.node, f".{method}(...) {words}.")


def _writes_in_file_system(method: str, call: Call) -> bool:
    return method in FILESYSTEM_WRITES or (method == "open" and opens_for_writing(call, 1))


def report_write(state: State, name: str, places: list[Values], call: Call, deletes: bool = False) -> None:
    """Report a write unless it goes below the directory that save_pretrained was given.

    Where the place is not written out and neither a load nor a call of the model reaches the function, it is the
    caller who chooses to write: a warning.
    """
    inside = all(map(all_given, places))
    values = [value for place in places for value in place]
    temporary = any(isinstance(v, Given) and v.temporary for v in values)
    if inside and not deletes and not temporary:
        return
    words = "deletes or moves files" if deletes else "writes files"
    texts = _without_empty_beginning(known_strings(tuple(values)))
    if not inside:
        where = "outside the directory that saving was given"
    elif temporary:
        where = "below a temporary directory"
    else:
        where = "in the directory that it was given"
    constant = any(isinstance(v, Const) for v in values) and not all(t.startswith(COMPUTED_PLACE) for t in texts)
    expected = inside or (_writes_to_parameter(state.function, call) and not constant)
    if texts and not inside:
        where = _computed_place(texts[0]) or f'at "{printable_excerpt(texts[0])}", {where}'
    # a variable of the environment is the user's word, as an argument is
    outside = any(OUTSIDE.search(text) and (text[0] != "$" or PRIVATE.match(text)) for text in texts)
    unless_reached = not deletes and not outside
    severity = WARNING if expected else ERROR
    state.report("S07", call.node, f"{printable_excerpt(name)}(...) {words} {where}.", severity, unless_reached)


def _computed_place(text: str) -> str:
    """How a place is said of which a part is computed; "" for one that is written out."""
    start, computed, rest = text.rpartition(COMPUTED_PLACE)
    if not computed:
        return ""
    # what is above a computed place is one too
    below = printable_excerpt(PARENTS.sub("", rest)) if PARENTS.match(rest) else ""
    place = f'at "{below}" below a place that is computed' if below else "at a place that is computed"
    start = start.replace(COMPUTED_PLACE, "...") if start.strip(f"{COMPUTED_PLACE}/\\") else ""
    begins = f'begins with "{printable_excerpt(start)}"' if start else ""
    ends = f'ends with "{printable_excerpt(rest)}"' if rest and not below else ""
    return " and ".join(filter(None, (place, begins, ends)))


def _without_empty_beginning(texts: list[str]) -> list[str]:
    """Places of which the beginning is the caller's: what they are with nothing before them is a default's matter."""
    begun = {text.replace(COMPUTED_PLACE, "") for text in texts if COMPUTED_PLACE in text}
    return [text for text in texts if text not in begun or PRIVATE.match(text)]


def _writes_to_parameter(function: ast.AST | None, call: Call) -> bool:
    """Whether a function whose name says that it writes takes the path from one of its parameters."""
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    first = call.node.args[0] if isinstance(call.node, ast.Call) and call.node.args else None
    parameters = {argument.arg for argument in function.args.args}
    return function.name.lstrip("_").startswith(SAVERS) and isinstance(first, ast.Name) and first.id in parameters
