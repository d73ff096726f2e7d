"""Labelled pictures to train on: a named data set, or a folder with one folder of pictures per class."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError


@dataclass(frozen=True)
class Data:
    """Labelled pictures: PIL images or paths, their class ids, and the names of the classes by id."""

    name: str
    description: str
    images: list[Any]
    labels: list[int]
    names: list[str]


def load_data(given: str) -> Data:
    """Load a named data set, or find the pictures of a folder.

    Raises:
        UserError: nothing there, a class without pictures, fewer than two classes, a file that is no picture.
    """
    if given == "digits":
        return digits()
    root = Path(given)
    if not root.is_dir():
        raise UserError(f"--data {given}: no such folder; give 'digits' or a folder with one folder per class")
    from PIL import Image
    from tqdm import tqdm

    endings = set(Image.registered_extensions())
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = {c.name: sorted(p for p in c.rglob("*") if p.suffix.lower() in endings and p.is_file()) for c in classes}
    if len(found) < 2:
        raise UserError(f"--data {given}: {len(found)} class folders; put the pictures into one folder per class")
    if empty := [name for name, files in found.items() if not files]:
        raise UserError(f"--data {given}: no pictures in {', '.join(empty[:5])}; add some or remove the folder")
    images = [path for files in found.values() for path in files]
    for path in tqdm(images, desc="checking pictures", disable=len(images) < 5000):
        opened(path, load=False)  # only the header: the rest is read when its turn comes
    labels = [i for i, files in enumerate(found.values()) for _ in files]
    return Data(root.resolve().name, f"pictures in {root.resolve().name}", images, labels, list(found))


def digits() -> Data:
    """scikit-learn's handwritten digits: 1797 grey pictures of 8x8 pixels, shipped with the package."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    images = [Image.fromarray((image * (255 / 16)).round().astype("uint8")) for image in found.images]
    names = [str(name) for name in found.target_names]
    return Data("digits", "handwritten digits of scikit-learn", images, found.target.tolist(), names)


def held_out(labels: list[int], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Split positions into training and held-out ones, the same fraction of every class.

    Raises:
        UserError: a class is too small to be in both.
    """
    from sklearn.model_selection import train_test_split

    try:
        kept, held = train_test_split(range(len(labels)), test_size=fraction, stratify=labels, random_state=seed)
    except ValueError as error:
        fewest = min(Counter(labels).values())
        raise UserError(
            f"cannot hold out {fraction:.0%} of {len(labels)} pictures, the smallest class having {fewest} ({error}); "
            "add pictures or change --eval-fraction"
        ) from None
    return sorted(kept), sorted(held)


def opened(image: Any, load: bool = True) -> Any:
    """Open a picture, if it is a path, and name the file where that fails."""
    from PIL import Image

    if not isinstance(image, Path):
        return image
    try:
        with Image.open(image) as picture:
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"mode {picture.mode}, more than 8 bits a channel")
            return picture.copy() if load else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{image}: cannot be opened as a picture ({told}); repair or remove it") from None
