"""What the names of installed libraries stand for, and what their functions do with an argument.

The table (names.json.gz) is made by scripts/library_names.py from the libraries' sources, and says from which
releases. Its parts stay texts until a name in them is asked for: a folder uses few of them.
"""

import functools
import gzip
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from pinfold.audit.security.tables.by_hand import BY_HAND

TABLE = Path(__file__).with_name("names.json.gz")
STANDARD = sys.stdlib_module_names
LONGEST_LINEAGE = 8
# What a method does that has the name of one in the same library: only these, as other names are too common.
BY_METHOD = frozenset(("text", "command", "import", "native", "pickle"))
# Private names of the standard library that honest code uses.
USED_PRIVATE = frozenset("_asdict _replace _fields _make _GenericAlias _name _empty _field_defaults _missing_".split())  # noqa: SIM905
ITEM = ".item"  # an entry of the argument that has a name, and not the argument itself
ARRAYS = ("torch", "numpy", "transformers")  # what their calls give are arrays and models, whose methods are known


class Reach(NamedTuple):
    """An argument that arrives somewhere: "text" is run, "url" opened, "write" a file's place, ..."""

    what: str
    position: int
    name: str


@functools.cache
def read_table() -> dict[str, Any]:
    """The table; gzip unpacks it in some milliseconds."""
    if not TABLE.exists():  # while the script makes it for the first time
        return {
            "made_from": {},
            "aliases": {},
            "reaches": {},
            "copies": {},
            "own": [],
            "fetching": [],
            "bases": {},
            "overrides": {},
        }
    return json.loads(gzip.decompress(TABLE.read_bytes()))


@functools.cache
def _held(module: str) -> dict[str, str]:
    """The aliases in a module: name there -> what it stands for."""
    text = read_table()["aliases"].get(module)
    pairs = (entry.partition("=") for entry in text.split(" ")) if text else ()
    return {name: target for name, _, target in pairs}


@functools.cache
def own_modules() -> frozenset[str]:
    """Modules that have the name of a well-known one: pandas.io.pickle is not pickle."""
    return frozenset(read_table()["own"])


def copied(package: str) -> str:
    """The package that another one is a copy of: "multiprocessing" for "multiprocess"; itself for any other."""
    return read_table()["copies"].get(package, package)


def is_read(library: str) -> bool:
    """Whether the table says what the modules of a library hold."""
    return library in read_table()["made_from"] or library in STANDARD


def resolve(path: str) -> str:
    """The name that rules know, of a dotted path through whatever modules.

    >>> resolve("random._os.system")
    'os.system'
    """
    modules = read_table()["aliases"]
    current, *parts = path.split(".")
    for part in parts:
        target = _held(current).get(part) if current in modules else None
        current = target or f"{current}.{part}"
    return current


@functools.lru_cache(maxsize=1 << 14)
def reaches(path: str) -> tuple[Reach, ...]:
    """Where the arguments of a function, or of a method of a class or of something made by a call, arrive."""
    name = resolve(path.replace("()", "").replace("[]", ""))
    if path.endswith("()"):  # what a call gave is called: not the function itself, and of a class its __call__
        return _entry(f"{name}.__call__")
    if entry := _entry(name):
        return entry
    if "()" in path and not name.startswith(ARRAYS):
        method = path.rpartition(".")[2]
        module = resolve(path.partition("(")[0]).rpartition(".")[0]
        return _methods_of_module(module).get(method) or _methods(name.split(".")[0]).get(method, ())
    return ()


@functools.lru_cache(maxsize=1 << 14)
def _entry(name: str, depth: int = 0) -> tuple[Reach, ...]:
    table = read_table()
    text = BY_HAND.get(name) or table["reaches"].get(name)
    if text is not None:
        parts = (part.split(":") for part in text.split(" "))
        return tuple(Reach(what, int(position), keyword) for what, position, keyword in parts)
    owner, _, method = name.rpartition(".")
    if owner in table["bases"] and depth < LONGEST_LINEAGE:
        for base in table["bases"][owner].split(" "):
            if entry := _entry(f"{base}.{method}", depth + 1):
                return entry
    return ()


@functools.lru_cache(maxsize=1 << 14)
def does(path: str, depth: int = 0) -> str:
    """What a function does whatever it is given: "program", "network", or nothing that is known."""
    table = read_table()
    known = table.get("does", {})
    name = resolve(path.replace("()", "").replace("[]", "")) if not depth else path
    if path.endswith("()") or name in known:
        return known.get(name, "") if not path.endswith("()") else ""
    owner, _, method = name.rpartition(".")
    bases = table["bases"].get(owner, "").split(" ") if depth < LONGEST_LINEAGE else []
    return next((what for base in bases if base and (what := does(f"{base}.{method}", depth + 1))), "")


@functools.cache
def _methods_of_module(module: str) -> dict[str, tuple[Reach, ...]]:
    """Method name -> what it does, of those that only one class of a module has."""
    methods: dict[str, list[str]] = {}
    for name in (*read_table()["reaches"], *BY_HAND):
        owner, _, method = name.rpartition(".")
        if owner.rpartition(".")[0] == module and owner.rpartition(".")[2][:1].isupper():
            methods.setdefault(method, []).append(name)
    return {method: _entry(names[0]) for method, names in methods.items() if len(names) == 1}


@functools.cache
def _methods(library: str) -> dict[str, tuple[Reach, ...]]:
    """Method name -> what any class of a library does with its arguments under this name."""
    methods: dict[str, tuple[Reach, ...]] = {}
    for name, text in read_table()["reaches"].items():
        owner, _, method = name.rpartition(".")
        is_method = owner.rpartition(".")[2][:1].isupper()
        if name.startswith(f"{library}.") and is_method and any(what in text for what in BY_METHOD):
            dangerous = tuple(reach for reach in _entry(name) if reach.what in BY_METHOD)
            methods[method] = (*methods.get(method, ()), *dangerous)
    return methods


@functools.lru_cache(maxsize=1 << 12)
def overrides(path: str) -> tuple[tuple[str, str], ...]:
    """(what, method) of each method of a class whose result the class runs or opens, an override's included."""
    text = read_table().get("overrides", {}).get(resolve(path), "")
    return tuple((what, name) for what, _, name in (part.partition(":") for part in text.split(" ")) if name)


def can_fetch(library: str) -> bool:
    """Whether a library may download from the Hub: one that is known to, or of which nothing is known."""
    table = read_table()
    return library in table["fetching"] or (library not in table["made_from"] and library not in STANDARD)


def is_private(owner: str, name: str) -> bool:
    """Whether a name is not for others: of the standard library, or of one that the table does not know."""
    library = owner.split(".")[0]
    if not name.startswith("_") or name.startswith("__"):
        return False
    if owner.startswith("huggingface_hub.") and "()" in owner:  # a part of an object that talks to the Hub
        return True
    if "()" in owner or "[]" in owner or name in USED_PRIVATE:
        return False
    return library in STANDARD
