"""The architecture of a model as a picture for its card: an SVG that reads in light and dark, and a PNG of the same.

How it works:
- fenced/drawing/stages.py reads the stages in the sandbox; what it gives is plain data, which is drawn here, outside.
- layout.py lays the shapes out once; two small writers turn them into SVG and, with Pillow, into PNG.
- The SVG needs nothing from elsewhere: no font, no script, no link. It has a ground of its own, as a page can be light
  where its reader's system is dark. The same stages give the same bytes.
"""

import functools
from pathlib import Path
from xml.sax.saxutils import escape

from pinfold.card.picture.layout import WIDTH, Cells, Line, Rect, inputs_of, layout, stages_of
from pinfold.card.picture.text import DASH, MORE, TIMES, clean, count, number_of, percent, shape_text
from pinfold.card.picture.ways import read_by, title_of, ways_of
from pinfold.common.values import as_list

PICTURE, FALLBACK = "architecture.svg", "architecture.png"
SCALE = 2  # of the PNG
FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
LIGHT = {
    "ground": "#ffffff", "box": "#f6f8fa", "edge": "#c4ccd6", "track": "#dfe4ea", "ink": "#1f2937", "soft": "#4b5563",
    "parameters": "#2563eb", "flops": "#c2410c", "kind0": "#0f766e", "kind1": "#7c3aed", "kind2": "#8a6100",
    "kind3": "#be185d", "kind4": "#475569",
}  # fmt: skip
DARK = {
    "ground": "#0d1117", "box": "#161b22", "edge": "#3d4653", "track": "#2d3540", "ink": "#e6edf3", "soft": "#a8b3bf",
    "parameters": "#6ea8fe", "flops": "#f0883e", "kind0": "#4cc9b0", "kind1": "#b69cff", "kind2": "#d9b44a",
    "kind3": "#f28bb5", "kind4": "#94a3b8",
}  # fmt: skip
CLASSES = {  # short names of the roles in the SVG
    "ground": "a", "box": "b", "edge": "e", "track": "t", "ink": "i", "soft": "s", "parameters": "p", "flops": "f",
    **{f"kind{number}": f"k{number}" for number in range(5)},
}  # fmt: skip
SIMPLER = str.maketrans({TIMES: "x", MORE: "...", DASH: "-"})  # what Pillow's own font lacks
UNSAFE = str.maketrans(dict.fromkeys('<>[]()&"`*\\|!', " "))


def draw(drawing: dict, path: Path) -> None:
    """Write architecture.svg.

    Args:
        drawing: what fenced/drawing/stages.py gave.
    """
    path.write_text(svg(drawing), encoding="utf-8", newline="\n")


