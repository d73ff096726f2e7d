"""The cache among a model's outputs: the same names in every release, apart from what is compared bit for bit."""

import types

import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache

from pinfold.fenced.probe.caches import is_cache, outputs_and_caches, tensors_of_cache

KEYS, VALUES, LOGITS = torch.ones(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), torch.ones(2, 3)


def decoder(input_ids, past_key_values=None):
    """What forward takes."""


def classifier(input_ids):
    """What forward takes."""


def dynamic():
    cache = DynamicCache()
    cache.update(KEYS, VALUES, 0)
    return cache


OUTPUTS = {
    "a field of pairs": {"logits": LOGITS, "past_key_values": ((KEYS, VALUES),)},
    "a field of transformers' own": {"logits": LOGITS, "past_key_values": dynamic()},
    "the name of 5.24": {"logits": LOGITS, "cache": dynamic()},
    "lists of 4.48": {
        "logits": LOGITS,
        "cache": types.SimpleNamespace(key_cache=[KEYS, []], value_cache=[VALUES, []]),
    },
}


@pytest.mark.parametrize("how", OUTPUTS)
def test_a_cache_has_the_same_names_in_every_form(how):
    tensors = outputs_and_caches(types.SimpleNamespace(forward=decoder), OUTPUTS[how])
    assert list(tensors) == ["logits", "cache:0.0", "cache:0.1"]
    assert torch.equal(tensors["cache:0.0"], KEYS) and torch.equal(tensors["cache:0.1"], VALUES)
    assert [is_cache(f"AutoModel/pair/{name}") for name in tensors] == [False, True, True]


def test_pairs_in_a_tuple_are_a_cache_where_forward_takes_one():
    output = (LOGITS, ((KEYS, VALUES),), (LOGITS, LOGITS))
    names = {"0": False, "1.0.0": True, "1.0.1": True, "2.0": False, "2.1": False}
    tensors = outputs_and_caches(types.SimpleNamespace(forward=decoder), output)
    assert {name.removeprefix("cache:"): is_cache(name) for name in tensors} == names
    tensors = outputs_and_caches(types.SimpleNamespace(forward=classifier), output)
    assert list(tensors) == list(names)  # of a detector, say, they are what it computes


def test_a_cache_that_cannot_be_read_is_left_out():
    class Strange:
        @property
        def layers(self):
            raise RuntimeError("not now")

    tensors = outputs_and_caches(
        types.SimpleNamespace(forward=decoder), {"logits": LOGITS, "past_key_values": Strange(), "cache": None}
    )
    assert list(tensors) == ["logits"]


def test_the_caches_of_an_encoder_and_a_decoder_lie_beside_each_other():
    assert list(tensors_of_cache(EncoderDecoderCache(dynamic(), dynamic()))) == ["0.0", "0.1", "0.2", "0.3"]
