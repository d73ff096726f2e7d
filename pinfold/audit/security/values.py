"""What an expression can be, as far as its text tells: imported things, constants, and the folder's own parts.

Constants are computed as Python would (joined, sliced, decoded, ...), so that a name which is put together
from pieces is read like one that is spelled out. Everything is bounded: a result that would be large is unknown.
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import base64
import binascii
import codecs
import html
import operator
import re
import urllib.parse
import zlib
from dataclasses import dataclass

from pinfold.audit.security.names import notable

MOST_CHARACTERS = 1 << 16
MOST_ITEMS = 2048
MOST_VALUES = 16
LONG_WIDTH = re.compile(r"\d{4,}|\*")
NESTED = re.compile(r"\{[^}]*\{")
ENCODINGS = frozenset(
    "utf-8 utf8 UTF-8 utf_8 utf-16 utf16 utf-16le utf-16-le utf-16be utf-32 utf-7 utf7 ascii us-ascii latin-1 latin1 "
    "iso-8859-1 cp1252 cp037 cp500 unicode_escape unicode-escape raw_unicode_escape rot13 rot_13 rot-13 hex hex_codec "
    "base64 base64_codec zlib zlib_codec zip uu quopri quoted-printable punycode idna".split()
)


@dataclass(frozen=True)
class Ref:
    """Something outside this folder under its dotted name; "x()" is what a call of x gave, ".x" is a sibling's."""

    path: str


@dataclass(frozen=True)
class Const:
    """A known string, bytes or number. ``decoded``: it came out of base64, zlib or the like."""

    value: object
    decoded: bool = False

    def __eq__(self, other: object) -> bool:  # 1 == True, but they are different texts
        if not isinstance(other, Const) or type(self.value) is not type(other.value):
            return False
        return self.value == other.value and self.decoded == other.decoded

    def __hash__(self) -> int:
        return hash((type(self.value), self.value, self.decoded))


@dataclass(frozen=True)
class Decoded:
    """Unknown text that came out of a decoder."""


@dataclass(frozen=True)
class Given:
    """A path below the directory that save_pretrained was given, or one of tempfile's."""

    temporary: bool = False


@dataclass(frozen=True)
class Picked:
    """What getattr took out of something by a name that is made up while the program runs."""

    path: str