def svg(drawing: dict) -> str:
    """The picture as text."""
    drawing = drawing if isinstance(drawing, dict) else {}
    height, shapes = layout(drawing)
    masks = " Small squares show which keys (across) a query (down) sees, not to scale." if _has_masks(drawing) else ""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t d">',
        f'<title id="t">{escape("Architecture of " + (clean(drawing.get("class")) or "a model"))}</title>',
        f'<desc id="d">{escape(sentence(drawing))}.{masks}</desc>',
        f"<style>{_style()}</style>",
        f'<rect class="a" width="{WIDTH}" height="{height}" rx="8"/>',
        *map(_element, shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _has_masks(drawing: dict) -> bool:
    return any(
        isinstance(k, dict) and k.get("rule") for stage in stages_of(drawing) for k in as_list(stage.get("kinds"))
    )


def _style() -> str:
    def colours(palette: dict) -> str:
        fills = "".join(f".{CLASSES[role]}{{fill:{colour}}}" for role, colour in palette.items() if role != "edge")
        lines = f".l{{stroke:{palette['soft']}}}.e{{stroke:{palette['edge']}}}"
        return fills + lines

    plain = f"text{{font-family:{FONTS};font-size:13px;white-space:pre;unicode-bidi:isolate;direction:ltr}}"
    plain += ".l{fill:none;stroke-width:1.5}.n{fill:none}.w{font-weight:600}.r{text-anchor:end}"
    return f"{plain}{colours(LIGHT)}@media(prefers-color-scheme:dark){{{colours(DARK)}}}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _element(shape) -> str:
    if isinstance(shape, Rect):
        names = " ".join(filter(None, [CLASSES.get(shape.role, "n"), CLASSES.get(shape.edge)]))
        x, y, width, height = map(_number, (shape.x, shape.y, shape.width, shape.height))
        round_ = f' rx="{_number(shape.radius)}"' if shape.radius else ""
        return f'<rect class="{names}" x="{x}" y="{y}" width="{width}" height="{height}"{round_}/>'
    if isinstance(shape, Cells):
        steps = "".join("M{} {}h{}v{}h-{}z".format(*map(_number, (x, y, w, h, w))) for x, y, w, h in shape.places)
        return f'<path class="{CLASSES[shape.role]}" d="{steps}"/>'
    if isinstance(shape, Line):
        return f'<path class="l" d="M{"L".join(" ".join(map(_number, point)) for point in shape.points)}"/>'
    names = " ".join(filter(None, [CLASSES[shape.role], "w" * shape.bold, "r" * shape.end]))
    size = f' font-size="{shape.size}" style="font-size:{shape.size}px"' if shape.size != 13 else ""
    return f'<text class="{names}" x="{_number(shape.x)}" y="{_number(shape.y)}"{size}>{escape(shape.text)}</text>'


def sentence(drawing: dict) -> str:
    """One sentence, which is also the picture's text alternative; nothing in it is markup, in Markdown or HTML."""
    drawing = drawing if isinstance(drawing, dict) else {}
    total = number_of(drawing.get("parameters"))
    parts: list[str] = []
    stages = stages_of(drawing)
    ways = ways_of(stages, list(inputs_of(drawing)))
    for place, stage in enumerate(stages):
        depth, width = int(number_of(stage.get("depth"), 10**6)), int(number_of(stage.get("width")))
        part = title_of(stage, 60)
        part += f" {TIMES} {depth}" if depth > 1 else ""
        if shape := shape_text(stage.get("shape")):
            part += f" to {shape}"
        elif width:
            part += f" of width {width}"
        if share := number_of(stage.get("share")):
            part += f", {percent(share)}"
        kinds = [clean(k.get("label"), 60) for k in as_list(stage.get("kinds"))[:5] if isinstance(k, dict)]
        part += f", {' and '.join(kinds)}" if kinds else ""
        part += f", {note}" if (note := clean(stage.get("note"), 120)) else ""
        reads = [clean(name, 60) for name in read_by(stages, ways, place)]
        parts.append(part + (f", reads {' and '.join(reads)}" if reads else ""))
    if ways.unread:
        parts.append(f"read by none of these parts: {' and '.join(clean(name, 60) for name in ways.unread)}")
    text = f"{clean(drawing.get('class')) or 'Model'} with {count(total)} parameters, from input to output: "
    text = (text + "; ".join(parts)).replace("<", "under ")
    return " ".join(text.translate(UNSAFE).replace(" ;", ";").replace(" ,", ",").split())


def png(drawing: dict, path: Path) -> bool:
    """Write the same picture as PNG. False where Pillow (pip install 'pinfold[vision]') is missing."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        return False
    height, shapes = layout(drawing if isinstance(drawing, dict) else {})
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), LIGHT["ground"])
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        _paint(pen, shape)
    image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    return True


def _paint(pen, shape) -> None:
    if isinstance(shape, Rect):
        x, y = shape.x * SCALE, shape.y * SCALE
        corners = [x, y, x + shape.width * SCALE - 1, y + shape.height * SCALE - 1]
        pen.rounded_rectangle(corners, shape.radius * SCALE, LIGHT.get(shape.role), LIGHT.get(shape.edge), SCALE)
    elif isinstance(shape, Cells):
        for x, y, width, height in shape.places:
            right, bottom = max((x + width) * SCALE - 1, x * SCALE), max((y + height) * SCALE - 1, y * SCALE)
            pen.rectangle([x * SCALE, y * SCALE, right, bottom], fill=LIGHT[shape.role])
    elif isinstance(shape, Line):
        points = [(x * SCALE, y * SCALE) for x, y in shape.points]
        pen.line(points, fill=LIGHT[shape.role], width=3, joint="curve")
    else:
        _write(pen, shape)


def _write(pen, shape) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(size=shape.size * SCALE)
    text = "".join(letter if _shows(font, letter) else "?" for letter in shape.text.translate(SIMPLER))
    while text and pen.textlength(text, font=font) > shape.room * SCALE:
        text = text[:-1]
    for shift in (0, 1) if shape.bold else (0,):  # the font has no bold form
        place = (shape.x * SCALE + shift * (-1 if shape.end else 1), shape.y * SCALE)
        pen.text(place, text, fill=LIGHT[shape.role], font=font, anchor="rs" if shape.end else "ls")


@functools.cache
def _blank(size: float) -> bytes:
    from PIL import ImageFont

    return bytes(ImageFont.load_default(size=size).getmask("\uffff"))


def _shows(font, letter: str) -> bool:
    """Whether Pillow's own font has it: what it lacks looks like what no font has."""
    return letter.isspace() or (letter.isascii() or bytes(font.getmask(letter)) != _blank(font.size))
