"""A picture of a model: its parts, each with its share of the parameters and of the FLOPs."""

from pathlib import Path

from pinfold.common.errors import UserError, missing_extra
from pinfold.summarize.rows import Row, parts
from pinfold.summarize.text import number_text

# Pixels; shown at half of that on most screens. Colours as in the loss curve of a card, so that both go together.
WIDTH, LEFT, RIGHT, TOP, ROW, BAR, BOTTOM = 1440, 40, 40, 150, 78, 24, 40
GROUND, INK, SOFT, LINES, PARAMETERS, FLOPS = "#ffffff", "#3d4451", "#7a828e", "#eef1f4", "#2563eb", "#c2410c"


def check_picture(path: Path) -> None:
    """Check that a picture can be drawn there.

    Raises:
        UserError: not a PNG, or Pillow is missing.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"--picture {path}: only PNG is drawn; name a file that ends in .png")
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise missing_extra("summarize --picture", "vision", error) from None


def draw_picture(root: Row, title: str, unit: str, path: Path) -> None:
    """Write the picture: two bars for each of the parts, whose lengths are shares of the whole model.

    Args:
        unit: FLOPs, and for which inputs.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = parts(root)
    height = TOP + ROW * len(rows) + BOTTOM
    image = Image.new("RGB", (WIDTH, height), GROUND)
    pen = ImageDraw.Draw(image)
    large, font, small = (ImageFont.load_default(size=size) for size in (34, 26, 22))
    pen.text((LEFT, 36), _cut(pen, title, large, WIDTH - LEFT - RIGHT), fill=INK, font=large)
    x = LEFT
    for key, colour, word in (("parameters", PARAMETERS, "parameters"), ("flops", FLOPS, unit)):
        text = f"{number_text(root.sums[key]) or 0} {word}"
        pen.rectangle([x, 100, x + 20, 120], fill=colour)
        pen.text((x + 32, 110), text, fill=INK, font=font, anchor="lm")
        x += 32 + pen.textlength(text, font=font) + 48
    longest = max(pen.textlength(row.label, font=font) for row in rows)
    start = LEFT + min(longest, 460) + 28
    end = WIDTH - RIGHT - 190  # what a number takes behind the longest bar
    most = max(_share(row, root, key) for row in rows for key in ("parameters", "flops")) or 1
    for place, row in enumerate(rows):
        top = TOP + ROW * place
        middle = top + ROW / 2
        pen.line([(LEFT, top), (WIDTH - RIGHT, top)], fill=LINES, width=2)
        pen.text((LEFT, middle), _cut(pen, row.label, font, 460), fill=INK, font=font, anchor="lm")
        for key, colour, y in (("parameters", PARAMETERS, middle - BAR - 2), ("flops", FLOPS, middle + 2)):
            share = _share(row, root, key)
            reach = start + max(share / most * (end - start), 2)
            pen.rectangle([start, y, reach, y + BAR - 1], fill=colour)
            text = f"{number_text(row.sums[key])}  {share:.1%}" if row.sums[key] else "0"
            pen.text((reach + 12, y + BAR / 2), text, fill=SOFT, font=small, anchor="lm")
    image.save(path, optimize=True)


def _share(row: Row, root: Row, key: str) -> float:
    return row.sums[key] / root.sums[key] if root.sums[key] else 0.0


def _cut(pen, text: str, font, room: float) -> str:
    while pen.textlength(text, font=font) > room:
        text = f"{text.rstrip('…')[:-1]}…"
    return text
