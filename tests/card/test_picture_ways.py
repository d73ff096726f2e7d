"""The ways of the data through a model: towers side by side, skips around stages, and titles that say something."""

import re

import pytest
import torch
from torch import nn

from pinfold.card.picture import picture
from pinfold.card.picture.layout import TOWER, TOWERS, Line, Rect, Text, layout
from pinfold.card.picture.text import count_in, unit_of
from pinfold.card.picture.ways import read_by, ways_of
from pinfold.fenced.cost import flow, observe
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


def test_positions_lie_in_the_tower_that_reads_them():
    drawing = drawing_of(Placed(), **WITH_WAYS["towers with positions"][2])
    ways = ways_of(drawing["stages"], ["query_ids", "document_ids"])
    assert ways.towers is not None and not ways.rest
    titles = [[drawing["stages"][place]["title"] for place in tower] for tower in ways.towers]
    assert titles == [["Embeddings", "Encoder layer"], ["Embeddings", "Position embeddings", "Encoder layers"]]


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


class TimedBlock(nn.Module):
    """Two convolutions, between which embeddings are added."""

    def __init__(self, before, after, *widths):
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.adds = nn.ModuleList([nn.Linear(width, after) for width in widths])

    def forward(self, x, *embeddings):
        x = self.first(x)
        for add, embedding in zip(self.adds, embeddings, strict=True):
            x = x + add(embedding)[:, :, None, None]
        return self.second(x.relu())


class Diffusion(nn.Module):
    """A U-Net whose blocks all read the embedding of a time step, and that of a context where there is one."""

    def __init__(self, depth, context=False):
        super().__init__()
        sizes, widths = [8 * (n + 1) for n in range(depth)], [12, 10] if context else [12]
        self.time_mlp = nn.Sequential(nn.Linear(16, 12), nn.SiLU(), nn.Linear(12, 12))
        self.context_encoder = nn.Linear(20, 10) if context else None
        self.conv_in = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.ModuleList([TimedBlock(sizes[max(n - 1, 0)], sizes[n], *widths) for n in range(depth)])
        self.middle = TimedBlock(sizes[-1], sizes[-1], *widths)
        backwards = reversed(range(depth))
        self.up = nn.ModuleList([TimedBlock(2 * sizes[n], sizes[max(n - 1, 0)], *widths) for n in backwards])
        self.conv_out = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, sample, timestep, context=None):
        added = [self.time_mlp(timestep[:, None] * torch.arange(16))]
        added += [self.context_encoder(context)] if context is not None else []
        x, kept = self.conv_in(sample), []
        for block in self.down:
            x = block(x, *added)
            kept.append(x)
        x = self.middle(x, *added)
        for block in self.up:
            x = block(torch.cat([x, kept.pop()], 1), *added)
        return self.conv_out(x)


class Codec(nn.Module):
    """Each quantizer reads what those before it have left, and the decoder the sum of all."""

    def __init__(self, number):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 16, 4, 4), nn.ReLU(), nn.Conv1d(16, 16, 3, padding=1))
        self.quantizers = nn.ModuleList(
            [nn.Linear(16, 16) if n % 2 else nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16)) for n in range(number)]
        )
        self.decoder = nn.ConvTranspose1d(16, 1, 4, 4)

    def forward(self, input_values, scale=None):
        left = self.encoder(input_values[:, None]).transpose(1, 2)
        total = 0
        for quantizer in self.quantizers:
            taken = quantizer(left)
            left, total = left - taken, total + taken
        audio = self.decoder(total.transpose(1, 2))
        return audio if scale is None else audio * scale[:, None, None]


class PlacedTower(Tower):
    def __init__(self, depth, words):
        super().__init__(32, depth, None)
        self.embeddings = nn.Embedding(words, 32)
        self.position_embeddings = nn.Embedding(9, 32)

    def forward(self, ids):
        x = self.embeddings(ids) + self.position_embeddings(torch.arange(ids.shape[1])[None])
        for layer in self.layers:
            x = layer(x)
        return x.mean(1)


