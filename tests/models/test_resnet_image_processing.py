"""ResnetImageProcessor: timm's pixels, from every kind of picture."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from transformers import AutoImageProcessor

from resnet_model.image_processing_resnet import ResnetImageProcessor

SIZES = [(100, 70), (70, 100), (64, 64), (33, 200), (31, 31), (500, 333), (1, 1), (257, 255)]


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = len(mode)
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, mode=None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("side", "crop", "interpolation"),
    [
        (224, 0.875, "bilinear"),
        (224, 0.95, "bicubic"),
        (96, 1.0, "bicubic"),
        (65, 0.9, "lanczos"),
        (32, 0.1, "nearest"),
    ],
)
def test_pixels_equal_timms_evaluation_transform(size, side, crop, interpolation):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    transform = create_transform(
        (3, side, side), crop_pct=crop, interpolation=interpolation, mean=mean, std=std, crop_mode="center"
    )
    processor = ResnetImageProcessor(side, crop, interpolation, mean, std)
    found = processor(picture(*size), return_tensors="pt")["pixel_values"]
    assert found.dtype == torch.float32 and found.shape == (1, 3, side, side)
    assert torch.equal(found[0], transform(picture(*size)))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "LA"])
def test_other_kinds_of_pictures_equal_timms_after_conversion(mode):
    image = picture(60, 50).convert(mode)
    transform = create_transform((3, 32, 32), crop_pct=0.9, interpolation="bicubic")
    found = ResnetImageProcessor(32, 0.9)(image, return_tensors="pt")["pixel_values"]
    assert torch.equal(found[0], transform(image.convert("RGB")))


def test_every_way_of_giving_a_picture_gives_the_same_pixels(tmp_path):
    image = picture(60, 50)
    image.save(tmp_path / "a.png")
    last = np.asarray(image)
    first = last.transpose(2, 0, 1)
    processor = ResnetImageProcessor(32)
    expected = processor(image, return_tensors="np")["pixel_values"]
    ways = [tmp_path / "a.png", str(tmp_path / "a.png"), last, first, torch.tensor(first), torch.tensor(last)]
    ways += [last.astype(np.int64), last / 255, (last / 255).astype(np.float32), [image], last[None], first[None]]
    for way in ways:
        assert np.array_equal(processor(way, return_tensors="np")["pixel_values"], expected), type(way)
    many = processor([image, last, tmp_path / "a.png"], return_tensors="pt")["pixel_values"]
    assert torch.equal(many, torch.tensor(expected).repeat(3, 1, 1, 1))


def test_a_grey_model_sees_one_channel():
    processor = ResnetImageProcessor(8, 1.0, image_mean=[0.0], image_std=[1.0])
    grey = picture(8, 8, "L")
    found = processor([grey, np.asarray(grey), np.asarray(grey)[None], grey.convert("RGB")], return_tensors="np")
    assert found["pixel_values"].shape == (4, 1, 8, 8)
    assert all(np.array_equal(x[0], np.asarray(grey, np.float32) / np.float32(255)) for x in found["pixel_values"])


def test_an_array_that_can_be_read_both_ways_needs_input_data_format():
    array = picture(3, 3).resize((5, 3)).crop((0, 0, 3, 3))
    both = np.asarray(array.resize((40, 3)))[:, :3]  # (3, 3, 3)
    processor = ResnetImageProcessor(8)
    with pytest.raises(ValueError, match="input_data_format='channels_first' or 'channels_last'"):
        processor(both)
    last = processor(both, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    first = processor(both.transpose(2, 0, 1), return_tensors="np", input_data_format="channels_first")["pixel_values"]
    assert np.array_equal(last, first)


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ([], ValueError, "empty list"),
        (3, TypeError, "int is no picture"),
        (np.zeros((8, 8, 5), np.uint8), ValueError, "1, 3 or 4 are allowed"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, "a picture of shape"),
        (np.zeros(4, np.uint8), ValueError, "a picture of shape"),
        (np.full((8, 8, 3), 300), ValueError, "give bytes 0..255 or floats 0..1"),
        (np.full((8, 8, 3), 2.0), ValueError, "give bytes 0..255 or floats 0..1"),
        (np.full((8, 8, 3), np.nan), ValueError, "give bytes 0..255 or floats 0..1"),
        (Image.new("I", (4, 4)), ValueError, "more than 8 bits"),
        ("no-such-picture.png", FileNotFoundError, "no-such-picture"),
    ],
)
def test_refuses_what_is_no_picture(given, error, told):
    with pytest.raises(error, match=told):
        ResnetImageProcessor(8)(given)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"image_size": 0}, "image_size=0 must be a positive integer"),
        ({"crop_pct": 1.5}, "crop_pct=1.5 must be above 0 and at most 1"),
        ({"interpolation": "cubic"}, "interpolation='cubic' is not known; use nearest or bilinear"),
        ({"image_mean": [0.5, 0.5]}, "1 \\(grey\\) or 3 \\(RGB\\) values"),
        ({"image_std": [1.0, 1.0, 0.0]}, "must be positive"),
    ],
)
def test_refuses_fields_that_make_no_sense(fields, told):
    with pytest.raises(ValueError, match=told):
        ResnetImageProcessor(**fields)


def test_saves_itself_with_its_code_and_loads_through_the_auto_class(tmp_path):
    processor = ResnetImageProcessor(48, 0.9, "bilinear", [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    processor.save_pretrained(tmp_path)
    assert (tmp_path / "image_processing_resnet.py").is_file()
    loaded = AutoImageProcessor.from_pretrained(tmp_path, trust_remote_code=True)
    image = picture(90, 60)
    assert np.array_equal(loaded(image)["pixel_values"], processor(image)["pixel_values"])
    assert (tmp_path / "preprocessor_config.json").read_text() == loaded.to_json_string()
