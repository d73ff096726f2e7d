"""What functions and classes of transformers take, call and return: stock.json.gz, which scripts/stock.py makes."""

import ast
import functools
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pinfold.folder.releases import exists, releases_of_ranges

TABLE = Path(__file__).with_name("stock.json.gz")
MAYBE = "?"  # behind a method that some calls of forward skip, and in front of a call that some skip
FLOWS = ("returns", "parts", "hands")


@functools.cache
def read_table() -> dict:
    """The table: parameters by module and name, and methods that releases lost by class."""
    return json.loads(gzip.decompress(TABLE.read_bytes()))


@dataclass(frozen=True)
class Parameters:
    """What may be handed to a function.

    Args:
        positional: in their order. by_name: those that only a name reaches, with the one that a name stands for, or
            "". required: without a default.
        more: *args. rest: **kwargs.
    """

    positional: tuple[str, ...]
    by_name: dict[str, str]
    required: frozenset[str]
    more: bool
    rest: bool

    def refuses(self, call: ast.Call) -> str:
        """Why a call raises a TypeError, in words that follow "it"; "" where it does not."""
        names = [keyword.arg for keyword in call.keywords if keyword.arg]
        spread = any(keyword.arg is None for keyword in call.keywords)
        starred = any(isinstance(value, ast.Starred) for value in call.args)
        return self.refuses_these(None if starred else len(call.args), names, spread)

    def refuses_these(self, by_place_count: int | None, names: Sequence[str], spread: bool) -> str:
        """The same of a call with so many arguments without a name, or an unknown number, and these names."""
        if not self.rest and (unknown := [n for n in names if n not in self.positional and n not in self.by_name]):
            return f"takes no {unknown[0]}"
        if by_place_count is None:
            return ""
        if by_place_count > len(self.positional) and not self.more:
            count = len(self.positional)
            return f"takes {count or 'no'} argument{'s' * (count != 1)} without a name"
        by_place = self.positional[:by_place_count]
        if twice := [name for name in names if name in by_place]:
            return f"gets {twice[0]} twice"
        missing = self.missing(by_place_count, names)
        return f"needs {min(missing)}" if missing and not spread else ""

    def missing(self, by_place_count: int, names: Sequence[str]) -> list[str]:
        """What has no default, and does not get a value from so many arguments without a name and these names."""
        there = {*self.positional[:by_place_count], *names, *(self.by_name.get(name, "") for name in names)}
        return [name for name in self.required if name not in there]


@functools.cache
def _parse(text: str) -> Parameters:
    """Parameters as the table writes them: "config layer= *args * device= **"."""
    positional: list[str] = []
    by_name: dict[str, str] = {}
    required: list[str] = []
    behind = more = rest = False
    for word in text.split():
        if word.startswith("*"):
            behind, more, rest = True, more or word not in ("*", "**"), rest or word == "**"
            continue
        name, default, other = word.partition("=")
        if behind:
            by_name[name] = other
        else:
            positional.append(name)
        required += [] if default else [name]
    return Parameters(tuple(positional), by_name, frozenset(required), more, rest)


@functools.cache
def parameters(place: str, name: str) -> dict[str, Parameters]:
    """Release -> parameters of what ``from place import name`` gives there; releases in which they are known.

    Args:
        name: a function, a class for its constructor, or "Class.method".
    """
    having = exists(place, name.split(".")[0])
    known: dict[str, Parameters] = {}
    for release, options in _by_release("parameters", name).items():
        if release in having and (text := _of_place(place, options)) is not None:
            known[release] = _parse(text)
    return known


@functools.cache
def lost(place: str, cls: str) -> dict[str, dict[str, bool]]:
    """Method -> releases in which the class does not have it, though others call it -> whether they always do."""
    methods: dict[str, dict[str, bool]] = {}
    having = exists(place, cls)
    for release, options in _by_release("lost", cls).items():
        for word in (_of_place(place, options) or "").split() if release in having else ():
            methods.setdefault(word.removesuffix(MAYBE), {})[release] = not word.endswith(MAYBE)
    return methods


