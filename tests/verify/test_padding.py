"""Outputs at padding may differ between releases; at words, and within a release, nothing may."""

import pytest
import torch
from safetensors.torch import save

from pinfold.fence.handed import parse_load
from pinfold.fenced.probe.probes import padding
from pinfold.verify.padding import compare

AUTO, VERSIONS = "AutoModelForX", ("5.24.0", "4.48.3")


def outputs(**tensors):
    return parse_load(save({f"{AUTO}/{name.replace('__', '/')}": tensor for name, tensor in tensors.items()})).tensors


def changed(tensor, row, place, by):
    other = tensor.clone()
    other[row, place] += by
    return other


NUMBERS = torch.arange(3 * 9 * 2).reshape(3, 9, 2).float()


@pytest.mark.parametrize(
    ("probe", "tensor", "row", "place"),
    [
        ("triple", NUMBERS, 1, 1),
        ("triple", NUMBERS, 2, 3),
        ("triple", NUMBERS[..., 0].contiguous(), 2, 0),
        ("triple", NUMBERS.bfloat16(), 1, 0),
        ("pair", NUMBERS[:2], 1, 8),
        ("pair", NUMBERS[:2].reshape(2, 9, 1, 2), 1, 5),
    ],
)
@pytest.mark.parametrize("by", [4.0, float("nan"), float("inf")])
def test_a_difference_at_padding_is_none_between_releases(probe, tensor, row, place, by):
    before, after = outputs(**{f"{probe}__logits": tensor}), changed(tensor, row, place, by)
    after = outputs(**{f"{probe}__logits": after})
    assert compare(AUTO, after, before, {probe: 9}, VERSIONS) == []
    assert compare(AUTO, after, before, {probe: 9}, ("5.24.0", "5.24.0")), "within a release it is one"
    assert compare(AUTO, after, before, {}, VERSIONS), "where no mask hides them, the places are words"


@pytest.mark.parametrize(
    ("probe", "row", "place"), [("triple", 0, 0), ("triple", 1, 2), ("pair", 0, 8), ("pair", 1, 4)]
)
def test_a_difference_at_a_word_is_one(probe, row, place):
    tensor = NUMBERS[: 2 if probe == "pair" else 3]
    before, after = (outputs(**{f"{probe}__logits": each}) for each in (tensor, changed(tensor, row, place, 1e-6 + 1)))
    (line,) = compare(AUTO, after, before, {probe: 9}, VERSIONS)
    assert "logits: output differs between 5.24.0 and 4.48.3" in line


def test_an_output_with_another_second_axis_is_compared_whole():
    pictures = NUMBERS[:, :4].contiguous()
    before, after = (outputs(triple__pictures=each) for each in (pictures, changed(pictures, 2, 0, 1)))
    assert compare(AUTO, after, before, {"triple": 9}, VERSIONS)


def test_a_row_of_padding_alone_keeps_a_word():
    assert padding("pair", 1, 3) == slice(1, None) and padding("triple", 2, 4) == slice(0, 3)
    assert padding("pair", 0, 3) == slice(3, None) and padding("single", 1, 3) == padding("own", 1, 3) == slice(0, 0)
