"""Where everything of an architecture's picture lies: a list of shapes, which picture.py writes as SVG and as PNG.

How it works:
- One column from input to output, wide enough for text that is still readable at 380 pixels.
- A box for each stage: its name and depth, its weights, and two bars for its share of parameters and of FLOPs, both on
  one linear scale; more than one layer shows as edges behind it; what comes out stands below it.
- Text is shortened to the room it has, by widths a little above those of the fonts that screens have.

What is drawn may have been written by somebody else's code: it is read with care, and never trusted in its size.
"""

import math
import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pinfold.card.picture.text import (
    DASH,
    MORE,
    TIMES,
    clean,
    count,
    listed,
    number_of,
    percent,
    shape_text,
    shortened,
    width_of,
)
from pinfold.fenced.drawing import attention_rules as attention_rules

WIDTH, MARGIN, PADDING, LINE, GAP = 440, 16, 12, 19, 32
LARGE, TITLE, TEXT = 17, 15, 13  # 13 is more than 11 where the picture is shown at 380
BAR, THUMB, CELLS = 7, 48, 12
LEFT, RIGHT = MARGIN + PADDING, WIDTH - MARGIN - PADDING
MOST_STAGES, MOST_KINDS, MOST_INPUTS, MOST_LAYERS = 24, 5, 4, 400
SHOWN: dict[str, Any] = {
    "of": {"window": 2, "strided": 4, "chunked": 4},
    "causal": 4,
}  # numbers of a thumbnail, which is not to scale


@dataclass(frozen=True)
class Rect:
    """Colours are roles, whose values picture.py has for light and dark; ``edge`` is one for its outline."""

    x: float
    y: float
    width: float
    height: float
    role: str
    edge: str = ""
    radius: float = 0


@dataclass(frozen=True)
class Cells:
    """Many rectangles (x, y, width, height) of one colour."""

    places: tuple
    role: str


@dataclass(frozen=True)
class Line:
    points: tuple
    role: str


@dataclass(frozen=True)
class Text:
    """``x`` is its left end, or its right one with ``end``; ``y`` its baseline; ``room`` how wide it may be."""

    x: float
    y: float
    text: str
    size: int
    role: str
    room: float
    bold: bool = False
    end: bool = False


def stages_of(drawing: dict) -> list[dict]:
    """The stages that can be drawn."""
    known = [stage for stage in listed(drawing.get("stages")) if isinstance(stage, dict)]
    return known[:MOST_STAGES]


def layout(drawing: dict) -> tuple[int, list]:
    """The height of the picture, and its shapes in the order in which they are drawn."""
    shapes: list = []
    y = _head(drawing, shapes)
    parts = stages_of(drawing)
    for place, stage in enumerate(parts):
        follows = place > 0 and not _begins(stage)
        if place == 0 or not follows:
            y += 8 if place else 0
        y = _box(stage, y, shapes)
        y = _below(stage, place + 1 < len(parts) and not _begins(parts[place + 1]), y, shapes)
    return math.ceil(y + MARGIN - 4), [s for s in shapes if not isinstance(s, Text) or s.text]


def _begins(stage: dict) -> bool:
    """Whether it is another input's first stage, or takes no part: nothing leads to it from the one before."""
    title, note = str(stage.get("title")), str(stage.get("note"))
    return ("embeddings" in title.lower() and not title.startswith("Position")) or "does not run" in note


def _head(drawing: dict, shapes: list) -> float:
    """The model's name, its sums with the colours of the bars, and what goes in."""
    y = MARGIN + LARGE
    name = clean(drawing.get("class"))
    shapes.append(_text(MARGIN, y, name, LARGE, "ink", WIDTH - 2 * MARGIN, bold=True))
    batch = number_of(drawing.get("batch")) or 1
    sums = [("parameters", f"{count(number_of(drawing.get('parameters')))} parameters")]
    if number_of(drawing.get("flops")):
        sums.append(("flops", f"{count(number_of(drawing['flops']) / batch)} FLOPs per row"))
    y, x = y + 24, MARGIN
    for role, text in sums:
        shapes += [Rect(x, y - 10, 10, 10, role, radius=2), _text(x + 16, y, text, TEXT, "soft", 180)]
        x += 204
    inputs = drawing.get("inputs")
    inputs = inputs if isinstance(inputs, dict) else {}
    y += 10
    for name, shape in list(inputs.items())[:MOST_INPUTS]:
        text = f"{shortened(clean(name), TEXT, 170)}  {shape_text(shape)}"
        shapes.append(_text(MARGIN + 28, y + 16, text, TEXT, "ink", WIDTH - 2 * MARGIN - 28))
        y += LINE
    if inputs:
        shapes += _arrow(y - LINE * len(list(inputs)[:MOST_INPUTS]) + 4, y + 14)
        y += 6
    return y + 12