@dataclass(frozen=True)
class Handed:
    """How a module calls one of its parts.

    Args:
        count: arguments without a name; None where that is not known. names: the others. rest: **kwargs too.
        result: what is done with what comes back: "t" as with a tensor, "i" an item is taken, "2" it is taken apart
            into two, "" not known.
        certain: each forward comes to it.
    """

    count: int | None
    names: tuple[str, ...]
    rest: bool
    result: str
    certain: bool


@functools.cache
def file_of(place: str, cls: str) -> str:
    """The file that defines a class which is imported from ``place``, where the table has it; else ""."""
    options = _files().get(cls, ())
    if place in options:
        return place
    below = [module for module in options if module.startswith(f"{place}.")]
    return below[0] if len(below) == 1 else ""


@functools.cache
def _files() -> dict[str, tuple[str, ...]]:
    """Class -> files of which the table knows what it returns, builds or calls."""
    files: dict[str, dict[str, None]] = {}
    for kind in FLOWS:
        for module, rows in read_table()[kind].items():
            for name in rows:
                files.setdefault(name.partition(".")[0], {})[module] = None
    return {cls: tuple(modules) for cls, modules in files.items()}


@functools.cache
def flows(file: str, release: str) -> dict[str, dict[str, str]]:
    """Of FLOWS, class or "Class.attribute" -> what a file says of it in a release."""
    return {
        kind: {
            name: text
            for name, row in read_table()[kind].get(file, {}).items()
            for spans, text in row.items()
            if release in releases_of_ranges(spans)
        }
        for kind in FLOWS
    }


@functools.cache
def ever_handed(file: str, cls: str, part: str) -> frozenset[str]:
    """Names that a class hands to one of its parts in some release."""
    row = read_table()["hands"].get(file, {}).get(f"{cls}.{part}", {})
    return frozenset(name for text in row.values() for each in text.split(" | ") for name in _parse_call(each).names)


@functools.cache
def handed_above(file: str, cls: str, release: str) -> frozenset[str]:
    """Names that are handed to a class by the classes of its file of which it is a part; it may hand them on."""
    known = flows(file, release)
    places = [name.split(".") for name, text in known["parts"].items() if text.removesuffix("*") == cls]
    return frozenset(name for place in places for call in handed(file, *place, release) for name in call.names)


@functools.cache
def handed(file: str, cls: str, part: str, release: str) -> tuple[Handed, ...]:
    """How a class calls one of its parts in a release; nothing where that is not known."""
    text = flows(file, release)["hands"].get(f"{cls}.{part}", "")
    return tuple(_parse_call(each) for each in text.split(" | ") if each)


def _parse_call(text: str) -> Handed:
    """A call as the table writes it: "?1 attention_mask use_cache ** >i"."""
    words = text.removeprefix(MAYBE).split()
    names = tuple(word for word in words[1:] if word != "**" and word[0] != ">")
    result = next((word[1:] for word in words if word[0] == ">"), "")
    count = None if words[0] == "*" else int(words[0])
    return Handed(count, names, "**" in words, result, not text.startswith(MAYBE))


@functools.cache
def looks_up_attention(place: str, cls: str) -> frozenset[str]:
    """Releases in which a part of a model looks attention up by the choice in its configuration alone."""
    spans = read_table()["attention"].get(place, {}).get(cls, "")
    return frozenset(releases_of_ranges(spans)) if spans else frozenset()


@functools.cache
def _by_release(kind: str, name: str) -> dict[str, dict[str, str]]:
    """Release -> module that defines a name there -> what the table says of it."""
    releases: dict[str, dict[str, str]] = {}
    for module, text, ranges in _rows(kind, name):
        for release in releases_of_ranges(ranges):
            before = releases.setdefault(release, {}).get(module, "")
            releases[release][module] = f"{before} {text}".strip() if kind == "lost" else text
    return releases


def _rows(kind: str, name: str) -> Iterator[tuple[str, str, str]]:
    table = read_table()[kind]
    for module in table:
        for ranges, text in table[module].get(name, {}).items():
            yield module, text, ranges


def _of_place(place: str, options: dict[str, str]) -> str | None:
    """What is said of the module that a name is imported from, or of the one module that it can come from."""
    if place in options:
        return options[place]
    below = [module for module in options if module.startswith(f"{place}.")] or list(options)
    below = [module for module in below if ".models." not in module] or below
    return options[below[0]] if len(below) == 1 else None
