"""Texts for a database that write files, read them, or run code: ATTACH, VACUUM INTO, COPY ... TO, LOAD."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re

from pinfold.audit.security.rules.files import IN_MEMORY, report_read, report_write
from pinfold.audit.security.state import State
from pinfold.audit.security.values import Call, Const, Many, Values, known_for_sure, known_strings, printable_excerpt
from pinfold.common.trees import every

# Methods and functions that are given such a text first.
TAKES_TEXT = frozenset(
    "execute executemany executescript exec_driver_sql sql query read_sql read_sql_query from_query text "
    "execute_async fetch fetchall fetchrow scalar script".split()
)
UNKNOWN_TEXT = "\N{WHITE SQUARE}"  # for a part of a text that is computed
_TEXT = rf"(?:E?'(?P<place>(?:[^']|'')*)'|(?P<unknown>\?\w*|:\w+|\$\w+|@\w+|%s|{UNKNOWN_TEXT}))"
START = r"(?:^|;)\s*(?:--[^\n]*\n\s*)*"  # of a command
WRITES = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        rf"{START}ATTACH\s+(?:DATABASE\s+)?(?:IF\s+NOT\s+EXISTS\s+)?{_TEXT}",
        rf"{START}VACUUM\s+(?:\w+\s+)?INTO\s+{_TEXT}",
        rf"{START}COPY\b[^;]*?\bTO\s+{_TEXT}",
        rf"{START}EXPORT\s+DATABASE\s+{_TEXT}",
        rf"\bINTO\s+(?:OUTFILE|DUMPFILE)\s+{_TEXT}",
        rf"\bwritefile\s*\(\s*{_TEXT}",
        rf"\blo_export\s*\([^,]*,\s*{_TEXT}",
    )
)
READS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        rf"{START}COPY\b[^;]*?\bFROM\s+{_TEXT}",
        rf"\bLOAD\s+DATA\s+(?:\w+\s+)*?INFILE\s+{_TEXT}",
        rf"\b(?:read_\w+|readfile|parquet_scan|pg_read_(?:binary_)?file|pg_ls_dir|load_file|glob|lo_import)"
        rf"\s*\(\s*\[?\s*{_TEXT}",
        rf"\bFROM\s+{_TEXT}",
    )
)
PROGRAM = re.compile(rf"{START}COPY\b[^;]*?\b(?:TO|FROM)\s+PROGRAM\b|\bsys_exec\s*\(", re.IGNORECASE | re.DOTALL)
NATIVE = re.compile(
    rf"\bload_extension\s*\(|{START}(?:FORCE\s+)?(?:INSTALL|LOAD)\s+(?:'[^']*'\s*(?:;|$)|\w+\s*(?:FROM\s+\w+\s*)?;)",
    re.IGNORECASE,
)
EXTENSION = re.compile(rf"{START}(?:FORCE\s+)?(?:INSTALL|LOAD)\s+\w+", re.IGNORECASE)  # of duckdb
# The address of a database, as sqlalchemy writes it: of a file, or of a machine.
ADDRESS = re.compile(r"^(\w+)(?:\+\w+)?://(.*)$", re.DOTALL)
IN_A_FILE = ("sqlite", "duckdb", "access")


def report_query(state: State, name: str, call: Call) -> None:
    """What a text does that is handed to a database.

    Args:
        name: of the function or method as it is reported; of a method of an object that is not known, ".name".
    """
    method = name.rpartition(".")[2]
    if method not in TAKES_TEXT:
        return
    for text in _texts(state, call)[:4]:
        if name.startswith("duckdb.") and EXTENSION.search(text):
            state.report("S05", call.node, f"{printable_excerpt(name)}(...) has the database load native code.")
        _report_text(state, f".{method}" if "()" in name else name, text, call)


def _report_text(state: State, name: str, text: str, call: Call) -> None:
    if PROGRAM.search(text):
        state.report("S02", call.node, f"{name}(...) has the database start another program.")
    if NATIVE.search(text):
        state.report("S05", call.node, f"{name}(...) has the database load native code.")
    for match in (match for pattern in WRITES for match in pattern.finditer(text)):
        place = _place(match, call)
        if not (known_for_sure(place) and all(map(IN_MEMORY.fullmatch, known_strings(place)))):
            report_write(state, name, [place], call)
    for match in (match for pattern in READS for match in pattern.finditer(text)):
        report_read(state, name, _place(match, call), call.node)


def _place(match: re.Match, call: Call) -> Values:
    """The place in a command: written in it, or handed beside it."""
    if match["place"] is None:
        rows = [v for v in call.argument(1, "parameters") if isinstance(v, Many)]
        return rows[0].items[0] if len(rows) == 1 and len(rows[0].items) == 1 else ()
    return () if UNKNOWN_TEXT in match["place"] else (Const(match["place"]),)


def _texts(state: State, call: Call) -> list[str]:
    """The texts that the first argument can be, with UNKNOWN_TEXT for what is computed."""
    first = [
        *call.arguments[:1],
        *(call.keywords[key] for key in ("sql", "query", "statement") if key in call.keywords),
    ]
    texts = [text for values in first for text in known_strings(values)]
    arguments = getattr(call.node, "args", ())
    return texts if texts or not arguments else _written(state, arguments[0])


def _written(state: State, node: ast.expr, depth: int = 0) -> list[str]:
    """The text of an expression as far as it is written out; of a name, of what is assigned to it in the function."""
    if depth > 8:
        return [UNKNOWN_TEXT]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(_written(state, part, depth + 1)[0] for part in node.values)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [_written(state, node.left, depth + 1)[0] + _written(state, node.right, depth + 1)[0]]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return [re.sub(r"%(?:\(\w+\))?[sdri]", UNKNOWN_TEXT, _written(state, node.left, depth + 1)[0])]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return [re.sub(r"\{[^{}]*\}", UNKNOWN_TEXT, _written(state, node.func.value, depth + 1)[0])]
    if isinstance(node, ast.Name) and state.function is not None:
        values = [
            assign.value
            for assign in every(state.function, ast.Assign)
            if any(isinstance(target, ast.Name) and target.id == node.id for target in assign.targets)
        ]
        return [text for value in values[:4] for text in _written(state, value, depth + 1)] or [UNKNOWN_TEXT]
    return [UNKNOWN_TEXT]


def report_engine(state: State, path: str, call: Call) -> None:
    """``create_engine("sqlite:///place")``: a database in a file is made there, any other is on the network."""
    if not path.endswith((".create_engine", ".create_async_engine")):
        return
    for text in known_strings(call.argument(0, "url")):
        match = ADDRESS.match(text)
        if match is None:
            continue
        place = match[2].removeprefix("/")
        if match[1] not in IN_A_FILE:
            state.report("S03", call.node, f"{path}(...) talks to a database over the network.")
        elif not IN_MEMORY.fullmatch(place):
            report_write(state, path, [(Const(place),)], call)
