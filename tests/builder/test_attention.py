"""Masks, reasons, receptive fields and differences of attention: against the model's own functions and loops."""

import base64
import random

import numpy
import pytest
import torch

from pinfold.builder.attention import masks, measure, reach
from pinfold.builder.attention.settings import Settings
from pinfold.common.errors import UserError

KINDS = masks.known_kinds()
NEVER = {"not seen", "padding"}


def drawings(count: int, seed: int = 0, longest: int = 150):
    """Random settings: (configuration, layer, length, pads)."""
    chance = random.Random(seed)
    for _ in range(count):
        layers, length = chance.randint(1, 4), chance.randint(1, longest)
        fields = {
            "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": layers,
            "attention_type": [chance.choice(KINDS) for _ in range(layers)],
            "attention_window": chance.choice([1, 3, 16, 64]), "attention_stride": chance.choice([1, 2, 7, 16, 200]),
            "num_random_keys": chance.choice([1, 3, 64]), "num_global_tokens": chance.choice([0, 0, 1, 5, 300]),
            "attention_seed": chance.randint(0, 2**40),
        }  # fmt: skip
        yield fields, chance.randrange(layers), length, chance.choice([0, 0, chance.randrange(length)])


def kind_of_pair(fields, layer, query, key, drawn, real):
    """The reason of a pair, from the settings and the keys that its block drew."""
    kind, first = fields["attention_type"][layer], fields["num_global_tokens"]
    if query >= real or key >= real:
        return "padding"
    if kind == "full":
        return "full"
    if query < first or key < first:
        return "global"
    if kind == "local":
        return "window" if abs(query - key) <= fields["attention_window"] else "not seen"
    if kind == "strided" and key % fields["attention_stride"] == 0:
        return "stride"
    if kind == "random" and key in drawn[query // 64]:
        return "random"
    return "itself" if query == key else "not seen"


def test_masks_are_those_of_the_model_bit_for_bit():
    module = masks.attention_module()
    for fields, layer, length, pads in drawings(150):
        config = masks.config_of(fields)
        own = module.attention_mask(config, layer, length, torch.tensor([length - pads]))
        assert own.shape == (1, length, length)
        assert torch.equal(masks.mask(config, layer, length, pads), own[0])


def test_every_pair_has_the_reason_for_which_it_is_seen():
    module = masks.attention_module()
    for fields, layer, length, pads in drawings(40, seed=1):
        config, real = masks.config_of(fields), length - pads
        answer = masks.layer_masks(fields, layer, length, pads)
        codes = numpy.frombuffer(base64.b64decode(answer["reasons"]), numpy.uint8).reshape(length, length)
        drawn = [set(row) for row in module.random_keys(config, layer, length, torch.tensor([real]))[0].tolist()]
        words = [[answer["names"][code] for code in row] for row in codes]
        assert words == [
            [kind_of_pair(fields, layer, query, key, drawn, real) for key in range(length)] for query in range(length)
        ]
        seen = module.attention_mask(config, layer, length, torch.tensor([real]))[0].numpy()
        assert [[word not in NEVER for word in row[:real]] for row in words[:real]] == seen[:real, :real].tolist()
        assert answer["seen"] == int(seen[:real, :real].sum())
        assert answer["density"] == answer["seen"] / real**2
        assert answer["kind"] == fields["attention_type"][layer] and answer["length"] == length


def test_random_keys_are_drawn_from_real_tokens_only():
    fields = {"attention_type": "random", "num_hidden_layers": 1, "num_random_keys": 3, "attention_seed": 5}
    with_pads = masks.reasons(masks.config_of(fields), 0, 300, pads=200)
    alone = masks.reasons(masks.config_of(fields), 0, 100)
    assert torch.equal(with_pads[:100, :100], alone)
    assert (with_pads[100:] == masks.PADDING).all() and (with_pads[:, 100:] == masks.PADDING).all()


def by_products(matrices):
    """Shares after each layer, by products of whole numbers."""
    reached = numpy.eye(len(matrices[0]), dtype=bool)
    for matrix in matrices:
        reached = (matrix.astype(numpy.int64) @ reached.astype(numpy.int64)) > 0
        yield reached


def test_the_receptive_field_is_the_product_of_the_masks():
    for fields, _, length, pads in drawings(60, seed=2):
        config = masks.config_of(fields)
        matrices = [masks.real_mask(config, layer, length, pads) for layer in range(config.num_hidden_layers)]
        products = list(by_products(matrices))
        answer = masks.drawing_reach(config, length, pads)
        assert answer.shares == [product.mean() for product in products]
        all_seen = [layer for layer, product in enumerate(products, 1) if product.all()]
        assert answer.layers_to_all == (all_seen[0] if all_seen else None)


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 200])
def test_one_more_layer_is_right_for_masks_of_any_form(size):
    chance = numpy.random.default_rng(size)
    for density in (0.005, 0.1, 0.9, 0.999):
        mask = (chance.random((size, size)) < density) | numpy.eye(size, dtype=bool)
        below = chance.random((size, size)) < 0.02
        exact = (mask.astype(numpy.int64) @ below.astype(numpy.int64)) > 0
        assert numpy.array_equal(reach.unpack(reach.product(mask, reach.pack(below))), exact)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_until_all_see_all_are_counted_exactly(kind):
    """By doubling and halving, where a kind's layers are alike: the same as one layer after the other."""
    chance = random.Random(kind)
    for _ in range(12):
        length = chance.randint(1, 160)
        settings = Settings(
            ("full", kind), length=length, window=chance.randint(1, 20), stride=chance.choice([1, 2, 5, 400]),
            keys=chance.choice([1, 2, 20]), globals=chance.choice([0, 0, 1]), layers=chance.randint(1, 5),
            pads=chance.choice([0, chance.randrange(length)]),
        )  # fmt: skip
        answer, most = masks.kind_reach(settings, kind), max(length, masks.MOST_LAYERS)
        config = masks.kind_config(settings, kind, 200)
        layers = masks.MOST_LAYERS if kind == "random" else most
        products = list(by_products([masks.real_mask(config, n % 200, length, settings.pads) for n in range(layers)]))
        all_seen = [layer for layer, product in enumerate(products, 1) if product.all()]
        assert answer.layers_to_all == (all_seen[0] if all_seen else None), settings
        assert answer.shares == [product.mean() for product in products[: settings.layers]]
        assert answer.layers_tried == (masks.MOST_LAYERS if kind == "random" and not all_seen else None)


