"""Guesses at a model's pictures, videos and sounds, by the names of forward's parameters and the configuration."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .fields import every, is_int, pick

PICTURES = ("pixel_values", "image_pixel_values", "image", "images")
VIDEOS = ("pixel_values_videos", "pixel_values_video")
GRIDS = ("image_grid_thw", "grid_thw", "image_grid_hw")
PLACES = ("image_position_ids", "pixel_position_ids")
SPECTROGRAMS = ("input_features", "audio_input_features", "audio_features", "audio_mel")
WAVES = ("input_values", "audio_values", "audio")
SOUND_MASKS = ("input_features_mask", "feature_attention_mask", "audio_attention_mask")
OTHER_SIDES = (32, 64, 128, 224, 256, 384)

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Media:
    """What pictures and sounds are made from.

    Args:
        names: forward's parameters. main: the name of its main input. floats: random numbers of a shape.
    """

    config: Any
    names: dict
    main: str
    floats: Callable

    def number(self, *fields: str, default: int) -> int:
        """A number that the configuration states under one of these names."""
        value = pick(self.config, *fields, default=default)
        return value if is_int(value) else default

    def present(self, names: tuple[str, ...]) -> list[str]:
        """Those of these names that forward has."""
        return [name for name in names if name in self.names]

    # pictures

    @functools.cached_property
    def picture(self) -> str | None:
        """The name of the input for pictures; None where forward takes none, or only videos."""
        if names := self.present(PICTURES):
            return names[0]
        if self.main in self.names and self.main.startswith("pixel"):
            return self.main
        return "hidden_states" if {"hidden_states", "grid_thw"} <= set(self.names) else None

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        stated = [size for e in every(self.config) if (size := getattr(e, "image_size", None)) is not None]
        size = stated[0] if stated else pick(self.config, "input_image_size", "img_size", default=64)
        high, wide = (size[0], size[-1]) if isinstance(size, (list, tuple)) else (size, size)
        return (high, wide) if is_int(high) and is_int(wide) else (64, 64)

    @functools.cached_property
    def channels(self) -> int:
        return self.number("num_channels", "in_channels", "input_channels", "in_chans", default=3)

    @functools.cached_property
    def patch(self) -> int:
        """A patch's side."""
        patch = pick(self.config, "patch_size", default=14)
        patch = patch[-1] if isinstance(patch, (list, tuple)) else patch
        return patch if is_int(patch) else 14

    @property
    def flat(self) -> int:
        """Numbers in a patch of a video."""
        return self.channels * self.number("temporal_patch_size", default=1) * self.patch**2

    @property
    def side(self) -> int:
        """Patches on a picture's side: a multiple of what the model merges."""
        return max(2 * self.number("spatial_merge_size", default=2), 2)

    @functools.cached_property
    def frames(self) -> int | None:
        """Frames of a video."""
        frames = pick(self.config, "num_frames", "frames_per_clip", default=4)
        return frames if is_int(frames) else None

    # sounds

    @property
    def bins(self) -> int:
        """Frequencies of a spectrogram."""
        names = ("num_mel_bins", "n_mels", "feature_size", "num_mels", "mel_dim", "input_dim", "input_feat_size")
        return self.number(*names, default=80)


@dataclass(frozen=True)
class Guess:
    """Inputs for models of one kind.

    Args:
        name: the models and what they read, for the message where no inputs are accepted.
    """

    name: str
    applies: Callable[[Media], bool]
    make: Callable[[Media], Iterator[Inputs]]


def media_guesses(media: Media) -> tuple[list[tuple[str, Inputs]], list[tuple[str, Inputs]]]:
    """Pictures and sounds, the likeliest first, each with the name of its guess."""
    pictures, sounds = (
        [(guess.name, inputs) for guess in table if guess.applies(media) for inputs in guess.make(media)]
        for table in (PICTURE_GUESSES, SOUND_GUESSES)
    )
    return pictures, sounds


# pictures ----------------------------------------------------------------------------------------------------------


def flattened_patches(media: Media) -> Iterator[Inputs]:
    """Rows of patches of all pictures, or patches as small pictures, and a grid for each picture."""
    import torch

    grid_name, side = media.present(GRIDS)[0], media.side
    picture_grid = [side, side] if "image_grid_hw" in media.names else [1, side, side]
    grid = torch.tensor([picture_grid] * 2)
    yield {media.picture: media.floats(2 * side * side, media.flat), grid_name: grid}
    shape = (2 * side * side, media.channels, media.patch, media.patch)
    yield {media.picture: media.floats(*shape), grid_name: grid}


def padded_patches(media: Media) -> Iterator[Inputs]:
    """Patches of each picture, its shape in patches, and a mask under one of its names."""
    import torch

    count = media.side**2
    patches = {
        media.picture: media.floats(2, count, media.channels * media.patch**2),
        "spatial_shapes": torch.tensor([[media.side, media.side]] * 2),
    }
    mask = torch.ones(2, count, dtype=torch.long)
    yield {**patches, **{name: mask for name in media.present(("pixel_attention_mask", "attention_mask"))}}
    yield {**patches, "pixel_attention_mask": mask}


def tiles(media: Media) -> Iterator[Inputs]:
    """Whole pictures, or tiles of them, with the sizes that the pictures had."""
    import torch

    sizes = torch.tensor([media.size] * 2)
    yield {media.picture: media.floats(2, media.channels, *media.size), "image_sizes": sizes}
    for count in (5, 3):
        yield {media.picture: media.floats(2, count, media.channels, *media.size), "image_sizes": sizes}


