"""Inputs and labels by formula: what each kind of model is given."""

import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pinfold.fenced.probe import probes
from pinfold.fenced.verify import losses


def model(forward, name="Any", main="input_ids", **config):
    """A module with this forward, that looks like a PreTrainedModel."""
    cls = type(name, (nn.Module,), {"forward": forward, "main_input_name": main})
    made = cls()
    made.config = types.SimpleNamespace(**config)
    made.scale = nn.Parameter(torch.ones(1))
    return made


def text(self, input_ids, attention_mask=None, token_type_ids=None, labels=None):
    return {"logits": self.scale * F.one_hot(input_ids, self.config.vocab_size).float()}


def test_tokens_are_padded_on_the_right_then_absent_then_padded_on_the_left():
    made = probes.probe_inputs(model(text, vocab_size=50, pad_token_id=3, type_vocab_size=2), {})
    assert [tuple(inputs["input_ids"].shape) for inputs in made.values()] == [(2, 12), (1, 7), (3, 9)]
    assert made["pair"]["attention_mask"].tolist()[1] == [1] * 8 + [0] * 4
    assert "attention_mask" not in made["single"] and "token_type_ids" not in made["pair"]
    assert made["triple"]["attention_mask"].tolist()[1:] == [[0] * 2 + [1] * 7, [0] * 4 + [1] * 5]
    assert made["triple"]["token_type_ids"].tolist()[0] == [0] * 4 + [1] * 5
    for probe in ("pair", "triple"):
        assert ((made[probe]["input_ids"] == 3) == (made[probe]["attention_mask"] == 0)).all()


@pytest.mark.parametrize("vocabulary", [1, 2, 3, 50])
@pytest.mark.parametrize("limit", [1, 2, 5, 512])
def test_tokens_lie_in_the_vocabulary_and_fit_the_positions(vocabulary, limit):
    given = {"vocab_size": vocabulary, "max_position_embeddings": limit, "pad_token_id": 0}
    for inputs in probes.probe_inputs(model(text, **given), {}).values():
        assert inputs["input_ids"].min() >= 0 and inputs["input_ids"].max() < vocabulary
        assert 1 <= inputs["input_ids"].shape[1] <= limit
        assert inputs.get("attention_mask", torch.ones(1, 1)).sum(-1).min() >= 1


def test_sequences_to_sequences_get_both_and_an_end_in_each_row():
    def forward(self, input_ids, attention_mask=None, decoder_input_ids=None):
        return {}

    given = {"vocab_size": 9, "is_encoder_decoder": True, "eos_token_id": 2, "pad_token_id": 1}
    for inputs in probes.probe_inputs(model(forward, **given), {}).values():
        assert ((inputs["decoder_input_ids"] == 2).sum(-1) == 1).all()
        assert inputs["decoder_input_ids"].shape == inputs["input_ids"].shape


@pytest.mark.parametrize(
    ("main", "config", "shape"),
    [
        ("pixel_values", {"image_size": 20, "num_channels": 1}, (2, 1, 20, 20)),
        ("pixel_values", {"image_size": (20, 30)}, (2, 3, 20, 30)),
        ("pixel_values", {"image_size": {"height": 8, "width": 9}}, (2, 3, 8, 9)),
        ("pixel_values", {"patch_size": 14}, (2, 3, 56, 56)),
        ("pixel_values", {"vision_config": types.SimpleNamespace(image_size=24, num_channels=3)}, (2, 3, 24, 24)),
        ("pixel_values", {"visual": {"image_size": 24, "in_chans": 1}}, (2, 1, 24, 24)),
        ("input_values", {}, (2, 4000)),
        ("input_values", {"num_mel_bins": 16, "max_length": 24}, (2, 24, 16)),
        ("input_features", {"num_mel_bins": 8, "max_source_positions": 10}, (2, 8, 20)),
    ],
)
def test_pictures_and_sound_have_the_sizes_of_the_configuration(main, config, shape):
    namespace: dict = {}
    exec(f"def forward(self, {main}): return {main} * self.scale", namespace)  # the name is what matters
    made = model(namespace["forward"], main=main, **config)
    inputs = probes.probe_inputs(made, {})
    assert tuple(inputs["pair"][main].shape) == shape and [len(i[main]) for i in inputs.values()] == [2, 1, 3]
    outputs, refused = probes.run_probes(made, {})
    assert not refused and tuple(outputs["pair/output"].shape) == shape


def test_an_unknown_input_says_what_to_write():
    with pytest.raises(ValueError, match=r'beside card\.md; forward takes this one: \{"strange": \{"sha'):
        probes.probe_inputs(model(lambda self, strange: strange, main="strange"), {})


def test_a_folders_own_probe_counts_alone():
    made = probes.probe_inputs(model(text, vocab_size=5), {"x": {"shape": [2, 3], "values": "ramp", "modulo": 4}})
    assert {probe: x["x"].tolist() for probe, x in made.items()} == {"own": [[0, 1, 2], [3, 0, 1]]}


def labels_of(name, logits, **config):
    made = model(text, name=name, **{"vocab_size": 50, **config})
    inputs = probes.probe_inputs(made, {})["pair"]
    return inputs, losses.label_inputs(made, inputs, {"pair/logits": logits}, "pair")