class Placed(nn.Module):
    """Two towers whose positions follow from no input."""

    def __init__(self):
        super().__init__()
        self.query, self.document = PlacedTower(1, 50), PlacedTower(2, 60)

    def forward(self, query_ids, document_ids):
        return self.query(query_ids) @ self.document(document_ids).T


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Tower(32, 2, nn.Conv2d(3, 32, 8, 8))
        self.box_head, self.class_head = nn.Linear(32, 4), nn.Linear(32, 3)

    def forward(self, x):
        x = self.body(x)
        return self.box_head(x), self.class_head(x)


SAMPLES = {"sample": torch.zeros(2, 3, 8, 8), "timestep": torch.ones(2)}
WITH_WAYS = {
    "unet": (UNet, (), PICTURES),
    "diffusion of 2": (Diffusion, (2,), SAMPLES),
    "diffusion of 4": (Diffusion, (4,), SAMPLES),
    "diffusion of 6": (Diffusion, (6, True), SAMPLES | {"context": torch.zeros(2, 5, 20).mean(1)}),
    "codec of 2": (Codec, (2,), {"input_values": torch.ones(2, 64)}),
    "codec of 4": (Codec, (4,), {"input_values": torch.ones(2, 64)}),
    "codec of 6": (Codec, (6,), {"input_values": torch.ones(2, 64), "scale": torch.ones(2)}),
    "two heads": (TwoHeads, (), {"x": PICTURES["pixel_values"]}),
    "towers": (TwoTowers, (True,), BOTH),
    "towers with positions": (Placed, (), {name: torch.ones(2, 7).long() for name in ("query_ids", "document_ids")}),
}


@pytest.fixture(scope="module", params=WITH_WAYS)
def with_ways(request):
    model, arguments, inputs = WITH_WAYS[request.param]
    return drawing_of(model(*arguments), **inputs)


def texts_by_box(drawing):
    """Title of a box -> the texts in it and below it."""
    found, title = {}, None
    for shape in layout(drawing)[1]:
        if isinstance(shape, Text):
            title = shape.text.split(" \u00d7")[0] if shape.bold else title
            found.setdefault(title, []).append(shape.text)
    return found


def test_whatever_a_box_reads_is_shown(with_ways):
    parts = with_ways["stages"]
    ways = ways_of(parts, list(with_ways["inputs"]))
    lines = {(way.source, target) for way in ways.lines for target in way.targets}
    texts = texts_by_box(with_ways)
    for place, stage in enumerate(parts):
        for source in stage["reads"]:
            title = parts[source]["title"]
            if (source, place) not in lines | ways.arrows:
                assert title in ways.named[place]
                short = {**dict.fromkeys(texts), stage["title"].removesuffix(" layers"): None}
                assert any(f"+ {title}" in text for name in short for text in texts.get(name, []))
        assert set(stage["takes"]) <= {*ways.above.get(place, []), *ways.named.get(place, [])}
        heard = picture.sentence(with_ways)
        assert all(title in heard for title in read_by(parts, ways, place))
    # each line is drawn with a head for each box, and an arrow is drawn only where something flows
    shapes = [shape for shape in layout(with_ways)[1] if isinstance(shape, Line)]
    heads = [line for line in shapes if len(line.points) == 3 and line.points[0][0] > line.points[1][0] > 380]
    assert len(heads) == len(lines)
    assert all(source in parts[place]["reads"] for source, place in ways.arrows)


