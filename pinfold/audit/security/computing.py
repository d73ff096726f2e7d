"""Compute constants as Python would, so that a name put together from pieces is read like one that is spelled out.

Only functions that compute are called (``chr``, ``str.join``, ``base64.b64decode``, ...), with constants of the
audited text, and only where the result is small. What cannot be computed is unknown; nothing here reports or raises.
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
from collections.abc import Callable
from typing import Any

from pinfold.audit.security.values import (
    MOST_CHARACTERS,
    MOST_ITEMS,
    MOST_VALUES,
    Const,
    Decoded,
    Many,
    Ref,
    Table,
    Value,
    Values,
    can_be_other,
    dict_of,
    either,
    is_soft,
    sequence_of,
    softened,
    union,
    with_unknown,
)

LONG_WIDTH = re.compile(r"\d{4,}|\*")
REPLACEMENT_FIELD = re.compile(r"\{[^{}]*\}")
LARGEST_NUMBER = 1 << 512
OBJECTS = frozenset(("gc.get_objects()", "gc.get_referrers()", "gc.get_referents()"))  # lists of unknown objects
ENCODINGS = frozenset(
    "utf-8 utf8 UTF-8 utf_8 utf-16 utf16 utf-16le utf-16-le utf-16be utf-32 utf-7 utf7 ascii us-ascii latin-1 latin1 "
    "iso-8859-1 cp1252 cp037 cp500 unicode_escape unicode-escape raw_unicode_escape rot13 rot_13 rot-13 hex hex_codec "
    "base64 base64_codec zlib zlib_codec zip uu quopri quoted-printable punycode idna".split()
)


class _Unknown(Exception):
    """A value that is not known, or too large to compute."""


def _python_object(values: Values) -> Any:
    """The one Python object that the values can be; raises where there is more or less than one."""
    if len(values) != 1:
        raise _Unknown
    value = values[0]
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Many):
        return [_python_object(item) for item in value.items]
    if isinstance(value, Table):
        return {key: _python_object(item) for key, item in value.entries}
    if isinstance(value, Ref) and value.path in TEXTS:
        return TEXTS[value.path]
    if isinstance(value, Ref) and value.path in COMPUTED:
        return COMPUTED[value.path]
    raise _Unknown


def _as_values(result: object, decoded: bool = False) -> Values:
    """A Python object as values."""
    if isinstance(result, (str, bytes, bytearray)):
        text = bytes(result) if isinstance(result, bytearray) else result
        return (Const(text, decoded),) if len(text) <= MOST_CHARACTERS else (Decoded(),) * decoded
    if isinstance(result, int):
        return (Const(result),) if abs(result) < LARGEST_NUMBER else ()
    if result is None or isinstance(result, float):
        return (Const(result),)
    if isinstance(result, (list, tuple)) and len(result) <= MOST_ITEMS:
        return sequence_of([_as_values(item, decoded) for item in result])
    if isinstance(result, dict) and len(result) <= MOST_ITEMS:
        return dict_of([(key, _as_values(item)) for key, item in result.items()])
    return ()


def _inflate(data: bytes, bits: int = 15) -> bytes:
    return zlib.decompressobj(bits).decompress(data, MOST_CHARACTERS)


def _items(value: object) -> list:
    if isinstance(value, (str, bytes, list, tuple, dict, range)) and len(value) <= MOST_ITEMS:
        return list(value)
    raise _Unknown


def _map(function: Callable[..., object], *rows: object) -> list:
    return [function(*row) for row in zip(*map(_items, rows), strict=False)]


def _codec(data: Any, encoding: str = "utf-8", errors: str = "strict") -> str | bytes:
    if encoding not in ENCODINGS:
        raise _Unknown
    return _inflate(data) if encoding in ("zlib", "zlib_codec", "zip") else codecs.decode(data, encoding, errors)


def _number(text: Any = 0, base: int | None = None) -> int:
    if isinstance(text, (str, bytes)) and len(text) > 100:
        raise _Unknown
    return int(text) if base is None else int(text, base)


def _bytes(value: Any = b"", encoding: str = "utf-8", errors: str = "strict") -> bytes:
    if isinstance(value, str):
        return value.encode(encoding, errors)
    if isinstance(value, int):
        raise _Unknown
    return bytes(value)


def _text(value: object = "", encoding: str = "utf-8", errors: str = "strict") -> str:
    return value.decode(encoding, errors) if isinstance(value, bytes) else str(value)


def _range(*bounds: int) -> list:
    return _items(range(*bounds))


TEXTS = {
    "string.ascii_letters": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "string.ascii_lowercase": "abcdefghijklmnopqrstuvwxyz",
    "string.ascii_uppercase": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "string.digits": "0123456789",
    **dict.fromkeys(("os.sep", "os.path.sep"), "/"),
    **dict.fromkeys(("os.curdir", "os.path.curdir"), "."),
    **dict.fromkeys(("os.pardir", "os.path.pardir"), ".."),
    **dict.fromkeys(("os.extsep", "os.path.extsep"), "."),
    "string.punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
}
COMPUTED: dict[str, Callable[..., Any]] = {
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
    "pop setdefault "
    "to_bytes __add__ __getitem__ __mod__ __str__ zfill".split()
)
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
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


def _guard(kind: type[ast.operator], left: Any, right: Any) -> None:
    """Raise where the operator would compute something large."""
    numbers = isinstance(left, int) and isinstance(right, int)
    if kind is ast.Mult and not numbers:
        size = len(left) * right if isinstance(right, int) else len(right) * left
        if size > MOST_CHARACTERS:
            raise _Unknown
    if numbers and max(abs(left), abs(right)) > LARGEST_NUMBER:
        raise _Unknown
    if kind is ast.Mod and isinstance(left, (str, bytes)):
        text = left if isinstance(left, str) else left.decode("latin-1")
        if LONG_WIDTH.search(text) or len(text) > 10_000:
            raise _Unknown


def operator_result(kind: type[ast.operator], left: Values, right: Values) -> Values:
    """``left + right`` and the other operators, for every pair of known constants."""
    results: list[Values] = []
    for one in left[:MOST_VALUES]:
        for other in right[: max(1, MOST_VALUES // max(1, len(left)))]:
            if kind is ast.Add and isinstance(one, Many) and isinstance(other, Many):
                results.append(sequence_of([*one.items, *other.items]))
            else:
                results.append(_pair_result(kind, one, other))
    if any(isinstance(v, Decoded) for v in (*left, *right)):
        results.append((Decoded(),))
    values = union(*results)
    return with_unknown(values) if can_be_other(left) or can_be_other(right) else values


def _pair_result(kind: type[ast.operator], left: Value, right: Value) -> Values:
    try:
        first = _python_object((left,))
        second = _python_object((right,))
        _guard(kind, first, second)
        if kind is ast.Mod and isinstance(first, (str, bytes)) and isinstance(second, list):
            second = tuple(second)
        decoded = any(isinstance(v, Const) and v.decoded for v in (left, right))
        result = _as_values(_OPERATORS[kind](first, second), decoded)
        return softened(result) if is_soft((left, right)) else result
    except Exception:  # whatever the operator raises for these operands, the result is unknown
        return ()


def _would_be_large(value: Any, method: str, arguments: list[Any]) -> bool:
    if method in ("format", "__mod__"):  # a width, or a field inside a field, which can give one
        return bool(LONG_WIDTH.search(str(value))) or "{" in REPLACEMENT_FIELD.sub("", value)
    if method in ("zfill", "to_bytes"):
        return (arguments[0] if arguments else 1) > 1024
    if method == "replace":
        return len(value) * (len(arguments[1]) + 1) > 16 * MOST_CHARACTERS
    if method == "join":
        return len(value) * (len(arguments[0]) + 1) > MOST_CHARACTERS
    return False


def method_result(owner: Value, name: str, arguments: list[Values], keywords: dict[str, Values]) -> Values:
    """The result of a method of a known string, number, list or dict."""
    if isinstance(owner, Ref) and owner.path in TEXTS:
        owner = Const(TEXTS[owner.path])
    if name not in METHODS or not isinstance(owner, (Const, Many, Table)):
        return ()
    if isinstance(owner, (Many, Table)) and (entries := _entries(owner, name, arguments)):
        return entries
    decoded = isinstance(owner, Const) and owner.decoded
    try:
        value = _python_object((owner,))
        positional = [_python_object(argument) for argument in arguments]
        named = {key: _python_object(argument) for key, argument in keywords.items()}
        if _would_be_large(value, name, positional):
            return ()
        if name in ("keys", "values", "items"):
            return _as_values([list(i) if isinstance(i, tuple) else i for i in getattr(value, name)()])
        if name == "decode" and isinstance(value, bytes):
            result = _as_values(_codec(value, *positional, **named), decoded)
        else:
            result = _as_values(getattr(value, name)(*positional, **named), decoded)
        return softened(result) if any(map(is_soft, ((owner,), *arguments, *keywords.values()))) else result
    except Exception:  # whatever the method raises for these arguments, the result is unknown
        return ()


def _entries(owner: Many | Table, name: str, arguments: list[Values]) -> Values:
    """What get, pop, values and items give of a list or a dict that holds more than constants."""
    if name in ("get", "pop", "setdefault", "__getitem__"):
        index = arguments[0] if arguments else ()
        values = union(subscript_result((owner,), index), *arguments[1:2])
        return with_unknown(values) if arguments[1:2] == [()] else values
    rows = owner.entries if isinstance(owner, Table) else ()
    if name == "values":
        return sequence_of([values for _, values in rows])
    return sequence_of([sequence_of([_as_values(key), values]) for key, values in rows]) if name == "items" else ()


def function_result(path: str, arguments: list[Values], keywords: dict[str, Values], decoded: bool) -> Values:
    """The result of a function that only computes, where its arguments are known."""
    if path not in COMPUTED:
        return ()
    try:
        positional = [_python_object(argument) for argument in arguments]
        named = {key: _python_object(argument) for key, argument in keywords.items()}
        if path == "operator.add":
            _guard(ast.Add, *positional)
        result = _as_values(COMPUTED[path](*positional, **named), decoded)
        return softened(result) if any(map(is_soft, (*arguments, *keywords.values()))) else result
    except Exception:  # whatever the function raises for these arguments, the result is unknown
        return ()


def slice_index(bounds: list[Values]) -> Values:
    """What ``subscript_result`` takes for ``[lower:upper:step]``."""
    return sequence_of([(Const("slice"),), sequence_of(bounds)])


def subscript_result(owners: Values, index: Values) -> Values:
    """``owner[index]`` for known sequences and dict displays; of an unknown index, every element."""
    results: list[Values] = []
    for owner in owners:
        if isinstance(owner, Table):
            keys = {v.value for v in index if isinstance(v, Const) and isinstance(v.value, (str, int, bytes))}
            every = not keys or is_soft(index)
            results += [item for key, item in owner.entries if every or key in keys]
        elif isinstance(owner, Decoded):
            results.append((owner,))
        elif isinstance(owner, (Many, Const)):
            try:
                results.append(_element(owner, index))
            except Exception:  # an index that is not known or out of range
                if isinstance(owner, Many):
                    results += owner.items
    values = either(*results)
    return with_unknown(values) if can_be_other(owners) else values


def _element(owner: Many | Const, index: Values) -> Values:
    position = _python_object(index)
    is_slice = isinstance(position, list) and position[:1] == ["slice"]
    if is_slice:
        position = slice(*position[1])
    if isinstance(owner, Const):
        text: Any = owner.value
        return (
            softened(_as_values(text[position], owner.decoded))
            if owner.soft
            else _as_values(text[position], owner.decoded)
        )
    return sequence_of(list(owner.items[position])) if is_slice else owner.items[position]


def any_element(values: Values) -> Values:
    """What one of the elements can be."""
    elements = either(*elements_of(values))
    return with_unknown(elements) if can_be_other(values) else elements


def elements_of(values: Values) -> list[Values]:
    """What a loop over the values binds, one after the other."""
    elements: list[Values] = []
    for value in values:
        if isinstance(value, Many):
            elements += value.items
        elif isinstance(value, Table):
            elements += [_as_values(key) for key, _ in value.entries]
        elif isinstance(value, Const) and isinstance(value.value, (str, bytes)) and len(value.value) <= MOST_ITEMS:
            elements += [_as_values(item, value.decoded) for item in value.value]
            elements = list(map(softened, elements)) if value.soft else elements
        elif isinstance(value, Decoded) or (isinstance(value, Ref) and value.path.startswith("builtins.type()")):
            elements.append((value,))
        elif isinstance(value, Ref) and value.path in OBJECTS:
            elements.append((Ref(f"{value.path}[]"),))
    return elements