@pytest.mark.parametrize(
    ("logits", "config", "wanted"),
    [
        ((2, 3), {}, torch.tensor([0, 1])),
        ((2, 1), {}, torch.tensor([0.0, 0.5])),
        ((2, 3), {"problem_type": "regression"}, torch.arange(6).reshape(2, 3) / 6),
        ((2, 3), {"problem_type": "multi_label_classification"}, torch.tensor([[0.0, 1, 0], [1, 0, 1]])),
    ],
)
def test_labels_of_sequences_follow_the_problem(logits, config, wanted):
    _, found = labels_of("XForSequenceClassification", torch.zeros(logits), **config)
    assert torch.equal(found["labels"], wanted)


def test_labels_of_tokens_leave_padding_out():
    for classes in (3, 50):  # kinds of tokens; words
        inputs, found = labels_of("X", torch.zeros(2, 12, classes), pad_token_id=0)
        ignored = inputs["attention_mask"] == 0
        assert (found["labels"][ignored] == -100).all() and (found["labels"][~ignored] >= 0).all()
        assert found["labels"].max() < classes
        assert (classes == 50) == torch.equal(found["labels"][~ignored], inputs["input_ids"][~ignored])


def test_several_choices_have_one_axis_more_and_one_label_each():
    inputs, found = labels_of("XForMultipleChoice", torch.zeros(2, 2))
    assert tuple(inputs["input_ids"].shape) == (2, 2, 12) == tuple(inputs["attention_mask"].shape)
    assert found["labels"].tolist() == [0, 1]


def test_a_model_that_returns_nothing_is_not_taken_for_a_right_one():
    with pytest.raises(ValueError, match="forward returns no tensor"):
        probes.run_probes(model(lambda self, input_ids: {}, vocab_size=20), {})


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, input_ids: {"hidden": input_ids}, "forward takes no labels"),
        (lambda self, input_ids, labels=None: {"hidden": input_ids}, "forward returns no logits"),
        (
            lambda self, input_ids, labels=None: {"logits": torch.zeros(2, 3, 4, 5)},
            "no labels are known for logits of",
        ),
        (text, "forward returns no loss for labels"),
    ],
)
def test_a_loss_that_cannot_be_had_is_left_out_in_words(forward, words):
    made = model(forward, vocab_size=20)
    outputs, _ = probes.run_probes(made, {})
    assert words in losses.loss_and_gradients(made, {}, outputs, 10**6)["skipped"]


def classifier(self, input_ids, labels=None, **kwargs):
    logits = self.scale * F.one_hot(input_ids, 20).float().sum(1)
    return {"logits": logits, "loss": F.cross_entropy(logits, labels) if labels is not None else None}


def scaled(self, input_ids, labels=None, num_items_in_batch=None, **kwargs):
    logits = self.scale * F.one_hot(input_ids, 20).float().sum(1)
    reduction = "mean" if num_items_in_batch is None else "sum"
    loss = F.cross_entropy(logits, labels, reduction=reduction) if labels is not None else None
    return {"logits": logits, "loss": loss and loss / (num_items_in_batch or 1)}


def test_a_gradient_that_a_trainer_would_multiply_is_seen():
    made = model(classifier, vocab_size=20)
    outputs, _ = probes.run_probes(made, {})
    assert "gradients are multiplied by gradient_accumulation_steps" in losses.accumulates(made, {}, outputs)
    made.accepts_loss_kwargs = False
    assert losses.accumulates(made, {}, outputs) is None
    assert losses.accumulates(model(scaled, vocab_size=20), {}, outputs) is None


def test_losses_differ_in_words():
    made = model(scaled, vocab_size=20)
    outputs, _ = probes.run_probes(made, {})
    first = losses.loss_and_gradients(made, {}, outputs, 10**6)
    assert losses.compare_losses(first, first) is None and first["none"] == [] and made.scale.grad is None
    with torch.no_grad():
        made.scale += 1
    assert "loss differs from the model in memory: " in losses.compare_losses(
        losses.loss_and_gradients(made, {}, outputs, 9), first
    )
    same_loss = {**first, "gradients": {"scale": ["0" * 64, 2.0]}}
    assert "gradient of scale differs from the model in memory: norm 2 instead of" in losses.compare_losses(
        same_loss, first
    )
    assert "gradients that only one of the loaded model and the model in memory has" in losses.compare_losses(
        {**first, "none": ["scale"], "gradients": {}}, first
    )


def test_a_model_keeps_its_modes():
    made = model(text, vocab_size=20)
    made.frozen = nn.BatchNorm1d(2).eval()
    made.train()
    made.frozen.eval()
    probes.run_probes(made, {})
    assert made.training and not made.frozen.training


def test_numbers_are_compared_as_numbers():
    nan, plus, minus = torch.tensor([float("nan")]), torch.tensor([0.0]), torch.tensor([-0.0])
    assert (
        probes.same_tensor(nan, nan.clone()) and probes.same_tensor(plus, minus) and not probes.same_tensor(nan, plus)
    )
    assert not probes.same_tensor(plus, plus.double()) and not probes.same_tensor(plus, torch.zeros(2))


