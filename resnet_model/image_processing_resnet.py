"""Pictures to pixels for a ResNet, in PIL and numpy.

- The same numbers as timm's evaluation transform (`timm.data.create_transform`): resize the shorter
  side to image_size / crop_pct, cut the centre, scale to 0..1, subtract the mean, divide by the deviation.
- transformers' own processors are not used: version 5 computes other pixels than version 4 from one file.
- Pictures are taken as stored: an EXIF rotation is not applied, as in timm.
"""

import math
import os
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MODES = {1: "L", 3: "RGB"}


class ResnetImageProcessor(BaseImageProcessor):
    """Turn pictures into `pixel_values` (batch, channels, image_size, image_size), float32.

    One picture or a list of them: PIL images, paths, and arrays or tensors (height, width), (height, width, channels)
    or (channels, height, width) of bytes 0..255 or floats 0..1; a batch may also be one 4-D array. The length of
    image_mean, 1 or 3, says whether the model sees grey or colour; each picture is converted to that.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 (transformers reads a list)

    def __init__(
        self,
        image_size: int = 224,  # side of the square that the model sees
        crop_pct: float = 0.875,  # the part of the resized shorter side that is kept
        interpolation: str = "bicubic",
        image_mean: list[float] | tuple[float, ...] = (0.485, 0.456, 0.406),  # ImageNet's, of pixels in 0..1
        image_std: list[float] | tuple[float, ...] = (0.229, 0.224, 0.225),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(image_size, int) or isinstance(image_size, bool) or image_size < 1:
            raise ValueError(f"image_size={image_size!r} must be a positive integer; most ResNets use 224")
        if not isinstance(crop_pct, (int, float)) or not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct={crop_pct!r} must be above 0 and at most 1; 1 keeps the whole shorter side")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation={interpolation!r} is not known; use {' or '.join(INTERPOLATIONS)}")
        if len(image_mean) not in MODES or len(image_std) != len(image_mean):
            raise ValueError(
                f"image_mean={image_mean} and image_std={image_std} must both have 1 (grey) or 3 (RGB) values"
            )
        if min(image_std) <= 0:
            raise ValueError(f"image_std={image_std} must be positive; use 1.0 to leave a channel's scale as it is")
        self.image_size = image_size
        self.crop_pct = crop_pct
        self.interpolation = interpolation
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        return self.preprocess(images, **kwargs)

    def preprocess(
        self, images: Any, return_tensors: str | None = None, input_data_format: str | None = None, **kwargs: Any
    ) -> BatchFeature:
        """Prepare one picture or many.

        Args:
            images: see the class.
            return_tensors: "pt" for a torch tensor, "np" for a numpy array, None for a list of arrays.
            input_data_format: "channels_first" or "channels_last", for an array that can be read both ways.
        """
        if kwargs:
            raise TypeError(f"{', '.join(kwargs)}: not an argument; set it when making the processor")
        pixels = [self.pixels(picture(image, input_data_format)) for image in pictures(images)]
        return BatchFeature({"pixel_values": np.stack(pixels) if return_tensors else pixels}, return_tensors)

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Resize, crop and normalise one PIL image: (channels, image_size, image_size), float32."""
        image = image.convert(MODES[len(self.image_mean)])
        width, height = image.size
        short, long = min(width, height), max(width, height)
        shorter = math.floor(self.image_size / self.crop_pct)
        longer = int(shorter * long / short)
        size = (shorter, longer) if width <= height else (longer, shorter)
        image = image.resize(size, INTERPOLATIONS[self.interpolation])
        left, top = (round((side - self.image_size) / 2.0) for side in size)
        image = image.crop((left, top, left + self.image_size, top + self.image_size))
        x = np.asarray(image, dtype=np.float32).reshape(self.image_size, self.image_size, -1) / np.float32(255)
        x = (x - np.asarray(self.image_mean, np.float32)) / np.asarray(self.image_std, np.float32)
        return np.ascontiguousarray(x.transpose(2, 0, 1))  # (channels, height, width)


def pictures(images: Any) -> list:
    """Return a list of single pictures, whatever was given."""
    if isinstance(images, (list, tuple)):
        images = list(images)
    elif getattr(images, "ndim", None) == 4:
        images = [images[i] for i in range(len(images))]
    else:
        images = [images]
    if not images:
        raise ValueError("an empty list of images; give at least one")
    return images


def picture(image: Any, data_format: str | None) -> Image.Image:
    """Read one picture of any accepted kind as a PIL image of 8-bit channels."""
    if isinstance(image, (str, os.PathLike)):
        with Image.open(image) as opened:
            opened.load()
            image = opened
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    if isinstance(image, np.ndarray):
        return Image.fromarray(to_bytes(channels_last(image, data_format)))
    if not isinstance(image, Image.Image):
        raise TypeError(f"{type(image).__name__} is no picture; give a PIL image, an array, a tensor or a path")
    if image.mode[0] in "IF":  # PIL would cut these off at 255
        raise ValueError(
            f"a picture of mode {image.mode!r} has more than 8 bits per channel; scale it to 8 bits first"
        )
    return image


def channels_last(array: np.ndarray, data_format: str | None) -> np.ndarray:
    """Return (height, width) or (height, width, channels)."""
    if array.ndim == 3:
        fits = {"channels_first": array.shape[0] in (1, 3, 4), "channels_last": array.shape[2] in (1, 3, 4)}
        found = [name for name, fit in fits.items() if fit and data_format in (None, name)]
        if len(found) != 1:
            cure = "pass input_data_format='channels_first' or 'channels_last'" if found else "1, 3 or 4 are allowed"
            raise ValueError(f"cannot tell the channels of a picture of shape {array.shape}; {cure}")
        array = array.transpose(1, 2, 0) if found == ["channels_first"] else array
        array = array[:, :, 0] if array.shape[2] == 1 else array
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"a picture of shape {array.shape}; give (height, width) with or without channels")
    return np.ascontiguousarray(array)


def to_bytes(array: np.ndarray) -> np.ndarray:
    """Return uint8: integers 0..255 as they are, floats 0..1 times 255 and rounded."""
    top = 1 if np.issubdtype(array.dtype, np.floating) else 255
    if array.dtype == bool or not (array.min() >= 0 and array.max() <= top):  # the negation also catches NaN
        raise ValueError(f"{array.dtype} pixels from {array.min()} to {array.max()}; give bytes 0..255 or floats 0..1")
    return (array * 255.0).round().astype(np.uint8) if top == 1 else array.astype(np.uint8)


ResnetImageProcessor.register_for_auto_class("AutoImageProcessor")
