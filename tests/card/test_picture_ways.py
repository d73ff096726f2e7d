"""The ways of the data through a model: towers side by side, skips around stages, and titles that say something."""

import re

import pytest
import torch
from torch import nn

from pinfold.card.picture import picture
from pinfold.card.picture.layout import TOWER, TOWERS, Line, Rect, Text, layout
from pinfold.card.picture.text import count_in, unit_of
from pinfold.fenced.cost import observe
from pinfold.fenced.drawing.stages import stages


def drawing_of(model, **inputs):
    model.eval()
    return stages(model, observe.passing(model, inputs), inputs)


class Tower(nn.Module):
    def __init__(self, width, depth, embeddings):
        super().__init__()
        self.embeddings = embeddings
        layer = {"nhead": 2, "dim_feedforward": 2 * width, "batch_first": True}
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(width, **layer) for _ in range(depth)])

    def forward(self, x):
        x = self.embeddings(x)
        x = x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
        for layer in self.layers:
            x = layer(x)
        return x.mean(1)


class TwoTowers(nn.Module):
    def __init__(self, together=False):
        super().__init__()
        self.vision, self.text = Tower(32, 3, nn.Conv2d(3, 32, 8, 8)), Tower(48, 2, nn.Embedding(100, 48))
        self.to_vision, self.to_text = nn.Linear(32, 16), nn.Linear(48, 16)
        self.classifier = nn.Linear(32, 3) if together else None

    def forward(self, pixel_values, input_ids):
        one, other = self.to_vision(self.vision(pixel_values)), self.to_text(self.text(input_ids))
        return self.classifier(torch.cat([one, other], -1)) if self.classifier else one @ other.T


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 1))

    def forward(self, x):
        return self.net(x)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([Block(3, 8), Block(8, 16)])
        self.mid = Block(16, 32)
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.back = nn.ModuleList([Block(32, 16), Block(16, 8)])

    def forward(self, pixel_values):
        x, kept = pixel_values, []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.mid(x)
        for up, block in zip(self.up, self.back, strict=True):
            x = block(torch.cat([up(x), kept.pop()], 1))
        return x


PICTURES = {"pixel_values": torch.zeros(2, 3, 16, 16)}
BOTH = PICTURES | {"input_ids": torch.ones(2, 7, dtype=torch.long)}


def boxes(drawing):
    """Title of a stage -> the x of its box."""
    _, shapes = layout(drawing)
    places, x = {}, None
    for shape in shapes:
        if isinstance(shape, Rect) and shape.role == "box":
            x = shape.x
        elif isinstance(shape, Text) and shape.bold and x is not None:
            places.setdefault(shape.text.split(" \u00d7")[0], x)
    return places


@pytest.mark.parametrize("together", [False, True])
def test_towers_stand_side_by_side(together):
    drawing = drawing_of(TwoTowers(together), **BOTH)
    places = boxes(drawing)
    left, right = (column.x for column in TOWERS)
    assert places["Patch embeddings"] == places["Vision encoder"] == places["To vision"] == left
    assert places["Embeddings"] == places["Text encoder"] == places["To text"] == right
    assert places.get("Classifier", left) == left
    if together:  # what reads from both has the whole width again
        wide = [s for s in layout(drawing)[1] if isinstance(s, Rect) and s.role == "box" and s.width > TOWER]
        assert len(wide) == 1
    texts = [s.text for s in layout(drawing)[1] if isinstance(s, Text)]
    assert texts.count("pixel_values") == texts.count("input_ids") == 1


def test_one_tower_is_one_column():
    for model, inputs in ((Tower(32, 2, nn.Conv2d(3, 32, 8, 8)), {"x": PICTURES["pixel_values"]}), (UNet(), PICTURES)):
        assert set(boxes(drawing_of(model, **inputs)).values()) == {16}


def test_what_reads_the_other_is_no_tower_of_its_own():
    class Crossed(TwoTowers):
        def forward(self, pixel_values, input_ids):
            seen = self.vision(pixel_values)
            return self.to_text(self.text(input_ids + seen.sum().long() * 0)), self.to_vision(seen)

    assert set(boxes(drawing_of(Crossed(), **BOTH)).values()) == {16}


def test_ways_around_stages():
    drawing = drawing_of(UNet(), **PICTURES)
    titles = [stage["title"] for stage in drawing["stages"]]
    reads = {titles[place]: [titles[n] for n in stage["reads"]] for place, stage in enumerate(drawing["stages"])}
    assert reads["Back, stage 1"] == ["Down, stage 2", "Up, layer 0"]
    assert reads["Back, stage 2"] == ["Down, stage 1", "Up, layer 1"]
    assert reads["Mid"] == ["Down, stage 2"] and drawing["stages"][0]["takes"] == ["pixel_values"]
    lines = [shape for shape in layout(drawing)[1] if isinstance(shape, Line) and len(shape.points) == 4]
    assert len(lines) == 2 and all(x > 420 for line in lines for x, _ in line.points)
    plain = drawing_of(Tower(32, 2, nn.Conv2d(3, 32, 8, 8)), x=PICTURES["pixel_values"])
    assert not [s for s in layout(plain)[1] if isinstance(s, Line) and len(s.points) == 4]


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)), (2, 8)),
        (nn.Sequential(nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU()), nn.Sequential(nn.Linear(14, 3))), (2, 4, 16)),
        (nn.ModuleDict({"proj": nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4))}), None),
    ],
)
def test_titles_are_more_than_a_number(model, inputs):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            return (self.net["proj"] if isinstance(self.net, nn.ModuleDict) else self.net)(x)

    drawing = drawing_of(Model(), x=torch.zeros(inputs or (2, 8)))
    titles = [stage["title"] for stage in drawing["stages"]]
    assert titles and not [title for title in titles if re.fullmatch(r"(Layers? )?[\d\u2013]*", title)]


def test_numbers_of_a_picture_have_one_unit():
    drawing = drawing_of(UNet(), **PICTURES)
    unit = unit_of(drawing["parameters"])
    sizes = [s.text for s in layout(drawing)[1] if isinstance(s, Text) and s.end and s.size == 15]
    assert len(sizes) == len(drawing["stages"]) and all(text.endswith(f" {unit}") for text in sizes)
    assert [count_in(n, "k") for n in (1, 238, 9536, 119_328)] == ["<0.01 k", "0.24 k", "9.54 k", "119 k"]
    assert count_in(7, "") == "7"


def test_ways_of_strangers_are_not_trusted():
    stage = {"title": "A", "parameters": 1}
    for reads in ([10**9, -1, "x", None, 0], "0", {"a": 1}, [[0]], None):
        drawing = {"class": "X", "parameters": 2, "stages": [stage, {**stage, "reads": reads, "takes": reads}] * 5}
        assert picture.svg(drawing).endswith("</svg>\n")
