"""What functions and classes of transformers take, and which methods they call: stock.json.gz, of scripts/stock.py."""

import ast
import functools
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.folder.releases import exists, releases_of_ranges

TABLE = Path(__file__).with_name("stock.json.gz")
MAYBE = "?"  # behind a method that some calls of forward skip


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
        if not self.rest and (unknown := [n for n in names if n not in self.positional and n not in self.by_name]):
            return f"takes no {unknown[0]}"
        if starred:
            return ""
        if len(call.args) > len(self.positional) and not self.more:
            count = len(self.positional)
            return f"takes {count or 'no'} argument{'s' * (count != 1)} without a name"
        by_place = self.positional[: len(call.args)]
        if twice := [name for name in names if name in by_place]:
            return f"gets {twice[0]} twice"
        there = {*by_place, *names, *(self.by_name.get(name, "") for name in names)}
        missing = [name for name in self.required if name not in there]
        return f"needs {min(missing)}" if missing and not spread else ""


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
