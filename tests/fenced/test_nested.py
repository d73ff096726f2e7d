"""Inputs and outputs that are dicts or lists of tensors: declared, offered, run, compared, and shown on the card."""

import dataclasses
import json
import re
import typing

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from pinfold.card import facts, snippet
from pinfold.fenced.cost import measured
from pinfold.fenced.probe import declared, nested, probes, suggest
from pinfold.fenced.values import by_place
from pinfold.fenced.verify import losses

WORD = {"shape": [2], "values": "ramp", "below": 9}


def own(tmp_path, words):
    (tmp_path / "probe.json").write_text(json.dumps(words))
    return declared.own_probe(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ({"user": WORD, "age": {"shape": [2, 3]}}, ["x.user", "x.age"]),
        ([{"shape": [2, 3]}, {"shape": [2, 5]}], ["x.0", "x.1"]),
        ({"left": [WORD, WORD], "right": {"deep": WORD}}, ["x.left.0", "x.left.1", "x.right.deep"]),
        ({"values": WORD}, ["x.values"]),
        ({"shape": {"shape": [2, 3]}, "batch": WORD}, ["x.shape", "x.batch"]),
        ({"text": [WORD], "pictures": {"values": 3}}, ["x.text.0", "x.pictures"]),
    ],
)
def test_objects_and_lists_of_declarations_make_the_same_of_tensors(tmp_path, words, places):
    made = declared.made(own(tmp_path, {"x": words})["x"])
    assert type(made) is type(words)
    assert list(by_place({"x": made})) == places
    lines = snippet._of_probe({"x": words})
    written = eval("{" + "\n".join(lines) + "}", {"torch": torch})
    assert by_place(written).keys() == by_place({"x": made}).keys()
    assert all(a.shape == b.shape for a, b in zip(*(_tensors(each) for each in (written, {"x": made})), strict=True))