def test_a_window_needs_as_many_layers_as_it_fits_into_the_row():
    assert masks.kind_reach(Settings((), length=641, window=64, layers=2), "local").layers_to_all == 10
    assert masks.kind_reach(Settings((), length=642, window=64, layers=2), "local").layers_to_all == 11


def test_layers_of_different_kinds_reach_further_together():
    fields = {"num_hidden_layers": 2, "attention_type": ["local", "strided"], "attention_window": 8}
    both = masks.drawing_reach(masks.config_of({**fields, "attention_stride": 8}), 64)
    assert both.layers_to_all == 2
    alone = masks.drawing_reach(masks.config_of({**fields, "attention_type": "strided", "attention_stride": 8}), 64)
    assert alone.layers_to_all is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "pads"), [(0, 0), (2, 0), (0, 77), (3, 150)])
def test_outputs_and_gradients_are_those_of_the_dense_mask(kind, first, pads):
    settings = Settings(
        ("full", kind), length=400, window=24, stride=7, keys=9, globals=first, pads=pads, heads=2, width=16
    )
    module = measure.attention(masks.kind_config(settings, kind, 1))
    assert kind == "full" or not module.is_short(400)  # it does not compute with the dense mask itself
    off = measure.difference(settings, kind)
    assert off["length"] == 400 and off["pads"] == pads
    assert 0 <= off["outputs"] < 1e-5 and 0 <= off["gradients"] < 1e-5


def test_a_wrong_mask_is_seen_in_the_difference(monkeypatch):
    """The comparison with the dense mask can fail."""
    right = masks.mask

    def wrong(config, layer, length, pads=0):
        mask = right(config, layer, length, pads).clone()
        mask[100, 103] ^= True
        return mask

    monkeypatch.setattr(measure, "mask", wrong)
    off = measure.difference(Settings((), length=200, window=8, heads=2, width=16), "local")
    assert off["outputs"] > 1e-3 and off["gradients"] > 1e-4


def test_flops_of_full_attention_are_those_of_its_density():
    settings = Settings((), length=256, heads=2, width=16)
    full = measure.operations(settings, "full", 256**2)
    assert full["density"] == full["implementation"] == 4 * 256**2 * 32
    assert full["projections"] == 3 * 2 * 256 * 32 * 32
    local = measure.operations(
        settings, "local", int(masks.real_mask(masks.kind_config(settings, "local"), 0, 256).sum())
    )
    assert local["density"] < local["implementation"] < full["implementation"]


@pytest.mark.parametrize(
    ("fields", "layer", "length", "pads", "say"),
    [
        ({"attention_window": 0}, 0, 8, 0, "attention_window=0 must be an integer of at least 1"),
        ({"attention_type": "diagonal"}, 0, 8, 0, "attention_type='diagonal' is not known"),
        ({"num_hidden_layers": 2}, 2, 8, 0, "layer 2 is not one of the 2 layers; give 0 to 1"),
        ({}, 0, 0, 0, "length 0 must be a whole number from 1 to 2048"),
        ({}, 0, 4096, 0, "length 4096 must be a whole number from 1 to 2048"),
        ({}, 0, 8, 8, "pads 8 must be a whole number from 0 to 7"),
        ({"hidden_size": 30}, 0, 8, 0, "hidden_size=30 is not a multiple of num_attention_heads=12"),
    ],
)
def test_a_mask_that_cannot_be_is_one_line(fields, layer, length, pads, say):
    with pytest.raises(UserError) as raised:
        masks.layer_masks(fields, layer, length, pads)
    assert say in str(raised.value) and "\n" not in str(raised.value)