def _box(stage: dict, y: float, shapes: list) -> float:
    """One stage; returns where it ends."""
    inside: list = []
    title, depth = clean(stage.get("title")) or "Part", int(number_of(stage.get("depth"), 10**6)) or 1
    at = y + PADDING + TITLE - 2
    numbers = count(number_of(stage.get("parameters")))
    times = f" {TIMES} {depth}" if depth > 1 and not re.match(r"Layers \d", title) else ""  # which says it
    right = numbers if numbers != "0" else ""
    room = RIGHT - LEFT - width_of(right, TITLE) - 12
    name = shortened(title, TITLE, room - width_of(times, TITLE, True), True) + times
    inside.append(_text(LEFT, at, name, TITLE, "ink", room, bold=True))
    inside.append(_text(RIGHT, at, right, TITLE, "ink", 120, end=True))
    at += LINE
    wide = f"width {int(number_of(stage.get('width')))}" if number_of(stage.get("width")) else ""
    room = RIGHT - LEFT - width_of(wide, TEXT) - 12
    inside.append(_text(LEFT, at, clean(stage.get("class")), TEXT, "soft", room))
    inside.append(_text(RIGHT, at, wide, TEXT, "soft", 120, end=True))
    if note := clean(stage.get("note")):
        at += LINE - 2
        inside.append(_text(LEFT, at, note, TEXT, "soft", RIGHT - LEFT))
    at += 7
    for role, key in (("parameters", "share"), ("flops", "flops_share")):
        if share := min(number_of(stage.get(key)), 1):
            inside += _bar(share, role, at)
            at += 17
    at = _attention(stage, depth, at, inside)
    height = at + PADDING - 3 - y
    for edge in range(min(depth - 1, 2), 0, -1):
        shapes.append(Rect(MARGIN + 5 * edge, y + 4 * edge, WIDTH - 2 * MARGIN - 10 * edge, height, "box", "edge", 6))
    shapes.append(Rect(MARGIN, y, WIDTH - 2 * MARGIN, height, "box", "edge", 6))
    shapes += inside
    return y + height + 4 * min(depth - 1, 2)


def _bar(share: float, role: str, y: float) -> list:
    room = RIGHT - LEFT - 62
    return [
        Rect(LEFT, y + 4, room, BAR, "track", radius=2),
        Rect(LEFT, y + 4, max(round(share * room, 1), 2), BAR, role, radius=2),
        _text(RIGHT, y + 12, percent(share), TEXT, "soft", 58, end=True),
    ]


def _attention(stage: dict, depth: int, y: float, shapes: list) -> float:
    """Which layer has which kind, and a small mask for each kind whose rule is known."""
    kinds = [kind for kind in listed(stage.get("kinds")) if isinstance(kind, dict)]
    which = listed(stage.get("attention"))[:10_000]
    if not kinds or (len(set(map(str, which))) < 2 and not any(kind.get("rule") for kind in kinds)):
        return y
    y += 8
    if len(set(map(str, which))) > 1 and len(which) <= MOST_LAYERS:
        shapes += _strip(which, y)
        y += 18
    start = int(number_of(stage.get("start"), 10**6))
    for number, kind in enumerate(kinds[:MOST_KINDS]):
        rule = kind.get("rule") if kind.get("rule") in attention_rules.RULES else None
        shapes += _thumbnail(rule, kind.get("numbers"), LEFT, y, f"kind{number}")
        x = LEFT + THUMB + 14
        own = [start + i for i, k in enumerate(which) if k == number]
        layers = "all layers" if len(own) == depth and not start else _ranges(own)
        label = clean(kind.get("label"))
        shapes.append(_text(x, y + 20, label[:1].upper() + label[1:], TEXT, "ink", RIGHT - x))
        if depth > 1:
            if width_of(layers, TEXT) > RIGHT - x:  # cut between two numbers
                layers = f"{shortened(layers, TEXT, RIGHT - x - 8).rpartition(',')[0]}, {MORE}"
            shapes.append(_text(x, y + 38, layers, TEXT, "soft", RIGHT - x))
        y += THUMB + 10
    if len(kinds) > MOST_KINDS:
        shapes.append(_text(LEFT, y + 11, f"and {len(kinds) - MOST_KINDS} more kinds", TEXT, "soft", RIGHT - LEFT))
        y += LINE
    return y - 4


