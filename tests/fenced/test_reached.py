"""The first layer that an argument of forward reaches says its shape, where the argument's name says nothing."""

import json

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from pinfold.fenced.probe import probes, reached, suggest


class OfAnyKind(PretrainedConfig):
    model_type = "of-any-kind"


def model(forward, settings=None, **layers):
    """A model whose first layer with weights, in the order of its attributes, is an embedding of something else."""

    def __init__(self, config):
        PreTrainedModel.__init__(self, config)
        for name, layer in {"classes": nn.Embedding(9, 4), **layers}.items():
            setattr(self, name, layer)

    body = {"config_class": OfAnyKind, "forward": forward, "__init__": __init__}
    return type("AnyKind", (PreTrainedModel,), body)(OfAnyKind(**settings or {}))


def denoiser(self, sample, timestep):
    times = self.classes(timestep)[:, :, None, None]
    return {"sample": self.stem((sample - 0.5) / 0.5) + times}


def strict(self, x, timesteps):
    assert x.shape[1] == self.config.in_channels and x.shape[2] % 8 == 0
    return {"sample": self.stem(x)}


def first(self, inputs):
    return {"o": self.stem(inputs)}


def series(self, signal):
    return {"o": self.stem(signal[:, None])}


def steps(self, data):
    return {"o": self.stem(data.transpose(1, 2)).mean(-1)}


def patched(self, y):
    return {"o": self.stem(y.unfold(-1, 16, 16)).mean(1)}


def sound(self, signal):
    window = torch.hann_window(400)
    return {"o": self.stem(torch.stft(signal, 400, window=window, return_complex=True).abs()[:, None])}


def table(self, x):
    return {"o": self.head(self.stem((x - x.mean(0)) / 2))}


def points(self, data):
    rows, many, width = data.shape
    return {"o": self.stem(data.reshape(rows * many, width)).reshape(rows, many, -1).amax(1)}


def by_hand(self, x):
    return {"o": nn.functional.linear(x, self.stem.weight)}


def multiplied(self, x):
    return {"o": x @ self.stem.weight.T}


def edges(self, nodes, pairs):
    source, target = pairs
    states = self.stem(nodes)
    return {"o": torch.zeros_like(states).index_add(0, target, states[source])}


def neighbours(self, nodes, adjacency):
    return {"o": self.head(adjacency @ self.stem(nodes))}


def placed(self, y):
    start = self.start.expand(len(y), 1, 4)
    return {"o": torch.cat([start, self.stem(y)], 1) + self.places}


def of_mesh(self, inputs):
    return {"o": self.stem(torch.stack([self.mesh @ each for each in inputs]))}


def volume(self, data):
    return {"o": self.head(self.stem(data.float()))}


def channels_last(self, inputs):
    rows, height, width, _ = inputs.shape
    return {"o": self.stem(inputs.permute(0, 3, 1, 2)).reshape(rows, -1, (height - 2) * (width - 2))}


def frames(self, y):
    rows, many, channels, height, width = y.shape
    return {"o": self.stem(y.reshape(rows * many, channels, height, width)).mean((2, 3)).reshape(rows, many, -1)}


def quantized(self, y):
    return {"o": self.classes(torch.bucketize(y, torch.linspace(-1, 1, 8)))}


def side_by_side(self, sample, condition):
    return {"o": self.stem(torch.cat([sample, condition], 1))}


def doubled(self, x):
    return {"o": self.stem(torch.cat([x.sin(), x.cos()], -1))}


def flat(self, x):
    return {"o": self.stem(x.flatten(1))}


def words(self, x):
    return {"o": self.classes(x)}


