"""Reading and augmenting tiles. Independent of the model file."""
import random
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch.utils.data import Dataset

# per band statistics of the 2021-2023 campaign, reflectance * 10000
MEAN = np.array([1353.7, 1117.2, 1042.9, 2947.1], dtype=np.float32)
STD = np.array([897.3, 736.0, 684.8, 1246.3], dtype=np.float32)


def normalise(tile: np.ndarray) -> torch.Tensor:
    x = (tile.astype(np.float32) - MEAN[:, None, None]) / STD[:, None, None]
    return torch.from_numpy(np.clip(x, -4, 4))


def ndvi(tile: np.ndarray) -> np.ndarray:
    red, nir = tile[0].astype(np.float32), tile[3].astype(np.float32)
    return (nir - red) / np.maximum(nir + red, 1.0)


class D4:
    """the eight symmetries of the square"""

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        k = random.randrange(4)
        x, y = torch.rot90(x, k, (-2, -1)), torch.rot90(y, k, (-2, -1))
        if random.random() < 0.5:
            x, y = x.flip(-1), y.flip(-1)
        return x, y


class BandJitter:
    def __init__(self, gain: float = 0.1, offset: float = 0.1):
        self.gain, self.offset = gain, offset

    def __call__(self, x, y):
        g = 1 + self.gain * (2 * torch.rand(x.shape[0], 1, 1) - 1)
        o = self.offset * (2 * torch.rand(x.shape[0], 1, 1) - 1)
        return x * g + o, y


class TileFolder(Dataset):
    def __init__(self, root: str, transforms: Sequence[Callable] = (), min_labelled: float = 0.05):
        self.files = sorted(Path(root).glob("*.npz"))
        self.transforms = list(transforms)
        self.min_labelled = min_labelled

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int):
        with np.load(self.files[i]) as f:
            x, y = normalise(f["bands"]), torch.from_numpy(f["labels"].astype(np.int64))
        if (y != 255).float().mean() < self.min_labelled:
            return self[random.randrange(len(self))]
        for t in self.transforms:
            x, y = t(x, y)
        return {"pixel_values": x, "labels": y}