def test_a_time_step_is_named_in_every_block_and_skips_are_lines():
    drawing = drawing_of(Diffusion(4), **SAMPLES)
    parts = drawing["stages"]
    ways = ways_of(parts, ["sample", "timestep"])
    titles = [stage["title"] for stage in parts]
    time = titles.index("Time mlp")
    blocks = {place for place, stage in enumerate(parts) if stage["class"] == "TimedBlock"}
    assert {place for place, names in ways.named.items() if names == ["Time mlp"]} == blocks and len(blocks) == 8
    skips = {(titles[way.source], titles[target]) for way in ways.lines for target in way.targets}
    assert {("Down, layer 3", "Up, layer 0"), ("Down, layer 2", "Up, layer 1")} <= skips and len(skips) == 4
    # lines that overlap lie beside each other
    assert len({way.lane for way in ways.lines}) == 4
    assert time not in ways.leads and ways.above == {time: ["timestep"], titles.index("Conv in"): ["sample"]}


def test_what_has_no_room_is_counted():
    parts = [
        {"title": f"A longer part {n}", "parameters": 1, "reads": [n - 1] if n else [], "takes": []} for n in range(20)
    ]
    for n in range(6, 20):  # each source has more boxes than a line leads to
        parts[n]["reads"] = list(range(n))
    parts[0]["takes"] = [f"input_{n}" for n in range(9)]
    drawing = {"class": "X", "parameters": 20, "inputs": {f"input_{n}": ["batch"] for n in range(9)}, "stages": parts}
    texts = [shape.text for shape in layout(drawing)[1] if isinstance(shape, Text)]
    assert "and 5 more" in texts
    ways = ways_of(parts, list(drawing["inputs"]))
    boxes = texts_by_box(drawing)
    cut = 0
    for place, names in ways.named.items():
        text = " ".join(text for text in boxes[f"A longer part {place}"] if re.match(r"\+ |and \d+ more$", text))
        more = re.search(r"and (\d+) more$", text)
        cut += more is not None
        assert len(names) == text.count("+ ") + (int(more[1]) if more else 0)
    assert cut and len(ways.named) > cut


def test_a_pass_that_was_too_long_has_plain_arrows(monkeypatch):
    monkeypatch.setattr(flow, "MOST", 5)
    drawing = drawing_of(Tower(32, 2, nn.Conv2d(3, 32, 8, 8)), x=PICTURES["pixel_values"])
    assert {stage["reads"] for stage in drawing["stages"]} == {None}
    ways = ways_of(drawing["stages"], ["x"])
    assert ways.above == {0: ["x"]} and ways.arrows == {(0, 1)} and not ways.lines


def test_the_text_says_what_the_picture_says():
    """Kinds of attention, notes and inputs that nothing reads."""
    stage = {"title": "Layers", "parameters": 1, "depth": 2, "note": "4 heads", "attention": [0, 0]}
    for kind in ({"label": "attention", "rule": None}, {"label": "window of 32", "rule": "window", "numbers": {}}):
        drawing = {"class": "X", "parameters": 1, "stages": [{**stage, "kinds": [kind]}]}
        texts = " ".join(shape.text for shape in layout(drawing)[1] if isinstance(shape, Text)).lower()
        assert kind["label"] in texts and kind["label"] in picture.sentence(drawing)
        assert "4 heads" in texts and "4 heads" in picture.sentence(drawing)
    unread = drawing_of(Codec(2), input_values=torch.ones(2, 64), scale=torch.ones(2))
    assert unread["inputs"].keys() == {"input_values", "scale"}
    texts = [shape.text for shape in layout(unread)[1] if isinstance(shape, Text)]
    assert texts[texts.index("Read by none of these parts:") + 1] == "scale"
    assert "none of these parts: scale" in picture.sentence(unread)


def test_ways_of_strangers_are_not_trusted():
    stage = {"title": "A", "parameters": 1}
    for reads in ([10**9, -1, "x", None, 0], "0", {"a": 1}, [[0]], None):
        drawing = {"class": "X", "parameters": 2, "stages": [stage, {**stage, "reads": reads, "takes": reads}] * 5}
        assert picture.svg(drawing).endswith("</svg>\n")
