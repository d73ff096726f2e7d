"""probe.json: its words, what they make, what is refused, and the one that is offered where nothing is known."""

import json
import re

import pytest
import torch
from torch import nn
from transformers import BertTokenizer, PretrainedConfig, PreTrainedModel, ViTImageProcessor

from pinfold.card import snippet
from pinfold.fenced.probe import declared, probes, suggest


def own(tmp_path, **words):
    (tmp_path / "probe.json").write_text(json.dumps(words))
    return declared.own_probe(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"shape": [2, 3], "values": "ramp", "below": 4}, [[0, 1, 2], [3, 0, 1]]),
        ({"shape": [2, 3], "values": "ramp", "modulo": 4}, [[0, 1, 2], [3, 0, 1]]),
        ({"shape": [2, 3], "values": "ramp", "from": 5, "below": 7}, [[5, 6, 5], [6, 5, 6]]),
        ({"shape": [2, 3], "values": "ramp", "per_row": True}, [[0, 1, 2], [0, 1, 2]]),
        ({"shape": [1, 2], "values": "ones"}, [[1, 1]]),
        ({"shape": [1, 2], "values": "ones", "dtype": "bool"}, [[True, True]]),
        ({"values": [[0, 1], [1, 2]]}, [[0, 1], [1, 2]]),
        ({"values": [0.5, 1.5]}, [0.5, 1.5]),
        ({"values": 3, "dtype": "int64"}, 3),
    ],
)
def test_words_make_tensors_and_the_card_writes_the_same(tmp_path, words, expected):
    made = declared.made(own(tmp_path, x=words)["x"])
    assert made.tolist() == expected
    written = eval(snippet._of_words(words), {"torch": torch})
    assert torch.equal(written, made) and written.dtype == made.dtype


@pytest.mark.parametrize("literal", [3, 0.5, True, None, "mean"])
def test_a_single_value_is_passed_as_it_is(tmp_path, literal):
    words = own(tmp_path, x={"values": literal})["x"]
    assert declared.made(words) is literal or declared.made(words) == literal
    assert eval(snippet._of_words(words), {}) == literal


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "needs one of shape with values"),
        (3, "needs an object with shape"),
        ({"shape": [2], "size": 3}, "'size' cannot be combined with values"),
        ({"values": [[1], [1, 2]]}, "lists in values differ in length"),
        ({"values": ["a"]}, "lists in values differ in length, or contain something other"),
        ({"values": "ramp"}, "needs a shape"),
        ({"shape": [2], "values": "ramp", "from": 9, "below": 4}, "from must be an integer less than below"),
        ({"shape": [2], "values": "ramp", "below": 0}, "below must be a positive integer"),
        ({"shape": [2], "values": "wave", "below": 4}, "are only for values of a ramp"),
        ({"shape": [2], "dtype": "float8"}, "dtype must be one of float32, int64, bool"),
        ({"text": "one"}, "text must be a list of texts"),
        ({"text": ["a"], "pictures": 1}, "needs one of"),
        ({"pictures": 0}, "pictures must be a number from 1 to 64"),
        ({"pictures": 1, "size": [64]}, "size must be [height, width]"),
        ({"tones": 1, "seconds": -1}, "seconds must be a number up to 60"),
        ({"shape": [2], "batch": 1}, "batch must be true or false"),
        ({"values": float("nan")}, "NaN is not a number in JSON"),
        ({"values": "mean", "dtype": "int64"}, "dtype is only for numbers"),
    ],
)
def test_what_is_not_allowed_is_named_with_what_is(tmp_path, words, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        own(tmp_path, x=words)
    assert "\n" not in str(caught.value) and "probe.json" in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"kept": {"kept": "x", "file": "/etc/passwd"}}', "[" * 5000])