def _strip(which: list, y: float) -> list:
    """A cell for each layer in the colour of its kind; cells that are wide enough stand apart."""
    each, gap = (RIGHT - LEFT) / len(which), int(len(which) < 100)
    places: dict[str, list] = {}
    at = 0
    for kind, layers in groupby(which):
        run = len(list(layers))
        role = f"kind{kind}" if type(kind) is int and 0 <= kind < MOST_KINDS else "track"
        starts = range(at, at + run) if gap else [at]
        width = each - 1 if gap else each * run
        places.setdefault(role, []).extend((round(LEFT + n * each, 1), y, round(width, 1), 8) for n in starts)
        at += run
    return [Cells(tuple(cells), role) for role, cells in places.items()]


def _ranges(places: list[int]) -> str:
    """Places in words: layers 0-2, 5."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])]
    ranges = [str(run[0]) if len(run) == 1 else f"{run[0]}{DASH}{run[-1]}" for run in runs]
    return f"layer{'s' if len(places) > 1 else ''} {', '.join(ranges)}"


def _thumbnail(rule: str | None, numbers, x: float, y: float, role: str) -> list:
    """Queries downwards and keys across; the numbers are small ones, so that the form can be seen."""
    if rule is None:
        return [Rect(x, y, THUMB, THUMB, "ground", "edge"), _text(x + THUMB / 2 - 5, y + 29, "?", TEXT, "soft", 12)]
    numbers = numbers if isinstance(numbers, dict) else {}
    causal = bool(numbers.get("causal"))
    small = {"of": SHOWN["causal"] if causal else SHOWN["of"].get(rule, 3), "causal": causal}
    small["global"] = min(int(number_of(numbers.get("global"))), 2)
    cell, places = THUMB / CELLS, []
    for query in range(CELLS):
        row = [attention_rules.sees(rule, small, query, key) for key in range(CELLS)]
        at = 0
        for seen, keys in groupby(row):
            run = len(list(keys))
            if seen:
                places.append((x + at * cell, y + query * cell, run * cell, cell))
            at += run
    joined: list[tuple[float, float, float, float]] = []
    for place in places:  # rows that are the same in one
        above = next((p for p in joined if (p[0], p[2], p[1] + p[3]) == (place[0], place[2], place[1])), None)
        if above:
            joined.remove(above)
            place = (above[0], above[1], above[2], above[3] + cell)
        joined.append(place)
    return [Rect(x, y, THUMB, THUMB, "ground"), Cells(tuple(joined), role), Rect(x, y, THUMB, THUMB, "", "edge")]


def _below(stage: dict, leads: bool, y: float, shapes: list) -> float:
    """What comes out, beside the way to the next stage."""
    text = shape_text(stage.get("shape"))
    if not text and not leads:
        return y + 8
    shapes += _arrow(y + 5, y + GAP - 5) if leads or text else []
    if text:
        shapes.append(_text(MARGIN + 28, y + GAP / 2 + 5, text, TEXT, "ink", WIDTH - 2 * MARGIN - 28))
    return y + GAP


def _arrow(top: float, bottom: float) -> list:
    x = MARGIN + 14
    head = ((x - 4, bottom - 5), (x, bottom), (x + 4, bottom - 5))
    return [Line(((x, top), (x, bottom)), "soft"), Line(head, "soft")]


def _text(x, y, text: str, size: int, role: str, room: float, bold: bool = False, end: bool = False) -> Text:
    return Text(x, y, shortened(text, size, room, bold), size, role, room, bold, end)
