"""The loss curve of a training, for the card: drawn from the trainer_state.json that transformers' Trainer leaves.

The picture is a PNG, which every viewer of a card shows, on a ground of its own, so that it reads in light and dark.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

PICTURE = "loss_curve.png"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1440, 640, 110, 40, 40, 90  # pixels; shown at half of that on most screens
GROUND, INK, LINES, TRAIN, HELD = "#ffffff", "#3d4451", "#dfe3e8", "#2563eb", "#c2410c"


@dataclass(frozen=True)
class Curve:
    """Losses by step: in training, and on held-out data where there was any."""

    train: list[tuple[int, float]]
    held: list[tuple[int, float]]

    def sentence(self) -> str:
        """One sentence, which is also the picture's text alternative."""
        (_, first), (steps, last) = self.train[0], self.train[-1]
        text = f"The training loss goes from {first:.3g} to {last:.3g}, logged last at step {steps}"
        if self.held:
            (at, low), (_, end) = min(self.held, key=lambda point: point[1]), self.held[-1]
            text += f"; held out, it is {end:.3g} at the end"
            if f"{low:.3g}" != f"{end:.3g}":
                text += f", and was lowest after {at} steps, {low:.3g}"
        return text


def read_losses(checkpoint: Path) -> Curve | None:
    """The losses that a checkpoint's training has logged; None where there are fewer than three."""
    try:
        rows = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        train = {int(r["step"]): float(r["loss"]) for r in rows if "loss" in r}
        held: dict[int, float] = {}
        for row in rows:
            if "eval_loss" in row:  # the last step's second one is of the best weights, which are loaded in the end
                held.setdefault(int(row["step"]), float(row["eval_loss"]))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError):
        return None
    points = [sorted((s, v) for s, v in found.items() if abs(v) < 1e12 and abs(s) < 1e12) for found in (train, held)]
    return Curve(*points) if len(points[0]) > 2 else None


def draw_losses(curve: Curve, path: Path) -> bool:
    """Write the picture. False where Pillow (pip install 'pinfold[vision]') is missing, and nothing is written."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        return False
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=28)
    steps = [s for s, _ in [*curve.train, *curve.held]]
    losses = [v for _, v in [*curve.train, *curve.held]]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    marks = ticks(min(losses), max(losses))
    low, high = min(marks[0], min(losses)), max(marks[-1], max(losses))
    if low == high:
        low, high = low - 1, high + 1

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - (loss - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    for mark in marks:
        x, y = place(first, mark)
        pen.line([(x, y), (WIDTH - RIGHT, y)], fill=LINES, width=2)
        pen.text((LEFT - 16, y), f"{mark:g}", fill=INK, font=font, anchor="rm")
    for mark in ticks(first, last):
        if first <= mark <= last:
            pen.text((place(mark, low)[0], HEIGHT - BOTTOM + 14), f"{mark:g}", fill=INK, font=font, anchor="mt")
    pen.text((WIDTH - RIGHT, HEIGHT - 12), "step", fill=INK, font=font, anchor="rb")
    for number, (name, points, colour) in enumerate(
        (("training loss", curve.train, TRAIN), ("held-out loss", curve.held, HELD))
    ):
        if points:
            places = [place(*point) for point in points]
            pen.line(places, fill=colour, width=5, joint="curve")
            for x, y in places if points is curve.held else ():
                pen.ellipse([x - 8, y - 8, x + 8, y + 8], fill=colour)
            pen.text((WIDTH - RIGHT, TOP + 40 * number), name, fill=colour, font=font, anchor="rt")
    image.save(path, optimize=True)
    return True


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two others.

    >>> ticks(3.97, 7.6)
    [4.0, 5.0, 6.0, 7.0]
    >>> ticks(0, 456)
    [0.0, 100.0, 200.0, 300.0, 400.0]
    """
    span = (high - low) or abs(high) or 1.0
    size = 10.0 ** math.floor(math.log10(span))
    step = next(s for s in (size / 5, size / 2, size, size * 2) if span / s < 6)
    count = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [round(n * step, 10) for n in count] or [low, high]
