"""Text and numbers of a picture: cleaned, measured, shortened to the room that they have, and rounded.

What is drawn may have been written by untrusted code: it is read with care, and never trusted in its size.
"""

import math
import re
import unicodedata

from pinfold.common.errors import CONTROL

TIMES, DASH, MORE = "\u00d7", "\u2013", "\u2026"
# Widths of characters in thousandths of an em, in a wide font.
WIDTHS = {**dict.fromkeys("ijl'| .,:;!I", 300), **dict.fromkeys('"ftr()[]-/\\\u00b7', 420)}
WIDTHS |= {**dict.fromkeys("mwMW%@", 930), **dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ&", 730)}
WIDER = 1.12  # and for what is wider still


def clean(value, longest: int = 200) -> str:
    """Text of anybody's as one line that XML can hold and that turns no direction around."""
    text = CONTROL.sub(" ", str(value)[: 4 * longest]) if isinstance(value, (str, int, float)) else ""
    text = re.sub("[\ud800-\udfff\ufffe\uffff\ufff9-\ufffb]", "\ufffd", text)
    return " ".join(text.split())[:longest]


def width_of(text: str, size: float, bold: bool = False) -> float:
    """How wide a text is at the most, in pixels."""
    total = 0.0
    for letter in text:
        if unicodedata.combining(letter):
            continue
        wide = unicodedata.east_asian_width(letter) in "WF"
        total += WIDTHS.get(letter, 600 if letter.isascii() else 1050 if wide else 800)
    return total * size * WIDER * (1.07 if bold else 1) / 1000


def shortened(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, or as much of it as there is room for."""
    if len(text) <= room and width_of(text, size, bold) <= room:
        return text
    text = text[: int(room)]  # nothing is so narrow that more would fit, and much may be given
    while text and width_of(f"{text}{MORE}", size, bold) > room:
        text = text[:-1]
    return f"{text.rstrip()}{MORE}"


def count(number: float) -> str:
    """Three digits and a unit.

    >>> [count(n) for n in (0, 999, 9536, 25_557_032, 8_178_368_512)]
    ['0', '999', '9.54 k', '25.6 M', '8.18 G']
    """
    units = iter("kMGTPE")
    value, unit = number, ""
    while value >= 999.5 and unit != "E":
        value, unit = value / 1000, next(units)
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}" if unit else f"{value:.0f}"


def unit_of(number: float) -> str:
    """The unit in which ``count`` gives a number: "", "k", "M", ..."""
    text = count(number).split(" ")
    return text[1] if len(text) > 1 else ""


def count_in(number: float, unit: str) -> str:
    """A number in a given unit, so that several can be compared at a look.

    >>> [count_in(n, "M") for n in (9536, 25_557_032, 1)]
    ['0.01 M', '25.6 M', '<0.01 M']
    """
    if not unit:
        return f"{number:.0f}"
    value = number / 1000 ** (1 + "kMGTPE".index(unit))
    if value < 0.005:
        return f"<0.01 {unit}"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def percent(share: float) -> str:
    """One decimal; small shares are not rounded to nothing.

    >>> percent(0.777), percent(0.0001), percent(1)
    ('77.7 %', '<0.1 %', '100 %')
    """
    if share <= 0:
        return "0 %"
    return "<0.1 %" if share < 0.0005 else f"{100 * share:.{0 if share > 0.9995 else 1}f} %"


def shape_text(shape) -> str:
    """Sizes with times between them; "" for anything that is not a shape."""
    sizes = shape if isinstance(shape, list) else []
    return f" {TIMES} ".join(clean(size, 20) for size in sizes[:8])


def number_of(value, most: float = 1e18) -> float:
    """A finite number from nought on; 0 for what is none."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
    return min(value, most) if good else 0