def conv(*sizes):
    return {"stem": {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[sizes[0]](*sizes[1:])}


DEEP = nn.Conv3d(4, 4, 3, stride=2)
CASES = {
    "picture": (denoiser, {"sample_size": 24}, conv(2, 3, 4, 3, 1, 1), {"sample": [2, 3, 24, 24], "timestep": [2]}),
    "picture that is checked": (strict, {"in_channels": 5}, conv(2, 5, 4, 3), {"x": [2, 5, 32, 32], "timesteps": [2]}),
    "series": (series, {}, conv(1, 1, 4, 5), {"signal": [2, 96]}),
    "series of a length": (series, {"seq_len": 50}, conv(1, 1, 4, 5), {"signal": [2, 50]}),
    "series of several channels": (first, {"window": 40}, conv(1, 6, 4, 5), {"inputs": [2, 6, 40]}),
    "steps before channels": (steps, {}, conv(1, 6, 4, 5), {"data": [2, 64, 6]}),
    "series in patches": (patched, {"context_length": 64}, {"stem": nn.Linear(16, 4)}, {"y": [2, 64]}),
    "sound": (sound, {}, conv(2, 1, 4, 3), {"signal": [2, 4000]}),
    "table": (table, {}, {"stem": nn.Linear(11, 4), "head": nn.BatchNorm1d(4)}, {"x": [2, 11]}),
    "table behind a norm": (table, {}, {"stem": nn.BatchNorm1d(5), "head": nn.Linear(5, 2)}, {"x": [2, 5]}),
    "points": (points, {}, {"stem": nn.Linear(3, 4)}, {"data": [2, 12, 3]}),
    "steps": (first, {"max_position_embeddings": 8}, {"stem": nn.Linear(3, 4)}, {"inputs": [2, 12, 3]}),
    "steps that return": (lambda s, x: {"o": s.stem(x)[0]}, {}, {"stem": nn.GRU(6, 4)}, {"x": [2, 12, 6]}),
    "a function with the weight": (by_hand, {}, {"stem": nn.Linear(13, 4)}, {"x": [2, 13]}),
    "a product with the weight": (multiplied, {}, {"stem": nn.Linear(13, 4)}, {"x": [2, 13]}),
    "edges": (edges, {}, {"stem": nn.Linear(5, 4)}, {"nodes": [16, 5], "pairs": [2, 8]}),
    "neighbours": (
        neighbours, {}, {"stem": nn.Linear(5, 4), "head": nn.Linear(4, 2)},
        {"nodes": [16, 5], "adjacency": [16, 16]},
    ),
    "as many steps as places": (
        placed, {},
        {"stem": nn.Linear(3, 4), "start": nn.Parameter(torch.ones(1, 1, 4)),
         "places": nn.Parameter(torch.ones(1, 26, 4))},
        {"y": [2, 25, 3]},
    ),
    "numbers of a sparse mesh": (
        of_mesh, {}, {"stem": nn.Linear(3, 4), "mesh": nn.Buffer(torch.eye(30).to_sparse())}, {"inputs": [2, 30, 3]}
    ),
    "volume": (volume, {}, {**conv(3, 1, 4, 3), "head": DEEP}, {"data": [2, 1, 8, 32, 32]}),
    "volume of a size": (
        volume, {"image_size": 20}, {**conv(3, 2, 4, 9), "head": nn.Identity()}, {"data": [2, 2, 9, 20, 20]}
    ),
    "channels last": (channels_last, {}, conv(2, 5, 4, 3), {"inputs": [2, 32, 32, 5]}),
    "frames": (frames, {"num_frames": 3}, conv(2, 5, 4, 3), {"y": [2, 3, 5, 32, 32]}),
    "numbers that become words": (quantized, {"context_length": 30}, {}, {"y": [2, 30]}),
    "two pictures": (side_by_side, {}, conv(2, 6, 4, 3), {"sample": [2, 3, 32, 32], "condition": [2, 3, 32, 32]}),
    "a picture and its mask": (
        lambda s, sample, mask: side_by_side(s, sample, mask), {}, conv(2, 9, 4, 3),
        {"sample": [2, 8, 32, 32], "mask": [2, 1, 32, 32]},
    ),
    "twice as wide": (doubled, {}, {"stem": nn.Linear(14, 4)}, {"x": [2, 7]}),
    "a picture in a row": (flat, {"image_size": 8}, {"stem": nn.Linear(192, 4)}, {"x": [2, 3, 8, 8]}),
    "rows": (flat, {}, {"stem": nn.Linear(192, 4)}, {"x": [2, 192]}),
    "words": (words, {}, {}, {"x": [2, 12]}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_offered_has_the_shape_that_the_layer_says_and_runs(name):
    forward, settings, layers, shapes = CASES[name]
    asked = model(forward, settings, **layers)
    with pytest.raises(suggest.ProbeError, match=r"beside card\.md; forward takes this one: \{") as caught:
        probes.run_probes(asked, {})
    offered = json.loads(str(caught.value).partition("this one: ")[2])
    assert {argument: words["shape"] for argument, words in offered.items()} == shapes
    integers = {argument for argument, words in offered.items() if words["values"] == "ramp"}
    assert integers == {"timestep", "timesteps", "pairs"} & set(offered) or name == "words"
    outputs, refused = probes.run_probes(asked, offered)
    assert outputs and not refused


@pytest.mark.parametrize("settings", [{"in_channels": 3}, {"num_channels": 3, "patch_size": 4}, {"in_chans": 3}])
def test_a_picture_whose_size_nothing_says_is_asked_for(settings):
    with pytest.raises(suggest.ProbeError, match=r'forward takes this one: \{"inputs": \{"shape": \[2, 3, 32, 32\]'):
        probes.run_probes(model(first, settings, **conv(2, 3, 4, 3)), {})


def test_a_picture_whose_size_is_declared_is_not_asked_for():
    outputs, refused = probes.run_probes(model(first, {"in_channels": 3, "image_size": 12}, **conv(2, 3, 4, 3)), {})
    assert outputs["pair/o"].shape == (2, 4, 10, 10) and not refused


def test_words_are_offered_for_a_table_of_words_alone():
    assert json.loads(suggest.ready(model(words)).own) == {"x": {"shape": [2, 12], "values": "ramp", "below": 9}}


def test_the_line_names_the_layer():
    with pytest.raises(suggest.ProbeError) as caught:
        probes.run_probes(model(denoiser, **conv(2, 3, 4, 3, 1, 1)), {})
    line = str(caught.value)
    assert (
        "; sample goes into stem (Conv2d of 3 channels), timestep goes into classes (Embedding of 9 words); " in line
    )
    assert "\n" not in line


def refuses(self, sample, timestep):
    self.stem(sample)
    raise RuntimeError("only with a schedule")


def never(self, sample):
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("forward", "layers", "offered"),
    [
        (refuses, conv(2, 3, 4, 3), {"sample": [2, 3, 32, 32], "timestep": [2]}),
        (refuses, conv(1, 3, 4, 3), {"sample": [2, 3, 64], "timestep": [2]}),
        (never, {}, {"sample": [2, 12]}),
    ],
)
def test_where_nothing_runs_the_line_says_what_forward_says_and_offers_the_likeliest(forward, layers, offered):
    with pytest.raises(suggest.ProbeError) as caught:
        probes.run_probes(model(forward, **layers), {})
    assert caught.value.offer == {}
    before, _, own = str(caught.value).partition("put probe.json beside card.md; correct the shapes in this one: ")
    assert {name: words["shape"] for name, words in json.loads(own).items()} == offered
    why = "only with a schedule" if forward is refuses else "not today"
    assert f"; to the shapes below it says RuntimeError: {why}; to give" in before


def test_a_large_model_is_followed_to_its_first_layer_and_run_no_further(monkeypatch):
    def forward(self, x):
        self.stem(x)
        raise AssertionError("it went on")

    monkeypatch.setattr(suggest, "MANY", 0)
    asked = model(forward, **conv(2, 3, 4, 3)).train()
    offer = suggest.ready(asked)
    assert json.loads(offer.own)["x"]["shape"] == [2, 3, 32, 32] and not offer.works and not offer.why
    assert asked.training and not any(module._forward_pre_hooks for module in asked.modules())


def test_what_is_followed_is_no_tensor_of_the_model():
    """A state that forward writes into is not taken for the argument."""

    def forward(self, x, state):
        self.seen.add_(1)
        return {"o": self.stem(x)}

    asked = model(forward, **conv(1, 3, 4, 3))
    asked.register_buffer("seen", torch.zeros(1))
    where = reached.arrivals(asked, "state", {"x": torch.ones(2, 3, 9)})
    assert where == [] and reached.arrivals(asked, "x", {"state": 1})[0].layer.width == 3