def sees(self, input_ids=None, pixel_values=None, attention_mask=None):
    places = (input_ids == self.config.image_token_id).sum(-1)
    if (places != self.needs).any() or pixel_values.shape[0] != len(input_ids):
        raise ValueError(f"{places.tolist()} places, and {self.needs} are needed")
    return {"logits": self.scale * input_ids.float() + pixel_values.mean()}


def part(**fields):
    return types.SimpleNamespace(**fields)


@pytest.mark.parametrize(
    ("needs", "config"),
    [
        (16, {"vision_config": part(image_size=16, patch_size=4, num_channels=3)}),
        (16, {"vision_config": part(image_size=16, patch_size=4)}),
        (5, {"vision_config": part(image_size=16, patch_size=4), "mm_tokens_per_image": 5}),
        (8, {"vision_config": part(image_size={"height": 16, "width": 8}, patch_size=4)}),
        (16, {"vision_config": part(image_size=16.0, patch_size=4)}),
        (1, {"vision_config": part(image_size=[16, 16, 3], patch_size="4")}),
        (4, {"vision_config": part(image_size=16, patch_size=4, spatial_merge_size=2)}),
        (
            8,
            {
                "eye_config": part(image_size=[16, 8], patch_size=4, num_channels=1),
                "sub_configs": {"eye_config": None},
            },
        ),
        (4, {"image_size": 8, "patch_size": 4, "num_channels": 3, "max_position_embeddings": 9}),
    ],
)
def test_words_have_a_place_for_each_part_of_a_picture(needs, config):
    made = model(sees, vocab_size=40, pad_token_id=0, image_token_id=7, **config)
    made.needs = needs
    assert probes.not_probed(made, {}) == []
    _, refused = probes.run_probes(made, {})
    assert not refused
    for inputs in probes.probe_inputs(made, {}).values():
        ids, mask = inputs["input_ids"], inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
        assert mask.shape == ids.shape and ((ids == 0) == (mask == 0)).all()
        assert ((ids == 7) & (mask == 1)).sum(-1).tolist() == [needs] * len(ids) and (ids != 7).any(-1).all()


def test_a_picture_for_which_there_is_no_room_stays_out():
    made = model(sees, vocab_size=40, image_token_id=7, image_size=16, patch_size=4, max_position_embeddings=16)
    assert probes.not_probed(made, {}) == ["pixel_values"]
    assert all((inputs["input_ids"] != 7).all() for inputs in probes.probe_inputs(made, {}).values())


def towers(self, input_ids=None, input_values=None, attention_mask=None):
    return {"logits": self.scale * input_ids.float().mean() * input_values.mean()}


def frames(self, input_ids=None, input_features=None):
    return {"logits": self.scale * input_ids.float().mean() * input_features.mean()}


@pytest.mark.parametrize(
    ("forward", "config", "shape"),
    [
        (towers, {}, (2, 4000)),  # a wave
        (frames, {"audio_config": types.SimpleNamespace(num_mel_bins=24, max_source_positions=50)}, (2, 24, 100)),
        (frames, {"feature_size": 16}, (2, 16, 3000)),
        (frames, {}, None),  # of unknown height
        (towers, {"audio_token_id": 7}, None),  # words keep places for it, whose number is unknown
    ],
)
def test_sound_stands_beside_words_where_it_has_a_tower_of_its_own(forward, config, shape):
    parts = {"sub_configs": {"audio_config": None}} if "audio_config" in config else {}
    every = probes.probe_inputs(model(forward, vocab_size=50, **config, **parts), {})
    sound = [inputs.get("input_values", inputs.get("input_features")) for inputs in every.values()]
    assert [each is None for each in sound] == [shape is None] * 3
    assert shape is None or (tuple(sound[0].shape) == shape and [len(each) for each in sound] == [2, 1, 3])


def reads(self, input_ids=None, pixel_values=None, attention_mask=None):
    return {"logits": self.scale * input_ids.float()}


@pytest.mark.parametrize(
    ("config", "of_part"),
    [
        ({"image_token_id": 5, "image_size": 16, "patch_size": 4, "num_channels": 3}, {"max_position_embeddings": 99}),
        ({"image_token_id": 5, "image_size": 16, "patch_size": 4, "num_channels": 3}, {}),
        ({}, {"max_length": 9}),
    ],
)
def test_a_probe_is_the_same_with_what_transformers_4_gives_each_configuration(config, of_part):
    """max_length=20, for generate: with it, a model that sees was refused, its probe having another length in 4.x."""
    shapes = []
    for older in ({}, {"max_length": 20}):
        parts = {"sub_configs": {"text_config": None}, "text_config": types.SimpleNamespace(**{**older, **of_part})}
        every = probes.probe_inputs(model(reads, vocab_size=50, **config, **parts, **older), {})
        shapes.append({probe: tuple(inputs["input_ids"].shape) for probe, inputs in every.items()})
    assert shapes[0] == shapes[1]
    assert shapes[0]["pair"] == (2, 28 if config else 9)
