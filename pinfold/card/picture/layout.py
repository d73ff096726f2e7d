"""Where everything of an architecture's picture lies: a list of shapes, which picture.py writes as SVG and as PNG.

How it works:
- One column from input to output, wide enough for text that is still readable at 380 pixels. Two towers, which read
  different inputs and nothing of each other, stand side by side; ways.py says what leads from which box to which.
- A box for each stage: its name and depth, its weights, and two bars for its share of parameters and of FLOPs, both on
  one linear scale; more than one layer shows as edges behind it; what comes out stands below it.
- Text is shortened to the room it has, by widths a little above those of the fonts that screens have.

What is drawn may have been written by untrusted code: it is read with care, and never trusted in its size.
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
    count_in,
    number_of,
    percent,
    shape_text,
    shortened,
    unit_of,
    width_of,
)
from pinfold.card.picture.ways import Ways, title_of, ways_of
from pinfold.common.values import as_list
from pinfold.fenced.drawing import attention_rules as attention_rules

WIDTH, MARGIN, PADDING, LINE, GAP = 440, 16, 12, 19, 32
LARGE, TITLE, TEXT = 17, 15, 13  # 13 is more than 11 where the picture is shown at 380
BAR, THUMB, CELLS = 7, 48, 12
BETWEEN, LANE = 12, 5  # pixels between two towers, and between two lines on the right
MOST_ROWS = 3  # of what a box reads besides the one above it
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


@dataclass(frozen=True)
class Column:
    """Where boxes stand; ``left`` and ``right`` are the edges of what is in them."""

    x: float
    width: float

    @property
    def left(self) -> float:
        return self.x + PADDING

    @property
    def right(self) -> float:
        return self.x + self.width - PADDING

    @property
    def is_narrow(self) -> bool:
        return self.width <= TOWER


WHOLE = Column(MARGIN, WIDTH - 2 * MARGIN)
TOWER = (WHOLE.width - BETWEEN) / 2
TOWERS = Column(MARGIN, TOWER), Column(MARGIN + TOWER + BETWEEN, TOWER)


@dataclass(frozen=True)
class Page:
    """What is drawn; ``unit`` is that of the numbers of parameters."""

    drawing: dict
    parts: list[dict]
    ways: Ways
    unit: str


def stages_of(drawing: dict) -> list[dict]:
    """The stages that can be drawn."""
    known = [stage for stage in as_list(drawing.get("stages")) if isinstance(stage, dict)]
    return known[:MOST_STAGES]


def inputs_of(drawing: dict) -> dict:
    """What goes into the model: a name -> its shape."""
    inputs = drawing.get("inputs")
    return {str(name): shape for name, shape in inputs.items()} if isinstance(inputs, dict) else {}


def layout(drawing: dict) -> tuple[int, list]:
    """The height of the picture, and its shapes in the order in which they are drawn."""
    shapes: list = []
    parts = stages_of(drawing)
    page = Page(
        drawing, parts, ways_of(parts, list(inputs_of(drawing))), unit_of(number_of(drawing.get("parameters")))
    )
    y = _head(drawing, shapes) + 14
    y = _unread(page, y, shapes)
    if page.ways.towers:
        columns = zip(TOWERS, page.ways.towers, strict=True)
        y = max(_column(page, tower, y, shapes, column)[0] for column, tower in columns)
    whole = Column(WHOLE.x, WHOLE.width - max(LANE * page.ways.lanes + 3 - MARGIN, 0))
    y, boxes = _column(page, page.ways.rest, y, shapes, whole)
    shapes += _lines(page.ways, boxes, whole.x + whole.width)
    return math.ceil(y + MARGIN - 4), [s for s in shapes if not isinstance(s, Text) or s.text]


def _column(page: Page, places: list[int], y: float, shapes: list, column: Column) -> tuple[float, dict]:
    """Boxes one below the other; returns where they end, and for each its upper and its lower edge."""
    boxes = {}
    for number, place in enumerate(places):
        inputs = page.ways.above.get(place, [])
        if inputs:
            y = _inputs(page, inputs, y if number else y - 4, shapes, column)
        elif number and places[number - 1] not in page.ways.leads:
            y += 8
        top = y
        y = _box(page, place, y, shapes, column)
        boxes[place] = (top, y)
        is_last = place == len(page.parts) - 1 or number == len(places) - 1
        y = _below(page.parts[place], place in page.ways.leads, is_last, y, shapes, column)
    return y, boxes


def _lines(ways: Ways, boxes: dict[int, tuple[float, float]], edge: float) -> list:
    """Lines on the right, from a stage to those further down that read from it as well."""
    lines: list = []
    heads: dict[int, int] = {}
    for way in sorted(ways.lines, key=lambda way: way.lane):
        x = edge + LANE * (way.lane + 1)
        top = boxes[way.source][1] - 10
        ends = []
        for place in way.targets:
            ends.append(boxes[place][0] + 14 + 10 * heads.get(place, 0))  # heads of several lines stand apart
            heads[place] = heads.get(place, 0) + 1
        *others, last = ends
        lines.append(Line(((edge, top), (x, top), (x, last), (edge + 1, last)), "soft"))
        lines += [Line(((x, end), (edge + 1, end)), "soft") for end in others]
        lines += [Line(((edge + 4, end - 3), (edge, end), (edge + 4, end + 3)), "soft") for end in ends]
    return lines


def _head(drawing: dict, shapes: list) -> float:
    """The model's name, and its sums with the colours of the bars."""
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
    return y


