"""Pictures of depth, for the demo."""
import numpy as np

STOPS = np.array(
    [[0.05, 0.03, 0.53], [0.49, 0.01, 0.66], [0.80, 0.28, 0.47], [0.97, 0.58, 0.25], [0.94, 0.98, 0.13]]
)


def colorize(depth, low=None, high=None, invert=True):
    """(height, width) to (height, width, 3) of uint8."""
    depth = np.asarray(depth, dtype=np.float64)
    low = np.nanpercentile(depth, 2) if low is None else low
    high = np.nanpercentile(depth, 98) if high is None else high
    scaled = np.clip((depth - low) / max(high - low, 1e-9), 0, 1)
    if invert:
        scaled = 1 - scaled
    place = scaled * (len(STOPS) - 1)
    base = np.clip(np.floor(place).astype(int), 0, len(STOPS) - 2)
    part = (place - base)[..., None]
    return ((STOPS[base] * (1 - part) + STOPS[base + 1] * part) * 255).round().astype(np.uint8)


def side_by_side(picture, depth):
    from PIL import Image

    picture = picture.convert("RGB")
    right = Image.fromarray(colorize(depth)).resize(picture.size)
    sheet = Image.new("RGB", (picture.width * 2, picture.height))
    sheet.paste(picture, (0, 0))
    sheet.paste(right, (picture.width, 0))
    return sheet