def test_other_files_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "probe.json").write_text(text)
    with pytest.raises(ValueError, match=r"probe\.json: ") as caught:
        declared.own_probe(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_texts_and_pictures_go_through_the_checkpoints_files(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    words = own(tmp_path, input_ids={"text": ["a b", "a"]}, pixel_values={"pictures": 2, "size": [20, 30]})
    takes = ["input_ids", "attention_mask", "pixel_values"]
    kept = declared.through_files(words, str(tmp_path), takes, str(tmp_path / "inputs.safetensors"))
    inputs = {name: declared.made(each) for name, each in kept.items()}
    assert sorted(inputs) == sorted(takes)  # no token_type_ids, which forward does not take
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert tuple(inputs["pixel_values"].shape) == (2, 3, 16, 16)
    assert not torch.equal(*inputs["pixel_values"])
    with pytest.raises(ValueError, match=r"probe\.json: tones: "):
        declared.through_files({"x": {"tones": 1}}, str(tmp_path), ["x"], str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match="needs the files of a checkpoint"):
        probes.probe_inputs(None, words)


class AnyConfig(PretrainedConfig):
    model_type = "any-of-these"


def model(layers, forward, **config):
    def __init__(self, config):
        PreTrainedModel.__init__(self, config)
        for name, layer in layers.items():
            setattr(self, name, layer)

    body = {"config_class": AnyConfig, "forward": forward, "__init__": __init__}
    return type("AnyModel", (PreTrainedModel,), body)(AnyConfig(**config))


def table(self, features, labels=None):
    return {"logits": self.first(features)}


def graph(self, x, edge_index):
    return {"nodes": self.first(x).index_add(0, edge_index[0], self.first(x)[edge_index[1]])}


def denoiser(self, sample, timesteps: torch.LongTensor):
    return {"sample": self.first(sample) + self.times(timesteps)[:, :, None, None]}


def towers(self, image, text_ids):
    return {"scores": self.image_encoder(image).mean((2, 3)) @ self.text_encoder(text_ids).mean(1).T}


def rewarded(self, input_ids_chosen, attention_mask_chosen):
    return {"rewards": (self.first(input_ids_chosen) * attention_mask_chosen[..., None]).sum((1, 2))}


def described(needs):
    """A model that sees: it wants so many places for a picture, which its configuration does not say."""

    def forward(self, input_ids=None, pixel_values=None, attention_mask=None):
        places = input_ids == 5
        if (places.sum(-1) != needs).any():
            raise ValueError("places and features do not match")
        return {"logits": self.first(input_ids) + pixel_values.mean()}

    sizes = {"image_size": 16, "patch_size": 4, "num_channels": 3, "vocab_size": 90, "image_token_id": 5}
    return model({"first": nn.Embedding(90, 4)}, forward, **sizes)


def points(self, points):
    return {"codes": self.first(points).flatten(1).unflatten(1, (points.shape[1], -1)).max(1).values}


def tagger(self, word_ids, char_ids):
    return {"logits": self.word(word_ids) + self.char(char_ids).amax(2)}  # letters are a third axis


def spelled(self, features, char_ids):
    return {"logits": self.first(features) + self.char(char_ids).mean((1, 2, 3))[:, None]}


def encoded(self, features):
    """Eight numbers are made of each before the first layer with weights reads them."""
    return {"logits": self.first(torch.cat([features * k for k in range(8)], -1).sin())}


def clips(self, pixel_values):
    """Frames before channels, as transformers' models of video have them."""
    assert pixel_values.shape[1] == 8
    return {"logits": self.first(pixel_values.transpose(1, 2)).flatten(2).mean(-1)}


def volumes(self, clip):
    assert clip.shape[2] == 6
    return {"logits": self.first(clip).flatten(2).mean(-1)}


def channels_last(self, scan):
    return {"logits": self.first(scan.movedim(-1, 1)).flatten(2).mean(-1)}


def frame_by_frame(self, clip):
    assert clip.shape[1] == 5
    return {"logits": self.first(clip.flatten(0, 1)).unflatten(0, clip.shape[:2]).mean(1).flatten(2).mean(-1)}


class Columns(nn.Module):
    """A number and a vector for each column of a table, as tabular transformers begin."""

    def __init__(self, columns):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(columns, 4))
        self.register_buffer("mean", torch.zeros(columns))

    def forward(self, x):
        return (x - self.mean)[..., None] * self.scale


def by_column(self, x_num):
    return {"logits": self.first(x_num).sum(-1)}


@pytest.mark.parametrize(
    "made",
    [
        lambda: model({"first": Columns(3)}, by_column, numerical=["size", "age", "floor"], categorical={"a": 2}),
        lambda: model({"first": Columns(9)}, by_column, classes=["a", "b"]),
        lambda: model({"first": Columns(7), "c": nn.Embedding(5, 4)}, by_column),
        lambda: model({"first": nn.Linear(56, 3)}, encoded, num_features=7),
        lambda: model({"first": nn.Linear(24, 3)}, encoded, n_features=3, max_position_embeddings=9),
        lambda: model({"first": nn.Linear(7, 3)}, table, input_dim=5),  # the field is of something else
        lambda: model({"word": nn.Embedding(50, 4), "char": nn.Embedding(30, 4)}, tagger),
        lambda: model({"first": nn.Linear(7, 3), "char": nn.Embedding(30, 4)}, spelled),
        lambda: model({"first": nn.Linear(7, 3)}, table),
        lambda: model({"first": nn.Linear(7, 3)}, table, max_position_embeddings=9),
        lambda: model({"first": nn.Linear(5, 3)}, graph),
        lambda: model({"first": nn.Conv2d(1, 4, 3), "times": nn.Embedding(100, 4)}, denoiser, num_train_timesteps=100),
        lambda: model({"image_encoder": nn.Conv2d(3, 4, 4, 4), "text_encoder": nn.Embedding(50, 4)}, towers),
        lambda: model({"first": nn.Linear(3, 8)}, points),
        lambda: model({"first": nn.Embedding(50, 4)}, rewarded),
        lambda: described(17),
        lambda: described(4),
        lambda: described(32),
        lambda: model({"first": nn.Conv3d(3, 4, 3)}, lambda self, clip: {"o": self.first(clip)}),
        lambda: model({"first": nn.Conv3d(3, 4, (2, 8, 8), (2, 8, 8))}, clips, num_frames=8, image_size=32),
        lambda: model({"first": nn.Conv3d(3, 4, (2, 8, 8), (2, 8, 8))}, volumes, n_frames=6, image_size=32),
        lambda: model({"first": nn.Conv3d(1, 4, 3)}, channels_last),
        lambda: model({"first": nn.Conv2d(3, 4, 4, 4)}, frame_by_frame, num_frames=5, image_size=16),
        lambda: model({"first": nn.LSTM(6, 4, batch_first=True)}, lambda self, rows: {"o": self.first(rows)[0]}),
    ],
)
def test_the_probe_that_is_offered_is_one_that_forward_takes(tmp_path, made):
    asked = made()
    with pytest.raises(suggest.ProbeError) as caught:
        probes.run_probes(asked, {})
    message = str(caught.value)
    offered = message.split("forward takes this one: ")[1]
    (tmp_path / "probe.json").write_text(offered)
    outputs, refused = probes.run_probes(asked, declared.own_probe(str(tmp_path)))
    assert outputs and not refused and "\n" not in message


def test_a_width_that_a_field_says_comes_before_that_of_a_layer():
    asked = model({"first": nn.Linear(56, 3)}, encoded, num_features=7)
    assert json.loads(suggest.ready(asked).own)["features"]["shape"] == [2, 7]


def test_one_that_was_not_seen_to_work_is_not_called_so():
    def forward(self, features):
        raise RuntimeError("not for these")

    with pytest.raises(suggest.ProbeError, match=r"correct the shapes in this one: \{") as caught:
        probes.run_probes(model({"first": nn.Linear(7, 3)}, forward), {"features": {"shape": [2, 4]}})
    assert "RuntimeError: not for these; the probe was features float32 [2, 4]" in str(caught.value)


def test_two_arguments_cannot_both_be_pictures(tmp_path):
    with pytest.raises(ValueError, match="left and right both have pictures; only one argument can"):
        own(tmp_path, left={"pictures": 2}, right={"pictures": 2})


@pytest.mark.parametrize(
    "words",
    [
        {"a-b": {"shape": [2]}},
        {"x": {"values": "a'); import os"}},
        {"x": {"values": [1] * 500}},
        {"x": {"text": ["a"]}},
    ],
)
def test_what_does_not_belong_into_a_program_gives_no_example(words):
    assert snippet._of_probe(words) == []


class Refuses(PreTrainedModel):
    """Takes numbers and tokens, and nothing by default."""

    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.categories = nn.Embedding(9, 4)
        self.post_init()

    def forward(self, x_num, x_cat=None, pixel_values=None):
        if x_num.shape[-1] != 3:
            raise ValueError("three numbers")
        return self.categories(x_cat) + x_num.sum()


def test_what_is_offered_keeps_the_arguments_that_were_used_and_takes_numbers_for_numbers():
    model = Refuses(PretrainedConfig())
    error = suggest.failed(model, ValueError("x"), {"x_num": torch.zeros(2, 2), "x_cat": torch.ones(2, 2).long()})
    offered = json.loads(re.search(r"this one: (\{.*\})$", str(error))[1])
    assert set(offered) == {"x_num", "x_cat"}
    assert offered["x_num"]["values"] == "wave" and offered["x_cat"]["values"] == "ramp"
    assert set(json.loads(suggest.ready(model).own)) == {"x_num"}


def test_inputs_that_no_probe_has_are_named(tmp_path):
    model = Refuses(PretrainedConfig())
    words = {"x_num": {"shape": [2, 3]}, "x_cat": {"shape": [2, 3], "values": "ramp", "below": 9}}
    assert probes.not_probed(model, own(tmp_path, **words)) == ["pixel_values"]
    assert probes.not_probed(model, own(tmp_path, **words, pixel_values={"shape": [2, 3, 4, 4]})) == []


class Moves(PreTrainedModel):
    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.first = nn.Conv3d(config.num_channels, 2, 2)

    def forward(self, pixel_values):
        if self.config.moves:
            assert pixel_values.shape[1] == self.config.num_frames
            pixel_values = pixel_values.transpose(1, 2)
        return self.first(pixel_values).flatten(1).sum(1)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"moves": True, "num_frames": 4}, [2, 4, 3, 16, 16]),
        ({"moves": False, "num_frames": 4}, [2, 3, 4, 16, 16]),
        ({"moves": False}, [2, 3, 8, 16, 16]),
    ],
)
def test_clips_are_offered_in_the_order_that_forward_takes(fields, shape):
    model = Moves(PretrainedConfig(num_channels=3, image_size=16, **fields))
    offer = suggest.ready(model)
    assert offer.works and json.loads(offer.own)["pixel_values"]["shape"] == shape
