"""Chat templates: names with which a template leaves its sandbox, also where they are put together from pieces."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import re
from collections.abc import Iterator

MOST_CHARACTERS = 1 << 20
ESCAPES = re.compile(
    r"__(?:class|globals|subclasses|mro|base|bases|builtins|import|init|dict|getattribute|code|func|self)__"
    r"|\|\s*attr\s*\(|\bf_globals\b|\bgi_frame\b|\bcr_frame\b|\bos\s*\.\s*(?:popen|system)|\bpopen\s*\("
)
BLOCK = re.compile(r"\{[{%]|[}%]\}")
TEXT = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|N\{([^}]{1,40})\})")
BETWEEN = re.compile(r"[\s()\[\],]*[~+,]?[\s()\[\],]*")  # 'a' ~ ('b' + "c"), and ['a', 'b'] | join
SUBSCRIPT = re.compile(r"[\w)\]]\s*\[([^\[\]]{0,400})\]")  # of something: x[...], not the list [...]
MAKES = re.compile(r"[~+%]|\|\s*(?:join|format|replace|reverse|lower)\b|\.\s*(?:join|format|replace|lower)\b")
NAMES = tuple(
    "__class__ __globals__ __subclasses__ __mro__ __base__ __bases__ __builtins__ __import__ __init__ __dict__ "
    "__getattribute__ __code__ __func__ __self__".split()
)


def _is_piece(text: str) -> bool:
    """Whether a text is the beginning or the end of a name that leads out of the sandbox."""
    return text == "_" or (len(text) > 1 and any(name.startswith(text) or name.endswith(text) for name in NAMES))


def _unescaped(match: re.Match) -> str:
    """The character that an escape of a Jinja text means."""
    digits = match[1] or match[2] or match[3]
    if match[5]:
        return "_" if match[5].upper() == "LOW LINE" else "?"
    code = int(digits, 16) if digits else int(match[4], 8)
    return chr(code) if code < 0x110000 else "?"


def _blocks(template: str) -> Iterator[tuple[int, str]]:
    """Where each {{ }} and {% %} begins, and what it holds."""
    start = None
    for mark in BLOCK.finditer(template):
        if mark[0][0] == "{" and start is None:
            start = mark.end()
        elif mark[0][0] != "{" and start is not None:
            yield start, template[start : mark.start()]
            start = None


def _value(text: re.Match) -> str:
    """What a text of a template means, its escapes (``\\x5f``) resolved."""
    return ESCAPED.sub(_unescaped, text[1] if text[1] is not None else text[2])


def sandbox_escape(template: str) -> tuple[int, str] | None:
    """Where a template names what leads out of its sandbox, and the name; None where it does not."""
    template = template[:MOST_CHARACTERS]
    if match := ESCAPES.search(template):
        return match.start(), match[0]
    for start, block in _blocks(template):
        if escape := _escape_in_texts(block) or _escape_in_subscripts(block):
            position, name = escape
            return start + position, name
    return None


def _escape_in_texts(block: str) -> tuple[int, str] | None:
    """Texts that follow one another are read joined as well, and each from its end to its start.

    Joined texts that messages are made of contain no such name.
    """
    joined = ""
    end: int | None = None  # of the text before
    for text in TEXT.finditer(block):
        value = _value(text)
        follows = end is not None and text.start() - end < 100 and BETWEEN.fullmatch(block, end, text.start())
        joined = (joined[-200:] if follows else "") + value
        end = text.end()
        if match := ESCAPES.search(joined) or ESCAPES.search(value[::-1]):
            return text.start(), match[0]
        if len(value) > 3 and any(name.startswith(value) for name in NAMES):
            return text.start(), value  # the rest of the name can be anywhere
    return None


def _escape_in_subscripts(block: str) -> tuple[int, str] | None:
    """``x[a ~ "ss__"]``: an index put together from something and a piece of a name."""
    for index in SUBSCRIPT.finditer(block):
        pieces = [_value(text) for text in TEXT.finditer(index[1])]
        if MAKES.search(TEXT.sub("''", index[1])) and any(map(_is_piece, pieces)):
            return index.start(1), index[0]
    return None