def _tensors(inputs):
    return [value for value in by_place(inputs).values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"user": WORD, "batch": False}, "x.batch needs an object with shape"),
        ({"user": {"shape": [0]}, "item": WORD}, "x.user needs a shape of positive integers"),
        ({"user": {"text": ["one"]}}, "x.user: text is only for an argument of forward itself"),
        ([WORD, {"pictures": 1}], "x.1: pictures is only for an argument of forward itself"),
        ({"user": [1, 2]}, "x needs one of shape with values"),
        ([1, 2], "x needs an object with shape"),
        ([], "x needs an object with shape"),
        ({"user": {}}, "x.user needs one of shape"),
        ([[[[[[[[[[WORD]]]]]]]]]], "lies in more than 8 objects and lists"),
        ({"kept": {"kept": "x", "file": "/etc/passwd"}}, "x.kept needs one of shape"),
    ],
)
def test_what_is_wrong_in_an_object_is_named_by_its_place(tmp_path, words, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        own(tmp_path, {"x": words})
    assert "\n" not in str(caught.value)


def test_other_numbers_of_rows_reach_every_tensor():
    words = {"x": {"user": WORD, "deep": [{"shape": [2, 3]}]}, "y": {"shape": [2, 4]}}
    made = {name: declared.made(each) for name, each in declared.resized(words, 5).items()}
    assert [len(each) for each in _tensors(made)] == [5, 5, 5]
    assert not declared.is_resizable({"x": {"user": WORD, "edges": {**WORD, "batch": False}}})


class OfAnyKind(PretrainedConfig):
    model_type = "of-nested"


def model(forward, **layers):
    def __init__(self, config):
        PreTrainedModel.__init__(self, config)
        for name, layer in layers.items():
            setattr(self, name, layer)

    body = {"config_class": OfAnyKind, "forward": forward, "__init__": __init__}
    return type("OfAnyKindModel", (PreTrainedModel,), body)(OfAnyKind())


def columns(self, features, labels=None):
    words = [self.user(features["user"]), self.item(features["item"])]
    return {"logits": self.out(torch.cat([*words, features["dense"]], -1))}


def by_table(self, features: typing.Dict[str, torch.Tensor]):  # noqa: UP006 (as folders write it)
    return {"logits": self.out(torch.cat([self.tables[name](x) for name, x in features.items()], -1))}


def pair(self, pair: tuple[torch.Tensor, torch.Tensor]):
    left, right = pair
    return {"logits": self.out(left) * self.other(right)}


def views(self, images: list[torch.FloatTensor] | None):
    return {"logits": torch.stack([self.conv(each).mean((2, 3)) for each in images]).mean(0)}


def beside_words(self, input_ids, extra):
    hidden = self.words(input_ids).mean(1)
    if "price" in extra:
        hidden = hidden + self.price(extra["price"])
    return {"logits": torch.cat([hidden, self.conv(extra.get("view")).mean((2, 3))], -1)}


def two_dicts(self, query, document):
    return {"scores": self.words(query["ids"]).mean(1) @ self.words(document["ids"]).mean(1).T}


CASES = {
    "columns": (
        lambda: model(columns, user=nn.Embedding(50, 8), item=nn.Embedding(60, 8), out=nn.Linear(19, 2)),
        {"features.user": [2], "features.item": [2], "features.dense": [2, 3]},
    ),
    "keys of a table": (
        lambda: model(
            by_table,
            tables=nn.ModuleDict({"a": nn.Embedding(9, 4), "b": nn.Linear(7, 4)}),
            out=nn.Linear(8, 2),
        ),
        {"features.a": [2, 12], "features.b": [2, 12, 7]},
    ),
    "a pair": (
        lambda: model(pair, out=nn.Linear(6, 3), other=nn.Linear(5, 3)),
        {"pair.0": [2, 6], "pair.1": [2, 5]},
    ),
    "a list": (
        lambda: model(views, conv=nn.Conv2d(3, 4, 3)),
        {"images.0": [2, 3, 32, 32], "images.1": [2, 3, 32, 32]},
    ),
    "beside words": (
        lambda: model(beside_words, words=nn.Embedding(30, 8), price=nn.Linear(5, 8), conv=nn.Conv2d(3, 4, 3)),
        {"input_ids": [2, 12], "extra.price": [2, 5], "extra.view": [2, 3, 32, 32]},
    ),
    "two dicts": (
        lambda: model(two_dicts, words=nn.Embedding(30, 8)),
        {"query.ids": [2, 12], "document.ids": [2, 12]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_dict_or_a_list_is_offered_with_the_keys_that_forward_asks_for(tmp_path, name):
    make, shapes = CASES[name]
    offer = suggest.ready(make())
    assert offer.works, offer
    words = own(tmp_path, json.loads(offer.own))
    assert {place: leaf["shape"] for place, leaf in declared.leaves(words)} == shapes
    assert " of tensors" in offer.known
    outputs, refused = probes.run_probes(make(), words)
    assert outputs and not refused


def test_the_line_names_the_keys():
    message = str(suggest.unknown(CASES["columns"][0](), "features"))
    assert "features is a dict of tensors with the keys user, item, dense" in message
    assert "forward takes this one: {" in message and "\n" not in message


def test_a_dict_that_no_shape_fits_is_called_one_all_the_same():
    def refuses(self, features, labels=None):
        self.user(features["user"])
        raise RuntimeError("not for these")

    offer = suggest.ready(model(refuses, user=nn.Embedding(9, 4)))
    assert not offer.works and "features is a dict of tensors with the keys user" in offer.known
    assert list(json.loads(offer.own)["features"]) == ["user"]


def test_a_large_model_is_read_and_not_run_for_its_keys(monkeypatch):
    monkeypatch.setattr(suggest, "MANY", 10)
    monkeypatch.setattr(nested, "_keys", None)
    offer = suggest.ready(CASES["columns"][0]())
    assert list(json.loads(offer.own)["features"]) == ["user", "item", "dense"] and not offer.works


@dataclasses.dataclass
class Several(ModelOutput):
    loss: torch.Tensor | None = None
    logits: dict | None = None
    hidden: tuple | None = None


def heads(self, features):
    hidden = self.user(features["user"])
    logits = {"click": self.out(hidden).squeeze(-1), "buy": self.out(hidden) * 2}
    return Several(logits=logits, hidden=(hidden, hidden + 1))


def only_dicts(self, features):
    return {"logits": {"click": self.out(self.user(features["user"]))}}


def a_tuple(self, features):
    hidden = self.user(features["user"])
    return {"logits": self.out(hidden)}, (hidden, hidden)


OUTPUTS = {
    heads: {"logits.click": [2], "logits.buy": [2, 1], "hidden.0": [2, 4], "hidden.1": [2, 4]},
    only_dicts: {"logits.click": [2, 1]},
    a_tuple: {"0.logits": [2, 1], "1.0": [2, 4], "1.1": [2, 4]},
}


@pytest.mark.parametrize("forward", OUTPUTS, ids=lambda forward: forward.__name__)
def test_outputs_in_dicts_and_tuples_are_compared_measured_and_printed(forward, capsys):
    made, words = model(forward, user=nn.Embedding(9, 4), out=nn.Linear(4, 1)), {"features": {"user": WORD}}
    outputs, _ = probes.run_probes(made, words)
    assert {name.partition("/")[2]: list(tensor.shape) for name, tensor in outputs.items()} == OUTPUTS[forward]
    request = {"dtype": "float32", "probe": declared.resized(words, 2), "pixels": None}
    sizes = measured._sizes(made, request)
    assert sizes["inputs"] == {"features.user": ["int64", [1]]}
    assert sizes["outputs"].keys() == OUTPUTS[forward].keys()
    assert facts.Sizes.read(sizes).outputs == sizes["outputs"]
    exec("\n".join(snippet.OF_ALL), {"model": made, "inputs": {"features": {"user": torch.arange(2)}}})
    printed = eval(capsys.readouterr().out)
    assert list(by_place(_shapes_as_tensors(printed))) == list(OUTPUTS[forward])


def _shapes_as_tensors(shapes):
    return {
        str(name): _shapes_as_tensors(each) if isinstance(each, dict) else torch.zeros(each)
        for name, each in shapes.items()
    }


def test_a_loss_is_looked_for_beside_a_dict():
    def forward(self, features, labels=None):
        logits = self.out(self.user(features["user"]))
        return {"loss": None if labels is None else nn.functional.cross_entropy(logits, labels), "logits": logits}

    made, words = model(forward, user=nn.Embedding(9, 4), out=nn.Linear(4, 3)), {"features": {"user": WORD}}
    outputs, _ = probes.run_probes(made, words)
    assert losses.loss_and_gradients(made, words, outputs, 10**6)["loss"] > 0