def placed_patches(media: Media) -> Iterator[Inputs]:
    """Patches, and the column and row of each."""
    import torch

    side = torch.arange(media.side + 2)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    places = torch.stack([columns, rows], -1).reshape(1, -1, 2).expand(2, -1, -1).contiguous()
    patches = media.floats(2, places.shape[1], media.channels * media.patch**2)
    yield {media.picture: patches, media.present(PLACES)[0]: places}


def whole_pictures(media: Media) -> Iterator[Inputs]:
    """(batch, channels, height, width), of two pictures or of one."""
    for batch in (2, 1):
        yield {media.picture: media.floats(batch, media.channels, *media.size)}


def video_frames(media: Media) -> Iterator[Inputs]:
    yield {media.picture: media.floats(2, media.frames, media.channels, *media.size)}


def one_picture_each(media: Media) -> Iterator[Inputs]:
    yield {media.picture: media.floats(2, 1, media.channels, *media.size)}


def one_masked_picture_each(media: Media) -> Iterator[Inputs]:
    import torch

    mask = torch.ones(2, 1, *media.size, dtype=torch.long)
    yield {media.picture: media.floats(2, 1, media.channels, *media.size), "pixel_attention_mask": mask}


def other_sizes(media: Media) -> Iterator[Inputs]:
    for side in OTHER_SIDES:
        if side != media.size[0]:
            yield {media.picture: media.floats(1, media.channels, side, side)}


def reads_pictures(media: Media) -> bool:
    return media.picture is not None and media.picture != "pixel_values_videos"


def reads_videos(media: Media) -> bool:
    """Videos are left out where pictures are read as well, unless they are the main input."""
    names = media.present(VIDEOS)
    return bool(names) and (media.main == names[0] or not media.picture)


def videos(media: Media) -> Iterator[Inputs]:
    """Flattened patches, then frames before or after the channels."""
    import torch

    for name in media.present(VIDEOS):
        if media.main != name and media.picture:
            return
        if "video_grid_thw" in media.names:
            grid = torch.tensor([[1, media.side, media.side]])
            yield {name: media.floats(media.side**2, media.flat), "video_grid_thw": grid}
        if media.frames is not None:
            yield {name: media.floats(2, media.frames, media.channels, *media.size)}
            yield {name: media.floats(2, media.channels, media.frames, *media.size)}
        yield {name: media.floats(1, 4, media.channels, *media.size)}


def with_pictures(*names: str) -> Callable[[Media], bool]:
    """Pictures are read, and forward has one of these parameters."""
    return lambda media: reads_pictures(media) and bool(media.present(names))


# Forms that a parameter of their own gives away come before whole pictures, which many models take for something else;
# sizes that the configuration does not state come last.
PICTURE_GUESSES = (
    Guess("Qwen2-VL and GLM-4V: flattened patches", with_pictures(*GRIDS), flattened_patches),
    Guess("SigLIP 2: padded patches", with_pictures("spatial_shapes"), padded_patches),
    Guess("LLaVA-NeXT and Pixtral: tiles and sizes", with_pictures("image_sizes"), tiles),
    Guess("Gemma: patches with their places", with_pictures(*PLACES), placed_patches),
    Guess("ViT and ResNet: whole pictures", reads_pictures, whole_pictures),
    Guess("VideoMAE: frames", lambda media: reads_pictures(media) and media.frames is not None, video_frames),
    Guess("Idefics: pictures of each text", reads_pictures, one_picture_each),
    Guess("Idefics: masked pictures of each text", with_pictures("pixel_attention_mask"), one_masked_picture_each),
    Guess("pictures of other sizes", reads_pictures, other_sizes),
    Guess("videos", reads_videos, videos),
)


# sounds ------------------------------------------------------------------------------------------------------------


def spectrograms(media: Media) -> Iterator[Inputs]:
    """(batch, bins, frames) as Whisper reads them, or frames first; masks of numbers, then of truth values."""
    import torch

    name, masks, bins = media.present(SPECTROGRAMS)[0], media.present(SOUND_MASKS), media.bins
    frames = pick(media.config, "max_source_positions", "max_length", default=32)
    long = 2 * frames if is_int(frames) and frames <= 4096 else 64
    shapes = (  # with the length of a mask
        ((2, bins, long), long), ((2, 64, bins), 64), ((2, bins, 128), 128), ((1, 64, bins), 64),
        ((2, 128, bins), 128), ((2, 1, bins, 64), 64),
    )  # fmt: skip
    for shape, length in shapes:
        sound = {name: media.floats(*shape)}
        for kind in (torch.long, torch.bool) if masks else ():
            yield {**sound, masks[0]: torch.ones(shape[0], length, dtype=kind)}
        yield sound


def waves(media: Media) -> Iterator[Inputs]:
    """Samples between -1 and 1, or spectrograms under the same name."""
    name, bins = media.present(WAVES)[0], media.bins
    frames = pick(media.config, "max_length", default=128) if "patch" in str(vars(media.config).keys()) else 0
    if is_int(frames) and 0 < frames < 2000:  # an Audio Spectrogram Transformer
        yield {name: media.floats(2, frames, bins)}
    yield {name: media.floats(2, 4000) * 2 - 1}
    yield {name: media.floats(2, 1, 3840) * 2 - 1}
    yield {name: media.floats(2, 64, bins)}
    yield {name: media.floats(2, 1, 24000) * 2 - 1}
    yield {name: media.floats(2, bins, 64)}
    yield {name: media.floats(2, 16000) * 2 - 1}


# A forward has one sound: a spectrogram, or else a wave.
SOUND_GUESSES = (
    Guess("Whisper: spectrograms", lambda media: bool(media.present(SPECTROGRAMS)), spectrograms),
    Guess(
        "wav2vec2: waves",
        lambda media: bool(media.present(WAVES)) and not media.present(SPECTROGRAMS),
        waves,
    ),
)