def _inputs(page: Page, names: list[str], y: float, shapes: list, column: Column) -> float:
    """What goes into a box from outside, with an arrow to it."""
    top, room = y, column.width - 28
    known = inputs_of(page.drawing)
    for name in names[:MOST_INPUTS]:
        shape = shape_text(known.get(name))
        texts = [f"{shortened(clean(name), TEXT, 170)}  {shape}"]
        if column.is_narrow:
            texts = [shortened(clean(name), TEXT, room), shape]
        for text in texts:
            shapes.append(_text(column.x + 28, y + 16, text, TEXT, "ink", room))
            y += LINE
    if len(names) > MOST_INPUTS:
        shapes.append(_text(column.x + 28, y + 16, f"and {len(names) - MOST_INPUTS} more", TEXT, "ink", room))
        y += LINE
    shapes += _arrow(top + 4, y + 14, column)
    return y + 18


def _unread(page: Page, y: float, shapes: list) -> float:
    """Inputs from which no arrow leads to a box."""
    if names := page.ways.unread:
        shapes.append(_text(MARGIN, y + 8, "Read by none of these parts:", TEXT, "soft", WHOLE.width))
        for text in _named(names, WHOLE.width):
            y += LINE
            shapes.append(_text(MARGIN, y + 8, text.removeprefix("+ "), TEXT, "soft", WHOLE.width))
        y += LINE + 4
    return y


def _named(names: list[str], room: float) -> list[str]:
    """Rows with names, as many in each as there is room for; how many more there are is said."""
    rows: list[str] = []
    for number, name in enumerate(names):
        text = f"+ {clean(name)}"
        if rows and width_of(f"{rows[-1]} {text}", TEXT) <= room:
            rows[-1] += f" {text}"
        elif len(rows) < MOST_ROWS:
            rows.append(text)
        else:
            return [*rows, f"and {len(names) - number} more"]
    return rows


def _box(page: Page, place: int, y: float, shapes: list, column: Column) -> float:
    """One stage; returns where it ends."""
    inside: list = []
    stage = page.parts[place]
    left, right = column.left, column.right
    title, depth = title_of(stage), int(number_of(stage.get("depth"), 10**6)) or 1
    at = y + PADDING + TITLE - 2
    parameters = number_of(stage.get("parameters"))
    numbers = count_in(parameters, page.unit) if parameters else ""
    wide = f"width {int(number_of(stage.get('width')))}" if number_of(stage.get("width")) else ""
    times = f" {TIMES} {depth}" if depth > 1 and not re.search(r"ayers \d", title) else ""  # which says it
    beside = "" if column.is_narrow else numbers
    room = right - left - (width_of(beside, TITLE) + 12 if beside else 0)
    size = TEXT if column.is_narrow else TITLE
    if column.is_narrow and times:
        title = title.removesuffix(" layers")  # their number says so
    name = shortened(title, size, room - width_of(times, size, True), True) + times
    inside.append(_text(left, at, name, size, "ink", room, bold=True))
    inside.append(_text(right, at, beside, TITLE, "ink", 120, end=True))
    at += LINE
    if column.is_narrow:
        inside.append(_text(left, at, clean(stage.get("class")), TEXT, "soft", right - left))
        at += LINE
        inside.append(_text(left, at, numbers, TEXT, "ink", right - left))
        inside.append(_text(right, at, wide, TEXT, "soft", 100, end=True))
    else:
        inside.append(
            _text(left, at, clean(stage.get("class")), TEXT, "soft", right - left - width_of(wide, TEXT) - 12)
        )
        inside.append(_text(right, at, wide, TEXT, "soft", 120, end=True))
    if note := clean(stage.get("note")):
        at += LINE - 2
        inside.append(_text(left, at, note, TEXT, "soft", right - left))
    if names := page.ways.named.get(place):
        for text in _named(names, right - left):
            at += LINE - 2
            inside.append(_text(left, at, text, TEXT, "soft", right - left))
    at += 7
    for role, key in (("parameters", "share"), ("flops", "flops_share")):
        if share := min(number_of(stage.get(key)), 1):
            inside += _bar(share, role, at, column)
            at += 17
    at = _attention(stage, depth, at, inside, column)
    height = at + PADDING - 3 - y
    for edge in range(min(depth - 1, 2), 0, -1):
        shapes.append(Rect(column.x + 5 * edge, y + 4 * edge, column.width - 10 * edge, height, "box", "edge", 6))
    shapes.append(Rect(column.x, y, column.width, height, "box", "edge", 6))
    shapes += inside
    return y + height + 4 * min(depth - 1, 2)


