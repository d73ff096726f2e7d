"""Labelled pictures to train on: a named data set, or a folder with one folder of pictures per class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, one_line


@dataclass(frozen=True)
class Data:
    """Labelled pictures: PIL images or paths, their class ids, and the names of the classes by id."""

    name: str
    description: str
    images: list[Any]
    labels: list[int]
    names: list[str]


def load_data(source: str) -> Data:
    """Load a named data set, or find the pictures of a folder.

    Raises:
        UserError: no such folder, a class without pictures, fewer than two classes, a file that is not a picture.
    """
    if source == "digits":
        return digits()
    root = Path(source)
    if not root.is_dir():
        raise UserError(f"--data {source}: no such folder; give 'digits' or a folder with one folder per class")
    from PIL import Image
    from tqdm import tqdm

    endings = set(Image.registered_extensions())
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    by_class = {
        path.name: sorted(p for p in path.rglob("*") if p.suffix.lower() in endings and p.is_file())
        for path in classes
    }
    if len(by_class) < 2:
        raise UserError(f"--data {source}: {len(by_class)} class folders; put the pictures into one folder per class")
    if empty := [name for name, files in by_class.items() if not files]:
        raise UserError(f"--data {source}: no pictures in {', '.join(empty[:5])}; add some or remove the folder")
    images = [path for files in by_class.values() for path in files]
    for path in tqdm(images, desc="checking pictures", disable=len(images) < 5000):
        opened(path, load=False)  # only the header: the rest is read when its turn comes
    labels = [i for i, files in enumerate(by_class.values()) for _ in files]
    return Data(root.resolve().name, f"pictures in {root.resolve().name}", images, labels, list(by_class))


def digits() -> Data:
    """scikit-learn's handwritten digits: 1797 grey pictures of 8x8 pixels, shipped with the package."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    images = [Image.fromarray((image * (255 / 16)).round().astype("uint8")) for image in data.images]
    names = [str(name) for name in data.target_names]
    return Data("digits", "handwritten digits of scikit-learn", images, data.target.tolist(), names)


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
        raise UserError(f"{image}: cannot be opened as a picture ({one_line(error)}); repair or remove it") from None