@dataclass(frozen=True)
class Getter:
    """An operator.attrgetter of these dotted names; of none where they are made up while the program runs."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Unknown:
    """An argument of which nothing is known; kept so that "always Given" can be told from "once Given"."""


@dataclass(frozen=True)
class Many:
    """A list, tuple or set with its elements in order."""

    items: tuple[tuple, ...]
    size: int = 1


@dataclass(frozen=True)
class Table:
    """A dict display with constant keys."""

    entries: tuple[tuple[object, tuple], ...]
    size: int = 1


@dataclass(frozen=True)
class Own:
    """A function, class, lambda or module of this folder."""

    node: ast.AST


@dataclass(frozen=True)
class Instance:
    """An object of a class of this folder."""

    node: ast.ClassDef


def size(values: tuple) -> int:
    """How many values there are, those inside lists and dicts included."""
    return sum(getattr(value, "size", 1) for value in values)


def many(items: list[tuple]) -> tuple:
    """A list of these elements, or nothing where it would be large."""
    total = sum(map(size, items)) + 1
    return (Many(tuple(items), total),) if total <= 2 * MOST_ITEMS else ()


def table(entries: list[tuple[object, tuple]]) -> tuple:
    """A dict of these entries, or nothing where it would be large."""
    total = sum(size(item) for _, item in entries) + 1
    return (Table(tuple(entries), total),) if total <= 2 * MOST_ITEMS else ()


def shown(text: object, limit: int = 60) -> str:
    """Text of an audited file as a message can quote it: one line, short, no control characters."""
    clean = "".join(c if c.isprintable() else "?" for c in str(text)[: 4 * limit])
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


class _Nothing(Exception):
    """A value that is not known, or too large to compute."""


def union(*groups: tuple) -> tuple:
    """All values once; constants are dropped beyond a bound, names of things never."""
    present = [group for group in groups if group]
    if len(present) <= 1:
        return present[0] if present else ()
    found, constants, places = {}, 0, 0
    for group in present:
        for value in group:
            if value not in found:
                if isinstance(value, (Const, Many, Table)):
                    constants += 1
                    if constants > MOST_VALUES:
                        continue
                else:
                    places += 1
                    if places > MOST_VALUES and not (isinstance(value, Ref) and notable(value.path)):
                        continue
                found[value] = None
    return tuple(found)


def strings(values: tuple) -> list[str]:
    """The known strings among the values; bytes are read as text."""
    found = [v.value for v in values if isinstance(v, Const)]
    return [v if isinstance(v, str) else v.decode("latin-1") for v in found if isinstance(v, (str, bytes))]


def plain(values: tuple) -> object:
    """The one Python object that the values stand for; raises where it is not one."""
    if len(values) != 1:
        raise _Nothing
    value = values[0]
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Many):
        return [plain(item) for item in value.items]
    if isinstance(value, Table):
        return {key: plain(item) for key, item in value.entries}
    if isinstance(value, Ref) and value.path in TEXTS:
        return TEXTS[value.path]
    if isinstance(value, Ref) and value.path in PURE:
        return PURE[value.path]
    raise _Nothing


def wrap(result: object, decoded: bool = False) -> tuple:
    """A Python object as values."""
    if isinstance(result, (str, bytes, bytearray)):
        result = bytes(result) if isinstance(result, bytearray) else result
        return (Const(result, decoded),) if len(result) <= MOST_CHARACTERS else (Decoded(),) * decoded
    if isinstance(result, int):
        return (Const(result),) if abs(result) < 1 << 512 else ()
    if result is None or isinstance(result, float):
        return (Const(result),)
    if isinstance(result, (list, tuple)) and len(result) <= MOST_ITEMS:
        return many([wrap(item, decoded) for item in result])
    if isinstance(result, dict) and len(result) <= MOST_ITEMS:
        return table([(key, wrap(item)) for key, item in result.items()])
    return ()


def _inflate(data: bytes, bits: int = 15) -> bytes:
    return zlib.decompressobj(bits).decompress(data, MOST_CHARACTERS)


def _items(value: object) -> list:
    if isinstance(value, (str, bytes, list, tuple, dict, range)) and len(value) <= MOST_ITEMS:
        return list(value)
    raise _Nothing


def _map(function: object, *rows: object) -> list:
    return [function(*row) for row in zip(*map(_items, rows), strict=False)]


def _codec(data: object, encoding: str = "utf-8", errors: str = "strict") -> object:
    if encoding not in ENCODINGS:
        raise _Nothing
    return _inflate(data) if encoding in ("zlib", "zlib_codec", "zip") else codecs.decode(data, encoding, errors)


def _number(text: object = 0, base: int | None = None) -> int:
    if isinstance(text, (str, bytes)) and len(text) > 100:
        raise _Nothing
    return int(text) if base is None else int(text, base)


def _bytes(value: object = b"", encoding: str = "utf-8", errors: str = "strict") -> bytes:
    if isinstance(value, str):
        return value.encode(encoding, errors)
    if isinstance(value, int):
        raise _Nothing
    return bytes(value)


def _text(value: object = "", encoding: str = "utf-8", errors: str = "strict") -> str:
    return value.decode(encoding, errors) if isinstance(value, bytes) else str(value)


def _range(*bounds: int) -> list:
    made = range(*bounds)
    return _items(made)


TEXTS = {
    "string.ascii_letters": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "string.ascii_lowercase": "abcdefghijklmnopqrstuvwxyz",
    "string.ascii_uppercase": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "string.digits": "0123456789",
    "string.punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
}
PURE = {
    "builtins.chr": chr,
    "builtins.ord": ord,
    "builtins.str": _text,
    "builtins.repr": lambda value: repr(value),
    "builtins.ascii": ascii,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.int": _number,
    "builtins.len": len,
    "builtins.abs": abs,
    "builtins.hex": hex,
    "builtins.reversed": lambda value: _items(value)[::-1],
    "builtins.list": lambda value=(): _items(value),
    "builtins.tuple": lambda value=(): _items(value),
    "builtins.iter": lambda value: _items(value),
    "builtins.sorted": lambda value: sorted(_items(value)),
    "builtins.map": _map,
    "builtins.zip": lambda *rows: [list(row) for row in zip(*map(_items, rows), strict=False)],
    "builtins.enumerate": lambda value, start=0: [list(pair) for pair in enumerate(_items(value), start)],
    "builtins.range": _range,
    "builtins.min": min,
    "builtins.max": max,
    "builtins.sum": sum,
    "builtins.str.join": lambda text, parts: text.join(parts),
    "builtins.str.maketrans": str.maketrans,
    "builtins.str.lower": str.lower,
    "builtins.bytes.fromhex": bytes.fromhex,
    "builtins.bytearray.fromhex": bytes.fromhex,
    "builtins.bytes.decode": _text,
    "codecs.decode": _codec,
    "codecs.encode": lambda text, encoding="utf-8": codecs.encode(
        text, encoding if encoding in ENCODINGS else "rot13"
    ),
    "base64.b64decode": lambda data, *_: base64.b64decode(data),
    "base64.standard_b64decode": base64.b64decode,
    "base64.urlsafe_b64decode": base64.urlsafe_b64decode,
    "base64.decodebytes": base64.decodebytes,
    "base64.b32decode": base64.b32decode,
    "base64.b16decode": base64.b16decode,
    "base64.b85decode": base64.b85decode,
    "base64.a85decode": base64.a85decode,
    "binascii.unhexlify": binascii.unhexlify,
    "binascii.a2b_hex": binascii.unhexlify,
    "binascii.a2b_base64": binascii.a2b_base64,
    "zlib.decompress": lambda data, *_: _inflate(data),
    "gzip.decompress": lambda data: _inflate(data, 31),
    "urllib.parse.unquote": urllib.parse.unquote,
    "html.unescape": html.unescape,
    "operator.add": operator.add,
    "operator.concat": operator.concat,
    "operator.getitem": operator.getitem,
    "operator.xor": operator.xor,
}
METHODS = frozenset(
    "join format replace lower upper strip lstrip rstrip swapcase title capitalize casefold decode encode hex split "
    "rsplit partition rpartition removeprefix removesuffix translate splitlines get keys values items copy index find "
    "to_bytes __add__ __getitem__ __mod__ __str__ zfill".split()
)
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.BitXor: operator.xor,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Mult: operator.mul,
    ast.RShift: operator.rshift,
}


def _guard(kind: type, left: object, right: object) -> None:
    numbers = isinstance(left, int) and isinstance(right, int)
    if kind is ast.Mult and not numbers:
        size = len(left) * right if isinstance(right, int) else len(right) * left
        if size > MOST_CHARACTERS:
            raise _Nothing
    if numbers and max(abs(left), abs(right)) > 1 << 512:
        raise _Nothing
    if kind is ast.Mod and isinstance(left, (str, bytes)):
        text = left if isinstance(left, str) else left.decode("latin-1")
        if LONG_WIDTH.search(text) or len(text) > 10_000:
            raise _Nothing


def binary(kind: type, left: tuple, right: tuple) -> tuple:
    """``left + right`` and the other operators, for every pair of known constants."""
    found: list[tuple] = []
    for one in left[:MOST_VALUES]:
        for other in right[: max(1, MOST_VALUES // max(1, len(left)))]:
            if kind is ast.Add and isinstance(one, Many) and isinstance(other, Many):
                found.append(many([*one.items, *other.items]))
                continue
            try:
                first, second = plain((one,)), plain((other,))
                _guard(kind, first, second)
                if kind is ast.Mod and isinstance(first, (str, bytes)) and isinstance(second, list):
                    second = tuple(second)
                decoded = any(isinstance(v, Const) and v.decoded for v in (one, other))
                found.append(wrap(_OPERATORS[kind](first, second), decoded))
            except Exception:  # whatever the operator raises for these operands, the result is unknown
                continue
    if any(isinstance(v, Decoded) for v in (*left, *right)):
        found.append((Decoded(),))
    return union(*found)


def method(owner: object, name: str, arguments: list[tuple], keywords: dict[str, tuple]) -> tuple:
    """The result of a method of a known string, number, list or dict."""
    if name not in METHODS or not isinstance(owner, (Const, Many, Table)):
        return ()
    try:
        value = plain((owner,))
        given = [plain(argument) for argument in arguments]
        named = {key: plain(argument) for key, argument in keywords.items()}
        if name in ("format", "__mod__") and (
            LONG_WIDTH.search(str(value)) or "{" in re.sub(r"\{[^{}]*\}", "", value)
        ):
            return ()
        if name in ("zfill", "to_bytes") and (given[0] if given else 1) > 1024:
            return ()
        if name == "replace" and len(value) * (len(given[1]) + 1) > 16 * MOST_CHARACTERS:
            return ()
        if name == "join" and len(value) * (len(given[0]) + 1) > MOST_CHARACTERS:
            return ()
        if name in ("keys", "values", "items") or (name == "copy" and not isinstance(value, (list, dict))):
            return wrap([list(i) if isinstance(i, tuple) else i for i in getattr(value, name)()])
        if name == "decode" and isinstance(value, bytes):
            return wrap(_codec(value, *given, **named), owner.decoded)
        return wrap(getattr(value, name)(*given, **named), isinstance(owner, Const) and owner.decoded)
    except Exception:
        return ()


def pure(path: str, arguments: list[tuple], keywords: dict[str, tuple], decoded: bool) -> tuple:
    """The result of a function that only computes, where its arguments are known."""
    if path not in PURE:
        return ()
    try:
        given = [plain(argument) for argument in arguments]
        named = {key: plain(argument) for key, argument in keywords.items()}
        if path == "operator.add":
            _guard(ast.Add, *given)
        return wrap(PURE[path](*given, **named), decoded)
    except Exception:
        return ()


def subscript(values: tuple, index: tuple) -> tuple:
    """``values[index]`` for known sequences and dict displays; of an unknown index, every element."""
    found: list[tuple] = []
    for value in values:
        if isinstance(value, Table):
            keys = {v.value for v in index if isinstance(v, Const) and isinstance(v.value, (str, int, bytes))}
            found += [item for key, item in value.entries if not keys or key in keys]
        elif isinstance(value, (Many, Const)):
            try:
                at = plain(index)
                if isinstance(value, Const):
                    result = value.value[slice(*at[1]) if isinstance(at, list) and at[:1] == ["slice"] else at]
                    found.append(wrap(result, value.decoded))
                elif isinstance(at, list) and at[:1] == ["slice"]:
                    found.append(many(list(value.items[slice(*at[1])])))
                else:
                    found.append(value.items[at])
            except Exception:
                if isinstance(value, Many):
                    found += value.items
        elif isinstance(value, Decoded):
            found.append((value,))
    return union(*found)


def elements(values: tuple) -> list[tuple]:
    """What a loop over the values binds, one after the other."""
    found: list[tuple] = []
    for value in values:
        if isinstance(value, Many):
            found += value.items
        elif isinstance(value, Table):
            found += [wrap(key) for key, _ in value.entries]
        elif isinstance(value, Const) and isinstance(value.value, (str, bytes)) and len(value.value) <= MOST_ITEMS:
            found += [wrap(item, value.decoded) for item in value.value]
        elif isinstance(value, Decoded):
            found.append((value,))
    return found