def _bar(share: float, role: str, y: float, column: Column) -> list:
    room = column.right - column.left - 62
    return [
        Rect(column.left, y + 4, room, BAR, "track", radius=2),
        Rect(column.left, y + 4, max(round(share * room, 1), 2), BAR, role, radius=2),
        _text(column.right, y + 12, percent(share), TEXT, "soft", 58, end=True),
    ]


def _attention(stage: dict, depth: int, y: float, shapes: list, column: Column) -> float:
    """Which layer has which kind, and a small mask for each kind whose rule is known."""
    kinds = [kind for kind in as_list(stage.get("kinds")) if isinstance(kind, dict)]
    which = as_list(stage.get("attention"))[:10_000]
    if not kinds:
        return y
    if len(set(map(str, which))) < 2 and not any(kind.get("rule") for kind in kinds):
        label = clean(kinds[0].get("label"))
        shapes.append(
            _text(column.left, y + 11, label[:1].upper() + label[1:], TEXT, "soft", column.right - column.left)
        )
        return y + LINE if label else y
    y += 8
    if len(set(map(str, which))) > 1 and len(which) <= MOST_LAYERS:
        shapes += _strip(which, y, column)
        y += 18
    start = int(number_of(stage.get("start"), 10**6))
    for number, kind in enumerate(kinds[:MOST_KINDS]):
        rule = kind.get("rule") if kind.get("rule") in attention_rules.RULES else None
        shapes += _thumbnail(rule, kind.get("numbers"), column.left, y, f"kind{number}")
        x = column.left + THUMB + 14
        own = [start + i for i, k in enumerate(which) if k == number]
        layers = "all layers" if len(own) == depth and not start else _ranges(own)
        label = clean(kind.get("label"))
        shapes.append(_text(x, y + 20, label[:1].upper() + label[1:], TEXT, "ink", column.right - x))
        if depth > 1:
            if width_of(layers, TEXT) > column.right - x:  # cut between two numbers
                layers = f"{shortened(layers, TEXT, column.right - x - 8).rpartition(',')[0]}, {MORE}"
            shapes.append(_text(x, y + 38, layers, TEXT, "soft", column.right - x))
        y += THUMB + 10
    if len(kinds) > MOST_KINDS:
        shapes.append(
            _text(
                column.left,
                y + 11,
                f"and {len(kinds) - MOST_KINDS} more kinds",
                TEXT,
                "soft",
                column.right - column.left,
            )
        )
        y += LINE
    return y - 4


def _strip(which: list, y: float, column: Column) -> list:
    """A cell for each layer in the colour of its kind; cells that are wide enough stand apart."""
    each, gap = (column.right - column.left) / len(which), int(len(which) < 100)
    places: dict[str, list] = {}
    at = 0
    for kind, layers in groupby(which):
        run = len(list(layers))
        role = f"kind{kind}" if type(kind) is int and 0 <= kind < MOST_KINDS else "track"
        starts = range(at, at + run) if gap else [at]
        width = each - 1 if gap else each * run
        places.setdefault(role, []).extend((round(column.left + n * each, 1), y, round(width, 1), 8) for n in starts)
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


def _below(stage: dict, leads: bool, is_last: bool, y: float, shapes: list, column: Column) -> float:
    """What comes out: beside the way to the next box, or to the output; aside where it goes elsewhere."""
    text = shape_text(stage.get("shape"))
    if not text and not leads:
        return y + 8
    if leads or is_last:
        shapes += _arrow(y + 5, y + GAP - 5, column)
    else:
        x, middle = column.x + 10, y + GAP / 2
        shapes.append(Line(((x, y + 3), (x, middle), (x + 12, middle)), "soft"))
        shapes.append(Line(((x + 8, middle - 4), (x + 12, middle), (x + 8, middle + 4)), "soft"))
    if text:
        shapes.append(_text(column.x + 28, y + GAP / 2 + 5, text, TEXT, "ink", column.width - 28))
    return y + GAP


def _arrow(top: float, bottom: float, column: Column) -> list:
    x = column.x + 14
    head = ((x - 4, bottom - 5), (x, bottom), (x + 4, bottom - 5))
    return [Line(((x, top), (x, bottom)), "soft"), Line(head, "soft")]


def _text(x, y, text: str, size: int, role: str, room: float, bold: bool = False, end: bool = False) -> Text:
    return Text(x, y, shortened(text, size, room, bold), size, role, room, bold, end)
